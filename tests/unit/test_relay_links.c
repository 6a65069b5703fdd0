/* The relay with members that are reached by their links, and its messages there. */
#include "relay_bench.h"

#include "relay/relay_frame.h"

enum { LINK_A = 0xa11, LINK_B = 0xb22, BODY = 100 };

/* A run of `count` datagrams of BODY bytes, the last one byte shorter; each begins with its number. */
static size_t make_run(uint8_t *out, uint32_t session, size_t count)
{
	size_t len = RELAY_RUN_HEADER + count * BODY - 1;

	memset(out, 0, len);
	out[0] = RELAY_DATA;
	store_le32(out + 4, session);
	store_le16(out + 8, BODY);
	for (size_t i = 0; i < count; i++)
		out[RELAY_RUN_HEADER + i * BODY] = (uint8_t)i;
	return len;
}

static enum relay_action give_link(struct bench *b, uint32_t slot, uint64_t link, const uint8_t *msg,
				   size_t len)
{
	b->route = (struct relay_route) { 0 };
	return relay_server_on_link(b->r, slot, link, msg, len, &b->route, b->now);
}

static enum relay_action send_run(struct bench *b, uint32_t slot, uint64_t link, uint32_t session)
{
	uint8_t run[RELAY_RUN_MAX];

	return give_link(b, slot, link, run, make_run(run, session, 3));
}

static void move(struct bench *b, uint32_t slot, uint64_t link)
{
	uint8_t msg[RELAY_MOVE_LEN];

	relay_frame_write_move(msg);
	assert_int_equal(give_link(b, slot, link, msg, sizeof msg), RELAY_DROP);
}

static enum relay_action send_udp(struct bench *b, uint32_t session, struct addr from)
{
	uint8_t data[40] = { RELAY_DATA };

	store_le32(data + 4, session);
	return give(b, data, sizeof data, from);
}

static void assert_to_link(const struct bench *b, enum relay_action what, uint64_t link)
{
	assert_int_equal(what, RELAY_FORWARD);
	assert_int_equal(b->route.link, link);
}

static void assert_to_address(const struct bench *b, enum relay_action what, struct addr to)
{
	assert_int_equal(what, RELAY_FORWARD);
	assert_int_equal(b->route.link, 0);
	assert_true(addr_equal(&b->route.node, &to));
}

static void both_ends_may_be_on_their_links(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = { relay_slot_open(b.r, 1, token_a), relay_slot_open(b.r, 1, token_b), 0 };

	p.session = relay_session_open(b.r, p.a, p.b);
	/* B has not been heard of yet. */
	assert_int_equal(send_run(&b, p.a, LINK_A, p.session), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).undeliverable, 3);
	assert_to_link(&b, send_run(&b, p.b, LINK_B, p.session), LINK_A);
	assert_to_link(&b, send_run(&b, p.a, LINK_A, p.session), LINK_B);
	struct relay_stats s = relay_server_stats(b.r);
	assert_int_equal(s.forwarded, 6);
	assert_int_equal(s.bytes, 2 * (3 * (BODY + RELAY_HEADER) - 1));
	assert_int_equal(s.link_forwarded, s.forwarded);
	assert_int_equal(s.link_bytes, s.bytes);
	assert_int_equal(s.by_link, 2);
	assert_int_equal(s.bound, 0);
	relay_server_destroy(b.r);
}

static void one_end_by_udp_and_one_by_its_link(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = { relay_slot_open(b.r, 1, token_a), relay_slot_open(b.r, 1, token_b), 0 };

	p.session = relay_session_open(b.r, p.a, p.b);
	bind_slot(&b, p.b, token_b, address(2));
	assert_to_address(&b, send_run(&b, p.a, LINK_A, p.session), address(2));
	struct relay_stats before = relay_server_stats(b.r);
	assert_int_equal(before.link_forwarded, 0);
	assert_to_link(&b, send_udp(&b, p.session, address(2)), LINK_A);
	struct relay_stats after = relay_server_stats(b.r);
	assert_int_equal(after.link_forwarded, after.forwarded - before.forwarded);
	assert_int_equal(after.link_bytes, after.bytes - before.bytes);
	relay_server_destroy(b.r);
}

