/* In the place of core/crypto_aegis.c, only in a build with -DP2PD_BENCH_PLAIN=ON: NO CIPHER. What a packet costs
 * without its cipher is what is left to gain in the rest. Never to be used for anything but measurements. */
#include <errno.h>
#include <string.h>

#include "core/crypto.h"

bool crypto_has_aes(void)
{
	return true;
}

void crypto_aegis_seal(uint8_t *out, const uint8_t *in, size_t len, uint64_t counter,
		       const uint8_t key[static 32])
{
	(void)counter, (void)key;
	if (out != in && len)
		memcpy(out, in, len);
	memset(out + len, 0, CRYPTO_AEGIS_TAG);
}

int crypto_aegis_open(uint8_t *out, const uint8_t *in, size_t len, uint64_t counter,
		      const uint8_t key[static 32])
{
	(void)counter, (void)key;
	if (len < CRYPTO_AEGIS_TAG)
		return -EBADMSG;
	if (out != in)
		memcpy(out, in, len - CRYPTO_AEGIS_TAG);
	return 0;
}
