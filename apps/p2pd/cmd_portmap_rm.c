/* The subcommands that take rules and nothing else. */
#include <string.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/forward/rule.h"
#include "apps/p2pd/portmap_talk.h"

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

/* The one removed rule of that name, as a new reference; NULL: none, or several. */
static json_t *find_removed(json_t *rules, const char *name)
{
	json_t *rule, *found = NULL;
	size_t i, count = 0;

	json_array_foreach(rules, i, rule)
	{
		if (!was_called(rule, name))
			continue;
		found = rule;
		count++;
	}
	return count == 1 ? json_incref(found) : NULL;
}

static int restore_one(void *arg, const char *id)
{
	const struct each *e = arg;
	json_t *answer;

	if (strlen(id) == RULE_ID_TEXT - 1)
		return do_one(arg, id);
	int code = portmap_ask(&e->talk, "GET", NULL, "?all=1", NULL, &answer);

	if (code)
		return code;
	json_t *removed = find_removed(json_object_get(answer, "forwards"), id);
	code = do_one(arg, removed ? portmap_string(removed, "forward_id") : id);
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
