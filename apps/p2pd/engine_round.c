/* Rounds: techniques that need both ends to speak first. Each end measures what will have changed since the verdict (where
 * its NAT puts the next mapping), tells the other in an offer inside the tunnel, and both compute the same plan from the
 * two offers (nat/technique.h). Then the opening side opens many mappings and says "ready", the probing side looks for
 * them (nat/birthday.h); or both meet at a rendezvous; or, when simultaneous open failed time and again, both meet at
 * fresh ports.
 *
 *	measuring ----- offering ------------------------ running ------ direct, or failed
 *	  STUN            own offer is repeated until       birthday,
 *	                  the peer says that it has it      or punch
 *
 * Timers of a round: offer_at_ms, the STUN client's, the birthday's, end_ms. When the next round is due stands in the
 * peer's round_at_ms: engine_turns.c. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

#include "core/control.h"
#include "core/log.h"

enum {
	MEASURE_LIMIT_MS = 3000,
	OFFER_LIMIT_MS = 3000,
	READY_LIMIT_MS = 1600, /* 256 sockets at 250 probes a second, when "ready" is lost */
	OPENER_LIMIT_MS = 9000,
	HEAD_START_MS = 400, /* simultaneous open comes first: it needs no sockets, and suffices mostly */
	OFFERS = 6,
	RENDEZVOUS_REPEATS =
		2, /* 200 and 600 ms later: what is lost, or came before the other end's NAT let it in */
	RENDEZVOUS_LAST_MS =
		800, /* from the first probe to where nothing can be expected any more, but for the way */
};

static const uint16_t offer_gap_ms[OFFERS] = { 0, 120, 250, 400, 600, 900 };

/* ---- ending */

void engine_attempt(struct engine *e, struct engine_peer *ep, enum technique technique,
		    enum engine_outcome outcome, unsigned probes, uint64_t began_ms, uint64_t now_ms)
{
	ep->attempts[ep->attempt_count++ % ENGINE_ATTEMPTS] = (struct engine_attempt) {
		.technique = (uint8_t)technique,
		.outcome = (uint8_t)outcome,
		.probes = (uint16_t)probes,
		.began_ms = began_ms,
		.ended_ms = now_ms,
	};
	e->counts.attempts[technique][outcome]++;
}

static void end_round(struct engine *e, struct engine_round *r, enum engine_outcome outcome, uint64_t now_ms)
{
	struct engine_peer *ep = r->peer;

	/* That of a simultaneous open has been written with its end. */
	if (!r->running || r->plan.technique != TECHNIQUE_SIMULTANEOUS_OPEN)
		engine_attempt(e, ep, r->plan.technique, outcome, r->birthday.sent, r->began_ms, now_ms);
	log_debug("round", "%s: %s %s after %u probes", ep->peer.name, technique_name(r->plan.technique),
		  outcome == OUTCOME_DIRECT ? "opened a path" : "failed", r->birthday.sent);
	memset(r, 0, sizeof *r);
	if (outcome == OUTCOME_DIRECT || outcome == OUTCOME_OVERTAKEN)
		ep->rounds_failed = 0;
	else
		ep->rounds_failed++;
	engine_round_schedule(ep, outcome, now_ms);
	engine_sockets_sweep(e, ep, now_ms);
}

void engine_round_on_direct(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_round *r = engine_round_of(e, ep);

	if (r)
		end_round(e, r, engine_opened_by_round(ep->peer.best) ? OUTCOME_DIRECT : OUTCOME_OVERTAKEN,
			  now_ms);
}

void engine_round_drop(struct engine *e, struct engine_peer *ep)
{
	struct engine_round *r = engine_round_of(e, ep);

	if (r)
		memset(r, 0, sizeof *r);
	engine_sockets_drop(e, ep);
}

/* ---- beginning */

/* Whether a fresh socket's mapping is to be measured first: where a sequence has come to; where the peer can meet us with
 * a port that is new to both routers. What a probe that came unasked left in a router lasts, and moves the port of what
 * we send to the same place later, and then of all that we send from that socket (B1's clash): so the probing side of
 * a technique probes from a socket of its own each time. */
static bool needs_measuring(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	struct technique_plan plan = engine_expected(e, ep);

	if (verdict_is_hard(&e->verdict))
		return e->verdict.allocation == ALLOCATION_SEQUENTIAL;
	return plan.role == ROLE_PROBES ||
	       (engine_is_silent(ep, now_ms) && plan.technique == TECHNIQUE_SIMULTANEOUS_OPEN);
}

