#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/stun_client.h"

static struct addr server, other;
static struct rng rng;

/* When the client sends, and when it gives up, if nobody ever answers. */
static void requests_follow_the_schedule_of_rfc8489(void **state)
{
	(void)state;
	static const struct {
		uint32_t rto_ms;
		uint64_t sent[7], failed;
	} cases[] = {
		{ 0, { 0, 500, 1500, 3500, 7500, 15500, 31500 }, 39500 }, /* the RFC's example */
		{ 500, { 0, 500, 1500, 3500, 7500, 15500, 31500 }, 39500 },
		{ 100, { 0, 100, 300, 700, 1500, 3100, 6300 }, 7900 },
	};
	const uint64_t start = 1000000;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct stun_client c;
		uint8_t first[STUN_MAX], out[STUN_MAX];
		size_t first_len = 0;

		stun_client_start(&c, &server, cases[i].rto_ms, &rng, start);
		for (size_t n = 0; n < 7; n++) {
			uint64_t now = stun_client_deadline(&c);
			assert_int_equal(now - start, cases[i].sent[n]);
			if (now > start)
				assert_int_equal(stun_client_next(&c, now - 1, out), 0);
			size_t len = stun_client_next(&c, now, out);
			assert_true(stun_is_message(out, len));
			assert_int_equal(stun_client_next(&c, now, out), 0);
			if (n == 0) {
				memcpy(first, out, len);
				first_len = len;
			}
			assert_int_equal(len, first_len); /* retransmissions are the same request */
			assert_memory_equal(out, first, len);
		}
		assert_int_equal(stun_client_deadline(&c) - start, cases[i].failed);
		assert_int_equal(c.state, STUN_WAITING);
		assert_int_equal(stun_client_next(&c, start + cases[i].failed, out), 0);
		assert_int_equal(c.state, STUN_FAILED);
		assert_int_equal(stun_client_deadline(&c), UINT64_MAX);
	}
}

static void zeroed_memory_is_idle(void **state)
{
	(void)state;
	struct stun_client c = { 0 };
	uint8_t out[STUN_MAX];

	assert_int_equal(c.state, STUN_IDLE);
	assert_int_equal(stun_client_next(&c, 1, out), 0);
	assert_int_equal(stun_client_deadline(&c), UINT64_MAX);
}

/* A transaction whose first request went out at 1000. */
static struct stun_client waiting_client(void)
{
	struct stun_client c;
	uint8_t out[STUN_MAX];

	stun_client_start(&c, &server, 0, &rng, 1000);
	assert_true(stun_client_next(&c, 1000, out) > 0);
	return c;
}

static struct stun_msg answer_to(const struct stun_client *c)
{
	struct stun_msg m = { .cls = STUN_SUCCESS, .method = STUN_BINDING };

	memcpy(m.txid, c->txid, sizeof m.txid);
	assert_int_equal(addr_parse(&m.mapped, "203.0.113.9:40000", 0), 0);
	assert_int_equal(addr_parse(&m.other_address, "198.51.100.2:3479", 0), 0);
	return m;
}

static bool deliver(struct stun_client *c, const struct stun_msg *m, const struct addr *from, uint64_t now_ms)
{
	uint8_t msg[STUN_MAX];
	int len = stun_encode(m, true, msg, sizeof msg);

	assert_true(len > 0);
	return stun_client_on_message(c, msg, (size_t)len, from, now_ms);
}

static void the_answer_ends_the_transaction(void **state)
{
	(void)state;
	struct stun_client c = waiting_client();
	struct stun_msg m = answer_to(&c);

	assert_true(deliver(&c, &m, &server, 1042));
	assert_int_equal(c.state, STUN_DONE);
	assert_true(addr_equal(&c.mapped, &m.mapped));
	assert_true(addr_equal(&c.other_address, &m.other_address));
	assert_int_equal(c.rtt_ms, 42);
	assert_int_equal(stun_client_deadline(&c), UINT64_MAX);
	assert_false(deliver(&c, &m, &server, 1043)); /* again */
}

