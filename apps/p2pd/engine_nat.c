/* Where we can be reached (our own candidates), and the probes of peers. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

enum {
	IP6_BITS = 48,	     /* of the overlay's prefix */
	TRIGGERED_MS = 100,  /* at most one ping in return of a peer's ping this often */
	FRESH_MS = 5000,     /* a path proven this lately needs no ping in return */
	STRANGERS_PER_S = 8, /* addresses of a peer that we learn from its pings alone */
	STRANGERS_BURST =
		RECORD_MAX_CANDIDATES, /* a symmetric NAT shows one for each of ours that it pings */
};

/* ---- our own candidates */

bool engine_in_overlay(const struct engine *e, const struct addr *a)
{
	return addr_in_prefix(a, &e->config.ip4_prefix, e->config.ip4_bits) ||
	       addr_in_prefix(a, &e->ip6, IP6_BITS);
}

/* A NAT that keeps ports when they are free will give our own port to a destination that is new. */
static void add_predicted(const struct engine *e, struct candidate_list *l)
{
	const struct addr *seen = engine_reflexive4(e);

	if (!seen || verdict_is_easy(&e->verdict))
		return;
	struct addr a = *seen;
	a.port = e->config.udp_port;
	candidates_add(l, CANDIDATE_PREDICTED, &a);
}

void engine_gather(struct engine *e, uint64_t now_ms)
{
	struct addr overlay[2] = { e->config.ip4_prefix, e->ip6 };
	unsigned bits[2] = { e->config.ip4_bits, IP6_BITS };
	struct candidate_list list = { 0 };

	candidates_add_hosts(&list, e->hosts, e->host_count, e->config.udp_port, overlay, bits, 2);
	for (size_t i = 0; i < e->portmap.count; i++)
		candidates_add(&list, CANDIDATE_MAPPED, &e->portmap.items[i].external);
	for (size_t i = 0; i < e->hub_udp_count; i++)
		candidates_add(&list, CANDIDATE_REFLEXIVE, &e->reflexive[i]);
	add_predicted(e, &list);
	if (candidates_equal(&list, &e->candidates))
		return;
	e->candidates = list;
	e->publish_due = true;
	engine_due(e, now_ms);
}

void engine_on_portmap(struct engine *e, const struct portmap_view *view, uint64_t now_ms)
{
	e->portmap = *view;
	engine_gather(e, now_ms);
}

/* ---- probes */

/* A ping can be a recorded one, from anywhere: what is not proven takes from the budget each time. */
static bool may_ping_back(struct engine *e, struct engine_peer *ep, const struct path *path,
			  const struct pkt *p, uint64_t now_ms)
{
	if (!path && !bucket_take(&ep->strangers, STRANGERS_PER_S, STRANGERS_BURST, now_ms))
		return false;
	if (path && now_ms - path->last_ping_ms < TRIGGERED_MS)
		return false;
	if (path && path->state == PATH_UP)
		return now_ms - path->last_pong_ms > FRESH_MS;
	return engine_may_probe(e, ep, &p->addr, p->socket, now_ms);
}

static void on_ping(struct engine *e, struct engine_peer *ep, const struct pkt *p, const struct probe *ping,
		    uint64_t now_ms)
{
	struct probe pong = { .kind = PROBE_PONG, .seen = p->addr };
	struct path *path = peer_path_find(&ep->peer, &p->addr, p->socket);
	uint8_t msg[PROBE_MAX];
	size_t len;

	memcpy(pong.txid, ping->txid, sizeof pong.txid);
	len = probe_seal(&ep->peer.probe, &pong, &e->rng, PROBE_MIN, msg);
	engine_emit(e, msg, len, &p->addr, p->socket, 0);
	/* Where its ping came from we try, too (RFC 8445 section 7.3.1.4, triggered checks). */
	if (!may_ping_back(e, ep, path, p, now_ms))
		return;
	path = peer_path_get(&ep->peer, &p->addr, p->socket, now_ms);
	if (path)
		engine_send_ping(e, ep, path, 0, now_ms);
}

/* The path that a pong proves, or NULL. */
static struct path *proven(struct engine *e, struct engine_peer *ep, const struct pkt *p,
			   const struct probe *pong, uint64_t now_ms)
{
	struct path *path = peer_path_find(&ep->peer, &p->addr, p->socket);
	bool was_up = path && path->state == PATH_UP;
	uint64_t last_ms = path ? path->last_ping_ms : 0;

	if (!peer_on_pong(&ep->peer, &p->addr, p->socket, pong->txid, now_ms))
		return engine_round_on_pong(e, ep, &p->addr, p->socket, pong->txid, now_ms);
	if (!was_up)
		budget_answered(&e->budget, last_ms, now_ms);
	return path;
}

static void on_pong(struct engine *e, struct engine_peer *ep, const struct pkt *p, const struct probe *pong,
		    uint64_t now_ms)
{
	bool had_none = engine_way(ep, e) == ENGINE_WAY_NONE, had_best = ep->peer.best;

	struct path *path = proven(e, ep, p, pong, now_ms);
	if (!path)
		return;
	engine_observe(&e->counts.rtt[ENGINE_KIND_DIRECT], path->rtt_ms);
	engine_note_opener(e, ep, path);
	punch_on_reply(&ep->punch, &p->addr, now_ms);
	ep->punch_round = 0;
	if (!peer_choose_path(&ep->peer, now_ms))
		return;
	if (!had_best)
		engine_on_direct(e, ep, now_ms);
	if (had_none)
		session_on_new_way(&ep->peer.session, now_ms);
	engine_flush_staged(e, ep, now_ms);
}

void engine_on_probe(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	const uint8_t *msg = p->buf + p->off, *tag = probe_tag(msg, p->len);
	struct engine_peer *ep = tag ? engine_peer_by_tag(e, tag) : NULL;
	struct probe probe;

	if (!ep) {
		e->drops.unknown_peer++;
		return;
	}
	if (probe_open(&ep->peer.probe, msg, p->len, &probe) < 0) {
		e->drops.bad_auth++;
		return;
	}
	if (probe.kind == PROBE_PING)
		on_ping(e, ep, p, &probe, now_ms);
	else
		on_pong(e, ep, p, &probe, now_ms);
	engine_touch(e, ep, now_ms);
}
