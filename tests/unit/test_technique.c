#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "nat/birthday.h"
#include "nat/predict.h"
#include "nat/technique.h"

enum { ALL_PORTS = 64512 };

static struct verdict open_host(void)
{
	return (struct verdict) { .mapping = MAPPING_NONE, .filtering = FILTERING_ENDPOINT_INDEPENDENT };
}

static struct verdict cone(enum nat_filtering filtering)
{
	return (struct verdict) { .mapping = MAPPING_ENDPOINT_INDEPENDENT, .filtering = (uint8_t)filtering };
}

static struct verdict port_restricted(void)
{
	return cone(FILTERING_ADDRESS_AND_PORT_DEPENDENT);
}

static struct verdict random_ports(void)
{
	return (struct verdict) { .mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT,
				  .filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT,
				  .allocation = ALLOCATION_RANDOM,
				  .confidence = 95 };
}

static struct verdict random_block(uint16_t lo, uint16_t size)
{
	struct verdict v = random_ports();

	v.block_lo = lo;
	v.block_hi = (uint16_t)(lo + size - 1);
	return v;
}

static struct verdict sequence(int step, unsigned noise_per_s)
{
	struct verdict v = random_ports();

	v.allocation = ALLOCATION_SEQUENTIAL;
	v.scope = SCOPE_GLOBAL;
	v.step = (int16_t)step;
	v.noise_per_10s = (uint16_t)(noise_per_s * 10);
	return v;
}

static struct technique_side side(struct verdict v)
{
	return (struct technique_side) { .nat = v, .max_sockets = 256 };
}

static struct technique_side allowing(struct verdict v)
{
	return (struct technique_side) { .nat = v, .max_sockets = 256, .allows_hard = true };
}

static struct technique_plan choose(struct technique_side ours, struct technique_side theirs, unsigned round)
{
	return technique_choose(&ours, &theirs, round);
}

static void each_pair_of_nats_gets_its_technique(void **state)
{
	(void)state;
	struct verdict blocked = { .udp_blocked = true }, unsure = sequence(1, 0),
		       per_destination = sequence(1, 0);
	struct verdict ad_mapping = random_ports(), pooling = random_ports(), unseen = random_ports();
	unsure.confidence = 40;
	per_destination.scope = SCOPE_DESTINATION;
	ad_mapping.mapping = MAPPING_ADDRESS_DEPENDENT;
	pooling.pooling = true;
	unseen.allocation = ALLOCATION_UNKNOWN;
	const struct verdict unknown = { 0 }, pr = port_restricted(), rnd = random_ports(),
			     seq = sequence(-2, 5);
	const struct verdict small = random_block(4096, 1024), large = random_block(4096, 4096);
	const struct {
		struct verdict ours, theirs;
		bool allowed;
		enum technique technique;
		enum technique_role role;
	} cases[] = {
		{ open_host(), open_host(), false, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ pr, pr, false, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ unknown, unknown, false, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ unknown, rnd, true, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ pr, unknown, false, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ open_host(), rnd, false, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ cone(FILTERING_ENDPOINT_INDEPENDENT), rnd, false, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ cone(FILTERING_ADDRESS_DEPENDENT), seq, false, TECHNIQUE_SIMULTANEOUS_OPEN, ROLE_BOTH },
		{ cone(FILTERING_ADDRESS_DEPENDENT), pooling, false, TECHNIQUE_BIRTHDAY, ROLE_PROBES },
		{ cone(FILTERING_UNKNOWN), rnd, false, TECHNIQUE_BIRTHDAY, ROLE_PROBES },
		{ rnd, pr, false, TECHNIQUE_BIRTHDAY, ROLE_OPENS },
		{ pr, rnd, false, TECHNIQUE_BIRTHDAY, ROLE_PROBES },
		{ small, pr, false, TECHNIQUE_BIRTHDAY, ROLE_OPENS },
		{ ad_mapping, pr, false, TECHNIQUE_BIRTHDAY, ROLE_OPENS },
		{ unseen, pr, false, TECHNIQUE_BIRTHDAY, ROLE_OPENS },
		{ unsure, pr, false, TECHNIQUE_BIRTHDAY, ROLE_OPENS },
		{ per_destination, pr, false, TECHNIQUE_BIRTHDAY, ROLE_OPENS },
		{ seq, pr, false, TECHNIQUE_SEQUENTIAL, ROLE_OPENS },
		{ pr, seq, false, TECHNIQUE_SEQUENTIAL, ROLE_PROBES },
		{ seq, seq, false, TECHNIQUE_RENDEZVOUS, ROLE_BOTH },
		{ rnd, rnd, true, TECHNIQUE_NONE, ROLE_BOTH },
		{ small, rnd, true, TECHNIQUE_NONE, ROLE_BOTH },
		{ small, large, true, TECHNIQUE_NONE, ROLE_BOTH },
		{ small, small, false, TECHNIQUE_NONE, ROLE_BOTH },
		{ small, small, true, TECHNIQUE_HARD_BIRTHDAY, ROLE_BOTH },
		{ rnd, seq, false, TECHNIQUE_NONE, ROLE_BOTH },
		{ rnd, seq, true, TECHNIQUE_HARD_BIRTHDAY, ROLE_OPENS },
		{ seq, rnd, true, TECHNIQUE_HARD_BIRTHDAY, ROLE_PROBES },
		{ blocked, open_host(), true, TECHNIQUE_NONE, ROLE_BOTH },
		{ pr, blocked, true, TECHNIQUE_NONE, ROLE_BOTH },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct technique_side ours = side(cases[i].ours), theirs = side(cases[i].theirs);
		ours.allows_hard = theirs.allows_hard = cases[i].allowed;
		struct technique_plan p = technique_choose(&ours, &theirs, 0);
		assert_string_equal(technique_name(p.technique), technique_name(cases[i].technique));
		assert_int_equal(p.role, cases[i].role);
		assert_true(strlen(p.why) > 20);
	}
}

