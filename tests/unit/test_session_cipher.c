/* How two sessions agree on a cipher, and what comes of it when messages are lost, late, repeated or made up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/control.h"
#include "tests/unit/wg_pair.h"

/* What accept() got; its data is within a copy that lasts until the next. */
static struct session_opened opened;

enum { WORD_LEN = WG_DATA_OVERHEAD + SEALER_PADDING };

static void open_pair(struct pair *p)
{
	pair_open(p, &(struct pair_options) { .own_kind = true, .aegis = true });
}

static void accept(struct pair *p, struct node *to, const struct letter *in, struct letter *reply)
{
	static struct letter copy;

	copy = *in;
	assert_int_equal(node_receive(to, p->now, false, &copy, reply, &opened), 0);
}

/* Until the response is there: `from` may send. */
static void shake(struct pair *p, struct node *from, struct node *to)
{
	struct letter a, b;

	session_want(&from->session, p->now);
	assert_int_equal(node_next(from, p->now, &a), SESSION_MESSAGE);
	assert_int_equal(a.len, WG_INITIATION_LEN);
	accept(p, to, &a, &b);
	accept(p, from, &b, &a);
}

static void expect_word(struct pair *p, struct node *from, struct letter *out)
{
	assert_int_equal(node_next(from, p->now, out), SESSION_MESSAGE);
	assert_int_equal(out->len, WORD_LEN);
	assert_int_equal(out->bytes[0], WG_DATA);
}

static void expect_silence(struct pair *p, struct node *from)
{
	struct letter x;

	assert_int_equal(node_next(from, p->now, &x), SESSION_NOTHING);
}

static void expect_cipher(struct pair *p, struct node *from, struct node *to, enum cipher cipher)
{
	struct letter a, b;

	assert_int_equal(session_cipher(&from->session), cipher);
	assert_true(node_send(from, p->now, "data", &a));
	assert_int_equal(a.bytes[0], cipher == CIPHER_AEGIS256 ? SEALER_FIRST_BYTE_AEGIS : WG_DATA);
	accept(p, to, &a, &b);
	assert_memory_equal(opened.data, "data", 4);
}

/* All that both have to say, delivered. Returns the number of messages. */
static int talk(struct pair *p)
{
	struct letter a, b;
	int count = 0;

	for (bool said = true; said;) {
		said = false;
		for (int i = 0; i < 2; i++) {
			struct node *from = i ? &p->hi : &p->lo, *to = i ? &p->lo : &p->hi;
			if (node_next(from, p->now, &a) != SESSION_MESSAGE)
				continue;
			said = true;
			count++;
			accept(p, to, &a, &b);
			if (b.len)
				accept(p, from, &b, &a);
		}
	}
	return count;
}

static void both_seal_with_aegis_after_one_exchange(void **state)
{
	struct letter word, answer, x;
	struct pair p;

	(void)state;
	open_pair(&p);
	assert_int_equal(session_cipher(&p.lo.session), CIPHER_NONE);
	shake(&p, &p.lo, &p.hi);
	assert_int_equal(session_cipher(&p.lo.session), CIPHER_CHACHA20);
	expect_word(&p, &p.lo, &word);
	expect_silence(&p, &p.lo);
	accept(&p, &p.hi, &word, &x);
	assert_true(opened.confirmed);
	assert_int_equal(opened.len, 0);
	assert_int_equal(session_deadline(&p.hi.session), p.now);
	expect_word(&p, &p.hi, &answer);
	expect_silence(&p, &p.hi);
	/* Whoever has heard begins; the other opens it already. */
	expect_cipher(&p, &p.hi, &p.lo, CIPHER_AEGIS256);
	expect_cipher(&p, &p.lo, &p.hi, CIPHER_CHACHA20);
	accept(&p, &p.lo, &answer, &x);
	assert_int_equal(opened.len, 0);
	expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
	p.now += SESSION_ASK_MS;
	expect_silence(&p, &p.lo);
	expect_silence(&p, &p.hi);
	pair_close(&p);
}

