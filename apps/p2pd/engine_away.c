/* Relays other than the hub's ("away"): each node measures them and chooses a home among them and the hub's, which it tells
 * in its record (CANDIDATE_RELAY). What has to be relayed goes to the peer's home, once that is proven; by the hub's relay
 * until then, and again as soon as it does not answer.
 *
 * Timers: MEASURE_MS between measurements, each of PROBES probes. A home is kept open by a check every
 * engine_keepalive_ms(), every CHECK_GAP_MS while it does not answer, LOST of which are too many. To a peer that is reached
 * at its home goes an in-tunnel ping every PING_MS as long as data flows; LOST_PINGS of them unanswered, and data goes by
 * the hub again: less than 2 s (so a home that is more than 1.2 s there and back is not used). A relay that nobody needs is left after IDLE_MS. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

#include "core/bytes.h"
#include "core/control.h"
#include "core/log.h"
#include "relay/relay_ticket.h"

enum {
	FIRST_MS = 1000, /* after the welcome: joining comes first */
	MEASURE_MS = 600000,
	AGAIN_MS = 10000, /* a better home has to be so twice */
	PROBES = 3,
	PROBE_GAP_MS = 200,
	PROBE_WAIT_MS = 1500,
	BETTER_MS = 10, /* than this, and a fifth, a new home has to be */
	CHECK_GAP_MS = 500,
	LOST = 4,
	PING_MS = 400,
	LOST_PINGS = 3,
	JOIN_MS = 1000,
	JOIN_MAX_MS = 16000,
	ACTIVE_MS = 3000,
	IDLE_MS = 120000,
};

static struct engine_away *find(const struct engine *e, const struct addr *at)
{
	for (size_t i = 0; i < e->away_count; i++)
		if (addr_equal(&e->aways[i].at, at))
			return (struct engine_away *)(uintptr_t)&e->aways[i];
	return NULL;
}

const struct engine_away *engine_away_at(const struct engine *e, const struct addr *at)
{
	return find(e, at);
}

static void start(struct engine *e, struct engine_away *a, uint64_t now_ms)
{
	a->used_ms = now_ms;
	if (a->client.state == RELAY_IDLE)
		relay_client_start_guest(&a->client, &a->at, e->ticket, e->ticket_token, now_ms);
}

/* ---- home */

static void set_home(struct engine *e, struct engine_away *a)
{
	char text[ADDR_TEXT_MAX];

	if (e->home == a)
		return;
	e->home = a;
	e->publish_due = true;
	engine_due(e, 0);
	log_info("relay", "the home relay is %s", a ? addr_format(&a->at, text) : "the hub's");
}

/* UINT32_MAX: unknown. */
static uint32_t cost(uint32_t rtt_ms, bool known)
{
	return known ? rtt_ms : UINT32_MAX;
}

static bool is_better(uint32_t a, uint32_t than)
{
	return than == UINT32_MAX ? a != UINT32_MAX : (uint64_t)a + BETTER_MS + than / 5 < than;
}

/* The nearest, if it is clearly nearer than the one we have, for the second time unless it is the first measurement. */
static void choose(struct engine *e, uint64_t now_ms)
{
	struct engine_away *best = NULL;
	uint32_t hub = cost(e->hub_relay_rtt_ms, e->hub_relay_rtt_known), least = hub;

	for (size_t i = 0; i < e->away_count; i++) {
		struct engine_away *a = &e->aways[i];
		if (cost(a->rtt_ms, a->rtt_known) < least) {
			least = cost(a->rtt_ms, a->rtt_known);
			best = a;
		}
	}
	uint32_t have = e->home ? cost(e->home->rtt_ms, e->home->rtt_known) : hub;
	bool first = !e->measured_aways;
	e->measured_aways = true;
	if (best == e->home || !is_better(least, have)) {
		e->next_home = e->home;
		return;
	}
	if (!first && e->next_home != best) {
		e->next_home = best;
		e->measure_aways_ms = now_ms + AGAIN_MS;
		return;
	}
	e->next_home = best;
	/* For a peer's sake it may be bound there already; else it is home once it is. */
	if (best && !relay_client_bound(&best->client))
		start(e, best, now_ms);
	else
		set_home(e, best);
}

/* Challenges do not tell what they answer, and not only probes ask for them: each is taken to be for what was asked first.
 * So one that is lost makes a relay seem farther for a while, and none ever nearer. */
