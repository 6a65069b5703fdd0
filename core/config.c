#include "core/config.h"

#include <string.h>

#include "core/config_impl.h"
#include "core/fail.h"
#include "core/log.h"

void config_print_errors(const struct config_file *f, FILE *out)
{
	for (unsigned i = 0; i < f->errors && i < CONFIG_ERRORS_MAX; i++)
		fprintf(out, "%s\n", f->error[i]);
	if (f->errors > CONFIG_ERRORS_MAX)
		fprintf(out, "%s: and %u more errors\n", f->path, f->errors - CONFIG_ERRORS_MAX);
}

void config_log_errors(const char *module, const struct config_file *f)
{
	for (unsigned i = 0; i < f->errors && i < CONFIG_ERRORS_MAX; i++)
		log_error(module, "%s", f->error[i]);
	log_error(module, "nothing was changed: mend %s and send SIGHUP again", f->path);
}

void config_print(const struct config_file *f, const struct config_entry *entries, const void *base,
		  FILE *out)
{
	char text[CONFIG_SHOW];

	for (const struct config_entry *e = entries; e->key; e++) {
		bool named = f && f->at[e - entries].line;
		if (e->kind == CONFIG_OTHERS)
			continue;
		config_show(e, base, text);
		fprintf(out, "%-26s %s%s\n", e->key, *text ? text : "-", named ? "" : " (default)");
	}
}

static bool differs(const struct config_entry *e, const void *before, const void *after,
		    char was[CONFIG_SHOW], char is[CONFIG_SHOW])
{
	return strcmp(config_show(e, before, was), config_show(e, after, is)) != 0;
}

size_t config_log_changes(const char *module, const struct config_entry *entries, const void *before,
			  const void *after)
{
	char was[CONFIG_SHOW], is[CONFIG_SHOW];
	size_t count = 0;

	for (const struct config_entry *e = entries; e->key; e++) {
		if (!differs(e, before, after, was, is))
			continue;
		log_info(module, "%s: %s -> %s%s", e->key, *was ? was : "none", *is ? is : "none",
			 e->live ? "" : ", after a restart");
		count++;
	}
	return count;
}

static size_t size_of(const struct config_entry *e)
{
	switch (e->kind) {
	case CONFIG_TEXT:
	case CONFIG_WORDS: return (size_t)e->max;
	case CONFIG_NUMBER: return sizeof(long);
	case CONFIG_FLAG: return sizeof(enum config_flag);
	case CONFIG_ADDR: return sizeof(struct addr);
	case CONFIG_ADDRS: return sizeof(struct config_addrs);
	case CONFIG_RATE: return sizeof(uint32_t);
	case CONFIG_SIZE:
	case CONFIG_TIME: return sizeof(uint64_t);
	case CONFIG_OTHERS: return 0;
	}
	return 0;
}

void config_take_live(const struct config_entry *entries, void *base, const void *from)
{
	for (const struct config_entry *e = entries; e->key; e++)
		if (e->live)
			memcpy((char *)base + e->offset, (const char *)from + e->offset, size_of(e));
}

bool config_differs(const struct config_entry *entries, const char *key, const void *before,
		    const void *after)
{
	char was[CONFIG_SHOW], is[CONFIG_SHOW];

	for (const struct config_entry *e = entries; e->key; e++)
		if (!strcmp(e->key, key))
			return differs(e, before, after, was, is);
	return false;
}

size_t config_options(const struct config_entry *entries, struct config_typed *typed,
		      struct options_entry *out)
{
	size_t count = 0;

	for (const struct config_entry *e = entries; e->key; e++)
		if (e->option)
			out[count++] = (struct options_entry) { .name = e->option,
								.value = e->value,
								.help = e->help,
								.list = &typed->values[e - entries] };
	return count;
}

static int wrong_value(const struct config_entry *e, const char *value)
{
	char takes[CONFIG_TAKES];

	config_takes(e, takes);
	if (e->hushed)
		return fail_with(EXIT_USAGE, "--%s takes %s", e->option, takes);
	return fail_with(EXIT_USAGE, "--%s takes %s, not '%.80s'", e->option, takes, value);
}

int config_set_typed(const struct config_entry *entries, const struct config_typed *typed, void *base)
{
	for (const struct config_entry *e = entries; e->key; e++) {
		const struct options_list *values = &typed->values[e - entries];
		if (values->count)
			config_clear(e, base);
		for (size_t i = 0; i < values->count; i++)
			if (config_set(e, base, values->items[i]))
				return wrong_value(e, values->items[i]);
	}
	return EXIT_OK;
}
