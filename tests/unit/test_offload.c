#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/offload_packets.h"
#include "tun/checksum.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void sums_are_those_of_the_plain_loop(void **state)
{
	uint8_t *buf = malloc(PACKET_MAX);

	(void)state;
	for (size_t i = 0; i < PACKET_MAX; i++)
		buf[i] = payload_byte(i);
	for (size_t len = 0; len < 1600; len++)
		assert_int_equal(checksum_fold(checksum_sum(buf + len % 9, len)),
				 slow_sum(0, buf + len % 9, len));
	assert_int_equal(checksum_sum(buf, PACKET_MAX), slow_sum(0, buf, PACKET_MAX));
	memset(buf, 0xff, PACKET_MAX); /* every carry there is */
	for (size_t len = 2; len < PACKET_MAX; len += 2)
		if (checksum_sum(buf, len) != 0xffff)
			fail_msg("%zu bytes of 0xff", len);
	memset(buf, 0, PACKET_MAX);
	assert_int_equal(checksum_sum(buf, PACKET_MAX), 0);
	free(buf);
}

/* --- Split */

struct split_case {
	const char *why;
	struct made_packet packet;
	uint16_t gso_size, hdr_len;
	uint8_t ecn;
};

static const struct split_case split_cases[] = {
	{ "TCP over IPv4", { .data = 5000, .flags = ACK, .id = 7, .seq = 1 }, 1352, 40, 0 },
	{ "TCP over IPv6", { .ip6 = true, .data = 5000, .flags = ACK, .seq = 1 }, 1332, 60, 0 },
	{ "UDP over IPv4", { .udp = true, .data = 5000, .id = 7, .df = true }, 1300, 28, 0 },
	{ "UDP over IPv6", { .ip6 = true, .udp = true, .data = 5000 }, 1300, 48, 0 },
	{ "no short segment at the end", { .data = 4000, .flags = ACK }, 1000, 40, 0 },
	{ "odd sizes", { .data = 4001, .flags = ACK }, 999, 40, 0 },
	{ "one segment", { .data = 100, .flags = ACK | PSH | FIN | CWR }, 1352, 40, 0 },
	{ "one UDP segment", { .udp = true, .data = 100 }, 1352, 28, 0 },
	{ "no payload", { .flags = ACK | FIN }, 1352, 40, 0 },
	{ "payloads below the header's size", { .data = 100, .flags = ACK, .options = 40 }, 3, 80, 0 },
	{ "FIN and PSH on the last only", { .data = 3000, .flags = ACK | PSH | FIN }, 1000, 40, 0 },
	{ "CWR on the first only", { .data = 3000, .flags = ACK | CWR }, 1000, 40, VNET_GSO_ECN },
	{ "all of these over IPv6",
	  { .ip6 = true, .data = 3000, .flags = ACK | CWR | PSH | FIN },
	  1000,
	  60,
	  VNET_GSO_ECN },
	{ "TCP options", { .data = 3000, .flags = ACK, .options = 12 }, 1000, 52, 0 },
	{ "as many options as go", { .data = 3000, .flags = ACK, .options = 40 }, 1000, 80, 0 },
	{ "the sequence number wraps", { .data = 3000, .flags = ACK, .seq = 0xfffffc00 }, 1000, 40, 0 },
	{ "the ID wraps", { .data = 3000, .flags = ACK, .id = 0xffff }, 1000, 40, 0 },
	{ "IPv6 extension headers",
	  { .ip6 = true, .data = 3000, .flags = ACK, .extension = 24 },
	  999,
	  84,
	  0 },
	{ "the same with UDP", { .ip6 = true, .udp = true, .data = 3000, .extension = 8 }, 999, 56, 0 },
	{ "hdr_len of zero", { .data = 3000, .flags = ACK }, 1000, 0, 0 },
	{ "hdr_len of a whole packet", { .data = 3000, .flags = ACK }, 1000, 1040, 0 },
	{ "hdr_len beyond the packet", { .data = 3000, .flags = ACK }, 1000, 65535, 0 },
	{ "64 KB", { .data = 65495, .flags = ACK | PSH }, 1352, 40, 0 },
	{ "64 KB of UDP over IPv6", { .ip6 = true, .udp = true, .data = 65527 }, 1344, 48, 0 },
};

static struct vnet vnet_for(const struct made_packet *k, uint16_t gso_size)
{
	uint8_t type = k->udp ? VNET_GSO_UDP : k->ip6 ? VNET_GSO_TCP6 : VNET_GSO_TCP4;