static void data_that_goes_first_does_not_take_the_place_of_the_word(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p);
	shake(&p, &p.lo, &p.hi);
	expect_cipher(&p, &p.lo, &p.hi, CIPHER_CHACHA20);
	assert_true(opened.confirmed);
	assert_int_equal(talk(&p), 2);
	expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
	expect_cipher(&p, &p.hi, &p.lo, CIPHER_AEGIS256);
	pair_close(&p);
}

static void each_handshake_agrees_anew_by_two_messages(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p);
	shake(&p, &p.lo, &p.hi);
	assert_int_equal(talk(&p), 2);
	for (int i = 0; i < 5; i++) {
		p.now += SESSION_REKEY_AFTER_MS;
		expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
		struct letter a, b;
		assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
		assert_int_equal(a.len, WG_INITIATION_LEN);
		accept(&p, &p.hi, &a, &b);
		accept(&p, &p.lo, &b, &a);
		assert_int_equal(session_cipher(&p.lo.session), CIPHER_CHACHA20);
		assert_int_equal(talk(&p), 2);
		expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
		expect_cipher(&p, &p.hi, &p.lo, CIPHER_AEGIS256);
	}
	pair_close(&p);
}

/* Neither word nor answer makes anything fall due later: two idle sides stay silent. */
static void an_agreement_starts_no_other_timer(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p);
	shake(&p, &p.lo, &p.hi);
	talk(&p);
	assert_int_equal(session_deadline(&p.lo.session), p.now + SESSION_WIPE_AFTER_MS);
	assert_int_equal(session_deadline(&p.hi.session), p.now + SESSION_WIPE_AFTER_MS);
	pair_close(&p);
}

static void a_lost_word_is_repeated_a_few_times(void **state)
{
	struct letter word, x;
	struct pair p;

	(void)state;
	for (int lost = 0; lost <= SESSION_ASKS; lost++) {
		open_pair(&p);
		shake(&p, &p.lo, &p.hi);
		for (int i = 0; i < lost; i++) {
			expect_word(&p, &p.lo, &word);
			expect_silence(&p, &p.lo);
			p.now += SESSION_ASK_MS - 1;
			expect_silence(&p, &p.lo);
			p.now++;
		}
		if (lost == SESSION_ASKS) {
			expect_silence(&p, &p.lo);
			assert_int_not_equal(session_deadline(&p.lo.session), p.now);
			expect_cipher(&p, &p.lo, &p.hi, CIPHER_CHACHA20);
			expect_cipher(&p, &p.hi, &p.lo, CIPHER_CHACHA20);
		} else {
			expect_word(&p, &p.lo, &word);
			accept(&p, &p.hi, &word, &x);
			assert_int_equal(talk(&p), 1);
			expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
		}
		pair_close(&p);
	}
}

static void a_lost_answer_is_asked_for_again(void **state)
{
	struct letter word, answer, x;
	struct pair p;

	(void)state;
	open_pair(&p);
	shake(&p, &p.lo, &p.hi);
	for (int i = 0; i < SESSION_ASKS; i++) {
		expect_word(&p, &p.lo, &word);
		accept(&p, &p.hi, &word, &x);
		expect_word(&p, &p.hi, &answer);
		expect_cipher(&p, &p.hi, &p.lo, CIPHER_AEGIS256);
		expect_cipher(&p, &p.lo, &p.hi, CIPHER_CHACHA20);
		p.now += SESSION_ASK_MS;
	}
	expect_silence(&p, &p.lo);
	/* The last one was only late. */
	accept(&p, &p.lo, &answer, &x);
	expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
	pair_close(&p);
}

