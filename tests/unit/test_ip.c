#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/ip.h"

struct ip_case {
	const char *why;
	uint8_t first;	   /* version and, for IPv4, header length in words */
	uint16_t length;   /* what the header says: total (4) or payload (6) */
	size_t given;	   /* bytes in the buffer */
	size_t want_total; /* 0: refused */
};

static const struct ip_case cases[] = {
	{ "the least IPv4 packet", 0x45, 20, 20, 20 },
	{ "IPv4 with bytes behind it", 0x45, 24, 60, 24 },
	{ "IPv4 with options", 0x46, 24, 24, 24 },
	{ "IPv4 cut short", 0x45, 61, 60, 0 },
	{ "IPv4 total below its header", 0x45, 19, 60, 0 },
	{ "IPv4 total below its header with options", 0x4f, 59, 60, 0 },
	{ "IPv4 header below 20 bytes", 0x44, 60, 60, 0 },
	{ "less than an IPv4 header", 0x45, 19, 19, 0 },
	{ "the least IPv6 packet", 0x60, 0, 40, 40 },
	{ "IPv6 with payload", 0x6f, 20, 60, 60 },
	{ "IPv6 with bytes behind it", 0x60, 10, 60, 50 },
	{ "IPv6 cut short", 0x60, 21, 60, 0 },
	{ "less than an IPv6 header", 0x60, 0, 39, 0 },
	{ "version 5", 0x55, 20, 60, 0 },
	{ "nothing", 0x45, 20, 0, 0 },
};

static void only_whole_packets_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct ip_case *c = &cases[i];
		uint8_t *p = malloc(c->given + 1); /* exact, so that a sanitizer sees one byte too many */
		uint8_t header[60] = { c->first };
		struct ip_view v = { 0 };
		store_be16(header + (c->first >> 4 == 6 ? 4 : 2), c->length);
		memcpy(p + 1, header, c->given);
		bool ok = ip_parse(&v, p + 1, c->given);
		if (ok != (c->want_total != 0))
			fail_msg("%s", c->why);
		if (ok)
			assert_int_equal(v.total, c->want_total);
		free(p);
	}
}

static void addresses_are_where_the_headers_have_them(void **state)
{
	(void)state;
	uint8_t v4[20] = { 0x45, 0, 0, 20, [12] = 10, 0, 0, 1, 10, 0, 0, 2 };
	uint8_t v6[40] = { 0x60, [8] = 0xfd, [23] = 1, [24] = 0xfe, [39] = 2 };
	struct ip_view v;

	assert_true(ip_parse(&v, v4, sizeof v4));
	assert_int_equal(v.family, ADDR_V4);
	assert_ptr_equal(v.src, v4 + 12);
	assert_ptr_equal(v.dst, v4 + 16);
	assert_true(ip_parse(&v, v6, sizeof v6));
	assert_int_equal(v.family, ADDR_V6);
	assert_ptr_equal(v.src, v6 + 8);
	assert_ptr_equal(v.dst, v6 + 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_whole_packets_parse),
		cmocka_unit_test(addresses_are_where_the_headers_have_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
