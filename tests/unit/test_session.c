/* Messages and keys of sessions. Their timers: test_session_timers.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/wg_pair.h"

static struct session_opened opened;

/* Hands `in` over and expects it to be taken. */
static void accept(struct pair *p, struct node *to, struct letter *in, struct letter *reply)
{
	assert_int_equal(node_receive(to, p->now, false, in, reply, &opened), 0);
}

static void start(struct pair *p, struct node *from, struct letter *initiation)
{
	session_want(&from->session, p->now);
	assert_int_equal(node_next(from, p->now, initiation), SESSION_MESSAGE);
	assert_int_equal(initiation->len, WG_INITIATION_LEN);
}

/* A session that both sides know to be up. */
static void establish(struct pair *p, struct node *from, struct node *to)
{
	struct letter a, b;

	start(p, from, &a);
	accept(p, to, &a, &b);
	accept(p, from, &b, &a);
	assert_int_equal(node_next(from, p->now, &a), SESSION_MESSAGE);
	accept(p, to, &a, &b);
	assert_true(opened.confirmed);
}

static void expect_data(struct pair *p, struct node *from, struct node *to, const char *text)
{
	struct letter a, b;

	assert_true(node_send(from, p->now, text, &a));
	accept(p, to, &a, &b);
	assert_true(opened.len >= strlen(text));
	assert_memory_equal(opened.data, text, strlen(text));
}

static void the_responder_waits_for_the_initiators_first_message(void **state)
{
	(void)state;
	static const uint8_t psk[32] = { 1, 2, 3 };
	struct letter a, b;
	struct pair p;

	pair_open(&p, &(struct pair_options) { .psk = psk });
	assert_false(session_ready(&p.lo.session, p.now));
	assert_int_equal(session_last_handshake(&p.lo.session), 0);
	start(&p, &p.lo, &a);
	assert_int_equal(node_next(&p.lo, p.now, &b), SESSION_NOTHING);
	assert_ptr_equal(session_index_find(p.lo.index, load_le32(a.bytes + 4)), &p.lo);
	accept(&p, &p.hi, &a, &b);
	assert_int_equal(b.len, WG_RESPONSE_LEN);
	assert_false(session_ready(&p.hi.session, p.now));
	assert_false(node_send(&p.hi, p.now, "too early", &a));
	accept(&p, &p.lo, &b, &a);
	assert_true(session_ready(&p.lo.session, p.now));
	assert_int_equal(session_deadline(&p.lo.session), p.now);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	assert_int_equal(a.len, WG_DATA_OVERHEAD);
	assert_int_equal(node_next(&p.lo, p.now, &b), SESSION_NOTHING);
	accept(&p, &p.hi, &a, &b);
	assert_true(opened.confirmed);
	assert_int_equal(opened.len, 0);
	assert_int_equal(session_last_handshake(&p.hi.session), p.now);
	expect_data(&p, &p.hi, &p.lo, "from the responder");
	assert_false(opened.confirmed);
	expect_data(&p, &p.lo, &p.hi, "from the initiator");
	assert_false(opened.confirmed);
	pair_close(&p);
}

static void data_sent_at_once_makes_the_confirming_keepalive_needless(void **state)
{
	(void)state;
	struct letter a, b;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	start(&p, &p.lo, &a);
	accept(&p, &p.hi, &a, &b);
	accept(&p, &p.lo, &b, &a);
	expect_data(&p, &p.lo, &p.hi, "queued");
	assert_true(opened.confirmed);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_NOTHING);
	pair_close(&p);
}

