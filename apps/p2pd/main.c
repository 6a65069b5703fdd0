#include "apps/p2pd/commands.h"
#include "core/commands.h"

static const struct command items[] = {
	{ "up", "join a network; returns once joined, the daemon stays", cmd_up },
	{ "down", "end the daemon; --forget leaves the network, too", cmd_down },
	{ "status", "this node, its hub, its peers and how packets reach them", cmd_status },
	{ "ping", "ping a peer and see which way the answers come", cmd_ping },
	{ "why", "why packets to a peer go as they do, and what would make them go directly", cmd_why },
	{ "portmap", "forward ports: make a service behind any NAT reachable", cmd_portmap },
	{ "wg", "stock WireGuard peers (a phone, a router): add, ls, rm, key", cmd_wg },
	{ "config", "config check: what is wrong with a file of settings", cmd_config },
	{ "keygen", "print a new secret for a network", cmd_keygen },
};

static const struct commands commands = {
	.program = "p2pd",
	.about = "Joins this machine to a private network of your machines, directly wherever that is "
		 "possible.",
	.items = items,
	.count = sizeof items / sizeof *items,
};

int main(int argc, char **argv)
{
	return commands_main(&commands, argc, argv);
}
