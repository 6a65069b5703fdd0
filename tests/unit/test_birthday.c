#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nat/birthday.h"

enum { START_MS = 1000000, ALL_PORTS = 64512 };

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static struct rng *seeded(uint64_t seed)
{
	static struct rng rng;

	rng_init_seed(&rng, seed);
	return &rng;
}

static struct birthday_plan shuffled(uint16_t lo, uint16_t hi, unsigned ports, unsigned skip)
{
	return (struct birthday_plan) {
		.to = addr_of("203.0.113.9"),
		.sockets = 1,
		.ports = ports,
		.lo = lo,
		.hi = hi,
		.skip = skip,
		.seed = 0x123456789abcdef0,
		.start_ms = START_MS,
	};
}

/* Sleeps until the next probe; false when the round is over. The budget is never short of tuples. */
static bool wait_for_probe(struct birthday *b, struct budget *budget, uint64_t *now,
			   struct birthday_probe *out)
{
	while (!birthday_next(b, budget, *now, out)) {
		if (b->state != BIRTHDAY_RUNNING)
			return false;
		uint64_t deadline = birthday_deadline(b, budget, *now);
		assert_true(deadline > *now); /* else a caller spins */
		*now = deadline;
	}
	memset(budget->slots, 0, sizeof(budget->slots));
	return true;
}

static void each_port_is_tried_once_in_all_rounds_of_a_pair(void **state)
{
	(void)state;
	static const struct {
		uint16_t lo, hi;
	} ranges[] = { { 1024, 65535 }, { 0, 0 },	  { 5000, 5000 },   { 5000, 5001 }, { 5000, 5002 },
		       { 2048, 3071 },	{ 20000, 20999 }, { 61440, 65535 }, { 0, 2000 } };
	static uint8_t seen[65536];

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		unsigned lo = ranges[i].lo < 1024 ? 1024 : ranges[i].lo,
			 hi = ranges[i].hi ? ranges[i].hi : 65535;
		unsigned range = hi - lo + 1, tried = 0;
		uint64_t now = START_MS;

		memset(seen, 0, sizeof(seen));
		while (tried < range) {
			struct birthday b;
			struct budget budget = { 0 };
			struct birthday_probe probe;
			unsigned left = range - tried, ports = left < 3000 ? left : 3000;
			/* What is left of one port is a plan of one port, which names it itself. */
			struct birthday_plan plan = shuffled(ranges[i].lo, ranges[i].hi,
							     ports > 1 ? ports : 2, tried);

			birthday_start(&b, &plan, seeded(tried), now);
			for (unsigned n = 0; n < ports; n++) {
				assert_true(wait_for_probe(&b, &budget, &now, &probe));
				assert_in_range(probe.to.port, lo, hi);
				assert_int_equal(seen[probe.to.port], 0);
				seen[probe.to.port] = 1;
			}
			tried += ports;
		}
		for (unsigned port = lo; port <= hi; port++)
			assert_int_equal(seen[port], 1);
	}
}

static void ports_tried_one_after_the_other_are_not_neighbours(void **state)
{
	(void)state;
	struct birthday b;
	struct birthday_probe probe;
	int last = 0;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct birthday_plan plan = shuffled(1024, 65535, 50, 0);
		struct budget budget = { 0 };
		uint64_t now = START_MS;

		plan.seed = seed * 0x9e3779b97f4a7c15;
		birthday_start(&b, &plan, seeded(1), now);
		for (unsigned n = 0; n < 50; n++, last = probe.to.port) {
			assert_true(wait_for_probe(&b, &budget, &now, &probe));
			assert_true(n == 0 || abs((int)probe.to.port - last) > 10000);
		}
	}
}

static void many_sockets_share_the_ports_out(void **state)
{
	(void)state;
	static uint8_t seen[65536];
	struct birthday_plan plan = shuffled(4096, 4351, 16, 0);
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probe;
	uint64_t now = START_MS;
	unsigned by_socket[16] = { 0 };

	plan.sockets = 16;
	birthday_start(&b, &plan, seeded(1), now);
	while (wait_for_probe(&b, &budget, &now, &probe)) {
		assert_int_equal(seen[probe.to.port]++, 0);
		by_socket[probe.socket]++;
	}
	assert_int_equal(b.sent, 256);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(by_socket[i], 16);
}

