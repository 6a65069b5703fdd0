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

static void check_split(const struct split_case *c, uint8_t *super, uint8_t *want)
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
	for (; (got = offload_split_next(&s, &got_len)); i++) {
		size_t want_len = make_segment(&c->packet, i, c->gso_size, want);
		if (got_len != want_len || memcmp(got, want, got_len))
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
		check_split(&split_cases[i], super, want);
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

/* --- Merge: three packets of a flow in a row, of which the second is changed */

struct merge_case {
	const char *why;
	bool ip6, udp;
	uint8_t at, flip; /* a byte of the second packet, from its start */
	bool stale;	  /* its checksums are not made right again */
	unsigned want;	  /* frames */
};

static const struct merge_case merge_cases[] = {
	{ "TCP over IPv4", 0, 0, 0, 0, 0, 1 },
	{ "TCP over IPv6", 1, 0, 0, 0, 0, 1 },
	{ "UDP over IPv4", 0, 1, 0, 0, 0, 1 },
	{ "UDP over IPv6", 1, 1, 0, 0, 0, 1 },
	{ "TOS", 0, 0, 1, 4, 0, 3 },
	{ "TOS, UDP", 0, 1, 1, 1, 0, 3 },
	{ "IPv4 ID", 0, 0, 5, 1, 0, 3 },
	{ "IPv4 ID, UDP", 0, 1, 4, 1, 0, 3 },
	{ "DF", 0, 0, 6, 0x40, 0, 3 },
	{ "reserved IPv4 flag", 0, 0, 6, 0x80, 0, 3 },
	{ "first fragment", 0, 0, 6, 0x20, 0, 3 },
	{ "later fragment", 0, 1, 7, 1, 0, 3 },
	{ "TTL", 0, 0, 8, 1, 0, 3 },
	{ "TTL, UDP", 0, 1, 8, 1, 0, 3 },
	{ "other source address: then the third is not the next", 0, 0, 15, 1, 0, 3 },
	{ "other UDP source address: then the IDs have a gap", 0, 1, 15, 1, 0, 3 },
	{ "other UDP source address over IPv6: the third goes on", 1, 1, 23, 1, 0, 2 },
	{ "other UDP port over IPv6: the third goes on", 1, 1, 41, 1, 0, 2 },
	{ "source port", 0, 0, 21, 1, 0, 3 },
	{ "destination port", 0, 0, 23, 1, 0, 3 },
	{ "sequence number", 0, 0, 27, 1, 0, 3 },
	{ "acknowledgement", 0, 0, 31, 1, 0, 3 },
	{ "no ACK", 0, 0, 33, 0x10, 0, 3 },
	{ "FIN", 0, 0, 33, 0x01, 0, 3 },
	{ "SYN", 0, 0, 33, 0x02, 0, 3 },
	{ "RST", 0, 0, 33, 0x04, 0, 3 },
	{ "PSH", 0, 0, 33, 0x08, 0, 2 },
	{ "URG", 0, 0, 33, 0x20, 0, 3 },
	{ "ECE", 0, 0, 33, 0x40, 0, 3 },
	{ "CWR", 0, 0, 33, 0x80, 0, 3 },
	{ "reserved TCP bits", 0, 0, 32, 0x01, 0, 3 },
	{ "window", 0, 0, 35, 1, 0, 3 },
	{ "urgent pointer", 0, 0, 39, 1, 0, 3 },
	{ "TCP options", 0, 0, 51, 1, 0, 3 },
	{ "fewer TCP options", 0, 0, 32, 0x10, 0, 3 },
	{ "TCP header of 16 bytes", 0, 0, 32, 0xc0, 0, 3 },
	{ "traffic class", 1, 0, 1, 0x10, 0, 3 },
	{ "flow label", 1, 0, 3, 1, 0, 3 },
	{ "hop limit", 1, 1, 7, 1, 0, 3 },
	{ "IPv6 window", 1, 0, 55, 1, 0, 3 },
	{ "IPv6 SYN", 1, 0, 53, 2, 0, 3 },
	{ "UDP length", 0, 1, 25, 1, 0, 3 },
	{ "UDP length over IPv6", 1, 1, 45, 1, 0, 3 },
	{ "wrong IPv4 header checksum", 0, 0, 11, 1, 1, 3 },
	{ "wrong TCP checksum", 0, 0, 37, 1, 1, 3 },
	{ "wrong UDP checksum", 0, 1, 27, 1, 1, 3 },
	{ "wrong payload", 0, 0, 100, 1, 1, 3 },
	{ "wrong payload over IPv6", 1, 0, 100, 1, 1, 3 },
	{ "wrong UDP payload over IPv6", 1, 1, 100, 1, 1, 3 },
};

enum { BATCH = 4, SLOT = 2048 };

struct batch {
	struct offload_merge m;
	uint8_t packet[BATCH][SLOT];
	size_t len[BATCH];
};

static struct batch *batch_new(void)
{
	struct batch *b = malloc(sizeof *b); /* large, and its end is watched */

	memset(b, 0xa5, sizeof *b);
	offload_merge_reset(&b->m, true, true);
	return b;
}

/* Packets of a flow, one after the other: packet i, with `data` bytes of payload. */
static void make_next(struct batch *b, struct made_packet *k, unsigned i, size_t data)
{
	k->data = data;
	b->len[i] = make_packet(k, b->packet[i]);
	k->id++;
	k->seq += (uint32_t)data;
	k->fill += (unsigned)data;
}

static unsigned merge(struct batch *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_true(offload_merge_add(&b->m, b->packet[i], b->len[i]));
	return offload_merge_count(&b->m);
}

static void only_the_next_of_the_same_kind_is_merged(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(merge_cases); i++) {
		const struct merge_case *c = &merge_cases[i];
		struct batch *b = batch_new();
		struct made_packet k = { .ip6 = c->ip6, .udp = c->udp, .flags = ACK, .options = 12 };
		for (unsigned n = 0; n < 3; n++)
			make_next(b, &k, n, 1000);
		uint8_t *p = b->packet[1], before[SLOT];
		size_t l4 = l4_of(p);
		p[c->at] ^= c->flip;
		if (!c->stale && c->at != l4 + 4 + 1)
			fix_checksums(p, b->len[1]);
		memcpy(before, p, sizeof before);
		unsigned count = merge(b, 3);
		if (count != c->want)
			fail_msg("%s: %u frames", c->why, count);
		int slices;
		const struct iovec *iov = offload_merge_frame(&b->m, count == 1 ? 0 : 1, &slices);
		static const uint8_t none[OFFLOAD_VNET];
		if (count == 3 && (slices != 2 || iov[1].iov_base != p || iov[1].iov_len != b->len[1] ||
				   memcmp(before, p, b->len[1]) || memcmp(iov->iov_base, none, sizeof none)))
			fail_msg("%s: not written as it came", c->why);
		free(b);
	}
}

