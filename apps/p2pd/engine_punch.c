/* Getting a direct path and keeping it: introductions by the hub, simultaneous open (nat/punch.h), liveness of the path in
 * use. Techniques that need offers are engine_round.c's. */
#include "apps/p2pd/engine_internal.h"

#include "core/log.h"

enum {
	ASK_AGAIN_MS = 1000, /* a RelayOpen or Introduce that brought nothing */
	ASK_OLD_MS = 250,
	FLAP_MS = 10000, /* a path that lived less than this did not live */
	FLAPS_MAX = 7,	 /* 500 << 7: 64 s */
};

/* Waits between rounds of punching while traffic flows. */
static const uint32_t retry_ms[] = { 2000, 5000, 15000, 30000, 120000, 600000 };

static bool hot(const struct engine_peer *ep, uint64_t now_ms)
{
	return ep->peer.last_tx_ms && now_ms - ep->peer.last_tx_ms < ENGINE_HOT_MS;
}

bool engine_punching(const struct engine_peer *ep)
{
	return ep->punch.state == PUNCH_RUNNING;
}

/* ---- connecting */

/* The path that served last may have gone quiet only: ask it, too. */
static void ask_old_paths(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	for (int i = 0; i < PEER_PATHS; i++) {
		struct path *path = &ep->peer.paths[i];
		if (path->addr.family && path->state == PATH_UP && path->unanswered < PATH_MAX_TRIES &&
		    now_ms - path->last_ping_ms > ASK_OLD_MS)
			engine_send_ping(e, ep, path, 0, now_ms);
	}
}

static void introduce(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	size_t step = ep->punch_round < sizeof retry_ms / sizeof *retry_ms
			      ? ep->punch_round
			      : sizeof retry_ms / sizeof *retry_ms - 1;

	if (!e->welcomed || engine_punching(ep) || ep->peer.best || now_ms < engine_introduction_ms(ep))
		return;
	ep->introduce_at_ms = now_ms + retry_ms[step];
	engine_hub_introduce(e, ep->ik, now_ms);
}

void engine_connect(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	ask_old_paths(e, ep, now_ms);
	if (e->welcomed && !ep->relay_session && now_ms - ep->relay_asked_ms >= ASK_AGAIN_MS) {
		ep->relay_asked_ms = now_ms;
		engine_hub_relay_open(e, ep->ik, now_ms);
	}
	introduce(e, ep, now_ms);
}

void engine_try_anew(struct engine_peer *ep, uint64_t at_ms)
{
	ep->punch_round = 0;
	ep->silent_until_ms = 0;
	ep->introduce_at_ms = at_ms;
	ep->rounds_failed = 0;
	ep->round_at_ms = at_ms;
}

void engine_on_own_verdict(struct engine *e, uint64_t now_ms)
{
	e->publish_due = true;
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		ep->rounds_failed = 0;
		ep->round_at_ms = engine_rounds_from(e, ep, now_ms);
		engine_touch(e, ep, now_ms);
	}
	engine_gather(e, now_ms);
	engine_due(e, now_ms);
}

/* What served until now may serve on, or not: asked at once, and sought anew beside. */
void engine_on_moved(struct engine *e, uint64_t now_ms)
{
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		engine_try_anew(ep, now_ms);
		if (ep->peer.best && hot(ep, now_ms))
			engine_send_ping(e, ep, ep->peer.best, 0, now_ms);
		engine_touch(e, ep, now_ms);
	}
}

/* ---- simultaneous open */

void engine_punch(struct engine *e, struct engine_peer *ep, const struct punch_plan *plan, uint32_t socket,
		  uint64_t now_ms)
{
	log_debug("punch", "%s: round %u, %zu candidates", ep->peer.name, ep->punch_round,
		  plan->remote.count);
	punch_start(&ep->punch, plan, now_ms);
	ep->punch_socket = socket;
	ep->punch_began_ms = now_ms;
	engine_touch(e, ep, now_ms);
}

void engine_on_introduction(struct engine *e, struct engine_peer *ep, uint32_t in_ms, uint32_t one_way_ms,
			    uint64_t now_ms)
{
	struct punch_plan plan = {
		.remote = ep->remote,
		.have_ip4 = e->config.have_ip4,
		.have_ip6 = e->config.have_ip6,
		.start_ms = now_ms + (in_ms < 2000 ? in_ms : 2000),
		.one_way_ms = one_way_ms < 2000 ? one_way_ms : 2000,
		.round = ep->punch_round,
		.depth = e->verdict.depth,
	};

	if (ep->peer.best || engine_punching(ep) || engine_is_silent(ep, now_ms))
		return;
	engine_punch(e, ep, &plan, 0, now_ms);
}