static void make_offer(struct engine *e, struct engine_round *r)
{
	struct offer *o = &r->ours;
	const struct addr *seen = engine_reflexive4(e);

	*o = (struct offer) { .attempt = r->attempt,
			      .round = (uint8_t)(r->peer->rounds_failed < 255 ? r->peer->rounds_failed : 255),
			      .side = engine_side(e) };
	o->rotated = r->stun_socket && verdict_is_easy(&e->verdict);
	if (o->rotated)
		o->endpoint = r->stun.mapped;
	else if (r->stun_socket)
		o->base = r->stun.mapped.port;
	else if (verdict_is_easy(&e->verdict) && seen)
		o->endpoint = *seen;
}

static void begin_offering(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	make_offer(e, r);
	r->state = ROUND_OFFERING;
	r->offer_at_ms = now_ms;
	r->end_ms = now_ms + OFFER_LIMIT_MS;
}

static void begin(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	const struct addr *server = engine_hub4(e);

	if (server && needs_measuring(e, r->peer, now_ms))
		r->stun_socket = engine_socket_open(e, r->peer);
	if (!r->stun_socket) {
		begin_offering(e, r, now_ms);
		return;
	}
	r->state = ROUND_MEASURING;
	r->end_ms = now_ms + MEASURE_LIMIT_MS;
	stun_client_start(&r->stun, server, e->hub_rtt_ms * 2 + 100, &e->rng, now_ms);
}

static struct engine_round *start_round(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_round *r = engine_round_of(e, NULL);

	if (!r || !e->hub_udp_count || !engine_has_share(ep, now_ms))
		return NULL;
	*r = (struct engine_round) { .peer = ep, .began_ms = now_ms };
	r->plan = engine_expected(e, ep);
	if (!++ep->our_attempt)
		ep->our_attempt = 1;
	r->attempt = ep->our_attempt;
	ep->round_began_ms = now_ms;
	begin(e, r, now_ms);
	return r;
}

void engine_round_consider(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	if (now_ms < ep->round_at_ms || !engine_round_due(e, ep, now_ms))
		return;
	if (engine_rounds_are_full(e, now_ms) || !start_round(e, ep, now_ms))
		ep->round_at_ms = now_ms + ENGINE_ROUND_GAP_MS;
}

/* ---- running */

static void send_offer(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	uint8_t msg[CONTROL_HEADER + OFFER_WIRE] = { CONTROL_FIRST_BYTE, CONTROL_OFFER };

	r->ours.heard = r->have_theirs ? r->theirs.attempt : 0;
	offer_write(&r->ours, msg + CONTROL_HEADER);
	engine_send_control(e, r->peer, msg, sizeof msg, now_ms);
}

/* Takes `count` sockets; how many there were. */
static unsigned open_sockets(struct engine *e, struct engine_round *r, unsigned count)
{
	while (r->socket_count < count && r->socket_count < TECHNIQUE_MAX_SOCKETS) {
		uint32_t id = engine_socket_open(e, r->peer);
		if (!id)
			break;
		r->sockets[r->socket_count++] = id;
	}
	return r->socket_count;
}

/* We open: many sockets, one destination. */
static void run_opener(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	struct birthday_plan plan = {
		.to = r->theirs.endpoint,
		.ports = 1,
		.opener_ttl = punch_opener_ttl(r->peer->rounds_failed, e->verdict.depth),
		.start_ms = now_ms,
		.end_ms = now_ms + OPENER_LIMIT_MS,
	};

	plan.sockets = open_sockets(e, r, r->plan.sockets);
	birthday_start(&r->birthday, &plan, &e->rng, now_ms);
}

/* What earlier rounds tried of the range; a block is widened from round to round, and so begun anew. */
static unsigned skipped(const struct engine_round *r)
{
	bool all = r->plan.lo <= BUDGET_MIN_PORT && r->plan.hi == UINT16_MAX;

	return all ? r->plan.ports * r->peer->rounds_failed : 0;
}

