#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/path.h"

static struct rng rng;

static struct path path_to(const char *text)
{
	struct path p;
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	path_init(&p, &a, 0);
	return p;
}

/* Ping at `at`, pong after `rtt`. */
static void prove(struct path *p, uint64_t at, uint32_t rtt)
{
	uint8_t txid[PROBE_TXID];

	path_ping(p, &rng, PROBE_MIN, at, txid);
	assert_true(path_on_pong(p, txid, "peer", at + rtt));
}

static void only_a_pong_to_a_ping_proves(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint8_t txid[PROBE_TXID], foreign[PROBE_TXID] = { 1 };

	assert_false(path_on_pong(&p, foreign, "peer", 1000));
	assert_int_equal(p.state, PATH_NEW);
	path_ping(&p, &rng, PROBE_MIN, 1000, txid);
	assert_int_equal(p.state, PATH_PROBING);
	assert_false(path_on_pong(&p, foreign, "peer", 1010));
	assert_false(path_usable(&p, 1010));
	assert_true(path_on_pong(&p, txid, "peer", 1040));
	assert_int_equal(p.state, PATH_UP);
	assert_int_equal(p.rtt_ms, 40);
	assert_true(path_usable(&p, 1040));
	assert_false(path_on_pong(&p, txid, "peer", 1050)); /* once */
}

static void a_pong_to_an_all_zero_id_proves_nothing(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint8_t zero[PROBE_TXID] = { 0 };

	assert_false(path_on_pong(&p, zero, "peer", 1000));
}

/* Pings over a path that answers those up to `carries` bytes, until it is not usable or `end`; when that was. */
static uint64_t ping_until(struct path *p, uint64_t now, uint64_t end, uint32_t rtt, size_t carries)
{
	while (path_usable(p, now) && now < end) {
		uint8_t txid[PROBE_TXID];
		size_t size;

		path_on_sent(p, now);
		now = path_deadline(p, now, now);
		if (!path_next(p, now, "peer", now))
			continue;
		size = path_ping_size(p, now, now);
		path_ping(p, &rng, size, now, txid);
		if (size > carries)
			continue;
		now += rtt;
		assert_true(path_on_pong(p, txid, "peer", now));
	}
	return now;
}

/* Data flows and nothing comes back: how long until it goes another way, and until the path is given up? */
static void a_dead_path_is_left_within_two_seconds(void **state)
{
	(void)state;
	for (uint32_t rtt = 1; rtt <= 250; rtt += 7) {
		struct path p = path_to("203.0.113.1:1");
		uint64_t died;

		prove(&p, 100000, rtt);
		died = ping_until(&p, 100000 + rtt, 110000, rtt, PATH_FULL_SIZE);
		uint64_t left = ping_until(&p, died, died + 5000, rtt, 0);
		assert_in_range(left - died, 1, rtt <= 50 ? 900 : 2000);
		assert_int_equal(p.state, PATH_UP);
		assert_false(path_next(&p, left, "peer", path_deadline(&p, left, left)));
		assert_int_equal(p.state, PATH_DEAD);
	}
}

static void a_path_that_loses_large_packets_only_carries_smaller_ones(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");

	prove(&p, 100000, 50);
	assert_int_equal(path_mtu(&p), 0);
	uint64_t now = ping_until(&p, 100050, 110000, 50, PATH_FULL_SIZE);
	assert_int_equal(path_mtu(&p), 1392);
	now = ping_until(&p, now, now + 10000, 50, 1400);
	assert_true(path_usable(&p, now));
	assert_in_range(path_mtu(&p), 1280, 1400 - PATH_OVERHEAD);
}

static void a_path_that_loses_what_every_path_must_carry_is_proven_by_such_pings_only(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint8_t txid[PROBE_TXID];

	prove(&p, 100000, 50);
	uint64_t now = ping_until(&p, 100050, 110000, 50, PATH_BASE_SIZE - 1);
	assert_in_range(now, 100050, 102050);
	path_next(&p, now, "peer", path_deadline(&p, now, now));
	assert_int_equal(p.state, PATH_DEAD);
	path_ping(&p, &rng, PROBE_MIN, now, txid);
	assert_false(path_on_pong(&p, txid, "peer", now + 50));
	assert_int_equal(path_ping_size(&p, now, now), PATH_BASE_SIZE);
	path_ping(&p, &rng, PATH_BASE_SIZE, now, txid);
	assert_true(path_on_pong(&p, txid, "peer", now + 50));
	assert_true(path_usable(&p, now + 50));
}

