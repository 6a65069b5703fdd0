/* Nodes that relay by a hub, over their links (TLS) or UDP on loopback. */
#ifndef P2PD_TESTS_HUB_NODES_H
#define P2PD_TESTS_HUB_NODES_H

#include "hub_world.h"

#include <time.h>

#include "apps/p2phub/serve_internal.h"
#include "core/bytes.h"
#include "core/cert.h"
#include "core/network.h"
#include "relay/proto/link.pb-c.h"
#include "relay/relay_client.h"
#include "relay/relay_frame.h"
#include "relay/relay_server.h"

enum { NODES = 4, BODY = 100 };

struct node {
	struct loop *loop; /* the world's, or its own: then it stands still while that does not run */
	struct hub_link *link;
	uint8_t pk[32], sk[64], exporter[32];
	const struct network *net;
	bool mute; /* it does not log in */
	bool challenged, welcome, introduced;
	unsigned pongs, downs;
	uint32_t slot, session; /* the last that it was told of */
	uint8_t token[RELAY_TOKEN];
	struct udp_socket udp;
	struct relay_client binding;
	/* Relayed data that came. */
	unsigned runs, datagrams, runs_at_introduction;
	uint32_t last;	/* the first 4 bytes of the latest */
	bool unordered; /* these did not always grow */
	uint8_t got[RELAY_RUN_MAX];
	size_t got_len;
};

static struct network net_a, net_b;
static struct world w;
static struct node nodes[NODES];

/* --- Turns of the loops. */

static inline void stop(void *arg)
{
	loop_stop(arg);
}

static inline void run_for_a_moment(struct loop *l)
{
	struct loop_timer *t = loop_timer_create(l, stop, l);

	loop_timer_set(t, loop_now_ms() + 1);
	loop_run(l);
	loop_timer_destroy(t);
}

/* `n` on a loop of its own takes part. */
static inline void run_until(bool (*done)(const struct node *n), struct node *n)
{
	uint64_t until = loop_now_ms() + 30000;

	while (!done(n)) {
		run_for_a_moment(w.loop);
		if (n->loop != w.loop)
			run_for_a_moment(n->loop);
		if (loop_now_ms() > until)
			fail_msg("waited in vain");
	}
}

/* --- A node. */

static inline void say(struct node *n, const Link__ToHub *m)
{
	uint8_t buf[1024];
	size_t len = link__to_hub__get_packed_size(m);

	assert_in_range(len, 1, sizeof buf);
	link__to_hub__pack(m, buf);
	assert_int_equal(hub_link_send(n->link, buf, len), 0);
}

static inline ProtobufCBinaryData bin(const void *p, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)p, .len = len };
}

static inline void log_in(struct node *n, const uint8_t *nonce)
{
	uint8_t text[9 + 32 + 32 + 32], sig[64], pass[64];
	Link__Login l = LINK__LOGIN__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	memcpy(text, "p2pd1/hub", 9);
	memcpy(text + 9, n->exporter, 32);
	memcpy(text + 41, n->net->netid, 32);
	memcpy(text + 73, nonce, 32);
	crypto_ed25519_sign(sig, text, sizeof text, n->sk);
	l.version = 1;
	l.pass_not_after = (uint64_t)time(NULL) + 3600;
	cert_pass_issue(pass, n->net, n->pk, l.pass_not_after);
	l.netid = bin(n->net->netid, 32);
	l.root_pk = bin(n->net->root_pk, 32);
	l.ik = bin(n->pk, 32);
	l.pass_sig = bin(pass, sizeof pass);
	l.sig = bin(sig, sizeof sig);
	m.body_case = LINK__TO_HUB__BODY_LOGIN;
	m.login = &l;
	say(n, &m);
}

static inline void got_run(struct node *n, const struct relay_frame *f)
{
	uint32_t number = f->len >= 4 ? load_le32(f->data) : 0;

	n->runs++;
	n->datagrams += (unsigned)relay_frame_count(f);
	n->unordered |= n->runs > 1 && number <= n->last;
	n->last = number;
}

