/* What a person asks of a peer's paths: what opened the one in use, and what the next attempt waits for. */
#include "apps/p2pd/engine_internal.h"

enum { BUDGET_WAIT_MS = 1000 /* to wait less for the budget is how it always works */ };

/* ---- how packets go */

enum engine_kind engine_kind(const struct engine_peer *ep, const struct engine *e)
{
	switch (engine_way(ep, e)) {
	case ENGINE_WAY_DIRECT: return ENGINE_KIND_DIRECT;
	case ENGINE_WAY_RELAY:
		return e->by_link && !engine_away_is_used(ep) ? ENGINE_KIND_RELAY_TLS : ENGINE_KIND_RELAY_UDP;
	case ENGINE_WAY_NONE: break;
	}
	return ENGINE_KINDS;
}

enum engine_kind engine_kind_of_origin(const struct engine_origin *origin)
{
	if (origin->by_link)
		return ENGINE_KIND_RELAY_TLS;
	return origin->relay_session ? ENGINE_KIND_RELAY_UDP : ENGINE_KIND_DIRECT;
}

/* ---- what opened a path */

static const struct candidate *candidate_at(const struct engine_peer *ep, const struct addr *addr)
{
	for (size_t i = 0; i < ep->remote.count; i++)
		if (addr_equal(&ep->remote.items[i].addr, addr))
			return &ep->remote.items[i];
	return NULL;
}

/* Nobody told us to send there: the peer's packet came first, to where everybody can send. */
static enum engine_opener opened_by_the_peer(const struct engine *e)
{
	if (e->verdict.mapping == MAPPING_NONE)
		return OPENED_PUBLIC;
	if (e->portmap.count && e->verdict.filtering == FILTERING_ADDRESS_AND_PORT_DEPENDENT)
		return OPENED_MAPPED;
	return OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN;
}

/* By its candidate, or where it lies. */
static enum engine_opener opened_by_address(const struct path *path, enum candidate_kind kind)
{
	if (kind == CANDIDATE_MAPPED)
		return OPENED_MAPPED;
	if (path->addr.family == ADDR_V6 && !addr_is_private(&path->addr))
		return OPENED_IPV6;
	if (kind != CANDIDATE_HOST)
		return OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN;
	return addr_is_private(&path->addr) ? OPENED_LAN : OPENED_PUBLIC;
}

static unsigned opener(const struct engine *e, const struct engine_peer *ep, const struct path *path)
{
	const struct engine_round *r = engine_round_of(e, ep);
	const struct candidate *c = candidate_at(ep, &path->addr);

	if (path->socket)
		return OPENED_TECHNIQUE + (r && r->running ? r->plan.technique : ep->round_technique);
	if (c)
		return opened_by_address(path, c->kind);
	if (addr_is_private(&path->addr) || path->addr.family == ADDR_V6)
		return opened_by_address(path, CANDIDATE_HOST);
	return r && r->running ? OPENED_TECHNIQUE + r->plan.technique : opened_by_the_peer(e);
}

void engine_note_opener(const struct engine *e, const struct engine_peer *ep, struct path *path)
{
	if (path->opened_by == OPENED_UNPROVEN)
		path->opened_by = (uint8_t)opener(e, ep, path);
}

bool engine_uses_trains(const struct engine_peer *ep, uint64_t now_ms)
{
	return !gaps_singly(ep->peer.best ? &ep->peer.best->gaps : &ep->relay_gaps, now_ms);
}

bool engine_opened_by_round(const struct path *path)
{
	return path->opened_by > OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN;
}

/* ---- what comes next */

static bool hot(const struct engine_peer *ep, uint64_t now_ms)
{
	return ep->peer.last_tx_ms && now_ms - ep->peer.last_tx_ms < ENGINE_HOT_MS;
}

static bool budget_is_spent(const struct engine *e, uint64_t at_ms, uint64_t now_ms)
{
	uint64_t free_ms = budget_next_ms(&e->budget, now_ms);

	return free_ms > at_ms && free_ms - now_ms > BUDGET_WAIT_MS;
}

/* What is due first: an introduction for a simultaneous open, or a round. */
static struct engine_next by_schedule(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_next next = { ENGINE_WAIT_TIME, TECHNIQUE_SIMULTANEOUS_OPEN,
				    engine_introduction_ms(ep) };

	if (engine_round_due(e, ep, now_ms) && ep->round_at_ms <= next.at_ms) {
		next.at_ms = ep->round_at_ms;
		next.technique = engine_expected(e, ep).technique;
	}
	if (next.at_ms < now_ms)
		next.at_ms = now_ms;
	return next;
}

struct engine_next engine_next_attempt(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	const struct engine_round *r = engine_round_of(e, ep);
	struct engine_next next = by_schedule(e, ep, now_ms);

	if (!ep->peer.own_kind || ep->peer.best)
		return (struct engine_next) { ENGINE_WAIT_NOTHING, TECHNIQUE_NONE, now_ms };
	if (r || engine_punching(ep)) {
		next.technique = r ? r->plan.technique : TECHNIQUE_SIMULTANEOUS_OPEN;
		next.wait = ENGINE_WAIT_END;
		next.at_ms = now_ms;
	} else if (!e->welcomed) {
		next.wait = ENGINE_WAIT_HUB;
	} else if (!ep->online) {
		next.wait = ENGINE_WAIT_PEER;
	} else if (!hot(ep, now_ms)) {
		next.wait = ENGINE_WAIT_TRAFFIC;
	}
	if ((next.wait == ENGINE_WAIT_END || next.wait == ENGINE_WAIT_TIME) &&
	    budget_is_spent(e, next.at_ms, now_ms)) {
		next.wait = ENGINE_WAIT_BUDGET;
		next.at_ms = budget_next_ms(&e->budget, now_ms);
	}
	return next;
}

bool engine_last_failed(const struct engine_peer *ep)
{
	const struct engine_attempt *last = &ep->attempts[(ep->attempt_count - 1) % ENGINE_ATTEMPTS];

	return ep->attempt_count && last->outcome != OUTCOME_DIRECT && last->outcome != OUTCOME_OVERTAKEN;
}
