/* Nodes that relay over their links to a hub, by TLS on loopback. */
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

static void stop(void *arg)
{
	loop_stop(arg);
}

static void run_for_a_moment(struct loop *l)
{
	struct loop_timer *t = loop_timer_create(l, stop, l);

	loop_timer_set(t, loop_now_ms() + 1);
	loop_run(l);
	loop_timer_destroy(t);
}

/* `n` on a loop of its own takes part. */
static void run_until(bool (*done)(const struct node *n), struct node *n)
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

static void say(struct node *n, const Link__ToHub *m)
{
	uint8_t buf[1024];
	size_t len = link__to_hub__get_packed_size(m);

	assert_in_range(len, 1, sizeof buf);
	link__to_hub__pack(m, buf);
	assert_int_equal(hub_link_send(n->link, buf, len), 0);
}

static ProtobufCBinaryData bin(const void *p, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)p, .len = len };
}

static void log_in(struct node *n, const uint8_t *nonce)
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

static void got_run(struct node *n, const struct relay_frame *f)
{
	uint32_t number = f->len >= 4 ? load_le32(f->data) : 0;

	n->runs++;
	n->datagrams += (unsigned)relay_frame_count(f);
	n->unordered |= n->runs > 1 && number <= n->last;
	n->last = number;
}

static void node_hears(void *arg, const uint8_t *msg, size_t len)
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

static void node_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	(void)remote;
	memcpy(((struct node *)arg)->exporter, exporter, 32);
}

static void node_down(void *arg, int error, const char *text)
{
	(void)error;
	(void)text;
	((struct node *)arg)->downs++;
}

static bool is_welcome(const struct node *n)
{
	return n->welcome;
}

static void connect_node(struct node *n, struct loop *l, const struct network *net, uint8_t seed)
{
	static const struct hub_link_handler node_handler = { node_up, node_hears, node_down };
	uint8_t ik_seed[32] = { seed };

	n->loop = l;
	n->net = net;
	crypto_ed25519_keypair(n->pk, n->sk, ik_seed);
	assert_int_equal(hub_link_create(&n->link, l, &w.url, &w.rng, &node_handler, n), 0);
}

static struct node *join(unsigned i, const struct network *net, struct loop *l)
{
	struct node *n = &nodes[i];

	memset(n, 0, sizeof *n);
	connect_node(n, l, net, (uint8_t)(i + 1));
	run_until(is_welcome, n);
	assert_int_not_equal(n->slot, 0);
	return n;
}

static void end_all(void)
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

static bool has_pongs(const struct node *n)
{
	return n->pongs >= pongs_wanted;
}

/* Until the hub has handled all that the node sent. */
static void settle(struct node *n)
{
	Link__Ping ping = LINK__PING__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	m.body_case = LINK__TO_HUB__BODY_PING;
	m.ping = &ping;
	pongs_wanted = n->pongs + 1;
	say(n, &m);
	run_until(has_pongs, n);
}

static bool has_session(const struct node *n)
{
	return n->session;
}

static void open_session(struct node *a, struct node *b)
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

static void move_to_link(struct node *n)
{
	uint8_t move[RELAY_MOVE_LEN];

	relay_frame_write_move(move);
	assert_int_equal(hub_link_send(n->link, move, sizeof move), 0);
	settle(n);
}

/* `count` datagrams of `stride` bytes, the first begins with `number`. */
static void send_run(struct node *n, uint32_t session, uint32_t number, size_t count, size_t stride)
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

static bool has_runs(const struct node *n)
{
	return n->runs >= runs_wanted;
}

static void expect_runs(struct node *n, unsigned count)
{
	runs_wanted = count;
	run_until(has_runs, n);
	assert_int_equal(n->runs, count);
}

/* --- A node's UDP. */

static void node_receives(void *arg, const struct udp_train *t)
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

static bool is_bound(const struct node *n)
{
	return n->binding.state == RELAY_IS_BOUND;
}

static void bind_by_udp(struct node *n)
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

static bool has_datagrams(const struct node *n)
{
	return n->datagrams >= datagrams_wanted;
}

static void expect_datagrams(struct node *n, unsigned count)
{
	datagrams_wanted = count;
	run_until(has_datagrams, n);
	assert_int_equal(n->datagrams, count);
}

static void send_train(struct node *n, uint32_t session, size_t count)
{
	static uint8_t train[64 * (RELAY_HEADER + BODY)];
	struct udp_train t = { train, count * (RELAY_HEADER + BODY), RELAY_HEADER + BODY, w.config.udp[0] };

	memset(train, 0, sizeof train);
	for (size_t i = 0; i < count; i++)
		relay_client_header(train + i * t.stride, session);
	assert_int_equal(udp_send_trains(&n->udp, &t, 1), 1);
}

/* --- The tests. */

