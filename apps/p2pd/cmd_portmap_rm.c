/* The subcommands that take rules and nothing else. */
#include <stdio.h>
#include <string.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/forward/rule.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/fail.h"

enum { IDS_MAX = 400 /* a line's worth, of many ids the first */ };

struct deed {
	const char *method, *tail, *usage, *about;
};

struct each {
	struct portmap_talk talk;
	const struct deed *deed;
};

static int do_one(void *arg, const char *id)
{
	const struct each *e = arg;
	json_t *rule;
	int code = portmap_ask_about(&e->talk, e->deed->method, id, e->deed->tail, NULL, id, &rule);

	return code ? code : portmap_print_rule(&e->talk, rule);
}

static int do_deed(const struct deed *deed, int (*run)(void *arg, const char *id), int argc, char **argv)
{
	struct each e = { .talk = PORTMAP_TALK, .deed = deed };
	const struct options_entry entries[] = {
		{ "json", NULL, "print each rule on one line", .flag = &e.talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &e.talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = deed->usage,
		.about = deed->about,
		.entries = entries,
		.more = "RULE is a forward_id or a name; - reads them from stdin. Prints the rules as "
			"JSON.\n",
		.min_args = 1,
		.max_args = OPTIONS_LIST_MAX,
	};
	struct options_list args;
	int code;

	return options_parse(&options, argc, argv, &args, &code) ? portmap_each(&args, run, &e) : code;
}

int cmd_portmap_pause(int argc, char **argv)
{
	static const struct deed deed = {
		"POST", "/pause", "p2pd portmap pause RULE... [options]",
		"Lets nobody through, within a second: what lives stands still, what is new is refused."
	};

	return do_deed(&deed, do_one, argc, argv);
}

int cmd_portmap_resume(int argc, char **argv)
{
	static const struct deed deed = { "POST", "/resume", "p2pd portmap resume RULE... [options]",
					  "Ends a pause. Connections that outlived it go on." };

	return do_deed(&deed, do_one, argc, argv);
}

int cmd_portmap_rm(int argc, char **argv)
{
	static const struct deed deed = { "DELETE", "", "p2pd portmap rm RULE... [options]",
					  "Removes rules and ends their connections. For 30 days `p2pd "
					  "portmap restore` brings them back.\nOne that p2pd.yaml "
					  "declares comes back at the next reload or start: take it out "
					  "there." };

	return do_deed(&deed, do_one, argc, argv);
}

/* --- restore: who types a name means the rule that had it and was removed; the daemon knows those by forward_id alone. */

static bool was_called(json_t *rule, const char *name)
{
	return !strcmp(portmap_string(rule, "name"), name) &&
	       !strcmp(portmap_string(rule, "state"), "removed");
}

/* Those that were removed under that name, a new list. */
static json_t *find_removed(json_t *rules, const char *name)
{
	json_t *rule, *found = json_array();
	size_t i;

	json_array_foreach(rules, i, rule)
	{
		if (was_called(rule, name))
			json_array_append(found, rule);
	}
	return found;
}

static int refuse_several(const char *name, json_t *removed)
{
	char ids[IDS_MAX] = "";
	size_t i, at = 0;
	json_t *rule;

	json_array_foreach(removed, i, rule)
	{
		if (at < sizeof ids)
			at += (size_t)snprintf(ids + at, sizeof ids - at, "%s%.36s", i ? ", " : "",
					       portmap_string(rule, "forward_id"));
	}
	return fail_with(EXIT_NOT_FOUND,
			 "%zu removed rules were called '%.64s': give the forward_id of one: %s",
			 json_array_size(removed), name, ids);
}

/* Where none was removed, the daemon has the word. */
static int restore_named(void *arg, const char *name, json_t *removed)
{
	if (json_array_size(removed) > 1)
		return refuse_several(name, removed);
	json_t *rule = json_array_get(removed, 0);
	return do_one(arg, rule ? portmap_string(rule, "forward_id") : name);
}

static int restore_one(void *arg, const char *id)
{
	const struct each *e = arg;
	uint8_t parsed[FORWARD_ID];
	json_t *answer;

	if (!rule_id_parse(parsed, id))
		return do_one(arg, id);
	int code = portmap_ask(&e->talk, "GET", NULL, "?all=1", NULL, &answer);

	if (code)
		return code;
	json_t *removed = find_removed(json_object_get(answer, "forwards"), id);
	code = restore_named(arg, id, removed);
	json_decref(removed);
	json_decref(answer);
	return code;
}

int cmd_portmap_restore(int argc, char **argv)
{
	static const struct deed deed = { "POST", "/restore", "p2pd portmap restore RULE... [options]",
					  "Brings removed rules back as they were, with their forward_id. "
					  "`p2pd portmap ls --all` lists "
					  "them." };

	return do_deed(&deed, restore_one, argc, argv);
}