struct size_case {
	const char *why;
	size_t data[3];
	uint8_t flags[3];
	unsigned want;
};

static const struct size_case size_cases[] = {
	{ "equal", { 1000, 1000, 1000 }, { ACK, ACK, ACK }, 1 },
	{ "a short one at the end", { 1000, 1000, 1 }, { ACK, ACK, ACK }, 1 },
	{ "nothing after a short one", { 1000, 999, 1000 }, { ACK, ACK, ACK }, 2 },
	{ "nothing after a short one, not even a shorter one", { 1000, 999, 998 }, { ACK, ACK, ACK }, 2 },
	{ "a longer one begins anew", { 999, 1000, 1000 }, { ACK, ACK, ACK }, 2 },
	{ "each longer than the last", { 1, 2, 3 }, { ACK, ACK, ACK }, 3 },
	{ "no payload", { 0, 0, 0 }, { ACK, ACK, ACK }, 3 },
	{ "no payload between", { 1000, 0, 1000 }, { ACK, ACK, ACK }, 3 },
};

static void sizes_are_equal_but_for_a_shorter_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(size_cases) * 4; i++) {
		const struct size_case *c = &size_cases[i / 4];
		struct batch *b = batch_new();
		struct made_packet k = { .ip6 = i & 1, .udp = i & 2, .flags = ACK };
		for (unsigned n = 0; n < 3; n++)
			make_next(b, &k, n, c->data[n]);
		if (merge(b, 3) != c->want)
			fail_msg("%s", c->why);
		free(b);
	}
}

static void nothing_follows_a_push(void **state)
{
	static const struct {
		uint8_t flags[3];
		unsigned want;
	} rows[] = {
		{ { ACK, ACK, ACK | PSH }, 1 },
		{ { ACK, ACK | PSH, ACK }, 2 },
		{ { ACK | PSH, ACK, ACK }, 2 },
		{ { ACK | PSH, ACK | PSH, ACK | PSH }, 3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct batch *b = batch_new();
		struct made_packet k = { 0 };
		for (unsigned n = 0; n < 3; n++) {
			k.flags = rows[i].flags[n];
			make_next(b, &k, n, 100);
		}
		assert_int_equal(merge(b, 3), rows[i].want);
		free(b);
	}
}

static void ids_are_not_looked_at_where_the_packet_must_not_be_split(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct batch *b = batch_new();
		struct made_packet k = { .udp = i & 1, .df = i & 2, .flags = ACK };
		(void)state;
		for (unsigned n = 0; n < 3; n++) {
			make_next(b, &k, n, 100);
			k.id = 0; /* Linux sends zero where no connection counts them */
		}
		assert_int_equal(merge(b, 3), k.df ? 1 : 3);
		free(b);
	}
}

