#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "apps/p2pd/pinger.h"

static void a_pong_by_relay_brings_the_next_ping_after_200_ms(void **state)
{
	(void)state;
	struct pinger p;

	pinger_start(&p, 0, 2000, 100);
	assert_int_equal(pinger_deadline(&p), 100);
	assert_int_equal(pinger_next(&p, 7, 100), PINGER_SEND);
	assert_int_equal(pinger_next(&p, 8, 100), PINGER_NOTHING);
	assert_int_equal(pinger_deadline(&p), 2100);
	assert_true(pinger_on_pong(&p, 7, false, 140));
	assert_int_equal(pinger_deadline(&p), 300);
	assert_int_equal(pinger_next(&p, 8, 299), PINGER_NOTHING);
	assert_int_equal(pinger_next(&p, 8, 300), PINGER_SEND);
}

static void a_direct_pong_brings_the_next_ping_after_a_second(void **state)
{
	(void)state;
	struct pinger p;

	pinger_start(&p, 0, 2000, 100);
	pinger_next(&p, 7, 100);
	assert_true(pinger_on_pong(&p, 7, true, 140));
	assert_int_equal(pinger_deadline(&p), 1100);
}

static void a_pong_slower_than_the_interval_brings_the_next_at_once(void **state)
{
	(void)state;
	struct pinger p;

	pinger_start(&p, 0, 2000, 100);
	pinger_next(&p, 7, 100);
	assert_true(pinger_on_pong(&p, 7, false, 900));
	assert_int_equal(pinger_next(&p, 8, 900), PINGER_SEND);
}

static void only_the_pong_that_is_waited_for_counts(void **state)
{
	(void)state;
	struct pinger p;

	pinger_start(&p, 0, 2000, 100);
	assert_false(pinger_on_pong(&p, 0, true, 100));
	pinger_next(&p, 7, 100);
	assert_false(pinger_on_pong(&p, 6, true, 140));
	assert_true(pinger_on_pong(&p, 7, true, 140));
	assert_false(pinger_on_pong(&p, 7, true, 141));
}

static void silence_is_told_once_for_each_ping_and_the_count_ends_it(void **state)
{
	(void)state;
	struct pinger p;

	pinger_start(&p, 2, 1000, 0);
	assert_int_equal(pinger_next(&p, 1, 0), PINGER_SEND);
	assert_int_equal(pinger_next(&p, 2, 999), PINGER_NOTHING);
	assert_int_equal(pinger_next(&p, 2, 1000), PINGER_TIMEOUT);
	assert_int_equal(pinger_next(&p, 2, 1000), PINGER_SEND);
	assert_int_equal(pinger_next(&p, 3, 2000), PINGER_TIMEOUT);
	assert_int_equal(pinger_next(&p, 3, 2000), PINGER_OVER);
	assert_true(pinger_deadline(&p) <= 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pong_by_relay_brings_the_next_ping_after_200_ms),
		cmocka_unit_test(a_direct_pong_brings_the_next_ping_after_a_second),
		cmocka_unit_test(a_pong_slower_than_the_interval_brings_the_next_at_once),
		cmocka_unit_test(only_the_pong_that_is_waited_for_counts),
		cmocka_unit_test(silence_is_told_once_for_each_ping_and_the_count_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
