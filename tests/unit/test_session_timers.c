/* When a session acts: retries, rekeying, keepalives, expiry, deadlines. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/wg_pair.h"

static struct session_opened opened;

static void accept(struct pair *p, struct node *to, struct letter *in, struct letter *reply)
{
	assert_int_equal(node_receive(to, p->now, false, in, reply, &opened), 0);
}

static void establish(struct pair *p, struct node *from, struct node *to)
{
	struct letter a, b;

	session_want(&from->session, p->now);
	assert_int_equal(node_next(from, p->now, &a), SESSION_MESSAGE);
	accept(p, to, &a, &b);
	accept(p, from, &b, &a);
	assert_int_equal(node_next(from, p->now, &a), SESSION_MESSAGE);
	accept(p, to, &a, &b);
}

static void exchange(struct pair *p, struct node *from, struct node *to, const char *text)
{
	struct letter a, b;

	assert_true(node_send(from, p->now, text, &a));
	accept(p, to, &a, &b);
}

static void expect_idle(struct pair *p, struct node *n)
{
	struct letter a;

	assert_int_equal(node_next(n, p->now, &a), SESSION_NOTHING);
	assert_true(session_deadline(&n->session) > p->now);
}

/* Sleeps until the deadline and expects one message of `len` bytes then and none before. */
static void expect_at_deadline(struct pair *p, struct node *n, size_t len)
{
	struct letter a;

	p->now = session_deadline(&n->session);
	assert_int_not_equal(p->now, SESSION_NEVER);
	p->now--;
	expect_idle(p, n);
	p->now++;
	assert_int_equal(node_next(n, p->now, &a), SESSION_MESSAGE);
	assert_int_equal(a.len, len);
	expect_idle(p, n);
}

static void an_unanswered_initiation_is_repeated_for_90_s(void **state)
{
	static const struct {
		bool own_kind;
		uint64_t delays[4]; /* the last repeats */
	} cases[] = {
		{ false, { 5000, 5000, 5000, 5000 } },
		{ true, { 1000, 2000, 5000, 5000 } },
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct letter a;
		struct pair p;
		unsigned tries = 0;

		pair_open(&p, &(struct pair_options) { .own_kind = cases[i].own_kind });
		const uint64_t began = p.now;
		session_want(&p.lo.session, p.now);
		assert_int_equal(session_deadline(&p.lo.session), p.now);
		for (;; tries++) {
			uint64_t before = p.now;
			enum session_due due = node_next(&p.lo, p.now, &a);
			if (due == SESSION_GAVE_UP)
				break;
			assert_int_equal(due, SESSION_MESSAGE);
			expect_idle(&p, &p.lo);
			p.now = session_deadline(&p.lo.session);
			if (p.now != began + SESSION_REKEY_ATTEMPT_MS)
				assert_in_range(p.now - before - cases[i].delays[tries < 3 ? tries : 3], 0,
						333);
		}
		assert_int_equal(p.now, began + SESSION_REKEY_ATTEMPT_MS);
		assert_in_range(tries, 17, 20);
		expect_idle(&p, &p.lo);
		/* Only the last handshake is left to be wiped. */
		assert_int_equal(session_deadline(&p.lo.session), p.now + SESSION_WIPE_AFTER_MS);
		p.now += SESSION_WIPE_AFTER_MS;
		expect_idle(&p, &p.lo);
		assert_false(p.lo.session.handshake_open);
		assert_int_equal(session_deadline(&p.lo.session), SESSION_NEVER);
		pair_close(&p);
	}
}

static void each_want_begins_the_90_s_anew_but_hurries_nothing(void **state)
{
	(void)state;
	struct letter a;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	const uint64_t began = p.now;
	unsigned sent = 0;
	for (; p.now < began + 200000; p.now += 100) {
		session_want(&p.lo.session, p.now);
		enum session_due due = node_next(&p.lo, p.now, &a);
		assert_int_not_equal(due, SESSION_GAVE_UP);
		sent += due == SESSION_MESSAGE;
	}
	assert_in_range(sent, 200000 / 5434, 200000 / 5000 + 1);
	pair_close(&p);
}

