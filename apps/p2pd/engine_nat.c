/* Getting a direct path: our own candidates (interfaces, STUN), probes, punching when the hub says so, liveness. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

#include "core/log.h"

enum {
	ASK_AGAIN_MS = 1000, /* a RelayOpen or Introduce that brought nothing */
	TRIGGERED_MS = 100,  /* at most one ping in return of a peer's ping this often */
	FRESH_MS = 5000,     /* a path proven this lately needs no ping in return */
	STRANGERS_PER_S = 8, /* addresses of a peer that we learn from its pings alone */
	STRANGERS_BURST =
		RECORD_MAX_CANDIDATES, /* a symmetric NAT shows one for each of ours that it pings */
};

/* Waits between rounds of punching while traffic flows. */
static const uint32_t retry_ms[] = { 2000, 5000, 15000, 30000, 120000, 600000 };

/* ---- our own candidates */

static struct addr family_prefix(const struct engine *e, unsigned i)
{
	return i ? e->ip6 : e->config.ip4_prefix;
}

void engine_gather(struct engine *e, uint64_t now_ms)
{
	struct addr overlay[2] = { family_prefix(e, 0), family_prefix(e, 1) };
	unsigned bits[2] = { e->config.ip4_bits, 48 };
	struct candidate_list list = { 0 };

	candidates_add_hosts(&list, e->hosts, e->host_count, e->config.udp_port, overlay, bits, 2);
	for (size_t i = 0; i < e->portmap.count; i++)
		candidates_add(&list, CANDIDATE_MAPPED, &e->portmap.items[i].external);
	for (size_t i = 0; i < e->hub_udp_count; i++)
		candidates_add(&list, CANDIDATE_REFLEXIVE, &e->reflexive[i]);
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

const struct addr *engine_reflexive(const struct engine *e)
{
	return &e->reflexive[0];
}

static bool is_host_address(const struct engine *e, const struct addr *a)
{
	for (size_t i = 0; i < e->host_count; i++)
		if (addr_same_ip(&e->hosts[i], a))
			return true;
	return false;
}

const char *engine_mapping(const struct engine *e)
{
	const struct addr *first = NULL;
	bool same = false;

	for (size_t i = 0; i < e->hub_udp_count; i++) {
		const struct addr *a = &e->reflexive[i];
		if (!first && a->family)
			first = a;
		else if (!first || a->family != first->family)
			continue;
		else if (!addr_equal(first, a))
			return "address-and-port-dependent";
		else
			same = true;
	}
	if (first && is_host_address(e, first))
		return "none";
	return same ? "endpoint-independent" : "unknown";
}

/* ---- STUN */

void engine_measure(struct engine *e, uint64_t now_ms)
{
	for (size_t i = 0; i < e->hub_udp_count; i++)
		stun_client_start(&e->stun[i], &e->hub_udp[i], e->hub_rtt_ms ? e->hub_rtt_ms * 2 + 50 : 250,
				  &e->rng, now_ms);
	e->stun_at_ms = now_ms + ENGINE_STUN_MS;
	engine_due(e, now_ms);
}

static void run_stun_client(struct engine *e, struct stun_client *c, uint64_t now_ms)
{
	uint8_t msg[STUN_MAX];
	size_t len;

	while ((len = stun_client_next(c, now_ms, msg)))
		engine_emit(e, msg, len, &c->server, 0, 0);
}

void engine_run_stun(struct engine *e, uint64_t now_ms)
{
	if (e->hub_udp_count && e->stun_at_ms <= now_ms) {
		e->stun_at_ms = now_ms + ENGINE_STUN_MS;
		stun_client_start(&e->stun[0], &e->hub_udp[0], 0, &e->rng, now_ms);
	}
	for (size_t i = 0; i < e->hub_udp_count; i++)
		run_stun_client(e, &e->stun[i], now_ms);
}

uint64_t engine_stun_deadline(const struct engine *e)
{
	uint64_t due = e->hub_udp_count ? e->stun_at_ms : UINT64_MAX;

	for (size_t i = 0; i < e->hub_udp_count; i++)
		due = engine_min(due, stun_client_deadline(&e->stun[i]));
	return due;
}

/* What they saw was the old mapping. */
static void ask_others_again(struct engine *e, uint64_t now_ms)
{
	for (size_t i = 1; i < e->hub_udp_count; i++) {
		e->reflexive[i] = (struct addr) { 0 };
		stun_client_start(&e->stun[i], &e->hub_udp[i], 0, &e->rng, now_ms);
	}
}

static void on_mapped(struct engine *e, size_t i, uint64_t now_ms)
{
	const struct stun_client *c = &e->stun[i];
	char text[ADDR_TEXT_MAX];

	if (i == 0 && c->rtt_ms)
		e->hub_rtt_ms = c->rtt_ms;
	if (addr_equal(&e->reflexive[i], &c->mapped))
		return;
	log_info("nat", "seen from outside as %s", addr_format(&c->mapped, text));
	/* The same mapping carries the relay: its binding is to the old address. */
	if (i == 0 && e->reflexive[i].family) {
		relay_client_rebind(&e->relay, now_ms);
		ask_others_again(e, now_ms);
	}
	e->reflexive[i] = c->mapped;
	engine_gather(e, now_ms);
}

bool engine_on_stun(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	for (size_t i = 0; i < e->hub_udp_count; i++) {
		if (!stun_client_on_message(&e->stun[i], p->buf + p->off, p->len, &p->addr, now_ms))
			continue;
		if (e->stun[i].state == STUN_DONE)
			on_mapped(e, i, now_ms);
		engine_due(e, now_ms);
		return true;
	}
	return false;
}

/* ---- probes */

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
	if (!path && bucket_take(&ep->strangers, STRANGERS_PER_S, STRANGERS_BURST, now_ms))
		path = peer_path_get(&ep->peer, &p->addr, p->socket, now_ms);
	/* Where its ping came from we try, too (RFC 8445 section 7.3.1.4, triggered checks). */
	if (!path || now_ms - path->last_ping_ms < TRIGGERED_MS)
		return;
	if (path->state != PATH_UP || now_ms - path->last_pong_ms > FRESH_MS)
		engine_send_ping(e, ep, path, 0, PROBE_MIN, now_ms);
}

