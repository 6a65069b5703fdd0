#include "core/config_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* The largest first; a value is shown in the first that divides it. */
static const struct unit rates[] = { { "gbit", 125000000 }, { "mbit", 125000 }, { "kbit", 125 }, { 0 } };
static const struct unit sizes[] = { { "TB", 1000000000000 }, { "TiB", 1ull << 40 }, { "GB", 1000000000 },
				     { "GiB", 1 << 30 },      { "MB", 1000000 },     { "MiB", 1 << 20 },
				     { "kB", 1000 },	      { "KiB", 1 << 10 },    { 0 } };
static const struct unit times[] = { { "d", 86400 }, { "h", 3600 }, { "min", 60 },
				     { "m", 60 },    { "s", 1 },    { 0 } };

static const struct unit *units_of(enum config_kind kind)
{
	switch (kind) {
	case CONFIG_RATE: return rates;
	case CONFIG_SIZE: return sizes;
	default: return times;
	}
}

static uint64_t most_of(enum config_kind kind)
{
	return kind == CONFIG_RATE ? UINT32_MAX : (uint64_t)INT64_MAX;
}

/* Digits alone: strtoull would take spaces and signs. */
static int read_digits(const char *text, uint64_t *out, const char **end)
{
	uint64_t n = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (n > (uint64_t)INT64_MAX / 10 - 1)
			return -EINVAL;
		n = n * 10 + (uint64_t)(*at - '0');
	}
	*out = n;
	*end = at;
	return at == text ? -EINVAL : 0;
}

static int read_quantity(const struct config_entry *e, const char *text, uint64_t *out)
{
	const char *name;
	uint64_t n;

	if (e->none && !strcmp(text, e->none)) {
		*out = 0;
		return 0;
	}
	if (read_digits(text, &n, &name) || n == 0)
		return -EINVAL;
	for (const struct unit *u = units_of(e->kind); u->name; u++)
		if (!strcasecmp(name, u->name)) {
			if (n > most_of(e->kind) / u->factor)
				return -EINVAL;
			*out = n * u->factor;
			return 0;
		}
	return -EINVAL;
}

static int set_quantity(const struct config_entry *e, void *target, const char *text)
{
	uint64_t n;

	if (read_quantity(e, text, &n))
		return -EINVAL;
	if (e->kind == CONFIG_RATE)
		*(uint32_t *)target = (uint32_t)n;
	else
		*(uint64_t *)target = n;
	return 0;
}

static int set_number(const struct config_entry *e, long *target, const char *text)
{
	const char *end;
	uint64_t n;

	if (read_digits(text, &n, &end) || *end || (long)n < e->min || (long)n > e->max)
		return -EINVAL;
	*target = (long)n;
	return 0;
}

static int set_text(const struct config_entry *e, char *target, const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len >= (size_t)e->max || (e->fits && !e->fits(text)))
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 127)
			return -EINVAL;
	memcpy(target, text, len + 1);
	return 0;
}

static int add_word(const struct config_entry *e, char *list, const char *word, size_t len)
{
	struct config_entry text = *e;
	char one[CONFIG_SHOW];
	size_t used = strlen(list);

	while (len && word[len - 1] == ' ')
		len--;
	if (len >= sizeof one)
		return -EINVAL;
	memcpy(one, word, len);
	one[len] = 0;
	used += used > 0;
	text.max = e->max - (long)used;
	if (text.max < 1 || set_text(&text, list + used, one))
		return -EINVAL;
	if (used)
		list[used - 1] = ',';
	return 0;
}

static int add_words(const struct config_entry *e, char *list, const char *text)
{
	for (;;) {
		size_t len;
		text += strspn(text, " ");
		len = strcspn(text, ",");
		if (add_word(e, list, text, len))
			return -EINVAL;
		if (!text[len])
			return 0;
		text += len + 1;
	}
}

static int set_flag(enum config_flag *target, const char *text)
{
	static const struct {
		const char *word;
		enum config_flag flag;
	} words[] = { { "true", CONFIG_YES }, { "false", CONFIG_NO }, { "yes", CONFIG_YES },
		      { "no", CONFIG_NO },    { "on", CONFIG_YES },   { "off", CONFIG_NO } };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(text, words[i].word)) {
			*target = words[i].flag;
			return 0;
		}
	return -EINVAL;
}

static int set_addr(const struct config_entry *e, struct addr *target, const char *text)
{
	struct addr a;

	if (addr_parse(&a, text, e->port) || !a.port)
		return -EINVAL;
	*target = a;
	return 0;
}

static int add_addr(const struct config_entry *e, struct config_addrs *list, const char *text)
{
	if (list->count == CONFIG_LIST_MAX || set_addr(e, &list->items[list->count], text))
		return -EINVAL;
	list->count++;
	return 0;
}

