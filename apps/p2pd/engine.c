#include "apps/p2pd/engine_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/control.h"
#include "core/log.h"

static void init_keys(struct engine *e)
{
	const struct engine_config *c = &e->config;
	uint8_t sk[32];

	memcpy(sk, c->wk_sk, 32);
	crypto_x25519_clamp(sk);
	noise_local_init(&e->local, sk);
	crypto_wipe(sk, sizeof sk);
	crypto_ed25519_keypair(e->ik_pk, e->ik_sk, c->ik_seed);
	cookie_checker_init(&e->cookies, e->local.pk);
}

static void init_addresses(struct engine *e)
{
	const struct engine_config *c = &e->config;

	network_ip6(&c->net, e->local.pk, &e->ip6);
	if (c->ip4_wish.family)
		e->ip4 = c->ip4_wish;
	else
		network_ip4(e->local.pk, &c->ip4_prefix, c->ip4_bits, e->ip4_attempt, &e->ip4);
}

int engine_init(struct engine *e, const struct engine_config *config, uint64_t now_ms, uint64_t unix_ns)
{
	memset(e, 0, sizeof *e);
	e->config = *config;
	if (config->seed)
		rng_init_seed(&e->rng, config->seed);
	else
		rng_init_system(&e->rng);
	e->clock.last_ns = e->clock.kept_ns = config->clock_last_ns;
	engine_set_wall(e, now_ms, unix_ns);
	rng_fill(&e->rng, &e->boot, sizeof e->boot);
	e->index = session_index_create(ENGINE_MAX_PEERS * 4);
	e->timestamps = calloc(ENGINE_TIMESTAMPS, sizeof *e->timestamps);
	if (!e->index || !e->timestamps || timers_reserve(&e->peers_due, ENGINE_MAX_PEERS)) {
		engine_free(e);
		return -ENOMEM;
	}
	map_init(&e->by_ik, 32, sizeof(void *), &e->rng);
	map_init(&e->by_wk, 32, sizeof(void *), &e->rng);
	map_init(&e->by_tag, PROBE_TAG, sizeof(void *), &e->rng);
	init_keys(e);
	init_addresses(e);
	e->due_ms = e->link_from_ms = UINT64_MAX;
	return engine_issue_cert(e, now_ms);
}

void engine_free(struct engine *e)
{
	engine_peers_free(e);
	pkt_list_clear(&e->udp_out, e->config.pool);
	pkt_list_clear(&e->tun_out, e->config.pool);
	pkt_list_clear(&e->hub_out, e->config.pool);
	session_index_destroy(e->index);
	free(e->timestamps);
	timers_free(&e->peers_due);
	crypto_wipe(e, sizeof *e);
}

void engine_set_wall(struct engine *e, uint64_t now_ms, uint64_t unix_ns)
{
	e->clock.wall_offset_ns = (int64_t)(unix_ns - now_ms * 1000000);
}

uint64_t engine_unix_s(const struct engine *e, uint64_t now_ms)
{
	return (now_ms * 1000000 + (uint64_t)e->clock.wall_offset_ns) / 1000000000;
}

void engine_event(struct engine *e, const struct engine_event *ev)
{
	if (e->event_count == ENGINE_EVENTS)
		return;
	e->events[(e->event_head + e->event_count++) % ENGINE_EVENTS] = *ev;
}

bool engine_next_event(struct engine *e, struct engine_event *out)
{
	if (!e->event_count)
		return false;
	*out = e->events[e->event_head];
	e->event_head = (e->event_head + 1) % ENGINE_EVENTS;
	e->event_count--;
	return true;
}

void engine_due(struct engine *e, uint64_t at_ms)
{
	e->due_ms = engine_min(e->due_ms, at_ms);
}

static uint64_t peer_due(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	uint64_t due = engine_min(engine_paths_deadline(e, ep, now_ms),
				  engine_peer_away_deadline(ep, now_ms));

	/* Without a way a handshake would be sent nowhere: it waits for one. */
	if (engine_way(ep, e) == ENGINE_WAY_NONE)
		return engine_min(due, engine_expiry(ep));
	return engine_min(due, session_deadline(&ep->peer.session));
}

/* Of those due at one moment the newest is first, always the same: where there is not enough for all (rounds, the budget
 * of probes), some get what they need one after the other, instead of each too little. */
static void set_due(struct engine *e, struct engine_peer *ep, uint64_t at_ms)
{
	if (at_ms == UINT64_MAX)
		timers_remove(&e->peers_due, &ep->due);
	else if (!ep->due.place || ep->due.at_ms != at_ms)
		timers_set_ordered(&e->peers_due, &ep->due, at_ms, UINT64_MAX - ep->number);
}

