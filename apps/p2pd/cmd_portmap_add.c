#include <stdlib.h>
#include <time.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/portmap_spec.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/fail.h"

enum { OWN_OPTIONS = 3 };

struct change {
	struct portmap_talk talk;
	struct portmap_spec spec;
};

static const char more[] =
	"--source-ip says how the service sees visitors:\n"
	"  kernel    by their own addresses, where the kernel of this machine (and of the gateway) can "
	"carry\n"
	"            the rule; else as nat, and `p2pd portmap show` says why\n"
	"  proxy-v2  by a PROXY protocol v2 header in front of each connection: the service must expect it\n"
	"  nat       as this machine\n"
	"A public rule says by --allow who may come: networks, and `token` for those who open a link of\n"
	"`p2pd portmap token`. One that is open to the whole internet wants --force.\n"
	"`none` takes a --name, --via, --domain or --allow away, `all` a --to.\n";

/* With --json, --socket and the end of the table. */
static void all_options(struct change *c, struct options_entry *out)
{
	size_t n = portmap_spec_options(&c->spec, out);
	const struct options_entry own[OWN_OPTIONS] = {
		{ "json", NULL, "print the rule on one line", .flag = &c->talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &c->talk.socket },
		{ 0 },
	};

	for (size_t i = 0; i < OWN_OPTIONS; i++)
		out[n + i] = own[i];
}

static json_t *body_of(const struct change *c, int *code)
{
	char why[PORTMAP_SPEC_WHY];
	json_t *body = portmap_spec_json(&c->spec, (uint64_t)time(NULL), why);

	*code = body ? EXIT_OK : fail_with(EXIT_USAGE, "%s", why);
	return body;
}

int cmd_portmap_add(int argc, char **argv)
{
	struct change c = { .talk = PORTMAP_TALK };
	struct options_entry entries[PORTMAP_SPEC_OPTIONS + OWN_OPTIONS];
	const struct options options = {
		.usage = "p2pd portmap add --local IP:PORT [options]",
		.about = "Forwards a port to a service on this node, or in the LAN behind it. Prints the "
			 "rule as "
			 "JSON:\nits forward_id, its state, and the addresses that it is reached at.",
		.entries = entries,
		.more = more,
	};
	struct options_list args;
	json_t *body, *rule;
	int code;

	all_options(&c, entries);
	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (!c.spec.local)
		return fail_with(EXIT_USAGE, "--local IP:PORT is needed: where the service listens, such as "
					     "192.168.50.10:3306; see `p2pd portmap add --help`");
	body = body_of(&c, &code);
	if (!code)
		code = portmap_ask(&c.talk, "POST", NULL, "", body, &rule);
	return code ? code : portmap_print_rule(&c.talk, rule);
}

/* --- set */

struct each {
	const struct change *change;
	json_t *body;
};

static int set_one(void *arg, const char *id)
{
	const struct each *e = arg;
	json_t *rule;
	int code = portmap_ask_about(&e->change->talk, "PATCH", id, "", json_incref(e->body), id, &rule);

	return code ? code : portmap_print_rule(&e->change->talk, rule);
}

int cmd_portmap_set(int argc, char **argv)
{
	struct change c = { .talk = PORTMAP_TALK };
	struct options_entry entries[PORTMAP_SPEC_OPTIONS + OWN_OPTIONS];
	const struct options options = {
		.usage = "p2pd portmap set RULE... [options]",
		.about =
			"Changes what the options name, and nothing else. Connections go on where they still "
			"may.\nPrints the rule as JSON.",
		.entries = entries,
		.more = more,
		.min_args = 1,
		.max_args = OPTIONS_LIST_MAX,
	};
	struct options_list args;
	struct each e = { .change = &c };
	int code;

	all_options(&c, entries);
	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	e.body = body_of(&c, &code);
	if (code)
		return code;
	if (!json_object_size(e.body))
		code = fail_with(EXIT_USAGE,
				 "nothing to change: name an option; see `p2pd portmap set --help`");
	else
		code = portmap_each(&args, set_one, &e);
	json_decref(e.body);
	return code;
}
