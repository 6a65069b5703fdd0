#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2phub/endpoints.h"

enum { MANY = 12 };

static size_t parse(struct addr *out, const char *const *texts)
{
	size_t n = 0;

	for (; n < MANY && texts[n]; n++)
		assert_int_equal(addr_parse(&out[n], texts[n], 0), 0);
	return n;
}

static void an_address_stands_in_for_another_where_there_are_two(void **state)
{
	(void)state;
	static const struct {
		const char *bound[MANY], *local[MANY], *want[MANY];
	} cases[] = {
		{ { "1.2.3.4:1", "1.2.3.4:2" }, { "1.2.3.4", "5.6.7.8" }, { "1.2.3.4:1", "1.2.3.4:2" } },
		{ { "0.0.0.0:1", "0.0.0.0:2" }, { "1.2.3.4" }, { "0.0.0.0:1", "0.0.0.0:2" } },
		{ { "0.0.0.0:1" }, { "1.2.3.4", "1.2.3.4" }, { "0.0.0.0:1" } },
		{ { "0.0.0.0:1" }, { "1.2.3.4", "2001:db8::1" }, { "0.0.0.0:1" } },
		{ { "0.0.0.0:1", "0.0.0.0:2" },
		  { "2001:db8::1", "1.2.3.4", "5.6.7.8", "9.9.9.9" },
		  { "1.2.3.4:1", "5.6.7.8:1", "1.2.3.4:2", "5.6.7.8:2", "0.0.0.0:1", "0.0.0.0:2" } },
		{ { "[::]:1", "1.2.3.4:1" },
		  { "2001:db8::1", "1.2.3.4", "5.6.7.8", "2001:db8::2" },
		  { "[2001:db8::1]:1", "[2001:db8::2]:1", "[::]:1", "1.2.3.4:1" } },
		{ { NULL }, { "1.2.3.4", "5.6.7.8" }, { NULL } },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct addr bound[MANY], local[MANY], want[MANY], got[MANY];
		size_t bound_count = parse(bound, cases[i].bound), local_count = parse(local, cases[i].local);
		size_t count = parse(want, cases[i].want);

		assert_int_equal(endpoints_of(bound, bound_count, local, local_count, got, MANY), count);
		for (size_t k = 0; k < count; k++)
			assert_true(addr_equal(&got[k], &want[k]));
		if (count)
			assert_int_equal(endpoints_of(bound, bound_count, local, local_count, got, count - 1),
					 count - 1);
	}
}

static void only_public_addresses_are_the_machines_own(void **state)
{
	(void)state;
	struct addr local[ENDPOINTS_LOCAL];
	size_t count = endpoints_local(local, ENDPOINTS_LOCAL);

	assert_in_range(count, 0, ENDPOINTS_LOCAL);
	for (size_t i = 0; i < count; i++) {
		assert_false(addr_is_private(&local[i]));
		assert_false(addr_is_loopback(&local[i]));
		assert_int_equal(local[i].port, 0);
	}
	assert_int_equal(endpoints_local(local, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_stands_in_for_another_where_there_are_two),
		cmocka_unit_test(only_public_addresses_are_the_machines_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
