/* ChaCha20-Poly1305 (RFC 8439), for packets put together as its section 2.8 says from wolfCrypt's ChaCha20 and Poly1305.
 * wolfCrypt's own call, which serves what is longer, makes the one-time key by itself and leaves what is beyond a multiple
 * of UNIT to code that takes three times as long a byte. Here the key's block and the packet, filled up to whole units,
 * are one call. */
#include <wolfssl/options.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include "core/bytes.h"
#include "core/crypto.h"

enum {
	UNIT = 512,	/* what the vector code takes at once */
	KEY_BLOCK = 64, /* of the key stream, before the message: section 2.6 */
	UNITS = 4 * UNIT,
	PACKET_MAX = UNITS - KEY_BLOCK,
};

/* The message stands behind the key's block. */
struct chacha {
	ChaCha stream;
	Poly1305 poly;
	size_t len;
	_Alignas(64) uint8_t block[UNITS + CRYPTO_TAG];
};

static void must(int rc)
{
	if (rc != 0)
		abort();
}

static void nonce_of(uint8_t nonce[static CHACHA_IV_BYTES], uint64_t counter)
{
	memset(nonce, 0, CHACHA_IV_BYTES - 8);
	store_le64(nonce + CHACHA_IV_BYTES - 8, counter);
}

/* The one-time key, and `in` enciphered or the other way round. Not inline: where GCC knows how long a copy can be it
 * makes it with `rep movs`, which takes longer than all else of it that is not the cipher. */
__attribute__((noinline)) static void process(struct chacha *c, const uint8_t *in, uint64_t counter,
					      const uint8_t *key)
{
	uint8_t nonce[CHACHA_IV_BYTES];
	size_t used = KEY_BLOCK + c->len, whole = (used + UNIT - 1) / UNIT * UNIT;

	nonce_of(nonce, counter);
	must(wc_Chacha_SetKey(&c->stream, key, CHACHA_MAX_KEY_SZ));
	must(wc_Chacha_SetIV(&c->stream, nonce, 0));
	memset(c->block, 0, KEY_BLOCK);
	if (c->len)
		memcpy(c->block + KEY_BLOCK, in, c->len);
	memset(c->block + used, 0, whole - used);
	must(wc_Chacha_Process(&c->stream, c->block, c->block, (word32)whole));
	must(wc_Poly1305SetKey(&c->poly, c->block, CHACHA_MAX_KEY_SZ));
}

static void authenticate(struct chacha *c, const void *ad, size_t ad_len, const uint8_t *sealed,
			 uint8_t tag[static CRYPTO_TAG])
{
	must(wc_Poly1305_MAC(&c->poly, ad, (word32)ad_len, sealed, (word32)c->len, tag, CRYPTO_TAG));
}

static void end(struct chacha *c)
{
	crypto_wipe(&c->stream, sizeof c->stream);
	crypto_wipe(&c->poly, sizeof c->poly);
	crypto_wipe(c->block, KEY_BLOCK);
}

static void seal_long(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
		      uint64_t counter, const uint8_t *key)
{
	uint8_t nonce[CHACHA_IV_BYTES];

	nonce_of(nonce, counter);
	must(wc_ChaCha20Poly1305_Encrypt(key, nonce, ad, (word32)ad_len, in, (word32)len, out, out + len));
}

static int open_long(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
		     uint64_t counter, const uint8_t *key)
{
	uint8_t nonce[CHACHA_IV_BYTES];

	nonce_of(nonce, counter);
	if (wc_ChaCha20Poly1305_Decrypt(key, nonce, ad, (word32)ad_len, in, (word32)len, in + len, out) != 0)
		return -EBADMSG;
	return 0;
}

void crypto_chacha_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
			uint64_t counter, const uint8_t key[static 32])
{
	struct chacha c;

	if (len > PACKET_MAX) {
		seal_long(out, in, len, ad, ad_len, counter, key);
		return;
	}
	c.len = len;
	process(&c, in, counter, key);
	authenticate(&c, ad, ad_len, c.block + KEY_BLOCK, c.block + KEY_BLOCK + c.len);
	memcpy(out, c.block + KEY_BLOCK, c.len + CRYPTO_TAG);
	end(&c);
}

int crypto_chacha_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
		       uint64_t counter, const uint8_t key[static 32])
{
	struct chacha c;
	uint8_t tag[CRYPTO_TAG];
	bool good;

	if (len < CRYPTO_TAG)
		return -EBADMSG;
	len -= CRYPTO_TAG;
	if (len > PACKET_MAX)
		return open_long(out, in, len, ad, ad_len, counter, key);
	c.len = len;
	process(&c, in, counter, key);
	authenticate(&c, ad, ad_len, in, tag);
	good = crypto_equal(tag, in + c.len, CRYPTO_TAG);
	if (good && c.len)
		memcpy(out, c.block + KEY_BLOCK, c.len);
	end(&c);
	return good ? 0 : -EBADMSG;
}
