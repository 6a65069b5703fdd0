#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/crypto.h"
#include "core/verdict.h"

/* Where what lies on the wire. */
enum {
	AT_MAPPING = 0,
	AT_FILTERING = 1,
	AT_ALLOCATION = 2,
	AT_SCOPE = 3,
	AT_BLOCK_LO = 8,
	AT_BLOCK_HI = 10,
	AT_CONFIDENCE = 12,
	AT_FLAGS = 14,
	AT_FAMILY = 15,
};

static struct verdict full(void)
{
	return (struct verdict) {
		.mapping = MAPPING_ADDRESS_DEPENDENT,
		.filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT,
		.allocation = ALLOCATION_SEQUENTIAL,
		.scope = SCOPE_DESTINATION,
		.step = -300,
		.noise_per_10s = 40000,
		.block_lo = 4096,
		.block_hi = 65535,
		.confidence = 100,
		.depth = 255,
		.udp_blocked = true,
		.pooling = true,
		.cgnat = true,
		.public_ip = addr_from_ip(ADDR_V4, (uint8_t[]) { 203, 0, 113, 9 }, 0),
	};
}

static void write_out(uint8_t out[static VERDICT_WIRE], const struct verdict *v)
{
	struct writer w = writer_over(out, VERDICT_WIRE);

	verdict_write(&w, v);
	assert_false(w.bad);
	assert_int_equal(w.len, VERDICT_WIRE);
}

static bool reads(const uint8_t wire[static VERDICT_WIRE], struct verdict *out)
{
	struct reader r = reader_over(wire, VERDICT_WIRE);

	*out = verdict_read(&r);
	return reader_done(&r);
}

static void assert_same(const struct verdict *a, const struct verdict *b)
{
	assert_int_equal(a->mapping, b->mapping);
	assert_int_equal(a->filtering, b->filtering);
	assert_int_equal(a->allocation, b->allocation);
	assert_int_equal(a->scope, b->scope);
	assert_int_equal(a->step, b->step);
	assert_int_equal(a->noise_per_10s, b->noise_per_10s);
	assert_int_equal(a->block_lo, b->block_lo);
	assert_int_equal(a->block_hi, b->block_hi);
	assert_int_equal(a->confidence, b->confidence);
	assert_int_equal(a->depth, b->depth);
	assert_int_equal(a->udp_blocked, b->udp_blocked);
	assert_int_equal(a->pooling, b->pooling);
	assert_int_equal(a->cgnat, b->cgnat);
	assert_true(addr_equal(&a->public_ip, &b->public_ip));
}

static void a_verdict_comes_back_as_it_was_written(void **state)
{
	(void)state;
	struct verdict cases[5] = { { 0 }, full(), full(), full(), full() }, back;
	uint8_t wire[VERDICT_WIRE];

	cases[2].udp_blocked = false;
	cases[3].pooling = false;
	cases[4].cgnat = false;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_out(wire, &cases[i]);
		assert_true(reads(wire, &back));
		assert_same(&cases[i], &back);
	}
}

static void the_wire_form_is_the_one_in_the_header(void **state)
{
	(void)state;
	static const uint8_t expected[VERDICT_WIRE] = { 3,    3,    2,	  2,	0xd4, 0xfe, 0x40, 0x9c,
							0x00, 0x10, 0xff, 0xff, 100,  255,  7,	  4,
							0,    0,    203,  0,	113,  9 };
	struct verdict v = full();
	uint8_t wire[VERDICT_WIRE];

	write_out(wire, &v);
	assert_memory_equal(wire, expected, VERDICT_WIRE);
}

