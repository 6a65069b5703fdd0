#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_data.h"
#include "apps/p2phub/hub_key.h"
#include "apps/p2phub/relay_key.h"
#include "apps/p2phub/reload.h"
#include "core/crypto.h"
#include "core/fail.h"
#include "core/log.h"
#include "core/options.h"
#include "core/sd_notify.h"

struct arguments {
	struct hub_settings_source source;
	struct hub_settings settings;
	bool metrics_public, relay_only;
};

static void stop(void *loop, int signum)
{
	(void)signum;
	loop_stop(loop);
}

static int explain(int error, const struct addr *at)
{
	char text[ADDR_TEXT_MAX];

	addr_format(at, text);
	switch (-error) {
	case EADDRINUSE:
		return fail_with(
			EXIT_CONFLICT,
			"%s is in use by another program: end it, or give another with --tls, --udp or "
			"--metrics",
			text);
	case EADDRNOTAVAIL: return fail_with(EXIT_FAILED, "%s is no address of this machine", text);
	case EACCES:
		return fail_with(EXIT_DENIED,
				 "no right to listen on %s: run as root, or with CAP_NET_BIND_SERVICE", text);
	case EBADMSG: return fail_with(EXIT_FAILED, "the certificate and the key do not belong together");
	default: return fail_with(EXIT_FAILED, "cannot start on %s: %s", text, strerror(-error));
	}
}

static void announce(const struct hub_url *url)
{
	struct hub_url shown = *url;
	char text[HUB_URL_TEXT];

	if (!*shown.host && hub_data_first_address(shown.host) != 0)
		strcpy(shown.host, "localhost");
	printf("p2phub: ready, %s\n", hub_url_format(&shown, text));
	fflush(stdout);
	sd_notify_send("READY=1");
}

static int run_loop(struct loop *l, const struct serve_config *c, struct reload *reload)
{
	struct serve *s;
	struct addr at;
	int rc = loop_on_signal(l, SIGTERM, stop, l);

	if (rc == 0)
		rc = loop_on_signal(l, SIGINT, stop, l);
	if (rc)
		return fail_with(EXIT_FAILED, "cannot wait for signals: %s", strerror(-rc));
	rc = serve_create(&s, l, c, &at);
	if (rc)
		return explain(rc, &at);
	rc = reload_start(reload, l, s);
	if (rc == 0) {
		announce(&reload->url);
		if (c->udp_count == 1)
			log_warn("hub",
				 "only one UDP port: nodes cannot tell what their NATs do; give --udp twice");
		loop_run(l);
		sd_notify_send("STOPPING=1");
	}
	reload_stop(reload);
	serve_destroy(s);
	return rc ? fail_with(EXIT_FAILED, "cannot wait for signals: %s", strerror(-rc)) : EXIT_OK;
}

/* --- A relay that knows nobody: no TLS, no data folder. */

struct relay_only {
	struct arguments *a;
	struct serve *serve;
};

static void reload_limits_only(void *arg, int signum)
{
	struct relay_only *r = arg;
	struct hub_settings next;
	struct config_file f;

	(void)signum;
	if (hub_settings_load(&next, &r->a->source, &f) != EXIT_OK) {
		config_log_errors("config", &f);
		return;
	}
	config_log_changes("config", hub_settings_entries, &r->a->settings, &next);
	config_take_live(hub_settings_entries, &r->a->settings, &next);
	struct serve_limits limits = reload_limits(&r->a->settings);
	serve_set_limits(r->serve, &limits);
}

static int run_relay_loop(struct loop *l, const struct serve_config *c, struct relay_only *r)
{
	struct addr at;
	int rc = loop_on_signal(l, SIGTERM, stop, l);

	if (rc == 0)
		rc = loop_on_signal(l, SIGINT, stop, l);
	if (rc == 0)
		rc = loop_on_signal(l, SIGHUP, reload_limits_only, r);
	if (rc)
		return fail_with(EXIT_FAILED, "cannot wait for signals: %s", strerror(-rc));
	rc = serve_create_relay(&r->serve, l, c, &at);
	if (rc)
		return explain(rc, &at);
	printf("p2phub: ready, relaying for who has a ticket of the hub with the same relay key\n");
	fflush(stdout);
	sd_notify_send("READY=1");
	loop_run(l);
	sd_notify_send("STOPPING=1");
	serve_destroy(r->serve);
	return EXIT_OK;
}

static int run_relay_only(struct arguments *a, const struct serve_config *c)
{
	struct relay_only r = { .a = a };

	if (!*a->settings.relay_key)
		return fail_with(EXIT_USAGE, "--relay-only needs --relay-key FILE, the hub's");
	struct loop *l = loop_create();
	if (!l)
		return fail_with(EXIT_FAILED, "out of memory");
	int code = run_relay_loop(l, c, &r);
	loop_destroy(l);
	return code;
}

/* A descriptor for each node: what the system allows at most, and a word if that is not enough. */
static void raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < SERVE_NODES_MAX)
		log_info("hub",
			 "the limit of open files allows %llu nodes: see `ulimit -Hn`, or LimitNOFILE= of "
			 "systemd",
			 (unsigned long long)files.rlim_max);
}