static void hard_pairs_need_leave_of_both(void **state)
{
	(void)state;
	struct verdict small = random_block(4096, 256);

	assert_int_equal(choose(allowing(small), side(small), 0).technique, TECHNIQUE_NONE);
	assert_int_equal(choose(side(small), allowing(small), 0).technique, TECHNIQUE_NONE);
	assert_non_null(strstr(choose(allowing(small), side(small), 0).why, "there"));
	assert_non_null(strstr(choose(side(small), allowing(small), 0).why, "here"));
	assert_int_equal(choose(allowing(small), allowing(small), 0).technique, TECHNIQUE_HARD_BIRTHDAY);
}

static struct technique_side any_side(struct rng *rng)
{
	static const uint16_t sizes[] = { 1, 3, 64, 256, 1000, 1024, 4096, 40000 };
	struct technique_side s = { .max_sockets = (uint16_t)rng_below(rng, 400),
				    .allows_hard = rng_below(rng, 2) };
	struct verdict *v = &s.nat;

	v->mapping = (uint8_t)rng_below(rng, MAPPING_ENDPOINT_DEPENDENT + 1);
	v->filtering = (uint8_t)rng_below(rng, FILTERING_ADDRESS_AND_PORT_DEPENDENT + 1);
	v->allocation = (uint8_t)rng_below(rng, ALLOCATION_RANDOM + 1);
	v->scope = (uint8_t)rng_below(rng, SCOPE_SOCKET + 1);
	v->step = (int16_t)rng_u32(rng);
	v->noise_per_10s = (uint16_t)(rng_below(rng, 2) ? rng_below(rng, 1000) : rng_u32(rng));
	v->confidence = (uint8_t)rng_below(rng, 101);
	v->pooling = rng_below(rng, 2);
	v->udp_blocked = rng_below(rng, 16) == 0;
	if (rng_below(rng, 2)) {
		uint16_t size = sizes[rng_below(rng, 8)];
		v->block_lo = (uint16_t)(1024 + rng_below(rng, (uint32_t)(ALL_PORTS - size + 1)));
		v->block_hi = (uint16_t)(v->block_lo + size - 1);
	}
	return s;
}

