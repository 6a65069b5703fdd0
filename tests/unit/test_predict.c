#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "nat/predict.h"

enum { START_MS = 1000000, SEEDS = 1000, FULL_LO = 1024, FULL_HI = 65535 };

/* A NAT that allocates as it is told, in a network where others allocate, too. */
struct made_nat {
	enum nat_allocation allocation;
	enum nat_scope scope;
	int step;
	double noise_per_s;
	int lo, hi;
	bool both_servers; /* each socket asks both, else they take turns */
	bool parity;
	unsigned samples, over_ms;
};

struct made {
	struct predict_sample samples[PREDICT_SAMPLES];
	size_t count;
};

static struct addr host(uint8_t last, uint16_t port)
{
	return addr_from_ip(ADDR_V4, (uint8_t[]) { 198, 51, 100, last }, port);
}

static unsigned poisson(struct rng *rng, double mean)
{
	double limit = exp(-mean), product = 1;
	unsigned k = 0;

	while ((product *= (rng_u32(rng) + 1.0) / 4294967297.0) > limit)
		k++;
	return k;
}

static int wrapped(const struct made_nat *nat, int64_t port)
{
	int64_t range = nat->hi - nat->lo + 1, at = (port - nat->lo) % range;

	return (int)(nat->lo + (at < 0 ? at + range : at));
}

static int drawn(const struct made_nat *nat, struct rng *rng)
{
	return nat->lo + (int)rng_below(rng, (uint32_t)(nat->hi - nat->lo + 1));
}

static int *counter_of(const struct made_nat *nat, int counters[static 1 + 2 + PREDICT_SAMPLES],
		       const struct predict_sample *s, unsigned server)
{
	if (nat->scope == SCOPE_GLOBAL)
		return &counters[0];
	return nat->scope == SCOPE_DESTINATION ? &counters[1 + server] : &counters[3 + s->socket];
}

static struct made make(const struct made_nat *nat, struct rng *rng)
{
	struct made made = { .count = nat->samples };
	int counters[1 + 2 + PREDICT_SAMPLES];
	double gap_ms = (double)nat->over_ms / nat->samples;

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		counters[i] = drawn(nat, rng);
	for (unsigned i = 0; i < nat->samples; i++) {
		struct predict_sample *s = &made.samples[i];
		unsigned server = i % 2;
		int *counter, foreign = (int)poisson(rng, nat->noise_per_s * gap_ms / 1000);

		s->socket = (uint16_t)(nat->both_servers ? i / 2 : i);
		s->sent_ms = START_MS + (uint64_t)(i * gap_ms);
		s->local_port = (uint16_t)(32768 + rng_below(rng, 28000));
		s->server = host((uint8_t)(1 + server), 3478);
		counter = counter_of(nat, counters, s, server);
		*counter = nat->allocation == ALLOCATION_SEQUENTIAL
				   ? wrapped(nat, *counter + (int64_t)nat->step * (1 + foreign))
				   : drawn(nat, rng);
		if (nat->allocation == ALLOCATION_PRESERVING && rng_below(rng, 16))
			*counter = s->local_port;
		if (nat->parity && (*counter ^ s->local_port) & 1)
			*counter ^= 1;
		s->mapped = host(200, (uint16_t)*counter);
	}
	return made;
}

/* Of SEEDS NATs of this kind, how many are told right: allocation, and step and scope of a sequence. */
static unsigned told_right(const struct made_nat *nat)
{
	unsigned right = 0;

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		struct rng rng;
		rng_init_seed(&rng, seed);
		struct made made = make(nat, &rng);
		struct prediction p = predict(made.samples, made.count);
		bool step = nat->allocation != ALLOCATION_SEQUENTIAL ||
			    (p.step == nat->step && p.scope == nat->scope);
		right += p.allocation == nat->allocation && step;
	}
	return right;
}