static void two_nodes_by_their_links_exchange_runs(void **state)
{
	(void)state;
	begin(&w);
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, w.loop);

	open_session(a, b);
	send_run(a, a->session, 1, 3, BODY); /* b has no way yet */
	settle(a);
	assert_int_equal(relay_server_stats(w.hub->relay).undeliverable, 3);
	move_to_link(b);
	send_run(a, a->session, 2, 3, BODY);
	expect_runs(b, 1);
	assert_int_equal(b->got_len, RELAY_RUN_HEADER + 3 * BODY);
	assert_int_equal(load_le32(b->got + 4), a->session);
	assert_int_equal(b->last, 2);
	send_run(b, b->session, 3, 11, 1480);
	expect_runs(a, 1);
	assert_int_equal(a->datagrams, 11);
	/* The largest there is. */
	send_run(b, b->session, 4, 1, RELAY_RUN_MAX - RELAY_RUN_HEADER);
	expect_runs(a, 2);
	assert_int_equal(a->got_len, RELAY_RUN_MAX);
	assert_int_equal(a->downs + b->downs, 0);
	end_all();
}

static void one_by_udp_and_one_by_its_link_and_back(void **state)
{
	(void)state;
	begin(&w);
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, w.loop);

	open_session(a, b);
	bind_by_udp(b);
	send_run(a, a->session, 7, 5, BODY);
	expect_datagrams(b, 5);
	assert_int_equal(b->runs, 0);
	send_train(b, b->session, 20);
	expect_datagrams(a, 20);
	assert_true(a->runs >= 1);
	move_to_link(b);
	send_run(a, a->session, 8, 2, BODY);
	expect_runs(b, 1);
	bind_by_udp(b);
	send_run(a, a->session, 9, 2, BODY);
	expect_datagrams(b, 5 + 2 + 2);
	assert_int_equal(b->runs, 1);
	end_all();
}

/* `number` in a datagram of its own. */
static void send_datagram(struct node *n, uint32_t number, size_t len)
{
	uint8_t msg[RELAY_HEADER + BODY] = { 0 };

	relay_client_header(msg, n->session);
	store_le32(msg + RELAY_HEADER, number);
	assert_int_equal(udp_send_bytes(&n->udp, msg, RELAY_HEADER + len, &w.config.udp[0]), 0);
}

static void single_datagrams_of_two_sessions_leave_as_trains_in_order(void **state)
{
	enum { MANY = 300 };
	(void)state;
	begin(&w);
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, w.loop);
	struct node *c = join(2, &net_b, w.loop), *d = join(3, &net_b, w.loop);

	open_session(a, b);
	open_session(c, d);
	for (int i = 0; i < NODES; i++)
		bind_by_udp(&nodes[i]);
	const struct udp_stats *stats = &w.hub->doors[0].udp.stats;
	struct udp_stats before = *stats;
	/* All wait in the hub's socket before it runs. Some are shorter, some came together. */
	for (uint32_t i = 1; i <= MANY; i++) {
		send_datagram(a, i, i % 7 ? BODY : 4);
		send_datagram(c, i, BODY);
		if (i == MANY / 2)
			send_train(c, c->session, 3);
	}
	expect_datagrams(b, MANY);
	expect_datagrams(d, MANY + 3);
	assert_false(b->unordered || d->unordered);
	assert_int_equal(b->last, MANY);
	assert_int_equal(d->last, MANY);
	assert_int_equal(stats->tx - before.tx, 2 * MANY + 3);
	assert_in_range(stats->tx_trains - before.tx_trains, 1, 2 * MANY / 4);
	end_all();
}

static void a_member_of_another_network_relays_nothing(void **state)
{
	(void)state;
	begin(&w);
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, w.loop), *e = join(2, &net_b, w.loop);

	open_session(a, b);
	move_to_link(b);
	send_run(e, a->session, 1, 1, BODY);
	settle(e);
	assert_int_equal(relay_server_stats(w.hub->relay).unbound, 1);
	send_run(a, a->session, 2, 1, BODY);
	expect_runs(b, 1);
	assert_int_equal(b->last, 2);
	end_all();
}

static bool has_refused(unsigned count)
{
	return relay_server_stats(w.hub->relay).unbound >= count;
}

/* The same by UDP, by one of another network, one of the same who is not of this pair, and a stranger. */
static void guesses_by_udp_reach_nobody(void **state)
{
	(void)state;
	begin(&w);
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, w.loop), *c = join(2, &net_a, w.loop),
		    *e = join(3, &net_b, w.loop);

	open_session(a, b);
	bind_by_udp(a);
	bind_by_udp(b);
	bind_by_udp(c);
	bind_by_udp(e);
	uint32_t session = a->session;
	send_train(c, session, 1);
	send_train(e, session, 1);
	for (uint32_t i = 1; i <= 100; i++) {
		send_train(c, session + i, 1);
		send_train(e, session ^ i, 1);
	}
	while (!has_refused(202))
		run_for_a_moment(w.loop);
	assert_int_equal(relay_server_stats(w.hub->relay).forwarded, 0);
	send_train(a, session, 3);
	expect_datagrams(b, 3);
	send_train(b, session, 2);
	expect_datagrams(a, 2);
	assert_int_equal(c->datagrams + e->datagrams, 0);
	end_all();
}

