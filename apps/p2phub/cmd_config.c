#include <stdlib.h>
#include <string.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_settings.h"
#include "core/fail.h"
#include "core/options.h"

static int check(const char *path)
{
	const struct hub_settings_source source = { .path = path };
	struct config_file *f = malloc(sizeof *f);
	struct hub_settings s;

	if (!f)
		return fail_with(EXIT_FAILED, "out of memory");
	int code = hub_settings_load(&s, &source, f);
	if (code)
		config_print_errors(f, stderr);
	else
		config_print(f, hub_settings_entries, &s, stdout);
	free(f);
	return code;
}

int cmd_config(int argc, char **argv)
{
	const struct options_entry entries[] = { { 0 } };
	const struct options options = {
		.usage = "p2phub config check [FILE]",
		.about = "Reads a file of settings (" HUB_SETTINGS_FILE
			 ") as `p2phub serve --config FILE` does. Prints "
			 "what is in\neffect by it, or all that is wrong, each with line and column.",
		.entries = entries,
		.min_args = 1,
		.max_args = 2,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (strcmp(args.items[0], "check") != 0)
		return fail_with(EXIT_USAGE, "unknown command 'config %.80s'; see `p2phub config --help`",
				 args.items[0]);
	return check(args.count == 2 ? args.items[1] : HUB_SETTINGS_FILE);
}
