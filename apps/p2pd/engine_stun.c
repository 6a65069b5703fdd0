/* What lies between us and the hub: our mapping as its endpoints see it, kept open; what the NAT does (nat/discover.h);
 * how long a mapping lives (nat/lifetime.h).
 *
 * Timers: stun_at_ms keeps the mapping to the hub open; each STUN client, discover and lifetime have their own;
 * lifetime_at_ms starts the search for the lifetime once all else is quiet. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

#include "core/log.h"

enum {
	CHECK_GAP_MS = 500, /* of engine_check_mapping */
	DISCOVER_GAP_MS = 5000,
	/* Some may follow each other at once, then there is one a minute until none was wanted for long: a mapping may
	 * change with each keepalive, a hub end the link again and again. */
	DISCOVERIES_AT_ONCE = 8,
	DISCOVER_CALM_MS = 60000,
	DISCOVER_FORGET_MS = 300000,
	RTT_MAX_MS = 2000, /* rounds wait for it: a hub that answers late must not make them endless */
	LIFETIME_DELAY_MS = 120000, /* when the paths of peers that were not spoken to since are quiet, too */
	LIFETIME_LIMIT_S = 160,	    /* B7: 0.7 of it is more than the longest interval of keepalives, 110 s */
	LIFETIME_PRECISION_S = 10,
};

const struct addr *engine_reflexive(const struct engine *e)
{
	return &e->reflexive[0];
}

const struct addr *engine_hub4(const struct engine *e)
{
	for (size_t i = 0; i < e->hub_udp_count; i++)
		if (e->hub_udp[i].family == ADDR_V4)
			return &e->hub_udp[i];
	return NULL;
}

const struct addr *engine_reflexive4(const struct engine *e)
{
	for (size_t i = 0; i < e->hub_udp_count; i++)
		if (e->reflexive[i].family == ADDR_V4)
			return &e->reflexive[i];
	return NULL;
}

static bool is_host_address(const struct engine *e, const struct addr *a)
{
	for (size_t i = 0; i < e->host_count; i++)
		if (addr_same_ip(&e->hosts[i], a))
			return true;
	return false;
}

/* ---- the verdict */

static void take_verdict(struct engine *e, uint64_t now_ms)
{
	struct verdict v = e->discover.result.verdict;
	bool news, nothing;

	v.depth = e->verdict.depth;
	v.cgnat = e->verdict.cgnat;
	if (e->discover.result.mapped.family && is_host_address(e, &e->discover.result.mapped))
		v.mapping = MAPPING_NONE;
	news = !verdict_alike(&v, &e->verdict);
	nothing = v.mapping == MAPPING_UNKNOWN && v.udp_blocked == e->verdict.udp_blocked;
	e->verdict = v;
	if (!news || nothing)
		return;
	if (v.udp_blocked)
		log_info("nat", "UDP does not get out to the hub");
	else
		log_info("nat", "mapping %s, ports %s", nat_mapping_name(v.mapping),
			 nat_allocation_name(v.allocation));
	engine_on_own_verdict(e, now_ms);
}

void engine_on_hops(struct engine *e, unsigned depth, bool cgnat)
{
	e->verdict.depth = (uint8_t)depth;
	e->verdict.cgnat = cgnat;
}

/* ---- discovery */

static void close_sockets(struct engine *e, uint32_t *ids, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		engine_socket_close(e, ids[i]);
		ids[i] = 0;
	}
}

static struct addr local_address(const struct engine *e)
{
	for (size_t i = 0; i < e->host_count; i++) {
		struct addr a = e->hosts[i];
		a.port = e->config.udp_port;
		if (a.family == ADDR_V4)
			return a;
	}
	return (struct addr) { 0 };
}

static void start_discovery(struct engine *e, uint64_t now_ms)
{
	struct discover_config config = { .local = local_address(e),
					  .rto_ms = e->hub_rtt_ms ? e->hub_rtt_ms * 2 + 50 : 0 };

	close_sockets(e, e->discover_sockets, DISCOVER_SOCKETS);
	for (size_t i = 0; i < e->hub_udp_count; i++)
		if (e->hub_udp[i].family == ADDR_V4)
			config.servers[config.server_count++] = e->hub_udp[i];
	e->discover_at_ms = 0;
	if (!config.server_count)
		return;
	e->discoveries = now_ms - e->discovered_ms < DISCOVER_FORGET_MS ? e->discoveries + 1 : 1;
	e->discovered_ms = now_ms;
	discover_start(&e->discover, &config, &e->rng, now_ms);
}

