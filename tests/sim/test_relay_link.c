/* Whole nodes where UDP does not get through to the hub: the relay goes over their links to it, at once where it was
 * known, soon where UDP dies, and by UDP again when it can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim.h"

enum { SECOND = 1000, STEP_MS = 50, JOIN_MS = 3 * SECOND, UP_MS = 4 * SECOND, GAP_MS = 2 * SECOND };

struct world {
	struct sim sim;
	struct sim_node *a, *b;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w)
		return -1;
	sim_init(&w->sim, 11);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	sim_free(&w->sim);
	free(w);
	return 0;
}

static void block(struct sim_node *n, bool blocked)
{
	n->site->udp_blocked = n->site->udp_deaf = blocked;
}

/* Two nodes, of whose sites those let no UDP out. */
static void start(struct world *w, bool a_blocked, bool b_blocked)
{
	w->a = sim_node(&w->sim, NAT_PORT_RESTRICTED);
	w->b = sim_node(&w->sim, NAT_PORT_RESTRICTED);
	block(w->a, a_blocked);
	block(w->b, b_blocked);
	assert_true(sim_run_joined(&w->sim, JOIN_MS));
	sim_run(&w->sim, 200); /* until both have heard of each other */
}

static uint64_t longest_gap(struct world *w, uint64_t ms)
{
	return sim_longest_gap(&w->sim, w->a, w->b, STEP_MS, ms);
}

static void relayed_by(const struct sim_node *n, bool by_link)
{
	assert_int_equal(n->engine->by_link, by_link);
}

static void data_flows_where_one_end_or_both_have_no_udp(void **state)
{
	(void)state;
	static const bool cases[][2] = { { true, false }, { false, true }, { true, true } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct world *w = calloc(1, sizeof *w);
		assert_non_null(w);
		sim_init(&w->sim, i + 1);
		start(w, cases[i][0], cases[i][1]);
		assert_in_range(longest_gap(w, 10 * SECOND), 0, UP_MS);
		assert_in_range(longest_gap(w, 60 * SECOND), 0, 4 * STEP_MS);
		relayed_by(w->a, cases[i][0]);
		relayed_by(w->b, cases[i][1]);
		assert_int_equal(sim_way(w->a, w->b), ENGINE_WAY_RELAY);
		assert_int_equal(sim_way(w->b, w->a), ENGINE_WAY_RELAY);
		assert_true(w->sim.runs > 0);
		sim_free(&w->sim);
		free(w);
	}
}

static void a_join_does_not_wait_for_udp(void **state)
{
	struct world *w = *state;

	start(w, true, false);
	assert_in_range(w->a->joined_ms - 1000000, 0, 1 * SECOND);
}

/* Only what goes directly is cut, so that the relay carries all until UDP is cut, too. */
static void relayed_pair(struct world *w)
{
	w->sim.cut_direct = true;
	start(w, false, false);
	longest_gap(w, 5 * SECOND);
	relayed_by(w->a, false);
	assert_int_equal(sim_way(w->a, w->b), ENGINE_WAY_RELAY);
}

static void udp_that_dies_costs_two_seconds_at_most(void **state)
{
	struct world *w = *state;

	relayed_pair(w);
	block(w->a, true);
	assert_in_range(longest_gap(w, 10 * SECOND), 500, GAP_MS);
	relayed_by(w->a, true);
	relayed_by(w->b, false);
	assert_in_range(longest_gap(w, 20 * SECOND), 0, 4 * STEP_MS);
}

static void so_does_udp_that_dies_in_one_direction(void **state)
{
	struct world *w = *state;

	relayed_pair(w);
	w->a->site->udp_blocked = true;
	assert_in_range(longest_gap(w, 10 * SECOND), 500, GAP_MS);
	relayed_by(w->a, true);
	w->b->site->udp_deaf = true;
	assert_in_range(longest_gap(w, 10 * SECOND), 500, GAP_MS);
	relayed_by(w->b, true);
}

static void so_does_a_direct_path_that_dies_with_it(void **state)
{
	struct world *w = *state;

	start(w, false, false);
	longest_gap(w, 5 * SECOND);
	assert_int_equal(sim_way(w->a, w->b), ENGINE_WAY_DIRECT);
	block(w->a, true);
	assert_in_range(longest_gap(w, 10 * SECOND), 500, GAP_MS);
	relayed_by(w->a, true);
}

