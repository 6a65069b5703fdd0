#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/addr.h"
#include "core/bytes.h"

static struct addr parsed(const char *text)
{
	struct addr a;

	if (addr_parse(&a, text, 0))
		fail_msg("%s does not parse", text);
	return a;
}

static void texts_parse_and_print_in_one_form(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint16_t default_port;
		const char *want;
	} cases[] = {
		{ "1.2.3.4:5", 0, "1.2.3.4:5" },
		{ "1.2.3.4:5", 9, "1.2.3.4:5" },
		{ "1.2.3.4", 9, "1.2.3.4:9" },
		{ "1.2.3.4", 0, "1.2.3.4" },
		{ "255.255.255.255:65535", 0, "255.255.255.255:65535" },
		{ "[2001:db8::1]:5", 0, "[2001:db8::1]:5" },
		{ "[2001:db8::1]", 7, "[2001:db8::1]:7" },
		{ "2001:DB8:0:0::1", 0, "2001:db8::1" },
		{ "::", 1, "[::]:1" },
		{ "::ffff:1.2.3.4", 5, "1.2.3.4:5" },
		{ "[::ffff:7f00:1]:80", 0, "127.0.0.1:80" },
		{ "fe80::1%7", 0, "fe80::1%7" },
		{ "[fe80::1%7]:5", 0, "[fe80::1%7]:5" },
		{ "fe80::1%lo", 0, "fe80::1%1" },
		{ "2001:db8:1111:2222:3333:4444:5555:6666", 65535,
		  "[2001:db8:1111:2222:3333:4444:5555:6666]:65535" },
	};
	char out[ADDR_TEXT_MAX];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a;
		assert_int_equal(addr_parse(&a, cases[i].text, cases[i].default_port), 0);
		assert_string_equal(addr_format(&a, out), cases[i].want);
	}
}

static void the_longest_text_fits(void **state)
{
	(void)state;
	char out[ADDR_TEXT_MAX];
	struct addr a = parsed("fe80:1111:2222:3333:4444:5555:6666:7777");

	a.scope = UINT32_MAX;
	a.port = 65535;
	assert_string_equal(addr_format(&a, out),
			    "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535");
	assert_string_equal(addr_format_ip(&a, out), "fe80:1111:2222:3333:4444:5555:6666:7777");
	assert_string_equal(addr_format(&(struct addr) { 0 }, out), "none");
}

static void bad_texts_are_refused(void **state)
{
	(void)state;
	static const char *const cases[] = {
		"",
		":",
		":5",
		"1.2.3",
		"1.2.3.4.5",
		"256.1.1.1",
		"1.2.3.4:",
		"1.2.3.4:0",
		"1.2.3.4:65536",
		"1.2.3.4:5x",
		"1.2.3.4:-5",
		"1.2.3.4: 5",
		"1.2.3.4:+5",
		"01.2.3.4x",
		"example.org",
		"localhost:5",
		"[::1",
		"[::1]5",
		"[::1]:",
		"[::1]:0",
		"::1]:5",
		"[]:5",
		"1:2:3:4:5:6:7",
		"::g",
		"[fe80::1%]:5",
		"fe80::1%0",
		"fe80::1%nowhere",
		"fe80::1%7x",
		"2001:db8::1%7",
		"::ffff:1.2.3.4%7",
		"fe80::1%-1",
		"fe80::1%4294967296",
		"1.2.3.4%7",
		"1111111111111111111111111111111111111111111111111111111111111111111111111111",
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a;
		if (addr_parse(&a, cases[i], 1) != -EINVAL)
			fail_msg("%s was taken", cases[i]);
	}
}

static void an_ipv4_mapped_address_never_exists(void **state)
{
	(void)state;
	uint8_t mapped[16] = { [10] = 0xff, 0xff, 127, 0, 0, 1 };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(5), .sin6_scope_id = 3 };
	uint8_t wire[ADDR_WIRE_LEN] = { ADDR_V6, 5, 0 };
	struct addr want = parsed("127.0.0.1:5"), got = addr_from_ip(ADDR_V6, mapped, 5);

	assert_true(addr_equal(&got, &want));
	memcpy(&in6.sin6_addr, mapped, 16);
	got = addr_from_sockaddr((struct sockaddr *)&in6);
	assert_true(addr_equal(&got, &want));
	memcpy(wire + 3, mapped, 16);
	struct reader r = reader_over(wire, sizeof wire);
	got = addr_read(&r);
	assert_true(reader_done(&r) && addr_equal(&got, &want));
}

static void a_socket_address_goes_there_and_back(void **state)
{
	(void)state;
	static const char *const cases[] = { "1.2.3.4:5", "[2001:db8::1]:65535", "[fe80::1%7]:5" };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sockaddr_storage ss;
		struct addr a = parsed(cases[i]);
		unsigned len = addr_to_sockaddr(&a, &ss);
		assert_int_equal(len, a.family == ADDR_V4 ? sizeof(struct sockaddr_in)
							  : sizeof(struct sockaddr_in6));
		struct addr b = addr_from_sockaddr((struct sockaddr *)&ss);
		assert_true(addr_equal(&a, &b));
	}
	struct addr none = addr_from_sockaddr(&(struct sockaddr) { .sa_family = AF_UNIX });
	assert_int_equal(none.family, ADDR_NONE);
}

