#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/proxy_header.h"

/* Written down by hand from proxy-protocol.txt, section 2.2. */
#define SIGNATURE 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a

static const uint8_t tcp4[] = { SIGNATURE, 0x21, 0x11, 0, 12,
				/* 198.51.100.7 -> 203.0.113.5, 50000 -> 443 */
				198, 51, 100, 7, 203, 0, 113, 5, 0xc3, 0x50, 0x01, 0xbb };
static const uint8_t udp6[] = { SIGNATURE, 0x21, 0x22, 0, 36,
				/* 2001:db8::7 -> 2001:db8::5, 50000 -> 53 */
				0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x20, 0x01, 0x0d,
				0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0xc3, 0x50, 0x00, 0x35 };

static const struct {
	const uint8_t *bytes;
	size_t len;
	enum forward_proto proto;
	const char *from, *to;
} known[] = {
	{ tcp4, sizeof tcp4, FORWARD_TCP, "198.51.100.7:50000", "203.0.113.5:443" },
	{ udp6, sizeof udp6, FORWARD_UDP, "[2001:db8::7]:50000", "[2001:db8::5]:53" },
};

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static void what_is_written_is_as_the_protocol_has_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		struct proxy_header h = { .proto = known[i].proto,
					  .from = addr(known[i].from),
					  .to = addr(known[i].to) };
		uint8_t out[PROXY_HEADER_MAX];
		assert_int_equal(proxy_header_write(out, &h), known[i].len);
		assert_memory_equal(out, known[i].bytes, known[i].len);
	}
}

static void what_is_read_is_what_was_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		struct proxy_header h;
		struct addr from = addr(known[i].from), to = addr(known[i].to);
		assert_int_equal(proxy_header_read(&h, known[i].bytes, known[i].len), known[i].len);
		assert_int_equal(h.proto, known[i].proto);
		assert_true(addr_equal(&h.from, &from));
		assert_true(addr_equal(&h.to, &to));
	}
}

static void nothing_is_written_of_two_families_or_none(void **state)
{
	(void)state;
	uint8_t out[PROXY_HEADER_MAX];
	struct proxy_header mixed = { .proto = FORWARD_TCP,
				      .from = addr("198.51.100.7:1"),
				      .to = addr("[2001:db8::5]:2") };
	struct proxy_header none = { .proto = FORWARD_TCP };

	assert_int_equal(proxy_header_write(out, &mixed), 0);
	assert_int_equal(proxy_header_write(out, &none), 0);
}

static void each_piece_of_a_header_asks_for_the_rest(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		for (size_t n = 0; n < known[i].len; n++) {
			struct proxy_header h;
			assert_int_equal(proxy_header_read(&h, known[i].bytes, n), -EAGAIN);
		}
}

