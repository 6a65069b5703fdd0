#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_data.h"
#include "apps/p2phub/serve.h"
#include "core/fail.h"
#include "core/log.h"
#include "core/options.h"
#include "core/sd_notify.h"

enum { TLS_PORT = 443, UDP_PORT = 3478, SECOND_UDP_PORT = 3479 };

struct arguments {
	const char *data, *tls, *cert, *key, *level, *host;
	struct options_list udp;
};

static void stop(void *loop, int signum)
{
	(void)signum;
	loop_stop(loop);
}

static int read_addresses(const struct arguments *a, struct serve_config *c)
{
	if (addr_parse(&c->tls, a->tls, TLS_PORT) != 0)
		return fail_with(EXIT_USAGE, "--tls takes ADDRESS:PORT, not '%.80s'", a->tls);
	if (a->udp.count > SERVE_UDP_MAX)
		return fail_with(EXIT_USAGE, "--udp may be given at most %d times", SERVE_UDP_MAX);
	for (size_t i = 0; i < a->udp.count; i++)
		if (addr_parse(&c->udp[i], a->udp.items[i], UDP_PORT) != 0)
			return fail_with(EXIT_USAGE, "--udp takes ADDRESS:PORT, not '%.80s'",
					 a->udp.items[i]);
	c->udp_count = a->udp.count;
	/* By the second one nodes see whether their NAT maps each destination anew. */
	if (c->udp_count == 0) {
		addr_parse(&c->udp[c->udp_count++], "0.0.0.0", UDP_PORT);
		addr_parse(&c->udp[c->udp_count++], "0.0.0.0", SECOND_UDP_PORT);
	}
	return EXIT_OK;
}

static int read_key(const struct arguments *a, int dir, struct tls_key *key)
{
	int rc;

	if (a->cert) {
		rc = tls_key_from_files(key, a->cert, a->key);
		const char *which = access(a->cert, R_OK) ? a->cert : a->key;
		return rc ? fail_with(rc == -EACCES ? EXIT_DENIED : EXIT_FAILED, "cannot read %s: %s", which,
				      strerror(-rc))
			  : EXIT_OK;
	}
	rc = hub_data_key(dir, key);
	return rc ? fail_with(rc == -EPERM || rc == -EACCES ? EXIT_DENIED : EXIT_FAILED,
			      "cannot use the key in %s: %s", a->data, strerror(-rc))
		  : EXIT_OK;
}

/* What nodes are to be given. Without --host and a certain address to listen on, the host stays open. */
static int make_url(const struct arguments *a, const struct serve_config *c, struct hub_url *url)
{
	static const uint8_t any[16];
	char text[ADDR_TEXT_MAX], whole[HUB_URL_TEXT];

	*url = (struct hub_url) { .port = c->tls.port, .pinned = true };
	if (tls_pin_of_cert(url->pin, c->key->cert, c->key->cert_len) != 0)
		return fail_with(EXIT_FAILED, "%s holds no certificate", a->cert ? a->cert : a->data);
	if (a->host)
		snprintf(url->host, sizeof url->host, "%s", a->host);
	else if (memcmp(c->tls.ip, any, sizeof any) != 0)
		snprintf(url->host, sizeof url->host, "%s", addr_format_ip(&c->tls, text));
	struct hub_url again = *url;
	if (a->host && hub_url_parse(&again, hub_url_format(url, whole)) != 0)
		return fail_with(EXIT_USAGE, "--url-host takes a name or an address, not '%.80s'", a->host);
	return EXIT_OK;
}

