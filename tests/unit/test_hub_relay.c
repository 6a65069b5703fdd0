/* Nodes that relay over their links to a hub, by TLS on loopback. */
#include "hub_nodes.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_nodes_by_their_links_exchange_runs),
		cmocka_unit_test(a_member_of_another_network_relays_nothing),
		cmocka_unit_test(a_link_that_went_leaves_nothing_behind),
		cmocka_unit_test(a_slow_reader_loses_the_oldest_but_hears_the_hub),
		cmocka_unit_test(data_before_the_login_goes_nowhere),
	};

	return cmocka_run_group_tests(tests, setup_networks, NULL);
}
