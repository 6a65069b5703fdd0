/* How datagrams travel: from the node up through the NATs of its site, over the internet, down through those of the
 * other. Up happens when it is sent, down when it arrives. */
#include <assert.h>
#include <string.h>

#include "tests/sim/sim_impl.h"

enum {
	DEFAULT_TTL = 64,
	LAN_MS = 1,
	FIRST_PORT = 50000, /* of the extra sockets */
	LAST_PORT = 64999,
	IP_UDP_HEADERS = 28,
};

static bool chance(struct sim *s, uint32_t permille)
{
	return permille && rng_below(&s->rng, 1000) < permille;
}

bool sim_is_hub(const struct sim *s, const struct addr *a)
{
	for (size_t i = 0; i < s->hub_addr_count; i++)
		if (addr_equal(a, &s->hub_addr[i]))
			return true;
	return false;
}

void sim_launch(struct sim *s, struct sim_event ev, uint32_t delay_ms, const void *data, size_t len)
{
	s->datagrams++;
	if (chance(s, s->loss_permille))
		return;
	for (int copies = chance(s, s->duplicate_permille) ? 2 : 1; copies; copies--) {
		ev.at_ms = s->now_ms + delay_ms + (s->jitter_ms ? rng_below(&s->rng, s->jitter_ms) : 0);
		sim_push(s, ev, data, len);
	}
}

/* ---- sockets */

static void open_socket(struct sim_node *n, uint32_t socket)
{
	uint16_t port = (uint16_t)(FIRST_PORT + socket % (LAST_PORT - FIRST_PORT + 1));

	while (map_find(&n->socket_of_port, &port) || port == n->inner.port)
		port = port == LAST_PORT ? FIRST_PORT : (uint16_t)(port + 1);
	assert(map_put(&n->socket_of_port, &port, &socket) == 0);
	assert(map_put(&n->port_of_socket, &socket, &port) == 0);
}

static uint16_t port_of(struct sim_node *n, uint32_t socket)
{
	if (!socket)
		return n->inner.port;
	if (!map_find(&n->port_of_socket, &socket))
		open_socket(n, socket);
	return *(uint16_t *)map_find(&n->port_of_socket, &socket);
}

/* False when nothing listens there. */
static bool socket_at(const struct sim_node *n, uint16_t port, uint32_t *socket)
{
	const uint32_t *extra = map_find(&n->socket_of_port, &port);

	*socket = extra ? *extra : 0;
	return extra || port == n->inner.port;
}

static bool in_use(const struct engine *e, uint32_t socket)
{
	uint32_t slot = (socket - 1) % 1024; /* see engine.h on ids */

	return slot < ENGINE_SOCKETS && e->sockets[slot] == socket;
}

void sim_close_unused(struct sim_node *n)
{
	uint32_t closed[ENGINE_SOCKETS];
	size_t count = 0;

	if (!n->engine->sockets_changed)
		return;
	n->engine->sockets_changed = false;
	for (uint32_t *at = NULL; (at = map_walk(&n->socket_of_port, at)) && count < ENGINE_SOCKETS;)
		if (!in_use(n->engine, *at))
			closed[count++] = *at;
	while (count--) {
		uint16_t port = *(uint16_t *)map_find(&n->port_of_socket, &closed[count]);
		map_remove(&n->socket_of_port, &port);
		map_remove(&n->port_of_socket, &closed[count]);
	}
}

void sim_close_sockets(struct sim_node *n)
{
	map_clear(&n->port_of_socket);
	map_clear(&n->socket_of_port);
}

/* ---- who is where */

/* Several hosts may share the address of a site without a NAT. */
static struct sim_node *node_at(struct sim *s, const struct sim_site *site, const struct addr *inner,
				uint32_t *socket)
{
	for (size_t i = 0; i < s->node_count; i++) {
		struct sim_node *n = &s->nodes[i];
		if (n->site == site && addr_same_ip(&n->inner, inner) && socket_at(n, inner->port, socket))
			return n;
	}
	return NULL;
}

static struct sim_site *site_at(struct sim *s, const struct sim_site *realm, const struct addr *a)
{
	for (size_t i = 0; i < s->site_count; i++)
		if (s->sites[i].parent == realm && sim_nat_owns(&s->sites[i].nat, a))
			return &s->sites[i];
	return NULL;
}

/* ---- through a site's router */

static bool pass_router(const struct sim_site *site, struct sim_event *ev, size_t len)
{
	if (site->mtu && len + IP_UDP_HEADERS > site->mtu)
		return false;
	if (ev->ttl <= site->hops)
		return false;
	ev->ttl -= site->hops;
	return true;
}

static bool leave(struct sim *s, struct sim_site *site, struct sim_event *ev, size_t len)
{
	struct addr inner = ev->from;

	ev->realm = site->parent;
	return !site->udp_blocked && pass_router(site, ev, len) &&
	       (site->nat.kind == NAT_NONE || sim_nat_out(&site->nat, &inner, &ev->to, s->now_ms, &ev->from));
}

static bool enter(struct sim *s, struct sim_site *site, struct sim_event *ev, size_t len)
{
	struct addr outer = ev->to;

	ev->realm = site;
	return !site->udp_deaf && pass_router(site, ev, len) &&
	       (site->nat.kind == NAT_NONE || sim_nat_in(&site->nat, &outer, &ev->from, s->now_ms, &ev->to));
}