/* Whether the budget lets us probe an address that has not answered. */
bool engine_may_probe(struct engine *e, const struct engine_peer *ep, const struct addr *to, uint32_t socket,
		      uint64_t now_ms)
{
	const struct path *path = peer_path_find((struct peer *)&ep->peer, to, socket);

	return path && path->last_ping_ms ? budget_again(&e->budget, path->last_ping_ms, now_ms)
					  : budget_take(&e->budget, to->port, now_ms);
}

static void run_punch(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct punch_probe probe;

	while (punch_next(&ep->punch, now_ms, &probe)) {
		uint32_t socket = probe.to.family == ADDR_V4 ? ep->punch_socket : 0;
		if (!engine_may_probe(e, ep, &probe.to, socket, now_ms))
			continue;
		struct path *path = peer_path_get(&ep->peer, &probe.to, socket, now_ms);
		if (path)
			engine_send_ping(e, ep, path, probe.ttl, now_ms);
	}
	if (ep->punch.state != PUNCH_FAILED)
		return;
	log_debug("punch", "%s: round %u failed", ep->peer.name, ep->punch_round);
	engine_attempt(e, ep, TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_FAILED, ep->punch.sent, ep->punch_began_ms,
		       now_ms);
	punch_stop(&ep->punch);
	engine_punch_failed(e, ep, now_ms);
}

/* ---- the path in use */

/* A path that comes up and dies again soon is sought less and less often: see FLAP_MS. */
static uint64_t flap_pause_ms(struct engine_peer *ep, uint64_t up_since_ms, uint64_t now_ms)
{
	if (now_ms - up_since_ms >= FLAP_MS)
		ep->flaps = 0;
	else if (ep->flaps < FLAPS_MAX)
		ep->flaps++;
	return ep->flaps > 1 ? 500ULL << ep->flaps : 0;
}

static void seek_anew(struct engine *e, struct engine_peer *ep, uint64_t at_ms, uint64_t now_ms)
{
	if (!hot(ep, now_ms))
		return;
	ep->introduce_at_ms = at_ms;
	ep->round_at_ms = at_ms;
	engine_connect(e, ep, now_ms);
}

/* The path in use is pinged until it is dead, also after it was left for another or for the relay. */
static void run_watched(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct path *path = ep->peer.watched;
	bool due = path && path_next(path, ep->peer.last_tx_ms, ep->peer.name, now_ms);

	if (due)
		engine_send_ping(e, ep, path, 0, now_ms);
	if (due && path->unanswered > 1) {
		engine_check_mapping(e, now_ms);
		/* It takes over soon, if not the same befell it: that is found out meanwhile. */
		engine_relay_used(e, now_ms);
	}
	if (ep->peer.best && !path_usable(ep->peer.best, now_ms))
		peer_choose_path(&ep->peer, now_ms);
	if (!path || path->state == PATH_UP)
		return;
	uint64_t up_since_ms = path->up_since_ms;
	peer_on_dead(&ep->peer, path, now_ms);
	ep->peer.watched = NULL;
	engine_sockets_sweep(e, ep, now_ms);
	if (!ep->peer.best)
		seek_anew(e, ep, now_ms + flap_pause_ms(ep, up_since_ms, now_ms), now_ms);
}

void engine_on_direct(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	e->counts.opened[ep->peer.best->opened_by]++;
	if (ep->wanted_ms)
		engine_observe(&e->counts.to_direct, now_ms - ep->wanted_ms);
	ep->wanted_ms = 0;
	if (ep->punch.state == PUNCH_HIT && ep->punch.hit_ms == now_ms)
		engine_attempt(e, ep, TECHNIQUE_SIMULTANEOUS_OPEN,
			       engine_opened_by_round(ep->peer.best) ? OUTCOME_OVERTAKEN : OUTCOME_DIRECT,
			       ep->punch.sent, ep->punch_began_ms, now_ms);
	engine_round_on_direct(e, ep, now_ms);
}

void engine_run_paths(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	if (!ep->peer.own_kind)
		return;
	run_watched(e, ep, now_ms);
	engine_sockets_run(e, ep, now_ms);
	run_punch(e, ep, now_ms);
	if (hot(ep, now_ms)) {
		introduce(e, ep, now_ms);
		engine_round_consider(e, ep, now_ms);
	}
	engine_round_run(e, ep, now_ms);
}

uint64_t engine_paths_deadline(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	uint64_t due;

	if (!ep->peer.own_kind)
		return UINT64_MAX;
	due = engine_min(punch_deadline(&ep->punch), peer_paths_deadline(&ep->peer, now_ms));
	due = engine_min(due, engine_round_deadline(e, ep, now_ms));
	due = engine_min(due, engine_sockets_deadline(e, ep));
	if (!e->welcomed || ep->peer.best || !hot(ep, now_ms))
		return due;
	if (!engine_punching(ep))
		due = engine_min(due, engine_introduction_ms(ep));
	if (engine_round_due(e, ep, now_ms))
		due = engine_min(due, ep->round_at_ms);
	return due;
}
