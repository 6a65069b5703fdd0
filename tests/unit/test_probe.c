#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/probe.h"

#include "tests/unit/member.h"

static struct network net, wrong;
static struct member a, b, c;
static struct probe_keys ka, kb;
static struct rng rng;

static int set_up(void **state)
{
	(void)state;
	member_network(&net, "home");
	member_network(&wrong, "office");
	member_make(&a, &net, 1);
	member_make(&b, &net, 2);
	member_make(&c, &net, 3);
	rng_init_seed(&rng, 1);
	return probe_keys_init(&ka, &net, a.wk_sk, a.wk, b.wk) ||
	       probe_keys_init(&kb, &net, b.wk_sk, b.wk, a.wk);
}

static struct probe ping(void)
{
	return (struct probe) { .kind = PROBE_PING, .txid = "abcdefghijk" };
}

static struct probe pong(void)
{
	struct probe p = { .kind = PROBE_PONG,
			   .txid = "abcdefghijk",
			   .seen = member_addr("198.51.100.7:1024") };

	return p;
}

/* Any plaintext in a genuine envelope from a to b. */
static size_t envelope(const uint8_t *plain, size_t len, uint8_t out[static PROBE_MAX])
{
	memset(out, 0, 36);
	out[0] = PROBE_FIRST_BYTE;
	memcpy(out + 4, ka.tag_tx, PROBE_TAG);
	crypto_xchacha_seal(out + 36, plain, len, out, 12, out + 12, ka.key);
	return 36 + len + CRYPTO_TAG;
}

static void the_other_end_opens_what_was_sealed(void **state)
{
	(void)state;
	struct probe cases[] = { ping(), pong(), pong() };
	uint8_t msg[PROBE_MAX];

	cases[2].seen = member_addr("[2001:db8::1]:65535");
	for (size_t i = 0; i < 3; i++)
		for (size_t size = PROBE_MIN; size <= PROBE_MAX; size += 59) {
			struct probe got = { 0 };
			assert_int_equal(probe_seal(&ka, &cases[i], &rng, size, msg), size);
			assert_int_equal(probe_open(&kb, msg, size, &got), 0);
			assert_memory_equal(&got, &cases[i], sizeof got);
		}
}

static void sizes_are_kept_within_bounds(void **state)
{
	(void)state;
	static const size_t sizes[][2] = { { 0, PROBE_MIN },
					   { PROBE_MIN - 1, PROBE_MIN },
					   { PROBE_MAX, PROBE_MAX },
					   { PROBE_MAX + 1, PROBE_MAX },
					   { SIZE_MAX, PROBE_MAX } };
	struct probe p = ping(), got;
	uint8_t msg[PROBE_MAX];

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		assert_int_equal(probe_seal(&ka, &p, &rng, sizes[i][0], msg), sizes[i][1]);
		assert_int_equal(probe_open(&kb, msg, sizes[i][1], &got), 0);
	}
}

static void the_layout_is_the_documented_one(void **state)
{
	(void)state;
	static const uint8_t first[4] = { 0x80, 0, 0, 0 };
	struct probe p = pong();
	uint8_t msg[PROBE_MAX], plain[32 + 20];

	assert_int_equal(PROBE_MIN, 84);
	size_t len = probe_seal(&ka, &p, &rng, PROBE_MIN + 20, msg);
	assert_memory_equal(msg, first, 4);
	assert_memory_equal(msg + 4, ka.tag_tx, 8);
	assert_int_equal(crypto_xchacha_open(plain, msg + 36, len - 36, msg, 12, msg + 12, ka.key), 0);
	assert_int_equal(plain[0], PROBE_PONG);
	assert_memory_equal(plain + 1, p.txid, 12);
	assert_memory_equal(plain + 13, "\x04\x00\x04\xc6\x33\x64\x07", 7);
	assert_true(crypto_is_zero(plain + 20, sizeof plain - 20));
}

static void both_ends_agree_on_key_and_tags_and_directions_differ(void **state)
{
	(void)state;
	assert_memory_equal(ka.key, kb.key, 32);
	assert_memory_equal(ka.tag_tx, kb.tag_rx, PROBE_TAG);
	assert_memory_equal(ka.tag_rx, kb.tag_tx, PROBE_TAG);
	assert_memory_not_equal(ka.tag_tx, ka.tag_rx, PROBE_TAG);
}

static void another_peer_or_network_has_other_keys(void **state)
{
	(void)state;
	struct probe_keys other;

	assert_int_equal(probe_keys_init(&other, &net, a.wk_sk, a.wk, c.wk), 0);
	assert_memory_not_equal(other.key, ka.key, 32);
	assert_memory_not_equal(other.tag_tx, ka.tag_tx, PROBE_TAG);
	assert_int_equal(probe_keys_init(&other, &wrong, a.wk_sk, a.wk, b.wk), 0);
	assert_memory_not_equal(other.key, ka.key, 32);
	assert_memory_not_equal(other.tag_tx, ka.tag_tx, PROBE_TAG);
}

