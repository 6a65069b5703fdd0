#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/lifetime.h"
#include "tests/sim/sim_stun.h"

#define S1 "198.51.100.1:3478"

static const char *const server[] = { S1, "198.51.100.1:3479", NULL };
static struct lifetime l;

static struct sim_stun *make_world(enum sim_nat_kind kind, uint64_t seed)
{
	static struct sim_stun w;

	sim_stun_free(&w);
	sim_stun_init(&w, kind, seed);
	sim_stun_add(&w, server);
	return &w;
}

/* Until it is over, or `end_ms`. */
static void run(struct sim_stun *w, uint64_t end_ms)
{
	struct ask_out out;
	struct sim_stun_packet in;

	while (l.running && w->now_ms < end_ms) {
		while (lifetime_next(&l, &w->rng, w->now_ms, &out))
			sim_stun_send(w, out.socket, &out.to, out.msg, out.len);
		uint64_t due = lifetime_deadline(&l);
		assert_true(due > w->now_ms);
		if (l.running && sim_stun_receive(w, due, &in))
			lifetime_on_message(&l, in.socket, &in.from, in.msg, in.len, w->now_ms);
	}
}

static void measure(struct sim_stun *w, struct lifetime_config c)
{
	c.server = sim_stun_addr(S1);
	lifetime_start(&l, &c, &w->rng, w->now_ms);
	run(w, w->now_ms + 3 * 3600 * 1000);
	assert_false(l.running);
	assert_int_equal(lifetime_deadline(&l), UINT64_MAX);
}

static void set_life(struct sim_stun *w, uint32_t life_s)
{
	w->nat.rules.unreplied_ms = w->nat.rules.replied_ms = life_s * 1000;
}

static void the_life_of_a_mapping_is_found_to_the_precision_asked_for(void **state)
{
	(void)state;
	static const enum sim_nat_kind nats[] = { NAT_FULL_CONE, NAT_PORT_RESTRICTED, NAT_SYMMETRIC,
						  NAT_SEQUENTIAL, NAT_FIREWALL };
	static const uint32_t lives_s[] = { 12, 21, 30, 35, 65, 119, 181, 300, 599 };

	for (size_t i = 0; i < sizeof nats / sizeof nats[0]; i++) {
		for (size_t j = 0; j < sizeof lives_s / sizeof lives_s[0]; j++) {
			struct sim_stun *w = make_world(nats[i], i);
			set_life(w, lives_s[j]);
			measure(w, (struct lifetime_config) { .precision_s = 3 });
			assert_false(l.unknown);
			assert_in_range(lives_s[j], l.alive_s, l.dead_s + 1);
			assert_in_range(l.dead_s - l.alive_s, 1, 3);
			assert_int_equal(w->sent_astray, 0);
		}
	}
}

static void nothing_longer_than_asked_for_is_waited_for(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 1);

	set_life(w, 7200);
	measure(w, (struct lifetime_config) { .max_s = 157, .precision_s = 5 });
	assert_int_equal(l.alive_s, 157);
	assert_int_equal(l.dead_s, 0);
	assert_in_range(w->now_ms - SIM_STUN_START_MS, 0, (20 + 30 + 45 + 60 + 90 + 120 + 157 + 60) * 1000);
	w = make_world(NAT_PORT_RESTRICTED, 1);
	set_life(w, 7200);
	measure(w, (struct lifetime_config) { .precision_s = 5 });
	assert_int_equal(l.alive_s, LIFETIME_MAX_S);
}

static void a_life_below_the_shortest_keepalive_is_not_looked_into(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 1);

	set_life(w, 5);
	measure(w, (struct lifetime_config) { .precision_s = 1, .inbound = true });
	assert_int_equal(l.alive_s, 0);
	assert_int_equal(l.dead_s, LIFETIME_MIN_S);
	assert_int_equal(l.inbound, LIFETIME_INBOUND_UNKNOWN);
}

static void loss_does_not_shorten_it(void **state)
{
	(void)state;
	enum { TRIALS = 40 };
	unsigned right = 0, untold = 0;

	for (uint64_t seed = 0; seed < TRIALS; seed++) {
		struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, seed);
		set_life(w, 65);
		w->loss_percent = 5;
		measure(w, (struct lifetime_config) { .precision_s = 3 });
		untold += l.unknown;
		right += !l.unknown && l.alive_s <= 65 && l.dead_s >= 64;
	}
	print_message("%u of %d right, %u untold\n", right, TRIALS, untold);
	assert_in_range(right, TRIALS * 95 / 100, TRIALS);
}