static void udp_without_a_checksum_stays_alone(void **state)
{
	struct batch *b = batch_new();
	struct made_packet k = { .udp = true, .zero_checksum = true };

	(void)state;
	for (unsigned n = 0; n < 3; n++)
		make_next(b, &k, n, 100);
	assert_int_equal(merge(b, 3), 3);
	free(b);
}

static void ip_options_and_extension_headers_are_not_merged(void **state)
{
	struct batch *b = batch_new();
	struct made_packet k = { .ip6 = true, .flags = ACK, .extension = 8 };

	(void)state;
	for (unsigned n = 0; n < 3; n++)
		make_next(b, &k, n, 100);
	assert_int_equal(merge(b, 3), 3);
	offload_merge_reset(&b->m, true, true);
	k = (struct made_packet) { .flags = ACK };
	for (unsigned n = 0; n < 3; n++) {
		make_next(b, &k, n, 100);
		memmove(b->packet[n] + 24, b->packet[n] + 20, b->len[n] - 20);
		memset(b->packet[n] + 20, 1, 4);
		b->packet[n][0] = 0x46;
		store_be16(b->packet[n] + 2, (uint16_t)(b->len[n] += 4));
		fix_checksums(b->packet[n], b->len[n]);
	}
	assert_int_equal(merge(b, 3), 3);
	free(b);
}

static void what_the_device_does_not_take_is_not_merged(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct batch *b = batch_new();
		struct made_packet k = { .udp = i & 1, .flags = ACK };
		bool tcp = i & 2, udp = i & 4;
		offload_merge_reset(&b->m, tcp, udp);
		for (unsigned n = 0; n < 3; n++)
			make_next(b, &k, n, 100);
		assert_int_equal(merge(b, 3), (k.udp ? udp : tcp) ? 1 : 3);
		free(b);
	}
}

/* What comes between two packets of a flow, and whether they may still be one frame: if not, they would leave in another
 * order. */
static void nothing_overtakes_a_packet_of_its_flow(void **state)
{
	static const struct {
		const char *why;
		uint8_t at, to, host;
		unsigned want;
	} rows[] = {
		{ "a fragment between the same hosts", 6, 0x20, 0, 3 },
		{ "a fragment between others", 6, 0x20, 1, 2 },
		{ "another protocol between the same hosts", 9, 1, 0, 3 },
		{ "another protocol between others", 9, 1, 1, 2 },
		{ "TCP between the same hosts: its ports are known", 9, 6, 0, 2 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct batch *b = batch_new();
		struct made_packet k = { .udp = true, .df = true }, other = { .udp = true };
		make_next(b, &k, 0, 100);
		other.host = rows[i].host;
		make_next(b, &other, 1, 100);
		make_next(b, &k, 2, 100);
		b->packet[1][rows[i].at] = rows[i].to;
		if (merge(b, 3) != rows[i].want)
			fail_msg("%s", rows[i].why);
		free(b);
	}
}

static void two_flows_are_told_apart_and_merged_each(void **state)
{
	struct batch *b = batch_new();
	struct made_packet k = { .flags = ACK }, other = { .flags = ACK, .port = 1 };

	(void)state;
	make_next(b, &k, 0, 100);
	make_next(b, &other, 1, 100);
	make_next(b, &k, 2, 100);
	make_next(b, &other, 3, 100);
	assert_int_equal(merge(b, 4), 2);
	free(b);
}

static void a_frame_says_what_the_kernel_needs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct batch *b = batch_new();
		struct made_packet k = { .ip6 = i & 1, .udp = i & 2, .flags = ACK | PSH, .options = 12 };
		k.flags = ACK;
		make_next(b, &k, 0, 100);
		make_next(b, &k, 1, 100);
		k.flags = ACK | PSH;
		make_next(b, &k, 2, 50);
		assert_int_equal(merge(b, 3), 1);
		int slices;
		const struct iovec *iov = offload_merge_frame(&b->m, 0, &slices);
		size_t ip = k.ip6 ? 40 : 20, headers = headers_of(&k), total = headers + 250;
		assert_int_equal(slices, 4);
		assert_int_equal(iov[0].iov_len, OFFLOAD_VNET);
		assert_int_equal(iov[1].iov_len, headers + 100);
		assert_int_equal(iov[3].iov_len, 50);
		struct vnet v = vnet_load(iov[0].iov_base);
		assert_int_equal(v.flags, VNET_NEEDS_CSUM);
		assert_int_equal(v.gso_type, k.udp ? VNET_GSO_UDP : k.ip6 ? VNET_GSO_TCP6 : VNET_GSO_TCP4);
		assert_int_equal(v.hdr_len, headers);
		assert_int_equal(v.gso_size, 100);
		assert_int_equal(v.csum_start, ip);
		assert_int_equal(v.csum_offset, k.udp ? 6 : 16);
		uint8_t *p = iov[1].iov_base;
		assert_int_equal(k.ip6 ? load_be16(p + 4) + 40u : load_be16(p + 2), total);
		assert_int_equal(load_be16(p + checksum_at(p)),
				 (uint16_t)slow_sum(slow_pseudo(p, total), p, 0));
		if (!k.ip6)
			assert_int_equal(slow_sum(0, p, 20), 0xffff);
		if (k.udp)
			assert_int_equal(load_be16(p + ip + 4), 8 + 250);
		else
			assert_int_equal(p[ip + 13], ACK | PSH);
		free(b);
	}
}