/* We look for the peer's mappings: one socket, the one that its packets were sent to. */
static void run_prober(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	const struct verdict *v = &r->theirs.side.nat;
	struct birthday_plan plan = { .to = v->public_ip,
				      .sockets = 1,
				      .ports = r->plan.ports,
				      .lo = r->plan.lo,
				      .hi = r->plan.hi,
				      .skip = skipped(r),
				      .seed = r->peer->boot ^ e->boot,
				      .start_ms = now_ms,
				      .one_way_ms = e->hub_rtt_ms };

	if (r->plan.technique == TECHNIQUE_SEQUENTIAL) {
		plan.order = BIRTHDAY_OUTWARD;
		plan.to.port = r->theirs.base;
		plan.step = v->step;
	}
	r->sockets[r->socket_count++] = r->ours.rotated ? r->stun_socket : 0;
	birthday_start(&r->birthday, &plan, &e->rng, now_ms);
}

/* Both open mappings towards the port where one of the other's will be. */
static void run_rendezvous(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	struct prediction theirs = predict_from_verdict(&r->theirs.side.nat);
	struct birthday_plan plan = {
		.to = r->theirs.side.nat.public_ip,
		.ports = 1,
		.repeats = RENDEZVOUS_REPEATS,
		.opener_ttl = punch_opener_ttl(r->peer->rounds_failed, e->verdict.depth),
		.start_ms = now_ms,
		.one_way_ms = e->hub_rtt_ms,
	};

	plan.to.port = predict_port(&theirs, r->theirs.base, (int)r->plan.ahead);
	plan.sockets = open_sockets(e, r, r->plan.sockets);
	plan.end_ms = now_ms + RENDEZVOUS_LAST_MS + 2 * e->hub_rtt_ms +
		      plan.sockets * RENDEZVOUS_REPEATS * 1000 / BUDGET_PPS;
	birthday_start(&r->birthday, &plan, &e->rng, now_ms);
}

/* Each probe makes a mapping of its own and aims at one of the peer's. */
static void run_hard(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	struct birthday_plan plan = { .to = r->theirs.side.nat.public_ip,
				      .ports = r->plan.ports,
				      .lo = r->plan.lo,
				      .hi = r->plan.hi,
				      .skip = skipped(r),
				      .seed = r->peer->boot ^ e->boot,
				      .start_ms = now_ms,
				      .one_way_ms = e->hub_rtt_ms };

	plan.sockets = open_sockets(e, r, r->plan.sockets);
	birthday_start(&r->birthday, &plan, &e->rng, now_ms);
}

/* The depth of our NAT may be what was wrong until now: it is left out. */
static void run_rotated(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	struct punch_plan plan = { .have_ip4 = true,
				   .start_ms = now_ms + e->hub_rtt_ms,
				   .one_way_ms = e->hub_rtt_ms,
				   .round = r->ours.round % 3 };

	candidates_add(&plan.remote, CANDIDATE_REFLEXIVE, &r->theirs.endpoint);
	engine_punch(e, r->peer, &plan, r->ours.rotated ? r->stun_socket : 0, now_ms);
}

static bool has_place_to_go(const struct engine_round *r)
{
	const struct offer *o = &r->theirs;

	switch (r->plan.technique) {
	case TECHNIQUE_SIMULTANEOUS_OPEN: return o->endpoint.family == ADDR_V4;
	case TECHNIQUE_RENDEZVOUS: return o->base && r->ours.base && o->side.nat.public_ip.family == ADDR_V4;
	/* Random x sequential (B5, experimental): the sequential end has no place that the other could aim at. */
	case TECHNIQUE_HARD_BIRTHDAY:
		return r->plan.role == ROLE_BOTH && o->side.nat.public_ip.family == ADDR_V4;
	case TECHNIQUE_NONE: return false;
	default: break;
	}
	if (r->plan.role == ROLE_OPENS)
		return o->endpoint.family == ADDR_V4;
	return o->side.nat.public_ip.family == ADDR_V4 &&
	       (r->plan.technique != TECHNIQUE_SEQUENTIAL || o->base);
}

static void run_plan(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	r->running = true;
	switch (r->plan.technique) {
	case TECHNIQUE_SIMULTANEOUS_OPEN: run_rotated(e, r, now_ms); return;
	case TECHNIQUE_RENDEZVOUS: run_rendezvous(e, r, now_ms); return;
	case TECHNIQUE_HARD_BIRTHDAY: run_hard(e, r, now_ms); return;
	default: break;
	}
	if (r->plan.role == ROLE_OPENS)
		run_opener(e, r, now_ms);
	else
		run_prober(e, r, now_ms);
}