static void servers_that_do_not_serve_response_port_leave_it_unknown(void **state)
{
	(void)state;
	static const enum sim_stun_quirk quirks[] = { SIM_STUN_IGNORES, SIM_STUN_DROPS, SIM_STUN_REFUSES,
						      SIM_STUN_ERRORS, SIM_STUN_DEAD };

	for (size_t i = 0; i < sizeof quirks / sizeof quirks[0]; i++) {
		struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 2);
		w->servers[0].quirk = quirks[i];
		measure(w, (struct lifetime_config) { .precision_s = 3, .inbound = true });
		assert_true(l.unknown);
		assert_int_equal(l.alive_s, 0);
		assert_int_equal(l.dead_s, 0);
		assert_in_range(w->now_ms - SIM_STUN_START_MS, 0, 30000);
	}
}

static void a_server_that_falls_silent_tells_nothing_more(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 3);
	struct lifetime_config c = { .server = sim_stun_addr(S1), .precision_s = 3 };

	set_life(w, 300);
	lifetime_start(&l, &c, &w->rng, w->now_ms);
	run(w, w->now_ms + 100 * 1000);
	assert_true(l.running);
	assert_int_equal(l.alive_s, 30);
	w->servers[0].quirk = SIM_STUN_DEAD;
	run(w, w->now_ms + 3600 * 1000);
	assert_true(l.unknown);
	assert_int_equal(l.alive_s, 30);
	assert_int_equal(l.dead_s, 0);
}

/* A machine that slept finds the mapping gone, though that says nothing of a shorter time. */
static void sleep_is_not_taken_for_the_wait(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 4);
	struct lifetime_config c = { .server = sim_stun_addr(S1), .precision_s = 3 };

	set_life(w, 100);
	lifetime_start(&l, &c, &w->rng, w->now_ms);
	run(w, w->now_ms + 40 * 1000);
	w->now_ms += 3600 * 1000;
	run(w, w->now_ms + 3 * 3600 * 1000);
	assert_in_range(100, l.alive_s, l.dead_s + 1);
}

static void whether_what_comes_in_refreshes_is_found_if_asked_for(void **state)
{
	(void)state;
	for (unsigned refreshes = 0; refreshes < 2; refreshes++) {
		struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 5);
		set_life(w, 65);
		w->nat.rules.inbound_refreshes = refreshes;
		measure(w, (struct lifetime_config) { .precision_s = 3, .inbound = true });
		assert_false(l.unknown);
		assert_int_equal(l.inbound,
				 refreshes ? LIFETIME_INBOUND_REFRESHES : LIFETIME_INBOUND_DOES_NOT);
		w = make_world(NAT_PORT_RESTRICTED, 5);
		set_life(w, 65);
		measure(w, (struct lifetime_config) { .precision_s = 3 });
		assert_int_equal(l.inbound, LIFETIME_INBOUND_UNKNOWN);
	}
}

static void keepalives_come_at_seven_tenths_of_it(void **state)
{
	(void)state;
	static const struct {
		uint32_t alive_s, dead_s, keepalive_ms;
	} cases[] = {
		{ 0, 0, 25000 },   { 0, 10, 10000 },	{ 10, 12, 10000 },  { 20, 0, 14000 },
		{ 30, 32, 21000 }, { 120, 125, 84000 }, { 157, 0, 109900 }, { 600, 0, 110000 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct lifetime known = { .alive_s = cases[i].alive_s, .dead_s = cases[i].dead_s };
		assert_int_equal(lifetime_keepalive_ms(&known, 25000), cases[i].keepalive_ms);
	}
}

static void zeroed_memory_is_idle(void **state)
{
	(void)state;
	struct ask_out out;
	struct rng rng;
	struct addr from = sim_stun_addr(S1);
	uint8_t msg[STUN_HEADER] = { 1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42 };

	rng_init_seed(&rng, 1);
	memset(&l, 0, sizeof l);
	assert_false(lifetime_next(&l, &rng, 1, &out));
	assert_false(lifetime_on_message(&l, 0, &from, msg, sizeof msg, 1));
	assert_int_equal(lifetime_deadline(&l), UINT64_MAX);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_life_of_a_mapping_is_found_to_the_precision_asked_for),
		cmocka_unit_test(nothing_longer_than_asked_for_is_waited_for),
		cmocka_unit_test(a_life_below_the_shortest_keepalive_is_not_looked_into),
		cmocka_unit_test(loss_does_not_shorten_it),
		cmocka_unit_test(servers_that_do_not_serve_response_port_leave_it_unknown),
		cmocka_unit_test(a_server_that_falls_silent_tells_nothing_more),
		cmocka_unit_test(sleep_is_not_taken_for_the_wait),
		cmocka_unit_test(whether_what_comes_in_refreshes_is_found_if_asked_for),
		cmocka_unit_test(keepalives_come_at_seven_tenths_of_it),
		cmocka_unit_test(zeroed_memory_is_idle),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
