#include "apps/p2pd/status.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/view.h"
#include "apps/p2pd/wg_key.h"

/* A stock peer tells nobody that it is there; sessions end after this long (WireGuard's REJECT_AFTER_TIME). */
enum { STOCK_ONLINE_MS = 180000 };

/* --- The node */

static json_t *endpoints(const struct engine *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < e->candidates.count; i++)
		json_array_append_new(list, view_endpoint(&e->candidates.items[i].addr));
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
			 view_endpoint(v->count ? &v->items[0].external : &none), "double_nat", double_nat);
}

/* How long an idle mapping is known to live; null while it is not. */
static json_t *lifetime(const struct lifetime *l)
{
	return l->running || l->unknown || !l->alive_s ? json_null() : json_integer(l->alive_s);
}

static json_t *self(const struct status *s)
{
	const struct engine *e = s->engine;
	json_t *nat = view_nat(&e->verdict);
	char key[WG_KEY_TEXT];

	wg_key_format(e->local.pk, key);
	json_object_set_new(nat, "portmap", portmap(&e->portmap));
	json_object_set_new(nat, "keepalive_s", json_integer(engine_keepalive_ms(e) / 1000));
	json_object_set_new(nat, "lifetime_s", lifetime(&e->lifetime));
	return json_pack("{ss so so so so ss si ss so}", "name", e->config.name, "ip4", view_ip(&e->ip4),
			 "ip6", view_ip(&e->ip6), "nat", nat, "endpoints", endpoints(e), "wg_key", key,
			 "port", (int)e->config.udp_port, "tun", s->tun, "reflexive",
			 view_endpoint(engine_reflexive(e)));
}

static json_t *hub(const struct status *s)
{
	const struct engine *e = s->engine;
	bool measured = e->welcomed && engine_reflexive(e)->family;

	return json_pack("{ss sb so ss? so}", "url", s->hub_url, "connected", e->welcomed, "rtt_ms",
			 measured ? json_integer(e->hub_rtt_ms) : json_null(), "proxy",
			 s->hub_proxy && *s->hub_proxy ? s->hub_proxy : NULL, "home_relay",
			 view_endpoint(e->home ? &e->home->at : &(const struct addr) { 0 }));
}

static json_t *drops(const struct engine_drops *d)
{
	return json_pack("{sI sI sI sI sI sI sI sI sI sI sI}", "malformed", (json_int_t)d->malformed,
			 "unknown_peer", (json_int_t)d->unknown_peer, "bad_auth", (json_int_t)d->bad_auth,
			 "replayed", (json_int_t)d->replayed, "bad_source", (json_int_t)d->bad_source,
			 "bad_destination", (json_int_t)d->bad_destination, "no_route",
			 (json_int_t)d->no_route, "no_way", (json_int_t)d->no_way, "no_buffer",
			 (json_int_t)d->no_buffer, "under_load", (json_int_t)d->under_load, "link_full",
			 (json_int_t)d->link_full);
}

/* --- Its peers */

static bool online(const struct status *s, const struct engine_peer *ep)
{
	uint64_t last = session_last_handshake(&ep->peer.session);

	return ep->peer.own_kind ? ep->online : last && s->now_ms - last < STOCK_ONLINE_MS;
}

static json_t *peer(const struct status *s, const struct engine_peer *ep)
{
	const struct peer *p = &ep->peer;
	uint64_t last = session_last_handshake(&p->session);
	json_t *json = json_pack("{ss so so ss sb so ss? sb sI sI so}", "name", p->name, "ip4",
				 view_ip(&ep->ip4), "ip6", view_ip(&ep->ip6), "kind",
				 p->own_kind ? "p2pd" : "wireguard", "online", online(s, ep), "path",
				 view_path(s->engine, ep, s->now_ms, s->unix_ns), "cipher",
				 cipher_name(session_cipher(&p->session)), "pq", false, "rx_bytes",
				 (json_int_t)p->rx_bytes, "tx_bytes", (json_int_t)p->tx_bytes,
				 "last_handshake", view_time(s->now_ms, s->unix_ns, last));

	json_object_set_new(json, "nat", p->own_kind ? view_nat(&ep->nat) : json_null());
	json_object_set_new(json, "probes", json_integer((json_int_t)ep->probes));
	json_object_set_new(json, "attempts", view_attempts(ep, s->now_ms, s->unix_ns));
	return json;
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
	json_t *json = json_pack("{ss ss ss so so so so s{ss si} s{ss?}}", "schema", "p2pd.status/1",
				 "version", P2PD_VERSION, "network", e->config.net.name, "self", self(s),
				 "hub", hub(s), "peers", peers(s), "drops", drops(&e->drops), "data",
				 "offload", s->offload, "workers", (int)s->workers, "forwarding", "off",
				 s->forward_off);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
