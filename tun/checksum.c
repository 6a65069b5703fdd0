#include "tun/checksum.h"

#include <string.h>

#include "core/bytes.h"

/* Two 64-bit lanes: the compiler's vectors, so this is SSE2, NEON or two plain registers. */
typedef uint64_t lanes __attribute__((vector_size(16)));

static inline lanes load_lanes(const uint8_t *p)
{
	lanes v;

	memcpy(&v, p, sizeof v);
	return v;
}

/* A 64-bit sum of 32-bit words is a sum of 16-bit words, too: 2^16 = 1 in this arithmetic. */
static inline uint64_t halves(uint64_t v)
{
	return (v & 0xffffffff) + (v >> 32);
}

/* A third fewer operations than adding lower and upper halves apart: the lanes are added whole, wrapping
 * as they like, the upper halves once more by themselves; what these contributed is then taken away again,
 * modulo 2^64. */
static uint64_t sum_blocks(const uint8_t *p, size_t blocks)
{
	lanes whole_a = { 0 }, whole_b = { 0 }, upper_a = { 0 }, upper_b = { 0 };

	for (; blocks; blocks--, p += 32) {
		lanes a = load_lanes(p), b = load_lanes(p + 16);
		whole_a += a;
		upper_a += a >> 32;
		whole_b += b;
		upper_b += b >> 32;
	}
	upper_a += upper_b;
	lanes lower = whole_a + whole_b - (upper_a << 32);
	return halves(upper_a[0]) + halves(upper_a[1]) + halves(lower[0]) + halves(lower[1]);
}

/* Words are summed in the machine's byte order and the result swapped: RFC 1071 section 2 (B). */
uint32_t checksum_sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t sum = sum_blocks(p, len / 32);
	uint8_t bytes[2];

	p += len / 32 * 32;
	len %= 32;
	for (; len >= 4; p += 4, len -= 4) {
		uint32_t word;
		memcpy(&word, p, 4);
		sum += word;
	}
	uint32_t rest = 0;
	memcpy(&rest, p, len);
	sum = halves(halves(sum + rest));
	uint16_t folded = checksum_fold((uint32_t)sum);
	memcpy(bytes, &folded, 2);
	return load_be16(bytes);
}
