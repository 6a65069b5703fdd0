#include "apps/p2pd/status.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/wg_key.h"

/* A stock peer tells nobody that it is there; sessions end after this long (WireGuard's REJECT_AFTER_TIME). */
enum { STOCK_ONLINE_MS = 180000 };

const char *status_time(uint64_t unix_s, char out[static STATUS_TIME])
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, STATUS_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

static json_t *time_or_null(const struct status *s, uint64_t at_ms)
{
	char text[STATUS_TIME];

	if (!at_ms)
		return json_null();
	uint64_t ago_ns = at_ms < s->now_ms ? (s->now_ms - at_ms) * 1000000 : 0;
	return json_string(status_time((s->unix_ns - ago_ns) / 1000000000, text));
}

static json_t *ip_or_null(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family ? json_string(addr_format_ip(a, text)) : json_null();
}

static json_t *endpoint_or_null(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family ? json_string(addr_format(a, text)) : json_null();
}

/* --- The node */

/* The verdict on a NAT, as natcheck says it. */
static json_t *nat(const struct verdict *v)
{
	bool block = v->block_lo;

	return json_pack("{ss ss ss ss ss si sf s[ii] si sb}", "mapping", nat_mapping_name(v->mapping),
			 "filtering", nat_filtering_name(v->filtering), "type",
			 nat_type_name(verdict_type(v)), "allocation", nat_allocation_name(v->allocation),
			 "scope", nat_scope_name(v->scope), "step", (int)v->step, "noise_per_s",
			 v->noise_per_10s / 10.0, "block", block ? (int)v->block_lo : 0,
			 block ? (int)v->block_hi : 0, "depth", (int)v->depth, "cgnat", (int)v->cgnat);
}

static json_t *endpoints(const struct engine *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < e->candidates.count; i++)
		json_array_append_new(list, endpoint_or_null(&e->candidates.items[i].addr));
	return list;
}

/* null when no mapping is wanted. */
static json_t *portmap(const struct portmap_view *v)
{
	const struct addr none = { 0 };
	bool double_nat = false;

	if (!v->enabled)
		return json_null();
	for (size_t i = 0; i < v->count; i++)
		double_nat |= v->items[i].double_nat;
	return json_pack("{ss ss ss so sb}", "upnp", portmap_state_name(v->state[GATEWAY_UPNP]), "natpmp",
			 portmap_state_name(v->state[GATEWAY_NATPMP]), "pcp",
			 portmap_state_name(v->state[GATEWAY_PCP]), "external",
			 endpoint_or_null(v->count ? &v->items[0].external : &none), "double_nat",
			 double_nat);
}

static json_t *self(const struct status *s)
{
	const struct engine *e = s->engine;
	json_t *seen = nat(&e->verdict);
	char key[WG_KEY_TEXT];

	wg_key_format(e->local.pk, key);
	json_object_set_new(seen, "portmap", portmap(&e->portmap));
	return json_pack("{ss so so so so ss si ss so}", "name", e->config.name, "ip4", ip_or_null(&e->ip4),
			 "ip6", ip_or_null(&e->ip6), "nat", seen, "endpoints", endpoints(e), "wg_key", key,
			 "port", (int)e->config.udp_port, "tun", s->tun, "reflexive",
			 endpoint_or_null(engine_reflexive(e)));
}

static json_t *hub(const struct status *s)
{
	const struct engine *e = s->engine;
	bool measured = e->welcomed && engine_reflexive(e)->family;

	return json_pack("{ss sb so}", "url", s->hub_url, "connected", e->welcomed, "rtt_ms",
			 measured ? json_integer(e->hub_rtt_ms) : json_null());
}

static json_t *drops(const struct engine_drops *d)
{
	return json_pack("{sI sI sI sI sI sI sI sI sI}", "malformed", (json_int_t)d->malformed,
			 "unknown_peer", (json_int_t)d->unknown_peer, "bad_auth", (json_int_t)d->bad_auth,
			 "replayed", (json_int_t)d->replayed, "bad_source", (json_int_t)d->bad_source,
			 "no_route", (json_int_t)d->no_route, "no_way", (json_int_t)d->no_way, "no_buffer",
			 (json_int_t)d->no_buffer, "under_load", (json_int_t)d->under_load);
}

/* --- Its peers */

