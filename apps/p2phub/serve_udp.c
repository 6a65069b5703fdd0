/* The hub's UDP sockets: relay and STUN. */
#include "apps/p2phub/serve_internal.h"

#include <stddef.h>
#include <string.h>

#include "apps/p2phub/endpoints.h"
#include "relay/relay_server.h"

/* A node is bound at the socket where it came in, and its NAT lets in only what comes from there: so the relay is at the
 * first socket of each family, and at no other. */
static struct door *relay_door(struct serve *s, uint8_t family)
{
	for (size_t i = 0; i < s->door_count; i++)
		if (s->doors[i].udp.local.family == family)
			return &s->doors[i];
	return NULL;
}

/* The socket that sends from `local`. */
static struct udp_socket *socket_at(struct serve *s, const struct addr *local)
{
	for (size_t i = 0; i < s->door_count; i++) {
		const struct addr *bound = &s->doors[i].udp.local;
		if (bound->family == local->family && bound->port == local->port &&
		    (addr_is_any(bound) || addr_same_ip(bound, local)))
			return &s->doors[i].udp;
	}
	return NULL;
}

/* What the kernel has no room for is lost, as on any network. */
static void flush(struct door *d)
{
	udp_send_trains(&d->udp, d->out, d->out_count);
	d->out_count = 0;
}

/* A train leaves by `d`. */
static void put_out(struct door *d, const struct relay_train *t)
{
	if (d->out_count == DOOR_TRAINS)
		flush(d);
	d->out[d->out_count++] = (struct udp_train) { .data = t->data,
						      .len = t->len,
						      .stride = t->stride,
						      .addr = t->route.node,
						      .local = t->route.hub };
}

static void flush_doors(struct serve *s)
{
	for (size_t i = 0; i < s->door_count; i++)
		flush(&s->doors[i]);
}

static void send_gathered(struct serve *s)
{
	struct relay_train t;

	flush_doors(s);
	while (relay_gather_next(s->gather, &t))
		put_out(relay_door(s, t.route.node.family), &t);
	flush_doors(s);
}

static bool more_waits(const struct serve *s)
{
	for (size_t i = 0; i < s->door_count; i++)
		if (udp_has_more(&s->doors[i].udp))
			return true;
	return false;
}

/* What waits in a socket has its turn next, and on_batch() brings us here again. */
static void after_turn(struct loop_late *late)
{
	struct serve *s = (struct serve *)(void *)((char *)late - offsetof(struct serve, gathered));

	if (!more_waits(s) || loop_now_ms() >= s->gathered_ms + SERVE_GATHER_MS)
		send_gathered(s);
}

/* What is to go to this end of a session now does not overtake what was gathered for it. */
static void send_earlier(struct serve *s, const uint8_t *run, const struct relay_route *route)
{
	if (relay_gather_may_hold(s->gather, run, route))
		send_gathered(s);
}

/* A run that is forwarded by UDP. */
static void forward_run(struct serve *s, const struct relay_train *t)
{
	bool single = t->len <= t->stride;

	if (single && relay_gather_is_empty(s->gather))
		s->gathered_ms = loop_now_ms();
	if (single && relay_gather_add(s->gather, t->data, t->len, &t->route))
		return;
	if (single)
		send_gathered(s); /* it is full */
	else
		send_earlier(s, t->data, &t->route);
	put_out(relay_door(s, t->route.node.family), t);
}

/* A run of datagrams (see relay_run()) that came as a part of `t`. */
static void relay_run_in(struct door *in, const struct udp_train *t, uint8_t *run, size_t len)
{
	struct serve *s = in->serve;
	struct relay_route route = { .hub = t->local, .node = t->addr };
	uint8_t reply[RELAY_PROVE_LEN];
	size_t reply_len;

	switch (relay_server_on_run(s->relay, run, len, t->stride, &route, loop_now_ms(), reply,
				    &reply_len)) {
	case RELAY_FORWARD:
		if (route.link) {
			send_earlier(s, run, &route);
			serve_relay_to_link(s, route.link, run, len, t->stride);
			break;
		}
		forward_run(s, &(struct relay_train) { run, len, t->stride, route });
		break;
	case RELAY_REPLY: udp_send_bytes_from(&in->udp, &route.hub, reply, reply_len, &route.node); break;
	case RELAY_DROP: break;
	}
}