static void a_member_moves_to_its_link_and_back(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	move(&b, p.a, LINK_A);
	assert_to_link(&b, send_udp(&b, p.session, address(2)), LINK_A);
	/* What was on its way by UDP arrives, and does not move it back: only a proof does. */
	assert_to_address(&b, send_udp(&b, p.session, address(1)), address(2));
	assert_to_link(&b, send_udp(&b, p.session, address(2)), LINK_A);
	bind_slot(&b, p.a, token_a, address(9));
	assert_to_address(&b, send_udp(&b, p.session, address(2)), address(9));
	assert_int_equal(relay_server_stats(b.r).by_link, 0);
	/* A run moves it, too. */
	assert_to_address(&b, send_run(&b, p.a, LINK_A, p.session), address(2));
	assert_to_link(&b, send_udp(&b, p.session, address(2)), LINK_A);
	relay_server_destroy(b.r);
}

static void a_link_needs_no_refresh(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	move(&b, p.a, LINK_A);
	b.now += 10 * RELAY_IDLE_MS;
	assert_to_link(&b, send_run(&b, p.b, LINK_B, p.session), LINK_A);
	relay_server_destroy(b.r);
}

static void a_link_that_ends_leaves_the_address(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	move(&b, p.a, LINK_A);
	move(&b, p.a, LINK_A + 1);
	relay_slot_unlink(b.r, p.a, LINK_A); /* the older of two */
	assert_to_link(&b, send_udp(&b, p.session, address(2)), LINK_A + 1);
	relay_slot_unlink(b.r, p.a, LINK_A + 1);
	assert_to_address(&b, send_udp(&b, p.session, address(2)), address(1));
	b.now += RELAY_IDLE_MS - 1;
	assert_to_address(&b, send_udp(&b, p.session, address(1)), address(2));
	move(&b, p.b, LINK_B);
	b.now += RELAY_IDLE_MS;
	relay_slot_unlink(b.r, p.b, LINK_B);
	assert_int_equal(send_run(&b, p.a, LINK_A, p.session), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).undeliverable, 3);
	relay_slot_unlink(b.r, 12345, LINK_A);
	relay_server_destroy(b.r);
}

/* All ids but the right one, and the right one from a third: never forwarded. */
static void guessing_sessions_over_a_link_finds_nothing(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);
	uint32_t c = relay_slot_open(b.r, 1, token_c), e = relay_slot_open(b.r, 2, token_c);

	assert_int_equal(send_run(&b, c, 0xc, p.session), RELAY_DROP);
	assert_int_equal(send_run(&b, e, 0xe, p.session), RELAY_DROP);
	assert_int_equal(relay_session_open(b.r, e, p.a), 0);
	for (uint32_t i = 0; i < 100000; i++) {
		assert_int_equal(send_run(&b, c, 0xc, rng_u32(&b.rng)), RELAY_DROP);
		assert_int_equal(send_run(&b, e, 0xe, p.session + i), RELAY_DROP);
		if (i)
			assert_int_equal(send_run(&b, p.a, LINK_A, p.session + i), RELAY_DROP);
	}
	assert_int_equal(relay_server_stats(b.r).forwarded, 0);
	assert_to_address(&b, send_run(&b, p.a, LINK_A, p.session), address(2));
	relay_server_destroy(b.r);
}

static void a_closed_slot_is_reached_no_more(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	move(&b, p.a, LINK_A);
	move(&b, p.b, LINK_B);
	relay_slot_close(b.r, p.a);
	assert_int_equal(send_run(&b, p.b, LINK_B, p.session), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).unbound, 3);
	assert_int_equal(send_run(&b, p.a, LINK_A, p.session), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).unknown_slot, 1);
	/* The next owner of the place inherits nothing. */
	uint32_t c = relay_slot_open(b.r, 1, token_c), session = relay_session_open(b.r, c, p.b);
	assert_int_not_equal(c, p.a);
	relay_slot_unlink(b.r, p.a, LINK_A);
	assert_int_equal(send_run(&b, p.b, LINK_B, session), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).undeliverable, 3);
	relay_server_destroy(b.r);
}

