#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/keypair.h"
#include "core/replay.h"

enum { LIM = REPLAY_WINDOW + 1 }; /* one step beyond the window */

static struct replay window;

static void empty(void)
{
	memset(&window, 0, sizeof window);
}

/* A fact: this counter, at this moment, is (not) accepted. */
#define T(counter, want) \
	assert_int_equal(replay_accept(&window, counter, KEYPAIR_REJECT_AFTER_MESSAGES), want)

static void each_counter_is_accepted_once_within_the_window(void **state)
{
	(void)state;
	empty();
	T(0, true);
	T(1, true);
	T(1, false);
	T(0, false);
	T(9, true);
	T(8, true);
	T(7, true);
	T(7, false);
	T(9, false);
	T(LIM, true);
	T(LIM - 1, true);
	T(LIM - 1, false);
	T(LIM - 2, true);
	T(2, true);
	T(2, false);
	T(LIM + 16, true);
	T(3, false); /* now too old */
	T(LIM + 16, false);
	T(LIM * 4, true);
	T(LIM * 4 - (LIM - 1), true); /* the oldest that still counts */
	T(10, false);
	T(LIM * 4 - LIM, false);
	T(LIM * 4 - (LIM + 1), false);
	T(LIM * 4 - (LIM - 2), true);
	T(LIM * 4 + 1 - LIM, false);
	T(0, false);
}

static void the_last_counters_before_the_limit_count(void **state)
{
	const uint64_t limit = KEYPAIR_REJECT_AFTER_MESSAGES;

	(void)state;
	empty();
	T(limit, false);
	T(limit - 1, true);
	T(limit, false);
	T(limit - 1, false);
	T(limit - 2, true);
	T(limit + 1, false);
	T(UINT64_MAX, false);
	T(limit - 2, false);
	T(limit - 3, true);
	T(0, false);
}

static void the_first_counter_may_be_any(void **state)
{
	static const uint64_t first[] = { 0, 1, 63, 64, 65, REPLAY_WINDOW - 1, REPLAY_WINDOW, LIM, LIM * 3 };

	(void)state;
	for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
		empty();
		T(first[i], true);
		T(first[i], false);
		T(first[i] + 1, true);
	}
}

/* Whatever the order, the window agrees with the plain rule. */
static void it_agrees_with_the_rule_in_any_order(void **state)
{
	enum { RANGE = 3 * REPLAY_WINDOW };
	static bool seen[RANGE];
	struct rng rng;
	int64_t greatest = -1;

	(void)state;
	empty();
	rng_init_seed(&rng, 7);
	for (int i = 0; i < 60000; i++) {
		int64_t near = greatest + 200 - rng_below(&rng, 2 * REPLAY_WINDOW);
		int64_t counter = near < 0 ? 0 : near % RANGE;
		bool want = !seen[counter] && counter >= greatest - REPLAY_WINDOW;
		T((uint64_t)counter, want);
		seen[counter] = seen[counter] || want;
		greatest = counter > greatest ? counter : greatest;
	}
	assert_true(greatest > 2 * REPLAY_WINDOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_counter_is_accepted_once_within_the_window),
		cmocka_unit_test(the_last_counters_before_the_limit_count),
		cmocka_unit_test(the_first_counter_may_be_any),
		cmocka_unit_test(it_agrees_with_the_rule_in_any_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
