/* The relay: by UDP while it is bound there, else over the hub's link (TLS), whose login is the binding.
 *
 * Timers: link_from_ms after a welcome without a binding the link is taken. While the relay carries something by UDP, it is
 * asked every CHECK_EVERY_MS, whatever comes in (we may be the only ones who are not heard), and every CHECK_GAP_MS until
 * it answers; with CHECKS of them unanswered UDP is lost. relay_client.h goes on trying to bind, and once it succeeds UDP
 * is used again. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

#include "core/bytes.h"
#include "core/log.h"
#include "relay/relay_frame.h"

enum {
	LINK_WAIT_MS = 1500,
	/* A way that is lost costs less than 2 s: 600 + 4 * 200 + 1.25 RTT. */
	CHECK_EVERY_MS = 600,
	CHECK_GAP_MS = 200,
	CHECKS = 4,
	ACTIVE_MS = PATH_ACTIVE_MS,
	RTT_GUESS_MS = 200, /* while it was never measured */
	STRAY_GAP_MS = 1000,
};

bool engine_relay_is_up(const struct engine *e)
{
	return e->by_link || relay_client_bound(&e->relay);
}

bool engine_is_relay(const struct engine *e, const struct addr *from)
{
	return (e->relay.state != RELAY_IDLE && addr_equal(from, &e->relay.server)) ||
	       engine_away_at(e, from);
}

/* ---- data over the link */

static void push_link(struct engine *e, struct pkt *p)
{
	if (e->link_bytes + p->len > ENGINE_LINK_BYTES) {
		e->drops.link_full++;
		pkt_put(e->config.pool, p);
		return;
	}
	e->link_bytes += p->len;
	pkt_list_push(&e->hub_out, p);
}

void engine_link_run(struct engine *e, const void *run, size_t len)
{
	struct pkt *p = e->by_link ? pkt_get(e->config.pool) : NULL;

	if (!p) {
		e->drops.no_buffer += e->by_link;
		e->drops.no_way += !e->by_link;
		return;
	}
	memcpy(pkt_data(p), run, len);
	p->len = (uint32_t)len;
	push_link(e, p);
}

struct pkt *engine_next_link_message(struct engine *e, bool *is_data)
{
	struct pkt *p = pkt_list_pop(&e->hub_out);

	*is_data = p && pkt_data(p)[0] == RELAY_DATA && !relay_frame_is_move(pkt_data(p), p->len);
	if (*is_data)
		e->link_bytes -= p->len;
	return p;
}

void engine_push_relayed(struct engine *e, struct pkt *p, const struct engine_target *to)
{
	size_t header = to->by_link ? RELAY_RUN_HEADER : RELAY_HEADER, len = p->len;

	p->off -= (uint32_t)header;
	p->len += (uint32_t)header;
	if (to->by_link) {
		relay_client_run_header(pkt_data(p), to->relay_session, len);
		push_link(e, p);
		return;
	}
	relay_client_header(pkt_data(p), to->relay_session);
	p->addr = to->addr;
	p->socket = 0;
	pkt_list_push(&e->udp_out, p);
}

/* ---- which way */

/* Data that waited goes now, and a handshake that was under way is not waited for. */
static void on_new_way(struct engine *e, uint64_t now_ms)
{
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		if (!ep->relay_session)
			continue;
		if (!ep->peer.best) {
			ep->way_since_ms = now_ms;
			session_on_new_way(&ep->peer.session, now_ms);
		}
		engine_flush_staged(e, ep, now_ms);
		engine_touch(e, ep, now_ms);
	}
}

static void say_move(struct engine *e)
{
	struct pkt *p = pkt_get(e->config.pool);

	if (!p) {
		e->drops.no_buffer++;
		return;
	}
	relay_frame_write_move(pkt_data(p));
	p->len = RELAY_MOVE_LEN;
	pkt_list_push(&e->hub_out, p);
}

static void take_link(struct engine *e, uint64_t now_ms)
{
	log_info("relay", "UDP to the hub does not get through: relayed over the link to it (TLS)");
	e->by_link = e->link_before = true;
	say_move(e);
	/* It did get through: what was measured then is true no more. */
	if (e->relay_answer_ms)
		engine_measure(e, now_ms);
	e->relay_answer_ms = 0;
	on_new_way(e, now_ms);
}

static void on_bound(struct engine *e, uint64_t now_ms)
{
	bool was_by_link = e->by_link;

	log_info("relay", "bound at the hub");
	e->by_link = e->link_before = false;
	if (was_by_link)
		engine_check_mapping(e, now_ms);
	on_new_way(e, now_ms);
}

void engine_relay_on_welcome(struct engine *e, uint32_t slot, const uint8_t token[static RELAY_TOKEN],
			     uint64_t now_ms)
{
	e->link_from_ms = UINT64_MAX;
	if (!slot)
		return;
	if (e->hub_udp_count)
		relay_client_start(&e->relay, &e->hub_udp[0], slot, token, now_ms);
	e->link_from_ms = now_ms + (e->hub_udp_count && !e->link_before ? LINK_WAIT_MS : 0);
}

