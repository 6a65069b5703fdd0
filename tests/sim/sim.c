#include "tests/sim/sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

enum sim_event_kind { EV_DATAGRAM, EV_TO_HUB, EV_TO_NODE, EV_LINK_UP, EV_LINK_DOWN };

struct sim_event {
	uint64_t at_ms, serial;
	enum sim_event_kind kind;
	struct addr from, to;  /* datagrams, as seen in the middle of the network */
	struct sim_node *node; /* hub link; or the receiver on the same LAN */
	uint64_t conn;
	uint8_t *data;
	size_t len;
};

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

static void push_event(struct sim *s, struct sim_event ev, const void *data, size_t len)
{
	if (s->event_count == s->event_cap) {
		s->event_cap = s->event_cap ? s->event_cap * 2 : 256;
		s->events = realloc(s->events, s->event_cap * sizeof *s->events);
		assert(s->events);
	}
	ev.serial = s->event_serial++;
	ev.data = malloc(len ? len : 1);
	ev.len = len;
	assert(ev.data);
	if (len)
		memcpy(ev.data, data, len);
	size_t i = s->event_count++;
	s->events[i] = ev;
	for (; i && before(&s->events[i], &s->events[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&s->events[i], &s->events[(i - 1) / 2]);
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

/* ---- datagrams */

static bool chance(struct sim *s, uint32_t permille)
{
	return permille && rng_below(&s->rng, 1000) < permille;
}

static bool is_hub(const struct sim *s, const struct addr *a)
{
	return addr_equal(a, &s->hub_addr[0]) || addr_equal(a, &s->hub_addr[1]);
}

static void launch(struct sim *s, struct sim_event ev, uint32_t delay_ms, const void *data, size_t len)
{
	s->datagrams++;
	if (chance(s, s->loss_permille))
		return;
	for (int copies = chance(s, s->duplicate_permille) ? 2 : 1; copies; copies--) {
		ev.at_ms = s->now_ms + delay_ms + (s->jitter_ms ? rng_below(&s->rng, s->jitter_ms) : 0);
		push_event(s, ev, data, len);
	}
}

static struct sim_node *node_at(struct sim *s, const struct sim_site *site, const struct addr *inner)
{
	for (size_t i = 0; i < s->node_count; i++)
		if (s->nodes[i].site == site && addr_equal(&s->nodes[i].inner, inner))
			return &s->nodes[i];
	return NULL;
}

static struct sim_site *site_of(struct sim *s, const struct addr *a)
{
	for (size_t i = 0; i < s->site_count; i++)
		if (addr_same_ip(&s->sites[i].nat.public_ip, a))
			return &s->sites[i];
	return NULL;
}

static void send_datagram(struct sim *s, struct sim_node *n, const struct pkt *p)
{
	struct sim_event ev = { .kind = EV_DATAGRAM, .from = n->inner, .to = p->addr };
	struct sim_node *lan = addr_is_private(&p->addr) ? node_at(s, n->site, &p->addr) : NULL;
	const uint8_t *data = p->buf + p->off;

	if (lan) {
		ev.node = lan;
		launch(s, ev, 1, data, p->len);
		return;
	}
	if (addr_is_private(&p->addr))
		return;
	if (n->site->nat.kind != NAT_NONE &&
	    !sim_nat_out(&n->site->nat, &n->inner, &p->addr, s->now_ms, &s->rng, &ev.from))
		return;
	/* A low TTL opens our own NAT and dies in the middle. */
	if (p->ttl && p->ttl < 8)
		return;
	if (!is_hub(s, &p->addr)) {
		if (s->cut_direct)
			return;
		s->direct_datagrams++;
	}
	launch(s, ev, is_hub(s, &p->addr) ? s->one_way_ms : 2 * s->one_way_ms, data, p->len);
}

/* ---- the hub */

static void hub_send(struct sim *s, const struct addr *from, const struct addr *to, const void *data,
		     size_t len)
{
	launch(s, (struct sim_event) { .kind = EV_DATAGRAM, .from = *from, .to = *to }, s->one_way_ms, data,
	       len);
}

static void hub_datagram(struct sim *s, const struct sim_event *ev)
{
	uint8_t stun[STUN_PADDED_MAX], reply[RELAY_PROVE_LEN];
	struct stun_route route = { .server = ev->to, .client = ev->from };
	struct addr to;
	size_t len;

	if (!s->coord)
		return;
	if (stun_is_message(ev->data, ev->len)) {
		len = stun_server_reply(&s->stun, ev->data, ev->len, &route, s->now_ms, stun);
		if (len)
			hub_send(s, &route.server, &route.client, stun, len);
		return;
	}
	switch (relay_server_on_datagram(s->relay, ev->data, ev->len, &ev->from, s->now_ms, &to, reply,
					 &len)) {
	case RELAY_FORWARD: hub_send(s, &ev->to, &to, ev->data, ev->len); break;
	case RELAY_REPLY: hub_send(s, &ev->to, &ev->from, reply, len); break;
	case RELAY_DROP: break;
	}
}

static struct sim_node *node_of_conn(struct sim *s, uint64_t conn)
{
	for (size_t i = 0; i < s->node_count; i++)
		if (s->nodes[i].conn == conn)
			return &s->nodes[i];
	return NULL;
}

static void drop_link(struct sim *s, struct sim_node *n)
{
	if (n->conn && s->coord)
		coord_on_close(s->coord, n->conn, s->now_ms);
	n->conn = 0;
	n->reconnect_ms = s->now_ms + 200 + rng_below(&s->rng, 800);
	if (n->engine)
		engine_on_hub_down(n->engine, s->now_ms);
}

static void drain_hub(struct sim *s)
{
	struct coord_out out;

	while (s->coord && coord_next(s->coord, &out)) {
		struct sim_node *n = node_of_conn(s, out.conn);
		struct sim_event ev = { .kind = out.msg ? EV_TO_NODE : EV_LINK_DOWN,
					.node = n,
					.conn = out.conn };
		ev.at_ms = s->now_ms + s->one_way_ms;
		if (n)
			push_event(s, ev, out.msg, out.len);
		if (n && out.msg && out.close) {
			ev.kind = EV_LINK_DOWN;
			push_event(s, ev, NULL, 0);
		}
		free(out.msg);
	}
}

void sim_hub_start(struct sim *s)
{
	struct coord_config config = { .rng = &s->rng, .max_nodes = 1000, .udp_count = 2 };

	s->relay = relay_server_create(1000, 10000, &s->rng);
	config.relay = s->relay;
	memcpy(config.udp, s->hub_addr, sizeof s->hub_addr);
	s->coord = coord_create(&config);
	stun_server_init(&s->stun, s->hub_addr, sizeof s->hub_addr / sizeof *s->hub_addr, &s->rng);
	assert(s->relay && s->coord);
}

void sim_hub_kill(struct sim *s)
{
	coord_destroy(s->coord);
	relay_server_destroy(s->relay);
	s->coord = NULL;
	s->relay = NULL;
	for (size_t i = 0; i < s->node_count; i++)
		drop_link(s, &s->nodes[i]);
}

/* ---- nodes */

static void on_event(struct sim_node *n, const struct engine_event *ev)
{
	struct sim *s = n->sim;

	if (ev->kind == ENGINE_EV_JOINED && !n->joined) {
		n->joined = true;
		n->joined_ms = s->now_ms;
	}
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

	while ((p = pkt_list_pop(&n->engine->udp_out))) {
		send_datagram(s, n, p);
		pkt_put(&s->pool, p);
	}
	while ((p = pkt_list_pop(&n->engine->tun_out))) {
		n->received++;
		pkt_put(&s->pool, p);
	}
	while ((p = pkt_list_pop(&n->engine->hub_out))) {
		struct sim_event out = { .kind = EV_TO_HUB, .node = n, .conn = n->conn };
		out.at_ms = s->now_ms + s->one_way_ms;
		if (n->conn)
			push_event(s, out, pkt_data(p), p->len);
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
	if (n->conn && s->coord)
		coord_on_close(s->coord, n->conn, s->now_ms);
	n->conn = 0;
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
	ev.at_ms = s->now_ms + 4 * s->one_way_ms;
	push_event(s, ev, exporter, sizeof exporter);
}

/* ---- running */

void sim_inject(struct sim *s, struct sim_node *to, const struct addr *from, const uint8_t *data, size_t len)
{
	struct pkt *p = to->engine ? pkt_get(&s->pool) : NULL;

	if (!p)
		return;
	memcpy(pkt_data(p), data, len);
	p->len = (uint32_t)len;
	p->addr = *from;
	engine_on_datagram(to->engine, p, s->now_ms);
}

static void deliver(struct sim *s, struct sim_node *n, const struct sim_event *ev)
{
	if (s->tap && n->engine)
		s->tap(s, n, &ev->from, ev->data, ev->len);
	sim_inject(s, n, &ev->from, ev->data, ev->len);
}

static void run_datagram(struct sim *s, const struct sim_event *ev)
{
	struct sim_site *site;
	struct addr inner = ev->to;
	struct sim_node *n = ev->node;

	if (!n && is_hub(s, &ev->to)) {
		hub_datagram(s, ev);
		return;
	}
	site = n ? NULL : site_of(s, &ev->to);
	if (site && site->nat.kind != NAT_NONE &&
	    !sim_nat_in(&site->nat, &ev->to, &ev->from, s->now_ms, &inner))
		return;
	if (site)
		n = node_at(s, site, &inner);
	if (n)
		deliver(s, n, ev);
}

static void run_event(struct sim *s, const struct sim_event *ev)
{
	bool linked = ev->node && ev->node->conn == ev->conn && ev->node->engine;

	switch (ev->kind) {
	case EV_DATAGRAM: run_datagram(s, ev); break;
	case EV_TO_HUB:
		if (linked && s->coord)
			coord_on_message(s->coord, ev->conn, ev->data, ev->len, s->now_ms,
					 s->unix_base_s + s->now_ms / 1000);
		break;
	case EV_TO_NODE:
		if (linked)
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
			drop_link(s, ev->node);
		break;
	}
}

static uint64_t next_moment(const struct sim *s)
{
	uint64_t next = s->event_count ? s->events[0].at_ms : UINT64_MAX;

	if (s->coord && coord_deadline(s->coord) < next)
		next = coord_deadline(s->coord);
	for (size_t i = 0; i < s->node_count; i++) {
		const struct sim_node *n = &s->nodes[i];
		if (!n->engine)
			continue;
		if (engine_deadline(n->engine) < next)
			next = engine_deadline(n->engine);
		if (!n->conn && n->reconnect_ms < next)
			next = n->reconnect_ms;
	}
	return next > s->now_ms ? next : s->now_ms;
}

/* All that happens at s->now_ms. */
static void run_moment(struct sim *s)
{
	while (s->event_count && s->events[0].at_ms <= s->now_ms) {
		struct sim_event ev = pop_event(s);
		run_event(s, &ev);
		free(ev.data);
	}
	if (s->coord)
		coord_tick(s->coord, s->now_ms);
	for (size_t i = 0; i < s->node_count; i++) {
		struct sim_node *n = &s->nodes[i];
		if (!n->engine)
			continue;
		if (!n->conn && n->reconnect_ms <= s->now_ms)
			connect_node(s, n);
		engine_tick(n->engine, s->now_ms);
		drain_node(s, n);
	}
	drain_hub(s);
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
	for (int i = 0; i < 2; i++)
		assert(addr_parse(&s->hub_addr[i], i ? "198.51.100.1:3479" : "198.51.100.1:3478", 0) == 0);
	sim_hub_start(s);
}

void sim_free(struct sim *s)
{
	for (size_t i = 0; i < s->node_count; i++)
		if (s->nodes[i].engine)
			sim_node_kill(s, &s->nodes[i]);
	while (s->event_count)
		free(s->events[--s->event_count].data);
	free(s->events);
	coord_destroy(s->coord);
	relay_server_destroy(s->relay);
	assert(s->pool.in_use == 0);
	pkt_pool_free(&s->pool);
}

struct sim_site *sim_site(struct sim *s, enum sim_nat_kind kind)
{
	struct sim_site *site = &s->sites[s->site_count++];
	uint8_t ip[4] = { 203, 0, 113, (uint8_t)s->site_count };

	assert(s->site_count <= SIM_SITES);
	site->nat.kind = kind;
	site->nat.timeout_ms = 60000;
	site->nat.public_ip = addr_from_ip(ADDR_V4, ip, 0);
	return site;
}

struct sim_node *sim_node_at(struct sim *s, struct sim_site *site)
{
	struct sim_node *n = &s->nodes[s->node_count++];
	uint8_t ip[4] = { 192, 168, 1, (uint8_t)(++site->hosts + 1) };

	assert(s->node_count <= SIM_NODES);
	n->sim = s;
	n->site = site;
	n->inner = site->nat.kind == NAT_NONE ? site->nat.public_ip : addr_from_ip(ADDR_V4, ip, 0);
	n->inner.port = (uint16_t)(40000 + s->node_count);
	n->config =
		(struct engine_config) { .net = s->net, .ip4_bits = 16, .have_ip4 = true, .pool = &s->pool };
	n->config.udp_port = n->inner.port;
	addr_parse(&n->config.ip4_prefix, "10.77.0.0", 0);
	snprintf(n->config.name, sizeof n->config.name, "node%zu", s->node_count);
	rng_fill(&s->rng, n->config.ik_seed, 32);
	rng_fill(&s->rng, n->config.wk_sk, 32);
	sim_node_start(s, n);
	return n;
}

struct sim_node *sim_node(struct sim *s, enum sim_nat_kind kind)
{
	return sim_node_at(s, sim_site(s, kind));
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

void sim_send(struct sim *s, struct sim_node *a, struct sim_node *b)
{
	struct pkt *p = pkt_get(&s->pool);
	uint8_t *ip;

	assert(p);
	ip = pkt_data(p);
	p->len = 100;
	memset(ip, 0, p->len);
	ip[0] = 0x45;
	store_be16(ip + 2, 100);
	memcpy(ip + 12, a->engine->ip4.ip, 4);
	memcpy(ip + 16, b->engine->ip4.ip, 4);
	engine_on_tun(a->engine, p, s->now_ms);
	drain_node(s, a);
}

void sim_ping(struct sim *s, struct sim_node *a, struct sim_node *b)
{
	struct engine_peer *ep = sim_peer(a, b);

	if (ep)
		engine_ping(a->engine, ep, rng_u32(&s->rng), s->now_ms);
	drain_node(s, a);
}