/* A caller without a way to the peer asks late; nothing is given up that was never tried. */
static void an_attempt_that_sent_nothing_is_not_given_up(void **state)
{
	(void)state;
	struct letter a;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	session_want(&p.lo.session, p.now);
	p.now += 10 * SESSION_REKEY_ATTEMPT_MS;
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	p.now += SESSION_REKEY_ATTEMPT_MS - 1;
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	p.now += 1;
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_GAVE_UP);
	expect_idle(&p, &p.lo);
	pair_close(&p);
}

/* There was no way to the peer for long, then the peer came to us: what was put off by the answer is not due yet. */
static void an_attempt_that_sent_nothing_does_not_spin(void **state)
{
	(void)state;
	struct letter a, b;
	struct pair p;

	pair_open(&p, &(struct pair_options) { .own_kind = true });
	session_want(&p.hi.session, p.now);
	p.now += 10 * SESSION_REKEY_ATTEMPT_MS;
	session_want(&p.lo.session, p.now);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	accept(&p, &p.hi, &a, &b);
	expect_idle(&p, &p.hi);
	pair_close(&p);
}

static void a_new_way_brings_the_next_initiation_at_once(void **state)
{
	static const struct {
		bool own_kind, wanted, answered;
		uint64_t wait_ms;
	} cases[] = {
		{ true, true, false, 0 },
		{ true, true, true, SESSION_YIELD_MS },
		{ true, false, false, UINT64_MAX },
		{ false, true, false, UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct letter a, b;
		struct pair p;

		pair_open(&p, &(struct pair_options) { .own_kind = cases[i].own_kind });
		if (cases[i].wanted) {
			session_want(&p.hi.session, p.now);
			assert_int_equal(node_next(&p.hi, p.now, &a), SESSION_MESSAGE); /* and is lost */
		}
		p.now += 100;
		if (cases[i].answered) {
			session_want(&p.lo.session, p.now);
			assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
			accept(&p, &p.hi, &a, &b);
		}
		uint64_t before = session_deadline(&p.hi.session);
		session_on_new_way(&p.hi.session, p.now);
		if (cases[i].wait_ms == UINT64_MAX)
			assert_int_equal(session_deadline(&p.hi.session), before);
		else
			assert_int_equal(session_deadline(&p.hi.session), p.now + cases[i].wait_ms);
		pair_close(&p);
	}
}

static void the_higher_key_waits_500_ms_after_an_answer(void **state)
{
	static const struct {
		bool own_kind, to_hi, waits;
	} cases[] = { { true, true, true }, { true, false, false }, { false, true, false } };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct letter a, b;
		struct pair p;

		pair_open(&p, &(struct pair_options) { .own_kind = cases[i].own_kind });
		struct node *from = cases[i].to_hi ? &p.lo : &p.hi, *to = cases[i].to_hi ? &p.hi : &p.lo;
		session_want(&from->session, p.now);
		assert_int_equal(node_next(from, p.now, &a), SESSION_MESSAGE);
		accept(&p, to, &a, &b);
		session_want(&to->session, p.now);
		assert_int_equal(session_deadline(&to->session),
				 p.now + (cases[i].waits ? SESSION_YIELD_MS : 0));
		p.now = session_deadline(&to->session);
		assert_int_equal(node_next(to, p.now, &a), SESSION_MESSAGE);
		assert_int_equal(a.len, WG_INITIATION_LEN);
		pair_close(&p);
	}
}

static void a_retry_of_the_higher_key_waits_too_and_confirmation_cancels_it(void **state)
{
	(void)state;
	struct letter a, b, from_lo;
	struct pair p;

	pair_open(&p, &(struct pair_options) { .own_kind = true });
	session_want(&p.hi.session, p.now);
	assert_int_equal(node_next(&p.hi, p.now, &a), SESSION_MESSAGE); /* and is lost */
	p.now = session_deadline(&p.hi.session) - 1;
	session_want(&p.lo.session, p.now);
	assert_int_equal(node_next(&p.lo, p.now, &from_lo), SESSION_MESSAGE);
	accept(&p, &p.hi, &from_lo, &b);
	assert_int_equal(session_deadline(&p.hi.session), p.now + SESSION_YIELD_MS);
	accept(&p, &p.lo, &b, &a);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	accept(&p, &p.hi, &a, &b);
	assert_true(opened.confirmed);
	p.now += SESSION_REKEY_TIMEOUT_MS;
	expect_idle(&p, &p.hi);
	assert_false(p.hi.session.handshake_open);
	pair_close(&p);
}

