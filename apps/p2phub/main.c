#include <stdio.h>
#include <string.h>

#include "apps/p2phub/commands.h"
#include "core/crypto.h"
#include "core/fail.h"

static const struct command {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "serve", "run the hub", cmd_serve },
	{ "url", "print the hub's URL with its pin, as nodes want it", cmd_url },
};

static void print_usage(FILE *out)
{
	fprintf(out,
		"usage: p2phub COMMAND [options]\n\n"
		"Introduces the nodes of private networks to each other, and relays their sealed packets\n"
		"until they reach each other directly.\n\n");
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n`p2phub COMMAND --help` tells the options of a command; `p2phub --version` the "
		     "version.\n");
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
		printf("p2phub %s\n", P2PD_VERSION);
		return EXIT_OK;
	}
	if (*name)
		return fail_with(EXIT_USAGE, "unknown command '%.80s'; see `p2phub --help`", name);
	print_usage(stderr);
	return EXIT_USAGE;
}