static void what_there_is_not_is_refused(void **state)
{
	(void)state;
	static const struct {
		uint8_t at, values[2], length;
		bool taken;
	} cases[] = {
		{ AT_MAPPING, { MAPPING_ENDPOINT_DEPENDENT }, 1, true },
		{ AT_MAPPING, { MAPPING_ENDPOINT_DEPENDENT + 1 }, 1, false },
		{ AT_FILTERING, { FILTERING_ADDRESS_AND_PORT_DEPENDENT + 1 }, 1, false },
		{ AT_ALLOCATION, { ALLOCATION_RANDOM }, 1, true },
		{ AT_ALLOCATION, { ALLOCATION_RANDOM + 1 }, 1, false },
		{ AT_SCOPE, { SCOPE_SOCKET + 1 }, 1, false },
		{ AT_SCOPE, { 255 }, 1, false },
		{ AT_CONFIDENCE, { 101 }, 1, false },
		{ AT_BLOCK_LO, { 0x00, 0x04 }, 2, true },  /* 1024 */
		{ AT_BLOCK_LO, { 0xff, 0x03 }, 2, false }, /* 1023 */
		{ AT_BLOCK_LO, { 0, 0 }, 2, false },
		{ AT_BLOCK_HI, { 0x00, 0x10 }, 2, true },  /* as the low end */
		{ AT_BLOCK_HI, { 0xff, 0x0f }, 2, false }, /* below it */
		{ AT_BLOCK_HI, { 0, 0 }, 2, false },
		{ AT_FAMILY, { 5 }, 1, false },
	};
	struct verdict v = full(), back;
	uint8_t wire[VERDICT_WIRE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_out(wire, &v);
		memcpy(wire + cases[i].at, cases[i].values, cases[i].length);
		assert_int_equal(reads(wire, &back), cases[i].taken);
	}
}

static void a_verdict_that_is_cut_off_is_refused(void **state)
{
	(void)state;
	struct verdict v = full();
	uint8_t wire[VERDICT_WIRE];

	write_out(wire, &v);
	for (size_t len = 0; len < VERDICT_WIRE; len++) {
		struct reader r = reader_over(wire, len);
		verdict_read(&r);
		assert_true(r.bad);
	}
}

/* What is taken is what would be written again, flags that there are not left out. */
static void what_is_taken_can_be_passed_on(void **state)
{
	(void)state;
	struct rng rng;
	unsigned taken = 0;

	rng_init_seed(&rng, 5);
	for (unsigned i = 0; i < 20000; i++) {
		struct verdict v = full(), back, again;
		uint8_t wire[VERDICT_WIRE];

		write_out(wire, &v);
		for (unsigned changes = rng_below(&rng, 4); changes > 0; changes--)
			wire[rng_below(&rng, VERDICT_WIRE)] = (uint8_t)rng_u32(&rng);
		if (!reads(wire, &back))
			continue;
		taken++;
		write_out(wire, &back);
		assert_true(reads(wire, &again));
		assert_same(&back, &again);
	}
	assert_true(taken > 5000);
}

