#include "apps/p2phub/serve.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2phub/endpoints.h"
#include "core/udp.h"
#include "nat/stun_server.h"
#include "relay/coord.h"
#include "relay/websocket_server.h"

/* One node's link. Its address is its id with coord. */
struct link {
	struct serve *serve;
	struct link *next, **at;
	struct websocket_server *ws;
};

enum { DOOR_TRAINS = 64 };

/* A UDP socket, whose it is, and what leaves by it after the system call that it came in by: still where it was
 * received. */
struct door {
	struct serve *serve;
	struct udp_socket udp;
	unsigned out_count;
	struct udp_train out[DOOR_TRAINS];
};

struct serve {
	struct loop *loop;
	struct rng rng;
	struct udp_slab *slab;
	struct door doors[SERVE_UDP_MAX];
	size_t door_count;
	struct relay_server *relay;
	struct coord *coord;
	struct stun_server stun;
	struct tls_config *tls;
	struct http_server *http;
	struct stream_listener *listener;
	struct loop_timer *timer; /* the one: at coord's deadline */
	struct link *links;
};

static uint64_t link_id(const struct link *k)
{
	return (uint64_t)(uintptr_t)k;
}

/* --- Node links. */

static void link_forget(struct link *k)
{
	*k->at = k->next;
	if (k->next)
		k->next->at = k->at;
	coord_on_close(k->serve->coord, link_id(k), loop_now_ms());
	free(k);
}

static void link_close(struct link *k, enum websocket_code code)
{
	websocket_server_close(k->ws, code);
	link_forget(k);
}

/* Sends what coord has to say, until it is silent: closing a link can give it more. */
static void speak(struct serve *s)
{
	struct coord_out out;

	while (coord_next(s->coord, &out)) {
		struct link *k = (struct link *)(uintptr_t)out.conn;
		int rc = out.msg ? websocket_server_send(k->ws, out.msg, out.len) : 0;
		free(out.msg);
		if (websocket_server_queued(k->ws) > SERVE_BACKLOG)
			coord_pause(s->coord, link_id(k));
		if (out.close || rc)
			link_close(k, rc ? WEBSOCKET_GOING_AWAY : WEBSOCKET_POLICY);
	}
	loop_timer_set(s->timer, coord_deadline(s->coord));
}

static void on_link_message(void *arg, const uint8_t *msg, size_t len)
{
	struct link *k = arg;
	struct serve *s = k->serve;

	coord_on_message(s->coord, link_id(k), msg, len, loop_now_ms(), (uint64_t)time(NULL));
	speak(s);
}

static void on_link_drained(void *arg)
{
	struct link *k = arg;
	struct serve *s = k->serve;

	coord_resume(s->coord, link_id(k));
	speak(s);
}

static void on_link_close(void *arg)
{
	struct link *k = arg;
	struct serve *s = k->serve;

	link_forget(k);
	speak(s);
}

static void handle_link(void *arg, struct http_exchange *x)
{
	static const struct websocket_server_handler handler = { on_link_message, on_link_close,
								 on_link_drained };
	struct serve *s = arg;
	struct link *k = calloc(1, sizeof *k);

	if (!k) {
		http_answer_error(x, 503, "no_memory", "out of memory");
		return;
	}
	if (!websocket_server_accept(&k->ws, x, s->loop, &s->rng, &handler, k)) {
		free(k);
		return;
	}
	if (coord_on_open(s->coord, link_id(k), websocket_server_exporter(k->ws), loop_now_ms()) != 0) {
		websocket_server_close(k->ws, WEBSOCKET_GOING_AWAY);
		free(k);
		return;
	}
	k->serve = s;
	k->next = s->links;
	k->at = &s->links;
	if (k->next)
		k->next->at = &k->next;
	s->links = k;
	speak(s);
}

static void handle_health(void *arg, struct http_exchange *x)
{
	(void)arg;
	http_answer_json(x, 200, json_pack("{s:s}", "status", "ok"));
}

static const struct http_route routes[] = {
	{ "GET", "/link", handle_link },
	{ "GET", "/healthz", handle_health },
};

static void on_due(void *arg)
{
	struct serve *s = arg;

	coord_tick(s->coord, loop_now_ms());
	speak(s);
}

/* --- UDP. */

static bool is_any(const struct addr *a)
{
	static const uint8_t any[sizeof a->ip];

	return memcmp(a->ip, any, sizeof any) == 0;
}

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
		    (is_any(bound) || addr_same_ip(bound, local)))
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

