#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "apps/natcheck/mtu.h"

/* A way to a server and back, with a limit on packets in each direction and a server that may or may not pad. */
struct way {
	unsigned up, down;
	bool fragments_up, fragments_down, pads,
		splits; /* splits: what is too large comes in fragments, nevertheless */
};

enum { WHOLE = 7, FRAGMENTS = 8, RTT_MS = 50, HEADERS = 28 };

static struct rng rng;
static struct addr server;

static bool passes(const struct query *q, size_t size, unsigned limit, bool fragments)
{
	return q->plan.from == WHOLE ? size <= limit : size <= limit || fragments;
}

static void answer(struct query *q, const struct way *way, const uint8_t *msg, size_t len, uint64_t now_ms)
{
	uint8_t reply[QUERY_MAX];
	struct stun_msg m;
	unsigned fragment = 0;

	assert_int_equal(stun_decode(&m, msg, len), 0);
	assert_int_equal(m.unknown_count, 0);
	struct stun_msg out = { .cls = STUN_SUCCESS, .method = STUN_BINDING, .mapped = server };
	memcpy(out.txid, m.txid, sizeof out.txid);
	out.padding = way->pads && m.padding ? (uint16_t)(len - STUN_HEADER - 12 - 4) : 0;
	int size = stun_encode(&out, false, reply, sizeof reply);
	assert_true(size > 0);
	if (!passes(q, (size_t)size + HEADERS, way->down, way->fragments_down)) {
		if (!way->splits)
			return;
		fragment = way->down;
	}
	query_on_message(q, q->plan.listen, &server, reply, (size_t)size, fragment, now_ms + RTT_MS);
}

static struct mtu_result over(const struct way *way)
{
	const struct mtu_config config = { server, WHOLE, FRAGMENTS, 100 };
	struct mtu m;
	uint8_t msg[QUERY_MAX];

	mtu_start(&m, &config, &rng, 0);
	for (uint64_t now = 0; now < 3000; now += 10) {
		mtu_go_on(&m, &rng, now);
		for (unsigned i = 0; i < MTU_QUERIES; i++) {
			struct query *q = &m.queries[i];
			size_t len = query_next(q, now, msg);
			if (len && passes(q, len + HEADERS, way->up, way->fragments_up))
				answer(q, way, msg, len, now);
		}
	}
	return mtu_result(&m);
}

static void sizes_and_fragments_are_told_for_each_direction(void **state)
{
	(void)state;
	static const struct {
		struct way way;
		struct mtu_result want;
	} cases[] = {
		{ { 1500, 1500, true, true, true }, { 1500, 1500, DISCOVER_YES, DISCOVER_YES } },
		{ { 1492, 1492, true, true, true }, { 1492, 1492, DISCOVER_YES, DISCOVER_YES } },
		{ { 1500, 1420, true, true, true }, { 1500, 1420, DISCOVER_YES, DISCOVER_YES } },
		{ { 1400, 1500, true, true, true }, { 1400, 1400, DISCOVER_YES, DISCOVER_YES } },
		{ { 1500, 1500, false, true, true }, { 1500, 1500, DISCOVER_NO, DISCOVER_UNKNOWN } },
		{ { 1500, 1500, true, false, true }, { 1500, 1500, DISCOVER_YES, DISCOVER_NO } },
		{ { 1500, 1400, true, true, true, true }, { 1500, 1400, DISCOVER_YES, DISCOVER_YES } },
		{ { 1500, 1500, true, true, false }, { 1500, 0, DISCOVER_YES, DISCOVER_UNKNOWN } },
		{ { 576, 576, false, false, true }, { 0, 0, DISCOVER_UNKNOWN, DISCOVER_UNKNOWN } },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mtu_result got = over(&cases[i].way);
		assert_int_equal(got.up, cases[i].want.up);
		assert_int_equal(got.down, cases[i].want.down);
		assert_int_equal(got.fragments_up, cases[i].want.fragments_up);
		assert_int_equal(got.fragments_down, cases[i].want.fragments_down);
	}
}

