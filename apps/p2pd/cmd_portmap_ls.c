#include <fnmatch.h>
#include <stdio.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/fail.h"

enum { CELL = 160, GAP = 2 };

struct list {
	struct portmap_talk talk;
	bool all, quiet;
	const char *pattern;
};

/* --- The columns */

static void cell_name(json_t *rule, char out[static CELL])
{
	snprintf(out, CELL, "%s", portmap_string(rule, "name"));
}

static void cell_state(json_t *rule, char out[static CELL])
{
	snprintf(out, CELL, "%s", portmap_string(rule, "state"));
}

static void cell_scope(json_t *rule, char out[static CELL])
{
	const char *via = portmap_string(rule, "via");

	snprintf(out, CELL, "%s%s%s", portmap_string(rule, "scope"), *via ? " via " : "", via);
}

static void cell_service(json_t *rule, char out[static CELL])
{
	snprintf(out, CELL, "%s %s", portmap_string(rule, "local"), portmap_string(rule, "proto"));
}

static void cell_address(json_t *rule, char out[static CELL])
{
	json_t *list = json_object_get(rule, "addresses");
	const char *first = json_string_value(json_array_get(list, 0));
	size_t more = json_array_size(list) > 1 ? json_array_size(list) - 1 : 0;

	if (more)
		snprintf(out, CELL, "%s and %zu more", first ? first : "?", more);
	else
		snprintf(out, CELL, "%s", first ? first : "-");
}

static void cell_id(json_t *rule, char out[static CELL])
{
	snprintf(out, CELL, "%s", portmap_string(rule, "forward_id"));
}

static const struct column {
	const char *title;
	void (*cell)(json_t *rule, char out[static CELL]);
} columns[] = {
	{ "NAME", cell_name },	     { "STATE", cell_state },	     { "SCOPE", cell_scope },
	{ "SERVICE", cell_service }, { "REACHED AT", cell_address }, { "FORWARD_ID", cell_id },
};
enum { COLUMNS = sizeof columns / sizeof *columns };

/* --- */

/* Only what was asked for stays. */
static void filter(const struct list *l, json_t *rules)
{
	for (size_t i = json_array_size(rules); i-- > 0 && l->pattern;)
		if (fnmatch(l->pattern, portmap_string(json_array_get(rules, i), "name"), 0))
			json_array_remove(rules, i);
}

static void print_ids(json_t *rules)
{
	json_t *rule;
	size_t i;

	json_array_foreach(rules, i, rule) printf("%s\n", portmap_string(rule, "forward_id"));
}

static int width_of(const struct column *c, json_t *rules)
{
	int width = portmap_width(c->title);
	char text[CELL];
	json_t *rule;
	size_t i;

	json_array_foreach(rules, i, rule)
	{
		c->cell(rule, text);
		if (portmap_width(text) > width)
			width = portmap_width(text);
	}
	return width;
}

static void print_row(json_t *rule, const int widths[static COLUMNS])
{
	char text[CELL];

	for (size_t i = 0; i < COLUMNS; i++) {
		columns[i].cell(rule, text);
		portmap_put(text, i + 1 < COLUMNS ? widths[i] + GAP : 0);
	}
	printf("\n");
	if (*portmap_string(rule, "why")) {
		printf("  ");
		portmap_put(portmap_string(rule, "why"), 0);
		printf("\n");
	}
}

static void print_table(json_t *rules)
{
	int widths[COLUMNS];
	json_t *rule;
	size_t i;

	for (i = 0; i < COLUMNS; i++) {
		widths[i] = width_of(&columns[i], rules);
		portmap_put(columns[i].title, i + 1 < COLUMNS ? widths[i] + GAP : 0);
	}
	printf("\n");
	json_array_foreach(rules, i, rule) print_row(rule, widths);
}

static int print_rules(const struct list *l, json_t *answer)
{
	json_t *rules = json_object_get(answer, "forwards");

	filter(l, rules);
	if (l->talk.json)
		return portmap_print(&l->talk, answer);
	if (l->quiet)
		print_ids(rules);
	else if (json_array_size(rules))
		print_table(rules);
	else if (l->pattern)
		printf("no rule has a name like %s\n", l->pattern);
	else
		printf("no port is forwarded yet; see `p2pd portmap add --help`\n");
	json_decref(answer);
	return EXIT_OK;
}

int cmd_portmap_ls(int argc, char **argv)
{
	struct list l = { .talk = PORTMAP_TALK };
	const struct options_entry entries[] = {
		{ "all", NULL, "also those that were removed, and can be restored", .flag = &l.all },
		{ "q", NULL, "only the forward_ids, for `p2pd portmap pause -` and the like",
		  .flag = &l.quiet },
		{ "json", NULL, "as JSON, schema p2pd.portmap/1", .flag = &l.talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &l.talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap ls [PATTERN] [options]",
		.about =
			"Lists the rules of this node; with a pattern such as 'till-*' those whose names are "
			"like it.",
		.entries = entries,
		.max_args = 1,
	};
	struct options_list args;
	json_t *answer;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	l.pattern = args.count ? args.items[0] : NULL;
	code = portmap_ask(&l.talk, "GET", NULL, l.all ? "?all=1" : "", NULL, &answer);
	return code ? code : print_rules(&l, answer);
}
