#include "relay_bench.h"

/* Each letter of a train stands for a datagram of RUN_STRIDE bytes: a session's data (a, b), a control message (c), data
 * with flags (f), anything else (x); a digit at the end for so many bytes of the first session's data. */

enum { RUN_STRIDE = 30 };

static size_t make_train(uint8_t *out, const char *letters, uint32_t a, uint32_t b)
{
	size_t len = 0;

	for (const char *p = letters; *p; p++) {
		uint8_t *msg = out + len;
		bool tail = *p >= '0' && *p <= '9';
		memset(msg, (uint8_t)len, RUN_STRIDE);
		memset(msg, 0, RELAY_HEADER);
		msg[0] = *p == 'c' ? RELAY_CONTROL : *p == 'x' ? 0x04 : RELAY_DATA;
		msg[1] = *p == 'f';
		store_le32(msg + 4, *p == 'b' ? b : a);
		len += tail ? (size_t)(*p - '0') : RUN_STRIDE;
	}
	return len;
}

static void a_run_ends_where_the_header_changes(void **state)
{
	(void)state;
	static const struct {
		const char *letters, *runs; /* datagrams of each run */
	} cases[] = {
		{ "a", "1" },	    { "aaaa", "4" },   { "aaab", "31" }, { "aabaa", "212" },
		{ "abab", "1111" }, { "aa9", "3" },    { "aa8", "21" },	 { "aa1", "21" },
		{ "9", "1" },	    { "5", "1" },      { "cc", "11" },	 { "xx", "11" },
		{ "aca", "111" },   { "xaax", "121" }, { "ff", "2" },	 { "aaffaa", "222" },
		{ "b9", "11" },
	};
	uint8_t train[8 * RUN_STRIDE];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = make_train(train, cases[i].letters, 0x1234567, 0x1234568), off = 0;
		for (const char *want = cases[i].runs; *want; want++) {
			size_t run = relay_run(train + off, len - off, RUN_STRIDE);
			assert_int_equal((run + RUN_STRIDE - 1) / RUN_STRIDE, *want - '0');
			off += run;
		}
		assert_int_equal(off, len);
	}
}

/* Handles a train run by run. What became of it is told in `to`, one letter a datagram: (f)orwarded,
 * (r)eply, (d)ropped. */
static void give_train(struct bench *b, const uint8_t *train, size_t len, struct addr from, char *to)
{
	for (size_t off = 0, run; off < len; off += run) {
		run = relay_run(train + off, len - off, RUN_STRIDE);
		b->route = (struct relay_route) { .hub = b->hub, .node = from };
		b->reply_len = 0;
		enum relay_action what = relay_server_on_run(b->r, train + off, run, RUN_STRIDE, &b->route,
							     b->now, b->reply, &b->reply_len);
		for (size_t at = 0; at < run; at += RUN_STRIDE)
			*to++ = what == RELAY_FORWARD ? 'f' : what == RELAY_REPLY ? 'r' : 'd';
	}
	*to = 0;
}

static void of_a_mixed_train_each_part_goes_its_own_way(void **state)
{
	(void)state;
	static const struct {
		const char *letters;
		bool stranger;
		const char *to;
		unsigned forwarded, bytes, unbound, malformed;
	} cases[] = {
		{ "aaaaaaaa", false, "ffffffff", 8, 240, 0, 0 },
		{ "aaa9", false, "ffff", 4, 99, 0, 0 },
		{ "aaa8", false, "fffd", 3, 90, 0, 1 },
		/* The session of others, or of nobody, in the middle. */
		{ "aabbaa", false, "ffrrff", 4, 120, 2, 0 },
		{ "aacaa", false, "ffdff", 4, 120, 0, 1 },
		{ "affxa", false, "fdddf", 2, 60, 0, 3 },
		/* One reply for all of it. */
		{ "aaaaa", true, "rrrrr", 0, 0, 5, 0 },
		{ "aabaa", true, "rrrrr", 0, 0, 5, 0 },
	};
	uint8_t train[8 * RUN_STRIDE];
	char to[9];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench b;
		bench_start(&b, 8, 8);
		struct pair p = bound_pair(&b);
		size_t len = make_train(train, cases[i].letters, p.session, p.session + 1);
		give_train(&b, train, len, address(cases[i].stranger ? 9 : 1), to);
		assert_string_equal(to, cases[i].to);
		struct relay_stats s = relay_server_stats(b.r);
		assert_int_equal(s.forwarded, cases[i].forwarded);
		assert_int_equal(s.bytes, cases[i].bytes);
		assert_int_equal(s.unbound, cases[i].unbound);
		assert_int_equal(s.malformed, cases[i].malformed);
		relay_server_destroy(b.r);
	}
}