static void sequences_are_followed_three_ahead_one_back(void **state)
{
	(void)state;
	static const struct {
		uint16_t base, lo, hi;
		int step;
		uint16_t ports[8];
	} cases[] = {
		{ 5000, 0, 0, 1, { 5000, 5001, 5002, 5003, 4999, 5004, 5005, 5006 } },
		{ 5000, 0, 0, -2, { 5000, 4998, 4996, 4994, 5002, 4992, 4990, 4988 } },
		{ 65534, 1024, 65535, 1, { 65534, 65535, 1024, 1025, 65533, 1026, 1027, 1028 } },
		{ 1025, 1024, 65535, -1, { 1025, 1024, 65535, 65534, 1026, 65533, 65532, 65531 } },
		{ 2558, 2048, 2559, 1, { 2558, 2559, 2048, 2049, 2557, 2050, 2051, 2052 } },
		{ 5000,
		  2048,
		  2559,
		  1,
		  { 5000, 5001, 5002, 5003, 4999, 5004, 5005, 5006 } }, /* not of the block */
		{ 5000, 0, 0, 0, { 5000, 5001, 5002, 5003, 4999, 5004, 5005, 5006 } },
		{ 100, 0, 0, 1, { 1024, 1025, 1026, 1027, 65535, 1028, 1029, 1030 } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct birthday_plan plan = shuffled(cases[i].lo, cases[i].hi, 8, 0);
		struct budget budget = { 0 };
		struct birthday b;
		struct birthday_probe probe;

		plan.order = BIRTHDAY_OUTWARD;
		plan.to.port = cases[i].base;
		plan.step = cases[i].step;
		birthday_start(&b, &plan, seeded(1), START_MS);
		for (unsigned n = 0; n < 8; n++) {
			assert_true(birthday_next(&b, &budget, START_MS, &probe));
			assert_int_equal(probe.to.port, cases[i].ports[n]);
		}
	}
}

/* Both ways round, and no port twice: a stride of 64 in a block of 512 has eight ports. */
static void a_sequence_that_closes_is_tried_once(void **state)
{
	(void)state;
	struct birthday_plan plan = shuffled(2048, 2559, 128, 0);
	struct budget budget = { 0 };
	struct birthday b;
	struct birthday_probe probe;
	uint64_t now = START_MS;
	static uint8_t seen[65536];

	plan.order = BIRTHDAY_OUTWARD;
	plan.to.port = 2100;
	plan.step = 64;
	birthday_start(&b, &plan, seeded(1), now);
	while (wait_for_probe(&b, &budget, &now, &probe))
		assert_int_equal(seen[probe.to.port]++, 0);
	assert_int_equal(b.sent, 8);
}

static struct birthday_plan one_port(unsigned sockets, unsigned repeats, uint64_t end_ms)
{
	return (struct birthday_plan) {
		.to = addr_of("203.0.113.9:40000"),
		.sockets = sockets,
		.ports = 1,
		.start_ms = START_MS,
		.end_ms = end_ms,
		.repeats = repeats,
		.one_way_ms = 25,
	};
}

static void one_port_is_repeated_and_refreshed_until_the_end(void **state)
{
	(void)state;
	static const unsigned due[] = { 0, 200, 600, 1400, 12400, 23400 };
	struct birthday_plan plan = one_port(3, 3, START_MS + 30000);
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probe, first[3];
	uint64_t now = START_MS - 500;

	birthday_start(&b, &plan, seeded(1), now);
	assert_false(birthday_next(&b, &budget, START_MS - 1, &probe));
	assert_int_equal(birthday_deadline(&b, &budget, now), START_MS);
	for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++)
		for (unsigned s = 0; s < 3; s++) {
			while (!birthday_next(&b, &budget, now, &probe))
				now = birthday_deadline(&b, &budget, now);
			assert_int_equal(now, START_MS + due[i]);
			assert_int_equal(probe.socket, s);
			assert_true(addr_equal(&probe.to, &plan.to));
			if (i == 0)
				first[s] = probe;
			assert_memory_equal(probe.txid, first[s].txid, PROBE_TXID);
		}
	assert_int_equal(budget_unanswered(&budget, now), 3);
	assert_false(birthday_next(&b, &budget, now, &probe));
	assert_int_equal(birthday_deadline(&b, &budget, now), START_MS + 30000);
	assert_false(birthday_next(&b, &budget, START_MS + 30000, &probe));
	assert_int_equal(b.state, BIRTHDAY_FAILED);
	assert_int_equal(birthday_deadline(&b, &budget, now), UINT64_MAX);
}

