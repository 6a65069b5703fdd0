#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/timers.h"

enum { ENTRIES = 64 };

static struct timers heap;
static struct timers_entry entries[ENTRIES];

static int set_up(void **state)
{
	(void)state;
	for (int i = 0; i < ENTRIES; i++)
		entries[i] = (struct timers_entry) { 0 };
	return timers_reserve(&heap, ENTRIES);
}

static int tear_down(void **state)
{
	(void)state;
	timers_free(&heap);
	return 0;
}

static size_t take_first(void)
{
	struct timers_entry *first = timers_first(&heap);

	assert_non_null(first);
	timers_remove(&heap, first);
	return (size_t)(first - entries);
}

static void those_of_one_moment_come_in_the_order_in_which_they_were_set(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		timers_set(&heap, &entries[i], 7);
	timers_set(&heap, &entries[1], 7);
	static const size_t order[] = { 0, 2, 3, 4, 1 };
	for (int i = 0; i < 5; i++)
		assert_int_equal(take_first(), order[i]);
	assert_null(timers_first(&heap));
}

static void those_of_one_moment_come_in_the_order_that_they_were_given(void **state)
{
	(void)state;
	for (size_t i = 0; i < 5; i++)
		timers_set_ordered(&heap, &entries[i], i == 3 ? 6 : 7, 100 - i);
	static const size_t order[] = { 3, 4, 2, 1, 0 };
	for (int i = 0; i < 5; i++)
		assert_int_equal(take_first(), order[i]);
}

static void what_is_removed_twice_or_was_never_set_does_no_harm(void **state)
{
	(void)state;
	timers_set(&heap, &entries[0], 1);
	timers_remove(&heap, &entries[1]);
	timers_remove(&heap, &entries[0]);
	timers_remove(&heap, &entries[0]);
	assert_null(timers_first(&heap));
	timers_set(&heap, &entries[0], 2);
	assert_ptr_equal(timers_first(&heap), &entries[0]);
}

static const struct timers_entry *least(void)
{
	const struct timers_entry *best = NULL;

	for (int i = 0; i < ENTRIES; i++) {
		const struct timers_entry *t = &entries[i];
		if (t->place &&
		    (!best || t->at_ms < best->at_ms || (t->at_ms == best->at_ms && t->order < best->order)))
			best = t;
	}
	return best;
}

static void the_first_is_the_least_whatever_is_set_and_removed(void **state)
{
	(void)state;
	struct rng rng;

	rng_init_seed(&rng, 1);
	for (int i = 0; i < 20000; i++) {
		struct timers_entry *t = &entries[rng_below(&rng, ENTRIES)];
		if (rng_below(&rng, 3))
			timers_set(&heap, t, rng_below(&rng, 50));
		else
			timers_remove(&heap, t);
		assert_ptr_equal(timers_first(&heap), least());
	}
}

#define with_a_heap(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_a_heap(those_of_one_moment_come_in_the_order_in_which_they_were_set),
		with_a_heap(those_of_one_moment_come_in_the_order_that_they_were_given),
		with_a_heap(what_is_removed_twice_or_was_never_set_does_no_harm),
		with_a_heap(the_first_is_the_least_whatever_is_set_and_removed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
