/* Random flows, merged, handed over as a kernel would, and split again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "tests/unit/offload_packets.h"

enum {
	FLOWS = 12,
	PACKETS = 400,
	SLOT = 1500,
	ROUNDS = 300,
};

struct packet {
	uint8_t bytes[SLOT];
	size_t len;
	bool taken, unsummed;
};

struct flow {
	struct made_packet next;
	size_t usual; /* payload bytes of most packets */
	bool same_ids;
};

struct world {
	struct rng rng;
	struct flow flows[FLOWS];
	struct packet sent[PACKETS], merged[PACKETS]; /* as they came; what merging may write to */
	struct offload_merge m;
	uint8_t flat[PACKET_MAX];
	unsigned frames, count, came_out;
	bool same_ids, leaves_sums;
};

static bool chance(struct world *w, uint32_t percent)
{
	return rng_below(&w->rng, 100) < percent;
}

static void begin_flow(struct world *w, struct flow *f, unsigned i)
{
	static const size_t usual[] = { 1352, 1332, 1000, 536, 64, 1 };

	*f = (struct flow) { .usual = usual[rng_below(&w->rng, 6)] };
	f->next = (struct made_packet) {
		.ip6 = chance(w, 40),
		.udp = chance(w, 40),
		.host = (uint8_t)(i & 1), /* flows may differ in as little as one bit */
		.port = (uint16_t)(i / 2),
		.id = (uint16_t)rng_u32(&w->rng),
		.df = chance(w, 50),
		.seq = rng_u32(&w->rng),
		.fill = rng_u32(&w->rng) & 0xffff,
		.options = chance(w, 50) ? 12 : 0,
		.extension = chance(w, 10) ? 8 : 0,
		.zero_checksum = false,
	};
	if (!f->next.ip6) {
		f->next.extension = 0;
		f->same_ids = w->same_ids && f->next.df;
		f->next.zero_checksum = f->next.udp && chance(w, 10);
	}
}

/* Now and then something that must not be merged. */
static void disturb(struct world *w, struct packet *p)
{
	static const uint8_t places[] = {
		1, 6, 7, 8, 9, 33, 35
	}; /* of IPv4: TOS, fragment, TTL, protocol, ... */

	if (p->bytes[0] >> 4 != 4 || !chance(w, 5))
		return;
	p->bytes[places[rng_below(&w->rng, sizeof places)]] ^= (uint8_t)(1u << rng_below(&w->rng, 8));
	if (protocol_of(p->bytes) == 6 || protocol_of(p->bytes) == 17)
		fix_checksums(p->bytes, p->len);
	else
		fix_ip_checksum(p->bytes);
}

static void make_next(struct world *w, struct flow *f, struct packet *p)
{
	struct made_packet *k = &f->next;

	k->data = chance(w, 85) ? f->usual : rng_below(&w->rng, 1353);
	k->flags = (uint8_t)(chance(w, 90) ? ACK : chance(w, 70) ? ACK | PSH : rng_below(&w->rng, 256));
	k->window = (uint16_t)(k->window + chance(w, 5));
	p->len = make_packet(k, p->bytes);
	disturb(w, p);
	k->seq += (uint32_t)k->data;
	k->fill += (unsigned)k->data;
	k->id = (uint16_t)(f->same_ids ? k->id : k->id + 1u);
}

/* Bursts of one flow or another. */
static void make_packets(struct world *w)
{
	struct flow *f = w->flows;

	for (unsigned i = 0; i < FLOWS; i++)
		begin_flow(w, &w->flows[i], i);
	w->count = 1 + rng_below(&w->rng, PACKETS);
	for (unsigned i = 0; i < w->count; i++) {
		if (chance(w, 30))
			f = &w->flows[rng_below(&w->rng, FLOWS)];
		make_next(w, f, &w->sent[i]);
		w->sent[i].taken = w->sent[i].unsummed = false;
	}
}

/* A bit somewhere in each tenth packet or so. What is no packet any more does not get as far as merging. */
static void corrupt(struct world *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct packet *p = &w->sent[i];
		size_t reach = chance(w, 50) ? p->len : headers_of(&w->flows[0].next);
		size_t at = rng_below(&w->rng, (uint32_t)(reach < p->len ? reach : p->len));
		uint8_t bit = (uint8_t)(1u << rng_below(&w->rng, 8));
		struct ip_view v;
		if (!chance(w, 10))
			continue;
		p->bytes[at] ^= bit;
		if (!ip_parse(&v, p->bytes, p->len) || v.total != p->len)
			p->bytes[at] ^= bit;
	}
}

static uint32_t ports_of(const uint8_t *p, size_t len)
{
	bool extended = p[0] >> 4 == 6 && p[6] == 60;

	return extended || l4_of(p) + 4 > len ? 0 : load_be32(p + l4_of(p));
}

/* What must keep its order: packets of one protocol between two ports of two hosts, or without ports,
 * between two hosts. */
static bool same_flow(const struct packet *a, const uint8_t *p, size_t len)
{
	bool ip4 = p[0] >> 4 == 4;
	size_t at = ip4 ? 12 : 8, pair = ip4 ? 8 : 32, protocol = ip4 ? 9 : 6;

	if (a->bytes[0] >> 4 != p[0] >> 4 || memcmp(a->bytes + at, p + at, pair))
		return false;
	return a->bytes[protocol] == p[protocol] && ports_of(a->bytes, a->len) == ports_of(p, len);
}