static void reordered_first_data_confirms_and_opens(void **state)
{
	static const int orders[][3] = { { 0, 1, 2 }, { 2, 0, 1 }, { 1, 2, 0 }, { 2, 1, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
		struct letter a, b, first[3];
		struct pair p;

		pair_open(&p, &(struct pair_options) { 0 });
		start(&p, &p.lo, &a);
		accept(&p, &p.hi, &a, &b);
		accept(&p, &p.lo, &b, &a);
		for (int j = 0; j < 3; j++)
			assert_true(node_send(&p.lo, p.now, "data", &first[j]));
		for (int j = 0; j < 3; j++) {
			accept(&p, &p.hi, &first[orders[i][j]], &b);
			assert_int_equal(opened.confirmed, j == 0);
		}
		pair_close(&p);
	}
}

static void a_repeated_message_is_a_replay(void **state)
{
	(void)state;
	struct letter a, b, copy;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	start(&p, &p.lo, &a);
	copy = a;
	accept(&p, &p.hi, &a, &b);
	p.now += 1000;
	assert_int_equal(node_receive(&p.hi, p.now, false, &copy, &a, &opened), -EALREADY);
	assert_int_equal(a.len, 0);
	copy = b;
	accept(&p, &p.lo, &b, &a);
	assert_int_equal(node_receive(&p.lo, p.now, false, &copy, &a, &opened), -ENOENT);
	assert_true(node_send(&p.lo, p.now, "once", &a));
	copy = a;
	accept(&p, &p.hi, &a, &b);
	const struct session before = p.hi.session;
	assert_int_equal(node_receive(&p.hi, p.now, false, &copy, &b, &opened), -EALREADY);
	assert_memory_equal(&before, &p.hi.session, sizeof before);
	pair_close(&p);
}

static void initiations_of_a_peer_are_answered_20_ms_apart(void **state)
{
	(void)state;
	struct letter a, b, c;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	start(&p, &p.lo, &a);
	session_reset(&p.lo.session);
	start(&p, &p.lo, &b);
	accept(&p, &p.hi, &a, &c);
	const struct session before = p.hi.session;
	a = b;
	assert_int_equal(node_receive(&p.hi, p.now + SESSION_ANSWER_GAP_MS - 1, false, &a, &c, &opened),
			 -EBUSY);
	assert_memory_equal(&before, &p.hi.session, sizeof before);
	assert_int_equal(node_receive(&p.hi, p.now + SESSION_ANSWER_GAP_MS, false, &b, &c, &opened), 0);
	pair_close(&p);
}

static void the_greatest_timestamp_survives_a_restart(void **state)
{
	(void)state;
	uint8_t ts[NOISE_TIMESTAMP_LEN];
	struct letter a, b, copy;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	start(&p, &p.lo, &a);
	copy = a;
	accept(&p, &p.hi, &a, &b);
	session_peer_timestamp(&p.hi.session, ts);
	session_close(&p.hi.session);
	node_open(&p.hi, &p.lo, &(struct pair_options) { 0 });
	session_restore_peer_timestamp(&p.hi.session, ts);
	assert_int_equal(node_receive(&p.hi, p.now, false, &copy, &b, &opened), -EALREADY);
	pair_close(&p);
}

/* Hands over each damaged form of `msg`: every bit flipped in its first `bits`, every shorter length. */
static void expect_immunity(struct pair *p, struct node *to, const struct letter *msg, size_t bits)
{
	const struct session before = to->session;
	struct letter bad, reply;

	for (size_t bit = 0; bit < bits; bit++) {
		bad = *msg;
		bad.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_in_range(-node_receive(to, p->now, false, &bad, &reply, &opened), 1, 4095);
		assert_int_equal(reply.len, 0);
	}
	for (size_t len = 0; len < msg->len; len++) {
		bad = *msg;
		bad.len = len;
		assert_in_range(-node_receive(to, p->now, false, &bad, &reply, &opened), 1, 4095);
		assert_int_equal(reply.len, 0);
	}
	bad = *msg;
	bad.len++;
	assert_in_range(-node_receive(to, p->now, false, &bad, &reply, &opened), 1, 4095);
	assert_memory_equal(&before, &to->session, sizeof before);
}

/* mac2 (the last 16 bytes) means nothing without load; a cookie's receiver index only finds the session. */
static void damaged_messages_change_nothing(void **state)
{
	(void)state;
	struct letter a, b, reply;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	start(&p, &p.lo, &a);
	assert_int_equal(node_receive(&p.hi, p.now, true, &a, &reply, &opened), -EPERM);
	reply.bytes[0] ^= 8;
	assert_in_range(-node_receive(&p.lo, p.now, false, &reply, &b, &opened), 1, 4095);
	reply.bytes[0] ^= 8;
	memset(reply.bytes + 4, 0, 4);
	const struct letter cookie = reply;
	for (size_t bit = 64; bit < WG_COOKIE_LEN * 8; bit++) {
		const struct session before = p.lo.session;
		reply = cookie;
		reply.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(node_receive(&p.lo, p.now, false, &reply, &b, &opened), -EBADMSG);
		assert_memory_equal(&before, &p.lo.session, sizeof before);
	}
	expect_immunity(&p, &p.lo, &cookie, 32);
	expect_immunity(&p, &p.hi, &a, (WG_INITIATION_LEN - 16) * 8);
	accept(&p, &p.hi, &a, &b);
	expect_immunity(&p, &p.lo, &b, (WG_RESPONSE_LEN - 16) * 8);
	accept(&p, &p.lo, &b, &a);
	assert_true(node_send(&p.lo, p.now, "the first data", &a));
	expect_immunity(&p, &p.hi, &a, a.len * 8);
	accept(&p, &p.hi, &a, &b);
	assert_true(node_send(&p.hi, p.now, "", &a));
	expect_immunity(&p, &p.lo, &a, a.len * 8);
	accept(&p, &p.lo, &a, &b);
	pair_close(&p);
}

static void crossed_initiations_both_complete(void **state)
{
	(void)state;
	struct letter from_lo, from_hi, to_lo, to_hi, x;
	struct pair p;

	pair_open(&p, &(struct pair_options) { .own_kind = true });
	start(&p, &p.lo, &from_lo);
	start(&p, &p.hi, &from_hi);
	accept(&p, &p.hi, &from_lo, &to_lo);
	accept(&p, &p.lo, &from_hi, &to_hi);
	accept(&p, &p.lo, &to_lo, &x);
	accept(&p, &p.hi, &to_hi, &x);
	for (int i = 0; i < 3; i++) {
		expect_data(&p, &p.lo, &p.hi, "one way");
		assert_false(opened.confirmed);
		expect_data(&p, &p.hi, &p.lo, "the other way");
		assert_false(opened.confirmed);
	}
	assert_int_equal(node_next(&p.lo, p.now, &x), SESSION_NOTHING);
	assert_int_equal(node_next(&p.hi, p.now, &x), SESSION_NOTHING);
	pair_close(&p);
}

/* Linux and wireguard-go forget their own handshake when they answer one: only ours completes then. */
static void crossed_initiations_with_a_stock_peer_complete_by_ours(void **state)
{
	(void)state;
	struct letter from_lo, from_hi, to_lo, to_hi, x;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	start(&p, &p.lo, &from_lo);
	start(&p, &p.hi, &from_hi);
	accept(&p, &p.hi, &from_lo, &to_lo);
	accept(&p, &p.lo, &from_hi, &to_hi);
	accept(&p, &p.lo, &to_lo, &x);
	assert_int_equal(node_next(&p.lo, p.now, &x), SESSION_MESSAGE);
	accept(&p, &p.hi, &x, &to_lo);
	assert_true(opened.confirmed);
	assert_int_equal(node_receive(&p.hi, p.now, false, &to_hi, &x, &opened), -ENOENT);
	expect_data(&p, &p.lo, &p.hi, "one way");
	expect_data(&p, &p.hi, &p.lo, "the other way");
	pair_close(&p);
}

static void data_on_its_way_opens_after_new_keys(void **state)
{
	(void)state;
	struct letter late, later, x;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	assert_true(node_send(&p.hi, p.now, "late", &late));
	assert_true(node_send(&p.lo, p.now, "late", &later));
	p.now += 179000;
	establish(&p, &p.lo, &p.hi);
	accept(&p, &p.lo, &late, &x);
	accept(&p, &p.hi, &later, &x);
	assert_false(opened.confirmed);
	expect_data(&p, &p.hi, &p.lo, "fresh");
	/* The next answer ends the previous keys. */
	const uint32_t previous = p.hi.session.keypairs.previous.local_index;
	p.now += 179000;
	start(&p, &p.lo, &x);
	assert_ptr_equal(session_index_find(p.hi.index, previous), &p.hi);
	accept(&p, &p.hi, &x, &late);
	assert_null(session_index_find(p.hi.index, previous));
	pair_close(&p);
}

static void a_counter_is_never_used_twice(void **state)
{
	(void)state;
	struct letter a, b;
	struct sealer sealer;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	for (uint64_t i = 1; i < 3000; i++) { /* 0 was the keepalive */
		assert_true(node_send(&p.lo, p.now, i % 3 ? "x" : "", &a));
		assert_int_equal(load_le64(a.bytes + 8), i);
	}
	p.lo.session.keypairs.current.send_counter = KEYPAIR_REJECT_AFTER_MESSAGES - 1;
	assert_true(node_send(&p.lo, p.now, "the last", &a));
	assert_false(node_send(&p.lo, p.now, "one too many", &a));
	assert_false(session_ready(&p.lo.session, p.now));
	/* Nor is one beyond the limit taken from a peer that goes on. */
	p.lo.session.keypairs.current.send_counter--;
	assert_int_equal(session_seal_begin(&p.lo.session, 1, 1420, p.now, &sealer), 0);
	sealer.next = sealer.end++;
	memset(a.bytes, 0, sizeof a.bytes);
	a.len = sealer_seal(&sealer, a.bytes, a.bytes + SEALER_HEADER, 16);
	assert_int_equal(node_receive(&p.hi, p.now, false, &a, &b, &opened), -EALREADY);
	pair_close(&p);
}

static void many_messages_ask_for_new_keys(void **state)
{
	(void)state;
	struct letter a;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	p.hi.session.keypairs.current.send_counter = KEYPAIR_REKEY_AFTER_MESSAGES - 1;
	assert_true(node_send(&p.hi, p.now, "x", &a));
	assert_int_equal(node_next(&p.hi, p.now, &a), SESSION_NOTHING);
	assert_true(node_send(&p.hi, p.now, "x", &a));
	assert_int_equal(node_next(&p.hi, p.now, &a), SESSION_MESSAGE);
	assert_int_equal(a.len, WG_INITIATION_LEN);
	pair_close(&p);
}

static void data_is_padded_with_zeros_up_to_the_mtu(void **state)
{
	static const struct {
		size_t len, mtu, want;
	} cases[] = {
		{ 0, 1420, 0 },	      { 1, 1420, 16 },	    { 16, 1420, 16 },	  { 17, 1420, 32 },
		{ 1409, 1420, 1420 }, { 1420, 1420, 1420 }, { 1425, 1420, 1425 }, { 5, 0, 5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct letter a, b;
		struct pair p;

		pair_open(&p, &(struct pair_options) { 0 });
		establish(&p, &p.lo, &p.hi);
		memset(a.bytes, 0xff, sizeof a.bytes);
		int n = session_seal(&p.lo.session, a.bytes + WG_DATA_HEADER, cases[i].len, cases[i].mtu,
				     p.now);
		assert_int_equal(n, cases[i].want + WG_DATA_OVERHEAD);
		a.len = (size_t)n;
		accept(&p, &p.hi, &a, &b);
		assert_int_equal(opened.len, cases[i].want);
		assert_true(crypto_is_zero(opened.data + cases[i].len, opened.len - cases[i].len));
		pair_close(&p);
	}
}

static void under_load_a_handshake_takes_a_cookie_on_either_side(void **state)
{
	(void)state;
	struct letter a, b;
	struct pair p;

	pair_open(&p, &(struct pair_options) { .own_kind = true });
	start(&p, &p.lo, &a);
	assert_int_equal(node_receive(&p.hi, p.now, true, &a, &b, &opened), -EPERM);
	assert_int_equal(b.len, WG_COOKIE_LEN);
	assert_ptr_equal(session_index_find(p.lo.index, load_le32(b.bytes + 4)), &p.lo);
	accept(&p, &p.lo, &b, &a);
	/* No answer to a cookie: the next try uses it. */
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_NOTHING);
	p.now = session_deadline(&p.lo.session);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	assert_int_equal(node_receive(&p.hi, p.now, true, &a, &b, &opened), 0);
	/* Now the initiator is under load: the response has to prove its source. */
	assert_int_equal(node_receive(&p.lo, p.now, true, &b, &a, &opened), -EPERM);
	assert_ptr_equal(session_index_find(p.hi.index, load_le32(a.bytes + 4)), &p.hi);
	accept(&p, &p.hi, &a, &b);
	p.now = session_deadline(&p.lo.session);
	assert_int_equal(node_next(&p.lo, p.now, &a), SESSION_MESSAGE);
	assert_int_equal(node_receive(&p.hi, p.now, true, &a, &b, &opened), 0);
	assert_int_equal(node_receive(&p.lo, p.now, true, &b, &a, &opened), 0);
	assert_true(session_ready(&p.lo.session, p.now));
	pair_close(&p);
}

static void a_session_needs_a_usable_key_and_room(void **state)
{
	(void)state;
	struct pair p;
	struct session extra;
	const uint8_t low_order[32] = { 1 };

	pair_open(&p, &(struct pair_options) { 0 });
	struct session_config config = p.lo.session.config;
	config.peer_pk = low_order;
	assert_int_equal(session_init(&extra, &config), -EINVAL);
	config.peer_pk = p.lo.local.pk;
	assert_int_equal(session_init(&extra, &config), -EINVAL);
	config.peer_pk = p.hi.local.pk;
	assert_int_equal(session_init(&extra, &config), -ENOSPC);
	session_close(&p.lo.session);
	assert_int_equal(session_init(&p.lo.session, &config), 0);
	pair_close(&p);
}

static void reset_and_close_leave_no_index_and_no_key(void **state)
{
	(void)state;
	struct letter a, b;
	struct pair p;

	pair_open(&p, &(struct pair_options) { 0 });
	establish(&p, &p.lo, &p.hi);
	assert_true(node_send(&p.hi, p.now, "x", &a));
	uint32_t index = load_le32(a.bytes + 4);
	assert_ptr_equal(session_index_find(p.lo.index, index), &p.lo);
	session_reset(&p.lo.session);
	assert_null(session_index_find(p.lo.index, index));
	assert_int_equal(node_receive(&p.lo, p.now, false, &a, &b, &opened), -ENOENT);
	assert_false(session_ready(&p.lo.session, p.now));
	assert_int_equal(session_deadline(&p.lo.session), SESSION_NEVER);
	start(&p, &p.lo, &a);
	index = load_le32(a.bytes + 4);
	session_close(&p.lo.session);
	assert_null(session_index_find(p.lo.index, index));
	assert_true(crypto_is_zero(&p.lo.session, sizeof p.lo.session));
	node_open(&p.lo, &p.hi, &(struct pair_options) { 0 });
	pair_close(&p);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_responder_waits_for_the_initiators_first_message),
		cmocka_unit_test(data_sent_at_once_makes_the_confirming_keepalive_needless),
		cmocka_unit_test(reordered_first_data_confirms_and_opens),
		cmocka_unit_test(a_repeated_message_is_a_replay),
		cmocka_unit_test(initiations_of_a_peer_are_answered_20_ms_apart),
		cmocka_unit_test(the_greatest_timestamp_survives_a_restart),
		cmocka_unit_test(damaged_messages_change_nothing),
		cmocka_unit_test(crossed_initiations_both_complete),
		cmocka_unit_test(crossed_initiations_with_a_stock_peer_complete_by_ours),
		cmocka_unit_test(data_on_its_way_opens_after_new_keys),
		cmocka_unit_test(a_counter_is_never_used_twice),
		cmocka_unit_test(many_messages_ask_for_new_keys),
		cmocka_unit_test(data_is_padded_with_zeros_up_to_the_mtu),
		cmocka_unit_test(under_load_a_handshake_takes_a_cookie_on_either_side),
		cmocka_unit_test(a_session_needs_a_usable_key_and_room),
		cmocka_unit_test(reset_and_close_leave_no_index_and_no_key),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
