/* Packets out: which peer, sealed by its session, by which way. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

#include "core/ip.h"

struct pkt *engine_emit(struct engine *e, const void *msg, size_t len, const struct addr *to, uint32_t socket,
			uint8_t ttl)
{
	struct pkt *p = pkt_get(e->config.pool);

	if (!p) {
		e->drops.no_buffer++;
		return NULL;
	}
	memcpy(pkt_data(p), msg, len);
	p->len = (uint32_t)len;
	p->addr = *to;
	p->socket = socket;
	p->ttl = ttl;
	pkt_list_push(&e->udp_out, p);
	return p;
}

/* A sealed message, by the way the peer is reached now. */
static void push(struct engine *e, struct engine_peer *ep, struct pkt *p, uint64_t now_ms)
{
	struct engine_target to;

	if (!engine_aim(e, ep, &to, now_ms)) {
		e->drops.no_way++;
		pkt_put(e->config.pool, p);
	} else if (to.relay_session) {
		engine_push_relayed(e, p, &to);
	} else {
		p->addr = to.addr;
		p->socket = to.socket;
		pkt_list_push(&e->udp_out, p);
	}
}

static void push_copy(struct engine *e, struct engine_peer *ep, const void *msg, size_t len, uint64_t now_ms)
{
	struct pkt *p = pkt_get(e->config.pool);

	if (!p) {
		e->drops.no_buffer++;
		return;
	}
	memcpy(pkt_data(p), msg, len);
	p->len = (uint32_t)len;
	push(e, ep, p, now_ms);
}

/* The hub's relay is used the way that we use it now, whichever way something came by it. */
static struct engine_target back_to(const struct engine *e, const struct engine_origin *origin)
{
	struct engine_target to = { .addr = origin->from, .relay_session = origin->relay_session };

	if (engine_away_at(e, &origin->from))
		return to;
	to.by_link = e->by_link;
	to.addr = e->by_link ? e->hub_link : e->relay.server;
	return to;
}

void engine_reply(struct engine *e, const void *msg, size_t len, const struct engine_origin *origin)
{
	const struct engine_target to = back_to(e, origin);
	struct pkt *p = pkt_get(e->config.pool);

	if (!p) {
		e->drops.no_buffer++;
		return;
	}
	memcpy(pkt_data(p), msg, len);
	p->len = (uint32_t)len;
	p->addr = origin->from;
	p->socket = origin->socket;
	if (origin->relay_session)
		engine_push_relayed(e, p, &to);
	else
		pkt_list_push(&e->udp_out, p);
}

void engine_run_session(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	uint8_t msg[SESSION_MESSAGE_MAX];
	enum session_due due;
	size_t len;

	while ((due = session_next(&ep->peer.session, now_ms, msg, &len)) != SESSION_NOTHING) {
		if (due == SESSION_GAVE_UP)
			pkt_list_clear(&ep->peer.staged, e->config.pool);
		else
			push_copy(e, ep, msg, len, now_ms);
	}
}

/* As long as WireGuard lets packets wait for keys. */
void engine_expire(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	session_expire(&ep->peer.session, now_ms);
	if (ep->peer.staged.count && now_ms - ep->peer.last_tx_ms >= SESSION_REKEY_ATTEMPT_MS)
		pkt_list_clear(&ep->peer.staged, e->config.pool);
}

uint64_t engine_expiry(const struct engine_peer *ep)
{
	uint64_t due = session_expiry(&ep->peer.session);

	return ep->peer.staged.count ? engine_min(due, ep->peer.last_tx_ms + SESSION_REKEY_ATTEMPT_MS) : due;
}

/* Half of the pool may wait: else a few peers that are away would take it from all others, handshakes included. */
static void stage(struct engine *e, struct engine_peer *ep, struct pkt *p)
{
	struct pkt_pool *pool = e->config.pool;

	if (pool->in_use <= pool->count / 2) {
		peer_stage(&ep->peer, p, pool);
		return;
	}
	e->drops.no_buffer++;
	pkt_put(pool, p);
}

static void seal_and_push(struct engine *e, struct engine_peer *ep, struct pkt *p, uint64_t now_ms)
{
	int len = session_seal(&ep->peer.session, pkt_data(p), p->len, ENGINE_MTU, now_ms);

	if (len < 0) {
		stage(e, ep, p);
		return;
	}
	engine_count_sent(e, ep, 1, p->len);
	p->off -= WG_DATA_HEADER;
	p->len = (uint32_t)len;
	push(e, ep, p, now_ms);
}

void engine_send_control(struct engine *e, struct engine_peer *ep, const void *msg, size_t len,
			 uint64_t now_ms)
{
	struct pkt *p;

	if (engine_way(ep, e) == ENGINE_WAY_NONE || !session_ready(&ep->peer.session, now_ms))
		return;
	p = pkt_get(e->config.pool);
	if (!p) {
		e->drops.no_buffer++;
		return;
	}
	memcpy(pkt_data(p), msg, len);
	p->len = (uint32_t)len;
	seal_and_push(e, ep, p, now_ms);
}