static void sequences_are_told_with_noise_and_any_step(void **state)
{
	(void)state;
	static const struct {
		int step;
		double noise_per_s;
		unsigned samples, over_ms, least;
	} cases[] = {
		{ 1, 0, 16, 100, 1000 },    { -1, 0, 16, 100, 1000 },  { 2, 0, 16, 100, 1000 },
		{ -2, 0, 16, 100, 1000 },   { 1, 30, 16, 100, 990 },   { -1, 30, 16, 100, 990 },
		{ 2, 30, 16, 100, 990 },    { -2, 30, 16, 100, 990 },  { 7, 30, 16, 100, 990 },
		{ 64, 30, 16, 100, 990 },   { -64, 30, 16, 100, 990 }, { 1, 60, 16, 100, 990 },
		{ -2, 60, 16, 100, 990 },   { 17, 60, 16, 100, 990 },  { 1, 60, 16, 320, 950 },
		{ 1, 30, 32, 200, 990 },    { 1, 0, 6, 50, 990 },      { 1, 10, 8, 80, 980 },
		{ 1000, 10, 16, 100, 990 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
					.scope = SCOPE_GLOBAL,
					.step = cases[i].step,
					.noise_per_s = cases[i].noise_per_s,
					.lo = FULL_LO,
					.hi = FULL_HI,
					.samples = cases[i].samples,
					.over_ms = cases[i].over_ms };
		unsigned right = told_right(&nat);
		assert_true(right >= cases[i].least);
	}
}

static void scopes_are_told_apart(void **state)
{
	(void)state;
	static const struct {
		enum nat_scope scope;
		int step;
		double noise_per_s;
		bool both_servers;
	} cases[] = {
		{ SCOPE_GLOBAL, 1, 0, true },	     { SCOPE_GLOBAL, 2, 30, true },
		{ SCOPE_DESTINATION, 1, 0, true },   { SCOPE_DESTINATION, 1, 0, false },
		{ SCOPE_DESTINATION, -2, 20, true }, { SCOPE_SOCKET, 1, 0, true },
		{ SCOPE_SOCKET, -2, 0, true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
					.scope = cases[i].scope,
					.step = cases[i].step,
					.noise_per_s = cases[i].noise_per_s,
					.lo = FULL_LO,
					.hi = FULL_HI,
					.both_servers = cases[i].both_servers,
					.samples = 32,
					.over_ms = 200 };
		assert_true(told_right(&nat) >= 990);
	}
}

static void sequences_in_a_small_range_may_begin_again(void **state)
{
	(void)state;
	static const struct {
		int step, lo, hi;
	} cases[] = { { 1, 40000, 40099 },
		      { 2, 2048, 2559 },
		      { -1, 1024, 1279 },
		      { 64, 10000, 12047 },
		      { 1, 65500, 65535 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
					.scope = SCOPE_GLOBAL,
					.step = cases[i].step,
					.lo = cases[i].lo,
					.hi = cases[i].hi,
					.samples = 16,
					.over_ms = 100 };
		assert_true(told_right(&nat) >= 990);
	}
}

