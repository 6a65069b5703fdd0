#include "apps/p2pd/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "apps/p2pd/client.h"
#include "apps/p2pd/daemonize.h"
#include "apps/p2pd/join.h"
#include "apps/p2pd/node_settings.h"
#include "apps/p2pd/shell.h"
#include "core/fail.h"
#include "core/log.h"
#include "core/options.h"

enum { TIMEOUT_S = 15, SOCKET_PATH_MAX = sizeof((struct sockaddr_un *)0)->sun_path };

struct up {
	struct join_wish wish;
	struct node_settings_source source;
	struct node_settings settings; /* in effect */
	struct gateway_config gateway;
	struct policy forwards; /* that the file declares */
	const char *state, *socket, *log;
	bool foreground, metrics_public;
	long timeout_s;
	char socket_path[SOCKET_PATH_MAX], config_path[PATH_MAX];
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

/* The daemon's log tells what came of it: nobody waits for an answer. */
static void on_hangup(void *arg)
{
	struct up *up = arg;
	struct node_settings next;
	struct policy forwards;
	struct config_file f;

	if (node_settings_load(&next, &up->source, &f) != EXIT_OK ||
	    node_settings_forwards(&forwards, &up->source, &f) != EXIT_OK) {
		config_log_errors("config", &f);
		return;
	}
	/* Of forwards the forwarder tells what becomes of them. */
	if (config_log_changes("config", node_settings_entries, &up->settings, &next) == 0)
		log_info("config", "read again: %s",
			 policy_same(&up->forwards, &forwards) ? "no setting has changed"
							       : "only forwards have changed");
	policy_free(&up->forwards);
	up->forwards = forwards;
	config_take_live(node_settings_entries, &up->settings, &next);
	node_settings_gateway(&up->settings, &up->gateway);
	log_set_levels(up->settings.log_level);
	log_set_format_by_name(up->settings.log_format);
}

static int join_and_run(struct up *up, struct state *state)
{
	/* A terminal that is closed ends what runs in its foreground. */
	bool reloads = !up->foreground || !isatty(STDIN_FILENO);
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
		.tun = *up->settings.tun ? up->settings.tun : NULL,
		.workers = node_settings_workers(up->settings.workers),
		.metrics = up->settings.metrics,
		.api = up->settings.api,
		.gateway = &up->gateway,
		.forwards = &up->forwards,
		.audit_retention_s = &up->settings.audit_retention_s,
		.rung = up->rung,
		.on_hangup = reloads ? on_hangup : NULL,
		.on_joined = on_joined,
		.arg = up,
	};
	code = shell_run(&config);
	state_wipe_network(&plan.network);
	state_wipe_network(&config.network);
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

static const char *said(const char *text)
{
	return *text ? text : NULL;
}

/* What the file says of the two is overruled by either option. */
static void wish_for(struct join_wish *w, const struct node_settings *s)
{
	w->hub = said(s->hub);
	w->network = said(s->network);
	w->secret = said(s->secret);
	w->name = said(s->name);
	w->ip4 = said(s->ip4);
	w->ip4_prefix = said(s->ip4_prefix);
	w->cipher = said(s->cipher);
	w->port = s->port;
	if (!w->portmap && !w->no_portmap) {
		w->portmap = s->portmap == CONFIG_YES;
		w->no_portmap = s->portmap == CONFIG_NO;
	}
	if (!w->hard_nat && !w->no_hard_nat) {
		w->hard_nat = s->hard_nat == CONFIG_YES;
		w->no_hard_nat = s->hard_nat == CONFIG_NO;
	}
}

/* The file is read again when the daemon has left its folder. */
static int load(struct up *up)
{
	struct config_file f;

	if (up->source.path && realpath(up->source.path, up->config_path))
		up->source.path = up->config_path;
	int code = node_settings_load(&up->settings, &up->source, &f);
	if (!code)
		code = node_settings_forwards(&up->forwards, &up->source, &f);
	if (code)
		config_print_errors(&f, stderr);
	if (code)
		return code;
	wish_for(&up->wish, &up->settings);
	node_settings_gateway(&up->settings, &up->gateway);
	return EXIT_OK;
}

/* Who reads it need not be a member: without a word that this is meant, only this machine may. */
static int check_metrics(const struct up *up)
{
	const struct addr *at = &up->settings.metrics;
	char text[ADDR_TEXT_MAX];

	if (at->family == ADDR_NONE || addr_is_loopback(at) || up->metrics_public ||
	    up->settings.metrics_public == CONFIG_YES)
		return EXIT_OK;
	return fail_with(EXIT_USAGE,
			 "--metrics: whoever reaches %s could read the numbers; give 127.0.0.1:PORT, or add "
			 "--metrics-public if a firewall or an address inside the VPN keeps others away",
			 addr_format(at, text));
}

static int check(struct up *up)
{
	if (up->log && up->foreground)
		return fail_with(EXIT_USAGE,
				 "--log is for the daemon; with --foreground the log goes to stderr");
	if (up->wish.portmap && up->wish.no_portmap)
		return fail_with(EXIT_USAGE, "give --portmap or --no-portmap, not both");
	if (up->wish.hard_nat && up->wish.no_hard_nat)
		return fail_with(EXIT_USAGE, "give --hard-nat or --no-hard-nat, not both");
	if (rung_parse(&up->rung, getenv("P2PD_OFFLOAD")))
		return fail_with(EXIT_USAGE, "P2PD_OFFLOAD (in the environment) takes one of " RUNG_NAMES);
	int code = load(up);
	if (code == EXIT_OK)
		code = check_metrics(up);
	if (code)
		return code;
	log_set_levels(up->settings.log_level);
	log_set_format_by_name(up->settings.log_format);
	return make_absolute(up);
}

int cmd_up(int argc, char **argv)
{
	struct up up = { .state = CLIENT_STATE, .socket = CLIENT_SOCKET, .timeout_s = TIMEOUT_S };
	struct join_wish *w = &up.wish;
	const struct options_entry others[] = {
		{ "config", "FILE", "settings (" NODE_SETTINGS_FILE " if there is one); options win over it",
		  .text = &up.source.path },
		{ "new", NULL, "found the network, though the hub has another one of this name",
		  .flag = &w->found_new },
		{ "allow-weak-secret", NULL, "take a secret that can be guessed", .flag = &w->allow_weak },
		{ "proxy", "URL",
		  "the HTTP proxy that leads to the hub; or none, or auto: see below (auto; kept)",
		  .text = &w->proxy },
		{ "no-portmap", NULL, "do not ask the router to forward the port (kept until --portmap)",
		  .flag = &w->no_portmap },
		{ "portmap", NULL, "ask it again (PCP, NAT-PMP, UPnP; the default)", .flag = &w->portmap },
		{ "hard-nat", NULL,
		  "search between two hard NATs, too, if both sides say so (kept until --no-hard-nat)",
		  .flag = &w->hard_nat },
		{ "no-hard-nat", NULL, "leave those to the relay (the default)", .flag = &w->no_hard_nat },
		{ "state", "DIR", "where keys and state are kept (" CLIENT_STATE ")", .text = &up.state },
		{ "socket", "PATH", "where other commands reach the daemon (" CLIENT_SOCKET ")",
		  .text = &up.socket },
		{ "metrics-public", NULL, "let --metrics be on another address", .flag = &up.metrics_public },
		{ "foreground", NULL, "stay in the foreground, and try an unreachable hub for ever",
		  .flag = &up.foreground },
		{ "timeout", "SECONDS", "give up when not joined by then (15)", .number = &up.timeout_s,
		  .min = 1, .max = 3600 },
		{ "log", "FILE", "where the daemon's log goes (nowhere)", .text = &up.log },
	};
	struct options_entry entries[CONFIG_ENTRIES_MAX + sizeof others / sizeof *others + 1] = { 0 };
	const struct options options = {
		.usage = "p2pd up [options]",
		.about = "Joins a network. Returns once joined; the daemon stays until `p2pd down`.",
		.entries = entries,
		.more = "The first time give --hub, --network and --secret; later `p2pd up` alone joins the "
			"same network\nagain, with the same name, addresses and port.\n"
			"Whoever has the secret is a member and can let others in: guard it like a key.\n"
			"--proxy takes http://HOST:PORT, or, where the proxy wants a password, file:PATH or "
			"env:NAME "
			"with\nhttp://USER:PASSWORD@HOST:PORT in it (%XX for what does not fit there). auto: "
			"as "
			"HTTPS_PROXY,\nALL_PROXY and NO_PROXY in the environment say; none: directly.\n"
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

	memcpy(entries + config_options(node_settings_entries, &up.source.typed, entries), others,
	       sizeof others);
	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = check(&up);
	if (!code && !up.foreground)
		code = daemonize_start(&up.daemon, up.log);
	if (!code)
		code = run(&up);
	policy_free(&up.forwards);
	return code;
}