/* Now, or as soon as it is due again. What is under way is of no use any more. */
static void want_discovery(struct engine *e, uint64_t now_ms)
{
	uint64_t calm_ms = e->discovered_ms + DISCOVER_CALM_MS;

	discover_stop(&e->discover);
	close_sockets(e, e->discover_sockets, DISCOVER_SOCKETS);
	e->discover_at_ms = e->discoveries < DISCOVERIES_AT_ONCE || calm_ms < now_ms ? now_ms : calm_ms;
	engine_due(e, e->discover_at_ms);
}

/* The id of the socket that a test calls by number: MAIN is ours that carries the tunnel, others are opened at need. */
static bool socket_of(struct engine *e, uint32_t *ids, unsigned number, unsigned main, uint32_t *id)
{
	if (number == main) {
		*id = 0;
		return true;
	}
	if (!ids[number])
		ids[number] = engine_socket_open(e, ids);
	*id = ids[number];
	return *id;
}

static void run_discovery(struct engine *e, uint64_t now_ms)
{
	struct ask_out out;
	bool was_running = e->discover.running;
	uint32_t id;

	if (e->discover_at_ms && now_ms >= e->discover_at_ms) {
		start_discovery(e, now_ms);
		was_running = e->discover.running;
	}
	while (discover_next(&e->discover, &e->rng, now_ms, &out))
		if (socket_of(e, e->discover_sockets, out.socket, DISCOVER_MAIN, &id))
			engine_emit(e, out.msg, out.len, &out.to, id, 0);
	if (!was_running || e->discover.running)
		return;
	take_verdict(e, now_ms);
	close_sockets(e, e->discover_sockets, DISCOVER_SOCKETS);
	e->lifetime_at_ms = now_ms + LIFETIME_DELAY_MS;
}

/* The number of socket `id` among `count`; `count` if it is none of them. */
static unsigned number_of(const uint32_t *ids, unsigned count, uint32_t id)
{
	unsigned i = 0;

	while (i < count && ids[i] != id)
		i++;
	return i;
}

static bool on_discovery(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	unsigned number = p->socket ? number_of(e->discover_sockets, DISCOVER_SOCKETS, p->socket)
				    : DISCOVER_MAIN;

	if (number == DISCOVER_SOCKETS || !e->discover.running ||
	    !discover_on_message(&e->discover, number, &p->local, &p->addr, p->buf + p->off, p->len, now_ms))
		return false;
	take_verdict(e, now_ms);
	return true;
}

/* ---- the lifetime of mappings */

static bool lifetime_is_known(const struct engine *e)
{
	return e->lifetime.running || e->lifetime.alive_s || e->lifetime.dead_s || e->lifetime.unknown;
}

/* Without a NAT a firewall may still forget us: its pinholes have a lifetime, too. */
static bool lifetime_matters(const struct engine *e)
{
	return e->welcomed && engine_hub4(e) && e->verdict.mapping != MAPPING_UNKNOWN &&
	       !e->discover.running && !lifetime_is_known(e);
}

static void run_lifetime(struct engine *e, uint64_t now_ms)
{
	const struct addr *server = engine_hub4(e);
	struct lifetime_config config = { .max_s = LIFETIME_LIMIT_S, .precision_s = LIFETIME_PRECISION_S };
	struct ask_out out;
	bool was_running = e->lifetime.running;

	if (server)
		config.server = *server;
	if (lifetime_matters(e) && now_ms >= e->lifetime_at_ms)
		lifetime_start(&e->lifetime, &config, &e->rng, now_ms);
	while (lifetime_next(&e->lifetime, &e->rng, now_ms, &out)) {
		uint32_t id;
		if (socket_of(e, e->lifetime_sockets, out.socket, LIFETIME_SOCKETS, &id))
			engine_emit(e, out.msg, out.len, &out.to, id, 0);
	}
	if (!was_running || e->lifetime.running)
		return;
	close_sockets(e, e->lifetime_sockets, LIFETIME_SOCKETS);
	log_info("nat", "idle mappings live for %u s at least: kept open every %u s", e->lifetime.alive_s,
		 engine_keepalive_ms(e) / 1000);
}

static bool on_lifetime(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	unsigned number = p->socket ? number_of(e->lifetime_sockets, LIFETIME_SOCKETS, p->socket)
				    : LIFETIME_SOCKETS;

	return number < LIFETIME_SOCKETS &&
	       lifetime_on_message(&e->lifetime, number, &p->addr, p->buf + p->off, p->len, now_ms);
}

uint32_t engine_keepalive_ms(const struct engine *e)
{
	return lifetime_keepalive_ms(&e->lifetime, ENGINE_STUN_MS);
}