bool engine_send_control_to(struct engine *e, struct engine_peer *ep, const void *msg, size_t len,
			    const struct engine_target *to, uint64_t now_ms)
{
	struct pkt *p = session_ready(&ep->peer.session, now_ms) ? pkt_get(e->config.pool) : NULL;

	if (!p)
		return false;
	memcpy(pkt_data(p), msg, len);
	p->len = (uint32_t)len;
	int sealed = session_seal(&ep->peer.session, pkt_data(p), p->len, ENGINE_MTU, now_ms);
	if (sealed < 0) {
		pkt_put(e->config.pool, p);
		return false;
	}
	p->off -= WG_DATA_HEADER;
	p->len = (uint32_t)sealed;
	engine_push_relayed(e, p, to);
	return true;
}

void engine_flush_staged(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct pkt_list staged = ep->peer.staged;
	struct pkt *p;

	if (engine_way(ep, e) == ENGINE_WAY_NONE || !session_ready(&ep->peer.session, now_ms))
		return;
	ep->peer.staged = (struct pkt_list) { 0 };
	while ((p = pkt_list_pop(&staged)))
		seal_and_push(e, ep, p, now_ms);
}

void engine_send(struct engine *e, struct engine_peer *ep, struct pkt *p, uint64_t now_ms)
{
	engine_want(e, ep, now_ms);
	if (engine_way(ep, e) != ENGINE_WAY_NONE && session_ready(&ep->peer.session, now_ms)) {
		seal_and_push(e, ep, p, now_ms);
	} else {
		stage(e, ep, p);
		session_want(&ep->peer.session, now_ms);
	}
	if (engine_way(ep, e) != ENGINE_WAY_NONE)
		engine_run_session(e, ep, now_ms);
	engine_touch(e, ep, now_ms);
}

/* ---- packets larger than the path carries */

static void answer_too_big(struct engine *e, struct pkt *p, size_t mtu)
{
	struct pkt *answer = pkt_get(e->config.pool);

	if (!answer) {
		e->drops.no_buffer++;
		return;
	}
	answer->len = (uint32_t)ip_too_big(pkt_data(p), p->len, mtu, pkt_data(answer));
	if (answer->len)
		pkt_list_push(&e->tun_out, answer);
	else
		pkt_put(e->config.pool, answer);
}

static void send_fragments(struct engine *e, struct engine_peer *ep, struct ip_fragments *f, uint64_t now_ms)
{
	struct pkt *p;

	while ((p = pkt_get(e->config.pool))) {
		p->len = (uint32_t)ip_fragments_next(f, pkt_data(p));
		if (!p->len)
			break;
		engine_send(e, ep, p, now_ms);
	}
	if (!p)
		e->drops.no_buffer++;
	pkt_put(e->config.pool, p);
}

/* What the path in use is known not to carry is split, or its sender told to send less. True if that was so. */
static bool was_too_big(struct engine *e, struct engine_peer *ep, struct pkt *p, uint64_t now_ms)
{
	unsigned mtu = ep->peer.best ? path_mtu(ep->peer.best) : 0;
	struct ip_fragments f;

	if (!mtu || p->len <= mtu)
		return false;
	if (ip_fragments_begin(&f, pkt_data(p), p->len, mtu) == 0)
		send_fragments(e, ep, &f, now_ms);
	else
		answer_too_big(e, p, mtu);
	pkt_put(e->config.pool, p);
	return true;
}

void engine_on_tun(struct engine *e, struct pkt *p, uint64_t now_ms)
{
	struct engine_peer *ep;
	struct ip_view ip;

	if (!ip_parse(&ip, pkt_data(p), p->len)) {
		e->drops.malformed++;
		pkt_put(e->config.pool, p);
		return;
	}
	ep = lpm_find(&e->allowed, ip.family, ip.dst);
	if (!ep)
		ep = engine_pass_out(e, &ip, pkt_data(p));
	if (!ep) {
		e->drops.no_route++;
		pkt_put(e->config.pool, p);
		return;
	}
	if (!was_too_big(e, ep, p, now_ms))
		engine_send(e, ep, p, now_ms);
}

void engine_send_ping(struct engine *e, struct engine_peer *ep, struct path *path, uint8_t ttl,
		      uint64_t now_ms)
{
	struct probe probe = { .kind = PROBE_PING };
	size_t size = path_ping_size(path, ep->peer.last_tx_ms, now_ms);
	uint8_t msg[PROBE_MAX];
	struct pkt *p;
	size_t len;

	ep->probes += path->state != PATH_UP;
	path_ping(path, &e->rng, size, now_ms, probe.txid);
	len = probe_seal(&ep->peer.probe, &probe, &e->rng, size, msg);
	p = engine_emit(e, msg, len, &path->addr, path->socket, ttl);
	if (p)
		p->dont_fragment = size >= PATH_BASE_SIZE;
}