/* --- Limits */

static void a_frame_has_its_limits(void **state)
{
	static const struct {
		size_t data;
		unsigned packets, want; /* frames */
	} rows[] = {
		{ 10, 64, 1 },	 { 10, 65, 2 },	  { 10, 128, 2 },  { 1352, 48, 1 },
		{ 1352, 49, 2 }, { 32748, 2, 2 }, { 32747, 2, 1 },
	};
	struct offload_merge *m = malloc(sizeof *m);

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct made_packet k = { .flags = ACK, .data = rows[i].data };
		uint8_t *packets = malloc(rows[i].packets * (k.data + 40)), *p = packets;
		offload_merge_reset(m, true, true);
		for (unsigned n = 0; n < rows[i].packets; n++) {
			make_packet(&k, p);
			assert_true(offload_merge_add(m, p, k.data + 40));
			k.seq += (uint32_t)k.data;
			k.id++;
			p += k.data + 40;
		}
		assert_int_equal(offload_merge_count(m), rows[i].want);
		free(packets);
	}
	free(m);
}

static void a_batch_that_is_full_says_so(void **state)
{
	struct offload_merge *m = malloc(sizeof *m);
	uint8_t packets[OFFLOAD_FRAMES + 1][48];
	struct made_packet k = { .flags = ACK, .data = 8 };

	(void)state;
	offload_merge_reset(m, true, true);
	for (unsigned n = 0; n <= OFFLOAD_FRAMES; n++) {
		k.port = (uint16_t)n;
		make_packet(&k, packets[n]);
		assert_int_equal(offload_merge_add(m, packets[n], 48), n < OFFLOAD_FRAMES);
	}
	uint8_t next[48];
	k.port = 5;
	k.id++;
	k.seq += 8;
	make_packet(&k, next);
	assert_true(offload_merge_add(m, next, 48)); /* what joins a frame still has room */
	offload_merge_reset(m, true, true);
	assert_int_equal(offload_merge_count(m), 0);
	assert_true(offload_merge_add(m, packets[OFFLOAD_FRAMES], 48));
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_those_of_the_plain_loop),
		cmocka_unit_test(superframes_become_the_packets_they_stand_for),
		cmocka_unit_test(what_stands_in_the_checksum_field_is_not_needed),
		cmocka_unit_test(what_is_no_superframe_is_refused),
		cmocka_unit_test(one_packet_gets_the_checksum_it_lacks),
		cmocka_unit_test(a_udp_checksum_of_zero_is_written_as_ones),
		cmocka_unit_test(a_packet_that_needs_nothing_stays_as_it_is),
		cmocka_unit_test(a_checksum_to_be_finished_lies_within_the_packet),
		cmocka_unit_test(only_the_next_of_the_same_kind_is_merged),
		cmocka_unit_test(sizes_are_equal_but_for_a_shorter_end),
		cmocka_unit_test(nothing_follows_a_push),
		cmocka_unit_test(ids_are_not_looked_at_where_the_packet_must_not_be_split),
		cmocka_unit_test(udp_without_a_checksum_stays_alone),
		cmocka_unit_test(ip_options_and_extension_headers_are_not_merged),
		cmocka_unit_test(what_the_device_does_not_take_is_not_merged),
		cmocka_unit_test(nothing_overtakes_a_packet_of_its_flow),
		cmocka_unit_test(two_flows_are_told_apart_and_merged_each),
		cmocka_unit_test(a_frame_says_what_the_kernel_needs),
		cmocka_unit_test(a_frame_has_its_limits),
		cmocka_unit_test(a_batch_that_is_full_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
