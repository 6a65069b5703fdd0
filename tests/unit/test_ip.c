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

/* --- Too big */

/* Internet checksum over everything is 0 where the checksum in it is right (RFC 1071). */
static bool sums_up(const uint8_t *p, size_t len, uint32_t pseudo)
{
	uint32_t sum = pseudo;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static uint32_t pseudo6(const uint8_t *p)
{
	uint32_t sum = load_be16(p + 4) + p[6];

	for (size_t i = 8; i < 40; i += 2)
		sum += load_be16(p + i);
	return sum;
}

/* 10.0.0.1 to 10.0.0.2, the payload counting up from 0. */
static size_t packet4(uint8_t *p, size_t total, uint8_t protocol, uint16_t fragment)
{
	memset(p, 0, 20);
	p[0] = 0x45;
	store_be16(p + 2, (uint16_t)total);
	store_be16(p + 4, 0xabcd);
	store_be16(p + 6, fragment);
	p[8] = 33;
	p[9] = protocol;
	memcpy(p + 12, (const uint8_t[]) { 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
	for (size_t i = 20; i < total; i++)
		p[i] = (uint8_t)((i - 20) ^ (i - 20) >> 8);
	return total;
}

static size_t packet6(uint8_t *p, size_t total, uint8_t next)
{
	memset(p, 0, total);
	p[0] = 0x60;
	store_be16(p + 4, (uint16_t)(total - 40));
	p[6] = next;
	p[8] = 0xfd;
	p[23] = 1;
	p[24] = 0xfd;
	p[39] = 2;
	return total;
}

static void a_packet_that_must_not_be_split_is_answered(void **state)
{
	(void)state;
	static const size_t lengths[] = { 60, 548, 549, 1408, 65535 };
	static uint8_t packet[65535], out[IP_TOO_BIG_MAX];

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		size_t len = packet4(packet, lengths[i], 6, 0x4000);
		size_t quote = len < 548 ? len : 548;
		assert_int_equal(ip_too_big(packet, len, 1340, out), 28 + quote);
		assert_int_equal(load_be16(out + 2), 28 + quote);
		assert_true(sums_up(out, 20, 0));
		assert_int_equal(out[9], 1);
		assert_memory_equal(out + 12, packet + 16, 4);
		assert_memory_equal(out + 16, packet + 12, 4);
		assert_int_equal(out[20], 3);
		assert_int_equal(out[21], 4);
		assert_int_equal(load_be16(out + 24), 0);
		assert_int_equal(load_be16(out + 26), 1340);
		assert_true(sums_up(out + 20, 8 + quote, 0));
		assert_memory_equal(out + 28, packet, quote);
	}
}

static void an_ipv6_packet_is_answered(void **state)
{
	(void)state;
	static const size_t lengths[] = { 61, 1232, 1233, 1408, 65535 };
	static uint8_t packet[65535], out[IP_TOO_BIG_MAX];

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		size_t len = packet6(packet, lengths[i], 17);
		size_t quote = len < 1232 ? len : 1232;
		assert_int_equal(ip_too_big(packet, len, 1280, out), 48 + quote);
		assert_int_equal(load_be16(out + 4), 8 + quote);
		assert_int_equal(out[6], 58);
		assert_memory_equal(out + 8, packet + 24, 16);
		assert_memory_equal(out + 24, packet + 8, 16);
		assert_int_equal(out[40], 2);
		assert_int_equal(out[41], 0);
		assert_int_equal(load_be32(out + 44), 1280);
		assert_true(sums_up(out + 40, 8 + quote, pseudo6(out)));
		assert_memory_equal(out + 48, packet, quote);
	}
}

static void what_must_not_be_answered_is_not(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		uint8_t protocol;
		uint16_t fragment;
		uint8_t type; /* first byte of the payload */
		uint8_t src, dst;
		bool answered;
	} table[] = {
		{ "TCP", 6, 0x4000, 3, 10, 10, true },
		{ "it may be split", 6, 0, 0, 10, 10, false },
		{ "the first fragment", 17, 0x6000, 0, 10, 10, true },
		{ "a later fragment", 17, 0x4001, 0, 10, 10, false },
		{ "an echo", 1, 0x4000, 8, 10, 10, true },
		{ "a timestamp", 1, 0x4000, 13, 10, 10, true },
		{ "unreachable", 1, 0x4000, 3, 10, 10, false },
		{ "source quench", 1, 0x4000, 4, 10, 10, false },
		{ "redirect", 1, 0x4000, 5, 10, 10, false },
		{ "time exceeded", 1, 0x4000, 11, 10, 10, false },
		{ "parameter problem", 1, 0x4000, 12, 10, 10, false },
		{ "from nobody", 17, 0x4000, 0, 0, 10, false },
		{ "from a group", 17, 0x4000, 0, 224, 10, false },
		{ "to a group", 17, 0x4000, 0, 10, 239, false },
		{ "to all", 17, 0x4000, 0, 10, 255, false },
	};
	uint8_t packet[1400], out[IP_TOO_BIG_MAX];

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		packet4(packet, sizeof packet, table[i].protocol, table[i].fragment);
		packet[20] = table[i].type;
		packet[12] = table[i].src;
		packet[16] = table[i].dst;
		if ((ip_too_big(packet, sizeof packet, 1340, out) != 0) != table[i].answered)
			fail_msg("%s", table[i].why);
	}
	packet[0] = 0x55;
	assert_int_equal(ip_too_big(packet, sizeof packet, 1340, out), 0);
}