static inline void node_hears(void *arg, const uint8_t *msg, size_t len)
{
	struct node *n = arg;
	struct relay_frame f;

	if (relay_frame_read(&f, msg, len)) {
		memcpy(n->got, msg, len);
		n->got_len = len;
		got_run(n, &f);
		return;
	}
	Link__ToNode *m = link__to_node__unpack(NULL, len, msg);
	assert_non_null(m);
	switch (m->body_case) {
	case LINK__TO_NODE__BODY_CHALLENGE:
		n->challenged = true;
		if (!n->mute)
			log_in(n, m->challenge->nonce.data);
		break;
	case LINK__TO_NODE__BODY_WELCOME:
		n->welcome = true;
		n->slot = m->welcome->bind_slot;
		memcpy(n->token, m->welcome->bind_token.data, RELAY_TOKEN);
		break;
	case LINK__TO_NODE__BODY_RELAY_SESSION: n->session = m->relay_session->session; break;
	case LINK__TO_NODE__BODY_INTRODUCTION:
		n->introduced = true;
		n->runs_at_introduction = n->runs;
		break;
	case LINK__TO_NODE__BODY_PONG: n->pongs++; break;
	default: break;
	}
	link__to_node__free_unpacked(m, NULL);
}

static inline void node_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	(void)remote;
	memcpy(((struct node *)arg)->exporter, exporter, 32);
}

static inline void node_down(void *arg, int error, const char *text)
{
	(void)error;
	(void)text;
	((struct node *)arg)->downs++;
}

static inline bool is_welcome(const struct node *n)
{
	return n->welcome;
}

static inline void connect_node(struct node *n, struct loop *l, const struct network *net, uint8_t seed)
{
	static const struct hub_link_handler node_handler = { node_up, node_hears, node_down };
	uint8_t ik_seed[32] = { seed };

	n->loop = l;
	n->net = net;
	crypto_ed25519_keypair(n->pk, n->sk, ik_seed);
	assert_int_equal(hub_link_create(&n->link, l, &w.url, &w.rng, &node_handler, n), 0);
}

static inline struct node *join(unsigned i, const struct network *net, struct loop *l)
{
	struct node *n = &nodes[i];

	memset(n, 0, sizeof *n);
	connect_node(n, l, net, (uint8_t)(i + 1));
	run_until(is_welcome, n);
	assert_int_not_equal(n->slot, 0);
	return n;
}

static inline void end_all(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		hub_link_destroy(nodes[i].link);
		udp_close(&nodes[i].udp);
		if (nodes[i].loop && nodes[i].loop != w.loop)
			loop_destroy(nodes[i].loop);
		memset(&nodes[i], 0, sizeof nodes[i]);
	}
	end(&w);
}

static unsigned pongs_wanted;

static inline bool has_pongs(const struct node *n)
{
	return n->pongs >= pongs_wanted;
}

/* Until the hub has handled all that the node sent. */
static inline void settle(struct node *n)
{
	Link__Ping ping = LINK__PING__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	m.body_case = LINK__TO_HUB__BODY_PING;
	m.ping = &ping;
	pongs_wanted = n->pongs + 1;
	say(n, &m);
	run_until(has_pongs, n);
}

static inline bool has_session(const struct node *n)
{
	return n->session;
}

static inline void open_session(struct node *a, struct node *b)
{
	Link__RelayOpen open = LINK__RELAY_OPEN__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	a->session = b->session = 0;
	open.ik = bin(b->pk, 32);
	m.body_case = LINK__TO_HUB__BODY_RELAY_OPEN;
	m.relay_open = &open;
	say(a, &m);
	run_until(has_session, a);
	run_until(has_session, b);
	assert_int_equal(a->session, b->session);
}

static inline void move_to_link(struct node *n)
{
	uint8_t move[RELAY_MOVE_LEN];

	relay_frame_write_move(move);
	assert_int_equal(hub_link_send(n->link, move, sizeof move), 0);
	settle(n);
}

