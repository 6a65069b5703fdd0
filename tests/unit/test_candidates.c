#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/candidates.h"

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static bool add(struct candidate_list *l, enum candidate_kind kind, const char *text)
{
	struct addr a = addr_of(text);

	return candidates_add(l, kind, &a);
}

static void assert_list(const struct candidate_list *l, const char *const *want)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < l->count; i++) {
		assert_non_null(want[i]);
		assert_string_equal(addr_format(&l->items[i].addr, text), want[i]);
	}
	assert_null(want[l->count]);
}

static void unusable_addresses_are_left_out(void **state)
{
	(void)state;
	static const char *const unusable[] = {
		"127.0.0.1:1", "0.0.0.0:1", "224.0.0.1:1",	    "255.255.255.255:1", "192.0.2.1",
		"[::1]:1",     "[::]:1",    "[::ffff:127.0.0.1]:1", "[ff02::1]:1",	 "[2001:db8::1]",
	};
	struct candidate_list l = { 0 };

	for (size_t i = 0; i < sizeof unusable / sizeof unusable[0]; i++)
		assert_false(add(&l, CANDIDATE_HOST, unusable[i]));
	assert_int_equal(l.count, 0);
	assert_true(add(&l, CANDIDATE_HOST, "192.0.2.1:1"));
	assert_true(add(&l, CANDIDATE_HOST, "[2001:db8::1]:1"));
}

static void a_double_keeps_its_first_kind(void **state)
{
	(void)state;
	struct candidate_list l = { 0 };
	struct addr here = addr_of("192.0.2.1:1"), elsewhere = addr_of("192.0.2.1:2");

	assert_true(add(&l, CANDIDATE_HOST, "192.0.2.1:1"));
	assert_false(add(&l, CANDIDATE_REFLEXIVE, "192.0.2.1:1"));
	assert_false(add(&l, CANDIDATE_REFLEXIVE, "[::ffff:192.0.2.1]:1"));
	assert_int_equal(l.count, 1);
	assert_int_equal(l.items[0].kind, CANDIDATE_HOST);
	assert_true(candidates_has(&l, &here));
	assert_false(candidates_has(&l, &elsewhere));
}

static void a_full_list_stays_as_it_is(void **state)
{
	(void)state;
	struct candidate_list l = { 0 };
	struct addr a = addr_of("192.0.2.1:1");

	for (; l.count < RECORD_MAX_CANDIDATES; a.port++)
		assert_true(candidates_add(&l, CANDIDATE_HOST, &a));
	assert_false(candidates_add(&l, CANDIDATE_REFLEXIVE, &a));
	assert_int_equal(l.count, RECORD_MAX_CANDIDATES);
}

static void hosts_are_sorted_and_filtered(void **state)
{
	(void)state;
	static const char *const interfaces[] = {
		"127.0.0.1",   "::1",	      "fe80::1",     "fd12:3456::1",
		"192.168.1.5", "169.254.7.7", "2001:db8::5", "fd00:aaaa:bbbb::9",
		"10.77.0.2",   "203.0.113.5", "192.168.1.5",
	};
	static const char *const want[] = { "[2001:db8::5]:7777", "192.168.1.5:7777",	 "203.0.113.5:7777",
					    "[fe80::1]:7777",	  "[fd12:3456::1]:7777", NULL };
	const struct addr overlay[] = { addr_of("fd00:aaaa:bbbb::"), addr_of("10.77.0.0") };
	const unsigned bits[] = { 48, 16 };
	struct addr addrs[sizeof interfaces / sizeof interfaces[0]];
	struct candidate_list l = { 0 };

	for (size_t i = 0; i < sizeof addrs / sizeof addrs[0]; i++)
		addrs[i] = addr_of(interfaces[i]);
	candidates_add_hosts(&l, addrs, sizeof addrs / sizeof addrs[0], 7777, overlay, bits, 2);
	assert_list(&l, want);
	for (size_t i = 0; i < l.count; i++)
		assert_int_equal(l.items[i].kind, CANDIDATE_HOST);
}

static void at_most_eight_hosts_are_taken_and_the_best_of_them(void **state)
{
	(void)state;
	struct candidate_list l = { 0 };
	struct addr addrs[12];

	for (size_t i = 0; i < 10; i++) {
		addrs[i] = addr_of("10.0.0.1");
		addrs[i].ip[3] = (uint8_t)(1 + i);
	}
	addrs[10] = addr_of("fe80::1");
	addrs[11] = addr_of("2001:db8::1");
	assert_true(add(&l, CANDIDATE_MAPPED, "203.0.113.1:1"));
	candidates_add_hosts(&l, addrs, 12, 1, NULL, NULL, 0);
	assert_int_equal(l.count, 1 + 8);
	assert_int_equal(l.items[0].kind, CANDIDATE_MAPPED);
	assert_int_equal(l.items[1].addr.family, ADDR_V6);
	for (size_t i = 2; i < l.count; i++)
		assert_int_equal(l.items[i].addr.family, ADDR_V4);
}

static void lists_are_equal_if_kinds_addresses_and_order_are(void **state)
{
	(void)state;
	struct candidate_list a = { 0 }, b = { 0 }, swapped = { 0 }, kind = { 0 };

	assert_true(candidates_equal(&a, &b));
	add(&a, CANDIDATE_HOST, "192.0.2.1:1");
	assert_false(candidates_equal(&a, &b));
	add(&a, CANDIDATE_REFLEXIVE, "192.0.2.2:1");
	add(&b, CANDIDATE_HOST, "192.0.2.1:1");
	add(&b, CANDIDATE_REFLEXIVE, "192.0.2.2:1");
	add(&swapped, CANDIDATE_REFLEXIVE, "192.0.2.2:1");
	add(&swapped, CANDIDATE_HOST, "192.0.2.1:1");
	add(&kind, CANDIDATE_HOST, "192.0.2.1:1");
	add(&kind, CANDIDATE_MAPPED, "192.0.2.2:1");
	assert_true(candidates_equal(&a, &b));
	assert_false(candidates_equal(&a, &swapped));
	assert_false(candidates_equal(&a, &kind));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unusable_addresses_are_left_out),
		cmocka_unit_test(a_double_keeps_its_first_kind),
		cmocka_unit_test(a_full_list_stays_as_it_is),
		cmocka_unit_test(hosts_are_sorted_and_filtered),
		cmocka_unit_test(at_most_eight_hosts_are_taken_and_the_best_of_them),
		cmocka_unit_test(lists_are_equal_if_kinds_addresses_and_order_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
