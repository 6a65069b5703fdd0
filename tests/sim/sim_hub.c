/* The hub, and the links of nodes to it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "relay/relay_frame.h"
#include "tests/sim/sim_impl.h"

enum { HUB_TTL = 58 }; /* what is left of 64 */

static void hub_send(struct sim *s, const struct addr *from, const struct addr *to, const void *data,
		     size_t len)
{
	struct sim_event ev = { .kind = EV_DATAGRAM, .from = *from, .to = *to, .ttl = HUB_TTL };

	sim_launch(s, ev, s->one_way_ms + s->hub_ms, data, len);
}

static void answer_stun(struct sim *s, const struct sim_event *ev)
{
	struct stun_route route = { .server = ev->to, .client = ev->from };
	uint8_t reply[STUN_PADDED_MAX];
	size_t len = stun_server_reply(&s->stun, ev->data, ev->len, &route, s->now_ms, reply);

	if (len)
		hub_send(s, &route.server, &route.client, reply, len);
}

static struct sim_node *node_of_conn(struct sim *s, uint64_t conn)
{
	for (size_t i = 0; i < s->node_count; i++)
		if (s->nodes[i].conn == conn)
			return &s->nodes[i];
	return NULL;
}

/* ---- the relay */

static void send_run(struct sim *s, uint64_t conn, const void *msg, size_t len)
{
	struct sim_event ev = { .kind = EV_TO_NODE, .node = node_of_conn(s, conn), .conn = conn };

	if (!ev.node)
		return;
	s->runs++;
	ev.at_ms = s->now_ms + s->one_way_ms + s->hub_ms + ev.node->late_ms;
	sim_push(s, ev, msg, len);
}

static void forward_datagram(struct sim *s, const struct relay_route *route, const struct sim_event *ev)
{
	uint8_t run[RELAY_RUN_MAX];
	size_t len;

	if (!route->link)
		hub_send(s, &route->hub, &route->node, ev->data, ev->len);
	else if (relay_frame_pack(run, &len, ev->data, ev->len, ev->len))
		send_run(s, route->link, run, len);
}

void sim_hub_on_run(struct sim *s, const struct sim_event *ev)
{
	uint8_t datagrams[RELAY_FRAME_UDP_MAX];
	struct relay_route route;
	struct relay_frame run;

	if (relay_server_on_link(s->relay, ev->node->engine->relay.slot, ev->conn, ev->data, ev->len, &route,
				 s->now_ms) != RELAY_FORWARD)
		return;
	if (route.link) {
		send_run(s, route.link, ev->data, ev->len);
		return;
	}
	assert(relay_frame_read(&run, ev->data, ev->len));
	size_t len = relay_frame_unpack(datagrams, &run), stride = run.stride + RELAY_HEADER;
	for (size_t at = 0; at < len; at += stride)
		hub_send(s, &route.hub, &route.node, datagrams + at, len - at < stride ? len - at : stride);
}

void sim_hub_on_datagram(struct sim *s, const struct sim_event *ev)
{
	uint8_t reply[RELAY_PROVE_LEN];
	struct relay_route route = { .hub = ev->to, .node = ev->from };
	size_t len;

	if (!s->coord)
		return;
	if (stun_is_message(ev->data, ev->len)) {
		answer_stun(s, ev);
		return;
	}
	switch (relay_server_on_datagram(s->relay, ev->data, ev->len, &route, s->now_ms, reply, &len)) {
	case RELAY_FORWARD: forward_datagram(s, &route, ev); break;
	case RELAY_REPLY: hub_send(s, &route.hub, &route.node, reply, len); break;
	case RELAY_DROP: break;
	}
}

/* ---- other relays */

static const uint8_t relay_key[RELAY_KEY] = "shared";

struct sim_relay *sim_relay_at(struct sim *s, const struct addr *a)
{
	for (size_t i = 0; i < s->relay_count; i++)
		if (addr_equal(a, &s->relays[i].at))
			return &s->relays[i];
	return NULL;
}

