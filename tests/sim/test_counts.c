/* What nodes count, in whole worlds: each event once, and the same at both ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim.h"

static struct sim sim;
static struct sim_node *a, *b;

static void begin(enum sim_nat_kind ours, enum sim_nat_kind theirs)
{
	sim_init(&sim, 7);
	a = sim_node(&sim, ours);
	b = sim_node(&sim, theirs);
	assert_true(sim_run_joined(&sim, 10000));
	sim_run(&sim, 3000);
}

static void talk(unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 10; i++) {
		sim_send(&sim, a, b);
		sim_run(&sim, 100);
	}
}

static uint64_t observed(const struct engine_histogram *h)
{
	uint64_t n = 0;

	for (int i = 0; i <= ENGINE_BOUNDS; i++)
		n += h->counts[i];
	return n;
}

static uint64_t opened(const struct engine_counts *c)
{
	uint64_t n = 0;

	for (int i = 0; i < ENGINE_OPENERS; i++)
		n += c->opened[i];
	return n;
}

static uint64_t packets(const struct engine_traffic *t)
{
	return t[ENGINE_KIND_DIRECT].packets + t[ENGINE_KIND_RELAY_UDP].packets +
	       t[ENGINE_KIND_RELAY_TLS].packets;
}

static void a_direct_path_is_counted_once(void **state)
{
	(void)state;
	begin(NAT_PORT_RESTRICTED, NAT_PORT_RESTRICTED);
	const struct engine_counts *c = &a->engine->counts, *d = &b->engine->counts;

	talk(5);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_DIRECT);
	assert_int_equal(c->attempts[TECHNIQUE_SIMULTANEOUS_OPEN][OUTCOME_DIRECT], 1);
	assert_int_equal(opened(c), 1);
	assert_int_equal(opened(d), 1);
	/* Only a wanted it; how long that took. */
	assert_int_equal(observed(&c->to_direct), 1);
	assert_in_range(c->to_direct.sum_ms, 1, 2000);
	assert_true(observed(&c->rtt[ENGINE_KIND_DIRECT]) > 1);
	assert_int_equal(c->handshakes_begun + c->handshakes_answered, 1);
	assert_int_equal(c->handshakes_begun, d->handshakes_answered);
	assert_int_equal(c->handshakes_answered, d->handshakes_begun);
	sim_free(&sim);
}

static void what_one_sends_the_other_receives(void **state)
{
	(void)state;
	begin(NAT_PORT_RESTRICTED, NAT_PORT_RESTRICTED);
	const struct engine_counts *c = &a->engine->counts, *d = &b->engine->counts;

	talk(5);
	sim_run(&sim, 1000);
	assert_int_equal(packets(c->out), packets(d->in));
	assert_int_equal(packets(d->out), packets(c->in));
	assert_in_range(packets(c->out), 50, 80);
	assert_true(c->out[ENGINE_KIND_RELAY_UDP].packets > 0); /* until there was a direct path */
	assert_true(c->out[ENGINE_KIND_DIRECT].packets > 40);
	assert_in_range(c->out[ENGINE_KIND_DIRECT].bytes, 40 * 20, 80 * 1500);
	sim_free(&sim);
}

static void what_is_relayed_is_counted_as_that(void **state)
{
	(void)state;
	begin(NAT_PORT_RESTRICTED, NAT_PORT_RESTRICTED);
	const struct engine_counts *c = &a->engine->counts;

	sim.cut_direct = true;
	talk(10);
	sim_ping(&sim, a, b);
	sim_run(&sim, 1000);
	assert_int_equal(c->out[ENGINE_KIND_DIRECT].packets, 0);
	assert_true(c->out[ENGINE_KIND_RELAY_UDP].packets > 80);
	assert_int_equal(opened(c), 0);
	assert_int_equal(observed(&c->to_direct), 0);
	assert_int_equal(observed(&c->rtt[ENGINE_KIND_RELAY_UDP]), 1);
	assert_true(c->attempts[TECHNIQUE_SIMULTANEOUS_OPEN][OUTCOME_FAILED] > 0);
	sim_free(&sim);
}

static void time_to_direct_begins_with_the_first_packet_of_a_talk(void **state)
{
	(void)state;
	begin(NAT_PORT_RESTRICTED, NAT_PORT_RESTRICTED);
	const struct engine_counts *c = &a->engine->counts;

	sim.cut_direct = true;
	talk(2);
	sim_run(&sim, 300000); /* nobody waits for a path */
	sim.cut_direct = false;
	talk(10);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_DIRECT);
	assert_int_equal(observed(&c->to_direct), 1);
	assert_in_range(c->to_direct.sum_ms, 1, 10000);
	sim_free(&sim);
}

static void the_link_to_the_hub_is_counted(void **state)
{
	(void)state;
	begin(NAT_NONE, NAT_NONE);
	const struct engine_counts *c = &a->engine->counts;

	assert_int_equal(c->hub_links, 1);
	assert_int_equal(c->hub_links_lost, 0);
	sim_hub_kill(&sim);
	sim_run(&sim, 5000);
	assert_int_equal(c->hub_links_lost, 1);
	sim_hub_start(&sim);
	sim_run(&sim, 60000);
	assert_int_equal(c->hub_links, 2);
	engine_on_hub_down(a->engine, sim.now_ms);
	engine_on_hub_down(a->engine, sim.now_ms);
	assert_int_equal(c->hub_links_lost, 2);
	assert_int_equal(c->hub_failures, 1);
	sim_free(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_direct_path_is_counted_once),
		cmocka_unit_test(what_one_sends_the_other_receives),
		cmocka_unit_test(what_is_relayed_is_counted_as_that),
		cmocka_unit_test(time_to_direct_begins_with_the_first_packet_of_a_talk),
		cmocka_unit_test(the_link_to_the_hub_is_counted),
	};

	log_set_level(getenv("SIM_LOG") ? LOG_LVL_DEBUG : LOG_LVL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