void serve_send_train(struct serve *s, const struct relay_route *route, uint8_t *data, size_t len,
		      size_t stride)
{
	struct udp_train t = {
		.data = data, .len = len, .stride = stride, .addr = route->node, .local = route->hub
	};

	send_earlier(s, data, route);
	udp_send_trains(&relay_door(s, route->node.family)->udp, &t, 1);
}

static void stun_datagram(struct serve *s, const struct udp_train *t, const uint8_t *msg, size_t len)
{
	struct stun_route route = { .server = t->local, .client = t->addr };
	uint8_t reply[STUN_PADDED_MAX];
	size_t reply_len = stun_server_reply(&s->stun, msg, len, &route, loop_now_ms(), reply);
	struct udp_socket *out = socket_at(s, &route.server);

	if (reply_len && out)
		udp_send_bytes_from(out, &route.server, reply, reply_len, &route.client);
}

static void on_train(void *arg, const struct udp_train *t)
{
	struct door *d = arg;
	bool relays = d == relay_door(d->serve, t->addr.family);

	for (size_t off = 0, len; off < t->len; off += len) {
		uint8_t *msg = t->data + off;
		len = relay_run(msg, t->len - off, t->stride);
		if (*msg != RELAY_DATA && *msg != RELAY_CONTROL)
			stun_datagram(d->serve, t, msg, len);
		else if (relays)
			relay_run_in(d, t, msg, len);
	}
}

static void on_batch(void *arg)
{
	struct door *d = arg;
	struct serve *s = d->serve;

	flush_doors(s);
	if (relay_gather_is_empty(s->gather))
		return;
	if (d->udp.full)
		loop_late(s->loop, &s->gathered);
	else
		send_gathered(s);
}

int serve_open_doors(struct serve *s, const struct serve_config *config, struct addr *at)
{
	static const struct udp_handler handler = { .on_train = on_train, .on_batch = on_batch };

	s->gathered.run = after_turn;
	for (; s->door_count < config->udp_count; s->door_count++) {
		struct door *d = &s->doors[s->door_count];
		d->serve = s;
		*at = config->udp[s->door_count];
		int rc = udp_open(&d->udp, s->loop, s->slab, UDP_OFFLOAD_GRO, at, &handler, d);
		if (rc)
			return rc;
		udp_set_buffer(&d->udp, SERVE_UDP_BUFFER);
		rc = udp_want_local(&d->udp);
		if (rc) {
			udp_close(&d->udp);
			return rc;
		}
	}
	return 0;
}

void serve_create_stun(struct serve *s)
{
	struct addr bound[SERVE_UDP_MAX], local[ENDPOINTS_LOCAL], endpoints[STUN_SERVER_ENDPOINTS];

	for (size_t i = 0; i < s->door_count; i++)
		bound[i] = s->doors[i].udp.local;
	size_t count = endpoints_of(bound, s->door_count, local, endpoints_local(local, ENDPOINTS_LOCAL),
				    endpoints, STUN_SERVER_ENDPOINTS);
	stun_server_init(&s->stun, endpoints, count, &s->rng);
}

/* An address that stands for all of them is announced as "where your link goes to". */
void serve_announce(struct serve *s, struct coord_config *c, bool relays)
{
	for (size_t i = 0; i < s->door_count; i++) {
		struct addr a = s->doors[i].udp.local;
		if ((&s->doors[i] == relay_door(s, a.family)) != relays)
			continue;
		if (addr_is_any(&a))
			a = (struct addr) { .port = a.port };
		c->udp[c->udp_count++] = a;
	}
}

void serve_close_doors(struct serve *s)
{
	loop_late_cancel(&s->gathered);
	for (size_t i = 0; i < s->door_count; i++)
		udp_close(&s->doors[i].udp);
}
