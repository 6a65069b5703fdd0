#include "apps/p2pd/requests.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2pd/status.h"
#include "apps/p2pd/wg_key.h"
#include "apps/p2pd/why.h"
#include "core/fail.h"

enum { TEXT_MAX = 256, WAIT_DEFAULT_MS = 2000 };

/* Takes the object over. */
static char *text_of(json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}

struct requests_answer requests_error(int status, enum exit_code code, const char *text)
{
	json_t *json = json_pack("{s{ss ss}}", "error", "code", fail_word(code), "message", text);

	return (struct requests_answer) { status, text_of(json) };
}

static struct requests_answer ok(void)
{
	return (struct requests_answer) { 200, text_of(json_pack("{sb}", "ok", true)) };
}

static struct requests_answer malformed(const char *text)
{
	return requests_error(400, EXIT_USAGE, text);
}

/* An object, or NULL; no body counts as an empty one. */
static json_t *object_of(const char *body, size_t len)
{
	json_t *json = len ? json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL) : json_object();

	if (json_is_object(json))
		return json;
	json_decref(json);
	return NULL;
}

struct requests_answer requests_status(const struct requests_target *t, uint64_t now_ms, uint64_t unix_ns)
{
	const struct status s = { t->engine,  t->hub_url, t->hub_proxy, t->tun,	       t->offload(t->arg),
				  t->workers, now_ms,	  unix_ns,	t->forward_off };

	return (struct requests_answer) { 200, status_format(&s) };
}

struct requests_answer requests_down(const struct requests_target *t, const char *body, size_t len)
{
	json_t *json = object_of(body, len);
	int forget = 0, bad = !json || json_unpack(json, "{s?b}", "forget", &forget);

	json_decref(json);
	if (bad)
		return malformed("the body must be {\"forget\": true or false}");
	t->down(t->arg, forget);
	return (struct requests_answer) { 200, text_of(json_pack("{si}", "pid", (int)getpid())) };
}

/* --- Stock WireGuard peers */

struct requests_answer requests_wg_list(const struct requests_target *t)
{
	return (struct requests_answer) { 200, wg_peers_format(t->wg, false) };
}

struct requests_answer requests_wg_key(const struct requests_target *t)
{
	char key[WG_KEY_TEXT];

	wg_key_format(t->engine->local.pk, key);
	return (struct requests_answer) { 200, text_of(json_pack("{ss}", "key", key)) };
}

static struct requests_answer refused_peer(int error, const char *name)
{
	char text[TEXT_MAX];

	switch (error) {
	case -EEXIST:
		snprintf(text, sizeof text, "a peer has the name '%s' or this key already; see `p2pd status`",
			 name);
		return requests_error(409, EXIT_CONFLICT, text);
	case -EADDRINUSE:
		return requests_error(
			409, EXIT_CONFLICT,
			"this machine has a route of its own to one of the allowed IPs; see `ip route`");
	case -EINVAL: return malformed("this public key cannot be used: is it the peer's own, and whole?");
	case -ENOSPC: return requests_error(409, EXIT_CONFLICT, "there are too many peers");
	default:
		snprintf(text, sizeof text, "the peer was not kept: %s", strerror(-error));
		return requests_error(500, EXIT_FAILED, text);
	}
}

static bool same_prefix(const struct addr *a, unsigned a_bits, const struct addr *b, unsigned b_bits)
{
	return a_bits == b_bits && addr_in_prefix(a, b, b_bits);
}

/* Who has exactly this prefix already: this node, a member, or another stock peer. NULL: nobody. */
static const char *holder(const struct requests_target *t, const struct addr *prefix, unsigned bits)
{
	const struct engine *e = t->engine;
	bool single = bits == (prefix->family == ADDR_V4 ? 32 : 128);

	if (single && (addr_same_ip(prefix, &e->ip4) || addr_same_ip(prefix, &e->ip6)))
		return e->config.name;
	for (const struct engine_peer *ep = e->peers; single && ep; ep = ep->next)
		if (ep->peer.own_kind && (addr_same_ip(prefix, &ep->ip4) || addr_same_ip(prefix, &ep->ip6)))
			return ep->peer.name;
	for (size_t i = 0; i < t->wg->count; i++)
		for (unsigned k = 0; k < t->wg->items[i].allowed_count; k++)
			if (same_prefix(&t->wg->items[i].allowed[k].prefix, t->wg->items[i].allowed[k].bits,
					prefix, bits))
				return t->wg->items[i].name;
	return NULL;
}