static void random_ports_are_hardly_ever_called_a_sequence(void **state)
{
	(void)state;
	static const struct {
		int lo, hi;
		unsigned samples;
		bool both_servers, parity;
	} cases[] = {
		{ FULL_LO, FULL_HI, 6, false, false }, { FULL_LO, FULL_HI, 16, false, false },
		{ FULL_LO, FULL_HI, 32, true, false }, { FULL_LO, FULL_HI, 64, true, false },
		{ FULL_LO, FULL_HI, 16, false, true }, { 32768, 60999, 16, false, false },
		{ 4096, 4351, 16, false, false },      { 5000, 5999, 16, false, false },
		{ 4096, 4159, 16, false, false },      { 4096, 4351, 6, false, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct made_nat nat = { .allocation = ALLOCATION_RANDOM,
					.lo = cases[i].lo,
					.hi = cases[i].hi,
					.both_servers = cases[i].both_servers,
					.parity = cases[i].parity,
					.samples = cases[i].samples,
					.over_ms = 100 };
		assert_true(told_right(&nat) > 995);
	}
}

static void kept_ports_are_told_even_if_some_were_taken(void **state)
{
	(void)state;
	struct made_nat nat = { .allocation = ALLOCATION_PRESERVING,
				.lo = FULL_LO,
				.hi = FULL_HI,
				.samples = 16,
				.over_ms = 100 };

	assert_true(told_right(&nat) >= 985);
	struct rng rng;
	rng_init_seed(&rng, 7);
	struct made made = make(&nat, &rng);
	for (size_t i = 0; i < made.count; i++)
		made.samples[i].local_port = 0;
	assert_int_equal(predict(made.samples, made.count).allocation, ALLOCATION_RANDOM);
}

/* The share of the true block that lies in the estimate, and how much larger that is. */
static void judge(const struct prediction *p, const struct made_nat *nat, unsigned *covered, unsigned *exact,
		  unsigned *large)
{
	int lo = p->lo > nat->lo ? p->lo : nat->lo, hi = p->hi < nat->hi ? p->hi : nat->hi;
	int size = nat->hi - nat->lo + 1;

	if (!p->block)
		return;
	*covered += (hi - lo + 1) * 100 >= size * 95;
	*exact += p->lo == nat->lo && p->hi == nat->hi;
	*large += p->hi - p->lo + 1 > 2 * size + 128;
}

static void blocks_are_estimated_from_sixteen_samples(void **state)
{
	(void)state;
	static const struct {
		int lo, size;
		unsigned covered, exact;
	} cases[] = {
		/* aligned powers of two */
		{ 4096, 256, 990, 990 },
		{ 7680, 512, 990, 990 },
		{ 1024, 1024, 990, 990 },
		{ 20480, 1024, 990, 990 },
		{ 32768, 2048, 990, 990 },
		{ 61440, 4096, 990, 990 },
		{ 49152, 16384, 990, 990 },
		{ 32768, 32768, 990, 990 },
		/* thousands from 0 and from 1024, which may be parts of what a 1,024 would be, too */
		{ 5000, 1000, 990, 200 },
		{ 1024 + 3000, 1000, 990, 200 },
		/* anywhere */
		{ 4200, 256, 800, 0 },
		{ 7777, 512, 800, 0 },
		{ 5432, 1000, 800, 0 },
		{ 20123, 1024, 800, 0 },
		{ 31000, 2048, 800, 0 },
		{ 60123, 4096, 800, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct made_nat nat = { .allocation = ALLOCATION_RANDOM,
					.lo = cases[i].lo,
					.hi = cases[i].lo + cases[i].size - 1,
					.samples = 16,
					.over_ms = 100 };
		unsigned covered = 0, exact = 0, large = 0;
		for (unsigned seed = 1; seed <= SEEDS; seed++) {
			struct rng rng;
			rng_init_seed(&rng, seed);
			struct made made = make(&nat, &rng);
			struct prediction p = predict(made.samples, made.count);
			judge(&p, &nat, &covered, &exact, &large);
		}
		assert_true(covered >= cases[i].covered);
		assert_true(exact >= cases[i].exact);
		assert_true(large <= 20);
	}
}

static void no_block_is_claimed_by_chance_or_from_few_samples(void **state)
{
	(void)state;
	struct made_nat full = {
		.allocation = ALLOCATION_RANDOM, .lo = FULL_LO, .hi = FULL_HI, .samples = 16
	};
	struct made_nat few = { .allocation = ALLOCATION_RANDOM, .lo = 4096, .hi = 4351, .samples = 15 };
	unsigned claimed = 0;

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		struct rng rng;
		rng_init_seed(&rng, seed);
		struct made made = make(&full, &rng);
		claimed += predict(made.samples, made.count).block;
		made = make(&few, &rng);
		struct prediction p = predict(made.samples, made.count);
		assert_false(p.block);
		assert_int_equal(p.lo, FULL_LO);
		assert_int_equal(p.hi, FULL_HI);
	}
	assert_true(claimed <= 3);
}

static void noise_is_measured_in_the_mean(void **state)
{
	(void)state;
	static const double rates[] = { 0, 10, 30, 60 };

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
					.scope = SCOPE_GLOBAL,
					.step = 2,
					.noise_per_s = rates[i],
					.lo = FULL_LO,
					.hi = FULL_HI,
					.samples = 16,
					.over_ms = 160 };
		double sum = 0;
		for (unsigned seed = 1; seed <= SEEDS; seed++) {
			struct rng rng;
			rng_init_seed(&rng, seed);
			struct made made = make(&nat, &rng);
			sum += predict(made.samples, made.count).noise_per_s;
		}
		assert_true(fabs(sum / SEEDS - rates[i]) <= 0.1 * rates[i]);
	}
}