static void check_pair(const struct technique_plan *a, const struct technique_plan *b)
{
	static const enum technique_role other[] = {
		[ROLE_OPENS] = ROLE_PROBES, [ROLE_PROBES] = ROLE_OPENS, [ROLE_BOTH] = ROLE_BOTH
	};

	assert_int_equal(a->technique, b->technique);
	assert_int_equal(b->role, other[a->role]);
	assert_int_equal(a->sockets, b->sockets);
	assert_int_equal(a->ports, b->ports);
	assert_int_equal(a->ahead, b->ahead);
	assert_true(fabs(a->success - b->success) < 1e-9);
	assert_int_equal(a->mean_ms, b->mean_ms);
	assert_int_equal(a->worst_ms, b->worst_ms);
	if (a->role != ROLE_BOTH)
		assert_true(a->lo == b->lo && a->hi == b->hi);
}

static void check_limits(const struct technique_plan *p, const struct technique_side *ours,
			 const struct technique_side *theirs)
{
	const struct technique_side *opens = p->role == ROLE_PROBES ? theirs : ours;

	assert_non_null(p->why);
	assert_true(p->success >= 0 && p->success <= 1);
	if (p->technique == TECHNIQUE_NONE || p->technique == TECHNIQUE_SIMULTANEOUS_OPEN)
		return;
	assert_in_range(p->sockets, 1, TECHNIQUE_MAX_SOCKETS);
	assert_true(p->sockets <= opens->max_sockets);
	assert_in_range(p->ports, 1, TECHNIQUE_PORTS);
	assert_true(p->lo >= BUDGET_MIN_PORT && p->lo <= p->hi);
	assert_true(p->ports <= (unsigned)(p->hi - p->lo) + 1);
	assert_true(p->mean_ms <= p->worst_ms);
	if (p->technique == TECHNIQUE_HARD_BIRTHDAY && p->role == ROLE_BOTH)
		assert_true(p->sockets * p->ports <= BUDGET_TUPLES);
}

static void both_ends_choose_the_same_and_complement_each_other(void **state)
{
	(void)state;
	struct rng rng;
	unsigned chosen[TECHNIQUE_NONE + 1] = { 0 };

	rng_init_seed(&rng, 3);
	for (unsigned i = 0; i < 50000; i++) {
		struct technique_side ours = any_side(&rng), theirs = any_side(&rng);
		unsigned round = rng_below(&rng, 4) ? rng_below(&rng, 3) : rng_u32(&rng);
		struct technique_plan a = technique_choose(&ours, &theirs, round);
		struct technique_plan b = technique_choose(&theirs, &ours, round);

		check_pair(&a, &b);
		check_limits(&a, &ours, &theirs);
		check_limits(&b, &theirs, &ours);
		assert_int_equal(a.technique == TECHNIQUE_NONE,
				 technique_choose(&ours, &theirs, 0).technique == TECHNIQUE_NONE);
		chosen[a.technique]++;
	}
	for (unsigned t = 0; t <= TECHNIQUE_NONE; t++)
		assert_true(chosen[t] > 20);
}

static void chances_are_those_of_the_notes(void **state)
{
	(void)state;
	static const struct {
		unsigned sockets, range, for_95, for_99;
	} rows[] = {
		{ 64, ALL_PORTS, 2950, 4479 },
		{ 128, ALL_PORTS, 1492, 2280 },
		{ 256, ALL_PORTS, 751, 1150 },
		{ 512, ALL_PORTS, 376, 578 },
		{ 16, 256, 0, 65 },
		{ 32, 256, 0, 35 },
		{ 16, 1024, 0, 257 },
		{ 32, 1024, 0, 138 },
		{ 16, 4096, 0, 1025 },
		{ 32, 4096, 0, 550 },
		{ 32, ALL_PORTS, 0, 8647 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].for_95)
			assert_true(abs((int)technique_birthday_ports(0.95, rows[i].sockets, rows[i].range) -
					(int)rows[i].for_95) <= 1);
		assert_true(abs((int)technique_birthday_ports(0.99, rows[i].sockets, rows[i].range) -
				(int)rows[i].for_99) <= 1);
	}
	assert_true(fabs(technique_birthday_chance(256, 1024, ALL_PORTS) - 0.9835) < 0.0002);
	assert_true(fabs(technique_birthday_chance(256, 2048, ALL_PORTS) - 0.9997) < 0.0001);
	assert_true(technique_birthday_chance(1, 256, 256) == 1);
	assert_true(technique_birthday_chance(0, 256, 256) == 0);
}

