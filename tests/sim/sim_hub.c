/* The hub, and the links of nodes to it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_impl.h"

enum { HUB_TTL = 58 }; /* what is left of 64 */

static void hub_send(struct sim *s, const struct addr *from, const struct addr *to, const void *data,
		     size_t len)
{
	struct sim_event ev = { .kind = EV_DATAGRAM, .from = *from, .to = *to, .ttl = HUB_TTL };

	sim_launch(s, ev, s->one_way_ms, data, len);
}

static void answer_stun(struct sim *s, const struct sim_event *ev)
{
	struct stun_route route = { .server = ev->to, .client = ev->from };
	uint8_t reply[STUN_PADDED_MAX];
	size_t len = stun_server_reply(&s->stun, ev->data, ev->len, &route, s->now_ms, reply);

	if (len)
		hub_send(s, &route.server, &route.client, reply, len);
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
	case RELAY_FORWARD: hub_send(s, &route.hub, &route.node, ev->data, ev->len); break;
	case RELAY_REPLY: hub_send(s, &route.hub, &route.node, reply, len); break;
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

void sim_abandon_link(struct sim *s, struct sim_node *n)
{
	n->conn = 0;
	n->reconnect_ms = s->now_ms + 200 + rng_below(&s->rng, 800);
	if (n->engine)
		engine_on_hub_down(n->engine, s->now_ms);
}

void sim_drop_link(struct sim *s, struct sim_node *n)
{
	if (n->conn && s->coord)
		coord_on_close(s->coord, n->conn, s->now_ms);
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
		ev.at_ms = s->now_ms + s->one_way_ms + (n ? n->late_ms : 0);
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