static void the_initiator_rekeys_when_it_sends_after_120_s(void **state)
{
	static const struct {
		bool own_kind, by_hi;
		uint64_t at_ms;
	} cases[] = { { false, false, 120000 },
		      { false, true, 120000 },
		      { true, false, 120000 },
		      { true, true, 125000 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct letter a;
		struct pair p;

		pair_open(&p, &(struct pair_options) { .own_kind = cases[i].own_kind });
		struct node *from = cases[i].by_hi ? &p.hi : &p.lo, *to = cases[i].by_hi ? &p.lo : &p.hi;
		establish(&p, from, to);
		const uint64_t born = p.now;
		p.now = born + cases[i].at_ms - 1;
		exchange(&p, from, to, "too young");
		expect_idle(&p, from);
		p.now++;
		exchange(&p, to, from, "the responder does not care");
		expect_idle(&p, to);
		expect_idle(&p, from);
		exchange(&p, from, to, "");
		assert_int_equal(node_next(from, p.now, &a), SESSION_MESSAGE);
		assert_int_equal(a.len, WG_INITIATION_LEN);
		assert_true(session_ready(&from->session, p.now));
		pair_close(&p);
	}
}

static void the_initiator_rekeys_once_when_it_receives_after_165_s(void **state)
{
	(void)state;
	struct letter a;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	p.now += 165000 - 1;
	exchange(&p, &p.hi, &p.lo, "");
	expect_idle(&p, &p.lo);
	p.now++;
	exchange(&p, &p.hi, &p.lo, "");
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	assert_int_equal(a.len, WG_INITIATION_LEN);
	const uint64_t ends = p.lo.session.give_up_at;
	p.now += 1000;
	exchange(&p, &p.hi, &p.lo, "");
	assert_int_equal(p.lo.session.give_up_at, ends);
	pair_close(&p);
}

static void keys_expire_at_180_s_and_are_not_used_for_sending_just_before(void **state)
{
	(void)state;
	struct letter at_the_end, too_late, x;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	p.now += KEYPAIR_REJECT_AFTER_MS - KEYPAIR_SEND_MARGIN_MS - 1;
	assert_true(node_send(&p.hi, p.now, "x", &at_the_end));
	assert_true(node_send(&p.hi, p.now, "x", &too_late));
	p.now++;
	assert_false(session_ready(&p.hi.session, p.now));
	assert_false(node_send(&p.hi, p.now, "x", &x));
	p.now += KEYPAIR_SEND_MARGIN_MS - 1;
	accept(&p, &p.lo, &at_the_end, &x);
	p.now++;
	const struct session before = p.lo.session;
	assert_int_equal(node_receive(&p.lo, p.now, false, &too_late, &x, &opened), -EKEYEXPIRED);
	assert_memory_equal(&before, &p.lo.session, sizeof before);
	/* Either side starts anew when it has something to send. */
	session_want(&p.hi.session, p.now);
	assert_int_equal(node_next(&p.hi, p.now, &x), SESSION_MESSAGE);
	pair_close(&p);
}

static void keys_are_wiped_after_540_s_without_a_handshake(void **state)
{
	(void)state;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	const uint32_t index = p.lo.session.keypairs.current.local_index;
	assert_int_equal(session_deadline(&p.lo.session), p.now + 540000);
	p.now += 540000 - 1;
	expect_idle(&p, &p.lo);
	assert_ptr_equal(session_index_find(p.lo.index, index), &p.lo);
	p.now++;
	expect_idle(&p, &p.lo);
	assert_null(session_index_find(p.lo.index, index));
	assert_true(crypto_is_zero(&p.lo.session.keypairs.current, sizeof(struct keypair)));
	assert_int_equal(session_last_handshake(&p.lo.session), 0);
	assert_int_equal(session_deadline(&p.lo.session), SESSION_NEVER);
	pair_close(&p);
}

static void an_answer_that_nobody_confirms_is_wiped_too(void **state)
{
	(void)state;
	struct letter a, b;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	session_want(&p.lo.session, p.now);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	accept(&p, &p.hi, &a, &b);
	assert_int_equal(session_deadline(&p.hi.session), p.now + SESSION_WIPE_AFTER_MS);
	p.now += SESSION_WIPE_AFTER_MS;
	expect_idle(&p, &p.hi);
	assert_true(crypto_is_zero(&p.hi.session.keypairs.next, sizeof(struct keypair)));
	pair_close(&p);
}

static void data_is_acknowledged_after_10_s_of_silence(void **state)
{
	(void)state;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	exchange(&p, &p.lo, &p.hi, "data");
	const uint64_t got = p.now;
	p.now += 3000;
	exchange(&p, &p.lo, &p.hi, "more");
	assert_int_equal(session_deadline(&p.hi.session), got + SESSION_KEEPALIVE_MS);
	expect_at_deadline(&p, &p.hi, WG_DATA_OVERHEAD);
	/* Neither keepalives nor what was answered asks for another. */
	exchange(&p, &p.lo, &p.hi, "");
	assert_true(session_deadline(&p.hi.session) > p.now + 300000);
	exchange(&p, &p.lo, &p.hi, "data");
	exchange(&p, &p.hi, &p.lo, "answer");
	assert_true(session_deadline(&p.hi.session) <= p.now + SESSION_UNANSWERED_MS + 333);
	assert_true(session_deadline(&p.hi.session) >= p.now + SESSION_UNANSWERED_MS);
	pair_close(&p);
}

static void unanswered_data_starts_a_handshake_after_15_s(void **state)
{
	(void)state;
	struct letter a;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	const uint64_t sent = p.now;
	assert_true(node_send(&p.lo, p.now, "", &a));
	assert_true(session_deadline(&p.lo.session) > p.now + 300000);
	assert_true(node_send(&p.lo, p.now, "data", &a));
	p.now += 5000;
	assert_true(node_send(&p.lo, p.now, "more", &a));
	assert_in_range(session_deadline(&p.lo.session), sent + 15000, sent + 15333);
	expect_at_deadline(&p, &p.lo, WG_INITIATION_LEN);
	/* It goes on like any attempt, and the old keys may still be used. */
	assert_true(session_ready(&p.lo.session, p.now));
	expect_at_deadline(&p, &p.lo, WG_INITIATION_LEN);
	exchange(&p, &p.lo, &p.hi, "data");
	exchange(&p, &p.hi, &p.lo, "");
	assert_int_equal(p.lo.session.unanswered_at, SESSION_NEVER);
	pair_close(&p);
}

static void a_persistent_keepalive_keeps_the_tunnel_up(void **state)
{
	(void)state;
	struct letter a, b;
	struct pair p;

	pair_open(&p, &(struct pair_options) { .keepalive_s = 25 });
	session_close(&p.hi.session);
	node_open(&p.hi, &p.lo, &(struct pair_options) { 0 });
	/* Without keys it asks for them, at once and for ever. */
	assert_true(session_deadline(&p.lo.session) <= p.now);
	for (int i = 0; i < 100; i++) {
		enum session_due due = node_next(&p.lo, p.now, &a);
		if (due == SESSION_MESSAGE)
			assert_int_equal(a.len, WG_INITIATION_LEN);
		expect_idle(&p, &p.lo);
		assert_true(session_deadline(&p.lo.session) <= p.now + 25000);
		p.now = session_deadline(&p.lo.session);
	}
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	accept(&p, &p.hi, &a, &b);
	accept(&p, &p.lo, &b, &a);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	accept(&p, &p.hi, &a, &b);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(session_deadline(&p.lo.session), p.now + 25000);
		expect_at_deadline(&p, &p.lo, WG_DATA_OVERHEAD);
	}
	/* Any message counts as one. */
	p.now += 10000;
	exchange(&p, &p.hi, &p.lo, "");
	assert_int_equal(session_deadline(&p.lo.session), p.now + 25000);
	pair_close(&p);
}

