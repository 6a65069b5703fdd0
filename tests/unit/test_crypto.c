#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"

static void unhex(uint8_t *out, const char *hex)
{
	for (; *hex; hex += 2)
		sscanf(hex, "%2hhx", out++);
}

static void blake2s_matches_rfc7693(void **state)
{
	(void)state;
	uint8_t want[32], got[32];
	struct part abc = { "abc", 3 };

	unhex(want, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
	crypto_blake2s(got, 32, NULL, 0, &abc, 1);
	assert_memory_equal(got, want, 32);
}

static void a_short_blake2s_is_not_a_truncated_long_one(void **state)
{
	(void)state;
	uint8_t shorter[16], longer[32];
	struct part abc = { "abc", 3 };

	crypto_blake2s(shorter, 16, "k", 1, &abc, 1);
	crypto_blake2s(longer, 32, "k", 1, &abc, 1);
	assert_memory_not_equal(shorter, longer, 16);
}

/* wireguard-go's KDF vectors: HMAC-BLAKE2s-256 chained as HKDF. */
static void hmac_blake2s_matches_wireguards_kdf(void **state)
{
	(void)state;
	uint8_t key[19], input[16], prk[32], t0[32], t1[32], want[32];

	unhex(key, "746573742d6b6579");
	unhex(input, "746573742d696e707574");
	crypto_hmac_blake2s(prk, key, 8, &(struct part) { input, 10 }, 1);
	crypto_hmac_blake2s(t0, prk, 32, &(struct part) { "\x01", 1 }, 1);
	unhex(want, "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633");
	assert_memory_equal(t0, want, 32);
	crypto_hmac_blake2s(t1, prk, 32, (struct part[]) { { t0, 32 }, { "\x02", 1 } }, 2);
	unhex(want, "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a");
	assert_memory_equal(t1, want, 32);
}

static void chacha_opens_what_it_sealed_and_nothing_else(void **state)
{
	(void)state;
	uint8_t key[32] = { 1 }, msg[64 + CRYPTO_TAG] = "hello", copy[sizeof msg];

	memcpy(copy, msg, 64);
	crypto_chacha_seal(msg, msg, 64, "ad", 2, 7, key);
	for (size_t bit = 0; bit < sizeof msg * 8; bit++) {
		uint8_t bad[sizeof msg];
		memcpy(bad, msg, sizeof msg);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(crypto_chacha_open(bad, bad, sizeof bad, "ad", 2, 7, key), -EBADMSG);
	}
	assert_int_equal(crypto_chacha_open(copy, msg, sizeof msg, "ad", 2, 8, key), -EBADMSG);
	assert_int_equal(crypto_chacha_open(copy, msg, 15, "ad", 2, 7, key), -EBADMSG);
	assert_int_equal(crypto_chacha_open(msg, msg, sizeof msg, "ad", 2, 7, key), 0);
	assert_string_equal((char *)msg, "hello");
	crypto_chacha_seal(msg, NULL, 0, NULL, 0, 0, key);
	assert_int_equal(crypto_chacha_open(msg, msg, CRYPTO_TAG, NULL, 0, 0, key), 0);
}

/* Lengths around each border of the pieces that it is worked on in, in place and not. */
static void chacha_is_that_of_the_rfc_whatever_the_length(void **state)
{
	(void)state;
	enum { MOST = 2200 };
	uint8_t key[32], text[MOST], want[MOST + CRYPTO_TAG], got[MOST + CRYPTO_TAG],
		nonce[12] = { 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1 };
	const uint64_t counter = UINT64_C(0x0102030405060708);
	struct rng rng;

	rng_init_seed(&rng, 1);
	rng_fill(&rng, key, sizeof key);
	rng_fill(&rng, text, sizeof text);
	for (size_t len = 0; len <= MOST; len++) {
		size_t ad = len % 40;
		assert_int_equal(crypto_aead_chacha20poly1305_ietf_encrypt(want, NULL, text, len, text, ad,
									   NULL, nonce, key),
				 0);
		crypto_chacha_seal(got, text, len, text, ad, counter, key);
		assert_memory_equal(got, want, len + CRYPTO_TAG);
		memcpy(got, text, len);
		crypto_chacha_seal(got, got, len, text, ad, counter, key);
		assert_memory_equal(got, want, len + CRYPTO_TAG);
		assert_int_equal(crypto_chacha_open(got, want, len + CRYPTO_TAG, text, ad, counter, key), 0);
		assert_memory_equal(got, text, len);
		assert_int_equal(crypto_chacha_open(want, want, len + CRYPTO_TAG, text, ad, counter, key), 0);
		assert_memory_equal(want, text, len);
	}
}

static void chacha_gives_nothing_away_before_it_authenticates(void **state)
{
	(void)state;
	static const size_t LENGTHS[] = { 1, 448, 449, 960, 1424 };
	uint8_t key[32] = { 1 }, msg[1424 + CRYPTO_TAG], out[1424], untouched[1424];

	for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
		size_t len = LENGTHS[i];
		memset(msg, 'x', len);
		crypto_chacha_seal(msg, msg, len, NULL, 0, 7, key);
		msg[len - 1] ^= 1;
		memset(out, 0xee, sizeof out);
		memset(untouched, 0xee, sizeof untouched);
		assert_int_equal(crypto_chacha_open(out, msg, len + CRYPTO_TAG, NULL, 0, 7, key), -EBADMSG);
		assert_memory_equal(out, untouched, sizeof out);
	}
}

