/* ChaCha20-Poly1305 (RFC 8439), put together as its section 2.8 says from wolfCrypt's ChaCha20 and Poly1305. wolfCrypt's
 * own call does the same, but makes the one-time key by itself and leaves what is beyond a multiple of UNIT to code that
 * takes three times as long a byte. Here the key's block is part of the first unit, and the last one is filled up. */
#include <wolfssl/options.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/chacha.h>
#include <wolfssl/wolfcrypt/poly1305.h>

#include "core/bytes.h"
#include "core/crypto.h"

enum {
	UNIT = 512,	/* what the vector code takes at once */
	KEY_BLOCK = 64, /* of the key stream, before the message: section 2.6 */
	HEAD = UNIT - KEY_BLOCK,
};

struct chacha {
	ChaCha stream;
	uint8_t unit[UNIT];
	size_t head; /* so many bytes of the message are in the first unit */
};

static void must(int rc)
{
	if (rc != 0)
		abort();
}

/* Leaves the one-time key, and the first bytes of `in` enciphered (or the other way round) behind its block. */
static void begin(struct chacha *c, const uint8_t *in, size_t len, uint64_t counter, const uint8_t *key)
{
	uint8_t nonce[CHACHA_IV_BYTES] = { 0 };

	store_le64(nonce + sizeof nonce - 8, counter);
	must(wc_Chacha_SetKey(&c->stream, key, CHACHA_MAX_KEY_SZ));
	must(wc_Chacha_SetIV(&c->stream, nonce, 0));
	c->head = len < HEAD ? len : HEAD;
	memset(c->unit, 0, sizeof c->unit);
	if (c->head)
		memcpy(c->unit + KEY_BLOCK, in, c->head);
	must(wc_Chacha_Process(&c->stream, c->unit, c->unit, UNIT));
}

static void authenticate(const struct chacha *c, const void *ad, size_t ad_len, const uint8_t *sealed,
			 size_t len, uint8_t tag[static CRYPTO_TAG])
{
	Poly1305 poly;

	must(wc_Poly1305SetKey(&poly, c->unit, CHACHA_MAX_KEY_SZ));
	must(wc_Poly1305_MAC(&poly, ad, (word32)ad_len, sealed, (word32)len, tag, CRYPTO_TAG));
	crypto_wipe(&poly, sizeof poly);
}

static void go_on(struct chacha *c, uint8_t *out, const uint8_t *in, size_t len)
{
	size_t whole, rest;

	memcpy(out, c->unit + KEY_BLOCK, c->head);
	out += c->head;
	in += c->head;
	len -= c->head;
	whole = len / UNIT * UNIT;
	rest = len - whole;
	if (whole)
		must(wc_Chacha_Process(&c->stream, out, in, (word32)whole));
	if (rest) {
		uint8_t unit[UNIT] = { 0 };
		memcpy(unit, in + whole, rest);
		must(wc_Chacha_Process(&c->stream, unit, unit, UNIT));
		memcpy(out + whole, unit, rest);
	}
}

static void end(struct chacha *c)
{
	crypto_wipe(&c->stream, sizeof c->stream);
	crypto_wipe(c->unit, KEY_BLOCK);
}

void crypto_chacha_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
			uint64_t counter, const uint8_t key[static 32])
{
	struct chacha c;

	begin(&c, in, len, counter, key);
	if (len)
		go_on(&c, out, in, len);
	authenticate(&c, ad, ad_len, out, len, out + len);
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
	begin(&c, in, len, counter, key);
	authenticate(&c, ad, ad_len, in, len, tag);
	good = crypto_equal(tag, in + len, CRYPTO_TAG);
	if (good && len)
		go_on(&c, out, in, len);
	end(&c);
	return good ? 0 : -EBADMSG;
}
