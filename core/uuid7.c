#include "core/uuid7.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/crypto.h"

enum { TIME_BITS = 48, VERSION_AT = 6, VARIANT_AT = 8 };

static void mark(uint8_t id[static UUID7_LEN])
{
	id[VERSION_AT] = (uint8_t)(0x70 | (id[VERSION_AT] & 0x0f));
	id[VARIANT_AT] = (uint8_t)(0x80 | (id[VARIANT_AT] & 0x3f));
}

/* Adds `n` to the number that the bytes are, the fixed bits of version and variant left out. */
static void add(uint8_t id[static UUID7_LEN], uint32_t n)
{
	uint64_t carry = n;

	for (int i = UUID7_LEN - 1; i >= 0 && carry; i--) {
		unsigned bits = i == VERSION_AT ? 4 : i == VARIANT_AT ? 6 : 8;
		uint8_t mask = (uint8_t)((1u << bits) - 1);
		carry += id[i] & mask;
		id[i] = (uint8_t)((id[i] & ~mask) | (carry & mask));
		carry >>= bits;
	}
}

void uuid7_make(uint8_t out[static UUID7_LEN], const uint8_t *after, uint64_t unix_ms, struct rng *rng)
{
	uint8_t id[UUID7_LEN];

	rng_fill(rng, id, sizeof id);
	for (unsigned i = 0; i < TIME_BITS / 8; i++)
		id[i] = (uint8_t)(unix_ms >> (TIME_BITS - 8 - 8 * i));
	mark(id);
	if (after && memcmp(id, after, sizeof id) <= 0) {
		memcpy(id, after, sizeof id);
		add(id, 1 + rng_below(rng, UINT32_MAX));
	}
	memcpy(out, id, sizeof id);
}

static bool dash_follows(unsigned i)
{
	return i == 3 || i == 5 || i == 7 || i == 9;
}

const char *uuid7_format(const uint8_t id[static UUID7_LEN], char out[static UUID7_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	char *at = out;

	for (unsigned i = 0; i < UUID7_LEN; i++) {
		*at++ = digits[id[i] >> 4];
		*at++ = digits[id[i] & 15];
		if (dash_follows(i))
			*at++ = '-';
	}
	*at = 0;
	return out;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int uuid7_parse(uint8_t id[static UUID7_LEN], const char *text)
{
	uint8_t read[UUID7_LEN], marked[UUID7_LEN];

	if (strlen(text) != UUID7_TEXT - 1)
		return -EINVAL;
	for (unsigned i = 0; i < UUID7_LEN; i++) {
		int high = digit(text[0]), low = digit(text[1]);
		if (high < 0 || low < 0 || (dash_follows(i) && text[2] != '-'))
			return -EINVAL;
		read[i] = (uint8_t)(high << 4 | low);
		text += dash_follows(i) ? 3 : 2;
	}
	memcpy(marked, read, sizeof read);
	mark(marked);
	if (memcmp(marked, read, sizeof read) != 0)
		return -EINVAL;
	memcpy(id, read, sizeof read);
	return 0;
}