static void few_samples_tell_nothing(void **state)
{
	(void)state;
	struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
				.scope = SCOPE_GLOBAL,
				.step = 1,
				.lo = FULL_LO,
				.hi = FULL_HI,
				.samples = 5 };
	struct rng rng;

	rng_init_seed(&rng, 1);
	struct made made = make(&nat, &rng);
	assert_int_equal(predict(made.samples, 5).allocation, ALLOCATION_UNKNOWN);
	assert_int_equal(predict(made.samples, 5).confidence, 0);
	assert_int_equal(predict(NULL, 0).allocation, ALLOCATION_UNKNOWN);
	assert_int_equal(predict(NULL, 0).hi, FULL_HI);
	/* One mapping seen eight times is no more than one. */
	for (unsigned i = 0; i < 8; i++)
		made.samples[i] = made.samples[0];
	assert_int_equal(predict(made.samples, 8).allocation, ALLOCATION_UNKNOWN);
}

static void one_server_does_not_tell_the_scope(void **state)
{
	(void)state;
	struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
				.scope = SCOPE_GLOBAL,
				.step = 1,
				.lo = FULL_LO,
				.hi = FULL_HI,
				.samples = 16 };
	struct rng rng;

	rng_init_seed(&rng, 1);
	struct made made = make(&nat, &rng);
	for (unsigned i = 0; i < 16; i++)
		made.samples[i].server = host(1, 3478);
	struct prediction p = predict(made.samples, 16);
	assert_int_equal(p.allocation, ALLOCATION_SEQUENTIAL);
	assert_int_equal(p.scope, SCOPE_UNKNOWN);
}

static void several_public_addresses_are_pooling(void **state)
{
	(void)state;
	struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
				.scope = SCOPE_GLOBAL,
				.step = 1,
				.lo = FULL_LO,
				.hi = FULL_HI,
				.samples = 32 };
	struct rng rng;

	rng_init_seed(&rng, 1);
	struct made made = make(&nat, &rng);
	assert_false(predict(made.samples, 32).pooling);
	for (unsigned i = 0; i < 32; i += 2) /* a counter each */
		made.samples[i].mapped = host(201, (uint16_t)(20000 + i));
	struct prediction p = predict(made.samples, 32);
	assert_true(p.pooling);
	assert_int_equal(p.allocation, ALLOCATION_SEQUENTIAL);
	assert_int_equal(p.step, 2);
}

static void parity_is_kept_only_if_always(void **state)
{
	(void)state;
	struct made_nat nat = {
		.allocation = ALLOCATION_RANDOM, .lo = FULL_LO, .hi = FULL_HI, .samples = 16, .parity = true
	};
	struct rng rng;

	rng_init_seed(&rng, 1);
	struct made made = make(&nat, &rng);
	assert_true(predict(made.samples, 16).keeps_parity);
	made.samples[9].mapped.port ^= 1;
	assert_false(predict(made.samples, 16).keeps_parity);
}

static void sure_things_are_said_surely(void **state)
{
	(void)state;
	struct made_nat nat = { .allocation = ALLOCATION_SEQUENTIAL,
				.scope = SCOPE_GLOBAL,
				.step = 1,
				.lo = FULL_LO,
				.hi = FULL_HI,
				.samples = 16,
				.over_ms = 100 };
	struct rng rng;

	rng_init_seed(&rng, 1);
	struct made made = make(&nat, &rng);
	assert_true(predict(made.samples, 16).confidence >= 95);
	nat.allocation = ALLOCATION_RANDOM;
	made = make(&nat, &rng);
	assert_true(predict(made.samples, 16).confidence >= 90);
	assert_true(predict(made.samples, 7).confidence < 90);
}