const char *status_technique(const struct engine_peer *ep, const struct addr *direct)
{
	for (size_t i = 0; i < ep->remote.count; i++) {
		const struct candidate *c = &ep->remote.items[i];
		if (!addr_equal(&c->addr, direct))
			continue;
		if (c->kind == CANDIDATE_MAPPED)
			return "port-mapping";
		if (c->kind != CANDIDATE_HOST)
			continue;
		if (addr_is_private(direct))
			return "lan";
		return direct->family == ADDR_V6 ? "ipv6" : "public";
	}
	return "simultaneous-open";
}

static bool online(const struct status *s, const struct engine_peer *ep)
{
	uint64_t last = session_last_handshake(&ep->peer.session);

	return ep->peer.own_kind ? ep->online : last && s->now_ms - last < STOCK_ONLINE_MS;
}

const char *status_reason(const struct engine *e, const struct engine_peer *ep)
{
	if (engine_way(ep, e) == ENGINE_WAY_DIRECT)
		return NULL;
	if (!ep->peer.own_kind)
		return "no endpoint yet: waits for the peer to call";
	if (!ep->online)
		return "the peer is offline";
	if (!e->welcomed)
		return "the hub is not connected, so nobody can introduce us";
	if (ep->punch.state == PUNCH_RUNNING)
		return "looking for a direct path now";
	if (!ep->remote.count)
		return "the peer has told no address where it can be reached";
	if (ep->punch_round && verdict_is_hard(&e->verdict))
		return "the NAT on this side gives each destination another port (symmetric)";
	if (ep->punch_round)
		return "no address of the peer answered; tried again while traffic flows";
	return "idle: a direct path is sought when traffic flows";
}

/* Where packets go and since when; `direct` is the address of a direct way. */
static json_t *path(const struct status *s, const struct engine_peer *ep)
{
	const struct engine *e = s->engine;
	const char *kind = "none", *technique = NULL, *reason = status_reason(e, ep);
	json_t *endpoint = NULL, *rtt = NULL;

	switch (engine_way(ep, e)) {
	case ENGINE_WAY_NONE: break;
	case ENGINE_WAY_RELAY:
		kind = "relay-udp";
		technique = "relay";
		endpoint = endpoint_or_null(&e->relay.server);
		break;
	case ENGINE_WAY_DIRECT:
		kind = "direct";
		technique = ep->peer.best ? status_technique(ep, &ep->peer.best->addr) : "configured";
		endpoint = endpoint_or_null(ep->peer.best ? &ep->peer.best->addr : &ep->peer.endpoint);
		rtt = ep->peer.best ? json_integer(ep->peer.best->rtt_ms) : NULL;
		break;
	}
	return json_pack("{ss so so ss? so ss?}", "kind", kind, "endpoint", endpoint ? endpoint : json_null(),
			 "rtt_ms", rtt ? rtt : json_null(), "technique", technique, "since",
			 time_or_null(s, ep->way_since_ms), "reason", reason);
}

static json_t *peer(const struct status *s, const struct engine_peer *ep)
{
	const struct peer *p = &ep->peer;
	uint64_t last = session_last_handshake(&p->session);

	return json_pack("{ss so so ss sb so so sb sI sI so}", "name", p->name, "ip4", ip_or_null(&ep->ip4),
			 "ip6", ip_or_null(&ep->ip6), "kind", p->own_kind ? "p2pd" : "wireguard", "online",
			 online(s, ep), "path", path(s, ep), "cipher",
			 last ? json_string("chacha20-poly1305") : json_null(), "pq", false, "rx_bytes",
			 (json_int_t)p->rx_bytes, "tx_bytes", (json_int_t)p->tx_bytes, "last_handshake",
			 time_or_null(s, last));
}

static int by_name(const void *a, const void *b)
{
	const struct engine_peer *const *x = a, *const *y = b;

	return strcmp((*x)->peer.name, (*y)->peer.name);
}

static json_t *peers(const struct status *s)
{
	size_t count = 0;
	const struct engine_peer **sorted = calloc(s->engine->peer_count + 1, sizeof(void *));
	json_t *list = json_array();

	if (sorted)
		for (const struct engine_peer *ep = s->engine->peers; ep && count < s->engine->peer_count;
		     ep = ep->next)
			sorted[count++] = ep;
	if (count)
		qsort(sorted, count, sizeof(void *), by_name);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, peer(s, sorted[i]));
	free(sorted);
	return list;
}

char *status_format(const struct status *s)
{
	const struct engine *e = s->engine;
	json_t *json = json_pack("{ss ss ss so so so so}", "schema", "p2pd.status/1", "version", P2PD_VERSION,
				 "network", e->config.net.name, "self", self(s), "hub", hub(s), "peers",
				 peers(s), "drops", drops(&e->drops));
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