/* Both offers are here. */
static void agree(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	struct engine_peer *ep = r->peer;
	unsigned round = r->ours.round > r->theirs.round ? r->ours.round : r->theirs.round;

	r->plan = technique_choose(&r->ours.side, &r->theirs.side, round);
	ep->round_technique = r->plan.technique;
	if (!has_place_to_go(r)) {
		end_round(e, r, OUTCOME_NO_PLAN, now_ms);
		return;
	}
	r->state = ROUND_RUNNING;
	r->start_ms = now_ms;
	r->end_ms = UINT64_MAX;
	log_debug("round", "%s: %s, %u sockets, %u ports of %u to %u", ep->peer.name,
		  technique_name(r->plan.technique), r->plan.sockets, r->plan.ports, r->plan.lo, r->plan.hi);
	if (r->plan.technique != TECHNIQUE_RENDEZVOUS && r->plan.technique != TECHNIQUE_SIMULTANEOUS_OPEN)
		r->start_ms = now_ms > ep->round_began_ms + HEAD_START_MS
				      ? now_ms
				      : ep->round_began_ms + HEAD_START_MS;
	if (r->plan.role == ROLE_PROBES)
		r->start_ms += READY_LIMIT_MS;
}

/* Nobody outside can be in our network, or in the overlay. */
static bool can_be_at(const struct engine *e, struct addr a)
{
	a.port = a.port ? a.port : 1;
	return !a.family || (addr_may_name(&e->verdict.public_ip, &a) && !engine_in_overlay(e, &a));
}

void engine_round_on_offer(struct engine *e, struct engine_peer *ep, const uint8_t *msg, size_t len,
			   uint64_t now_ms)
{
	struct engine_round *r = engine_round_of(e, ep);
	struct offer o;

	if (!offer_read(&o, msg, len) || !can_be_at(e, o.endpoint) || !can_be_at(e, o.side.nat.public_ip)) {
		e->drops.malformed++;
		return;
	}
	if ((int16_t)(o.attempt - ep->their_attempt) < 0 && ep->their_attempt)
		return;
	bool is_new = o.attempt != ep->their_attempt;
	ep->their_attempt = o.attempt;
	ep->forbids_hard = !o.side.allows_hard;
	/* Its end of the last round is over: so is ours. */
	if (is_new && r && r->state == ROUND_RUNNING) {
		end_round(e, r, OUTCOME_FAILED, now_ms);
		r = NULL;
	}
	if (!r && is_new && engine_round_may_join(e, ep, now_ms))
		r = start_round(e, ep, now_ms);
	if (!r)
		return;
	/* What was agreed stays: from here on it has only to say that it heard ours, and is ready. */
	if (r->state == ROUND_RUNNING) {
		r->theirs.heard = o.heard;
		r->theirs.ready = o.ready;
	} else {
		r->theirs = o;
		r->have_theirs = true;
	}
	if (o.ready && r->state == ROUND_RUNNING && r->plan.role == ROLE_PROBES && !r->running)
		r->start_ms = now_ms;
	if (r->state == ROUND_OFFERING)
		r->offer_at_ms = now_ms;
	engine_touch(e, ep, now_ms);
}

static void run_measuring(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	uint8_t msg[STUN_MAX];
	size_t len;

	while ((len = stun_client_next(&r->stun, now_ms, msg)))
		engine_emit(e, msg, len, &r->stun.server, r->stun_socket, 0);
	if (r->stun.state == STUN_FAILED || now_ms >= r->end_ms)
		end_round(e, r, OUTCOME_NO_STUN, now_ms);
}

static void run_offering(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	if (now_ms >= r->end_ms) {
		end_round(e, r, OUTCOME_NO_OFFER, now_ms);
		return;
	}
	if (now_ms < r->offer_at_ms)
		return;
	send_offer(e, r, now_ms);
	if (r->offers_sent < OFFERS)
		r->offers_sent++;
	r->offer_at_ms = r->offers_sent < OFFERS ? now_ms + offer_gap_ms[r->offers_sent] : UINT64_MAX;
	if (r->have_theirs)
		agree(e, r, now_ms);
}