static void what_is_malformed_is_counted_and_moves_nobody(void **state)
{
	(void)state;
	static uint8_t good[RELAY_RUN_MAX + 1], bad[RELAY_RUN_MAX + 1];
	static const struct {
		const char *what;
		size_t at, len;
		uint8_t value;
	} cases[] = {
		{ "first byte", 0, 300, RELAY_CONTROL },
		{ "kind", 1, 300, 2 },
		{ "reserved", 2, 300, 1 },
		{ "reserved too", 3, 300, 1 },
		{ "no stride", 8, 300, 0 },
		{ "65 datagrams", 8, RELAY_RUN_HEADER + 65, 1 },
		{ "nothing in it", 8, RELAY_RUN_HEADER, BODY },
		{ "half a header", 8, RELAY_HEADER, BODY },
		{ "a byte", 0, 1, RELAY_DATA },
		{ "a move with more", 1, RELAY_MOVE_LEN + 1, 1 },
		{ "a move with a session", 1, RELAY_MOVE_LEN, 1 },
		{ "too long", 9, RELAY_RUN_MAX + 1, 40 },
	};
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	make_run(good, p.session, 3);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		memcpy(bad, good, sizeof bad);
		bad[cases[i].at] = cases[i].value;
		if (give_link(&b, p.a, LINK_A, bad, cases[i].len) != RELAY_DROP)
			fail_msg("forwarded: %s", cases[i].what);
		if (relay_server_stats(b.r).malformed != i + 1)
			fail_msg("not counted: %s", cases[i].what);
	}
	assert_int_equal(relay_server_stats(b.r).by_link, 0);
	relay_server_destroy(b.r);
}

/* --- Runs of datagrams into messages and back. */

static void trains_come_out_of_messages_as_they_went_in(void **state)
{
	(void)state;
	static uint8_t train[65535], msg[RELAY_RUN_MAX], back[RELAY_FRAME_UDP_MAX];
	static const struct {
		size_t stride, len;
		size_t messages;
	} cases[] = {
		{ 9, 9, 1 },
		{ 108, 108 * 3, 1 },
		{ 108, 108 * 3 - 99, 1 },
		{ 40, 40 * 64, 1 },
		{ 40, 40 * 65, 2 },
		{ 40, 40 * 129 + 9, 3 },
		{ 1400, 1400 * 11, 1 },
		{ 1400, 1400 * 45 + 700, 5 },
		{ RELAY_RUN_MAX - RELAY_RUN_HEADER + RELAY_HEADER,
		  RELAY_RUN_MAX - RELAY_RUN_HEADER + RELAY_HEADER, 1 },
		{ RELAY_RUN_MAX - RELAY_RUN_HEADER + RELAY_HEADER,
		  2 * (RELAY_RUN_MAX - RELAY_RUN_HEADER + RELAY_HEADER), 2 },
		/* Larger than a message, and no datagram of ours. */
		{ RELAY_RUN_MAX, RELAY_RUN_MAX, 0 },
		{ RELAY_HEADER, 64, 0 },
	};
	struct rng rng;

	rng_init_seed(&rng, 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t at = 0, count = 0, n, msg_len;
		rng_fill(&rng, train, cases[i].len);
		for (size_t d = 0; d < cases[i].len; d += cases[i].stride)
			memcpy(train + d, "\x81\0\0\0abcd", RELAY_HEADER);
		while (at < cases[i].len && (n = relay_frame_pack(msg, &msg_len, train + at,
								  cases[i].len - at, cases[i].stride))) {
			struct relay_frame f;
			assert_true(relay_frame_read(&f, msg, msg_len));
			assert_int_equal(relay_frame_unpack(back, &f), n);
			assert_memory_equal(back, train + at, n);
			at += n;
			count++;
		}
		assert_int_equal(count, cases[i].messages);
		assert_true(count == 0 || at == cases[i].len);
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
		cmocka_unit_test(both_ends_may_be_on_their_links),
		cmocka_unit_test(one_end_by_udp_and_one_by_its_link),
		cmocka_unit_test(a_member_moves_to_its_link_and_back),
		cmocka_unit_test(a_link_needs_no_refresh),
		cmocka_unit_test(a_link_that_ends_leaves_the_address),
		cmocka_unit_test(guessing_sessions_over_a_link_finds_nothing),
		cmocka_unit_test(a_closed_slot_is_reached_no_more),
		cmocka_unit_test(what_is_malformed_is_counted_and_moves_nobody),
		cmocka_unit_test(trains_come_out_of_messages_as_they_went_in),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