static void types_follow_from_mapping_and_filtering(void **state)
{
	(void)state;
	static const struct {
		enum nat_mapping mapping;
		enum nat_filtering filtering;
		bool blocked;
		const char *type;
		bool easy, hard;
	} cases[] = {
		{ MAPPING_UNKNOWN, FILTERING_UNKNOWN, false, "unknown", false, false },
		{ MAPPING_UNKNOWN, FILTERING_ENDPOINT_INDEPENDENT, false, "unknown", false, false },
		{ MAPPING_NONE, FILTERING_UNKNOWN, false, "unknown", true, false },
		{ MAPPING_NONE, FILTERING_ENDPOINT_INDEPENDENT, false, "open", true, false },
		{ MAPPING_NONE, FILTERING_ADDRESS_DEPENDENT, false, "firewall", true, false },
		{ MAPPING_NONE, FILTERING_ADDRESS_AND_PORT_DEPENDENT, false, "firewall", true, false },
		{ MAPPING_ENDPOINT_INDEPENDENT, FILTERING_UNKNOWN, false, "unknown", true, false },
		{ MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ENDPOINT_INDEPENDENT, false, "nat1", true, false },
		{ MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ADDRESS_DEPENDENT, false, "nat2", true, false },
		{ MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ADDRESS_AND_PORT_DEPENDENT, false, "nat3", true,
		  false },
		{ MAPPING_ADDRESS_DEPENDENT, FILTERING_UNKNOWN, false, "nat4", false, true },
		{ MAPPING_ADDRESS_AND_PORT_DEPENDENT, FILTERING_ENDPOINT_INDEPENDENT, false, "nat4", false,
		  true },
		{ MAPPING_ENDPOINT_DEPENDENT, FILTERING_UNKNOWN, false, "nat4", false, true },
		{ MAPPING_UNKNOWN, FILTERING_UNKNOWN, true, "blocked", false, false },
		{ MAPPING_NONE, FILTERING_ENDPOINT_INDEPENDENT, true, "blocked", true, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct verdict v = { .mapping = (uint8_t)cases[i].mapping,
				     .filtering = (uint8_t)cases[i].filtering,
				     .udp_blocked = cases[i].blocked };
		assert_string_equal(nat_type_name(verdict_type(&v)), cases[i].type);
		assert_int_equal(verdict_is_easy(&v), cases[i].easy);
		assert_int_equal(verdict_is_hard(&v), cases[i].hard);
	}
}

static void every_value_has_a_name_and_no_other_has(void **state)
{
	(void)state;
	static const char *const mappings[] = { "unknown",
						"none",
						"endpoint-independent",
						"address-dependent",
						"address-and-port-dependent",
						"endpoint-dependent",
						"unknown" };
	static const char *const filterings[] = { "unknown", "endpoint-independent", "address-dependent",
						  "address-and-port-dependent", "unknown" };
	static const char *const allocations[] = { "unknown", "preserving", "sequential", "random",
						   "unknown" };
	static const char *const scopes[] = { "unknown", "global", "destination", "socket", "unknown" };

	for (unsigned i = 0; i < 7; i++)
		assert_string_equal(nat_mapping_name((enum nat_mapping)i), mappings[i]);
	for (unsigned i = 0; i < 5; i++) {
		assert_string_equal(nat_filtering_name((enum nat_filtering)i), filterings[i]);
		assert_string_equal(nat_allocation_name((enum nat_allocation)i), allocations[i]);
		assert_string_equal(nat_scope_name((enum nat_scope)i), scopes[i]);
	}
	assert_string_equal(nat_type_name((enum nat_type)(NAT_TYPE_BLOCKED + 1)), "unknown");
}

static void only_what_a_technique_is_chosen_by_makes_a_verdict_news(void **state)
{
	(void)state;
	struct verdict a, b, c;

	/* What lies between the fields says nothing. */
	memset(&a, 0xff, sizeof a);
	memset(&b, 0, sizeof b);
	a.mapping = b.mapping = MAPPING_ADDRESS_DEPENDENT;
	a.filtering = b.filtering = FILTERING_UNKNOWN;
	a.allocation = b.allocation = ALLOCATION_RANDOM;
	a.step = b.step = 0;
	a.udp_blocked = b.udp_blocked = false;
	a.block_lo = b.block_lo = 4096;
	a.block_hi = b.block_hi = 5119;
	a.public_ip = b.public_ip = full().public_ip;
	assert_true(verdict_alike(&a, &b));
	for (int i = 0; i < 8; i++) {
		c = b;
		c.mapping += i == 0;
		c.filtering += i == 1;
		c.allocation -= i == 2;
		c.step -= i == 3;
		c.block_lo -= i == 4;
		c.block_hi += i == 5;
		c.public_ip.ip[3] ^= i == 6;
		c.udp_blocked ^= i == 7;
		assert_false(verdict_alike(&b, &c));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verdict_comes_back_as_it_was_written),
		cmocka_unit_test(the_wire_form_is_the_one_in_the_header),
		cmocka_unit_test(what_there_is_not_is_refused),
		cmocka_unit_test(a_verdict_that_is_cut_off_is_refused),
		cmocka_unit_test(what_is_taken_can_be_passed_on),
		cmocka_unit_test(only_what_a_technique_is_chosen_by_makes_a_verdict_news),
		cmocka_unit_test(types_follow_from_mapping_and_filtering),
		cmocka_unit_test(every_value_has_a_name_and_no_other_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
