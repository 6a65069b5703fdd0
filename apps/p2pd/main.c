#include <stdio.h>
#include <string.h>

#include "apps/p2pd/commands.h"
#include "core/crypto.h"
#include "core/fail.h"

static const struct command {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "up", "join a network; returns once joined, the daemon stays", cmd_up },
	{ "down", "leave it: end the daemon", cmd_down },
	{ "status", "this node, its hub, its peers and how packets reach them", cmd_status },
	{ "ping", "ping a peer and see which way the answers come", cmd_ping },
	{ "wg", "stock WireGuard peers (a phone, a router): add, ls, rm, key", cmd_wg },
	{ "keygen", "print a new secret for a network", cmd_keygen },
};

static void print_usage(FILE *out)
{
	fprintf(out,
		"usage: p2pd COMMAND [options]\n\nJoins this machine to a private network of your machines, "
		"directly wherever that is possible.\n\n");
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(out,
		"\n`p2pd COMMAND --help` tells the options of a command; `p2pd --version` the version.\n");
}

static int run(const struct command *c, int argc, char **argv)
{
	if (crypto_init())
		return fail_with(EXIT_FAILED, "the system gives no randomness");
	return c->run(argc, argv);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (!strcmp(name, commands[i].name))
			return run(&commands[i], argc - 1, argv + 1);
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		print_usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(name, "--version")) {
		printf("p2pd %s\n", P2PD_VERSION);
		return EXIT_OK;
	}
	if (*name)
		return fail_with(EXIT_USAGE, "unknown command '%.80s'; see `p2pd --help`", name);
	print_usage(stderr);
	return EXIT_USAGE;
}