static void forget_first(struct engine_asked *q)
{
	q->count--;
	memmove(q->at_ms, q->at_ms + 1, q->count * sizeof *q->at_ms);
}

void engine_away_ask(struct engine_asked *q, const uint8_t *msg, uint64_t now_ms)
{
	if (msg[1] != RELAY_BIND)
		return;
	if (q->count == sizeof q->at_ms / sizeof *q->at_ms)
		forget_first(q);
	q->at_ms[q->count++] = now_ms;
}

static void probe(struct engine *e, struct engine_away *a, uint64_t now_ms)
{
	struct relay_client asks = { .guest = true };
	uint8_t msg[RELAY_BIND_LEN];

	relay_client_check(&asks, msg);
	engine_away_ask(&a->asked, msg, now_ms);
	engine_emit(e, msg, sizeof msg, &a->at, 0, 0);
}

static void probe_all(struct engine *e, uint64_t now_ms)
{
	uint8_t msg[RELAY_BIND_LEN];

	if (e->probes_of_aways == 0) {
		e->hub_relay_rtt_known = false;
		for (size_t i = 0; i < e->away_count; i++)
			e->aways[i].rtt_known = false;
	}
	for (size_t i = 0; i < e->away_count; i++)
		probe(e, &e->aways[i], now_ms);
	if (relay_client_bound(&e->relay)) {
		relay_client_check(&e->relay, msg);
		engine_away_ask(&e->hub_relay_asked, msg, now_ms);
		engine_emit(e, msg, sizeof msg, &e->relay.server, 0, 0);
	}
}

static void measure(struct engine *e, uint64_t now_ms)
{
	if (now_ms < e->measure_aways_ms)
		return;
	if (e->probes_of_aways < PROBES) {
		probe_all(e, now_ms);
		e->measure_aways_ms = now_ms + (++e->probes_of_aways < PROBES ? PROBE_GAP_MS : PROBE_WAIT_MS);
		return;
	}
	e->probes_of_aways = 0;
	e->measure_aways_ms = now_ms + MEASURE_MS;
	choose(e, now_ms);
}

void engine_aways_measure(struct engine *e, uint64_t now_ms)
{
	if (!e->away_count)
		return;
	for (size_t i = 0; i < e->away_count; i++)
		relay_client_rebind(&e->aways[i].client, now_ms);
	e->measured_aways = false;
	e->probes_of_aways = 0;
	e->measure_aways_ms = now_ms + FIRST_MS;
	engine_due(e, e->measure_aways_ms);
}

static void sample(uint32_t *rtt_ms, bool *known, struct engine_asked *q, uint64_t now_ms)
{
	while (q->count && now_ms - q->at_ms[0] >= PROBE_WAIT_MS)
		forget_first(q);
	if (!q->count)
		return;
	uint64_t rtt = now_ms - q->at_ms[0];
	forget_first(q);
	*rtt_ms = *known && *rtt_ms < rtt ? *rtt_ms : (uint32_t)rtt;
	*known = true;
}

void engine_away_on_hub_answer(struct engine *e, uint64_t now_ms)
{
	sample(&e->hub_relay_rtt_ms, &e->hub_relay_rtt_known, &e->hub_relay_asked, now_ms);
}

/* ---- bindings */

void engine_aways_on_welcome(struct engine *e, const struct addr *relays, size_t count,
			     const uint8_t ticket[static RELAY_TICKET],
			     const uint8_t token[static RELAY_TOKEN], uint64_t now_ms)
{
	struct engine_away now[ENGINE_AWAYS] = { 0 };
	struct addr home = e->home ? e->home->at : (struct addr) { 0 };

	count = count < ENGINE_AWAYS ? count : ENGINE_AWAYS;
	for (size_t i = 0; i < count; i++) {
		const struct engine_away *known = find(e, &relays[i]);
		now[i] = known ? *known : (struct engine_away) { .at = relays[i] };
		/* The next binding is with the new ticket. */
		memcpy(now[i].client.ticket, ticket, RELAY_TICKET);
		memcpy(now[i].client.token, token, RELAY_TOKEN);
	}
	memcpy(e->aways, now, sizeof now);
	crypto_wipe(now, sizeof now);
	e->away_count = count;
	memcpy(e->ticket, ticket, RELAY_TICKET);
	memcpy(e->ticket_token, token, RELAY_TOKEN);
	e->next_home = NULL;
	e->home = home.family ? find(e, &home) : NULL;
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next)
		engine_away_of_peer(e, ep, now_ms);
	engine_aways_measure(e, now_ms);
}

