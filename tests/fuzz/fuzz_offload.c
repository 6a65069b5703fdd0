/* Superframes as a kernel may hand them over, however odd, and packets as a hostile peer may send them to
 * be merged: what is merged must split again into the packets it was made of. */
#include <stdlib.h>
#include <string.h>

#include "core/ip.h"
#include "tun/checksum.h"
#include "tun/offload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PACKETS = 128 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void split(const uint8_t *data, size_t size)
{
	struct offload_split s;
	struct ip_view v;
	size_t len, largest;
	unsigned count = 0;
	uint8_t *packet = malloc(size), *p;

	memcpy(packet, data, size);
	memset(&s, 0xa5, sizeof s);
	if (size >= OFFLOAD_VNET && !offload_split_begin(&s, data, packet, size)) {
		largest = offload_split_largest(&s);
		for (; (p = offload_split_next(&s, &len)); count++) {
			must(p >= packet && p + len <= packet + size && len <= largest);
			must(ip_parse(&v, p, len) && v.total == len);
			must(count + 1 == offload_split_count(&s) || len == largest);
		}
		must(count == offload_split_count(&s));
	}
	free(packet);
}

/* Checksums that are left out and then made are those that are made at once. */
static void split_twice(const uint8_t *data, size_t size)
{
	struct offload_split s, t;
	size_t len, same;
	uint8_t *at_once = malloc(size), *later = malloc(size), *p, *q;

	memcpy(at_once, data, size);
	memcpy(later, data, size);
	if (size >= OFFLOAD_VNET && !offload_split_begin(&s, data, at_once, size)) {
		must(!offload_split_begin(&t, data, later, size));
		bool left = offload_split_leave_sums(&t);
		while ((p = offload_split_next(&s, &len))) {
			q = offload_split_next(&t, &same);
			must(q && same == len);
			if (left)
				offload_make_sum(q, len);
			must(!memcmp(p, q, len));
		}
	}
	free(at_once);
	free(later);
}

/* --- Merge. The input is a row of packets, each after its length (2 bytes) and a byte that says what to
 * make right in it, so that the fuzzer need not guess checksums. */

struct packets {
	uint8_t *sent[PACKETS], *merged[PACKETS];
	size_t len[PACKETS];
	bool out[PACKETS], unsummed[PACKETS];
	unsigned count;
};

static void make_right(uint8_t *p, size_t len)
{
	bool ip4 = p[0] >> 4 == 4;
	size_t l4 = ip4 ? (size_t)(p[0] & 15) * 4 : 40, at = ip4 ? 12 : 8;
	uint8_t protocol = p[ip4 ? 9 : 6];
	size_t field = l4 + (protocol == 6 ? 16 : 6);

	if (ip4) {
		store_be16(p + 10, 0);
		store_be16(p + 10, (uint16_t)~checksum_fold(checksum_sum(p, l4)));
	}
	if ((protocol != 6 && protocol != 17) || field + 2 > len)
		return;
	uint32_t sum = protocol + (uint32_t)(len - l4) + checksum_sum(p + at, ip4 ? 8 : 32);
	store_be16(p + field, 0);
	uint16_t checksum = (uint16_t)~checksum_fold(sum + checksum_sum(p + l4, len - l4));
	store_be16(p + field, checksum || protocol == 6 ? checksum : 0xffff);
}

static void read_packets(struct packets *k, struct reader r)
{
	struct ip_view v;

	while (r.left > 3 && k->count < PACKETS) {
		size_t len = read_be16(&r) % 512;
		uint8_t how = read_u8(&r);
		if (len > r.left)
			len = r.left;
		const uint8_t *p = read_bytes(&r, len);
		if (!ip_parse(&v, p, len))
			continue;
		k->len[k->count] = how & 2 ? len : v.total;
		k->sent[k->count] = malloc(k->len[k->count]);
		k->merged[k->count] = malloc(k->len[k->count]);
		memcpy(k->sent[k->count], p, k->len[k->count]);
		if (how & 1)
			make_right(k->sent[k->count], v.total);
		memcpy(k->merged[k->count], k->sent[k->count], k->len[k->count]);
		/* Only right ones: what a peer lies about its own packets is its own loss. */
		k->unsummed[k->count] = how & 4 && how & 1 && !(how & 2);
		k->count++;
	}
}

/* The same but for IDs where DF is set, and for the two forms of zero in a checksum. */
static bool equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint8_t *x = malloc(len), *y = malloc(len);

	memcpy(x, a, len);
	memcpy(y, b, len);
	if (x[0] >> 4 == 4 && x[6] & 0x40)
		memcpy(x + 4, y + 4, 2);
	make_right(x, len);
	make_right(y, len);
	bool same = !memcmp(x, y, len);
	free(x);
	free(y);
	return same;
}

static void take(struct packets *k, const uint8_t *p, size_t len)
{
	for (unsigned i = 0; i < k->count; i++)
		if (!k->out[i] && k->len[i] == len && equal(k->sent[i], p, len)) {
			k->out[i] = true;
			return;
		}
	abort();
}

static void hand_back(struct packets *k, struct offload_merge *m, unsigned i)
{
	static uint8_t flat[2 * OFFLOAD_FRAME_MAX];
	int slices;
	const struct iovec *iov = offload_merge_frame(m, i, &slices);
	struct offload_split s;
	size_t len = 0, one;
	uint8_t *p;

	for (int n = 1; n < slices; n++) {
		must(len + iov[n].iov_len <= sizeof flat);
		memcpy(flat + len, iov[n].iov_base, iov[n].iov_len);
		len += iov[n].iov_len;
	}
	if (slices == 2) {
		take(k, flat, len);
		return;
	}
	must(!offload_split_begin(&s, iov[0].iov_base, flat, len));
	must(offload_split_count(&s) == (unsigned)slices - 1);
	while ((p = offload_split_next(&s, &one)))
		take(k, p, one);
}

static void write_frames(struct packets *k, struct offload_merge *m)
{
	for (unsigned i = 0; i < offload_merge_count(m); i++)
		hand_back(k, m, i);
	offload_merge_reset(m, true, true);
}

static void merge(const uint8_t *data, size_t size)
{
	static struct offload_merge m;
	struct packets k = { .count = 0 };

	read_packets(&k, reader_over(data, size));
	offload_merge_reset(&m, true, true);
	for (unsigned i = 0; i < k.count; i++) {
		if (offload_merge_add(&m, k.merged[i], k.len[i], k.unsummed[i]))
			continue;
		write_frames(&k, &m);
		must(offload_merge_add(&m, k.merged[i], k.len[i], k.unsummed[i]));
	}
	write_frames(&k, &m);
	for (unsigned i = 0; i < k.count; i++) {
		must(k.out[i]);
		free(k.sent[i]);
		free(k.merged[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1) {
		split(data + 1, size - 1);
		split_twice(data + 1, size - 1);
	} else {
		merge(data + 1, size - 1);
	}
	return 0;
}