static void timestamps_only_go_forward(void **state)
{
	(void)state;
	struct session_clock clock = { .wall_offset_ns = INT64_C(1700000000) * 1000000000 };
	uint8_t first[NOISE_TIMESTAMP_LEN], second[NOISE_TIMESTAMP_LEN];

	session_timestamp(&clock, 5000, first);
	/* TAI64 of 1700000005 s, rounded down to a multiple of 2^24 ns. */
	assert_int_equal(load_be64(first), UINT64_C(0x400000000000000a) + 1700000004);
	assert_in_range(load_be32(first + 8), 1000000000 - (1 << 24), 999999999);
	assert_int_equal(clock.last_ns % (1 << 24), 0);
	for (int i = 0; i < 100; i++) {
		uint64_t last_ns = clock.last_ns;
		if (i == 50)
			clock.wall_offset_ns -= INT64_C(1000000000) * 86400;
		session_timestamp(&clock, 5000, second);
		assert_true(memcmp(second, first, sizeof first) > 0);
		assert_int_equal(clock.last_ns, last_ns + (1 << 24));
		memcpy(first, second, sizeof first);
	}
	/* The bound that was reserved on disk comes back. */
	clock.last_ns += UINT64_C(60000000000);
	session_timestamp(&clock, 5000, second);
	assert_true(load_be64(second) >= load_be64(first) + 60);
}

