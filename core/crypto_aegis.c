/* AEGIS-256, in a file of its own so that a build for measurements can leave it out (P2PD_BENCH_PLAIN). */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"

_Static_assert(CRYPTO_AEGIS_TAG == crypto_aead_aegis256_ABYTES, "the tag's length");

static void aegis_nonce(uint8_t nonce[static crypto_aead_aegis256_NPUBBYTES], uint64_t counter)
{
	memset(nonce, 0, crypto_aead_aegis256_NPUBBYTES - 8);
	store_le64(nonce + crypto_aead_aegis256_NPUBBYTES - 8, counter);
}

bool crypto_has_aes(void)
{
	/* What libsodium itself asks for before it uses the instructions. */
	return (sodium_runtime_has_aesni() && sodium_runtime_has_avx()) || sodium_runtime_has_armcrypto();
}

void crypto_aegis_seal(uint8_t *out, const uint8_t *in, size_t len, uint64_t counter,
		       const uint8_t key[static 32])
{
	uint8_t nonce[crypto_aead_aegis256_NPUBBYTES];

	aegis_nonce(nonce, counter);
	if (crypto_aead_aegis256_encrypt(out, NULL, in, len, NULL, 0, NULL, nonce, key) != 0)
		abort();
}

int crypto_aegis_open(uint8_t *out, const uint8_t *in, size_t len, uint64_t counter,
		      const uint8_t key[static 32])
{
	uint8_t nonce[crypto_aead_aegis256_NPUBBYTES];

	if (len < CRYPTO_AEGIS_TAG)
		return -EBADMSG;
	aegis_nonce(nonce, counter);
	if (crypto_aead_aegis256_decrypt(out, NULL, NULL, in, len, NULL, 0, nonce, key) != 0)
		return -EBADMSG;
	return 0;
}