void engine_aways_forget(struct engine *e, uint64_t now_ms)
{
	if (!e->away_count)
		return;
	set_home(e, NULL);
	e->next_home = NULL;
	e->away_count = 0;
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next)
		engine_away_of_peer(e, ep, now_ms);
}

static void lose(struct engine *e, struct engine_away *a, uint64_t now_ms)
{
	char text[ADDR_TEXT_MAX];

	log_info("relay", "the relay %s does not answer", addr_format(&a->at, text));
	a->checks = 0;
	a->rtt_known = false;
	relay_client_lose(&a->client, now_ms);
	if (e->home != a)
		return;
	set_home(e, NULL);
	engine_aways_measure(e, now_ms);
}

static uint64_t check_at(const struct engine *e, const struct engine_away *a)
{
	if (e->home != a || !relay_client_bound(&a->client))
		return UINT64_MAX;
	return a->check_ms + (a->checks ? CHECK_GAP_MS : engine_keepalive_ms(e));
}

static void run_away(struct engine *e, struct engine_away *a, uint64_t now_ms)
{
	uint8_t msg[RELAY_CLIENT_MESSAGE_MAX];
	size_t len;

	if (a->client.state != RELAY_IDLE && e->home != a && e->next_home != a &&
	    now_ms - a->used_ms >= IDLE_MS) {
		relay_client_stop(&a->client);
		return;
	}
	while ((len = relay_client_next(&a->client, now_ms, msg))) {
		engine_away_ask(&a->asked, msg, now_ms);
		engine_emit(e, msg, len, &a->at, 0, 0);
	}
	if (now_ms < check_at(e, a))
		return;
	if (a->checks == LOST) {
		lose(e, a, now_ms);
		return;
	}
	a->checks++;
	a->check_ms = now_ms;
	relay_client_check(&a->client, msg);
	engine_away_ask(&a->asked, msg, now_ms);
	engine_emit(e, msg, RELAY_BIND_LEN, &a->at, 0, 0);
}

void engine_run_aways(struct engine *e, uint64_t now_ms)
{
	if (!e->away_count)
		return;
	measure(e, now_ms);
	for (size_t i = 0; i < e->away_count; i++)
		run_away(e, &e->aways[i], now_ms);
}

uint64_t engine_aways_deadline(const struct engine *e)
{
	uint64_t due = e->away_count ? e->measure_aways_ms : UINT64_MAX;

	for (size_t i = 0; i < e->away_count; i++) {
		const struct engine_away *a = &e->aways[i];
		due = engine_min(due, engine_min(relay_client_deadline(&a->client), check_at(e, a)));
	}
	return due;
}

/* ---- peers at their homes */

void engine_away_of_peer(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_away *at = ep->home.family ? find(e, &ep->home) : NULL;

	if (!at && !ep->away.relay)
		return;
	/* The list may have moved. */
	if (at && ep->away.relay && addr_equal(&at->at, &ep->away.at)) {
		ep->away.relay = at;
		return;
	}
	ep->away = (struct engine_peer_away) { .relay = at };
	if (at)
		ep->away.at = at->at;
	engine_touch(e, ep, now_ms);
}

bool engine_away_is_used(const struct engine_peer *ep)
{
	return ep->away.proven && ep->away.session && relay_client_bound(&ep->away.relay->client);
}

static bool is_wanted(const struct engine_peer *ep, uint64_t now_ms)
{
	return ep->away.relay && !ep->peer.best && ep->peer.last_tx_ms &&
	       now_ms - ep->peer.last_tx_ms < ACTIVE_MS;
}

static void ask_to_join(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_peer_away *w = &ep->away;
	uint8_t tag[RELAY_TAG], msg[RELAY_JOIN_LEN];

	relay_ticket_node(tag, e->config.net.netid, ep->ik);
	relay_client_join(&w->relay->client, tag, msg);
	engine_emit(e, msg, sizeof msg, &w->at, 0, 0);
	w->join_gap_ms = w->join_gap_ms ? w->join_gap_ms * 2 : JOIN_MS;
	if (w->join_gap_ms > JOIN_MAX_MS)
		w->join_gap_ms = JOIN_MAX_MS;
	w->at_ms = now_ms + w->join_gap_ms;
}

static void fall_back(struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_peer_away *w = &ep->away;

	if (w->proven)
		log_info("relay", "%s is not reached at its home relay: by the hub's again", ep->peer.name);
	*w = (struct engine_peer_away) {
		.relay = w->relay, .at = w->at, .join_gap_ms = JOIN_MAX_MS, .at_ms = now_ms + JOIN_MAX_MS
	};
}

