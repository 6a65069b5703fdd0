#include "core/commands.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/crypto.h"
#include "core/fail.h"

static void print_usage(const struct commands *c, FILE *out)
{
	fprintf(out, "usage: %s COMMAND [options]\n\n%s\n\n", c->program, c->about);
	for (size_t i = 0; i < c->count; i++)
		fprintf(out, "  %-8s %s\n", c->items[i].name, c->items[i].help);
	fprintf(out, "\n`%s COMMAND --help` tells the options of a command; `%s --version` the version.\n",
		c->program, c->program);
}

static int run(const struct command *command, int argc, char **argv)
{
	if (crypto_init())
		return fail_with(EXIT_FAILED, "the system gives no randomness");
	return command->run(argc, argv);
}

int commands_main(const struct commands *c, int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < c->count; i++)
		if (!strcmp(name, c->items[i].name))
			return run(&c->items[i], argc - 1, argv + 1);
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		print_usage(c, stdout);
		return EXIT_OK;
	}
	if (!strcmp(name, "--version")) {
		printf("%s %s\n", c->program, P2PD_VERSION);
		return EXIT_OK;
	}
	if (*name)
		return fail_with(EXIT_USAGE, "unknown command '%.80s'; see `%s --help`", name, c->program);
	print_usage(c, stderr);
	return EXIT_USAGE;
}

int commands_act(const struct command_group *g, int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	bool asked = !strcmp(name, "--help") || !strcmp(name, "-h");

	for (size_t i = 0; i < g->count; i++)
		if (!strcmp(name, g->actions[i].name))
			return g->actions[i].run(argc - 1, argv + 1);
	if (*name && !asked)
		return fail_with(EXIT_USAGE, "unknown command '%s %.80s'; see `%s --help`",
				 strchr(g->name, ' ') + 1, name, g->name);
	for (size_t i = 0; i < g->count; i++)
		fprintf(asked ? stdout : stderr, "%s %s %s\n", i ? "      " : "usage:", g->name,
			g->actions[i].usage);
	if (asked)
		printf("\n%s\n", g->about);
	return asked ? EXIT_OK : EXIT_USAGE;
}