static const uint8_t secret4[] = { SIGNATURE, 0x21, 0x11, 0, 12 + 19,
				   /* 198.51.100.7 -> 203.0.113.5, 50000 -> 443 */
				   198, 51, 100, 7, 203, 0, 113, 5, 0xc3, 0x50, 0x01, 0xbb,
				   /* Type, length, value. */
				   0xe0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static void a_secret_goes_along(void **state)
{
	(void)state;
	struct proxy_header h = { FORWARD_TCP,
				  addr("198.51.100.7:50000"),
				  addr("203.0.113.5:443"),
				  true,
				  { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } },
			    back;
	uint8_t out[PROXY_HEADER_MAX];

	assert_int_equal(proxy_header_write(out, &h), sizeof secret4);
	assert_memory_equal(out, secret4, sizeof secret4);
	assert_int_equal(proxy_header_read(&back, out, sizeof secret4), sizeof secret4);
	assert_true(back.has_secret);
	assert_memory_equal(back.secret, h.secret, FORWARD_SECRET);
	assert_int_equal(proxy_header_read(&back, out, sizeof secret4 - 1), -EAGAIN);
	h = (struct proxy_header) {
		FORWARD_UDP, addr("[2001:db8::7]:1"), addr("[2001:db8::5]:2"), true, { 0 }
	};
	assert_int_equal(proxy_header_write(out, &h), PROXY_HEADER_MAX);
}

static void a_secret_of_another_type_or_length_is_none(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = { { 28, 0xe1 }, { 30, 15 }, { 30, 17 }, { 29, 1 }, { 15, 12 + 18 }, { 15, 12 + 2 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t data[sizeof secret4];
		struct proxy_header h;
		memcpy(data, secret4, sizeof data);
		data[cases[i].at] = cases[i].value;
		assert_int_equal(proxy_header_read(&h, data, sizeof data), 16 + data[15]);
		assert_false(h.has_secret);
	}
}

static void what_follows_is_not_the_headers(void **state)
{
	(void)state;
	uint8_t data[sizeof tcp4 + 5];
	struct proxy_header h;

	memcpy(data, tcp4, sizeof tcp4);
	memcpy(data + sizeof tcp4, "hello", 5);
	assert_int_equal(proxy_header_read(&h, data, sizeof data), sizeof tcp4);
}

static void tlvs_are_skipped_as_far_as_a_segment_holds_them(void **state)
{
	(void)state;
	uint8_t data[PROXY_HEADER_READ_MAX + 1] = { 0 };
	size_t most = PROXY_HEADER_READ_MAX - 16;
	struct proxy_header h;

	memcpy(data, tcp4, sizeof tcp4);
	data[14] = (uint8_t)(most >> 8);
	data[15] = (uint8_t)most;
	assert_int_equal(proxy_header_read(&h, data, PROXY_HEADER_READ_MAX), PROXY_HEADER_READ_MAX);
	assert_int_equal(proxy_header_read(&h, data, PROXY_HEADER_READ_MAX - 1), -EAGAIN);
	data[14] = (uint8_t)((most + 1) >> 8);
	data[15] = (uint8_t)(most + 1);
	assert_int_equal(proxy_header_read(&h, data, sizeof data), -EBADMSG);
}

/* What one byte changes makes of a good header. */
static const struct {
	const char *what;
	const uint8_t *good;
	size_t len, at;
	uint8_t value;
} spoilt[] = {
	{ "the signature's first byte", tcp4, sizeof tcp4, 0, 'G' },
	{ "its last", tcp4, sizeof tcp4, 11, 0 },
	{ "version 1", tcp4, sizeof tcp4, 12, 0x11 },
	{ "LOCAL, which names nobody", tcp4, sizeof tcp4, 12, 0x20 },
	{ "an unknown command", tcp4, sizeof tcp4, 12, 0x22 },
	{ "no family", tcp4, sizeof tcp4, 13, 0x01 },
	{ "a Unix socket", tcp4, sizeof tcp4, 13, 0x31 },
	{ "neither a stream nor datagrams", tcp4, sizeof tcp4, 13, 0x10 },
	{ "too short for its addresses", tcp4, sizeof tcp4, 15, 11 },
	{ "IPv6 with the room of IPv4", tcp4, sizeof tcp4, 13, 0x21 },
	{ "longer than any may be", tcp4, sizeof tcp4, 14, 0x10 },
};

static void a_spoilt_header_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
		uint8_t data[sizeof udp6];
		struct proxy_header h;
		memcpy(data, spoilt[i].good, spoilt[i].len);
		data[spoilt[i].at] = spoilt[i].value;
		if (proxy_header_read(&h, data, spoilt[i].len) != -EBADMSG)
			fail_msg("taken: %s", spoilt[i].what);
	}
}

static void an_ipv4_address_in_ipv6s_clothes_is_refused(void **state)
{
	(void)state;
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	struct proxy_header h;

	for (size_t address = 0; address < 2; address++) {
		uint8_t data[sizeof udp6];
		memcpy(data, udp6, sizeof udp6);
		memcpy(data + 16 + address * 16, mapped, sizeof mapped);
		assert_int_equal(proxy_header_read(&h, data, sizeof data), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_as_the_protocol_has_it),
		cmocka_unit_test(what_is_read_is_what_was_written),
		cmocka_unit_test(nothing_is_written_of_two_families_or_none),
		cmocka_unit_test(each_piece_of_a_header_asks_for_the_rest),
		cmocka_unit_test(a_secret_goes_along),
		cmocka_unit_test(a_secret_of_another_type_or_length_is_none),
		cmocka_unit_test(what_follows_is_not_the_headers),
		cmocka_unit_test(tlvs_are_skipped_as_far_as_a_segment_holds_them),
		cmocka_unit_test(a_spoilt_header_is_refused),
		cmocka_unit_test(an_ipv4_address_in_ipv6s_clothes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
