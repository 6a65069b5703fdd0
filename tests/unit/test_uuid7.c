#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/uuid7.h"

/* RFC 9562 appendix A.6. */
static const char example[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
static const uint8_t example_bytes[UUID7_LEN] = { 0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3,
						  0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f };

static void the_example_of_the_rfc_reads_and_prints(void **state)
{
	(void)state;
	uint8_t id[UUID7_LEN];
	char text[UUID7_TEXT];

	assert_int_equal(uuid7_parse(id, example), 0);
	assert_memory_equal(id, example_bytes, UUID7_LEN);
	assert_string_equal(uuid7_format(id, text), example);
	assert_int_equal(uuid7_parse(id, "017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), 0);
	assert_memory_equal(id, example_bytes, UUID7_LEN);
}

static void what_is_no_id_of_version_7_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
		"017f22e279b07cc398c4dc0c0c07398f",
		"017f22e2-79b0-4cc3-98c4-dc0c0c07398f", /* version 4 */
		"017f22e2-79b0-7cc3-c8c4-dc0c0c07398f", /* Microsoft's variant */
		"017f22e2-79b0-7cc3-98c4_dc0c0c07398f",
		"017f22e2-79b0-7cc3-98c4-dc0c0c0739 f",
		"g17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
		"017f22e2-79b0-7cc3-98c-4dc0c0c07398f",
	};
	uint8_t id[UUID7_LEN] = { 7 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(uuid7_parse(id, bad[i]), -EINVAL);
	assert_int_equal(id[0], 7);
}

static void an_id_has_its_time_version_and_variant(void **state)
{
	(void)state;
	struct rng rng;
	uint8_t id[UUID7_LEN], again[UUID7_LEN];
	char text[UUID7_TEXT];

	rng_init_seed(&rng, 1);
	for (int i = 0; i < 100; i++) {
		uuid7_make(id, NULL, 0x017f22e279b0, &rng);
		assert_memory_equal(id, example_bytes, 6);
		assert_int_equal(uuid7_parse(again, uuid7_format(id, text)), 0);
		assert_memory_equal(id, again, UUID7_LEN);
	}
}

static void ids_grow_even_if_the_clock_goes_back(void **state)
{
	(void)state;
	struct rng rng;
	uint8_t last[UUID7_LEN], next[UUID7_LEN];
	char text[UUID7_TEXT];

	rng_init_seed(&rng, 2);
	uuid7_make(last, NULL, 1790000000000, &rng);
	for (int i = 0; i < 10000; i++) {
		uuid7_make(next, last, 1790000000000 - (uint64_t)i * (i % 3), &rng);
		assert_true(memcmp(next, last, UUID7_LEN) > 0);
		assert_int_equal(uuid7_parse(last, uuid7_format(next, text)), 0);
	}
}

/* All random bits are set: the next one is of a later millisecond, and still marked as what it is. */
static void growing_carries_over_the_marks_into_the_time(void **state)
{
	(void)state;
	struct rng rng;
	uint8_t id[UUID7_LEN], next[UUID7_LEN], parsed[UUID7_LEN];
	char text[UUID7_TEXT];

	rng_init_seed(&rng, 3);
	assert_int_equal(uuid7_parse(id, "017f22e2-79ff-7fff-bfff-ffffffffffff"), 0);
	uuid7_make(next, id, 0, &rng);
	assert_memory_equal(uuid7_format(next, text), "017f22e2-7a00-7000-8000-0000", 28);
	assert_int_equal(uuid7_parse(parsed, text), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_the_rfc_reads_and_prints),
		cmocka_unit_test(what_is_no_id_of_version_7_is_refused),
		cmocka_unit_test(an_id_has_its_time_version_and_variant),
		cmocka_unit_test(ids_grow_even_if_the_clock_goes_back),
		cmocka_unit_test(growing_carries_over_the_marks_into_the_time),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