static void ipv6_errors_are_not_answered_however_deep_they_are(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		uint8_t next;
		uint8_t payload[20];
		bool answered;
	} table[] = {
		{ "UDP", 17, { 1 }, true },
		{ "an echo", 58, { 128 }, true },
		{ "unreachable", 58, { 1 }, false },
		{ "too big", 58, { 2 }, false },
		{ "the last error", 58, { 127 }, false },
		{ "a redirect", 58, { 137 }, false },
		{ "an error behind options", 0, { 58, 0, [8] = 1 }, false },
		{ "an error behind two headers", 60, { 43, 0, [8] = 58, 0, [16] = 3 }, false },
		{ "an echo behind options", 0, { 58, 0, [8] = 128 }, true },
		{ "ICMP behind a header that runs out of the packet", 0, { 58, 255 }, false },
		{ "UDP behind options", 60, { 17, 1, [16] = 1 }, true },
	};
	uint8_t packet[1400], out[IP_TOO_BIG_MAX];

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		packet6(packet, sizeof packet, table[i].next);
		memcpy(packet + 40, table[i].payload, sizeof table[i].payload);
		if ((ip_too_big(packet, sizeof packet, 1340, out) != 0) != table[i].answered)
			fail_msg("%s", table[i].why);
	}
	packet6(packet, sizeof packet, 17);
	packet[24] = 0xff;
	assert_int_equal(ip_too_big(packet, sizeof packet, 1340, out), 0);
	packet6(packet, sizeof packet, 17);
	memset(packet + 8, 0, 16);
	assert_int_equal(ip_too_big(packet, sizeof packet, 1340, out), 0);
}

/* --- Fragments */

/* Puts fragments of `packet` together as a receiver does, each from a buffer of its very size. */
static void check_fragments(const uint8_t *packet, size_t len, size_t mtu)
{
	static uint8_t back[65535];
	size_t header = (size_t)(packet[0] & 15) * 4, got = 0, n;
	uint16_t before = load_be16(packet + 6), last = 0;
	struct ip_fragments f;

	assert_int_equal(ip_fragments_begin(&f, packet, len, mtu), 0);
	for (;;) {
		uint8_t *out = malloc(mtu);
		n = ip_fragments_next(&f, out);
		if (n == 0) {
			free(out);
			break;
		}
		size_t own = (size_t)(out[0] & 15) * 4;
		assert_in_range(n, own + 1, mtu);
		assert_int_equal(load_be16(out + 2), n);
		assert_true(sums_up(out, own, 0));
		assert_memory_equal(out + 4, packet + 4, 2);
		assert_memory_equal(out + 8, packet + 8, 2);
		assert_memory_equal(out + 12, packet + 12, 8);
		last = load_be16(out + 6);
		assert_int_equal((last & 0x1fff) * 8, (before & 0x1fff) * 8 + got);
		assert_int_equal(own, got ? own : header);
		memcpy(back + got, out + own, n - own);
		got += n - own;
		assert_int_equal(last & 0x2000, got < len - header ? 0x2000 : before & 0x2000);
		free(out);
	}
	assert_int_equal(got, len - header);
	assert_memory_equal(back, packet + header, got);
}