/* The URL is kept before anyone can connect, so that who sees the hub listen can ask for it. */
static int run(struct arguments *a, int dir, struct serve_config *c, struct tls_key *key)
{
	struct reload reload = { .source = &a->source, .now = &a->settings, .dir = dir };
	char why[HUB_KEY_WHY];

	certificate_changed(&reload.certificate, a->settings.cert, a->settings.key);
	int code = hub_key_read(&a->settings, dir, key, why);
	c->key = key;
	if (code == EXIT_OK)
		code = hub_key_url(&a->settings, key, &reload.url, why);
	if (code)
		return fail_with(code, "%s", why);
	int rc = hub_data_keep_url(dir, &reload.url);
	if (rc)
		return fail_with(EXIT_FAILED, "cannot write to %s: %s", a->settings.data, strerror(-rc));
	struct loop *l = loop_create();
	if (!l)
		return fail_with(EXIT_FAILED, "out of memory");
	c->data = a->settings.data;
	c->front = *a->settings.behind_proxy ? &reload.url : NULL;
	c->url_host = reload.url.host;
	c->url_port = reload.url.port;
	raise_file_limit();
	code = run_loop(l, c, &reload);
	c->front = NULL;
	c->url_host = NULL;
	loop_destroy(l);
	return code;
}

static int run_in(struct arguments *a, struct serve_config *c)
{
	const char *data = a->settings.data;
	struct tls_key key = { 0 };
	int dir = hub_data_open(data), code;

	if (dir < 0)
		return fail_with(dir == -EACCES || dir == -EPERM ? EXIT_DENIED : EXIT_FAILED,
				 "cannot open the data folder %s: %s", data, strerror(-dir));
	int lock = hub_data_lock(dir);
	if (lock >= 0)
		code = run(a, dir, c, &key);
	else if (lock == -EBUSY)
		code = fail_with(EXIT_CONFLICT,
				 "another p2phub serves from %s: end it, or give another --data", data);
	else
		code = fail_with(EXIT_FAILED, "cannot lock %s: %s", data, strerror(-lock));
	c->key = NULL;
	tls_key_wipe(&key);
	if (lock >= 0)
		close(lock);
	close(dir);
	return code;
}

static int check_metrics(const struct serve_config *c)
{
	if (c->metrics.family == ADDR_NONE || addr_is_loopback(&c->metrics) || c->metrics_public)
		return EXIT_OK;
	return fail_with(EXIT_USAGE, "--metrics: whoever reaches that address could read the numbers; give "
				     "127.0.0.1:PORT, or add --metrics-public");
}

static int load(struct arguments *a, struct serve_config *c)
{
	struct hub_settings *s = &a->settings;
	struct config_file f;
	int code = hub_settings_load(s, &a->source, &f);

	if (code) {
		config_print_errors(&f, stderr);
		return code;
	}
	log_set_levels(s->log_level);
	log_set_format_by_name(s->log_format);
	*c = (struct serve_config) { .tls = s->tls, .udp_count = s->udp.count, .limits = reload_limits(s) };
	c->metrics = s->metrics;
	c->metrics_public = a->metrics_public || s->metrics_public == CONFIG_YES;
	code = check_metrics(c);
	if (code)
		return code;
	memcpy(c->udp, s->udp.items, sizeof c->udp);
	memcpy(c->relays, s->relays.items, sizeof c->relays);
	c->relay_count = s->relays.count;
	if (*s->relay_key) {
		char why[RELAY_KEY_WHY];
		code = relay_key_read(c->relay_key, s->relay_key, why);
		if (code)
			return fail_with(code, "%s", why);
	}
	return EXIT_OK;
}

int cmd_serve(int argc, char **argv)
{
	struct arguments a = { 0 };
	struct options_entry entries[CONFIG_ENTRIES_MAX + 4] = {
		{ "config", "FILE", "settings (" HUB_SETTINGS_FILE " if there is one); options win over it",
		  .text = &a.source.path },
		{ "metrics-public", NULL,
		  "anyone may read /metrics, not only this machine and who shows a token of `p2phub apikey`",
		  .flag = &a.metrics_public },
		{ "relay-only", NULL,
		  "be one of the other relays of a hub: needs --relay-key, takes --udp, --metrics",
		  .flag = &a.relay_only },
	};
	const struct options options = {
		.usage = "p2phub serve [options]",
		.about = "Runs the hub until SIGTERM or SIGINT. SIGHUP has it read its settings again.",
		.entries = entries,
		.more = "The first --udp of each of IPv4 and IPv6 is the relay's, too; the others answer "
			"STUN. Two ports let\nnodes see how their NAT maps. Two public addresses with the "
			"same two ports on each also tell them\n(and `natcheck`, `stun`, "
			"`turnutils_natdiscovery`) what it lets in. 0.0.0.0 and [::] find two by\n"
			"themselves if the machine has them; private ones must be named.\n"
			"--behind-proxy is for a proxy that ends TLS (nginx's `http`): logins are then bound "
			"to its "
			"URL, not\nto the TLS session, and whoever has the proxy can act as the hub. "
			"With a certificate of its own, which\nno authority vouches for, give the URL with "
			"that certificate's pin. A proxy that passes TLS on\n(nginx's `stream`) needs "
			"nothing.\n"
			"Let them in through the firewall: TCP 443, UDP 3478 and 3479.\n",
	};
	struct serve_config c;
	struct options_list args;
	int code;

	config_options(hub_settings_entries, &a.source.typed, entries + 3);
	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = load(&a, &c);
	if (code == EXIT_OK)
		code = a.relay_only ? run_relay_only(&a, &c) : run_in(&a, &c);
	crypto_wipe(c.relay_key, sizeof c.relay_key);
	return code;
}
