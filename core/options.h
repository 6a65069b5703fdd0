/* A command's options as one table: it drives parsing and --help. `--name VALUE`, `--name=VALUE`, and `-n VALUE` for
 * names of one letter; the rest are positional arguments, everything after `--` too. */
#ifndef P2PD_CORE_OPTIONS_H
#define P2PD_CORE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum { OPTIONS_LIST_MAX = 64 };

struct options_list {
	const char *items[OPTIONS_LIST_MAX];
	size_t count;
};

/* One option. Exactly one of the destinations is set; what it points to holds the default before parsing. */
struct options_entry {
	const char *name;  /* without dashes; NULL ends the table */
	const char *value; /* what the help calls the value, NULL for a flag */
	const char *help;
	bool *flag;
	const char **text;
	struct options_list *list; /* may be given several times */
	long *number;
	long min, max; /* of the number */
};

struct options {
	const char *usage; /* "p2pd ping PEER [options]" */
	const char *about; /* one sentence */
	const struct options_entry *entries;
	const char *more; /* printed at the end of the help; may be NULL */
	size_t min_args, max_args;
};

/* Reads argv[1..argc). True to go on, with the positional arguments in `args`; false to end with *exit_code: after
 * --help, or after a line on stderr that says what is wrong. Texts point into argv. */
bool options_parse(const struct options *o, int argc, char **argv, struct options_list *args, int *exit_code);

#endif