static void fragments_make_the_packet_again(void **state)
{
	(void)state;
	static uint8_t packet[65535];
	static const size_t lengths[] = { 69, 1341, 1408, 4000, 65535 };

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (size_t mtu = 68; mtu<1408; mtu += lengths[i]> 4000 ? 223 : 1)
			check_fragments(packet, packet4(packet, lengths[i], 17, 0), mtu);
	packet4(packet, 1408 - 1408 % 8 + 20, 17, 0x2000 | 100); /* was split before, more is behind it */
	check_fragments(packet, 1408 - 1408 % 8 + 20, 1340);
	packet4(packet, 1408, 17, 100); /* the last of such */
	check_fragments(packet, 1408, 1340);
}

static void options_are_copied_where_they_ask_for_it(void **state)
{
	(void)state;
	/* Not copied: record route (7). Copied: router alert (148). */
	static const uint8_t options[12] = { 7, 5, 4, 0, 0, 1, 148, 4, 0, 0, 0 };
	uint8_t packet[400], out[200];
	struct ip_fragments f;

	packet4(packet, sizeof packet, 17, 0);
	packet[0] = 0x48;
	memcpy(packet + 20, options, sizeof options);
	check_fragments(packet, sizeof packet, 100);
	assert_int_equal(ip_fragments_begin(&f, packet, sizeof packet, 200), 0);
	assert_int_equal(ip_fragments_next(&f, out), 200);
	assert_memory_equal(out + 20, options, sizeof options);
	assert_int_equal(ip_fragments_next(&f, out), 200);
	assert_int_equal(out[0], 0x46);
	assert_memory_equal(out + 20, "\x94\x04\0\0", 4);
}

static void what_cannot_be_split_is_not(void **state)
{
	(void)state;
	static const uint8_t broken[][4] = { { 148, 0 }, { 148, 1 }, { 148, 5 }, { 1, 1, 1, 148 } };
	uint8_t packet[400];
	struct ip_fragments f;

	packet4(packet, sizeof packet, 17, 0x4000);
	assert_int_equal(ip_fragments_begin(&f, packet, sizeof packet, 100), -EMSGSIZE);
	packet4(packet, sizeof packet, 17, 0);
	assert_int_equal(ip_fragments_begin(&f, packet, sizeof packet, 67), -EMSGSIZE);
	assert_int_equal(ip_fragments_begin(&f, packet, sizeof packet - 1, 100), -EINVAL);
	packet6(packet, sizeof packet, 17);
	assert_int_equal(ip_fragments_begin(&f, packet, sizeof packet, 100), -EINVAL);
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		packet4(packet, sizeof packet, 17, 0);
		packet[0] = 0x46;
		memcpy(packet + 20, broken[i], 4);
		assert_int_equal(ip_fragments_begin(&f, packet, sizeof packet, 100), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_whole_packets_parse),
		cmocka_unit_test(addresses_are_where_the_headers_have_them),
		cmocka_unit_test(a_packet_that_must_not_be_split_is_answered),
		cmocka_unit_test(an_ipv6_packet_is_answered),
		cmocka_unit_test(what_must_not_be_answered_is_not),
		cmocka_unit_test(ipv6_errors_are_not_answered_however_deep_they_are),
		cmocka_unit_test(fragments_make_the_packet_again),
		cmocka_unit_test(options_are_copied_where_they_ask_for_it),
		cmocka_unit_test(what_cannot_be_split_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
