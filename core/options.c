#include "core/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"

struct parse {
	const struct options *o;
	int argc, at;
	char **argv;
	struct options_list *args;
};

/* The command's name without its arguments: "p2pd wg add". */
static int command_len(const struct options *o)
{
	size_t len = strcspn(o->usage, " ");

	while (o->usage[len] == ' ' && o->usage[len + 1] >= 'a' && o->usage[len + 1] <= 'z')
		len += 1 + strcspn(o->usage + len + 1, " ");
	return (int)len;
}

static int wrong(const struct parse *p, const char *what, const char *name)
{
	int len = command_len(p->o);

	return fail_with(EXIT_USAGE, "%s %s; see `%.*s --help`", what, name, len, p->o->usage);
}

static const char *dashes(const char *name)
{
	return name[1] ? "--" : "-";
}

static void print_help(const struct options *o)
{
	int width = 0;

	for (const struct options_entry *e = o->entries; e->name; e++) {
		int w = (int)(strlen(e->name) + (e->value ? strlen(e->value) + 1 : 0));
		width = w > width ? w : width;
	}
	printf("usage: %s\n\n%s\n", o->usage, o->about);
	if (o->entries->name)
		printf("\n");
	for (const struct options_entry *e = o->entries; e->name; e++) {
		int used = printf("  %s%s%s%s", dashes(e->name), e->name, e->value ? " " : "",
				  e->value ? e->value : "");
		printf("%*s%s\n", width + 6 - used, "", e->help);
	}
	if (o->more)
		printf("\n%s", o->more);
}

static const struct options_entry *find(const struct options *o, const char *name, size_t len)
{
	for (const struct options_entry *e = o->entries; e->name; e++)
		if (strlen(e->name) == len && !memcmp(e->name, name, len))
			return e;
	return NULL;
}

static int set_number(const struct parse *p, const struct options_entry *e, const char *value)
{
	char *end, range[96];

	errno = 0;
	long n = strtol(value, &end, 10);
	if (!errno && end != value && !*end && n >= e->min && n <= e->max) {
		*e->number = n;
		return 0;
	}
	snprintf(range, sizeof range, "a number from %ld to %ld, not '%.20s'", e->min, e->max, value);
	return fail_with(EXIT_USAGE, "%s%s takes %s; see `%.*s --help`", dashes(e->name), e->name, range,
			 command_len(p->o), p->o->usage);
}

static int set(const struct parse *p, const struct options_entry *e, const char *value)
{
	if (e->number)
		return set_number(p, e, value);
	if (e->text)
		*e->text = value;
	else if (e->list->count == OPTIONS_LIST_MAX)
		return wrong(p, "given too often:", e->name);
	else
		e->list->items[e->list->count++] = value;
	return 0;
}

/* argv[at] begins with a dash. 0, or the exit code. */
static int parse_option(struct parse *p)
{
	const char *arg = p->argv[p->at++], *name = arg + (arg[1] == '-' ? 2 : 1);
	const char *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct options_entry *e = find(p->o, name, len);

	if (!e || (len > 1) != (arg[1] == '-'))
		return wrong(p, "unknown option", arg);
	if (e->flag) {
		*e->flag = true;
		return equals ? wrong(p, "takes no value:", arg) : 0;
	}
	if (!equals && p->at == p->argc)
		return wrong(p, "a value is missing after", arg);
	return set(p, e, equals ? equals + 1 : p->argv[p->at++]);
}

static int take_arg(struct parse *p, const char *arg)
{
	if (p->args->count == p->o->max_args || p->args->count == OPTIONS_LIST_MAX)
		return wrong(p, "do not know what to do with", arg);
	p->args->items[p->args->count++] = arg;
	return 0;
}

static bool asks_for_help(const struct parse *p)
{
	for (int i = 1; i < p->argc && strcmp(p->argv[i], "--"); i++)
		if (!strcmp(p->argv[i], "--help") || !strcmp(p->argv[i], "-h"))
			return true;
	return false;
}

static int parse_all(struct parse *p)
{
	bool only_args = false;
	int code = 0;

	while (!code && p->at < p->argc) {
		const char *arg = p->argv[p->at];
		if (!only_args && !strcmp(arg, "--")) {
			only_args = true;
			p->at++;
		} else if (!only_args && arg[0] == '-' && arg[1]) {
			code = parse_option(p);
		} else {
			code = take_arg(p, arg);
			p->at++;
		}
	}
	if (!code && p->args->count < p->o->min_args)
		code = fail_with(EXIT_USAGE, "an argument is missing; usage: %s", p->o->usage);
	return code;
}

bool options_parse(const struct options *o, int argc, char **argv, struct options_list *args, int *exit_code)
{
	struct parse p = { .o = o, .argc = argc, .at = 1, .argv = argv, .args = args };

	*exit_code = EXIT_OK;
	args->count = 0;
	if (asks_for_help(&p)) {
		print_help(o);
		return false;
	}
	*exit_code = parse_all(&p);
	return *exit_code == EXIT_OK;
}
