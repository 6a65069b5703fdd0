#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bucket.h"
#include "core/map.h"

enum { KEYS = 512 };

static void an_empty_map_has_nothing(void **state)
{
	(void)state;
	struct rng rng;
	struct map m;

	rng_init_seed(&rng, 1);
	map_init(&m, 4, 4, &rng);
	assert_null(map_find(&m, "abcd"));
	assert_false(map_remove(&m, "abcd"));
	assert_null(map_walk(&m, NULL));
	map_clear(&m);
}

/* Random puts and removes beside a plain array that says what must be there. */
static void it_agrees_with_an_array(void **state)
{
	(void)state;
	struct rng rng;
	struct map m;
	uint32_t want[KEYS] = { 0 };
	size_t present = 0;

	rng_init_seed(&rng, 2);
	map_init(&m, sizeof(uint32_t), sizeof(uint32_t), &rng);
	for (int step = 0; step < 40000; step++) {
		uint32_t key = rng_below(&rng, KEYS), value = rng_u32(&rng) | 1;
		if (rng_below(&rng, 2)) {
			assert_int_equal(map_put(&m, &key, &value), 0);
			present += !want[key];
			want[key] = value;
		} else {
			assert_int_equal(map_remove(&m, &key), want[key] != 0);
			present -= want[key] != 0;
			want[key] = 0;
		}
		key = rng_below(&rng, KEYS);
		uint32_t *got = map_find(&m, &key);
		assert_int_equal(got ? *got : 0, want[key]);
		assert_int_equal(m.count, present);
	}
	for (uint32_t key = 0; key < KEYS; key++) {
		uint32_t *got = map_find(&m, &key);
		assert_int_equal(got ? *got : 0, want[key]);
	}
	map_clear(&m);
	assert_null(map_find(&m, &(uint32_t) { 1 }));
}

static void a_walk_meets_each_entry_once(void **state)
{
	(void)state;
	struct rng rng;
	struct map m;
	uint8_t met[KEYS] = { 0 };

	rng_init_seed(&rng, 3);
	map_init(&m, 33, sizeof(uint64_t), &rng);
	for (uint64_t i = 0; i < KEYS; i++) {
		uint8_t key[33] = { (uint8_t)i, [32] = (uint8_t)(i >> 8) };
		assert_int_equal(map_put(&m, key, &i), 0);
	}
	for (uint64_t *v = map_walk(&m, NULL); v; v = map_walk(&m, v))
		met[*v]++;
	for (size_t i = 0; i < KEYS; i++)
		assert_int_equal(met[i], 1);
	map_clear(&m);
}

static void a_bucket_gives_its_burst_then_its_rate(void **state)
{
	(void)state;
	struct bucket b = { 0 };
	uint64_t now = 5000000;
	int given = 0;

	for (int i = 0; i < 100; i++)
		given += bucket_take(&b, 10, 7, now);
	assert_int_equal(given, 7);
	for (given = 0; now < 5002000; now++)
		given += bucket_take(&b, 10, 7, now);
	assert_in_range(given, 19, 20);
	now += UINT64_C(1) << 60;
	for (given = 0; given < 100 && bucket_take(&b, 10, 7, now); given++)
		;
	assert_int_equal(given, 7);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_map_has_nothing),
		cmocka_unit_test(it_agrees_with_an_array),
		cmocka_unit_test(a_walk_meets_each_entry_once),
		cmocka_unit_test(a_bucket_gives_its_burst_then_its_rate),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