static int explain(int error, const struct addr *at)
{
	char text[ADDR_TEXT_MAX];

	addr_format(at, text);
	switch (-error) {
	case EADDRINUSE:
		return fail_with(
			EXIT_CONFLICT,
			"%s is in use by another program: end it, or give another with --tls or --udp", text);
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

static int run_loop(struct loop *l, const struct serve_config *c, const struct hub_url *url)
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
	announce(url);
	if (c->udp_count == 1)
		log_warn("hub", "only one UDP port: nodes cannot tell what their NATs do; give --udp twice");
	loop_run(l);
	sd_notify_send("STOPPING=1");
	serve_destroy(s);
	return EXIT_OK;
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
static int run(const struct arguments *a, int dir, struct serve_config *c, struct tls_key *key)
{
	struct hub_url url;
	int code = read_key(a, dir, key);

	c->key = key;
	if (code == EXIT_OK)
		code = make_url(a, c, &url);
	if (code)
		return code;
	int rc = hub_data_keep_url(dir, &url);
	if (rc)
		return fail_with(EXIT_FAILED, "cannot write to %s: %s", a->data, strerror(-rc));
	struct loop *l = loop_create();
	if (!l)
		return fail_with(EXIT_FAILED, "out of memory");
	raise_file_limit();
	code = run_loop(l, c, &url);
	loop_destroy(l);
	return code;
}

static int run_in(const struct arguments *a, struct serve_config *c)
{
	struct tls_key key = { 0 };
	int dir = hub_data_open(a->data), code;

	if (dir < 0)
		return fail_with(dir == -EACCES || dir == -EPERM ? EXIT_DENIED : EXIT_FAILED,
				 "cannot open the data folder %s: %s", a->data, strerror(-dir));
	int lock = hub_data_lock(dir);
	if (lock >= 0)
		code = run(a, dir, c, &key);
	else if (lock == -EBUSY)
		code = fail_with(EXIT_CONFLICT,
				 "another p2phub serves from %s: end it, or give another --data", a->data);
	else
		code = fail_with(EXIT_FAILED, "cannot lock %s: %s", a->data, strerror(-lock));
	c->key = NULL;
	tls_key_wipe(&key);
	if (lock >= 0)
		close(lock);
	close(dir);
	return code;
}

int cmd_serve(int argc, char **argv)
{
	struct arguments a = { .data = HUB_DATA, .tls = "0.0.0.0:443", .level = "info" };
	const struct options_entry entries[] = {
		{ "data", "DIR", "where the hub's key is kept (" HUB_DATA ")", .text = &a.data },
		{ "tls", "ADDR:PORT", "for node links and the API, TCP (0.0.0.0:443)", .text = &a.tls },
		{ "udp", "ADDR:PORT", "for relay and STUN (0.0.0.0:3478 and :3479); up to 8 times",
		  .list = &a.udp },
		{ "cert", "FILE", "certificate (PEM with its chain, or DER) instead of the hub's own",
		  .text = &a.cert },
		{ "key", "FILE", "its private key", .text = &a.key },
		{ "url-host", "HOST", "name or address in the URL that is shown", .text = &a.host },
		{ "log-level", "LEVEL", "error, warn, info (default) or debug", .text = &a.level },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2phub serve [options]",
		.about = "Runs the hub until SIGTERM or SIGINT.",
		.entries = entries,
		.more = "The first --udp of each of IPv4 and IPv6 is the relay's, too; the others answer "
			"STUN. Two ports let\nnodes see how their NAT maps. Two public addresses with the "
			"same two ports on each also tell them\n(and `natcheck`, `stun`, "
			"`turnutils_natdiscovery`) what it lets in. 0.0.0.0 and [::] find two by\n"
			"themselves if the machine has them; private ones must be named.\n"
			"Let them in through the firewall: TCP 443, UDP 3478 and 3479.\n",
	};
	struct serve_config c = { 0 };
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (log_set_level_by_name(a.level) != 0)
		return fail_with(EXIT_USAGE, "--log-level takes error, warn, info or debug, not '%.20s'",
				 a.level);
	if (!a.cert != !a.key)
		return fail_with(EXIT_USAGE, "--cert and --key belong together");
	code = read_addresses(&a, &c);
	return code ? code : run_in(&a, &c);
}
