#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/offload_packets.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

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
		assert_true(offload_merge_add(&b->m, b->packet[i], b->len[i], false));
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

static void ids_count_up_or_stay_the_same_where_df_is_set(void **state)
{
	static const struct {
		uint16_t id[3];
		unsigned want, want_df; /* frames */
	} rows[] = {
		{ { 5, 6, 7 }, 1, 1 }, { { 0xffff, 0, 1 }, 1, 1 }, { { 0, 0, 0 }, 3, 1 },
		{ { 5, 5, 6 }, 2, 2 }, { { 5, 6, 6 }, 2, 2 },	   { { 5, 6, 5 }, 2, 2 },
		{ { 5, 5, 7 }, 3, 2 }, { { 5, 6, 8 }, 2, 2 },	   { { 5, 7, 9 }, 3, 3 },
		{ { 7, 6, 5 }, 3, 3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * 4; i++) {
		struct batch *b = batch_new();
		struct made_packet k = { .udp = i & 1, .df = i & 2, .flags = ACK };
		for (unsigned n = 0; n < 3; n++) {
			k.id = rows[i / 4].id[n];
			make_next(b, &k, n, 100);
		}
		assert_int_equal(merge(b, 3), k.df ? rows[i / 4].want_df : rows[i / 4].want);
		free(b);
	}
}

static void nothing_joins_a_wrong_packet(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct batch *b = batch_new();
		struct made_packet k = { .ip6 = i & 1, .udp = i & 2, .flags = ACK };
		(void)state;
		for (unsigned n = 0; n < 3; n++)
			make_next(b, &k, n, 100);
		b->packet[0][b->len[0] - 1] ^= 1;
		assert_int_equal(merge(b, 3), 2);
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
			assert_true(offload_merge_add(m, p, k.data + 40, false));
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
		assert_int_equal(offload_merge_add(m, packets[n], 48, false), n < OFFLOAD_FRAMES);
	}
	uint8_t next[48];
	k.port = 5;
	k.id++;
	k.seq += 8;
	make_packet(&k, next);
	assert_true(offload_merge_add(m, next, 48, false)); /* what joins a frame still has room */
	offload_merge_reset(m, true, true);
	assert_int_equal(offload_merge_count(m), 0);
	assert_true(offload_merge_add(m, packets[OFFLOAD_FRAMES], 48, false));
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_next_of_the_same_kind_is_merged),
		cmocka_unit_test(sizes_are_equal_but_for_a_shorter_end),
		cmocka_unit_test(nothing_follows_a_push),
		cmocka_unit_test(ids_count_up_or_stay_the_same_where_df_is_set),
		cmocka_unit_test(nothing_joins_a_wrong_packet),
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
