/* Whose turn it is: which technique is expected of a peer, when a round of it may begin, and when what failed is tried
 * again. The rounds themselves are engine_round.c's. */
#include "apps/p2pd/engine_internal.h"

#include "core/log.h"

enum {
	/* Both ends' waits after failures begin and end alike, but for an opener's patience. Who asks for more rounds would
	 * take the budget from other peers. */
	JOIN_EARLY_MS = 10000,
	/* Of BUDGET_TUPLES each BUDGET_HOLD_MS: four rounds in full, then an eighth. A peer can make us forget what failed,
	 * by a record that is new or a path that comes and goes. */
	SHARE_AT_ONCE = 4096,
	SHARE_PER_S = 4,
	DISCOVERY_MS = 3000, /* from the mapping to the allocation, with the way to the peer */
	/* B1: after so many failed rounds the local port changes, and the old one sends nothing to there for so long that
	 * every router has forgotten of it: Linux keeps streams of UDP for 120 s, others for 180 s. */
	ROTATE_ROUNDS = 3,
	SILENCE_MS = 190000,
	LONG_SILENCE_MS = 600000, /* when fresh ports did not help, either */
};

/* After the first TECHNIQUE_ROUNDS; B2. */
static const uint32_t again_ms[] = { 30000, 120000, 600000, 3600000 };

struct engine_round *engine_round_of(const struct engine *e, const struct engine_peer *ep)
{
	for (int i = 0; i < ENGINE_ROUNDS; i++)
		if (e->rounds[i].peer == ep)
			return (struct engine_round *)&e->rounds[i];
	return NULL;
}

/* ---- what is to be done */

struct technique_side engine_side(const struct engine *e)
{
	unsigned sockets = engine_sockets_free(e);

	return (struct technique_side) {
		.nat = e->verdict,
		.max_sockets = (uint16_t)(sockets < TECHNIQUE_MAX_SOCKETS ? sockets : TECHNIQUE_MAX_SOCKETS),
		.allows_hard = e->config.hard_nat
	};
}

struct technique_plan engine_expected(const struct engine *e, const struct engine_peer *ep)
{
	struct technique_side ours = engine_side(e);
	struct technique_side theirs = { .nat = ep->nat,
					 .max_sockets = TECHNIQUE_MAX_SOCKETS,
					 .allows_hard = true };

	return technique_choose(&ours, &theirs, ep->rounds_failed);
}

bool engine_is_silent(const struct engine_peer *ep, uint64_t now_ms)
{
	return now_ms < ep->silent_until_ms;
}

static bool is_wanted(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	switch (engine_expected(e, ep).technique) {
	case TECHNIQUE_NONE: return false;
	case TECHNIQUE_SIMULTANEOUS_OPEN: return engine_is_silent(ep, now_ms) && e->hub_udp_count;
	default: return true;
	}
}

static bool tells_more_soon(const struct verdict *v)
{
	return verdict_is_hard(v) && v->allocation == ALLOCATION_UNKNOWN;
}

uint64_t engine_rounds_from(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	return tells_more_soon(&e->verdict) || tells_more_soon(&ep->nat) ? now_ms + DISCOVERY_MS : now_ms;
}

/* ---- when */

bool engine_round_due(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	return !engine_round_of(e, ep) && !ep->peer.best && ep->online && e->verdict.mapping &&
	       engine_way(ep, e) == ENGINE_WAY_RELAY && session_ready(&ep->peer.session, now_ms) &&
	       is_wanted(e, ep, now_ms);
}

/* That rounds under way have, or are about to open. */
static unsigned sockets_in_rounds(const struct engine *e, unsigned *promised)
{
	unsigned held = 0;

	*promised = 0;
	for (int i = 0; i < ENGINE_ROUNDS; i++) {
		const struct engine_round *r = &e->rounds[i];
		if (!r->peer || r->plan.role == ROLE_PROBES)
			continue;
		held += r->socket_count;
		*promised += r->plan.sockets > r->socket_count ? r->plan.sockets - r->socket_count : 0;
	}
	return held;
}

bool engine_rounds_are_full(const struct engine *e, uint64_t now_ms)
{
	unsigned promised, held = sockets_in_rounds(e, &promised);

	return budget_next_many_ms(&e->budget, now_ms) > now_ms + ENGINE_ROUND_GAP_MS ||
	       (held + promised > 1 && engine_sockets_free(e) < promised + e->config.max_sockets / 2);
}

bool engine_round_may_join(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	if (ep->peer.best || now_ms - ep->round_began_ms < ENGINE_ROUND_GAP_MS ||
	    engine_rounds_are_full(e, now_ms))
		return false;
	return !ep->rounds_failed || now_ms >= ep->join_at_ms;
}

bool engine_has_share(const struct engine_peer *ep, uint64_t now_ms)
{
	return bucket_has(&ep->share, SHARE_PER_S, SHARE_AT_ONCE, now_ms);
}

void engine_take_share(struct engine_peer *ep, uint64_t now_ms)
{
	bucket_charge(&ep->share, SHARE_PER_S, 1, now_ms);
}

void engine_round_schedule(struct engine_peer *ep, enum engine_outcome outcome, uint64_t now_ms)
{
	unsigned step = ep->rounds_failed < TECHNIQUE_ROUNDS ? 0 : ep->rounds_failed - TECHNIQUE_ROUNDS;
	unsigned last = sizeof again_ms / sizeof *again_ms - 1;
	bool quick = ep->rounds_failed < TECHNIQUE_ROUNDS && ep->round_technique != TECHNIQUE_BIRTHDAY &&
		     ep->round_technique != TECHNIQUE_HARD_BIRTHDAY;

	ep->round_at_ms = now_ms + (quick ? 300 : again_ms[step < last ? step : last]);
	if (outcome == OUTCOME_FAILED && ep->round_at_ms - now_ms > JOIN_EARLY_MS)
		ep->join_at_ms = ep->round_at_ms - JOIN_EARLY_MS;
}

/* ---- changing the port */

uint64_t engine_introduction_ms(const struct engine_peer *ep)
{
	return ep->introduce_at_ms > ep->silent_until_ms ? ep->introduce_at_ms : ep->silent_until_ms;
}

void engine_punch_failed(const struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	/* Of fresh ports: the round counts it. */
	if (ep->punch_socket)
		return;
	ep->punch_round++;
	if (ep->punch_round < ROTATE_ROUNDS ||
	    engine_expected(e, ep).technique != TECHNIQUE_SIMULTANEOUS_OPEN)
		return;
	log_debug("punch", "%s: fresh ports from now on", ep->peer.name);
	ep->punch_round = 0;
	ep->silent_until_ms = now_ms + (ep->rounds_failed > TECHNIQUE_ROUNDS ? LONG_SILENCE_MS : SILENCE_MS);
	ep->round_at_ms = now_ms;
}
