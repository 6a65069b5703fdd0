#include "apps/p2pd/wg_key.h"

#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 33 bytes, the last one zero, make 11 groups of 4 characters; of the last group one character is padding. */
void wg_key_format(const uint8_t key[static 32], char out[static WG_KEY_TEXT])
{
	uint8_t in[33] = { 0 };

	memcpy(in, key, 32);
	for (int i = 0; i < 33; i += 3) {
		uint32_t bits = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
		for (int k = 0; k < 4; k++)
			*out++ = alphabet[bits >> (18 - 6 * k) & 63];
	}
	out[-1] = '=';
	*out = 0;
}

int wg_key_parse(uint8_t out[static 32], const char *text)
{
	uint32_t bits = 0;
	int have = 0;

	if (strlen(text) != WG_KEY_TEXT - 1 || text[43] != '=')
		return -EINVAL;
	for (int i = 0, n = 0; i < 43; i++) {
		const char *at = strchr(alphabet, text[i]);
		if (!at)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (uint8_t)(bits >> have);
		}
	}
	return bits & 3 ? -EINVAL : 0; /* 43 * 6 = 258: two bits too many, which must be zero */
}