/* ---- up */

static void cross_internet(struct sim *s, struct sim_event *ev, const uint8_t *data, size_t len)
{
	bool to_hub = sim_is_hub(s, &ev->to);
	const struct sim_relay *relay = sim_relay_at(s, &ev->to);

	if (addr_is_private(&ev->to) || ev->ttl <= s->middle_hops)
		return;
	ev->ttl -= s->middle_hops;
	if (relay) {
		sim_launch(s, *ev, s->one_way_ms + relay->one_way_ms, data, len);
		return;
	}
	if (!to_hub) {
		if (s->cut_direct)
			return;
		s->direct_datagrams++;
	}
	sim_launch(s, *ev, to_hub ? s->one_way_ms + s->hub_ms : 2 * s->one_way_ms, data, len);
}

void sim_send_datagram(struct sim *s, struct sim_node *n, const struct pkt *p)
{
	struct sim_event ev = { .kind = EV_DATAGRAM, .from = n->inner, .to = p->addr, .by = n };
	const uint8_t *data = p->buf + p->off;
	uint32_t socket;

	ev.from.port = port_of(n, p->socket);
	if (s->sent)
		s->sent(s, n, ev.from.port, p);
	ev.ttl = p->ttl ? p->ttl : DEFAULT_TTL;
	ev.realm = n->site;
	if (node_at(s, n->site, &p->addr, &socket)) {
		sim_launch(s, ev, LAN_MS, data, p->len);
		return;
	}
	for (struct sim_site *site = n->site; site; site = site->parent) {
		if (!leave(s, site, &ev, p->len))
			return;
		struct sim_site *next = site_at(s, ev.realm, &ev.to);
		if (next == site && !site->nat.rules.hairpin)
			return;
		if (next == site || (next && ev.realm)) {
			sim_launch(s, ev, next == site ? LAN_MS : s->one_way_ms, data, p->len);
			return;
		}
	}
	cross_internet(s, &ev, data, p->len);
}

/* ---- down */

void sim_on_arrival(struct sim *s, const struct sim_event *arrived)
{
	struct sim_event ev = *arrived;
	struct sim_site *next;
	struct sim_node *n;
	uint32_t socket;

	if (!ev.realm && sim_is_hub(s, &ev.to)) {
		sim_hub_on_datagram(s, &ev);
		return;
	}
	if (!ev.realm && sim_relay_at(s, &ev.to)) {
		sim_relay_on_datagram(s, sim_relay_at(s, &ev.to), &ev);
		return;
	}
	while ((next = site_at(s, ev.realm, &ev.to)))
		if (!enter(s, next, &ev, ev.len))
			return;
	n = node_at(s, ev.realm, &ev.to, &socket);
	if (n && !(ev.by && s->cut[ev.by - s->nodes][n - s->nodes]))
		sim_deliver(s, n, socket, &ev);
}

/* ---- sites */

static struct sim_site *add_site(struct sim *s, enum sim_nat_kind kind, struct sim_site *parent)
{
	assert(s->site_count < SIM_SITES);
	struct sim_site *site = &s->sites[s->site_count++];
	uint8_t ip[4] = { 203, 0, 113, (uint8_t)s->site_count };
	struct addr outside = addr_from_ip(ADDR_V4, ip, 0);

	if (parent)
		outside = addr_from_ip(ADDR_V4, (uint8_t[]) { 100, 64, 0, (uint8_t)(++parent->hosts + 1) },
				       0);
	site->parent = parent;
	site->hops = 1;
	sim_nat_init(&site->nat, kind, &outside, &s->rng);
	return site;
}

struct sim_site *sim_site_behind(struct sim *s, struct sim_site *carrier, enum sim_nat_kind kind)
{
	return add_site(s, kind, carrier);
}

struct sim_site *sim_site(struct sim *s, enum sim_nat_kind kind)
{
	if (kind == NAT_HOME_CARRIER)
		return add_site(s, NAT_PORT_RESTRICTED, add_site(s, NAT_PORT_RESTRICTED, NULL));
	if (kind == NAT_HOME_CARRIER_SYMMETRIC)
		return add_site(s, NAT_PORT_RESTRICTED, add_site(s, NAT_SYMMETRIC, NULL));
	return add_site(s, kind, NULL);
}

void sim_site_add_ips(struct sim_site *site, unsigned count)
{
	struct addr ip = site->nat.public_ip;

	assert(!site->parent && count < SIM_NAT_IPS);
	for (unsigned i = 0; i < count; i++) {
		ip.ip[0] = (uint8_t)(204 + i);
		site->nat.more_ips[i] = ip;
	}
	site->nat.more_ip_count = count;
}

struct addr sim_new_address(struct sim_site *site)
{
	uint8_t ip[4] = { 192, 168, 1, (uint8_t)(++site->hosts + 1) };
	bool bare = site->nat.kind == NAT_NONE || site->nat.rules.ports == SIM_PORTS_UNTRANSLATED;

	return bare ? site->nat.public_ip : addr_from_ip(ADDR_V4, ip, 0);
}
