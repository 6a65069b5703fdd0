#include "apps/p2pd/commands.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "apps/p2pd/client.h"
#include "apps/p2pd/daemonize.h"
#include "apps/p2pd/join.h"
#include "apps/p2pd/shell.h"
#include "apps/p2pd/workers.h"
#include "core/fail.h"
#include "core/log.h"
#include "core/options.h"
#include "tun/device.h"

enum { TIMEOUT_S = 15, SOCKET_PATH_MAX = sizeof((struct sockaddr_un *)0)->sun_path };

struct up {
	struct join_wish wish;
	const char *state, *socket, *tun, *log_level, *log_format, *log, *workers;
	bool foreground;
	long timeout_s;
	char socket_path[SOCKET_PATH_MAX];
	struct rung rung;
	struct daemonize daemon;
};

static void on_joined(void *arg, const char *text)
{
	struct up *up = arg;

	if (!up->foreground)
		daemonize_release(&up->daemon, text);
}

static int open_state(const struct up *up, struct state *state)
{
	int ret = state_open(state, up->state);

	switch (ret) {
	case 0: return EXIT_OK;
	case -EBUSY:
		return fail_with(EXIT_CONFLICT,
				 "another p2pd uses the state folder %s: a second node needs its own --state",
				 up->state);
	case -EACCES:
		return fail_with(EXIT_DENIED,
				 "no right to the state folder %s: try sudo, or give --state DIR", up->state);
	case -EPERM:
		return fail_with(EXIT_DENIED,
				 "the state folder %s belongs to another user or others may write to it: "
				 "it must be this user's alone",
				 up->state);
	default:
		return fail_with(EXIT_FAILED, "cannot use the state folder %s: %s", up->state,
				 strerror(-ret));
	}
}

/* How many workers measure best: on two cores one, which shares nothing. 0 for what is no number of them. */
static unsigned count_workers(const char *text)
{
	cpu_set_t cpus;
	char *end;

	if (text && strcmp(text, "auto")) {
		unsigned long n = strtoul(text, &end, 10);
		return *end || n > WORKERS_MAX ? 0 : (unsigned)n;
	}
	int cores = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	return cores < 4 ? 1 : cores < 8 ? 2 : 4;
}

static int join_and_run(struct up *up, struct state *state)
{
	struct join_plan plan;
	int code = join_plan(&up->wish, state, &plan);

	if (code)
		return code;
	struct shell_config config = {
		.state = state,
		.network = plan.network,
		.any_port = plan.any_port,
		.trusted = plan.trusted,
		.patient = up->foreground,
		.timeout_s = (unsigned)up->timeout_s,
		.socket = up->socket_path,
		.tun = up->tun,
		.workers = count_workers(up->workers),
		.rung = up->rung,
		.on_joined = on_joined,
		.arg = up,
	};
	code = shell_run(&config);
	network_wipe(&plan.network.net);
	network_wipe(&config.network.net);
	return code;
}

/* The daemon leaves its folder, so that the socket's path must not depend on it. */
static int make_absolute(struct up *up)
{
	char here[PATH_MAX] = "";
	bool relative = up->socket[0] != '/';

	if (relative && !getcwd(here, sizeof here))
		return fail_with(EXIT_FAILED, "the current folder is gone: give --socket an absolute path");
	int len = snprintf(up->socket_path, sizeof up->socket_path, "%s%s%s", here, relative ? "/" : "",
			   up->socket);
	return len < SOCKET_PATH_MAX
		       ? EXIT_OK
		       : fail_with(EXIT_USAGE,
				   "--socket: the path is longer than the %d bytes that a socket's may have",
				   SOCKET_PATH_MAX - 1);
}

static int run(struct up *up)
{
	struct state state;

	if (client_is_alive(up->socket))
		return fail_with(EXIT_CONFLICT,
				 "another p2pd is running on %s: `p2pd status` shows it, `p2pd down` ends it",
				 up->socket);
	int code = open_state(up, &state);
	if (code)
		return code;
	code = join_and_run(up, &state);
	state_close(&state);
	return code;
}

static int check(struct up *up)
{
	if (log_set_levels(up->log_level))
		return fail_with(EXIT_USAGE, "--log-level takes " LOG_LEVELS_HELP);
	if (log_set_format_by_name(up->log_format))
		return fail_with(EXIT_USAGE, "--log-format takes text or json");
	if (up->log && up->foreground)
		return fail_with(EXIT_USAGE,
				 "--log is for the daemon; with --foreground the log goes to stderr");
	if (up->tun && (!*up->tun || strlen(up->tun) > TUN_NAME_MAX || strpbrk(up->tun, "/: %")))
		return fail_with(EXIT_USAGE,
				 "--tun takes a name of 1 to %d characters without / : %% or spaces",
				 TUN_NAME_MAX);
	if (up->wish.portmap && up->wish.no_portmap)
		return fail_with(EXIT_USAGE, "give --portmap or --no-portmap, not both");
	if (up->wish.hard_nat && up->wish.no_hard_nat)
		return fail_with(EXIT_USAGE, "give --hard-nat or --no-hard-nat, not both");
	if (!count_workers(up->workers))
		return fail_with(EXIT_USAGE, "--workers takes auto or a number from 1 to %d", WORKERS_MAX);
	if (up->wish.cipher && strcmp(up->wish.cipher, "auto") && strcmp(up->wish.cipher, "chacha20"))
		return fail_with(EXIT_USAGE, "--cipher takes auto or chacha20");
	if (up->wish.name && !*up->wish.name)
		return fail_with(EXIT_USAGE, "--name is empty");
	if (rung_parse(&up->rung, getenv("P2PD_OFFLOAD")))
		return fail_with(EXIT_USAGE, "P2PD_OFFLOAD (in the environment) takes one of " RUNG_NAMES);
	return make_absolute(up);
}