static void hard_pairs_chances_are_those_of_the_notes(void **state)
{
	(void)state;
	static const struct {
		unsigned range, half, nearly; /* 50 %, 99.9 % */
	} rows[] = { { ALL_PORTS, 53700, 169600 }, { 1024, 853, 2691 }, { 256, 213, 673 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(fabs(technique_hard_chance(rows[i].half, rows[i].range, rows[i].range) - 0.5) <
			    0.002);
		assert_true(fabs(technique_hard_chance(rows[i].nearly, rows[i].range, rows[i].range) -
				 0.999) < 0.0001);
	}
}

static void rendezvous_chances_are_those_of_the_notes(void **state)
{
	(void)state;
	static const struct {
		double noise;
		unsigned ahead;
		double both, tolerance;
	} rows[] = { { 15, 20, 0.77, 0.005 },
		     { 15, 48, 1, 0.001 },
		     { 30, 20, 0.0005, 0.0002 },
		     { 30, 48, 0.997, 0.001 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		double one = technique_rendezvous_chance(rows[i].noise, rows[i].ahead);
		assert_true(fabs(one * one - rows[i].both) <= rows[i].tolerance);
	}
	assert_true(technique_rendezvous_chance(0, 1) == 1);
	assert_true(technique_rendezvous_chance(6553.5, 190) < 1e-9);
}

static void plans_are_of_the_size_that_the_notes_give(void **state)
{
	(void)state;
	struct technique_side few = side(random_ports());
	few.max_sockets = 64;
	const struct {
		struct technique_side hard;
		unsigned round, sockets, least_ports, most_ports, most_mean_ms, most_worst_ms;
		double least;
	} cases[] = {
		{ side(random_ports()), 0, 256, 1024, 1024, 1010, 4100, 0.983 },
		{ few, 0, 64, 1024, 1024, 2100, 4100, 0.63 },
		{ side(random_block(4096, 256)), 0, 32, 35, 64, 100, 300, 0.99 },
		{ side(random_block(5000, 1000)), 0, 62, 70, 110, 100, 500, 0.99 },
		{ side(random_block(4096, 1024)), 0, 64, 71, 120, 100, 500, 0.99 },
		{ side(random_block(8192, 4096)), 0, 256, 70, 120, 100, 500, 0.99 },
		{ side(random_block(4096, 64)), 0, 16, 16, 32, 100, 200, 0.99 },
		{ side(random_block(4096, 1024)), 1, 64, 140, 220, 200, 1000, 0.99 }, /* twice as wide */
		{ side(sequence(1, 30)), 0, 16, 128, 128, 200, 520, 0.99 },
		{ side(sequence(1, 30)), 1, 16, 256, 256, 200, 1030, 0.99 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct technique_plan p = choose(cases[i].hard, side(port_restricted()), cases[i].round);
		assert_int_equal(p.sockets, cases[i].sockets);
		assert_in_range(p.ports, cases[i].least_ports, cases[i].most_ports);
		assert_true(p.success >= cases[i].least);
		assert_true(p.mean_ms <= cases[i].most_mean_ms);
		assert_true(p.worst_ms <= cases[i].most_worst_ms);
	}
}

static void a_missed_block_is_widened_about_its_middle(void **state)
{
	(void)state;
	static const struct {
		uint16_t lo, size;
		unsigned round;
		uint16_t wide_lo, wide_hi;
	} cases[] = {
		{ 4096, 1024, 0, 4096, 5119 },	  { 4096, 1024, 1, 3584, 5631 },
		{ 4096, 1024, 2, 2560, 6655 },	  { 1024, 256, 1, 1024, 1407 },
		{ 61440, 4096, 1, 59392, 65535 }, { 4096, 1024, 20, 1024, 65535 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct technique_plan p = choose(side(port_restricted()),
						 side(random_block(cases[i].lo, cases[i].size)),
						 cases[i].round);
		assert_int_equal(p.lo, cases[i].wide_lo);
		assert_int_equal(p.hi, cases[i].wide_hi);
	}
	struct verdict unsure = random_block(4096, 1024);
	unsure.confidence = 50;
	assert_int_equal(choose(side(port_restricted()), side(unsure), 0).hi, 65535);
}

static void a_rendezvous_is_made_for_the_noisier_side(void **state)
{
	(void)state;
	struct technique_plan p = choose(side(sequence(1, 3)), side(sequence(-1, 30)), 0);
	struct technique_side few = side(sequence(1, 30));

	assert_int_equal(p.ahead, predict_rendezvous_ahead(30, TECHNIQUE_WAIT_MS));
	assert_int_equal(p.sockets, predict_rendezvous_sockets(p.ahead));
	assert_int_equal(p.ports, 1);
	assert_true(p.success > 0.99); /* goal: 95 % at 30 foreign allocations, in 3 s */
	assert_true(p.worst_ms < 3000);
	few.max_sockets = 20;
	p = choose(few, side(sequence(1, 30)), 0);
	assert_int_equal(p.sockets, 20);
	assert_int_equal(p.ahead, 15);
	assert_true(p.success < 0.5);
}

static void who_can_open_nothing_is_told_so(void **state)
{
	(void)state;
	struct technique_side none = side(random_ports());

	none.max_sockets = 0;
	assert_int_equal(choose(none, side(port_restricted()), 0).technique, TECHNIQUE_NONE);
	assert_int_equal(choose(side(port_restricted()), none, 0).technique, TECHNIQUE_NONE);
	none.nat = port_restricted(); /* which needs none */
	assert_int_equal(choose(none, side(random_ports()), 0).technique, TECHNIQUE_BIRTHDAY);
}

/* Foreign allocations by a Poisson process on both sides, the plan's own sockets and port, as often as the chance says. */
static unsigned poisson(struct rng *rng, double mean)
{
	double limit = exp(-mean), product = 1;
	unsigned k = 0;

	while ((product *= (rng_u32(rng) + 1.0) / 4294967297.0) > limit)
		k++;
	return k;
}

static void rendezvous_hit_as_often_as_planned(void **state)
{
	(void)state;
	enum { TRIALS = 2000 };
	static const unsigned max_sockets[] = { 256, 20 };
	const double mean = 25 * TECHNIQUE_WAIT_MS / 1000.0;
	struct rng rng;

	rng_init_seed(&rng, 11);
	for (size_t i = 0; i < 2; i++) {
		struct technique_side s = side(sequence(1, 25));
		s.max_sockets = (uint16_t)max_sockets[i];
		struct technique_plan p = technique_choose(&s, &s, 0);
		unsigned hits = 0;
		for (unsigned t = 0; t < TRIALS; t++) {
			unsigned a = poisson(&rng, mean), b = poisson(&rng, mean);
			hits += a < p.ahead && p.ahead <= a + p.sockets && b < p.ahead &&
				p.ahead <= b + p.sockets;
		}
		double expected = p.success * TRIALS;
		assert_true(fabs(hits - expected) <= 3 * sqrt(expected * (1 - p.success)) + 1);
	}
}

static void names_are_those_that_status_shows(void **state)
{
	(void)state;
	static const char *const names[] = { "simultaneous-open", "birthday",	   "sequential",
					     "rendezvous",	  "hard-birthday", "none" };

	for (unsigned t = 0; t <= TECHNIQUE_NONE; t++)
		assert_string_equal(technique_name((enum technique)t), names[t]);
	assert_int_equal(BIRTHDAY_SOCKETS, TECHNIQUE_MAX_SOCKETS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_pair_of_nats_gets_its_technique),
		cmocka_unit_test(hard_pairs_need_leave_of_both),
		cmocka_unit_test(both_ends_choose_the_same_and_complement_each_other),
		cmocka_unit_test(chances_are_those_of_the_notes),
		cmocka_unit_test(hard_pairs_chances_are_those_of_the_notes),
		cmocka_unit_test(rendezvous_chances_are_those_of_the_notes),
		cmocka_unit_test(plans_are_of_the_size_that_the_notes_give),
		cmocka_unit_test(a_missed_block_is_widened_about_its_middle),
		cmocka_unit_test(a_rendezvous_is_made_for_the_noisier_side),
		cmocka_unit_test(who_can_open_nothing_is_told_so),
		cmocka_unit_test(rendezvous_hit_as_often_as_planned),
		cmocka_unit_test(names_are_those_that_status_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