static void a_link_that_went_leaves_nothing_behind(void **state)
{
	(void)state;
	begin(&w);
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, w.loop);

	open_session(a, b);
	move_to_link(b);
	assert_int_equal(relay_server_stats(w.hub->relay).by_link, 1);
	hub_link_destroy(b->link);
	b->link = NULL;
	while (coord_stats(w.hub->coord).online > 1)
		run_for_a_moment(w.loop);
	send_run(a, a->session, 1, 1, BODY);
	settle(a);
	assert_int_equal(relay_server_stats(w.hub->relay).undeliverable, 1);
	/* Back within its slot's time: the session is the same, the way is new. */
	uint32_t session = a->session;
	b = join(1, &net_a, w.loop);
	move_to_link(b);
	send_run(a, session, 2, 1, BODY);
	expect_runs(b, 1);
	end_all();
}

static bool is_introduced(const struct node *n)
{
	return n->introduced;
}

/* b stands still, until a has sent far more than fits into b's and the hub's sockets. */
static void flood(struct node *a, const struct node *b, const struct node *c, uint32_t *number)
{
	for (int round = 0; w.hub->frames.dropped < 100; round++) {
		assert_in_range(round, 0, 800);
		for (int i = 0; i < 8; i++)
			send_run(a, b->session, ++*number, 1, RELAY_RUN_MAX - RELAY_RUN_HEADER);
		settle(a);
		/* Others do not notice. */
		unsigned before = c->runs;
		send_run(a, c->session, *number, 1, BODY);
		expect_runs((struct node *)c, before + 1);
	}
}

static uint32_t last_wanted;

static bool has_last(const struct node *n)
{
	return n->last == last_wanted;
}

static void a_slow_reader_loses_the_oldest_but_hears_the_hub(void **state)
{
	(void)state;
	begin(&w);
	struct loop *slow = loop_create();
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, slow), *c = join(2, &net_a, w.loop);
	uint32_t number = 0;

	open_session(a, c);
	uint32_t with_c = a->session;
	move_to_link(c);
	open_session(a, b);
	move_to_link(b);
	c->session = with_c;
	flood(a, b, c, &number);
	assert_true(w.hub->frames.bytes <= FRAME_QUEUE_BYTES);
	Link__Introduce i = LINK__INTRODUCE__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;
	i.ik = bin(b->pk, 32);
	m.body_case = LINK__TO_HUB__BODY_INTRODUCE;
	m.introduce = &i;
	say(a, &m);
	settle(a);
	last_wanted = number;
	run_until(has_last, b);
	assert_true(is_introduced(b));
	assert_false(b->unordered);
	assert_int_equal(b->runs, number - w.hub->frames.dropped);
	/* What waited in the queue came after the introduction, though it was sent before. */
	assert_in_range(b->runs - b->runs_at_introduction, FRAME_QUEUE_BYTES / RELAY_RUN_MAX - 1,
			FRAME_QUEUE_MESSAGES);
	assert_int_equal(w.hub->frames.users + w.hub->frames.bytes, 0);
	assert_int_equal(a->downs + b->downs + c->downs, 0);
	end_all();
}

static bool is_challenged(const struct node *n)
{
	return n->challenged;
}

/* A link that nobody has logged in over has no slot. */
static void data_before_the_login_goes_nowhere(void **state)
{
	(void)state;
	begin(&w);
	struct node *a = join(0, &net_a, w.loop), *b = join(1, &net_a, w.loop), *x = &nodes[2];

	open_session(a, b);
	move_to_link(b);
	x->mute = true;
	connect_node(x, w.loop, &net_a, 3);
	run_until(is_challenged, x);
	send_run(x, a->session, 1, 1, BODY);
	send_run(a, a->session, 2, 1, BODY);
	expect_runs(b, 1);
	settle(a);
	assert_int_equal(b->last, 2);
	assert_int_equal(relay_server_stats(w.hub->relay).forwarded, 1);
	end_all();
}

static int setup(void **state)
{
	(void)state;
	return crypto_init() || network_from_secret(&net_a, "a", "a secret for tests", 18) ||
	       network_from_secret(&net_b, "b", "another secret here", 19);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_nodes_by_their_links_exchange_runs),
		cmocka_unit_test(one_by_udp_and_one_by_its_link_and_back),
		cmocka_unit_test(single_datagrams_of_two_sessions_leave_as_trains_in_order),
		cmocka_unit_test(a_member_of_another_network_relays_nothing),
		cmocka_unit_test(guesses_by_udp_reach_nobody),
		cmocka_unit_test(a_link_that_went_leaves_nothing_behind),
		cmocka_unit_test(a_slow_reader_loses_the_oldest_but_hears_the_hub),
		cmocka_unit_test(data_before_the_login_goes_nowhere),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