/* A run of datagrams (see relay_run()) that came as a part of `t`. */
static void relay_run_in(struct door *in, const struct udp_train *t, uint8_t *run, size_t len)
{
	struct serve *s = in->serve;
	struct relay_route route = { .hub = t->local, .node = t->addr };
	uint8_t reply[RELAY_PROVE_LEN];
	size_t reply_len;
	struct door *out;

	switch (relay_server_on_run(s->relay, run, len, t->stride, &route, loop_now_ms(), reply,
				    &reply_len)) {
	case RELAY_FORWARD:
		out = relay_door(s, route.node.family);
		if (out->out_count == DOOR_TRAINS)
			flush(out);
		out->out[out->out_count++] = (struct udp_train) {
			.data = run, .len = len, .stride = t->stride, .addr = route.node, .local = route.hub
		};
		break;
	case RELAY_REPLY: udp_send_bytes_from(&in->udp, &route.hub, reply, reply_len, &route.node); break;
	case RELAY_DROP: break;
	}
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
	struct serve *s = ((struct door *)arg)->serve;

	for (size_t i = 0; i < s->door_count; i++)
		flush(&s->doors[i]);
}

/* --- Beginning and end. */

static int open_doors(struct serve *s, const struct serve_config *config, struct addr *at)
{
	static const struct udp_handler handler = { .on_train = on_train, .on_batch = on_batch };

	for (; s->door_count < config->udp_count; s->door_count++) {
		struct door *d = &s->doors[s->door_count];
		d->serve = s;
		*at = config->udp[s->door_count];
		int rc = udp_open(&d->udp, s->loop, s->slab, UDP_OFFLOAD_GRO, at, &handler, d);
		if (rc)
			return rc;
		rc = udp_want_local(&d->udp);
		if (rc) {
			udp_close(&d->udp);
			return rc;
		}
	}
	return 0;
}

static void create_stun(struct serve *s)
{
	struct addr bound[SERVE_UDP_MAX], local[ENDPOINTS_LOCAL], endpoints[STUN_SERVER_ENDPOINTS];

	for (size_t i = 0; i < s->door_count; i++)
		bound[i] = s->doors[i].udp.local;
	size_t count = endpoints_of(bound, s->door_count, local, endpoints_local(local, ENDPOINTS_LOCAL),
				    endpoints, STUN_SERVER_ENDPOINTS);
	stun_server_init(&s->stun, endpoints, count, &s->rng);
}

/* An address that stands for all of them is announced as "where your link goes to". */
static void announce(struct serve *s, struct coord_config *c, bool relays)
{
	for (size_t i = 0; i < s->door_count; i++) {
		struct addr a = s->doors[i].udp.local;
		if ((&s->doors[i] == relay_door(s, a.family)) != relays)
			continue;
		if (is_any(&a))
			a = (struct addr) { .port = a.port };
		c->udp[c->udp_count++] = a;
	}
}

static int create_logic(struct serve *s)
{
	rng_init_system(&s->rng);
	s->slab = udp_slab_create();
	s->relay = relay_server_create(SERVE_NODES_MAX, SERVE_SESSIONS_MAX, &s->rng);
	s->timer = loop_timer_create(s->loop, on_due, s);
	s->http = http_server_create(s->loop, routes, sizeof routes / sizeof *routes, s);
	return s->slab && s->relay && s->timer && s->http ? 0 : -ENOMEM;
}

static int start(struct serve *s, const struct serve_config *config, struct addr *at)
{
	int rc = create_logic(s);

	if (rc == 0)
		rc = tls_server_config(&s->tls, config->key);
	if (rc == 0)
		rc = open_doors(s, config, at);
	if (rc)
		return rc;
	create_stun(s);
	struct coord_config announced = { .relay = s->relay, .rng = &s->rng, .max_nodes = SERVE_NODES_MAX };
	announce(s, &announced, true); /* first: a node takes the relay to be at the first of its family */
	announce(s, &announced, false);
	s->coord = coord_create(&announced);
	if (!s->coord)
		return -ENOMEM;
	loop_timer_set(s->timer, coord_deadline(s->coord));
	*at = config->tls;
	return stream_listen(&s->listener, s->loop, at, s->tls, http_server_accept, s->http);
}

int serve_create(struct serve **out, struct loop *l, const struct serve_config *config, struct addr *at)
{
	struct serve *s = calloc(1, sizeof *s);

	*out = NULL;
	*at = (struct addr) { 0 };
	if (!s)
		return -ENOMEM;
	s->loop = l;
	int rc = start(s, config, at);
	if (rc)
		serve_destroy(s);
	else
		*out = s;
	return rc;
}

void serve_destroy(struct serve *s)
{
	if (!s)
		return;
	while (s->links)
		link_close(s->links, WEBSOCKET_GOING_AWAY);
	stream_listener_close(s->listener);
	http_server_destroy(s->http);
	for (size_t i = 0; i < s->door_count; i++)
		udp_close(&s->doors[i].udp);
	if (s->coord)
		coord_destroy(s->coord);
	if (s->relay)
		relay_server_destroy(s->relay);
	loop_timer_destroy(s->timer);
	tls_config_destroy(s->tls);
	udp_slab_destroy(s->slab);
	crypto_wipe(&s->rng, sizeof s->rng);
	free(s);
}