static void only_a_link_local_address_keeps_its_scope(void **state)
{
	(void)state;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_scope_id = 3 };

	in6.sin6_addr.s6_addr[0] = 0x20;
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&in6).scope, 0);
	in6.sin6_addr.s6_addr[0] = 0xfe;
	in6.sin6_addr.s6_addr[1] = 0x80;
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&in6).scope, 3);
}

static void addresses_fall_into_their_classes(void **state)
{
	(void)state;
	enum { UNUSABLE = 1, LOOPBACK = 2, PRIVATE = 4, LINK_LOCAL = 8 };
	static const struct {
		const char *ip;
		int want;
	} cases[] = {
		{ "8.8.8.8", 0 },
		{ "0.1.2.3", UNUSABLE },
		{ "127.0.0.1", UNUSABLE | LOOPBACK },
		{ "127.255.255.255", UNUSABLE | LOOPBACK },
		{ "126.255.255.255", 0 },
		{ "128.0.0.0", 0 },
		{ "223.255.255.255", 0 },
		{ "224.0.0.1", UNUSABLE },
		{ "255.255.255.255", UNUSABLE },
		{ "10.0.0.1", PRIVATE },
		{ "172.15.255.255", 0 },
		{ "172.16.0.0", PRIVATE },
		{ "172.31.255.255", PRIVATE },
		{ "172.32.0.0", 0 },
		{ "192.168.1.1", PRIVATE },
		{ "192.169.1.1", 0 },
		{ "100.63.255.255", 0 },
		{ "100.64.0.0", PRIVATE },
		{ "100.127.255.255", PRIVATE },
		{ "100.128.0.0", 0 },
		{ "169.254.1.1", PRIVATE | LINK_LOCAL },
		{ "::", UNUSABLE },
		{ "::1", UNUSABLE | LOOPBACK },
		{ "::2", 0 },
		{ "ff02::1", UNUSABLE },
		{ "2001:db8::1", 0 },
		{ "fc00::1", PRIVATE },
		{ "fdff::1", PRIVATE },
		{ "fe00::1", 0 },
		{ "fe80::1", PRIVATE | LINK_LOCAL },
		{ "febf::1", PRIVATE | LINK_LOCAL },
		{ "fec0::1", 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a = parsed(cases[i].ip);
		assert_true(addr_is_unusable(&a));
		a.port = 1;
		int got = (addr_is_unusable(&a) ? UNUSABLE : 0) | (addr_is_loopback(&a) ? LOOPBACK : 0) |
			  (addr_is_private(&a) ? PRIVATE : 0) | (addr_is_link_local(&a) ? LINK_LOCAL : 0);
		if (got != cases[i].want)
			fail_msg("%s: %d, not %d", cases[i].ip, got, cases[i].want);
	}
	assert_true(addr_is_unusable(&(struct addr) { .port = 1 }));
}

static void prefixes_hold_what_they_should(void **state)
{
	(void)state;
	static const struct {
		const char *ip, *prefix;
		unsigned bits;
		bool want;
	} cases[] = {
		{ "10.77.3.4", "10.77.0.0", 16, true },
		{ "10.78.0.0", "10.77.0.0", 16, false },
		{ "10.77.3.4", "0.0.0.0", 0, true },
		{ "10.77.127.255", "10.77.0.0", 17, true },
		{ "10.77.128.0", "10.77.0.0", 17, false },
		{ "10.77.0.1", "10.77.0.1", 32, true },
		{ "10.77.0.0", "10.77.0.1", 32, false },
		{ "10.77.0.1", "10.77.0.1", 33, false },
		{ "::1", "0.0.0.0", 0, false },
		{ "10.0.0.1", "::", 0, false },
		{ "fd00::1", "fd00::", 127, true },
		{ "fd00::1", "fd00::", 64, true },
		{ "fd00::1", "fd00::1", 128, true },
		{ "fd00::", "fd00::1", 128, false },
		{ "fd00:0:0:1::", "fd00::", 48, true },
		{ "fd00:0:1::", "fd00::", 48, false },
		{ "fd00::1", "fd00::1", 129, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a = parsed(cases[i].ip), p = parsed(cases[i].prefix);
		if (addr_in_prefix(&a, &p, cases[i].bits) != cases[i].want)
			fail_msg("%s in %s/%u", cases[i].ip, cases[i].prefix, cases[i].bits);
	}
}

static void order_and_equality_agree(void **state)
{
	(void)state;
	static const char *const ascending[] = { "1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:1", "[::1]:5",
						 "[::2]:4" };

	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < 5; j++) {
			struct addr a = parsed(ascending[i]), b = parsed(ascending[j]);
			int c = addr_compare(&a, &b);
			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
			assert_int_equal(addr_equal(&a, &b), i == j);
			assert_int_equal(addr_hash(&a, 1) == addr_hash(&b, 1), i == j);
		}
	struct addr a = parsed(ascending[0]), b = parsed(ascending[1]);
	assert_true(addr_same_ip(&a, &b));
	assert_true(addr_hash(&a, 1) != addr_hash(&a, 2));
}

static void the_wire_form_goes_there_and_back(void **state)
{
	(void)state;
	static const uint8_t want[ADDR_WIRE_LEN] = { 4, 0x34, 0x12, 1, 2, 3, 4 };
	static const char *const cases[] = { "1.2.3.4:4660", "[2001:db8::1]:5", "0.0.0.0" };

	for (size_t i = 0; i < 3; i++) {
		uint8_t wire[ADDR_WIRE_LEN];
		struct writer w = writer_over(wire, sizeof wire);
		struct addr a = parsed(cases[i]);
		addr_write(&w, &a);
		assert_false(w.bad);
		if (i == 0)
			assert_memory_equal(wire, want, sizeof want);
		struct reader r = reader_over(wire, sizeof wire);
		struct addr b = addr_read(&r);
		assert_true(reader_done(&r) && addr_equal(&a, &b));
	}
}

static void a_bad_wire_form_is_refused(void **state)
{
	(void)state;
	uint8_t wire[ADDR_WIRE_LEN] = { 0 };

	for (unsigned family = 0; family < 256; family++) {
		wire[0] = (uint8_t)family;
		struct reader r = reader_over(wire, sizeof wire);
		struct addr a = addr_read(&r);
		bool known = family == ADDR_NONE || family == ADDR_V4 || family == ADDR_V6;
		assert_int_equal(r.bad, !known);
		assert_int_equal(a.family, known ? family : 0);
	}
	for (size_t len = 0; len < ADDR_WIRE_LEN; len++) {
		struct reader r = reader_over(wire, len);
		addr_read(&r);
		assert_true(r.bad);
	}
}

static void no_address_has_one_wire_meaning(void **state)
{
	(void)state;
	uint8_t wire[ADDR_WIRE_LEN];

	memset(wire, 0xff, sizeof wire);
	wire[0] = ADDR_NONE;
	struct reader r = reader_over(wire, sizeof wire);
	struct addr a = addr_read(&r);
	assert_true(addr_equal(&a, &(struct addr) { 0 }));
}

static void nobody_outside_names_what_is_inside(void **state)
{
	(void)state;
	static const struct {
		const char *by, *a;
		bool may;
	} cases[] = {
		{ "198.51.100.1:443", "203.0.113.9:3478", true },
		{ "198.51.100.1:443", "203.0.113.9", false },
		{ "198.51.100.1:443", "[2001:db8::1]:3478", true },
		{ "198.51.100.1:443", "192.168.1.1:3478", false },
		{ "198.51.100.1:443", "[fd00::1]:3478", false },
		{ "198.51.100.1:443", "[fe80::1]:3478", false },
		{ "198.51.100.1:443", "127.0.0.1:3478", false },
		{ "198.51.100.1:443", "[::1]:3478", false },
		{ "198.51.100.1:443", "224.0.0.251:5353", false },
		{ "198.51.100.1:443", "0.0.0.0:3478", false },
		{ "192.168.1.9:443", "192.168.1.1:3478", true },
		{ "192.168.1.9:443", "198.51.100.1:3478", true },
		{ "192.168.1.9:443", "127.0.0.1:3478", false },
		{ "127.0.0.1:443", "127.0.0.1:3478", true },
		{ "127.0.0.1:443", "127.0.0.1", false },
		{ "127.0.0.1:443", "192.168.1.1:3478", true },
	};
	const struct addr nobody = { 0 };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr by, a;
		assert_int_equal(addr_parse(&by, cases[i].by, 0), 0);
		assert_int_equal(addr_parse(&a, cases[i].a, 0), 0);
		if (addr_may_name(&by, &a) != cases[i].may)
			fail_msg("%s names %s", cases[i].by, cases[i].a);
		if (!addr_is_private(&by) && !addr_is_loopback(&by))
			assert_int_equal(addr_may_name(&nobody, &a), cases[i].may);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_outside_names_what_is_inside),
		cmocka_unit_test(texts_parse_and_print_in_one_form),
		cmocka_unit_test(the_longest_text_fits),
		cmocka_unit_test(bad_texts_are_refused),
		cmocka_unit_test(an_ipv4_mapped_address_never_exists),
		cmocka_unit_test(a_socket_address_goes_there_and_back),
		cmocka_unit_test(only_a_link_local_address_keeps_its_scope),
		cmocka_unit_test(addresses_fall_into_their_classes),
		cmocka_unit_test(prefixes_hold_what_they_should),
		cmocka_unit_test(order_and_equality_agree),
		cmocka_unit_test(the_wire_form_goes_there_and_back),
		cmocka_unit_test(a_bad_wire_form_is_refused),
		cmocka_unit_test(no_address_has_one_wire_meaning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
