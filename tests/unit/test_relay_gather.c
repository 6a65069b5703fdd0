#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "relay/relay_gather.h"
#include "relay/relay_wire.h"

enum { LARGEST = 1500 };

static struct relay_gather *g;

static struct relay_route to(uint16_t port)
{
	struct relay_route r = { .node = { .family = ADDR_V4, .ip = { 198, 51, 100, 1 }, .port = port } };

	return r;
}

/* The header, then anything that begins with `number`. */
static void make(uint8_t *msg, uint32_t session, uint32_t number, size_t len)
{
	memset(msg, (int)number, len);
	memset(msg, 0, RELAY_HEADER);
	msg[0] = RELAY_DATA;
	store_le32(msg + 4, session);
	store_le32(msg + RELAY_HEADER, number);
}

static bool add_to(const struct relay_route *route, uint32_t session, uint32_t number, size_t len)
{
	uint8_t msg[LARGEST];

	make(msg, session, number, len);
	return relay_gather_add(g, msg, len, route);
}

static bool add(uint32_t session, uint32_t number, size_t len)
{
	struct relay_route route = to(4);

	return add_to(&route, session, number, len);
}

/* Each letter is a datagram: of session a to its one end, A to its other, b of session b (all of 40 bytes); s a short one
 * of session a, l a long one. `trains` are what leaves, told apart by a blank. */
static void trains_are_of_one_session_one_way_and_one_size(void **state)
{
	(void)state;
	static const struct {
		const char *in, *trains;
	} cases[] = {
		{ "", "" },	     { "a", "a" },	     { "aaa", "aaa" },
		{ "abab", "aa bb" }, { "aAbaA", "aa AA b" }, { "aasa", "aas a" },
		{ "sas", "s as" },   { "ala", "a la" },	     { "babsbal", "bbb as a l" },
		{ "sss", "sss" },    { "aAaA", "aa AA" },
	};
	struct relay_route first = to(4), second = to(4);

	second.node.ip[3] = 2;
	second.second = true;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct relay_train t;
		char got[64] = "", *at = got;
		for (const char *c = cases[i].in; *c; c++) {
			size_t len = *c == 's' ? 20 : *c == 'l' ? 60 : 40;
			assert_true(
				add_to(*c == 'A' ? &second : &first, *c == 'b' ? 2 : 1, (uint8_t)*c, len));
		}
		assert_int_equal(relay_gather_is_empty(g), !*cases[i].in);
		while (relay_gather_next(g, &t)) {
			if (at > got)
				*at++ = ' ';
			for (size_t off = 0; off < t.len; off += t.stride)
				*at++ = (char)load_le32(t.data + off + RELAY_HEADER);
		}
		*at = '\0';
		assert_string_equal(got, cases[i].trains);
		assert_true(relay_gather_is_empty(g));
	}
}

static void a_route_that_changes_begins_a_train(void **state)
{
	(void)state;
	struct relay_route moved = to(6), by_another_address = to(6);
	struct relay_train t;

	by_another_address.hub = to(3478).node;
	assert_true(add(1, 1, 40));
	assert_true(add_to(&moved, 1, 2, 40));
	assert_true(add_to(&by_another_address, 1, 3, 40));
	assert_true(relay_gather_next(g, &t));
	assert_int_equal(t.route.node.port, 4);
	assert_int_equal(t.len, 40);
	assert_true(relay_gather_next(g, &t));
	assert_int_equal(t.route.node.port, 6);
	assert_int_equal(t.route.hub.port, 0);
	assert_true(relay_gather_next(g, &t));
	assert_int_equal(t.route.hub.port, 3478);
	assert_false(relay_gather_next(g, &t));
}

static bool may_hold(uint32_t session, bool second)
{
	uint8_t msg[LARGEST];
	struct relay_route route = to(9);

	route.second = second;
	make(msg, session, 0, 20);
	return relay_gather_may_hold(g, msg, &route);
}