static void smaller_sizes_are_asked_only_when_the_largest_did_not_pass(void **state)
{
	(void)state;
	const struct mtu_config config = { server, WHOLE, FRAGMENTS, 100 };
	uint8_t msg[QUERY_MAX];
	struct mtu m;
	unsigned sent = 0;

	mtu_start(&m, &config, &rng, 0);
	mtu_go_on(&m, &rng, 0);
	for (unsigned i = 0; i < MTU_QUERIES; i++)
		sent += query_next(&m.queries[i], 0, msg) > 0;
	assert_int_equal(sent, 4);
	assert_false(m.smaller);
}

/* --- The query itself */

static struct query_plan plan_of(unsigned tries)
{
	struct query_plan plan = {
		.to = server,
		.from = 1,
		.listen = 1,
		.request = { .cls = STUN_REQUEST, .method = STUN_BINDING, .txid = { 1, 2, 3 } },
		.rto_ms = 100,
		.tries = tries,
	};

	return plan;
}

static void a_query_is_repeated_with_doubling_waits_and_ends_in_silence(void **state)
{
	(void)state;
	static const uint64_t due[] = { 0, 100, 300, 700 };
	struct query_plan plan = plan_of(4);
	uint8_t msg[QUERY_MAX];
	struct query q;

	query_start(&q, &plan, 0);
	for (size_t i = 0; i < sizeof due / sizeof due[0]; i++) {
		assert_int_equal(query_deadline(&q), due[i]);
		assert_int_equal(query_next(&q, due[i], msg), STUN_HEADER);
		assert_int_equal(query_next(&q, due[i], msg), 0);
	}
	assert_int_equal(query_next(&q, 1100, msg), 0);
	assert_int_equal(q.state, QUERY_SILENT);
	assert_int_equal(query_deadline(&q), UINT64_MAX);
}

static void an_answer_from_elsewhere_to_another_socket_or_with_another_id_is_none(void **state)
{
	(void)state;
	struct query_plan plan = plan_of(1);
	struct stun_msg success = { .cls = STUN_SUCCESS, .method = STUN_BINDING, .mapped = server };
	struct addr elsewhere = server;
	uint8_t msg[QUERY_MAX];
	struct query q;

	elsewhere.port++;
	query_start(&q, &plan, 0);
	assert_int_equal(query_next(&q, 0, msg), STUN_HEADER);
	size_t len = (size_t)stun_encode(&success, false, msg, sizeof msg);
	assert_false(query_on_message(&q, 1, &server, msg, len, 0, 10));
	memcpy(success.txid, plan.request.txid, sizeof success.txid);
	len = (size_t)stun_encode(&success, false, msg, sizeof msg);
	assert_false(query_on_message(&q, 2, &server, msg, len, 0, 10));
	assert_false(query_on_message(&q, 1, &elsewhere, msg, len, 0, 10));
	assert_true(query_on_message(&q, 1, &server, msg, len, 0, 10));
	assert_int_equal(q.state, QUERY_ANSWERED);
	assert_int_equal(q.rtt_ms, 10);

	plan.any_source = true;
	success.mapped = (struct addr) { 0 };
	len = (size_t)stun_encode(&success, false, msg, sizeof msg);
	query_start(&q, &plan, 0);
	assert_true(query_on_message(&q, 1, &elsewhere, msg, len, 0, 10));
	assert_int_equal(q.state, QUERY_ANSWERED);
}

static int setup(void **state)
{
	(void)state;
	rng_init_seed(&rng, 1);
	assert_int_equal(addr_parse(&server, "198.51.100.10:3478", 0), 0);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_and_fragments_are_told_for_each_direction),
		cmocka_unit_test(smaller_sizes_are_asked_only_when_the_largest_did_not_pass),
		cmocka_unit_test(a_query_is_repeated_with_doubling_waits_and_ends_in_silence),
		cmocka_unit_test(an_answer_from_elsewhere_to_another_socket_or_with_another_id_is_none),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
