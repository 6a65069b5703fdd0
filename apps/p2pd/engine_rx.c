/* Datagrams in. The first byte tells the protocol (WireGuard 1-4, STUN by its cookie, ours from 0x80 up: 0x83 is data, too). */
#include "apps/p2pd/engine_internal.h"

#include <errno.h>
#include <string.h>

#include "core/control.h"
#include "core/ip.h"
#include "core/log.h"
#include "tun/offload.h"

static void count_failure(struct engine *e, int err)
{
	if (err == -EALREADY)
		e->drops.replayed++;
	else
		e->drops.bad_auth++;
}

/* WireGuard's measure of load is its queue; we have none, so it is handshakes in a second. Only those with a valid mac1
 * count: who does not know our key cannot make the others pay with a round trip. */
static void count_handshake(struct engine *e, uint64_t now_ms)
{
	if (now_ms - e->load_second_ms >= 1000) {
		e->load_second_ms = now_ms;
		e->load_count = 0;
	}
	if (++e->load_count > ENGINE_HANDSHAKES_PER_S)
		e->load_until_ms = now_ms + 1000;
}

/* True if a handshake message may be looked at further. */
static bool guard(struct engine *e, const struct pkt *p, const struct engine_origin *origin, uint64_t now_ms)
{
	uint8_t reply[WG_COOKIE_LEN];
	const uint8_t *msg = p->buf + p->off;
	bool under_load = now_ms < e->load_until_ms;

	switch (cookie_check(&e->cookies, msg, p->len, &origin->from, under_load, now_ms, &e->rng, reply)) {
	case COOKIE_ACCEPT: count_handshake(e, now_ms); return true;
	case COOKIE_REPLY:
		count_handshake(e, now_ms);
		e->drops.under_load++;
		engine_reply(e, reply, sizeof reply, origin);
		return false;
	case COOKIE_DROP: break;
	}
	e->drops.bad_auth++;
	return false;
}

static void on_initiation(struct engine *e, struct pkt *p, const struct engine_origin *origin,
			  uint64_t now_ms)
{
	uint8_t response[WG_RESPONSE_LEN];
	struct noise_initiation in;
	struct engine_peer *ep;
	int rc;

	if (p->len != WG_INITIATION_LEN || !guard(e, p, origin, now_ms))
		return;
	rc = noise_open_initiation(&in, &e->local, pkt_data(p));
	if (rc < 0) {
		e->drops.bad_auth++;
		return;
	}
	ep = engine_peer_by_wk(e, in.peer_pk);
	if (!ep) {
		e->drops.unknown_peer++;
		return;
	}
	rc = session_on_initiation(&ep->peer.session, &in, now_ms, response);
	crypto_wipe(&in, sizeof in);
	if (rc < 0) {
		count_failure(e, rc);
		return;
	}
	e->counts.handshakes_answered++;
	e->timestamps_changed = true;
	/* The answer goes to the source; a stock peer's endpoint moves only once data confirms the session. */
	if (ep->peer.own_kind)
		engine_learn_origin(e, ep, origin);
	engine_reply(e, response, sizeof response, origin);
	engine_touch(e, ep, now_ms);
}

static struct engine_peer *receiver(struct engine *e, const struct pkt *p, unsigned offset)
{
	struct engine_peer *ep = session_index_find(e->index, load_le32(p->buf + p->off + offset));

	if (!ep)
		e->drops.unknown_peer++;
	return ep;
}

static void on_response(struct engine *e, struct pkt *p, const struct engine_origin *origin, uint64_t now_ms)
{
	struct engine_peer *ep;
	int rc;

	if (p->len != WG_RESPONSE_LEN || !guard(e, p, origin, now_ms))
		return;
	ep = receiver(e, p, 8);
	if (!ep)
		return;
	rc = session_on_response(&ep->peer.session, pkt_data(p), now_ms);
	if (rc < 0) {
		count_failure(e, rc);
		return;
	}
	e->counts.handshakes_begun++;
	engine_learn_origin(e, ep, origin);
	engine_flush_staged(e, ep, now_ms);
	if (engine_way(ep, e) != ENGINE_WAY_NONE)
		engine_run_session(e, ep, now_ms);
	engine_touch(e, ep, now_ms);
}

static void on_cookie(struct engine *e, struct pkt *p, uint64_t now_ms)
{
	struct engine_peer *ep;

	if (p->len != WG_COOKIE_LEN)
		return;
	ep = receiver(e, p, 4);
	if (ep && session_on_cookie(&ep->peer.session, pkt_data(p), now_ms) < 0)
		e->drops.bad_auth++;
}

static void send_pong(struct engine *e, struct engine_peer *ep, uint64_t id, uint64_t now_ms)
{
	struct pkt *p = pkt_get(e->config.pool);

	if (!p) {
		e->drops.no_buffer++;
		return;
	}
	p->len = CONTROL_LEN;
	control_write(pkt_data(p), CONTROL_PONG, id);
	engine_send(e, ep, p, now_ms);
}

static void on_pong(struct engine *e, struct engine_peer *ep, uint64_t id, const struct engine_origin *origin,
		    uint64_t now_ms)
{
	struct engine_event ev = { .kind = ENGINE_EV_PONG, .id = id, .from = origin->from };

	ev.way = origin->relay_session ? ENGINE_WAY_RELAY : ENGINE_WAY_DIRECT;
	ev.by_link = origin->by_link;
	ev.by_home = origin->relay_session && engine_away_at(e, &origin->from);
	memcpy(ev.ik, ep->ik, sizeof ev.ik);
	for (int i = 0; i < ENGINE_PINGS; i++) {
		struct engine_ping *ping = &e->pings[i];
		if (!ping->sent_ms || ping->id != id || ping->to != ep)
			continue;
		ev.rtt_ms = (uint32_t)(now_ms - ping->sent_ms);
		ping->sent_ms = 0;
		if (origin->relay_session)
			engine_observe(&e->counts.rtt[engine_kind_of_origin(origin)], ev.rtt_ms);
		engine_event(e, &ev);
		return;
	}
}

