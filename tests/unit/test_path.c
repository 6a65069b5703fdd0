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

	path_ping(p, &rng, at, txid);
	assert_true(path_on_pong(p, txid, "peer", at + rtt));
}

static void only_a_pong_to_a_ping_proves(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint8_t txid[PROBE_TXID], foreign[PROBE_TXID] = { 1 };

	assert_false(path_on_pong(&p, foreign, "peer", 1000));
	assert_int_equal(p.state, PATH_NEW);
	path_ping(&p, &rng, 1000, txid);
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

/* Data flows and nothing comes back: how long until the path is given up? */
static void a_dead_path_is_noticed_within_two_seconds(void **state)
{
	(void)state;
	for (uint32_t rtt = 1; rtt <= 50; rtt += 7) {
		struct path p = path_to("203.0.113.1:1");
		uint64_t now = 100000, died;
		unsigned pings = 0;

		prove(&p, now, rtt);
		died = now + rtt;
		while (p.state == PATH_UP && now < died + 5000) {
			uint8_t txid[PROBE_TXID];
			now = path_deadline(&p, now, now);
			if (path_next(&p, now, "peer", now)) {
				path_ping(&p, &rng, now, txid);
				pings++;
			}
		}
		assert_int_equal(p.state, PATH_DEAD);
		assert_int_equal(pings, PATH_MAX_TRIES);
		assert_in_range(now - died, 0, 2000);
	}
}

static void a_quiet_path_sends_nothing_and_is_trusted_no_more(void **state)
{
	(void)state;
	struct path p = path_to("203.0.113.1:1");
	uint64_t data = 100000;

	prove(&p, data, 30);
	assert_int_equal(path_deadline(&p, data, data + 1000), data + PATH_ACTIVE_PING_MS);
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
			path_ping(&p, &rng, now, txid);
		data = ++now;
	}
	assert_in_range(now - 5000, 2000, 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_pong_to_a_ping_proves),
		cmocka_unit_test(a_pong_to_an_all_zero_id_proves_nothing),
		cmocka_unit_test(a_dead_path_is_noticed_within_two_seconds),
		cmocka_unit_test(a_quiet_path_sends_nothing_and_is_trusted_no_more),
		cmocka_unit_test(distrust_needs_a_new_pong),
		cmocka_unit_test(the_better_path),
		cmocka_unit_test(a_late_answer_does_not_put_off_the_end),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
