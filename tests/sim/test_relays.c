/* Whole nodes and relays beside the hub's: they measure, choose a home, reach each other there, and go by the hub's when
 * that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "apps/p2pd/engine_internal.h"
#include "tests/sim/sim.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, STEP_MS = 50, FAR_MS = 80, NEAR_MS = 5 };

struct world {
	struct sim sim;
	struct sim_node *a, *b;
	struct sim_relay *relay;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w)
		return -1;
	sim_init(&w->sim, 21);
	w->sim.hub_ms = FAR_MS;
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

/* Two nodes that cannot reach each other directly, and a relay so far away. */
static void start(struct world *w, uint32_t relay_ms)
{
	w->relay = sim_relay(&w->sim, relay_ms);
	w->sim.cut_direct = true;
	sim_hub_kill(&w->sim);
	sim_hub_start(&w->sim);
	w->a = sim_node(&w->sim, NAT_SYMMETRIC);
	w->b = sim_node(&w->sim, NAT_SYMMETRIC);
	assert_true(sim_run_joined(&w->sim, 5 * SECOND));
	sim_run(&w->sim, 6 * SECOND);
}

static uint64_t longest_gap(struct world *w, uint64_t ms)
{
	return sim_longest_gap(&w->sim, w->a, w->b, STEP_MS, ms);
}

static bool by_home(struct sim_node *a, struct sim_node *b)
{
	return engine_away_is_used(sim_peer(a, b));
}

static void a_nearer_relay_becomes_home_and_carries_the_data(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	assert_ptr_equal(w->a->engine->home, &w->a->engine->aways[0]);
	assert_true(longest_gap(w, 3 * SECOND) < SECOND);
	assert_true(by_home(w->a, w->b) && by_home(w->b, w->a));
	uint64_t before = w->relay->forwarded, hub = relay_server_stats(w->sim.relay).forwarded;
	assert_true(longest_gap(w, 5 * SECOND) <= 2 * STEP_MS);
	assert_true(w->relay->forwarded - before >= 2 * 5 * SECOND / STEP_MS);
	assert_int_equal(relay_server_stats(w->sim.relay).forwarded, hub);
}

/* It was bound there for a peer's sake before it knew that it is the nearest. */
static void a_relay_that_is_used_already_can_become_home(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	struct sim_node *late = sim_node(&w->sim, NAT_SYMMETRIC);
	assert_true(sim_run_joined(&w->sim, 5 * SECOND));
	for (uint64_t end = w->sim.now_ms + 10 * SECOND; w->sim.now_ms < end;) {
		sim_send(&w->sim, late, w->a);
		sim_run(&w->sim, STEP_MS);
	}
	assert_ptr_equal(late->engine->home, &late->engine->aways[0]);
}

static void a_relay_that_is_hardly_nearer_is_left_alone(void **state)
{
	struct world *w = *state;

	start(w, FAR_MS - 4);
	sim_run(&w->sim, 30 * MINUTE);
	assert_null(w->a->engine->home);
	longest_gap(w, 3 * SECOND);
	assert_int_equal(w->relay->forwarded, 0);
}

/* Checks that UDP gets through ask the hub's relay the same, and their answers come meanwhile. */
static void the_hub_is_measured_right_while_data_flows(void **state)
{
	struct world *w = *state;
	struct engine *e;

	start(w, FAR_MS - 4);
	e = w->a->engine;
	for (int i = 0; i < 40; i++) {
		engine_aways_measure(e, w->sim.now_ms);
		longest_gap(w, 4 * SECOND + 7 * (uint64_t)i);
		assert_true(e->hub_relay_rtt_known);
		assert_in_range(e->hub_relay_rtt_ms, 2 * FAR_MS, 3 * FAR_MS);
	}
}