/* One wake-up: before the deadline there is nothing to do, and after draining the deadline lies ahead. */
static void wake(struct pair *p, struct node *n, struct node *other, struct rng *dice)
{
	const bool early = p->now < session_deadline(&n->session);
	struct letter a, b, c;
	int messages = 0;

	while (node_next(n, p->now, &a) != SESSION_NOTHING) {
		messages++;
		if (rng_below(dice, 3) && node_receive(other, p->now, false, &a, &b, &opened) == 0 && b.len)
			node_receive(n, p->now, false, &b, &c, &opened);
	}
	assert_in_range(messages, 0, early ? 0 : 3);
	assert_true(session_deadline(&n->session) > p->now);
}

static void deadlines_neither_miss_nor_spin(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct pair_options o = { .own_kind = seed % 2,
					  .keepalive_s = seed % 3 ? 0 : 7,
					  .seed = seed };
		struct letter a, b;
		struct rng dice;
		struct pair p;

		rng_init_seed(&dice, seed);
		pair_open(&p, &o);
		for (int step = 0; step < 1000; step++) {
			bool lo = rng_below(&dice, 2);
			struct node *n = lo ? &p.lo : &p.hi, *other = lo ? &p.hi : &p.lo;

			wake(&p, n, other, &dice);
			if (rng_below(&dice, 4) == 0)
				session_want(&n->session, p.now);
			if (rng_below(&dice, 3) == 0 && node_send(n, p.now, "x", &a) && rng_below(&dice, 3))
				node_receive(other, p.now, false, &a, &b, &opened);
			p.now += rng_below(&dice, rng_below(&dice, 8) ? 3000 : 100000);
		}
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
		cmocka_unit_test(an_unanswered_initiation_is_repeated_for_90_s),
		cmocka_unit_test(each_want_begins_the_90_s_anew_but_hurries_nothing),
		cmocka_unit_test(an_attempt_that_sent_nothing_is_not_given_up),
		cmocka_unit_test(an_attempt_that_sent_nothing_does_not_spin),
		cmocka_unit_test(a_new_way_brings_the_next_initiation_at_once),
		cmocka_unit_test(the_higher_key_waits_500_ms_after_an_answer),
		cmocka_unit_test(a_retry_of_the_higher_key_waits_too_and_confirmation_cancels_it),
		cmocka_unit_test(the_initiator_rekeys_when_it_sends_after_120_s),
		cmocka_unit_test(the_initiator_rekeys_once_when_it_receives_after_165_s),
		cmocka_unit_test(keys_expire_at_180_s_and_are_not_used_for_sending_just_before),
		cmocka_unit_test(keys_are_wiped_after_540_s_without_a_handshake),
		cmocka_unit_test(an_answer_that_nobody_confirms_is_wiped_too),
		cmocka_unit_test(data_is_acknowledged_after_10_s_of_silence),
		cmocka_unit_test(unanswered_data_starts_a_handshake_after_15_s),
		cmocka_unit_test(a_persistent_keepalive_keeps_the_tunnel_up),
		cmocka_unit_test(timestamps_only_go_forward),
		cmocka_unit_test(deadlines_neither_miss_nor_spin),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