/* IDs of IPv4 packets with DF are the one thing that may change: only if they did not count up. */
static bool equal(const struct world *w, const uint8_t *a, const uint8_t *b, size_t len)
{
	uint8_t x[SLOT], y[SLOT];

	if (!w->same_ids || a[0] >> 4 != 4 || !(a[6] & 0x40) || !(b[6] & 0x40))
		return !memcmp(a, b, len);
	memcpy(x, a, len);
	memcpy(y, b, len);
	memset(x + 4, 0, 2);
	memset(y + 4, 0, 2);
	memset(x + 10, 0, 2);
	memset(y + 10, 0, 2);
	return !memcmp(x, y, len);
}

/* The packet must be the first of its flow that has not come out yet. */
static void check_out(struct world *w, const uint8_t *p, size_t len)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct packet *sent = &w->sent[i];
		if (sent->taken || !same_flow(sent, p, len))
			continue;
		if (sent->len != len || !equal(w, sent->bytes, p, len))
			fail_msg("packet %u is not what comes out next of its flow", i);
		sent->taken = true;
		w->came_out++;
		return;
	}
	fail_msg("a packet that nobody sent");
}

/* The frame as the kernel's segmentation would see it. */
static void hand_back(struct world *w, unsigned i)
{
	int slices;
	const struct iovec *iov = offload_merge_frame(&w->m, i, &slices);
	struct offload_split s;
	size_t len = 0, segment;
	uint8_t *p;

	for (int n = 1; n < slices; n++) {
		assert_true(len + iov[n].iov_len <= sizeof w->flat);
		memcpy(w->flat + len, iov[n].iov_base, iov[n].iov_len);
		len += iov[n].iov_len;
	}
	assert_true(len <= OFFLOAD_FRAME_MAX);
	assert_int_equal(offload_split_begin(&s, iov[0].iov_base, w->flat, len), 0);
	assert_int_equal(offload_split_count(&s), slices - 1);
	while ((p = offload_split_next(&s, &segment)))
		check_out(w, p, segment);
}

static void write_frames(struct world *w)
{
	unsigned count = offload_merge_count(&w->m);

	for (unsigned i = 0; i < count; i++)
		hand_back(w, i);
	w->frames += count;
	offload_merge_reset(&w->m, true, true);
}

/* As packets arrive whose checksum their sender left out, instead of a right one. */
static void leave_sum(struct packet *p)
{
	uint8_t protocol = protocol_of(p->bytes);
	bool fragment = p->bytes[0] >> 4 == 4 && (p->bytes[6] & 0x3f || p->bytes[7]);

	if ((protocol != 6 && protocol != 17) || fragment || !ports_of(p->bytes, p->len) ||
	    !load_be16(p->bytes + checksum_at(p->bytes)) || !checksums_right(p->bytes, p->len))
		return;
	seed_checksum(p->bytes, p->len);
	p->unsummed = true;
}

static void merge_and_split(struct world *w)
{
	w->came_out = 0;
	memcpy(w->merged, w->sent, sizeof w->sent);
	for (unsigned i = 0; w->leaves_sums && i < w->count; i++)
		if (chance(w, 70))
			leave_sum(&w->merged[i]);
	offload_merge_reset(&w->m, true, true);
	for (unsigned i = 0; i < w->count; i++) {
		struct packet *p = &w->merged[i];
		if (offload_merge_add(&w->m, p->bytes, p->len, p->unsummed))
			continue;
		write_frames(w);
		assert_true(offload_merge_add(&w->m, p->bytes, p->len, p->unsummed));
	}
	write_frames(w);
	assert_int_equal(w->came_out, w->count);
}

static void run(bool corrupted, bool same_ids, bool leaves_sums)
{
	struct world *w = malloc(sizeof *w);
	unsigned packets = 0;

	memset(w, 0, sizeof *w);
	w->same_ids = same_ids;
	w->leaves_sums = leaves_sums;
	for (uint64_t seed = 0; seed < ROUNDS; seed++) {
		rng_init_seed(&w->rng, seed);
		make_packets(w);
		if (corrupted)
			corrupt(w);
		merge_and_split(w);
		packets += w->count;
	}
	print_message("%u packets in %u frames\n", packets, w->frames);
	assert_true(w->frames < packets / 3 * 2); /* or nothing was tested */
	free(w);
}

static void flows_come_out_as_they_went_in(void **state)
{
	(void)state;
	run(false, false, false);
}

static void no_corrupted_bit_disappears(void **state)
{
	(void)state;
	run(true, false, false);
}

static void only_ids_without_a_meaning_change(void **state)
{
	(void)state;
	run(false, true, false);
}

static void sums_that_were_left_out_are_made(void **state)
{
	(void)state;
	run(false, false, true);
}

/* Among packets whose checksums were left out. */
static void no_corrupted_bit_disappears_there_either(void **state)
{
	(void)state;
	run(true, false, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_come_out_as_they_went_in),
		cmocka_unit_test(only_ids_without_a_meaning_change),
		cmocka_unit_test(no_corrupted_bit_disappears),
		cmocka_unit_test(sums_that_were_left_out_are_made),
		cmocka_unit_test(no_corrupted_bit_disappears_there_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