int config_set(const struct config_entry *e, void *base, const char *text)
{
	void *target = (char *)base + e->offset;

	switch (e->kind) {
	case CONFIG_TEXT: return set_text(e, target, text);
	case CONFIG_NUMBER: return set_number(e, target, text);
	case CONFIG_FLAG: return set_flag(target, text);
	case CONFIG_ADDR: return set_addr(e, target, text);
	case CONFIG_ADDRS: return add_addr(e, target, text);
	case CONFIG_WORDS: return add_words(e, target, text);
	case CONFIG_RATE:
	case CONFIG_SIZE:
	case CONFIG_TIME: return set_quantity(e, target, text);
	case CONFIG_OTHERS: break;
	}
	return -EINVAL;
}

void config_clear(const struct config_entry *e, void *base)
{
	void *target = (char *)base + e->offset;

	if (e->kind == CONFIG_ADDRS)
		((struct config_addrs *)target)->count = 0;
	if (e->kind == CONFIG_WORDS)
		*(char *)target = 0;
}

static void show_addrs(const struct config_addrs *list, char *out, size_t size)
{
	char text[ADDR_TEXT_MAX];
	size_t at = 0;

	for (size_t i = 0; i < list->count && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "",
				       addr_format(&list->items[i], text));
}

static void show_quantity(const struct config_entry *e, const void *target, char *out, size_t size)
{
	uint64_t n = e->kind == CONFIG_RATE ? *(const uint32_t *)target : *(const uint64_t *)target;
	const struct unit *u = units_of(e->kind);

	if (n == 0) {
		snprintf(out, size, "%s", e->none ? e->none : "");
		return;
	}
	while (u[1].name && n % u->factor)
		u++;
	snprintf(out, size, "%llu%s", (unsigned long long)(n / u->factor), u->name);
}

const char *config_show(const struct config_entry *e, const void *base, char out[static CONFIG_SHOW])
{
	static const char *const flags[] = { [CONFIG_UNSET] = "", [CONFIG_NO] = "no", [CONFIG_YES] = "yes" };
	const void *target = (const char *)base + e->offset;
	char text[ADDR_TEXT_MAX];

	*out = 0;
	switch (e->kind) {
	case CONFIG_TEXT:
	case CONFIG_WORDS: snprintf(out, CONFIG_SHOW, "%s", (const char *)target); break;
	case CONFIG_NUMBER:
		if (*(const long *)target >= e->min)
			snprintf(out, CONFIG_SHOW, "%ld", *(const long *)target);
		break;
	case CONFIG_FLAG: snprintf(out, CONFIG_SHOW, "%s", flags[*(const enum config_flag *)target]); break;
	case CONFIG_ADDR:
		if (((const struct addr *)target)->family != ADDR_NONE)
			snprintf(out, CONFIG_SHOW, "%s", addr_format(target, text));
		break;
	case CONFIG_ADDRS: show_addrs(target, out, CONFIG_SHOW); break;
	case CONFIG_RATE:
	case CONFIG_SIZE:
	case CONFIG_TIME: show_quantity(e, target, out, CONFIG_SHOW); break;
	case CONFIG_OTHERS: break;
	}
	return out;
}

static const char *kind_takes(enum config_kind kind)
{
	switch (kind) {
	case CONFIG_TEXT: return "a text";
	case CONFIG_NUMBER: return "a number";
	case CONFIG_FLAG: return "yes or no";
	case CONFIG_ADDR: return "ADDRESS:PORT";
	case CONFIG_ADDRS: return "a list of at most 8 ADDRESS:PORT";
	case CONFIG_WORDS: return "a list of words";
	case CONFIG_RATE: return "a rate up to 34gbit, such as 100mbit";
	case CONFIG_SIZE: return "an amount such as 500GB";
	case CONFIG_TIME: return "a time such as 90d or 12h";
	case CONFIG_OTHERS: break;
	}
	return "";
}

const char *config_takes(const struct config_entry *e, char out[static CONFIG_TAKES])
{
	if (e->takes)
		snprintf(out, CONFIG_TAKES, "%s", e->takes);
	else if (e->kind == CONFIG_NUMBER)
		snprintf(out, CONFIG_TAKES, "a number from %ld to %ld", e->min, e->max);
	else if (e->kind == CONFIG_TEXT)
		snprintf(out, CONFIG_TAKES, "a text of 1 to %ld bytes", e->max - 1);
	else
		snprintf(out, CONFIG_TAKES, "%s%s%s", kind_takes(e->kind), e->none ? ", or " : "",
			 e->none ? e->none : "");
	return out;
}