void sim_relay_start(struct sim *s, struct sim_relay *r)
{
	r->server = relay_server_create(1000, 10000, &s->rng);
	assert(r->server);
	relay_server_take_guests(r->server, relay_key);
	relay_server_tick(r->server, s->now_ms, s->unix_base_s + s->now_ms / 1000);
}

struct sim_relay *sim_relay(struct sim *s, uint32_t one_way_ms)
{
	assert(s->relay_count < SIM_RELAYS);
	struct sim_relay *r = &s->relays[s->relay_count++];

	r->at = addr_from_ip(ADDR_V4, (uint8_t[]) { 192, 0, 2, (uint8_t)s->relay_count }, 3478);
	r->one_way_ms = one_way_ms;
	sim_relay_start(s, r);
	return r;
}

void sim_relay_kill(struct sim_relay *r)
{
	relay_server_destroy(r->server);
	r->server = NULL;
}

void sim_relay_on_datagram(struct sim *s, struct sim_relay *r, const struct sim_event *ev)
{
	struct sim_event out = { .kind = EV_DATAGRAM, .from = r->at, .ttl = 64 };
	struct relay_route route = { .hub = ev->to, .node = ev->from };
	uint8_t reply[RELAY_PROVE_LEN];
	const uint8_t *data = ev->data;
	size_t len = ev->len;

	if (!r->server)
		return;
	switch (relay_server_on_datagram(r->server, ev->data, ev->len, &route, s->now_ms, reply, &len)) {
	case RELAY_DROP: return;
	case RELAY_REPLY: data = reply; break;
	case RELAY_FORWARD: len = ev->len; r->forwarded++;
	}
	out.to = route.node;
	sim_launch(s, out, s->one_way_ms + r->one_way_ms, data, len);
}

void sim_abandon_link(struct sim *s, struct sim_node *n)
{
	n->conn = 0;
	n->reconnect_ms = s->now_ms + 200 + rng_below(&s->rng, 800);
	if (n->engine)
		engine_on_hub_down(n->engine, s->now_ms);
}

void sim_close_link(struct sim *s, struct sim_node *n)
{
	if (!n->conn || !s->coord)
		return;
	relay_slot_unlink(s->relay, n->engine->relay.slot, n->conn);
	coord_on_close(s->coord, n->conn, s->now_ms);
}

void sim_drop_link(struct sim *s, struct sim_node *n)
{
	sim_close_link(s, n);
	sim_abandon_link(s, n);
}

void sim_drain_hub(struct sim *s)
{
	struct coord_out out;

	while (s->coord && coord_next(s->coord, &out)) {
		struct sim_node *n = node_of_conn(s, out.conn);
		struct sim_event ev = { .kind = out.msg ? EV_TO_NODE : EV_LINK_DOWN,
					.node = n,
					.conn = out.conn };
		ev.at_ms = s->now_ms + s->one_way_ms + s->hub_ms + (n ? n->late_ms : 0);
		if (n)
			sim_push(s, ev, out.msg, out.len);
		if (n && out.msg && out.close) {
			ev.kind = EV_LINK_DOWN;
			sim_push(s, ev, NULL, 0);
		}
		free(out.msg);
	}
}

void sim_hub_start(struct sim *s)
{
	struct coord_config config = { .rng = &s->rng, .max_nodes = 1000, .udp_count = s->hub_addr_count };

	s->relay = relay_server_create(1000, 10000, &s->rng);
	config.relay = s->relay;
	for (size_t i = 0; i < s->relay_count; i++)
		config.relays[config.relay_count++] = s->relays[i].at;
	memcpy(config.relay_key, relay_key, sizeof relay_key);
	memcpy(config.udp, s->hub_addr, s->hub_addr_count * sizeof *s->hub_addr);
	s->coord = coord_create(&config);
	stun_server_init(&s->stun, s->hub_addr, s->hub_addr_count, &s->rng);
	assert(s->relay && s->coord);
}

void sim_hub_kill(struct sim *s)
{
	coord_destroy(s->coord);
	relay_server_destroy(s->relay);
	s->coord = NULL;
	s->relay = NULL;
	for (size_t i = 0; i < s->node_count; i++)
		sim_drop_link(s, &s->nodes[i]);
}