/* ---- our mapping */

static void ask(struct engine *e, size_t i, uint32_t rto_ms, uint64_t now_ms)
{
	stun_client_start(&e->stun[i], &e->hub_udp[i], rto_ms, &e->rng, now_ms);
	if (i == 0)
		e->stun_at_ms = now_ms + engine_keepalive_ms(e);
}

static uint32_t known_rto_ms(const struct engine *e)
{
	return e->hub_rtt_ms ? e->hub_rtt_ms * 2 + 50 : 250;
}

void engine_measure(struct engine *e, uint64_t now_ms)
{
	for (size_t i = 0; i < e->hub_udp_count; i++)
		ask(e, i, known_rto_ms(e), now_ms);
	close_sockets(e, e->lifetime_sockets, LIFETIME_SOCKETS);
	memset(&e->lifetime, 0, sizeof e->lifetime);
	want_discovery(e, now_ms);
	engine_due(e, now_ms);
}

void engine_check_mapping(struct engine *e, uint64_t now_ms)
{
	if (!e->hub_udp_count || now_ms - e->checked_ms < CHECK_GAP_MS)
		return;
	e->checked_ms = now_ms;
	ask(e, 0, known_rto_ms(e), now_ms);
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
	if (e->hub_udp_count && e->stun_at_ms <= now_ms)
		ask(e, 0, 0, now_ms);
	for (size_t i = 0; i < e->hub_udp_count; i++)
		run_stun_client(e, &e->stun[i], now_ms);
	run_discovery(e, now_ms);
	run_lifetime(e, now_ms);
}

uint64_t engine_stun_deadline(const struct engine *e)
{
	uint64_t due = e->hub_udp_count ? e->stun_at_ms : UINT64_MAX;

	for (size_t i = 0; i < e->hub_udp_count; i++)
		due = engine_min(due, stun_client_deadline(&e->stun[i]));
	due = engine_min(due, discover_deadline(&e->discover));
	if (e->discover_at_ms)
		due = engine_min(due, e->discover_at_ms);
	if (lifetime_matters(e))
		due = engine_min(due, e->lifetime_at_ms);
	return engine_min(due, lifetime_deadline(&e->lifetime));
}

/* What they saw was the old mapping. */
static void ask_others_again(struct engine *e, uint64_t now_ms)
{
	for (size_t i = 1; i < e->hub_udp_count; i++) {
		e->reflexive[i] = (struct addr) { 0 };
		ask(e, i, known_rto_ms(e), now_ms);
	}
	if (now_ms - e->discovered_ms > DISCOVER_GAP_MS)
		want_discovery(e, now_ms);
}

static void on_mapped(struct engine *e, size_t i, uint64_t now_ms)
{
	const struct stun_client *c = &e->stun[i];
	struct engine_event moved = { .kind = ENGINE_EV_MOVED };
	char text[ADDR_TEXT_MAX];

	if (i == 0 && c->rtt_ms)
		e->hub_rtt_ms = c->rtt_ms < RTT_MAX_MS ? c->rtt_ms : RTT_MAX_MS;
	/* It belies that UDP is blocked; the verdict is about IPv4. */
	if (e->verdict.udp_blocked && c->server.family == ADDR_V4 && !e->discover.running &&
	    !e->discover_at_ms)
		want_discovery(e, now_ms);
	if (addr_equal(&e->reflexive[i], &c->mapped))
		return;
	log_info("nat", "seen from outside as %s", addr_format(&c->mapped, text));
	/* The same mapping carries the relay: its binding is to the old address. So are the paths of all peers. */
	if (i == 0 && e->reflexive[i].family) {
		relay_client_rebind(&e->relay, now_ms);
		engine_aways_measure(e, now_ms);
		ask_others_again(e, now_ms);
		engine_on_moved(e, now_ms);
		engine_event(e, &moved);
	}
	e->reflexive[i] = c->mapped;
	engine_gather(e, now_ms);
}

bool engine_on_stun(struct engine *e, const struct pkt *p, uint64_t now_ms)
{
	bool ours = on_discovery(e, p, now_ms) || on_lifetime(e, p, now_ms) ||
		    engine_round_on_stun(e, p, now_ms);

	for (size_t i = 0; !ours && !p->socket && i < e->hub_udp_count; i++) {
		ours = stun_client_on_message(&e->stun[i], p->buf + p->off, p->len, &p->addr, now_ms);
		if (ours && e->stun[i].state == STUN_DONE)
			on_mapped(e, i, now_ms);
	}
	if (ours)
		engine_due(e, now_ms);
	return ours;
}
