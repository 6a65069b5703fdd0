/* All cryptography of the project. The only user of libsodium and, with `stream`, of wolfSSL: it hides which of the
 * two serves what. No algorithm is implemented here; one is put together from its two halves (core/crypto_chacha.c).
 * Return values: 0, or -EBADMSG for what does not authenticate, or -EINVAL for a key or a result that must not be
 * used. */
#ifndef P2PD_CORE_CRYPTO_H
#define P2PD_CORE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CRYPTO_KEY = 32,
	CRYPTO_TAG = 16,
	CRYPTO_AEGIS_TAG = 32,
	CRYPTO_SIG = 64,
	CRYPTO_XNONCE = 24,
	BLAKE2S_LEN = 32,
};

/* Call once before anything else. 0 or -EIO. */
int crypto_init(void);
void crypto_wipe(void *p, size_t n);
/* Constant time. */
bool crypto_equal(const void *a, const void *b, size_t n);
bool crypto_is_zero(const void *p, size_t n);

/* --- Randomness: a ChaCha20 generator with key erasure, handed to all protocol code, so that a seed replays. */
struct rng {
	uint8_t key[32];
	uint8_t pool[256];
	unsigned used;
};
void rng_init_system(struct rng *r);
/* For tests and simulation only. */
void rng_init_seed(struct rng *r, uint64_t seed);
void rng_fill(struct rng *r, void *out, size_t n);
uint32_t rng_u32(struct rng *r);
/* Uniform in [0, bound); bound > 0. */
uint32_t rng_below(struct rng *r, uint32_t bound);

/* --- AEAD. `out` may be `in`. The tag follows the ciphertext: `out` of a seal has len + CRYPTO_TAG bytes, `len` of
 * an open includes the tag and `out` gets len - CRYPTO_TAG bytes. What does not authenticate leaves `out` undefined. */
/* RFC 8439 with WireGuard's nonce: 4 zero bytes, then `counter` little-endian. The body: core/crypto_chacha.c. */
void crypto_chacha_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
			uint64_t counter, const uint8_t key[static 32]);
int crypto_chacha_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
		       uint64_t counter, const uint8_t key[static 32]);
/* AEGIS-256 (RFC 10032) with a tag of CRYPTO_AEGIS_TAG bytes and no associated data; nonce: 24 zero bytes, then
 * `counter` little-endian. The body: core/crypto_aegis.c. */
void crypto_aegis_seal(uint8_t *out, const uint8_t *in, size_t len, uint64_t counter,
		       const uint8_t key[static 32]);
int crypto_aegis_open(uint8_t *out, const uint8_t *in, size_t len, uint64_t counter,
		      const uint8_t key[static 32]);
/* Whether this CPU has the instructions that make AEGIS fast; after crypto_init(). */
bool crypto_has_aes(void);
/* XChaCha20-Poly1305. */
void crypto_xchacha_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
			 const uint8_t nonce[static 24], const uint8_t key[static 32]);
int crypto_xchacha_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t ad_len,
			const uint8_t nonce[static 24], const uint8_t key[static 32]);

/* --- X25519. */
void crypto_x25519_clamp(uint8_t sk[static 32]);
void crypto_x25519_public(uint8_t pk[static 32], const uint8_t sk[static 32]);
/* -EINVAL for an all-zero result (a low-order point). */
int crypto_x25519(uint8_t out[static 32], const uint8_t sk[static 32], const uint8_t pk[static 32]);

/* --- Ed25519. The secret key is the 32-byte seed followed by the public key. */
void crypto_ed25519_keypair(uint8_t pk[static 32], uint8_t sk[static 64], const uint8_t seed[static 32]);
void crypto_ed25519_sign(uint8_t sig[static 64], const void *msg, size_t len, const uint8_t sk[static 64]);
int crypto_ed25519_verify(const uint8_t sig[static 64], const void *msg, size_t len,
			  const uint8_t pk[static 32]);

/* --- Hashes. A part with len 0 may have data NULL. */
struct part {
	const void *data;
	size_t len;
};
/* BLAKE2s of the parts in order. `out_len` is the length parameter of the hash itself (16 or 32), `key` may be NULL. */
void crypto_blake2s(uint8_t *out, size_t out_len, const void *key, size_t key_len, const struct part *parts,
		    size_t count);
/* HMAC (RFC 2104) over BLAKE2s-256, as WireGuard's KDF wants it. */
void crypto_hmac_blake2s(uint8_t out[static 32], const void *key, size_t key_len, const struct part *parts,
			 size_t count);
/* BLAKE2b, out_len 16..64, key NULL or 16..64 bytes. */
void crypto_blake2b(uint8_t *out, size_t out_len, const void *key, size_t key_len, const struct part *parts,
		    size_t count);
/* HMAC-SHA1, for STUN's MESSAGE-INTEGRITY (RFC 8489 section 14.5) only. */
void crypto_hmac_sha1(uint8_t out[static 20], const void *key, size_t key_len, const void *msg, size_t len);

/* SHA-1, for the WebSocket handshake (RFC 6455 section 4.2.2) only. */
void crypto_sha1(uint8_t out[static 20], const void *msg, size_t len);

/* --- Base64 (RFC 4648), with padding as WebSocket wants it; base64url without, as pins have it. */
#define CRYPTO_BASE64_TEXT(n) (((n) + 2) / 3 * 4 + 1)
void crypto_base64(char *out, const void *data, size_t len);	/* CRYPTO_BASE64_TEXT(len) bytes */
void crypto_base64url(char *out, const void *data, size_t len); /* CRYPTO_BASE64_TEXT(len) bytes */
/* 0, or -EINVAL for what is not exactly `len` bytes. */
int crypto_base64_decode(void *out, size_t len, const char *text);
int crypto_base64url_decode(void *out, size_t len, const char *text);

/* --- Keys from secrets. */
/* Argon2id, 3 passes over 64 MiB. 0 or -ENOMEM. */
int crypto_argon2id(uint8_t out[static 32], const void *secret, size_t len, const uint8_t salt[static 16]);
/* libsodium's crypto_kdf: subkey `id` under an 8-character context. */
void crypto_subkey(uint8_t out[static 32], uint64_t id, const char context[static 8],
		   const uint8_t master[static 32]);

#endif