/* The message was computed apart from the library, by code that agrees with RFC 10032's vectors. */
static void aegis_is_that_of_the_rfc_with_our_nonce(void **state)
{
	static const char text[] = "sealed by p2pd";
	uint8_t key[32], want[46], got[46];

	(void)state;
	for (uint8_t i = 0; i < 32; i++)
		key[i] = i;
	unhex(want,
	      "c5a3bffcb26af1788cc2228a8c7f6eb2d0338968ab6a7feba80594bcc7dafa19b7ca68dfae17477ea70236f4874b");
	crypto_aegis_seal(got, (const uint8_t *)text, 14, UINT64_C(0x0102030405060708), key);
	assert_memory_equal(got, want, sizeof want);
}

static void aegis_opens_what_it_sealed_and_nothing_else(void **state)
{
	(void)state;
	uint8_t key[32] = { 1 }, msg[64 + CRYPTO_AEGIS_TAG] = "hello";

	crypto_aegis_seal(msg, msg, 64, 7, key);
	for (size_t bit = 0; bit < sizeof msg * 8; bit++) {
		uint8_t bad[sizeof msg];
		memcpy(bad, msg, sizeof msg);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(crypto_aegis_open(bad, bad, sizeof bad, 7, key), -EBADMSG);
	}
	for (size_t len = 0; len < sizeof msg; len++) {
		uint8_t bad[sizeof msg];
		memcpy(bad, msg, sizeof msg);
		assert_int_equal(crypto_aegis_open(bad, bad, len, 7, key), -EBADMSG);
	}
	assert_int_equal(crypto_aegis_open(msg, msg, sizeof msg, 7, key), 0);
	assert_string_equal((char *)msg, "hello");
	crypto_aegis_seal(msg, NULL, 0, 0, key);
	assert_int_equal(crypto_aegis_open(msg, msg, CRYPTO_AEGIS_TAG, 0, key), 0);
}

static void low_order_points_are_refused(void **state)
{
	(void)state;
	uint8_t sk[32] = { 9 }, zero[32] = { 0 }, out[32];

	assert_int_equal(crypto_x25519(out, sk, zero), -EINVAL);
}

static void a_seed_replays(void **state)
{
	(void)state;
	struct rng a, b;
	uint8_t x[1000], y[1000];

	rng_init_seed(&a, 42);
	rng_init_seed(&b, 42);
	rng_fill(&a, x, sizeof x);
	for (size_t i = 0; i < sizeof y; i++)
		rng_fill(&b, y + i, 1);
	assert_memory_equal(x, y, sizeof x);
	for (int i = 0; i < 1000; i++)
		assert_in_range(rng_below(&a, 10), 0, 9);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blake2s_matches_rfc7693),
		cmocka_unit_test(a_short_blake2s_is_not_a_truncated_long_one),
		cmocka_unit_test(hmac_blake2s_matches_wireguards_kdf),
		cmocka_unit_test(chacha_opens_what_it_sealed_and_nothing_else),
		cmocka_unit_test(chacha_is_that_of_the_rfc_whatever_the_length),
		cmocka_unit_test(chacha_gives_nothing_away_before_it_authenticates),
		cmocka_unit_test(aegis_is_that_of_the_rfc_with_our_nonce),
		cmocka_unit_test(aegis_opens_what_it_sealed_and_nothing_else),
		cmocka_unit_test(low_order_points_are_refused),
		cmocka_unit_test(a_seed_replays),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