static void ports_ahead_wrap_within_the_range(void **state)
{
	(void)state;
	static const struct {
		int step;
		uint16_t lo, hi, base;
		int ahead;
		uint16_t port;
	} cases[] = {
		{ 1, 1024, 65535, 5000, 1, 5001 },   { 2, 1024, 65535, 5000, 20, 5040 },
		{ -1, 1024, 65535, 5000, 20, 4980 }, { 1, 1024, 65535, 65535, 1, 1024 },
		{ -1, 1024, 65535, 1024, 1, 65535 }, { 64, 2048, 2559, 2500, 1, 2052 },
		{ 1, 1024, 65535, 5000, -3, 4997 },  { 1, 2048, 2559, 5000, 1, 5001 },
		{ 0, 1024, 65535, 5000, 9, 5000 },   { 30000, 1024, 65535, 65535, 1000, 2943 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct prediction p = { .step = cases[i].step, .lo = cases[i].lo, .hi = cases[i].hi };
		assert_int_equal(predict_port(&p, cases[i].base, cases[i].ahead), cases[i].port);
	}
}

static void a_rendezvous_lies_as_far_ahead_as_the_notes_say(void **state)
{
	(void)state;
	assert_int_equal(predict_rendezvous_ahead(0, 1000), 4);
	assert_int_equal(predict_rendezvous_ahead(30, 500), 35); /* 15 + 4 * 3.87 + 4 */
	assert_int_equal(predict_rendezvous_ahead(30, 1000), 56);
	assert_int_equal(predict_rendezvous_sockets(48), 64);
	assert_int_equal(predict_rendezvous_sockets(4), 6);
	assert_int_equal(predict_rendezvous_sockets(100), 133);
}

static void a_verdict_carries_a_prediction(void **state)
{
	(void)state;
	struct prediction p = { .allocation = ALLOCATION_SEQUENTIAL,
				.scope = SCOPE_GLOBAL,
				.step = -2,
				.noise_per_s = 12.34,
				.lo = 1024,
				.hi = 65535,
				.pooling = true,
				.confidence = 88 };
	struct verdict v = { .mapping = MAPPING_ENDPOINT_DEPENDENT, .block_lo = 5000, .block_hi = 6000 };

	predict_to_verdict(&p, &v);
	assert_int_equal(v.mapping, MAPPING_ENDPOINT_DEPENDENT);
	assert_int_equal(v.noise_per_10s, 123);
	assert_int_equal(v.block_lo, 0);
	struct prediction back = predict_from_verdict(&v);
	assert_int_equal(back.allocation, ALLOCATION_SEQUENTIAL);
	assert_int_equal(back.scope, SCOPE_GLOBAL);
	assert_int_equal(back.step, -2);
	assert_int_equal(back.lo, 1024);
	assert_int_equal(back.hi, 65535);
	assert_false(back.block);
	assert_true(back.pooling);
	assert_int_equal(back.confidence, 88);
	assert_true(fabs(back.noise_per_s - 12.3) < 0.001);

	p = (struct prediction) {
		.allocation = ALLOCATION_RANDOM, .noise_per_s = 1e9, .lo = 4096, .hi = 4351, .block = true
	};
	predict_to_verdict(&p, &v);
	assert_int_equal(v.noise_per_10s, UINT16_MAX);
	back = predict_from_verdict(&v);
	assert_true(back.block);
	assert_int_equal(back.lo, 4096);
	assert_int_equal(back.hi, 4351);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequences_are_told_with_noise_and_any_step),
		cmocka_unit_test(scopes_are_told_apart),
		cmocka_unit_test(sequences_in_a_small_range_may_begin_again),
		cmocka_unit_test(random_ports_are_hardly_ever_called_a_sequence),
		cmocka_unit_test(kept_ports_are_told_even_if_some_were_taken),
		cmocka_unit_test(blocks_are_estimated_from_sixteen_samples),
		cmocka_unit_test(no_block_is_claimed_by_chance_or_from_few_samples),
		cmocka_unit_test(noise_is_measured_in_the_mean),
		cmocka_unit_test(few_samples_tell_nothing),
		cmocka_unit_test(one_server_does_not_tell_the_scope),
		cmocka_unit_test(several_public_addresses_are_pooling),
		cmocka_unit_test(parity_is_kept_only_if_always),
		cmocka_unit_test(sure_things_are_said_surely),
		cmocka_unit_test(ports_ahead_wrap_within_the_range),
		cmocka_unit_test(a_rendezvous_lies_as_far_ahead_as_the_notes_say),
		cmocka_unit_test(a_verdict_carries_a_prediction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
