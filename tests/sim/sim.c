#include "tests/sim/sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "relay/relay_frame.h"
#include "tests/sim/sim_impl.h"

/* ---- events */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->serial < b->serial;
}

static void swap(struct sim_event *a, struct sim_event *b)
{
	struct sim_event t = *a;
	*a = *b;
	*b = t;
}

static void insert(struct sim *s, const struct sim_event *ev)
{
	size_t i = s->event_count++;

	if (i == s->event_cap) {
		s->event_cap = s->event_cap ? s->event_cap * 2 : 256;
		s->events = realloc(s->events, s->event_cap * sizeof *s->events);
		assert(s->events);
	}
	s->events[i] = *ev;
	for (; i && before(&s->events[i], &s->events[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&s->events[i], &s->events[(i - 1) / 2]);
}

void sim_push(struct sim *s, struct sim_event ev, const void *data, size_t len)
{
	ev.serial = s->event_serial++;
	ev.data = malloc(len ? len : 1);
	ev.len = len;
	assert(ev.data);
	if (len)
		memcpy(ev.data, data, len);
	insert(s, &ev);
}

static struct sim_event pop_event(struct sim *s)
{
	struct sim_event top = s->events[0];
	size_t i = 0, least;

	s->events[0] = s->events[--s->event_count];
	for (;; i = least) {
		least = i;
		for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < s->event_count; c++)
			if (before(&s->events[c], &s->events[least]))
				least = c;
		if (least == i)
			return top;
		swap(&s->events[i], &s->events[least]);
	}
}

/* ---- nodes */

static void on_event(struct sim_node *n, const struct engine_event *ev)
{
	struct sim *s = n->sim;

	if (ev->kind == ENGINE_EV_JOINED && !n->joined) {
		n->joined = true;
		n->joined_ms = s->now_ms;
	}
	n->moves += ev->kind == ENGINE_EV_MOVED;
	if (ev->kind != ENGINE_EV_PONG)
		return;
	n->pongs++;
	if (!n->first_pong_ms)
		n->first_pong_ms = s->now_ms;
	if (!n->first_direct_pong_ms && ev->way == ENGINE_WAY_DIRECT)
		n->first_direct_pong_ms = s->now_ms;
}

static void drain_node(struct sim *s, struct sim_node *n)
{
	struct engine_event ev;
	struct pkt *p;
	bool is_data;

	while ((p = pkt_list_pop(&n->engine->udp_out))) {
		sim_send_datagram(s, n, p);
		pkt_put(&s->pool, p);
	}
	sim_close_unused(n);
	while ((p = pkt_list_pop(&n->engine->tun_out))) {
		n->received++;
		if (s->tun)
			s->tun(s, n, pkt_data(p), p->len);
		pkt_put(&s->pool, p);
	}
	while ((p = engine_next_link_message(n->engine, &is_data))) {
		struct sim_event out = { .kind = EV_TO_HUB, .node = n, .conn = n->conn };
		out.at_ms = s->now_ms + s->one_way_ms + s->hub_ms;
		if (n->conn)
			sim_push(s, out, pkt_data(p), p->len);
		pkt_put(&s->pool, p);
	}
	while (engine_next_event(n->engine, &ev))
		on_event(n, &ev);
}

void sim_node_start(struct sim *s, struct sim_node *n)
{
	struct addr host = n->inner;

	n->engine = malloc(sizeof *n->engine);
	assert(n->engine);
	n->config.seed = ((uint64_t)rng_u32(&s->rng) << 32 | rng_u32(&s->rng)) | 1;
	assert(engine_init(n->engine, &n->config, s->now_ms,
			   s->unix_base_s * 1000000000 + s->now_ms * 1000000) == 0);
	host.port = 0;
	engine_on_hosts(n->engine, &host, 1, false, s->now_ms);
	n->joined = false;
	n->reconnect_ms = s->now_ms;
	drain_node(s, n);
}

void sim_node_kill(struct sim *s, struct sim_node *n)
{
	n->config.clock_last_ns = n->engine->clock.last_ns;
	n->config.cert_not_before = n->engine->config.cert_not_before;
	sim_close_link(s, n);
	n->conn = 0;
	sim_close_sockets(n);
	engine_free(n->engine);
	free(n->engine);
	n->engine = NULL;
}

static void connect_node(struct sim *s, struct sim_node *n)
{
	struct sim_event ev = { .kind = EV_LINK_UP, .node = n };
	uint8_t exporter[COORD_EXPORTER];

	if (!s->coord) {
		n->reconnect_ms = s->now_ms + 500;
		return;
	}
	n->conn = ++s->next_conn;
	ev.conn = n->conn;
	rng_fill(&s->rng, exporter, sizeof exporter);
	/* TCP and TLS 1.3: two round trips until the hub knows of it and the node may speak. */
	ev.at_ms = s->now_ms + 4 * (s->one_way_ms + s->hub_ms);
	sim_push(s, ev, exporter, sizeof exporter);
}

/* ---- running */

static bool asleep(const struct sim *s, const struct sim_node *n)
{
	return n->asleep_until_ms > s->now_ms;
}

static void hand_over(struct sim *s, struct sim_node *to, uint32_t socket, uint16_t port,
		      const struct addr *from, const uint8_t *data, size_t len)
{
	struct pkt *p = to->engine ? pkt_get(&s->pool) : NULL;

	if (!p)
		return;
	memcpy(pkt_data(p), data, len);
	p->len = (uint32_t)len;
	p->addr = *from;
	p->socket = socket;
	p->local = to->inner;
	p->local.port = port;
	engine_on_datagram(to->engine, p, s->now_ms);
}

void sim_inject(struct sim *s, struct sim_node *to, const struct addr *from, const uint8_t *data, size_t len)
{
	hand_over(s, to, 0, to->inner.port, from, data, len);
}

void sim_deliver(struct sim *s, struct sim_node *n, uint32_t socket, const struct sim_event *ev)
{
	if (asleep(s, n))
		return;
	n->last_socket = socket;
	if (s->tap && n->engine)
		s->tap(s, n, &ev->from, ev->data, ev->len);
	hand_over(s, n, socket, ev->to.port, &ev->from, ev->data, ev->len);
}

/* What the hub relayed over the link. */
static void deliver_run(struct sim *s, const struct sim_event *ev)
{
	struct relay_frame run;
	struct pkt *p;

	assert(relay_frame_read(&run, ev->data, ev->len));
	for (size_t at = 0; at < run.len && (p = pkt_get(&s->pool)); at += run.stride) {
		p->len = (uint32_t)(run.len - at < run.stride ? run.len - at : run.stride);
		memcpy(pkt_data(p), run.data + at, p->len);
		engine_on_link_datagram(ev->node->engine, p, run.session, s->now_ms);
	}
}

static void run_event(struct sim *s, const struct sim_event *ev)
{
	bool linked = ev->node && ev->node->conn == ev->conn && ev->node->engine;

	switch (ev->kind) {
	case EV_DATAGRAM: sim_on_arrival(s, ev); break;
	case EV_TO_HUB:
		if (linked && s->coord && ev->data[0] == RELAY_DATA)
			sim_hub_on_run(s, ev);
		else if (linked && s->coord)
			coord_on_message(s->coord, ev->conn, ev->data, ev->len, s->now_ms,
					 s->unix_base_s + s->now_ms / 1000);
		break;
	case EV_TO_NODE:
		if (linked && ev->data[0] == RELAY_DATA)
			deliver_run(s, ev);
		else if (linked)
			engine_on_hub_message(ev->node->engine, ev->data, ev->len, s->now_ms);
		break;
	case EV_LINK_UP:
		if (!linked || !s->coord)
			break;
		coord_on_open(s->coord, ev->conn, ev->data, s->now_ms);
		engine_on_hub_up(ev->node->engine, ev->data, &s->hub_addr[0], s->now_ms);
		break;
	case EV_LINK_DOWN:
		if (linked)
			sim_drop_link(s, ev->node);
		break;
	}
}

static uint64_t node_moment(const struct sim *s, const struct sim_node *n)
{
	uint64_t due = engine_deadline(n->engine);

	if (!n->conn && n->reconnect_ms < due)
		due = n->reconnect_ms;
	return asleep(s, n) ? n->asleep_until_ms : due;
}

static uint64_t next_moment(const struct sim *s)
{
	uint64_t next = s->event_count ? s->events[0].at_ms : UINT64_MAX;

	if (s->coord && coord_deadline(s->coord) < next)
		next = coord_deadline(s->coord);
	for (size_t i = 0; i < s->node_count; i++) {
		const struct sim_node *n = &s->nodes[i];
		uint64_t due = n->engine ? node_moment(s, n) : UINT64_MAX;
		if (due < next)
			next = due;
	}
	return next > s->now_ms ? next : s->now_ms;
}

/* What TCP holds for a sleeper it gets when it wakes. */
static bool waits_for_sleeper(struct sim *s, const struct sim_event *ev)
{
	struct sim_event later = *ev;

	if (ev->kind == EV_DATAGRAM || ev->kind == EV_TO_HUB || !asleep(s, ev->node))
		return false;
	later.at_ms = ev->node->asleep_until_ms;
	insert(s, &later);
	return true;
}

static void wake(struct sim *s, struct sim_node *n)
{
	if (!n->asleep_until_ms)
		return;
	n->asleep_until_ms = 0;
	engine_on_wake(n->engine, s->now_ms);
}

/* All that happens at s->now_ms. */
static void run_moment(struct sim *s)
{
	while (s->event_count && s->events[0].at_ms <= s->now_ms) {
		struct sim_event ev = pop_event(s);
		if (waits_for_sleeper(s, &ev))
			continue;
		run_event(s, &ev);
		free(ev.data);
	}
	if (s->coord)
		coord_tick(s->coord, s->now_ms);
	for (size_t i = 0; i < s->node_count; i++) {
		struct sim_node *n = &s->nodes[i];
		if (!n->engine || asleep(s, n))
			continue;
		wake(s, n);
		if (!n->conn && n->reconnect_ms <= s->now_ms)
			connect_node(s, n);
		engine_tick(n->engine, s->now_ms);
		drain_node(s, n);
	}
	sim_drain_hub(s);
}

void sim_run(struct sim *s, uint64_t ms)
{
	uint64_t end = s->now_ms + ms, stuck = 0, at = s->now_ms;

	for (;;) {
		run_moment(s);
		uint64_t next = next_moment(s);
		if (next > end)
			break;
		/* A node that is always due at once would hang the world: that is a bug, found here. */
		stuck = next == at ? stuck + 1 : 0;
		assert(stuck < 1000);
		at = s->now_ms = next;
	}
	s->now_ms = end;
}

bool sim_run_joined(struct sim *s, uint64_t limit_ms)
{
	for (uint64_t end = s->now_ms + limit_ms; s->now_ms < end; sim_run(s, 10)) {
		bool all = true;
		for (size_t i = 0; i < s->node_count; i++)
			all = all && (!s->nodes[i].engine || s->nodes[i].joined);
		if (all)
			return true;
	}
	return false;
}

/* ---- building */

void sim_init(struct sim *s, uint64_t seed)
{
	static const char *const hub_addr[] = { "198.51.100.1:3478", "198.51.100.1:3479", "198.51.100.2:3478",
						"198.51.100.2:3479" };

	assert(crypto_init() == 0); /* without it the ciphers work, and slowly */
	memset(s, 0, sizeof *s);
	s->seed = seed;
	rng_init_seed(&s->rng, seed);
	s->now_ms = 1000000;
	s->unix_base_s = 1800000000;
	s->one_way_ms = 25 / 2;
	assert(pkt_pool_init(&s->pool, SIM_POOL) == 0);
	/* The key derivation takes long by design: once for all worlds. */
	static struct network net;
	if (!net.name[0])
		assert(network_from_secret(&net, "home", "correct horse battery staple", 28) == 0);
	s->net = net;
	for (size_t i = 0; i < sizeof hub_addr / sizeof *hub_addr; i++)
		assert(addr_parse(&s->hub_addr[i], hub_addr[i], 0) == 0);
	s->hub_addr_count = sizeof hub_addr / sizeof *hub_addr;
	s->middle_hops = SIM_MIDDLE_HOPS;
	sim_hub_start(s);
}

void sim_free(struct sim *s)
{
	for (size_t i = 0; i < s->node_count; i++)
		if (s->nodes[i].engine)
			sim_node_kill(s, &s->nodes[i]);
	for (size_t i = 0; i < s->site_count; i++)
		sim_nat_free(&s->sites[i].nat);
	while (s->event_count)
		free(s->events[--s->event_count].data);
	free(s->events);
	coord_destroy(s->coord);
	relay_server_destroy(s->relay);
	for (size_t i = 0; i < s->relay_count; i++)
		relay_server_destroy(s->relays[i].server);
	assert(s->pool.in_use == 0);
	pkt_pool_free(&s->pool);
}

struct sim_node *sim_node_at(struct sim *s, struct sim_site *site)
{
	struct sim_node *n = &s->nodes[s->node_count++];

	assert(s->node_count <= SIM_NODES);
	n->sim = s;
	n->site = site;
	n->inner = sim_new_address(site);
	n->inner.port = (uint16_t)(40000 + s->node_count);
	n->config = (struct engine_config) {
		.net = s->net, .ip4_bits = 16, .have_ip4 = true, .aegis = true, .pool = &s->pool
	};
	n->config.udp_port = n->inner.port;
	n->config.max_sockets = SIM_SOCKETS;
	addr_parse(&n->config.ip4_prefix, "10.77.0.0", 0);
	snprintf(n->config.name, sizeof n->config.name, "node%zu", s->node_count);
	rng_fill(&s->rng, n->config.ik_seed, 32);
	rng_fill(&s->rng, n->config.wk_sk, 32);
	map_init(&n->port_of_socket, sizeof(uint32_t), sizeof(uint16_t), &s->rng);
	map_init(&n->socket_of_port, sizeof(uint16_t), sizeof(uint32_t), &s->rng);
	sim_node_start(s, n);
	return n;
}

struct sim_node *sim_node(struct sim *s, enum sim_nat_kind kind)
{
	return sim_node_at(s, sim_site(s, kind));
}

/* ---- what befalls nodes */

void sim_move(struct sim *s, struct sim_node *n, struct sim_site *site)
{
	uint16_t port = n->inner.port;

	n->site = site;
	n->inner = sim_new_address(site);
	if (n->engine) {
		engine_on_hosts(n->engine, &n->inner, 1, true, s->now_ms);
		sim_abandon_link(s, n);
		drain_node(s, n);
	}
	n->inner.port = port;
}

void sim_sleep(struct sim *s, struct sim_node *n, uint64_t ms)
{
	n->asleep_until_ms = s->now_ms + ms;
}

void sim_cut(struct sim *s, const struct sim_node *a, const struct sim_node *b, bool cut)
{
	s->cut[a - s->nodes][b - s->nodes] = cut;
}

/* ---- asking */

struct engine_peer *sim_peer(struct sim_node *a, struct sim_node *b)
{
	return engine_find_peer(a->engine, b->config.name);
}

enum engine_way sim_way(struct sim_node *a, struct sim_node *b)
{
	struct engine_peer *ep = sim_peer(a, b);

	return ep ? engine_way(ep, a->engine) : ENGINE_WAY_NONE;
}

void sim_send_packet(struct sim *s, struct sim_node *a, const uint8_t *packet, size_t len)
{
	struct pkt *p = pkt_get(&s->pool);

	assert(p);
	p->len = (uint32_t)len;
	memcpy(pkt_data(p), packet, len);
	engine_on_tun(a->engine, p, s->now_ms);
	drain_node(s, a);
}

void sim_send(struct sim *s, struct sim_node *a, struct sim_node *b)
{
	uint8_t ip[100] = { 0x45 };

	store_be16(ip + 2, sizeof ip);
	memcpy(ip + 12, a->engine->ip4.ip, 4);
	memcpy(ip + 16, b->engine->ip4.ip, 4);
	sim_send_packet(s, a, ip, sizeof ip);
}

void sim_ping(struct sim *s, struct sim_node *a, struct sim_node *b)
{
	struct engine_peer *ep = sim_peer(a, b);

	if (ep)
		engine_ping(a->engine, ep, rng_u32(&s->rng), s->now_ms);
	drain_node(s, a);
}

uint64_t sim_longest_gap(struct sim *s, struct sim_node *a, struct sim_node *b, uint64_t step_ms, uint64_t ms)
{
	const struct sim_node *ends[2] = { a, b };
	uint64_t last[2] = { s->now_ms, s->now_ms }, got[2] = { a->received, b->received }, longest = 0;

	for (uint64_t end = s->now_ms + ms; s->now_ms < end;) {
		sim_send(s, a, b);
		sim_send(s, b, a);
		sim_run(s, step_ms);
		for (int i = 0; i < 2; i++) {
			uint64_t gap = s->now_ms - last[i];
			longest = gap > longest ? gap : longest;
			if (ends[i]->received != got[i])
				last[i] = s->now_ms;
			got[i] = ends[i]->received;
		}
	}
	return longest;
}
