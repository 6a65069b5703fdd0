#include "core/crypto.h"

#include <wolfssl/options.h>

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/blake2.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/wc_port.h>

#include "core/bytes.h"

int crypto_init(void)
{
	return sodium_init() < 0 || wolfCrypt_Init() != 0 ? -EIO : 0;
}

void crypto_wipe(void *p, size_t n)
{
	sodium_memzero(p, n);
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

bool crypto_is_zero(const void *p, size_t n)
{
	return sodium_is_zero(p, n) == 1;
}

/* A library call on well-formed arguments that still fails leaves nothing safe to do. */
static void must(int rc)
{
	if (rc != 0)
		abort();
}

void rng_init_system(struct rng *r)
{
	randombytes_buf(r->key, sizeof r->key);
	r->used = sizeof r->pool;
}

void rng_init_seed(struct rng *r, uint64_t seed)
{
	memset(r, 0, sizeof *r);
	store_le64(r->key, seed);
	r->used = sizeof r->pool;
}

/* The first 32 bytes of each block replace the key, so a captured state tells nothing of the past. */
static void rng_refill(struct rng *r)
{
	static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];

	crypto_stream_chacha20(r->pool, sizeof r->pool, nonce, r->key);
	memcpy(r->key, r->pool, sizeof r->key);
	memset(r->pool, 0, sizeof r->key);
	r->used = sizeof r->key;
}

void rng_fill(struct rng *r, void *out, size_t n)
{
	uint8_t *p = out;

	while (n) {
		if (r->used == sizeof r->pool)
			rng_refill(r);
		size_t take = sizeof r->pool - r->used < n ? sizeof r->pool - r->used : n;
		memcpy(p, r->pool + r->used, take);
		memset(r->pool + r->used, 0, take);
		r->used += (unsigned)take;
		p += take;
		n -= take;
	}
}

uint32_t rng_u32(struct rng *r)
{
	uint8_t b[4];

	rng_fill(r, b, sizeof b);
	return load_le32(b);
}

uint32_t rng_below(struct rng *r, uint32_t bound)
{
	uint32_t reject = -bound % bound, v;

	do
		v = rng_u32(r);
	while (v < reject);
	return v % bound;
}

void crypto_xchacha_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
			 const uint8_t nonce[static 24], const uint8_t key[static 32])
{
	must(crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, ad_len, NULL, nonce, key));
}

int crypto_xchacha_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
			const uint8_t nonce[static 24], const uint8_t key[static 32])
{
	if (len < CRYPTO_TAG)
		return -EBADMSG;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, ad_len, nonce, key) != 0)
		return -EBADMSG;
	return 0;
}

void crypto_x25519_clamp(uint8_t sk[static 32])
{
	sk[0] &= 248;
	sk[31] = (sk[31] & 127) | 64;
}

void crypto_x25519_public(uint8_t pk[static 32], const uint8_t sk[static 32])
{
	must(crypto_scalarmult_base(pk, sk));
}

int crypto_x25519(uint8_t out[static 32], const uint8_t sk[static 32], const uint8_t pk[static 32])
{
	return crypto_scalarmult(out, sk, pk) != 0 ? -EINVAL : 0;
}

void crypto_ed25519_keypair(uint8_t pk[static 32], uint8_t sk[static 64], const uint8_t seed[static 32])
{
	must(crypto_sign_seed_keypair(pk, sk, seed));
}

void crypto_ed25519_sign(uint8_t sig[static 64], const void *msg, size_t len, const uint8_t sk[static 64])
{
	must(crypto_sign_detached(sig, NULL, msg, len, sk));
}

int crypto_ed25519_verify(const uint8_t sig[static 64], const void *msg, size_t len,
			  const uint8_t pk[static 32])
{
	return crypto_sign_verify_detached(sig, msg, len, pk) != 0 ? -EBADMSG : 0;
}

void crypto_blake2s(uint8_t *out, size_t out_len, const void *key, size_t key_len, const struct part *parts,
		    size_t count)
{
	Blake2s state;

	if (key)
		must(wc_InitBlake2s_WithKey(&state, (word32)out_len, key, (word32)key_len));
	else
		must(wc_InitBlake2s(&state, (word32)out_len));
	for (size_t i = 0; i < count; i++)
		if (parts[i].len)
			must(wc_Blake2sUpdate(&state, parts[i].data, (word32)parts[i].len));
	must(wc_Blake2sFinal(&state, out, 0));
	crypto_wipe(&state, sizeof state);
}

void crypto_hmac_blake2s(uint8_t out[static 32], const void *key, size_t key_len, const struct part *parts,
			 size_t count)
{
	Blake2s state;

	must(wc_Blake2sHmacInit(&state, key, key_len));
	for (size_t i = 0; i < count; i++)
		if (parts[i].len)
			must(wc_Blake2sHmacUpdate(&state, parts[i].data, parts[i].len));
	must(wc_Blake2sHmacFinal(&state, key, key_len, out, BLAKE2S_LEN));
	crypto_wipe(&state, sizeof state);
}

void crypto_blake2b(uint8_t *out, size_t out_len, const void *key, size_t key_len, const struct part *parts,
		    size_t count)
{
	crypto_generichash_state state;

	must(crypto_generichash_init(&state, key, key_len, out_len));
	for (size_t i = 0; i < count; i++)
		must(crypto_generichash_update(&state, parts[i].data, parts[i].len));
	must(crypto_generichash_final(&state, out, out_len));
	crypto_wipe(&state, sizeof state);
}

void crypto_hmac_sha1(uint8_t out[static 20], const void *key, size_t key_len, const void *msg, size_t len)
{
	Hmac h;

	must(wc_HmacInit(&h, NULL, INVALID_DEVID));
	must(wc_HmacSetKey(&h, WC_SHA, key, (word32)key_len));
	must(wc_HmacUpdate(&h, msg, (word32)len));
	must(wc_HmacFinal(&h, out));
	wc_HmacFree(&h);
}

void crypto_sha1(uint8_t out[static 20], const void *msg, size_t len)
{
	must(wc_ShaHash(msg, (word32)len, out));
}

static void encode64(char *out, const void *data, size_t len, int variant)
{
	sodium_bin2base64(out, sodium_base64_encoded_len(len, variant), data, len, variant);
}

void crypto_base64(char *out, const void *data, size_t len)
{
	encode64(out, data, len, sodium_base64_VARIANT_ORIGINAL);
}

void crypto_base64url(char *out, const void *data, size_t len)
{
	encode64(out, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static int decode64(void *out, size_t len, const char *text, int variant)
{
	size_t got;

	if (sodium_base642bin(out, len, text, strlen(text), NULL, &got, NULL, variant) != 0 || got != len)
		return -EINVAL;
	return 0;
}

int crypto_base64_decode(void *out, size_t len, const char *text)
{
	return decode64(out, len, text, sodium_base64_VARIANT_ORIGINAL);
}

int crypto_base64url_decode(void *out, size_t len, const char *text)
{
	return decode64(out, len, text, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int crypto_argon2id(uint8_t out[static 32], const void *secret, size_t len, const uint8_t salt[static 16])
{
	if (crypto_pwhash(out, 32, secret, len, salt, 3, (size_t)64 << 20, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return -ENOMEM;
	return 0;
}

void crypto_subkey(uint8_t out[static 32], uint64_t id, const char context[static 8],
		   const uint8_t master[static 32])
{
	must(crypto_kdf_derive_from_key(out, 32, id, context, master));
}
