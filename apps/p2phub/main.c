#include "apps/p2phub/commands.h"
#include "core/commands.h"

static const struct command items[] = {
	{ "serve", "run the hub", cmd_serve },
	{ "config", "config check: what is wrong with a file of settings", cmd_config },
	{ "status", "tell how the running hub is", cmd_status },
	{ "apikey", "make, list and revoke tokens for the API", cmd_apikey },
	{ "url", "print the hub's URL with its pin, as nodes want it", cmd_url },
};

static const struct commands commands = {
	.program = "p2phub",
	.about = "Introduces the nodes of private networks to each other, and relays their sealed packets\n"
		 "until they reach each other directly.",
	.items = items,
	.count = sizeof items / sizeof *items,
};

int main(int argc, char **argv)
{
	return commands_main(&commands, argc, argv);
}