static void a_round_without_an_end_fails_after_patience(void **state)
{
	(void)state;
	struct birthday_plan plan = one_port(300, 1, 0);
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probe;
	uint64_t now = START_MS, last = 0;

	birthday_start(&b, &plan, seeded(1), now);
	while (wait_for_probe(&b, &budget, &now, &probe))
		last = now;
	assert_int_equal(b.sent, 2 * BIRTHDAY_SOCKETS); /* plans of more are cut */
	assert_int_equal(now, last + BIRTHDAY_PATIENCE_MS + 50);
	assert_int_equal(b.state, BIRTHDAY_FAILED);
}

static void a_round_that_the_budget_stops_ends_too(void **state)
{
	(void)state;
	struct birthday_plan plan = shuffled(1024, 65535, 2000, 0);
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probe;
	uint64_t now = START_MS, calls = 0;

	birthday_start(&b, &plan, seeded(1), now);
	while (b.state == BIRTHDAY_RUNNING) {
		while (birthday_next(&b, &budget, now, &probe))
			;
		if (b.state == BIRTHDAY_RUNNING)
			now = birthday_deadline(&b, &budget, now);
		assert_true(calls++ < 2000);
	}
	assert_int_equal(b.sent, BUDGET_TUPLES - BUDGET_LEFT);
	assert_in_range(now - START_MS, 5700, 5800); /* (1000 - 56) / 250 s, patience */
}