int cmd_up(int argc, char **argv)
{
	struct up up = { .state = CLIENT_STATE,
			 .socket = CLIENT_SOCKET,
			 .log_level = "info",
			 .log_format = "text",
			 .timeout_s = TIMEOUT_S };
	struct join_wish *w = &up.wish;
	const struct options_entry entries[] = {
		{ "hub", "URL", "the hub, as `p2phub url` prints it there", .text = &w->hub },
		{ "network", "NAME", "the network; all its machines give the same name and secret",
		  .text = &w->network },
		{ "secret", "SPEC", "its secret as file:PATH or env:NAME; asked for when left out",
		  .text = &w->secret },
		{ "new", NULL, "found the network, though the hub has another one of this name",
		  .flag = &w->found_new },
		{ "allow-weak-secret", NULL, "take a secret that can be guessed", .flag = &w->allow_weak },
		{ "name", "NAME", "this node's name in the network (the host's name)", .text = &w->name },
		{ "ip4", "ADDRESS", "the overlay address to ask for (one derived from the node's key)",
		  .text = &w->ip4 },
		{ "ip4-prefix", "CIDR",
		  "the network's IPv4 addresses, the same on all machines (" JOIN_IP4_PREFIX ")",
		  .text = &w->ip4_prefix },
		{ "port", "N", "UDP port (a random one, kept)", .number = &w->port, .min = 1, .max = 65535 },
		{ "no-portmap", NULL, "do not ask the router to forward the port (kept until --portmap)",
		  .flag = &w->no_portmap },
		{ "portmap", NULL, "ask it again (PCP, NAT-PMP, UPnP; the default)", .flag = &w->portmap },
		{ "hard-nat", NULL,
		  "search between two hard NATs, too, if both sides say so (kept until --no-hard-nat)",
		  .flag = &w->hard_nat },
		{ "no-hard-nat", NULL, "leave those to the relay (the default)", .flag = &w->no_hard_nat },
		{ "cipher", "WHICH",
		  "auto: the faster one of two where both ends can; or chacha20 (auto; kept)",
		  .text = &w->cipher },
		{ "workers", "N", "threads that carry data: 1 to 16, or auto: what measures best (auto)",
		  .text = &up.workers },
		{ "tun", "NAME", "name of the network device (p2pd0, p2pd1, ...)", .text = &up.tun },
		{ "state", "DIR", "where keys and state are kept (" CLIENT_STATE ")", .text = &up.state },
		{ "socket", "PATH", "where other commands reach the daemon (" CLIENT_SOCKET ")",
		  .text = &up.socket },
		{ "foreground", NULL, "stay in the foreground, and try an unreachable hub for ever",
		  .flag = &up.foreground },
		{ "timeout", "SECONDS", "give up when not joined by then (15)", .number = &up.timeout_s,
		  .min = 1, .max = 3600 },
		{ "log-level", "LEVELS", LOG_LEVELS_HELP " (info)", .text = &up.log_level },
		{ "log-format", "FORMAT", "text or json (text)", .text = &up.log_format },
		{ "log", "FILE", "where the daemon's log goes (nowhere)", .text = &up.log },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd up [options]",
		.about = "Joins a network. Returns once joined; the daemon stays until `p2pd down`.",
		.entries = entries,
		.more = "The first time give --hub, --network and --secret; later `p2pd up` alone joins the "
			"same network\nagain, with the same name, addresses and port.\n"
			"Whoever has the secret is a member and can let others in: guard it like a key.\n"
			"Packets are sealed with AEGIS-256 where the processors of both ends have AES "
			"instructions and neither\nend says --cipher chacha20, else with ChaCha20-Poly1305. "
			"`p2pd status` tells which.\n"
			"A NAT is hard when it gives each destination another port; `p2pd why PEER` tells. "
			"The search sends\nup to 1,024 probes for what is often a small chance.\n"
			"Should a kernel or network card spoil large packets, P2PD_OFFLOAD in the "
			"environment "
			"leaves out what\nit does for speed: " RUNG_NAMES
			", each less than the one before.\n",
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = check(&up);
	if (!code && !up.foreground)
		code = daemonize_start(&up.daemon, up.log);
	return code ? code : run(&up);
}
