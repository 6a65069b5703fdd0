/* A program of subcommands: one table drives dispatch and --help. */
#ifndef P2PD_CORE_COMMANDS_H
#define P2PD_CORE_COMMANDS_H

#include <stddef.h>

struct command {
	const char *name, *help;	   /* one line */
	int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit code */
};

struct commands {
	const char *program, *about;
	const struct command *items;
	size_t count;
};

/* The whole of a main(): readies the cryptography, runs what argv[1] names, knows --help and --version. */
int commands_main(const struct commands *c, int argc, char **argv);

/* What a subcommand can be told to do, `usage` behind the name of that subcommand. */
struct command_action {
	const char *name, *usage;
	int (*run)(int argc, char **argv);
};

struct command_group {
	const char *name;  /* "p2pd wg" */
	const char *about; /* lines at the end of the help */
	const struct command_action *actions;
	size_t count;
};

/* Runs what argv[1] names, knows --help; returns the exit code. */
int commands_act(const struct command_group *g, int argc, char **argv);

#endif