void engine_relay_on_hub_down(struct engine *e, uint64_t now_ms)
{
	e->link_bytes = 0;
	e->link_from_ms = UINT64_MAX;
	if (!e->by_link)
		return;
	e->by_link = false;
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next)
		engine_touch(e, ep, now_ms);
}

/* ---- whether UDP still gets through */

static uint64_t check_at(const struct engine *e)
{
	uint64_t rtt_ms = e->hub_rtt_ms ? e->hub_rtt_ms : RTT_GUESS_MS;

	if (e->link_from_ms == UINT64_MAX || e->by_link || !relay_client_bound(&e->relay) ||
	    !e->relay_used_ms)
		return UINT64_MAX;
	if (!e->relay_checks)
		return e->relay_answer_ms + CHECK_EVERY_MS;
	return e->relay_check_ms + CHECK_GAP_MS + (e->relay_checks == CHECKS ? rtt_ms * 5 / 4 : 0);
}

void engine_relay_used(struct engine *e, uint64_t now_ms)
{
	e->relay_used_ms = now_ms;
	engine_due(e, check_at(e));
}

void engine_relay_on_data(struct engine *e, bool by_link, uint64_t now_ms)
{
	if (!by_link) {
		engine_relay_used(e, now_ms);
	} else if (!e->by_link && relay_client_bound(&e->relay) &&
		   now_ms - e->relay_stray_ms >= STRAY_GAP_MS) {
		/* A run of ours came to the hub after the proof, and says to it that we are by the link yet. */
		e->relay_stray_ms = now_ms;
		relay_client_rebind(&e->relay, now_ms);
		engine_due(e, relay_client_deadline(&e->relay));
	}
}

static void run_checks(struct engine *e, uint64_t now_ms)
{
	uint8_t msg[RELAY_BIND_LEN];

	if (now_ms < check_at(e))
		return;
	if (now_ms - e->relay_used_ms >= ACTIVE_MS) {
		e->relay_used_ms = e->relay_checks = 0;
	} else if (e->relay_checks == CHECKS) {
		e->relay_checks = 0;
		relay_client_lose(&e->relay, now_ms);
	} else {
		e->relay_checks++;
		e->relay_check_ms = now_ms;
		relay_client_check(&e->relay, msg);
		engine_away_ask(&e->hub_relay_asked, msg, now_ms);
		engine_emit(e, msg, sizeof msg, &e->relay.server, 0, 0);
	}
}

void engine_run_relay(struct engine *e, uint64_t now_ms)
{
	uint8_t msg[RELAY_CLIENT_MESSAGE_MAX];
	size_t len;

	run_checks(e, now_ms);
	while ((len = relay_client_next(&e->relay, now_ms, msg))) {
		engine_away_ask(&e->hub_relay_asked, msg, now_ms);
		engine_emit(e, msg, len, &e->relay.server, 0, 0);
	}
	if (!engine_relay_is_up(e) && now_ms >= e->link_from_ms)
		take_link(e, now_ms);
}

uint64_t engine_relay_deadline(const struct engine *e)
{
	uint64_t due = engine_min(relay_client_deadline(&e->relay), check_at(e));

	return engine_relay_is_up(e) ? due : engine_min(due, e->link_from_ms);
}

/* ---- control */

/* The relay knows this session no more, or not our address: both are asked for anew, at a bounded rate. */
static void on_unbound(struct engine *e, uint32_t session, uint64_t now_ms)
{
	if (!bucket_take(&e->unbounds, ENGINE_ASKS_PER_S, ENGINE_ASKS_BURST, now_ms))
		return;
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		if (!ep->relay_session || ep->relay_session != session || now_ms - ep->relay_asked_ms < 500)
			continue;
		ep->relay_asked_ms = now_ms;
		engine_hub_relay_open(e, ep->ik, now_ms);
	}
}

void engine_on_relay_control(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	const uint8_t *msg = p->buf + p->off;
	bool bound_before = relay_client_bound(&e->relay);

	if (engine_away_on_control(e, p, now_ms))
		return;
	if (!engine_is_relay(e, &p->addr) ||
	    !relay_client_on_message(&e->relay, msg, p->len, &p->addr, now_ms)) {
		e->drops.malformed++;
		return;
	}
	e->relay_answer_ms = now_ms;
	e->relay_checks = 0;
	if (msg[1] == RELAY_CHALLENGE)
		engine_away_on_hub_answer(e, now_ms);
	if (p->len == RELAY_UNBOUND_LEN && msg[1] == RELAY_UNBOUND)
		on_unbound(e, load_le32(msg + 4), now_ms);
	engine_due(e, engine_relay_deadline(e));
	if (!bound_before && relay_client_bound(&e->relay))
		on_bound(e, now_ms);
}