void engine_touch(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	enum engine_way way = engine_way(ep, e);

	if (way != ep->last_way) {
		ep->last_way = way;
		ep->way_since_ms = now_ms;
	}
	set_due(e, ep, peer_due(e, ep, now_ms));
}

static void run_peer(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	engine_run_paths(e, ep, now_ms);
	engine_run_peer_away(e, ep, now_ms);
	if (engine_way(ep, e) != ENGINE_WAY_NONE)
		engine_run_session(e, ep, now_ms);
	else
		engine_expire(e, ep, now_ms);
	engine_touch(e, ep, now_ms);
}

static struct engine_peer *take_due(struct engine *e, uint64_t now_ms)
{
	struct timers_entry *first = timers_first(&e->peers_due);

	if (!first || first->at_ms > now_ms)
		return NULL;
	timers_remove(&e->peers_due, first);
	return (struct engine_peer *)(void *)((char *)first - offsetof(struct engine_peer, due));
}

/* All are taken first, so that each is run once, also one that is due again at once. */
static void run_peers(struct engine *e, uint64_t now_ms)
{
	struct engine_peer *list = NULL, **end = &list;

	while ((*end = take_due(e, now_ms)))
		end = &(*end)->due_next;
	for (struct engine_peer *ep = list; ep; ep = ep->due_next)
		run_peer(e, ep, now_ms);
}

void engine_tick(struct engine *e, uint64_t now_ms)
{
	uint64_t due;

	if (now_ms < engine_deadline(e))
		return;
	engine_run_stun(e, now_ms);
	engine_run_relay(e, now_ms);
	engine_run_aways(e, now_ms);
	engine_run_publish(e, now_ms);
	run_peers(e, now_ms);
	due = engine_min(engine_stun_deadline(e), engine_relay_deadline(e));
	due = engine_min(due, engine_aways_deadline(e));
	e->due_ms = engine_min(due, engine_publish_deadline(e));
}

uint64_t engine_deadline(const struct engine *e)
{
	const struct timers_entry *first = timers_first(&e->peers_due);

	return first ? engine_min(e->due_ms, first->at_ms) : e->due_ms;
}

enum engine_way engine_way(const struct engine_peer *ep, const struct engine *e)
{
	if (!ep->peer.own_kind)
		return ep->peer.endpoint.family ? ENGINE_WAY_DIRECT : ENGINE_WAY_NONE;
	if (ep->peer.best)
		return ENGINE_WAY_DIRECT;
	if ((ep->relay_session && engine_relay_is_up(e)) || engine_away_is_used(ep))
		return ENGINE_WAY_RELAY;
	return ENGINE_WAY_NONE;
}

/* No mapping is what it was. */
static void begin_anew(struct engine *e, uint64_t now_ms)
{
	memset(e->reflexive, 0, sizeof e->reflexive);
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		peer_distrust_paths(&ep->peer);
		peer_choose_path(&ep->peer, now_ms);
		engine_round_drop(e, ep);
		ep->share = (struct bucket) { 0 };
		engine_try_anew(ep, now_ms);
		engine_touch(e, ep, now_ms);
	}
	relay_client_rebind(&e->relay, now_ms);
	engine_aways_measure(e, now_ms);
	engine_measure(e, now_ms);
	engine_due(e, now_ms);
}

void engine_on_hosts(struct engine *e, const struct addr *addrs, size_t count, bool moved, uint64_t now_ms)
{
	e->host_count = count < ENGINE_HOSTS ? count : ENGINE_HOSTS;
	memcpy(e->hosts, addrs, e->host_count * sizeof *addrs);
	if (moved)
		begin_anew(e, now_ms);
	engine_gather(e, now_ms);
}

void engine_on_wake(struct engine *e, uint64_t now_ms)
{
	begin_anew(e, now_ms);
	engine_gather(e, now_ms);
}

int engine_ping(struct engine *e, struct engine_peer *ep, uint64_t id, uint64_t now_ms)
{
	struct pkt *p;

	if (!ep->peer.own_kind)
		return -ENOTSUP;
	p = pkt_get(e->config.pool);
	if (!p)
		return -ENOBUFS;
	e->pings[e->next_ping++ % ENGINE_PINGS] =
		(struct engine_ping) { .id = id, .sent_ms = now_ms, .to = ep };
	control_write(pkt_data(p), CONTROL_PING, id);
	p->len = CONTROL_LEN;
	engine_send(e, ep, p, now_ms);
	return 0;
}