static void the_rtt_is_unknown_after_a_retransmission(void **state)
{
	(void)state;
	struct stun_client c = waiting_client();
	struct stun_msg m = answer_to(&c);
	uint8_t out[STUN_MAX];

	assert_true(stun_client_next(&c, 1500, out) > 0);
	assert_true(deliver(&c, &m, &server, 1501));
	assert_int_equal(c.state, STUN_DONE);
	assert_int_equal(c.rtt_ms, 0);
}

static void what_is_not_the_answer_changes_nothing(void **state)
{
	(void)state;
	struct stun_client c = waiting_client();
	const struct stun_client before = c;
	const struct stun_msg right = answer_to(&c);
	struct stun_msg m = right;
	uint8_t msg[STUN_MAX];

	assert_false(deliver(&c, &right, &other, 1042)); /* foreign source */
	m.txid[STUN_TXID - 1] ^= 1;
	assert_false(deliver(&c, &m, &server, 1042));
	m = right;
	m.method = 0x003;
	assert_false(deliver(&c, &m, &server, 1042));
	m = right;
	m.cls = STUN_REQUEST;
	assert_false(deliver(&c, &m, &server, 1042));
	m.cls = STUN_INDICATION;
	assert_false(deliver(&c, &m, &server, 1042));
	size_t len = (size_t)stun_encode(&right, true, msg, sizeof msg);
	msg[len - 1] ^= 1; /* fingerprint */
	assert_false(stun_client_on_message(&c, msg, len, &server, 1042));
	for (size_t cut = 0; cut < len; cut++)
		assert_false(stun_client_on_message(&c, msg, cut, &server, 1042));
	assert_memory_equal(&c, &before, sizeof c);
}

static void an_answer_without_use_fails_the_transaction(void **state)
{
	(void)state;
	enum { ERROR, NO_ADDRESS, UNKNOWN_ATTRIBUTE, CASES };

	for (int i = 0; i < CASES; i++) {
		struct stun_client c = waiting_client();
		struct stun_msg m = answer_to(&c);
		uint8_t msg[STUN_MAX];

		if (i == ERROR) {
			m.cls = STUN_ERROR;
			m.error_code = 420;
		}
		if (i == NO_ADDRESS)
			m.mapped = (struct addr) { 0 };
		size_t len = (size_t)stun_encode(&m, false, msg, sizeof msg);
		if (i == UNKNOWN_ATTRIBUTE) {
			memcpy(msg + len, "\x7f\xff\0\0", 4);
			len += 4;
			msg[3] = (uint8_t)(len - STUN_HEADER);
		}
		assert_true(stun_client_on_message(&c, msg, len, &server, 1042));
		assert_int_equal(c.state, STUN_FAILED);
		assert_int_equal(c.error_code, i == ERROR ? 420 : 0);
		assert_int_equal(c.mapped.family, ADDR_NONE);
		assert_int_equal(stun_client_deadline(&c), UINT64_MAX);
	}
}

static void each_transaction_has_its_own_id(void **state)
{
	(void)state;
	struct stun_client a = waiting_client(), b = waiting_client();

	assert_memory_not_equal(a.txid, b.txid, STUN_TXID);
}

static int setup(void **state)
{
	(void)state;
	rng_init_seed(&rng, 1);
	if (addr_parse(&server, "198.51.100.1:3478", 0) || addr_parse(&other, "198.51.100.1:3479", 0))
		return -1;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_follow_the_schedule_of_rfc8489),
		cmocka_unit_test(zeroed_memory_is_idle),
		cmocka_unit_test(the_answer_ends_the_transaction),
		cmocka_unit_test(the_rtt_is_unknown_after_a_retransmission),
		cmocka_unit_test(what_is_not_the_answer_changes_nothing),
		cmocka_unit_test(an_answer_without_use_fails_the_transaction),
		cmocka_unit_test(each_transaction_has_its_own_id),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