static void words_that_come_again_or_late_change_nothing(void **state)
{
	struct letter word, answer, x, y;
	struct pair p;

	(void)state;
	open_pair(&p);
	shake(&p, &p.lo, &p.hi);
	expect_word(&p, &p.lo, &word);
	accept(&p, &p.hi, &word, &x);
	expect_word(&p, &p.hi, &answer);
	const struct session before = p.hi.session;
	y = word;
	assert_int_equal(node_receive(&p.hi, p.now, false, &y, &x, &opened), -EALREADY);
	assert_memory_equal(&before, &p.hi.session, sizeof before);
	/* An answer of the last keys says nothing of these. */
	p.now += SESSION_REKEY_AFTER_MS;
	expect_word(&p, &p.lo, &word);
	assert_true(node_send(&p.lo, p.now, "data", &x));
	shake(&p, &p.lo, &p.hi);
	accept(&p, &p.lo, &answer, &x);
	assert_int_equal(session_cipher(&p.lo.session), CIPHER_CHACHA20);
	assert_false(p.lo.session.keypairs.current.heard);
	pair_close(&p);
}

static void a_word_from_elsewhere_changes_nothing(void **state)
{
	struct pair p, other;
	struct letter word, x;

	(void)state;
	open_pair(&p);
	pair_open(&other, &(struct pair_options) { .own_kind = true, .aegis = true, .seed = 7 });
	shake(&p, &p.lo, &p.hi);
	shake(&other, &other.lo, &other.hi);
	expect_word(&other, &other.lo, &word);
	store_le32(word.bytes + 4, p.hi.session.keypairs.next.local_index);
	const struct session before = p.hi.session;
	assert_int_equal(node_receive(&p.hi, p.now, false, &word, &x, &opened), -EBADMSG);
	assert_memory_equal(&before, &p.hi.session, sizeof before);
	pair_close(&p);
	pair_close(&other);
}

/* --- Policy. */

static void who_is_told_not_to_neither_offers_nor_gets_nor_takes_aegis(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct letter a, b;
		struct pair p;

		open_pair(&p);
		struct node *plain = i % 2 ? &p.lo : &p.hi, *from = i / 2 ? &p.lo : &p.hi;
		struct node *to = from == &p.lo ? &p.hi : &p.lo, *able = plain == &p.lo ? &p.hi : &p.lo;
		plain->session.config.aegis = false;
		shake(&p, from, to);
		/* Only who offers it asks; who does not confirms as ever. */
		assert_int_equal(talk(&p), from == plain ? 1 : 2);
		p.now += SESSION_ASK_MS;
		assert_int_equal(talk(&p), 0);
		expect_cipher(&p, &p.lo, &p.hi, CIPHER_CHACHA20);
		expect_cipher(&p, &p.hi, &p.lo, CIPHER_CHACHA20);
		able->session.keypairs.current.seals_aegis = true;
		assert_true(node_send(able, p.now, "data", &a));
		assert_int_equal(a.bytes[0], SEALER_FIRST_BYTE_AEGIS);
		const struct session before = plain->session;
		assert_int_equal(node_receive(plain, p.now, false, &a, &b, &opened), -EBADMSG);
		/* Nor do the keys open it that there are none of. */
		struct sealer zero = { .end = 1000, .cipher = CIPHER_AEGIS256, .next = 900 };
		zero.receiver = plain->session.keypairs.current.local_index;
		a.len = sealer_seal(&zero, a.bytes, a.bytes + SEALER_HEADER, 16);
		assert_int_equal(node_receive(plain, p.now, false, &a, &b, &opened), -EBADMSG);
		assert_memory_equal(&before, &plain->session, sizeof before);
		pair_close(&p);
	}
}

static void stock_peers_see_nothing_of_it(void **state)
{
	struct letter a, b;
	struct sealer s;
	struct pair p;

	(void)state;
	pair_open(&p, &(struct pair_options) { .aegis = true });
	shake(&p, &p.lo, &p.hi);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	assert_int_equal(a.len, WG_DATA_OVERHEAD); /* the empty one */
	accept(&p, &p.hi, &a, &b);
	/* Nor is one that speaks of it listened to. */
	assert_int_equal(session_seal_begin(&p.lo.session, 1, 1420, p.now, &s), 0);
	control_write_cipher(a.bytes + SEALER_HEADER, &(struct control_cipher) { .opens_aegis = true });
	a.len = sealer_seal(&s, a.bytes, a.bytes + SEALER_HEADER, CONTROL_CIPHER_LEN);
	accept(&p, &p.hi, &a, &b);
	assert_int_equal(opened.len, SEALER_PADDING);
	expect_silence(&p, &p.hi);
	expect_cipher(&p, &p.hi, &p.lo, CIPHER_CHACHA20);
	pair_close(&p);
}