static void what_cannot_be_sent_fails_at_once(void **state)
{
	(void)state;
	static const struct {
		const char *to;
		unsigned sockets, ports;
	} cases[] = {
		{ "203.0.113.9:4000", 0, 1 }, { "203.0.113.9:4000", 1, 0 }, { "203.0.113.9", 1, 1 },
		{ "224.0.0.1:4000", 1, 100 }, { "0.0.0.0:4000", 1, 1 },	    { "255.255.255.255:4000", 1, 9 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct birthday_plan plan = { .to = addr_of(cases[i].to),
					      .sockets = cases[i].sockets,
					      .ports = cases[i].ports };
		struct birthday b;
		struct budget budget = { 0 };
		struct birthday_probe probe;

		birthday_start(&b, &plan, seeded(1), START_MS);
		assert_int_equal(b.state, BIRTHDAY_FAILED);
		assert_false(birthday_next(&b, &budget, START_MS, &probe));
		assert_int_equal(birthday_deadline(&b, &budget, START_MS), UINT64_MAX);
	}
}

static void a_low_port_is_never_probed(void **state)
{
	(void)state;
	struct birthday_plan plan = one_port(4, 3, 0);
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probe;

	plan.to.port = 162;
	birthday_start(&b, &plan, seeded(1), START_MS);
	for (uint64_t now = START_MS; now < START_MS + 5000; now += 10)
		assert_false(birthday_next(&b, &budget, now, &probe));
	assert_int_equal(b.state, BIRTHDAY_FAILED);
}

static void only_the_answer_to_a_probe_of_this_round_is_a_hit(void **state)
{
	(void)state;
	struct birthday_plan plan = shuffled(1024, 65535, 100, 0);
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probe, last;
	struct addr other = addr_of("198.51.100.7:4000");

	birthday_start(&b, &plan, seeded(1), START_MS);
	assert_true(birthday_next(&b, &budget, START_MS, &probe));
	last = probe;
	birthday_start(&b, &plan, seeded(2), START_MS);
	assert_true(birthday_next(&b, &budget, START_MS, &probe));
	assert_false(birthday_on_pong(&b, &budget, 0, &last.to, last.txid, START_MS)); /* of another round */
	assert_false(birthday_on_pong(&b, &budget, 1, &probe.to, probe.txid, START_MS));
	assert_false(birthday_on_pong(&b, &budget, 0, &other, probe.txid, START_MS));
	other = probe.to;
	other.port++;
	assert_false(birthday_on_pong(&b, &budget, 0, &other, probe.txid, START_MS));
	assert_int_equal(b.state, BIRTHDAY_RUNNING);

	assert_true(birthday_on_pong(&b, &budget, 0, &probe.to, probe.txid, START_MS + 50));
	assert_int_equal(b.state, BIRTHDAY_HIT);
	assert_true(addr_equal(&b.hit, &probe.to));
	assert_int_equal(budget_unanswered(&budget, START_MS + 50), 1); /* of the first round */
	assert_false(birthday_next(&b, &budget, START_MS + 60, &last));
	assert_int_equal(birthday_deadline(&b, &budget, START_MS + 60), UINT64_MAX);
}

static void the_first_hit_stays_and_a_late_one_counts(void **state)
{
	(void)state;
	struct birthday_plan plan = one_port(4, 0, 0);
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probes[4], more;

	birthday_start(&b, &plan, seeded(1), START_MS);
	for (unsigned i = 0; i < 4; i++)
		assert_true(birthday_next(&b, &budget, START_MS, &probes[i]));
	assert_false(birthday_next(&b, &budget, START_MS + 9000, &more));
	assert_int_equal(b.state, BIRTHDAY_FAILED);
	assert_true(birthday_on_pong(&b, &budget, 2, &plan.to, probes[2].txid, START_MS + 9100));
	assert_true(birthday_on_pong(&b, &budget, 3, &plan.to, probes[3].txid, START_MS + 9200));
	assert_int_equal(b.state, BIRTHDAY_HIT);
	assert_int_equal(b.hit_socket, 2);
}

/* --- Against NATs that draw their ports, by the true code of the probing side. */

/* Probes of a round until one meets one of the mappings; 0 when none did. */
static unsigned probes_to_hit(const uint8_t *open, const struct birthday_plan *plan, struct rng *rng)
{
	struct birthday b;
	struct budget budget = { 0 };
	struct birthday_probe probe;
	uint64_t now = plan->start_ms;

	birthday_start(&b, plan, rng, now);
	while (wait_for_probe(&b, &budget, &now, &probe))
		if (open[probe.to.port])
			return b.sent;
	return 0;
}

struct row {
	unsigned sockets, ports;
	uint16_t lo, hi;
	unsigned rounds;
	double chance, mean; /* of the notes */
};

static unsigned hits_of(const struct row *row, unsigned trials, struct rng *rng, double *mean)
{
	static uint8_t open[65536];
	unsigned hits = 0, sum = 0;

	for (unsigned t = 0; t < trials; t++) {
		struct birthday_plan plan = shuffled(row->lo, row->hi, row->ports, 0);
		unsigned found = 0;

		rng_fill(rng, &plan.seed, sizeof(plan.seed));
		memset(open, 0, sizeof(open));
		for (unsigned s = 0; s < row->sockets; s++)
			open[row->lo + rng_below(rng, (uint32_t)(row->hi - row->lo) + 1)] = 1;
		for (unsigned r = 0; r < row->rounds && !found; r++, plan.skip += row->ports)
			found = probes_to_hit(open, &plan, rng);
		hits += found > 0;
		sum += found;
	}
	*mean = hits ? (double)sum / hits : 0;
	return hits;
}

/* Three standard deviations of the hits, and half a one for rounding in the notes. */
static void birthdays_hit_as_often_as_the_notes_say(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ 256, 1024, 1024, 65535, 1, 0.9835, 234 }, { 256, 1024, 1024, 65535, 2, 0.9997, 0 },
		{ 512, 376, 1024, 65535, 1, 0.95, 0 },	    { 16, 65, 4096, 4351, 1, 0.99, 15 },
		{ 32, 35, 4096, 4351, 1, 0.99, 8 },	    { 16, 257, 4096, 5119, 1, 0.99, 58 },
		{ 32, 138, 4096, 5119, 1, 0.99, 30 },	    { 32, 550, 8192, 12287, 1, 0.99, 120 },
	};
	struct rng rng;

	rng_init_seed(&rng, 42);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const unsigned trials = 2000;
		double mean, expected = rows[i].chance * trials;
		double tolerance = 3 * sqrt(expected * (1 - rows[i].chance)) + 1;
		unsigned hits = hits_of(&rows[i], trials, &rng, &mean);

		assert_true(fabs(hits - expected) <= tolerance);
		if (rows[i].mean > 0)
			assert_true(fabs(mean - rows[i].mean) <= 0.08 * rows[i].mean + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_port_is_tried_once_in_all_rounds_of_a_pair),
		cmocka_unit_test(ports_tried_one_after_the_other_are_not_neighbours),
		cmocka_unit_test(many_sockets_share_the_ports_out),
		cmocka_unit_test(sequences_are_followed_three_ahead_one_back),
		cmocka_unit_test(a_sequence_that_closes_is_tried_once),
		cmocka_unit_test(one_port_is_repeated_and_refreshed_until_the_end),
		cmocka_unit_test(a_round_without_an_end_fails_after_patience),
		cmocka_unit_test(a_round_that_the_budget_stops_ends_too),
		cmocka_unit_test(what_cannot_be_sent_fails_at_once),
		cmocka_unit_test(a_low_port_is_never_probed),
		cmocka_unit_test(only_the_answer_to_a_probe_of_this_round_is_a_hit),
		cmocka_unit_test(the_first_hit_stays_and_a_late_one_counts),
		cmocka_unit_test(birthdays_hit_as_often_as_the_notes_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
