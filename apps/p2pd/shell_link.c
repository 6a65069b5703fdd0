/* The link to the hub, and what its trouble means for a person who waits. */
#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/p2pd/hub_proxy.h"
#include "core/crypto.h"
#include "core/fail.h"
#include "core/log.h"
#include "relay/proto/link.pb-c.h"

enum { COMPLAIN_EVERY_MS = 60000 };

static void on_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	struct shell *s = arg;

	log_info("hub", "connected to %s%s%s", s->config.network.hub, *s->proxy ? " through the proxy " : "",
		 s->proxy);
	s->complained_ms = 0;
	engine_on_hub_up(s->engine, exporter, remote, shell_now(s));
	shell_settle(s);
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	struct shell *s = arg;

	/* No message of link.proto begins so: relay/relay_wire.h. */
	if (len && msg[0] == RELAY_DATA) {
		worker_on_run(&s->worker, &s->engine->hub_link, msg, len);
		return;
	}
	engine_on_hub_message(s->engine, msg, len, shell_now(s));
	hub_link_spread(s->link, s->engine->hub_spread_ms);
	shell_settle(s);
}

/* Trouble that waiting does not end: the code, else EXIT_OK. */
static int definite(const struct shell *s, int error)
{
	switch (error) {
	case -EKEYREJECTED:
	case -EACCES: /* the proxy wants other credentials */
	case -ENOKEY: return EXIT_DENIED;
	case -ENXIO: return s->config.patient ? EXIT_OK : EXIT_TIMED_OUT; /* a name server may be down */
	default: return EXIT_OK;
	}
}

/* A person who waits is told by an end; the log once a minute. */
static void on_down(void *arg, int error, const char *text)
{
	struct shell *s = arg;
	uint64_t now = shell_now(s);
	int code = s->engine->joined ? EXIT_OK : definite(s, error);

	snprintf(s->trouble, sizeof s->trouble, "%s", text);
	if (code)
		shell_end(s, fail_with(code, "%s", text));
	else if (!s->complained_ms || now - s->complained_ms >= COMPLAIN_EVERY_MS) {
		s->complained_ms = now;
		log_warn("hub", "%s; still trying", text);
	}
	engine_on_hub_down(s->engine, now);
	shell_settle(s);
}

void shell_on_refused(struct shell *s, int reason)
{
	static const char *const texts[] = {
		[LINK__REFUSED_REASON__REFUSED_UNSPECIFIED] = "the hub refuses this node",
		[LINK__REFUSED_REASON__REFUSED_VERSION] =
			"the hub speaks another version: upgrade the older of the two",
		[LINK__REFUSED_REASON__REFUSED_BAD_LOGIN] = "the hub does not accept this node's login",
		[LINK__REFUSED_REASON__REFUSED_EXPIRED] =
			"the hub says that the pass has expired: are both clocks right?",
		[LINK__REFUSED_REASON__REFUSED_LIMIT] = "the hub takes no more nodes",
		[LINK__REFUSED_REASON__REFUSED_REPLACED] =
			"another machine has this node's keys: was the state folder copied?",
	};
	size_t count = sizeof texts / sizeof *texts;
	const char *text = texts[(size_t)reason < count ? (size_t)reason : 0];

	/* Tunnels outlive a hub, so they outlive its moods: whatever it says, it cannot end a node that has joined. */
	if (s->engine->joined)
		log_warn("hub", "%s; still trying", text);
	else
		shell_end(s, fail_with(EXIT_DENIED, "%s", text));
}

void shell_on_other_front(struct shell *s)
{
	const char *front = engine_hub_front(s->engine);

	if (s->engine->joined)
		log_warn("hub", "the hub is to be reached as %s now; still trying", front);
	else
		shell_end(s, fail_with(EXIT_DENIED, "this hub stands behind a proxy: give --hub %s", front));
}

void shell_on_join_timeout(struct shell *s)
{
	const char *text = *s->trouble ? s->trouble : "no answer from the hub";

	shell_end(s, fail_with(EXIT_TIMED_OUT, "not joined within %u s: %s", s->config.timeout_s,
			       s->engine->hub_up ? "the hub is connected, but does not let this node in"
						 : text));
}

static int take_proxy(struct shell *s, const struct hub_url *url)
{
	struct proxy proxy;
	char why[HUB_PROXY_WHY];
	int ret = hub_proxy_choose(&proxy, s->config.network.proxy, url, why);

	if (ret < 0)
		return fail_with(EXIT_USAGE, "%s", why);
	if (ret == 0)
		return EXIT_OK;
	proxy_format(&proxy, s->proxy);
	ret = hub_link_use_proxy(s->link, &proxy);
	crypto_wipe(&proxy, sizeof proxy);
	return ret ? fail_with(EXIT_FAILED, "out of memory") : EXIT_OK;
}

int shell_start_link(struct shell *s)
{
	static const struct hub_link_handler handler = { on_up, on_message, on_down };
	struct hub_url url;

	if (hub_url_parse(&url, s->config.network.hub))
		return fail_with(EXIT_FAILED,
				 "the hub's URL in the state folder is damaged: give it again with --hub");
	int ret = hub_link_create(&s->link, s->loop, &url, &s->engine->rng, &handler, s);
	if (ret == -ENOENT)
		return fail_with(
			EXIT_DENIED,
			"the hub's URL has no pin (#sha256:...), and this machine has no certificate "
			"authorities to trust: use the whole URL that `p2phub url` prints");
	return ret ? fail_with(EXIT_FAILED, "cannot start the link to the hub: %s", strerror(-ret))
		   : take_proxy(s, &url);
}

bool shell_drain_hub(struct shell *s)
{
	bool any = s->engine->hub_out.head, is_data;
	struct pkt *p;

	/* Of a link that is lost the engine hears, and says it all again to the next. */
	while ((p = engine_next_link_message(s->engine, &is_data))) {
		if (!is_data)
			hub_link_send(s->link, pkt_data(p), p->len);
		else if (hub_link_send_data(s->link, pkt_data(p), p->len) == -ENOBUFS)
			s->engine->drops.link_full++;
		pkt_put(&s->pool, p);
	}
	return any;
}

/* A list that is full may have left it out, and loopback is not in it. */
static bool is_gone(const struct shell *s, const struct addr *local)
{
	for (size_t i = 0; i < s->host_count; i++)
		if (addr_same_ip(&s->hosts[i], local))
			return false;
	return local->family && !addr_is_loopback(local) && s->host_count < ENGINE_HOSTS;
}

void shell_check_link(struct shell *s)
{
	if (!s->link)
		return;
	struct addr local = hub_link_local(s->link);
	if (is_gone(s, &local))
		hub_link_renew(s->link);
	else
		hub_link_kick(s->link);
}

void shell_close_link(struct shell *s)
{
	hub_link_destroy(s->link);
}
