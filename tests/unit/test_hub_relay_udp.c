/* Nodes that relay by UDP on loopback, or one of them. */
#include "hub_nodes.h"

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
	enum { MANY = 200 };
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
	/* Some 35: a short one ends a train, and what the hub gathers of one system call alone would be 60. */
	assert_in_range(stats->tx_trains - before.tx_trains, 1, 45);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_by_udp_and_one_by_its_link_and_back),
		cmocka_unit_test(single_datagrams_of_two_sessions_leave_as_trains_in_order),
		cmocka_unit_test(guesses_by_udp_reach_nobody),
	};

	return cmocka_run_group_tests(tests, setup_networks, NULL);
}