	return (struct vnet) {
		.flags = VNET_NEEDS_CSUM,
		.gso_type = type,
		.gso_size = gso_size,
		.csum_start = (uint16_t)(k->ip6 ? 40 + k->extension : 20),
		.csum_offset = k->udp ? 6 : 16,
	};
}

static int begin(struct offload_split *s, const struct vnet *v, uint8_t *p, size_t len)
{
	uint8_t vnet[OFFLOAD_VNET];

	vnet_store(vnet, v);
	memset(s, 0xa5, sizeof *s);
	return offload_split_begin(s, vnet, p, len);
}

/* Segment i as it must be: made alone. */
static size_t make_segment(const struct made_packet *k, size_t i, size_t size, uint8_t *out)
{
	struct made_packet one = *k;
	bool last = (i + 1) * size >= k->data;

	one.data = last ? k->data - i * size : size;
	one.fill += (unsigned)(i * size);
	one.seq += (uint32_t)(i * size);
	one.id = (uint16_t)(one.id + i);
	if (i > 0)
		one.flags &= (uint8_t)~CWR;
	if (!last)
		one.flags &= (uint8_t) ~(FIN | PSH);
	return make_packet(&one, out);
}

/* The same packet but for the seed in the place of the checksum, until that is made. */
static bool is_left(const struct split_case *c, uint8_t *got, size_t len, uint8_t *want)
{
	seed_checksum(want, len);
	if (memcmp(got, want, len))
		return false;
	fix_checksums(want, len);
	offload_make_sum(got, len);
	return c->packet.extension || !memcmp(got, want, len);
}

static void check_split(const struct split_case *c, bool leave, uint8_t *super, uint8_t *want)
{
	struct vnet v = vnet_for(&c->packet, c->gso_size);
	struct offload_split s;
	size_t len = make_packet(&c->packet, super), got_len, i = 0;
	size_t count = c->packet.data ? (c->packet.data + c->gso_size - 1) / c->gso_size : 1;
	uint8_t *got;

	seed_checksum(super, len);
	v.hdr_len = c->hdr_len;
	v.gso_type |= c->ecn;
	if (begin(&s, &v, super, len) || offload_split_count(&s) != count)
		fail_msg("%s: refused or wrong count", c->why);
	if (leave && offload_split_leave_sums(&s) != !c->packet.extension)
		fail_msg("%s: checksums left or not", c->why);
	leave = leave && !c->packet.extension;
	for (; (got = offload_split_next(&s, &got_len)); i++) {
		size_t want_len = make_segment(&c->packet, i, c->gso_size, want);
		if (got_len != want_len ||
		    (leave ? !is_left(c, got, got_len, want) : memcmp(got, want, got_len) != 0))
			fail_msg("%s: segment %zu", c->why, i);
		if (i == 0)
			assert_int_equal(got_len, offload_split_largest(&s));
	}
	if (i != count)
		fail_msg("%s: %zu segments", c->why, i);
}

static void superframes_become_the_packets_they_stand_for(void **state)
{
	uint8_t *super = malloc(PACKET_MAX), *want = malloc(PACKET_MAX);

	(void)state;
	for (size_t i = 0; i < COUNT(split_cases); i++)
		for (int leave = 0; leave < 2; leave++)
			check_split(&split_cases[i], leave, super, want);
	free(super);
	free(want);
}

static void what_stands_in_the_checksum_field_is_not_needed(void **state)
{
	struct made_packet k = { .data = 3000, .flags = ACK };
	struct vnet v = vnet_for(&k, 1000);
	struct offload_split s;
	uint8_t p[4000], *got;
	size_t len = make_packet(&k, p), got_len;

	(void)state;
	store_be16(p + 36, 0x1234);
	assert_int_equal(begin(&s, &v, p, len), 0);
	while ((got = offload_split_next(&s, &got_len)))
		assert_true(checksums_right(got, got_len));
}

static void behind_a_routing_header_the_last_address_counts(void **state)
{
	struct made_packet k = { .ip6 = true, .data = 3000, .flags = ACK, .extension = 24 };
	struct vnet v = vnet_for(&k, 1000);
	struct offload_split s;
	uint8_t p[4000], last[16], *got;
	size_t len = make_packet(&k, p), got_len;

	(void)state;
	seed_checksum(p, len);
	memcpy(last, p + 24, 16);
	memset(p + 24, 0x11, 16); /* the next hop, which the kernel's seed does not know of */
	assert_int_equal(begin(&s, &v, p, len), 0);
	while ((got = offload_split_next(&s, &got_len))) {
		assert_false(checksums_right(got, got_len));
		memcpy(got + 24, last, 16);
		assert_true(checksums_right(got, got_len));
	}
}