void engine_on_control(struct engine *e, struct engine_peer *ep, const uint8_t *msg, size_t len,
		       const struct engine_origin *origin, uint64_t now_ms)
{
	struct gaps_report gaps;
	enum control_type type;
	uint64_t id;

	if (ep->peer.own_kind && control_type(msg, len) == CONTROL_OFFER)
		engine_round_on_offer(e, ep, msg + CONTROL_HEADER, len - CONTROL_HEADER, now_ms);
	else if (ep->peer.own_kind && control_read_gaps(&gaps, msg, len)) {
		if (!e->by_link || ep->peer.best)
			gaps_on_report(engine_gaps(ep), &gaps, ep->peer.name, now_ms);
	} else if (!ep->peer.own_kind || !control_read(msg, len, &type, &id))
		e->drops.malformed++;
	else if (type == CONTROL_PONG && engine_away_on_pong(e, ep, id, now_ms))
		return;
	else if (type == CONTROL_PONG)
		on_pong(e, ep, id, origin, now_ms);
	else
		send_pong(e, ep, id, now_ms);
}

/* Consumes the packet. */
static void on_data(struct engine *e, struct pkt *p, const struct engine_origin *origin, uint64_t now_ms)
{
	struct engine_in in = { .origin = *origin };
	struct opener opener;
	struct opened opened;

	if (!opener_is_data(pkt_data(p), p->len, &in.receiver) ||
	    engine_in_begin(e, &in, now_ms, &opener) < 0) {
		pkt_put(e->config.pool, p);
		return;
	}
	in.failed = opener_open(&opener, pkt_data(p), p->len, &opened) < 0;
	engine_in_end(e, &in, &opened, !in.failed, now_ms);
	if (in.failed || !opened.data) {
		pkt_put(e->config.pool, p);
	} else {
		p->off = (uint32_t)(opened.data - p->buf);
		p->len = opened.len;
		if (opened.unsummed)
			offload_make_sum(opened.data, opened.len);
		pkt_list_push(&e->tun_out, p);
	}
	crypto_wipe(&opener, sizeof opener);
}

/* Consumes the packet. */
static void on_wireguard(struct engine *e, struct pkt *p, const struct engine_origin *origin, uint64_t now_ms)
{
	if (p->len < 4 || load_le32(pkt_data(p)) >> 8) {
		e->drops.malformed++;
		pkt_put(e->config.pool, p);
		return;
	}
	switch (pkt_data(p)[0]) {
	case WG_DATA:
	case SEALER_FIRST_BYTE_AEGIS: on_data(e, p, origin, now_ms); return;
	case WG_INITIATION: on_initiation(e, p, origin, now_ms); break;
	case WG_RESPONSE: on_response(e, p, origin, now_ms); break;
	case WG_COOKIE: on_cookie(e, p, now_ms); break;
	default: e->drops.malformed++;
	}
	pkt_put(e->config.pool, p);
}

/* The session id in front is the relay's word only: what is inside must authenticate by itself. Consumes. */
static void on_relayed(struct engine *e, struct pkt *p, uint64_t now_ms)
{
	struct engine_origin origin = { .from = p->addr };

	if (!engine_is_relay(e, &p->addr) || p->len <= RELAY_HEADER || load_le32(pkt_data(p)) != RELAY_DATA) {
		e->drops.malformed++;
		pkt_put(e->config.pool, p);
		return;
	}
	origin.relay_session = load_le32(pkt_data(p) + 4);
	p->off += RELAY_HEADER;
	p->len -= RELAY_HEADER;
	if (!origin.relay_session) {
		e->drops.malformed++;
		pkt_put(e->config.pool, p);
		return;
	}
	on_wireguard(e, p, &origin, now_ms);
}

void engine_on_link_datagram(struct engine *e, struct pkt *p, uint32_t session, uint64_t now_ms)
{
	struct engine_origin origin = { .from = e->hub_link, .relay_session = session, .by_link = true };

	if (e->welcomed && session) {
		on_wireguard(e, p, &origin, now_ms);
		return;
	}
	e->drops.malformed++;
	pkt_put(e->config.pool, p);
}

/* Also what only we add to it. */
static bool is_wireguard(struct pkt *p)
{
	uint8_t first = pkt_data(p)[0];

	if (first == SEALER_FIRST_BYTE_AEGIS)
		return true;
	return first >= WG_INITIATION && first <= WG_DATA && !stun_is_message(pkt_data(p), p->len);
}

void engine_on_datagram(struct engine *e, struct pkt *p, uint64_t now_ms)
{
	struct engine_origin direct = { .from = p->addr, .socket = p->socket };

	if (!p->len) {
		e->drops.malformed++;
	} else if (is_wireguard(p)) {
		on_wireguard(e, p, &direct, now_ms);
		return;
	} else if (pkt_data(p)[0] == RELAY_DATA) {
		on_relayed(e, p, now_ms);
		return;
	} else if (pkt_data(p)[0] == RELAY_CONTROL) {
		engine_on_relay_control(e, p, now_ms);
	} else if (pkt_data(p)[0] == PROBE_FIRST_BYTE) {
		engine_on_probe(e, p, now_ms);
	} else if (!engine_on_stun(e, p, now_ms)) {
		e->drops.malformed++;
	}
	pkt_put(e->config.pool, p);
}