static void it_tells_what_it_cannot_hold(void **state)
{
	(void)state;
	struct relay_train t;

	assert_false(may_hold(1, false));
	assert_true(add(2, 1, 40));
	assert_true(add(1, 1, 40));
	assert_true(may_hold(1, false));
	assert_true(may_hold(2, false));
	while (relay_gather_next(g, &t))
		;
	assert_false(may_hold(1, false));
	/* A place that session 1 had is no place of this round. */
	assert_true(add(3, 1, 40));
	assert_false(may_hold(1, false));
	assert_true(may_hold(3, false));
}

static void a_train_is_no_longer_than_a_kernel_takes(void **state)
{
	(void)state;
	struct relay_train t;

	for (size_t len = 20; len <= LARGEST; len += 1480) {
		size_t count = 0, most = len == 20 ? RELAY_GATHER_TRAIN : RELAY_GATHER_TRAIN_BYTES / len;
		for (uint32_t i = 0; i < 100; i++)
			assert_true(add(1, i, len));
		assert_true(relay_gather_next(g, &t));
		assert_int_equal(t.len, most * len);
		for (count = most; relay_gather_next(g, &t);)
			count += t.len / len;
		assert_int_equal(count, 100);
	}
}

static void what_has_no_room_is_refused_and_nothing_joins_what_is_leaving(void **state)
{
	(void)state;
	struct relay_train t;
	unsigned many = 0, large = 0, out = 0;

	while (add(many, many, 20))
		many++;
	assert_int_equal(many, RELAY_GATHER_DATAGRAMS);
	while (relay_gather_next(g, &t)) {
		assert_false(add(1, 1, 20));
		out++;
	}
	assert_int_equal(out, many);
	while (add(large, large, LARGEST))
		large++;
	assert_int_equal(large, RELAY_GATHER_BYTES / LARGEST);
	while (relay_gather_next(g, &t))
		;
	assert_true(add(1, 1, 20));
}

/* Datagrams of random sessions and sizes: each leaves once, as it was, and in its session's order. */
static void nothing_is_lost_changed_or_overtaken(void **state)
{
	enum { SESSIONS = 3000, ROUNDS = 200, APART = 8 };
	static uint32_t sent[SESSIONS], seen[SESSIONS];
	(void)state;
	struct rng rng;

	rng_init_seed(&rng, 3);
	for (int round = 0; round < ROUNDS; round++) {
		struct relay_train t;
		uint32_t few = 1 + rng_u32(&rng) % SESSIONS;
		for (int n = 0; n < 1000; n++) {
			/* So far apart that some share a place, and most do not. */
			uint32_t s = rng_u32(&rng) % few;
			size_t len = rng_u32(&rng) % 4 ? 72 : 12 + rng_u32(&rng) % 300;
			assert_true(add(s * APART, sent[s]++, len));
		}
		while (relay_gather_next(g, &t)) {
			uint32_t s = load_le32(t.data + 4) / APART;
			for (size_t off = 0; off < t.len; off += t.stride) {
				uint8_t want[LARGEST];
				size_t len = t.len - off < t.stride ? t.len - off : t.stride;
				make(want, s * APART, seen[s]++, len);
				assert_memory_equal(t.data + off, want, len);
			}
		}
	}
	assert_memory_equal(sent, seen, sizeof sent);
}

static int begin(void **state)
{
	(void)state;
	g = relay_gather_create();
	return g ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	relay_gather_destroy(g);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(trains_are_of_one_session_one_way_and_one_size, begin, end),
		cmocka_unit_test_setup_teardown(a_route_that_changes_begins_a_train, begin, end),
		cmocka_unit_test_setup_teardown(it_tells_what_it_cannot_hold, begin, end),
		cmocka_unit_test_setup_teardown(a_train_is_no_longer_than_a_kernel_takes, begin, end),
		cmocka_unit_test_setup_teardown(what_has_no_room_is_refused_and_nothing_joins_what_is_leaving,
						begin, end),
		cmocka_unit_test_setup_teardown(nothing_is_lost_changed_or_overtaken, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