static void keys_that_must_not_be_used_are_refused(void **state)
{
	(void)state;
	static const uint8_t low_order[32] = { 1 };
	struct probe_keys k;

	assert_int_equal(probe_keys_init(&k, &net, a.wk_sk, a.wk, low_order), -EINVAL);
	assert_int_equal(probe_keys_init(&k, &net, a.wk_sk, a.wk, a.wk), -EINVAL);
}

static void every_flipped_bit_is_refused(void **state)
{
	(void)state;
	struct probe p = pong(), got;
	uint8_t msg[PROBE_MAX];
	size_t len = probe_seal(&ka, &p, &rng, 100, msg);

	for (size_t bit = 0; bit < len * 8; bit++) {
		msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(probe_open(&kb, msg, len, &got), -EBADMSG);
		msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(probe_open(&kb, msg, len, &got), 0);
}

static void every_other_length_is_refused(void **state)
{
	(void)state;
	struct probe p = ping(), got;
	uint8_t msg[PROBE_MAX + 1] = { 0 };
	size_t len = probe_seal(&ka, &p, &rng, 100, msg);

	for (size_t n = 0; n <= sizeof msg; n++) {
		assert_int_equal(probe_open(&kb, msg, n, &got), n == len ? 0 : -EBADMSG);
		if (n < PROBE_MIN || n > PROBE_MAX)
			assert_null(probe_tag(msg, n));
		else
			assert_ptr_equal(probe_tag(msg, n), msg + 4);
	}
}

static void what_is_no_probe_has_no_tag(void **state)
{
	(void)state;
	uint8_t msg[PROBE_MIN] = { PROBE_FIRST_BYTE };

	assert_non_null(probe_tag(msg, sizeof msg));
	for (size_t bit = 0; bit < 32; bit++) {
		msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_null(probe_tag(msg, sizeof msg));
		msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void a_probe_sent_back_to_its_sender_is_refused(void **state)
{
	(void)state;
	struct probe p = ping(), got;
	uint8_t msg[PROBE_MAX];
	size_t len = probe_seal(&ka, &p, &rng, 0, msg);

	assert_int_equal(probe_open(&ka, msg, len, &got), -EBADMSG);
	memcpy(msg + 4, ka.tag_rx, PROBE_TAG);
	assert_int_equal(probe_open(&ka, msg, len, &got), -EBADMSG);
}

static void a_probe_of_another_network_is_refused(void **state)
{
	(void)state;
	struct probe p = ping(), got;
	struct probe_keys stranger;
	uint8_t msg[PROBE_MAX];

	assert_int_equal(probe_keys_init(&stranger, &wrong, a.wk_sk, a.wk, b.wk), 0);
	size_t len = probe_seal(&stranger, &p, &rng, 0, msg);
	assert_int_equal(probe_open(&kb, msg, len, &got), -EBADMSG);
	memcpy(msg + 4, kb.tag_rx, PROBE_TAG);
	assert_int_equal(probe_open(&kb, msg, len, &got), -EBADMSG);
}

static void a_wrong_content_is_refused_though_it_is_authentic(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		uint8_t value;
		int want;
	} cases[] = {
		{ 0, PROBE_PING, 0 }, { 0, 0, -EBADMSG },   { 0, 3, -EBADMSG },
		{ 0, 255, -EBADMSG }, { 0, PROBE_PONG, 0 }, { 13, ADDR_V4, -EBADMSG },
		{ 13, 7, -EBADMSG },  { 32, 1, -EBADMSG },  { 51, 1, -EBADMSG },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t plain[52] = { PROBE_PING }, msg[PROBE_MAX];
		struct probe got;
		plain[cases[i].at] = cases[i].value;
		size_t len = envelope(plain, sizeof plain, msg);
		assert_int_equal(probe_open(&kb, msg, len, &got), cases[i].want);
	}
}

static void a_refused_probe_writes_nothing(void **state)
{
	(void)state;
	uint8_t plain[32] = { 9 }, msg[PROBE_MAX];
	struct probe got = pong(), before = got;

	assert_int_equal(probe_open(&kb, msg, envelope(plain, sizeof plain, msg), &got), -EBADMSG);
	assert_memory_equal(&got, &before, sizeof got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_other_end_opens_what_was_sealed),
		cmocka_unit_test(sizes_are_kept_within_bounds),
		cmocka_unit_test(the_layout_is_the_documented_one),
		cmocka_unit_test(both_ends_agree_on_key_and_tags_and_directions_differ),
		cmocka_unit_test(another_peer_or_network_has_other_keys),
		cmocka_unit_test(keys_that_must_not_be_used_are_refused),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(every_other_length_is_refused),
		cmocka_unit_test(what_is_no_probe_has_no_tag),
		cmocka_unit_test(a_probe_sent_back_to_its_sender_is_refused),
		cmocka_unit_test(a_probe_of_another_network_is_refused),
		cmocka_unit_test(a_wrong_content_is_refused_though_it_is_authentic),
		cmocka_unit_test(a_refused_probe_writes_nothing),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