/* --- Handshakes that are not one after the other. */

static void crossed_handshakes_agree_on_the_keys_of_each(void **state)
{
	struct letter from_lo, from_hi, to_lo, to_hi, x;
	struct pair p;

	(void)state;
	open_pair(&p);
	session_want(&p.lo.session, p.now);
	session_want(&p.hi.session, p.now);
	assert_int_equal(node_next(&p.lo, p.now, &from_lo), SESSION_MESSAGE);
	assert_int_equal(node_next(&p.hi, p.now, &from_hi), SESSION_MESSAGE);
	accept(&p, &p.hi, &from_lo, &to_lo);
	accept(&p, &p.lo, &from_hi, &to_hi);
	accept(&p, &p.lo, &to_lo, &x);
	accept(&p, &p.hi, &to_hi, &x);
	assert_int_not_equal(p.lo.session.keypairs.current.remote_index,
			     p.hi.session.keypairs.current.local_index);
	assert_int_equal(talk(&p), 4);
	expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
	expect_cipher(&p, &p.hi, &p.lo, CIPHER_AEGIS256);
	pair_close(&p);
}

/* Whatever is lost, doubled or late on the way, each message is opened by who has the keys, and once nothing is lost any
 * more and a handshake is made, both seal with AEGIS-256. */
static void random_links_lose_words_but_no_data(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct letter a, b, late = { .len = 0 };
		struct rng rng;
		struct pair p;

		rng_init_seed(&rng, seed);
		open_pair(&p);
		shake(&p, &p.lo, &p.hi);
		for (int i = 0; i < 60; i++, p.now += rng_below(&rng, 900)) {
			struct node *from = rng_below(&rng, 2) ? &p.hi : &p.lo;
			struct node *to = from == &p.lo ? &p.hi : &p.lo;
			if (rng_below(&rng, 3) == 0 && session_ready(&from->session, p.now)) {
				assert_true(node_send(from, p.now, "data", &a));
				accept(&p, to, &a, &b);
			}
			if (node_next(from, p.now, &a) != SESSION_MESSAGE || a.len == WG_INITIATION_LEN)
				continue;
			if (late.len && from == &p.lo && rng_below(&rng, 2))
				node_receive(to, p.now, false, &late, &b, &opened);
			if (from == &p.lo)
				late = a;
			if (rng_below(&rng, 2))
				accept(&p, to, &a, &b);
		}
		p.now += SESSION_REKEY_AFTER_MS;
		session_reset(&p.lo.session);
		shake(&p, &p.lo, &p.hi);
		talk(&p);
		expect_cipher(&p, &p.lo, &p.hi, CIPHER_AEGIS256);
		expect_cipher(&p, &p.hi, &p.lo, CIPHER_AEGIS256);
		pair_close(&p);
	}
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_seal_with_aegis_after_one_exchange),
		cmocka_unit_test(data_that_goes_first_does_not_take_the_place_of_the_word),
		cmocka_unit_test(each_handshake_agrees_anew_by_two_messages),
		cmocka_unit_test(an_agreement_starts_no_other_timer),
		cmocka_unit_test(a_lost_word_is_repeated_a_few_times),
		cmocka_unit_test(a_lost_answer_is_asked_for_again),
		cmocka_unit_test(words_that_come_again_or_late_change_nothing),
		cmocka_unit_test(a_word_from_elsewhere_changes_nothing),
		cmocka_unit_test(who_is_told_not_to_neither_offers_nor_gets_nor_takes_aegis),
		cmocka_unit_test(stock_peers_see_nothing_of_it),
		cmocka_unit_test(crossed_handshakes_agree_on_the_keys_of_each),
		cmocka_unit_test(random_links_lose_words_but_no_data),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
