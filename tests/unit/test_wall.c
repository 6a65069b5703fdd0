/* What counts as the time when the system's clock is set back, forward, or was never set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/wall.h"

enum { NOW_S = 1800000000, LONG_AGO_S = 1000000, START_MS = 5000 };

struct reading {
	uint64_t after_s, clock_s, want_s;
};

static void each_reading_counts_as_it_should(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		uint64_t clock_s, known_s;
		struct reading readings[4];
	} cases[] = {
		{ "nothing happens", NOW_S, 0, { { 0, NOW_S, NOW_S }, { 10, NOW_S + 10, NOW_S + 10 } } },
		{ "set back, and right again",
		  NOW_S,
		  0,
		  { { 10, NOW_S - 86400, NOW_S + 10 },
		    { 20, NOW_S - 86390, NOW_S + 20 },
		    { 30, NOW_S + 30, NOW_S + 30 } } },
		{ "set back before all times", NOW_S, 0, { { 10, 0, NOW_S + 10 } } },
		{ "set forward, and right again",
		  NOW_S,
		  0,
		  { { 10, NOW_S + 86400, NOW_S + 86400 }, { 20, NOW_S + 20, NOW_S + 20 } } },
		{ "never set, then set",
		  LONG_AGO_S,
		  0,
		  { { 1, LONG_AGO_S + 1, LONG_AGO_S + 1 }, { 2, NOW_S, NOW_S } } },
		{ "never set, but a time is known",
		  LONG_AGO_S,
		  NOW_S - 50,
		  { { 1, LONG_AGO_S + 1, NOW_S - 49 }, { 2, NOW_S, NOW_S } } },
		{ "a time is known that was wrong",
		  NOW_S,
		  NOW_S + 86400 * 365,
		  { { 1, NOW_S + 1, NOW_S + 1 } } },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct wall w;
		wall_init(&w, cases[i].clock_s, cases[i].known_s, START_MS);
		for (const struct reading *r = cases[i].readings; r->want_s; r++) {
			uint64_t got = wall_at(&w, r->clock_s, START_MS + r->after_s * 1000);
			if (got != r->want_s)
				fail_msg("%s, after %llu s: %llu", cases[i].what,
					 (unsigned long long)r->after_s, (unsigned long long)got);
		}
	}
}

static void it_knows_when_the_clock_is_behind(void **state)
{
	(void)state;
	struct wall w;

	wall_init(&w, NOW_S, 0, START_MS);
	wall_at(&w, NOW_S - WALL_TOLD_S, START_MS);
	assert_false(w.behind);
	wall_at(&w, NOW_S - WALL_TOLD_S - 1, START_MS);
	assert_true(w.behind);
	wall_at(&w, NOW_S, START_MS);
	assert_false(w.behind);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_reading_counts_as_it_should),
		cmocka_unit_test(it_knows_when_the_clock_is_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