static void ping(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_peer_away *w = &ep->away;
	struct engine_target to = { .addr = w->at, .relay_session = w->session };
	uint8_t msg[CONTROL_LEN];

	if (w->unanswered == LOST_PINGS) {
		fall_back(ep, now_ms);
		return;
	}
	w->at_ms = now_ms + PING_MS;
	control_write(msg, CONTROL_PING, w->ping + 1);
	if (!engine_send_control_to(e, ep, msg, sizeof msg, &to, now_ms))
		return;
	w->ping++;
	w->unanswered++;
}

void engine_run_peer_away(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_peer_away *w = &ep->away;

	if (now_ms < engine_peer_away_deadline(ep, now_ms))
		return;
	start(e, w->relay, now_ms);
	engine_due(e, now_ms);
	if (!relay_client_bound(&w->relay->client))
		w->at_ms = now_ms + PING_MS;
	else if (!w->session)
		ask_to_join(e, ep, now_ms);
	else
		ping(e, ep, now_ms);
}

uint64_t engine_peer_away_deadline(const struct engine_peer *ep, uint64_t now_ms)
{
	return is_wanted(ep, now_ms) ? ep->away.at_ms : UINT64_MAX;
}

/* ---- what comes */

static void on_joined(struct engine *e, const struct engine_away *a, const uint8_t *tag, uint32_t session,
		      uint64_t now_ms)
{
	uint8_t own[RELAY_TAG];

	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		if (ep->away.relay != a || ep->away.session || !session)
			continue;
		relay_ticket_node(own, e->config.net.netid, ep->ik);
		if (memcmp(own, tag, RELAY_TAG) != 0)
			continue;
		ep->away.session = session;
		rng_fill(&e->rng, &ep->away.ping, sizeof ep->away.ping);
		ep->away.at_ms = now_ms;
		ep->away.unanswered = 0;
		engine_touch(e, ep, now_ms);
		return;
	}
}

static bool is_unbound(const uint8_t *msg, size_t len)
{
	return len == RELAY_UNBOUND_LEN && msg[1] == RELAY_UNBOUND;
}

/* The relay knows the session no more. It can be forged, and costs a detour by the hub. */
static void on_unbound(struct engine *e, const struct engine_away *a, uint32_t session, uint64_t now_ms)
{
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		if (ep->away.relay != a || !ep->away.session || ep->away.session != session)
			continue;
		fall_back(ep, now_ms);
		ep->away.join_gap_ms = 0;
		ep->away.at_ms = now_ms + JOIN_MS;
		engine_touch(e, ep, now_ms);
	}
}

bool engine_away_on_control(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	struct engine_away *a = find(e, &p->addr);
	const uint8_t *msg = p->buf + p->off, *tag;
	uint32_t session;

	if (!a || p->len < RELAY_HEADER)
		return false;
	bool bound_before = relay_client_bound(&a->client);
	if (msg[1] == RELAY_CHALLENGE && p->len == RELAY_CHALLENGE_LEN) {
		sample(&a->rtt_ms, &a->rtt_known, &a->asked, now_ms);
		a->checks = 0;
	}
	if (relay_client_joined(&a->client, msg, p->len, &p->addr, &tag, &session))
		on_joined(e, a, tag, session, now_ms);
	else if (relay_client_on_message(&a->client, msg, p->len, &p->addr, now_ms) &&
		 is_unbound(msg, p->len))
		on_unbound(e, a, load_le32(msg + 4), now_ms);
	if (!bound_before && relay_client_bound(&a->client)) {
		a->check_ms = now_ms;
		if (e->next_home == a)
			set_home(e, a);
	}
	engine_due(e, engine_aways_deadline(e));
	return true;
}

bool engine_away_on_pong(struct engine *e, struct engine_peer *ep, uint64_t id, uint64_t now_ms)
{
	struct engine_peer_away *w = &ep->away;

	/* The way may be longer than the time between pings. */
	if (!w->session || w->ping - id >= w->unanswered)
		return false;
	w->unanswered = (unsigned)(w->ping - id);
	if (!w->proven) {
		char text[ADDR_TEXT_MAX];
		log_info("relay", "%s is reached at its home relay %s", ep->peer.name,
			 addr_format(&w->at, text));
		w->proven = true;
		engine_touch(e, ep, now_ms);
	}
	return true;
}