static void on_pong(struct engine *e, struct engine_peer *ep, const struct addr *from, uint32_t socket,
		    const struct probe *pong, uint64_t now_ms)
{
	bool had_none = engine_way(ep, e) == ENGINE_WAY_NONE;

	if (!peer_on_pong(&ep->peer, from, socket, pong->txid, now_ms))
		return;
	punch_on_reply(&ep->punch, from, now_ms);
	ep->punch_round = 0;
	if (!peer_choose_path(&ep->peer, now_ms))
		return;
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
		on_pong(e, ep, &p->addr, p->socket, &probe, now_ms);
	engine_touch(e, ep, now_ms);
}

/* ---- connecting */

static bool hot(const struct engine_peer *ep, uint64_t now_ms)
{
	return ep->peer.last_tx_ms && now_ms - ep->peer.last_tx_ms < ENGINE_HOT_MS;
}

static bool punching(const struct engine_peer *ep)
{
	return ep->punch.state == PUNCH_RUNNING;
}

/* The path that served last may have gone quiet only: ask it, too. */
static void ask_old_paths(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	for (int i = 0; i < PEER_PATHS; i++) {
		struct path *path = &ep->peer.paths[i];
		if (path->addr.family && path->state == PATH_UP && path->unanswered < PATH_MAX_TRIES &&
		    now_ms - path->last_ping_ms > PATH_RETRY_MS)
			engine_send_ping(e, ep, path, 0, PROBE_MIN, now_ms);
	}
}

static void introduce(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	size_t step = ep->punch_round < sizeof retry_ms / sizeof *retry_ms
			      ? ep->punch_round
			      : sizeof retry_ms / sizeof *retry_ms - 1;

	if (!e->welcomed || punching(ep) || ep->peer.best || now_ms < ep->introduce_at_ms)
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
	};

	if (ep->peer.best || punching(ep))
		return;
	log_debug("punch", "%s: round %u, %zu candidates", ep->peer.name, plan.round, plan.remote.count);
	punch_start(&ep->punch, &plan, now_ms);
	engine_touch(e, ep, now_ms);
}

static void run_punch(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct punch_probe probe;

	while (punch_next(&ep->punch, now_ms, &probe)) {
		struct path *path = peer_path_get(&ep->peer, &probe.to, 0, now_ms);
		if (path)
			engine_send_ping(e, ep, path, probe.ttl, PROBE_MIN, now_ms);
	}
	if (ep->punch.state != PUNCH_FAILED)
		return;
	log_debug("punch", "%s: round %u failed", ep->peer.name, ep->punch_round);
	punch_stop(&ep->punch);
	ep->punch_round++;
}

/* Data goes over the path: pings as large as data, so that a path which drops large packets is found out. */
static void run_best(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	struct path *best = ep->peer.best;
	bool active = ep->peer.last_tx_ms && now_ms - ep->peer.last_tx_ms < PATH_ACTIVE_MS;

	if (best && path_next(best, ep->peer.last_tx_ms, ep->peer.name, now_ms))
		engine_send_ping(e, ep, best, 0, active ? ENGINE_MTU + WG_DATA_OVERHEAD : PROBE_MIN, now_ms);
	if (!best || path_usable(best, now_ms))
		return;
	peer_choose_path(&ep->peer, now_ms);
	if (hot(ep, now_ms)) {
		ep->introduce_at_ms = now_ms;
		engine_connect(e, ep, now_ms);
	}
}

void engine_run_paths(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	if (!ep->peer.own_kind)
		return;
	run_best(e, ep, now_ms);
	run_punch(e, ep, now_ms);
	if (hot(ep, now_ms))
		introduce(e, ep, now_ms);
}

uint64_t engine_paths_deadline(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	uint64_t due;

	if (!ep->peer.own_kind)
		return UINT64_MAX;
	due = engine_min(punch_deadline(&ep->punch), peer_paths_deadline(&ep->peer, now_ms));
	if (e->welcomed && !ep->peer.best && !punching(ep) && hot(ep, now_ms))
		due = engine_min(due, ep->introduce_at_ms);
	return due;
}