/* True if the peer's name and addresses are free; if not, *error says whose they are. */
static bool is_free(const struct requests_target *t, const struct engine_wg_peer *peer,
		    struct requests_answer *error)
{
	char text[TEXT_MAX], ip[ADDR_TEXT_MAX];

	if (!strcmp(peer->name, t->engine->config.name)) {
		*error = requests_error(409, EXIT_CONFLICT, "this node itself has that name: choose another");
		return false;
	}
	for (unsigned i = 0; i < peer->allowed_count; i++) {
		const char *whose = holder(t, &peer->allowed[i].prefix, peer->allowed[i].bits);
		if (!whose || !strcmp(whose, peer->name))
			continue;
		snprintf(text, sizeof text, "%s/%u is %s's already: choose another",
			 addr_format_ip(&peer->allowed[i].prefix, ip), (unsigned)peer->allowed[i].bits,
			 whose);
		*error = requests_error(409, EXIT_CONFLICT, text);
		return false;
	}
	return true;
}

/* Into engine, list and file, or into none of them. */
static int add_everywhere(const struct requests_target *t, const struct engine_wg_peer *peer, uint64_t now_ms)
{
	int ret = engine_add_wg(t->engine, peer, now_ms);

	if (ret)
		return ret;
	ret = wg_peers_add(t->wg, peer);
	if (!ret) {
		ret = t->wg_changed(t->arg, peer, true);
		if (ret)
			wg_peers_remove(t->wg, peer->name);
	}
	if (ret)
		engine_remove_wg(t->engine, peer->name);
	return ret;
}

struct requests_answer requests_wg_add(const struct requests_target *t, const char *body, size_t len,
				       uint64_t now_ms)
{
	struct engine_wg_peer peer;
	char why[WG_PEERS_WHY];
	struct requests_answer answer;

	if (wg_peers_parse(&peer, body, len, why)) {
		answer = malformed(why);
	} else if (is_free(t, &peer, &answer)) {
		int ret = add_everywhere(t, &peer, now_ms);
		answer = ret ? refused_peer(ret, peer.name) : ok();
	}
	crypto_wipe(&peer, sizeof peer);
	return answer;
}

static const struct engine_wg_peer *find_wg(const struct wg_peers *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (!strcmp(l->items[i].name, name))
			return &l->items[i];
	return NULL;
}

struct requests_answer requests_wg_remove(const struct requests_target *t, const char *body, size_t len)
{
	json_t *json = object_of(body, len);
	const char *name = json_string_value(json_object_get(json, "name"));
	const struct engine_wg_peer *known = name ? find_wg(t->wg, name) : NULL;
	struct requests_answer answer;
	char text[TEXT_MAX];

	snprintf(text, sizeof text, "no stock peer is called '%.64s'; see `p2pd wg ls`", name ? name : "");
	if (!name)
		answer = malformed("the body must be {\"name\": TEXT}");
	else if (!known)
		answer = requests_error(404, EXIT_NOT_FOUND, text);
	else {
		struct engine_wg_peer gone = *known;
		engine_remove_wg(t->engine, name);
		wg_peers_remove(t->wg, name);
		int ret = t->wg_changed(t->arg, &gone, false);
		answer = ret ? refused_peer(ret, name) : ok();
		crypto_wipe(&gone, sizeof gone);
	}
	json_decref(json);
	return answer;
}

static bool is_self(const struct engine *e, const char *name)
{
	struct addr a;

	if (addr_parse(&a, name, 0))
		return !strcmp(name, e->config.name);
	return addr_same_ip(&a, &e->ip4) || addr_same_ip(&a, &e->ip6);
}

/* The peer of that name or address; if there is none, NULL, and *error says why. */
static struct engine_peer *find_peer(const struct requests_target *t, const char *name,
				     struct requests_answer *error)
{
	struct engine_peer *ep = engine_find_peer(t->engine, name);
	char text[TEXT_MAX];

	if (ep)
		return ep;
	if (is_self(t->engine, name)) {
		snprintf(text, sizeof text, "'%.64s' is this node itself", name);
		*error = requests_error(404, EXIT_NOT_FOUND, text);
	} else if (!t->engine->joined) {
		*error = requests_error(409, EXIT_NOT_JOINED,
					"not joined yet: the hub does not answer so far");
	} else {
		snprintf(text, sizeof text,
			 "no peer has the name or address '%.64s'; `p2pd status` lists them", name);
		*error = requests_error(404, EXIT_NOT_FOUND, text);
	}
	return NULL;
}