/* `count` datagrams of `stride` bytes, the first begins with `number`. */
static inline void send_run(struct node *n, uint32_t session, uint32_t number, size_t count, size_t stride)
{
	static uint8_t run[RELAY_RUN_MAX];
	size_t len = RELAY_RUN_HEADER + count * stride;

	memset(run, 0, sizeof run);
	run[0] = RELAY_DATA;
	store_le32(run + 4, session);
	store_le16(run + 8, (uint16_t)stride);
	store_le32(run + RELAY_RUN_HEADER, number);
	assert_int_equal(hub_link_send(n->link, run, len), 0);
}

static unsigned runs_wanted;

static inline bool has_runs(const struct node *n)
{
	return n->runs >= runs_wanted;
}

static inline void expect_runs(struct node *n, unsigned count)
{
	runs_wanted = count;
	run_until(has_runs, n);
	assert_int_equal(n->runs, count);
}

/* --- A node's UDP. */

static inline void node_receives(void *arg, const struct udp_train *t)
{
	struct node *n = arg;
	uint8_t next[RELAY_CLIENT_MESSAGE_MAX];

	if (t->data[0] == RELAY_CONTROL)
		relay_client_on_message(&n->binding, t->data, t->len, &t->addr, loop_now_ms());
	for (size_t off = 0; t->data[0] == RELAY_DATA && off < t->len; off += t->stride) {
		uint32_t number = load_le32(t->data + off + RELAY_HEADER);
		n->unordered |= n->datagrams++ && number && number <= n->last;
		n->last = number;
	}
	size_t len = relay_client_next(&n->binding, loop_now_ms(), next);
	if (len)
		udp_send_bytes(&n->udp, next, len, &w.config.udp[0]);
}

static inline bool is_bound(const struct node *n)
{
	return n->binding.state == RELAY_IS_BOUND;
}

static inline void bind_by_udp(struct node *n)
{
	static const struct udp_handler udp_handler = { .on_train = node_receives };
	struct addr local;
	uint8_t first[RELAY_CLIENT_MESSAGE_MAX];

	addr_parse(&local, "127.0.0.1", 1);
	local.port = 0;
	if (!udp_is_open(&n->udp))
		assert_int_equal(udp_open(&n->udp, w.loop, w.slab, UDP_OFFLOAD_GRO, &local, &udp_handler, n),
				 0);
	memset(&n->binding, 0, sizeof n->binding);
	relay_client_start(&n->binding, &w.config.udp[0], n->slot, n->token, loop_now_ms());
	size_t len = relay_client_next(&n->binding, loop_now_ms(), first);
	assert_int_equal(udp_send_bytes(&n->udp, first, len, &w.config.udp[0]), 0);
	run_until(is_bound, n);
}

static unsigned datagrams_wanted;

static inline bool has_datagrams(const struct node *n)
{
	return n->datagrams >= datagrams_wanted;
}

static inline void expect_datagrams(struct node *n, unsigned count)
{
	datagrams_wanted = count;
	run_until(has_datagrams, n);
	assert_int_equal(n->datagrams, count);
}

static inline void send_train(struct node *n, uint32_t session, size_t count)
{
	static uint8_t train[64 * (RELAY_HEADER + BODY)];
	struct udp_train t = { train, count * (RELAY_HEADER + BODY), RELAY_HEADER + BODY, w.config.udp[0] };

	memset(train, 0, sizeof train);
	for (size_t i = 0; i < count; i++)
		relay_client_header(train + i * t.stride, session);
	assert_int_equal(udp_send_trains(&n->udp, &t, 1), 1);
}

static inline int setup_networks(void **state)
{
	(void)state;
	return crypto_init() || network_from_secret(&net_a, "a", "a secret for tests", 18) ||
	       network_from_secret(&net_b, "b", "another secret here", 19);
}

#endif