static void home_moves_only_after_two_measurements(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	struct engine_away *home = w->a->engine->home;
	assert_non_null(home);
	w->relay->one_way_ms = 2 * FAR_MS;
	sim_run(&w->sim, 11 * MINUTE);
	assert_null(w->a->engine->home);
	/* Near for one measurement only. */
	w->relay->one_way_ms = NEAR_MS;
	while (w->a->engine->measure_aways_ms - w->sim.now_ms > 2 * SECOND)
		sim_run(&w->sim, SECOND);
	sim_run(&w->sim, 5 * SECOND);
	assert_ptr_equal(w->a->engine->next_home, home);
	w->relay->one_way_ms = 2 * FAR_MS;
	sim_run(&w->sim, MINUTE);
	assert_null(w->a->engine->home);
}

static void a_dying_relay_costs_less_than_two_seconds(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	longest_gap(w, 3 * SECOND);
	assert_true(by_home(w->a, w->b));
	sim_relay_kill(w->relay);
	uint64_t gap = longest_gap(w, 10 * SECOND);
	assert_in_range(gap, STEP_MS, 2 * SECOND);
	assert_false(by_home(w->a, w->b) || by_home(w->b, w->a));
	sim_run(&w->sim, MINUTE);
	assert_null(w->a->engine->home);
	assert_null(w->b->engine->home);
}

static void a_relay_that_comes_back_is_used_again(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	sim_relay_kill(w->relay);
	sim_run(&w->sim, 2 * MINUTE);
	assert_null(w->a->engine->home);
	sim_relay_start(&w->sim, w->relay);
	sim_run(&w->sim, 12 * MINUTE);
	assert_non_null(w->a->engine->home);
	assert_true(longest_gap(w, 5 * SECOND) < SECOND);
	assert_true(by_home(w->a, w->b) && by_home(w->b, w->a));
}

/* It forgets who was there: the sessions are opened anew. */
static void a_restarted_relay_costs_less_than_two_seconds(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	longest_gap(w, 3 * SECOND);
	sim_relay_kill(w->relay);
	sim_relay_start(&w->sim, w->relay);
	assert_true(longest_gap(w, 30 * SECOND) <= 2 * SECOND);
	assert_true(by_home(w->a, w->b) && by_home(w->b, w->a));
}

static void the_hubs_end_is_not_noticed_by_who_is_relayed_elsewhere(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	longest_gap(w, 3 * SECOND);
	sim_hub_kill(&w->sim);
	assert_true(longest_gap(w, MINUTE) <= 2 * STEP_MS);
}

/* A ping by it is answered only after others were sent. */
static void a_long_way_by_the_home_relay_is_a_way(void **state)
{
	struct world *w = *state;

	w->sim.hub_ms = 250;
	start(w, 150);
	assert_non_null(w->a->engine->home);
	longest_gap(w, 8 * SECOND);
	assert_true(by_home(w->a, w->b) && by_home(w->b, w->a));
	uint64_t before = w->relay->forwarded;
	longest_gap(w, 10 * SECOND);
	assert_true(by_home(w->a, w->b) && by_home(w->b, w->a));
	assert_true(w->relay->forwarded - before >= 2 * 9 * SECOND / STEP_MS);
}

static void an_idle_node_keeps_its_home_open(void **state)
{
	struct world *w = *state;

	start(w, NEAR_MS);
	sim_run(&w->sim, 20 * MINUTE);
	assert_non_null(w->b->engine->home);
	assert_true(longest_gap(w, 5 * SECOND) < SECOND);
	assert_true(by_home(w->a, w->b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_nearer_relay_becomes_home_and_carries_the_data, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_relay_that_is_used_already_can_become_home, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_relay_that_is_hardly_nearer_is_left_alone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_hub_is_measured_right_while_data_flows, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(home_moves_only_after_two_measurements, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_dying_relay_costs_less_than_two_seconds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_relay_that_comes_back_is_used_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_restarted_relay_costs_less_than_two_seconds, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_hubs_end_is_not_noticed_by_who_is_relayed_elsewhere,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_long_way_by_the_home_relay_is_a_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_idle_node_keeps_its_home_open, set_up, tear_down),
	};

	crypto_init();
	log_set_levels("error");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