struct refusal {
	const char *why;
	bool ip6, udp;
	struct vnet vnet; /* what is not zero is put in place of the right value; 0xffff: zero */
	uint8_t at, to;	  /* a byte of the packet */
};

static const struct refusal refusals[] = {
	{ "UFO", .udp = true, .vnet.gso_type = 3 },
	{ "an unknown type", .vnet.gso_type = 2 },
	{ "no type but ECN", .vnet.gso_type = VNET_GSO_ECN },
	{ "UDP with ECN", .udp = true, .vnet.gso_type = VNET_GSO_UDP | VNET_GSO_ECN },
	{ "TCP over IPv6 in an IPv4 packet", .vnet.gso_type = VNET_GSO_TCP6 },
	{ "TCP over IPv4 in an IPv6 packet", .ip6 = true, .vnet.gso_type = VNET_GSO_TCP4 },
	{ "TCP that is UDP by its IP header", .at = 9, .to = 17 },
	{ "the same over IPv6", .ip6 = true, .at = 6, .to = 17 },
	{ "gso_size 0", .vnet.gso_size = 0xffff },
	{ "no checksum asked for", .vnet.flags = 0xff },
	{ "checksum elsewhere", .vnet.csum_offset = 6 },
	{ "checksum elsewhere in UDP", .udp = true, .vnet.csum_offset = 16 },
	{ "transport header in the IP header", .vnet.csum_start = 16 },
	{ "transport header not where IPv4 ends", .vnet.csum_start = 24 },
	{ "transport header in the IPv6 header", .ip6 = true, .vnet.csum_start = 20 },
	{ "transport header at the end", .ip6 = true, .vnet.csum_start = 241 },
	{ "transport header beyond the packet", .ip6 = true, .vnet.csum_start = 300 },
	{ "transport header far beyond", .ip6 = true, .vnet.csum_start = 65530 },
	{ "TCP header below 20 bytes", .at = 32, .to = 0x40 },
	{ "longer headers than are kept", .ip6 = true, .vnet.csum_start = 237, .at = 249, .to = 0x50 },
	{ "neither IPv4 nor IPv6", .at = 0, .to = 0x55 },
	{ "longer than what was read", .at = 2, .to = 0x10 },
};

static void what_is_no_superframe_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct made_packet k = { .ip6 = r->ip6, .udp = r->udp, .data = 200, .flags = ACK };
		struct vnet v = vnet_for(&k, 100);
		struct offload_split s;
		uint8_t *p = malloc(400);
		size_t len = make_packet(&k, p);
		if (r->vnet.flags)
			v.flags = 0;
		if (r->vnet.gso_type)
			v.gso_type = r->vnet.gso_type;
		if (r->vnet.gso_size)
			v.gso_size = 0;
		if (r->vnet.csum_start)
			v.csum_start = r->vnet.csum_start;
		if (r->vnet.csum_offset)
			v.csum_offset = r->vnet.csum_offset;
		if (r->to)
			p[r->at] = r->to;
		if (begin(&s, &v, p, len) != -EINVAL)
			fail_msg("%s", r->why);
		free(p);
	}
}

static const struct made_packet whole[] = {
	{ .data = 1000, .flags = ACK | PSH | CWR },
	{ .ip6 = true, .data = 1001, .flags = ACK },
	{ .udp = true, .data = 999 },
	{ .ip6 = true, .udp = true, .data = 1 },
	{ .udp = true },
	{ .ip6 = true, .udp = true, .data = 100, .extension = 16 },
};

static void one_packet_gets_the_checksum_it_lacks(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(whole); i++) {
		struct vnet v = vnet_for(&whole[i], 0);
		struct offload_split s;
		uint8_t p[1200], want[1200], *got;
		size_t len = make_packet(&whole[i], p), got_len;
		memcpy(want, p, len);
		seed_checksum(p, len);
		v.gso_type = VNET_GSO_NONE;
		assert_int_equal(begin(&s, &v, p, len), 0);
		assert_int_equal(offload_split_count(&s), 1);
		assert_int_equal(offload_split_largest(&s), len);
		assert_false(offload_split_leave_sums(&s)); /* it was made already */
		got = offload_split_next(&s, &got_len);
		assert_ptr_equal(got, p);
		assert_int_equal(got_len, len);
		assert_memory_equal(got, want, len);
		assert_null(offload_split_next(&s, &got_len));
	}
}