/* --- Port forwarding */

struct requests_answer requests_no_forward(const struct requests_target *t)
{
	char text[FILE_WHY + 64];

	if (!t->forward_off)
		return requests_error(503, EXIT_FAILED, "the daemon is still starting: try again");
	snprintf(text, sizeof text, "port forwarding is off until the next reload or start: %s",
		 t->forward_off);
	return requests_error(503, EXIT_FAILED, text);
}

/* --- Why a path is what it is */

void requests_metrics(const struct requests_target *t, struct metrics *m)
{
	node_metrics_write(m, &(struct node_metrics) { .engine = t->engine,
						       .offload = t->offload(t->arg),
						       .workers = t->workers,
						       .forwarder = t->forwarder });
}

struct requests_answer requests_why(const struct requests_target *t, const char *body, size_t len,
				    uint64_t now_ms, uint64_t unix_ns)
{
	json_t *json = object_of(body, len);
	const char *name = json_string_value(json_object_get(json, "peer"));
	struct requests_answer answer;
	struct engine_peer *ep;

	if (!name)
		answer = malformed("the body must be {\"peer\": TEXT}");
	else if ((ep = find_peer(t, name, &answer)))
		answer = (struct requests_answer) { 200, why_format(t->engine, ep, now_ms, unix_ns) };
	json_decref(json);
	return answer;
}

/* --- Pings */

/* Whether the peer can be pinged; if not, *error says why. */
static bool can_ping(const struct engine_peer *ep, struct requests_answer *error)
{
	char text[TEXT_MAX];

	if (!ep)
		return false;
	if (ep->peer.own_kind)
		return true;
	snprintf(text, sizeof text, "'%.64s' is a stock WireGuard peer: use the system's ping",
		 ep->peer.name);
	*error = malformed(text);
	return false;
}

bool requests_ping(const struct requests_target *t, const char *body, size_t len, struct requests_ping *out,
		   struct requests_answer *error)
{
	json_t *json = object_of(body, len);
	json_int_t count = 0, wait_ms = WAIT_DEFAULT_MS;
	const char *name = NULL;
	bool good = false;

	if (!json || json_unpack(json, "{ss s?I s?I}", "peer", &name, "count", &count, "wait_ms", &wait_ms))
		*error = malformed("the body must be {\"peer\": TEXT, \"count\": N, \"wait_ms\": N}");
	else if (count < 0 || count > REQUESTS_PING_MAX || wait_ms < 1 || wait_ms > REQUESTS_WAIT_MAX_MS)
		*error = malformed("count or wait_ms is out of range");
	else {
		const struct engine_peer *ep = find_peer(t, name, error);
		good = can_ping(ep, error);
		*out = (struct requests_ping) { .count = (uint32_t)count, .wait_ms = (uint32_t)wait_ms };
		if (good)
			memcpy(out->peer, ep->peer.name, sizeof out->peer);
	}
	json_decref(json);
	return good;
}

static char *line_of(json_t *json)
{
	char *text = text_of(json), *line = NULL;

	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

static const char *overlay_ip(const struct engine_peer *ep, char out[static ADDR_TEXT_MAX])
{
	return addr_format_ip(ep->ip4.family ? &ep->ip4 : &ep->ip6, out);
}

char *requests_pong_line(const struct engine_peer *ep, const struct engine_event *pong)
{
	char ip[ADDR_TEXT_MAX], from[ADDR_TEXT_MAX];
	bool direct = pong->way == ENGINE_WAY_DIRECT;
	const char *kind = direct ? "direct" : pong->by_link ? "relay-tls" : "relay-udp";
	json_t *json = json_pack("{ss ss ss ss sI}", "peer", ep->peer.name, "ip", overlay_ip(ep, ip), "via",
				 direct ? "direct" : "relay", "kind", kind, "rtt_ms",
				 (json_int_t)pong->rtt_ms);

	if (pong->by_home && json)
		json_object_set_new(json, "home_relay", json_true());
	if ((direct || pong->by_home) && json)
		json_object_set_new(json, "endpoint", json_string(addr_format(&pong->from, from)));
	return line_of(json);
}

char *requests_timeout_line(const struct engine_peer *ep)
{
	return line_of(json_pack("{sb sb}", "timeout", true, "online", ep && ep->online));
}