static void data_that_is_answered_delays_pings_and_data_that_is_not_hastens_them(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint64_t now = 100000;

	prove(&p, now, 50);
	now = ping_until(&p, now + 50, now + 2000, 50, PATH_FULL_SIZE);
	uint64_t regular = p.last_ping_ms + PATH_ACTIVE_PING_MS;
	path_on_heard(&p, now + 60);
	assert_int_equal(path_deadline(&p, now + 60, now + 60), regular);
	path_on_sent(&p, now + 100);
	assert_in_range(path_deadline(&p, now + 100, now + 100), now + 101, now + 300);
	path_on_heard(&p, now + 150);
	assert_int_equal(path_deadline(&p, now + 150, now + 150), regular);
	path_on_doubt(&p, now + 160);
	assert_in_range(path_deadline(&p, now + 160, now + 160), 0, now + 160);
}

static void a_quiet_path_sends_nothing_and_is_trusted_no_more(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint64_t data = 100000;

	prove(&p, data, 30);
	assert_int_equal(path_deadline(&p, data, data + PATH_ACTIVE_MS), data + PATH_WARM_PING_MS);
	assert_int_equal(path_deadline(&p, data, data + PATH_WARM_MS), UINT64_MAX);
	assert_int_equal(path_deadline(&p, 0, data), UINT64_MAX);
	assert_true(path_usable(&p, data + 30 + PATH_TRUST_MS - 1));
	assert_false(path_usable(&p, data + 30 + PATH_TRUST_MS));
	prove(&p, data + 300000, 30);
	assert_true(path_usable(&p, data + 300030));
}

static void distrust_needs_a_new_pong(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");

	prove(&p, 1000, 10);
	path_distrust(&p, "peer");
	assert_false(path_usable(&p, 1020));
	prove(&p, 1030, 10);
	assert_true(path_usable(&p, 1040));
}

static void the_better_path(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b;
		uint32_t rtt_a, rtt_b; /* 0: not proven */
		int current;	       /* 1: a, 2: b */
		bool a_is_better;
	} table[] = {
		{ "203.0.113.1:1", "203.0.113.2:1", 30, 0, 0, true },
		{ "203.0.113.1:1", "203.0.113.2:1", 0, 30, 0, false },
		{ "203.0.113.1:1", "203.0.113.2:1", 30, 60, 0, true },
		{ "203.0.113.1:1", "203.0.113.2:1", 60, 30, 1,
		  false }, /* clearly faster wins over the current */
		{ "203.0.113.1:1", "203.0.113.2:1", 33, 30, 1, true }, /* a little faster does not */
		{ "192.168.1.2:1", "203.0.113.2:1", 3, 1, 0, true },   /* same LAN */
		{ "203.0.113.2:1", "192.168.1.2:1", 1, 3, 1, true },   /* but no flapping */
		{ "[2001:db8::1]:1", "203.0.113.2:1", 31, 30, 0, true },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct path a = path_to(table[i].a), b = path_to(table[i].b);
		const struct path *current = table[i].current == 1 ? &a : table[i].current == 2 ? &b : NULL;
		if (table[i].rtt_a)
			prove(&a, 1000, table[i].rtt_a);
		if (table[i].rtt_b)
			prove(&b, 1000, table[i].rtt_b);
		assert_int_equal(path_better(&a, &b, current, 1100), table[i].a_is_better);
		assert_int_equal(path_better(&b, &a, current, 1100), !table[i].a_is_better);
	}
}

static int setup(void **state)
{
	(void)state;
	rng_init_seed(&rng, 1);
	return crypto_init();
}

/* A ping that waited for a sleeper was answered after 4 s: should the path end now, that is noticed soon all the same. */
static void a_late_answer_does_not_put_off_the_end(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint8_t txid[PROBE_TXID];
	uint64_t now = 5000, data = 5000;

	prove(&p, 1000, 4000);
	while (p.state == PATH_UP && now < 20000) {
		if (path_next(&p, data, "peer", now))
			path_ping(&p, &rng, path_ping_size(&p, data, now), now, txid);
		data = ++now;
	}
	assert_in_range(now - 5000, 1000, 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_pong_to_a_ping_proves),
		cmocka_unit_test(a_pong_to_an_all_zero_id_proves_nothing),
		cmocka_unit_test(a_dead_path_is_left_within_two_seconds),
		cmocka_unit_test(a_path_that_loses_large_packets_only_carries_smaller_ones),
		cmocka_unit_test(a_path_that_loses_what_every_path_must_carry_is_proven_by_such_pings_only),
		cmocka_unit_test(data_that_is_answered_delays_pings_and_data_that_is_not_hastens_them),
		cmocka_unit_test(a_quiet_path_sends_nothing_and_is_trusted_no_more),
		cmocka_unit_test(distrust_needs_a_new_pong),
		cmocka_unit_test(the_better_path),
		cmocka_unit_test(a_late_answer_does_not_put_off_the_end),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
