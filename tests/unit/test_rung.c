#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/rung.h"

static void each_rung_has_less_than_the_one_before_and_its_own_name(void **state)
{
	char names[] = RUNG_NAMES;
	struct rung above, r;
	(void)state;

	assert_int_equal(rung_parse(&above, NULL), 0);
	assert_string_equal(rung_name(&above), "all");
	assert_int_equal(above.tun, TUN_USO);
	assert_int_equal(above.udp, UDP_OFFLOAD_GRO);
	assert_string_equal(strtok(names, ", "), "all");
	for (const char *name; (name = strtok(NULL, ", ")); above = r) {
		assert_int_equal(rung_parse(&r, name), 0);
		assert_string_equal(rung_name(&r), name);
		assert_true(r.tun <= above.tun && r.udp <= above.udp);
	}
	assert_int_equal(above.tun, TUN_PLAIN);
	assert_int_equal(above.udp, UDP_OFFLOAD_NONE);
}

static void what_is_no_rung_is_refused(void **state)
{
	static const char *const bad[] = { "", "ALL", "no", "no-uso ", "1" };
	struct rung r;
	(void)state;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(rung_parse(&r, bad[i]), -EINVAL);
}

static void less_than_was_asked_for_is_the_highest_rung_it_reaches(void **state)
{
	static const struct {
		struct rung in_use;
		const char *name;
	} cases[] = {
		{ { TUN_USO, UDP_OFFLOAD_GSO }, "no-gro" },
		{ { TUN_USO, UDP_OFFLOAD_NONE }, "no-gso" },
		{ { TUN_PLAIN, UDP_OFFLOAD_GRO }, "none" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(rung_name(&cases[i].in_use), cases[i].name);
	assert_string_equal(rung_udp_name(UDP_OFFLOAD_NONE), "plain");
	assert_string_equal(rung_udp_name(UDP_OFFLOAD_GRO), "gro");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rung_has_less_than_the_one_before_and_its_own_name),
		cmocka_unit_test(what_is_no_rung_is_refused),
		cmocka_unit_test(less_than_was_asked_for_is_the_highest_rung_it_reaches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