/* Whatever a train is made of: what is forwarded, and counted, is what it would be one by one. */
static void runs_are_handled_as_their_datagrams_would_be(void **state)
{
	(void)state;
	static const char letters[] = "aaaaabbcfx";
	uint8_t train[8 * RUN_STRIDE];
	char text[10], to[10];
	struct bench one, many;

	bench_start(&one, 8, 8);
	bench_start(&many, 8, 8);
	struct pair p = bound_pair(&one), q = bound_pair(&many);
	assert_int_equal(p.session, q.session);
	uint32_t c = relay_slot_open(one.r, 1, token_c), other = relay_session_open(one.r, p.b, c);
	assert_int_equal(relay_slot_open(many.r, 1, token_c), c);
	assert_int_equal(relay_session_open(many.r, q.b, c), other);
	for (int round = 0; round < 20000; round++) {
		size_t n = 1 + rng_below(&one.rng, 8);
		for (size_t i = 0; i < n; i++)
			text[i] = letters[rng_below(&one.rng, sizeof letters - 1)];
		text[n] = 0;
		if (round % 3 == 0)
			text[n - 1] = (char)('1' + rng_below(&one.rng, 9));
		size_t len = make_train(train, text, p.session, other);
		struct addr from = address(1 + rng_below(&one.rng, 3));
		/* More than the limit of replies ever comes to. */
		one.now = many.now += 50;
		give_train(&many, train, len, from, to);
		for (size_t i = 0, off = 0; off < len; i++, off += RUN_STRIDE) {
			size_t left = len - off;
			enum relay_action what = give(&one, train + off,
						      left < RUN_STRIDE ? left : RUN_STRIDE, from);
			assert_int_equal(to[i], what == RELAY_FORWARD ? 'f'
						: what == RELAY_REPLY ? 'r'
								      : 'd');
		}
	}
	struct relay_stats s = relay_server_stats(one.r), t = relay_server_stats(many.r);
	assert_memory_equal(&s, &t, offsetof(struct relay_stats, bound));
	assert_true(s.forwarded > 20000 && s.unbound > 20000 && s.malformed > 10000);
	assert_true(s.undeliverable > 5000);
	relay_server_destroy(one.r);
	relay_server_destroy(many.r);
}

static void replies_to_runs_are_limited_too(void **state)
{
	(void)state;
	struct bench b;
	uint8_t train[8 * RUN_STRIDE];
	char to[10];
	int replies = 0;

	bench_start(&b, 8, 8);
	size_t len = make_train(train, "aaaaaaaa", 77, 78);
	for (uint32_t i = 0; i < 5000; i++) {
		give_train(&b, train, len, address(i), to);
		replies += b.reply_len != 0;
	}
	assert_int_equal(replies, RELAY_UNBOUND_PER_S);
	relay_server_destroy(b.r);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_ends_where_the_header_changes),
		cmocka_unit_test(of_a_mixed_train_each_part_goes_its_own_way),
		cmocka_unit_test(runs_are_handled_as_their_datagrams_would_be),
		cmocka_unit_test(replies_to_runs_are_limited_too),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
