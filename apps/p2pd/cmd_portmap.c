#include "apps/p2pd/cmd_portmap.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "apps/p2pd/commands.h"
#include "core/commands.h"
#include "core/fail.h"

static const struct command items[] = {
	{ "add", "forward a port: make a service reachable", cmd_portmap_add },
	{ "ls", "the rules of this node", cmd_portmap_ls },
	{ "show", "all about a rule: where it is reached, how it is carried, its limits", cmd_portmap_show },
	{ "set", "change a rule", cmd_portmap_set },
	{ "pause", "let nobody through until resume", cmd_portmap_pause },
	{ "resume", "end a pause", cmd_portmap_resume },
	{ "rm", "remove a rule; restore brings it back for 30 days", cmd_portmap_rm },
	{ "restore", "bring a removed rule back", cmd_portmap_restore },
	{ "ping", "what works on the way to the service, and what does not", cmd_portmap_ping },
	{ "stats", "bytes, connections, refusals and the last visitor", cmd_portmap_stats },
	{ "apply", "make the rules what a file says", cmd_portmap_apply },
	{ "token", "links that let a visitor in: new, ls, revoke, rotate", cmd_portmap_token },
	{ "audit", "who did what, and when", cmd_portmap_audit },
	{ "api-token", "the token for reading the local API over loopback TCP", cmd_portmap_api_token },
};

static void print_usage(FILE *out)
{
	fprintf(out, "usage: p2pd portmap COMMAND [options]\n\n"
		     "Makes a service behind any NAT reachable, for members of the network or for the "
		     "public.\n\n");
	for (size_t i = 0; i < sizeof items / sizeof *items; i++)
		fprintf(out, "  %-10s %s\n", items[i].name, items[i].help);
	fprintf(out, "\nRun it on the node that has the service, or is in the LAN that has it. A rule goes "
		     "by its\n"
		     "forward_id, or by its name; - in its place reads them from stdin.\n\n"
		     "examples\n"
		     "  p2pd portmap add --local 192.168.50.10:3306 --name till-lyon-3306\n"
		     "  p2pd portmap add --local 127.0.0.1:8080 --name blog-home-8080 --scope public --via "
		     "gw1 \\\n"
		     "      --allow 198.51.100.0/24\n"
		     "  p2pd portmap ls -q 'till-*' | p2pd portmap pause -\n\n"
		     "`p2pd portmap COMMAND --help` tells the options of a command.\n");
}

int cmd_portmap(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	bool asked = !strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help");

	for (size_t i = 0; i < sizeof items / sizeof *items; i++)
		if (!strcmp(name, items[i].name))
			return items[i].run(argc - 1, argv + 1);
	if (*name && !asked)
		return fail_with(EXIT_USAGE, "unknown command 'portmap %.80s'; see `p2pd portmap --help`",
				 name);
	print_usage(asked ? stdout : stderr);
	return asked ? EXIT_OK : EXIT_USAGE;
}