static void a_udp_checksum_of_zero_is_written_as_ones(void **state)
{
	struct made_packet k = { .udp = true, .data = 2 };
	struct vnet v = vnet_for(&k, 2);
	struct offload_split s;
	uint8_t p[64];
	size_t len = make_packet(&k, p), got_len;

	(void)state;
	/* The payload that makes the sum come out as zero: what is missing to it. */
	store_be16(p + 28, 0);
	fix_checksums(p, len);
	store_be16(p + 28, load_be16(p + 26));
	seed_checksum(p, len);
	for (int gso = 0; gso < 2; gso++) {
		uint8_t copy[64];
		memcpy(copy, p, len);
		v.gso_type = gso ? VNET_GSO_UDP : VNET_GSO_NONE;
		assert_int_equal(begin(&s, &v, copy, len), 0);
		offload_split_next(&s, &got_len);
		assert_int_equal(load_be16(copy + 26), 0xffff);
		assert_true(checksums_right(copy, got_len));
	}
}

/* Packets that a peer marked although no checksum can have been left out of them. */
static void what_cannot_lack_a_checksum_stays_as_it_is(void **state)
{
	static const struct {
		const char *why;
		struct made_packet packet;
		uint8_t at, to;
		size_t len;
	} cases[] = {
		{ "neither TCP nor UDP", { .data = 100 }, 9, 1, 140 },
		{ "a fragment", { .data = 100 }, 7, 1, 140 },
		{ "extension headers", { .ip6 = true, .data = 100, .extension = 8 }, 0, 0, 168 },
		{ "a cut TCP header", { .data = 100 }, 0, 0, 39 },
		{ "a cut UDP header", { .ip6 = true, .udp = true, .data = 100 }, 0, 0, 47 },
		{ "no transport header", { .ip6 = true, .udp = true, .data = 100 }, 0, 0, 40 },
		{ "IPv4 options up to the end", { .data = 100 }, 0, 0x4f, 60 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t p[200], want[200], *end;
		make_packet(&cases[i].packet, p);
		if (cases[i].to)
			p[cases[i].at] = cases[i].to;
		memcpy(want, p, sizeof want);
		end = malloc(cases[i].len); /* whose end is watched */
		memcpy(end, p, cases[i].len);
		offload_make_sum(end, cases[i].len);
		if (memcmp(end, want, cases[i].len))
			fail_msg("%s", cases[i].why);
		free(end);
	}
}

static void a_packet_that_needs_nothing_stays_as_it_is(void **state)
{
	struct made_packet k = { .data = 10, .flags = ACK };
	static const struct vnet kinds[] = { { 0 }, { .flags = 2 /* DATA_VALID */ } };
	uint8_t p[64], want[64];
	size_t len = make_packet(&k, p), got_len;

	(void)state;
	store_be16(p + 36, 0x1234); /* even a wrong checksum */
	memcpy(want, p, len);
	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct offload_split s;
		assert_int_equal(begin(&s, &kinds[i], p, len + 4), 0); /* bytes behind it */
		assert_ptr_equal(offload_split_next(&s, &got_len), p);
		assert_int_equal(got_len, len);
		assert_memory_equal(p, want, len);
	}
}

static void a_checksum_to_be_finished_lies_within_the_packet(void **state)
{
	static const struct vnet wrong[] = {
		{ .flags = 1, .csum_start = 19, .csum_offset = 16 },
		{ .flags = 1, .csum_start = 20, .csum_offset = 29 },
		{ .flags = 1, .csum_start = 51, .csum_offset = 0 },
		{ .flags = 1, .csum_start = 65535, .csum_offset = 65535 },
		{ .flags = 1 },
	};
	struct made_packet k = { .data = 10, .flags = ACK };

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct offload_split s;
		uint8_t *p = malloc(50);
		size_t len = make_packet(&k, p);
		assert_int_equal(begin(&s, &wrong[i], p, len), -EINVAL);
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_those_of_the_plain_loop),
		cmocka_unit_test(superframes_become_the_packets_they_stand_for),
		cmocka_unit_test(what_stands_in_the_checksum_field_is_not_needed),
		cmocka_unit_test(behind_a_routing_header_the_last_address_counts),
		cmocka_unit_test(what_is_no_superframe_is_refused),
		cmocka_unit_test(one_packet_gets_the_checksum_it_lacks),
		cmocka_unit_test(a_udp_checksum_of_zero_is_written_as_ones),
		cmocka_unit_test(what_cannot_lack_a_checksum_stays_as_it_is),
		cmocka_unit_test(a_packet_that_needs_nothing_stays_as_it_is),
		cmocka_unit_test(a_checksum_to_be_finished_lies_within_the_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
