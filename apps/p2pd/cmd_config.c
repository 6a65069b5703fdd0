#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/commands.h"
#include "apps/p2pd/node_settings.h"
#include "core/fail.h"
#include "core/options.h"

static int check(const char *path)
{
	const struct node_settings_source source = { .path = path };
	struct config_file *f = malloc(sizeof *f);
	struct policy forwards = { 0 };
	struct node_settings s;

	if (!f)
		return fail_with(EXIT_FAILED, "out of memory");
	int code = node_settings_load(&s, &source, f);
	if (!code) {
		config_print(f, node_settings_entries, &s, stdout);
		code = node_settings_forwards(&forwards, &source, f);
	}
	if (code)
		config_print_errors(f, stderr);
	else
		printf("%-26s %zu\n", "forwards", forwards.count);
	policy_free(&forwards);
	free(f);
	return code;
}

int cmd_config(int argc, char **argv)
{
	const struct options_entry entries[] = { { 0 } };
	const struct options options = {
		.usage = "p2pd config check [FILE]",
		.about =
			"Reads a file of settings (" NODE_SETTINGS_FILE
			") as `p2pd up --config FILE` does. Prints "
			"what is in\neffect by it (- is what the node remembers, or chooses), or all that is "
			"wrong, each with line and column.",
		.entries = entries,
		.min_args = 1,
		.max_args = 2,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (strcmp(args.items[0], "check") != 0)
		return fail_with(EXIT_USAGE, "unknown command 'config %.80s'; see `p2pd config --help`",
				 args.items[0]);
	return check(args.count == 2 ? args.items[1] : NODE_SETTINGS_FILE);
}