static void udp_is_used_again_without_a_gap(void **state)
{
	struct world *w = *state;

	start(w, true, true);
	longest_gap(w, 20 * SECOND);
	relayed_by(w->a, true);
	block(w->a, false);
	block(w->b, false);
	assert_in_range(longest_gap(w, 10 * SECOND), 0, 10 * STEP_MS);
	relayed_by(w->a, false);
	relayed_by(w->b, false);
	longest_gap(w, 30 * SECOND);
	assert_int_equal(sim_way(w->a, w->b), ENGINE_WAY_DIRECT);
	assert_int_equal(sim_way(w->b, w->a), ENGINE_WAY_DIRECT);
}

/* The hub sends by UDP again, too, though what was under way over the link came to it after the proof. */
static void the_hub_follows_to_udp(void **state)
{
	struct world *w = *state;

	w->sim.cut_direct = true;
	start(w, true, false);
	longest_gap(w, 10 * SECOND);
	block(w->a, false);
	longest_gap(w, 10 * SECOND);
	relayed_by(w->a, false);
	uint64_t runs = w->sim.runs;
	assert_in_range(longest_gap(w, 10 * SECOND), 0, 4 * STEP_MS);
	assert_int_equal(w->sim.runs, runs);
}

/* What was known of UDP is known yet: nothing waits for it again. */
static void a_link_that_comes_back_is_used_at_once(void **state)
{
	struct world *w = *state;

	start(w, true, false);
	longest_gap(w, 5 * SECOND);
	sim_hub_kill(&w->sim);
	sim_run(&w->sim, 300);
	relayed_by(w->a, false);
	assert_int_equal(sim_way(w->a, w->b), ENGINE_WAY_NONE);
	sim_hub_start(&w->sim);
	assert_in_range(longest_gap(w, 10 * SECOND), 0, 3 * SECOND);
	relayed_by(w->a, true);
}

static void a_peer_that_comes_back_is_reached_over_the_link(void **state)
{
	struct world *w = *state;

	start(w, true, true);
	longest_gap(w, 5 * SECOND);
	sim_node_kill(&w->sim, w->b);
	sim_run(&w->sim, 90 * SECOND); /* its slot goes, too */
	sim_node_start(&w->sim, w->b);
	assert_true(sim_run_joined(&w->sim, JOIN_MS));
	uint64_t got = w->b->received;
	for (int i = 0; i < 100; i++) {
		sim_send(&w->sim, w->a, w->b);
		sim_run(&w->sim, STEP_MS);
	}
	assert_true(w->b->received > got + 40);
}

/* No technique of many ports is tried, nor the hub asked again and again. */
static void without_udp_nothing_is_tried_for_nothing(void **state)
{
	struct world *w = *state;

	start(w, true, false);
	longest_gap(w, 10 * SECOND);
	uint64_t before = w->sim.datagrams, direct = w->sim.direct_datagrams;
	longest_gap(w, 60 * SECOND);
	assert_int_equal(sim_peer(w->a, w->b)->rounds_failed, 0);
	assert_in_range(w->sim.direct_datagrams - direct, 0, 200);
	assert_true(w->sim.datagrams > before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_flows_where_one_end_or_both_have_no_udp),
		cmocka_unit_test_setup_teardown(a_join_does_not_wait_for_udp, set_up, tear_down),
		cmocka_unit_test_setup_teardown(udp_that_dies_costs_two_seconds_at_most, set_up, tear_down),
		cmocka_unit_test_setup_teardown(so_does_udp_that_dies_in_one_direction, set_up, tear_down),
		cmocka_unit_test_setup_teardown(so_does_a_direct_path_that_dies_with_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(udp_is_used_again_without_a_gap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_hub_follows_to_udp, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_link_that_comes_back_is_used_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_peer_that_comes_back_is_reached_over_the_link, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(without_udp_nothing_is_tried_for_nothing, set_up, tear_down),
	};

	log_set_level(getenv("SIM_LOG") ? LOG_LVL_DEBUG : LOG_LVL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