static void say_ready(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	if (r->plan.role != ROLE_OPENS || r->ours.ready || r->birthday.sent < r->socket_count)
		return;
	r->ours.ready = true;
	send_offer(e, r, now_ms);
	r->offers_sent = OFFERS - 1; /* once more, in case that it is lost */
	r->offer_at_ms = now_ms + offer_gap_ms[1];
}

static void run_probes(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	struct probe ping = { .kind = PROBE_PING };
	struct birthday_probe out;
	uint8_t msg[PROBE_MAX];

	while (birthday_next(&r->birthday, &e->budget, now_ms, &out)) {
		memcpy(ping.txid, out.txid, sizeof ping.txid);
		size_t len = probe_seal(&r->peer->peer.probe, &ping, &e->rng, PROBE_MIN, msg);
		engine_emit(e, msg, len, &out.to, r->sockets[out.socket], out.ttl);
		r->peer->probes++;
		engine_take_share(r->peer, now_ms);
	}
}

static void run_running(struct engine *e, struct engine_round *r, uint64_t now_ms)
{
	if (now_ms >= r->offer_at_ms) {
		send_offer(e, r, now_ms);
		/* Ours may not have arrived, though the peer's has: it goes on until the peer says that it has it. */
		r->offers_sent++;
		r->offer_at_ms = r->offers_sent < OFFERS && r->theirs.heard != r->attempt
					 ? now_ms + offer_gap_ms[r->offers_sent]
					 : UINT64_MAX;
	}
	if (!r->running && now_ms >= r->start_ms)
		run_plan(e, r, now_ms);
	if (!r->running)
		return;
	if (r->plan.technique == TECHNIQUE_SIMULTANEOUS_OPEN) {
		if (!engine_punching(r->peer))
			end_round(e, r, OUTCOME_FAILED, now_ms);
		return;
	}
	run_probes(e, r, now_ms);
	say_ready(e, r, now_ms);
	if (r->birthday.state == BIRTHDAY_FAILED)
		end_round(e, r, OUTCOME_FAILED, now_ms);
}

void engine_round_run(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_round *r = engine_round_of(e, ep);

	if (r && r->state == ROUND_MEASURING)
		run_measuring(e, r, now_ms);
	else if (r && r->state == ROUND_OFFERING)
		run_offering(e, r, now_ms);
	if (r && r->peer && r->state == ROUND_RUNNING)
		run_running(e, r, now_ms);
}

uint64_t engine_round_deadline(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	const struct engine_round *r = engine_round_of(e, ep);
	uint64_t due;

	if (!r)
		return UINT64_MAX;
	due = r->end_ms;
	if (r->state == ROUND_MEASURING)
		return engine_min(due, stun_client_deadline(&r->stun));
	due = engine_min(due, r->offer_at_ms);
	if (r->state == ROUND_RUNNING && !r->running)
		due = engine_min(due, r->start_ms);
	if (r->running)
		due = engine_min(due, birthday_deadline(&r->birthday, &e->budget, now_ms));
	return due;
}

/* ---- answers */

bool engine_round_on_stun(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	for (int i = 0; p->socket && i < ENGINE_ROUNDS; i++) {
		struct engine_round *r = &e->rounds[i];
		if (!r->peer || r->state != ROUND_MEASURING || r->stun_socket != p->socket ||
		    !stun_client_on_message(&r->stun, p->buf + p->off, p->len, &p->addr, now_ms))
			continue;
		if (r->stun.state == STUN_DONE)
			begin_offering(e, r, now_ms);
		engine_touch(e, r->peer, now_ms);
		return true;
	}
	return false;
}

struct path *engine_round_on_pong(struct engine *e, struct engine_peer *ep, const struct addr *from,
				  uint32_t socket, const uint8_t txid[static PROBE_TXID], uint64_t now_ms)
{
	struct engine_round *r = engine_round_of(e, ep);
	struct path *path;

	for (unsigned i = 0; r && i < r->socket_count; i++) {
		if (r->sockets[i] != socket ||
		    !birthday_on_pong(&r->birthday, &e->budget, i, from, txid, now_ms))
			continue;
		path = peer_path_get(&ep->peer, from, socket, now_ms);
		if (path && path->wants_size) {
			engine_send_ping(e, ep, path, 0, now_ms);
			return NULL;
		}
		if (path)
			path_on_proof(path, ep->peer.name, now_ms);
		return path;
	}
	return NULL;
}
