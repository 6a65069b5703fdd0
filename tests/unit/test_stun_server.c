#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/crypto.h"
#include "nat/stun_server.h"

static struct stun_server server;

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* The reply to what `from` sent to an endpoint that the server does not know. */
static size_t reply_to(const uint8_t *msg, size_t len, const struct addr *from, uint64_t now_ms, uint8_t *out)
{
	struct stun_route route = { .client = *from };
	size_t n = stun_server_reply(&server, msg, len, &route, now_ms, out);

	if (n)
		assert_true(addr_equal(&route.client, from));
	return n;
}

/* Binding request with `count` attributes of 4 bytes each. */
static size_t request(uint8_t *msg, const uint16_t *types, size_t count)
{
	struct stun_msg m = { .cls = STUN_REQUEST, .method = STUN_BINDING, .txid = "transaction" };
	size_t len = (size_t)stun_encode(&m, false, msg, STUN_MAX);

	for (size_t i = 0; i < count; i++, len += 8) {
		store_be16(msg + len, types[i]);
		store_be16(msg + len + 2, 4);
		store_be32(msg + len + 4, 6);
	}
	store_be16(msg + 2, (uint16_t)(len - STUN_HEADER));
	return len;
}

static bool is_answered(const struct addr *from, uint64_t now_ms)
{
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];

	return reply_to(msg, request(msg, NULL, 0), from, now_ms, out) > 0;
}

static unsigned answered_of(unsigned requests, const struct addr *from, uint64_t now_ms)
{
	unsigned n = 0;

	for (unsigned i = 0; i < requests; i++)
		n += is_answered(from, now_ms);
	return n;
}

static void a_binding_is_answered_with_the_source_and_no_more(void **state)
{
	(void)state;
	static const struct {
		const char *from;
		size_t len;
	} cases[] = { { "203.0.113.9:40000", STUN_HEADER + 12 },
		      { "[2001:db8::9]:40000", STUN_HEADER + 24 } };

	for (size_t i = 0; i < 2; i++) {
		struct addr from = addr_of(cases[i].from);
		uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];
		struct stun_msg m;
		size_t len = reply_to(msg, request(msg, NULL, 0), &from, 0, out);

		assert_int_equal(len, cases[i].len);
		assert_int_equal(stun_decode(&m, out, len), 0);
		assert_int_equal(m.cls, STUN_SUCCESS);
		assert_int_equal(m.method, STUN_BINDING);
		assert_memory_equal(m.txid, "transaction", STUN_TXID);
		assert_true(addr_equal(&m.mapped, &from));
		assert_null(m.software);
	}
	assert_int_equal(server.answered, 2);
}

static void a_fingerprint_is_answered_with_a_fingerprint(void **state)
{
	(void)state;
	struct addr from = addr_of("203.0.113.9:40000");
	struct stun_msg m = { .cls = STUN_REQUEST, .method = STUN_BINDING };
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];
	size_t len = (size_t)stun_encode(&m, true, msg, sizeof msg);

	len = reply_to(msg, len, &from, 0, out);
	assert_int_equal(stun_decode(&m, out, len), 0);
	assert_true(m.has_fingerprint);
}

/* UNKNOWN-ATTRIBUTES of a 420. */
static size_t refused(const uint8_t *out, size_t len, uint16_t types[static STUN_MAX_UNKNOWN])
{
	struct stun_msg m;
	struct reader r = reader_over(out + STUN_HEADER, len - STUN_HEADER);

	assert_int_equal(stun_decode(&m, out, len), 0);
	assert_int_equal(m.cls, STUN_ERROR);
	assert_int_equal(m.error_code, 420);
	read_bytes(&r, 8); /* ERROR-CODE */
	assert_int_equal(read_be16(&r), 0x000a);
	size_t count = read_be16(&r) / 2;
	assert_in_range(count, 1, STUN_MAX_UNKNOWN);
	for (size_t i = 0; i < count; i++)
		types[i] = read_be16(&r);
	assert_false(r.bad);
	return count;
}

static void a_change_that_cannot_be_made_is_refused_with_420(void **state)
{
	(void)state;
	struct addr from = addr_of("203.0.113.9:40000");
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];
	uint16_t types[STUN_MAX_UNKNOWN];
	struct stun_msg m;
	size_t len = request(msg, (uint16_t[]) { 0x0003, 0x8029 }, 2);

	assert_int_equal(refused(out, reply_to(msg, len, &from, 0, out), types), 1);
	assert_int_equal(types[0], 0x0003);
	len = request(msg, (uint16_t[]) { 0x0003 }, 1);
	size_t n = reply_to(msg, len, &from, 0, out); /* there is no room for the list */
	assert_int_equal(n, len);
	assert_int_equal(stun_decode(&m, out, n), 0);
	assert_int_equal(m.error_code, 420);
}

static void unknown_attributes_are_refused_with_420(void **state)
{
	(void)state;
	struct addr from = addr_of("203.0.113.9:40000");
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];
	uint16_t types[STUN_MAX_UNKNOWN];
	size_t len = request(msg, (uint16_t[]) { 0x0024, 0x8029, 0x0003, 0x7fff }, 4);

	len = reply_to(msg, len, &from, 0, out);
	assert_int_equal(refused(out, len, types), 3);
	assert_int_equal(types[0], 0x0024);
	assert_int_equal(types[1], 0x7fff);
	assert_int_equal(types[2], 0x0003);
}

static void what_may_be_passed_over_is_no_reason_to_refuse(void **state)
{
	(void)state;
	struct addr from = addr_of("203.0.113.9:40000");
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];
	struct stun_msg m;
	size_t len = request(msg, (uint16_t[]) { 0x8029, 0xffff }, 2);

	len = reply_to(msg, len, &from, 0, out);
	assert_int_equal(stun_decode(&m, out, len), 0);
	assert_int_equal(m.cls, STUN_SUCCESS);
}

static void only_binding_requests_are_answered(void **state)
{
	(void)state;
	static const struct {
		enum stun_class cls;
		uint16_t method;
	} cases[] = { { STUN_INDICATION, STUN_BINDING },
		      { STUN_SUCCESS, STUN_BINDING },
		      { STUN_ERROR, STUN_BINDING },
		      { STUN_REQUEST, 0x003 } };
	struct addr from = addr_of("203.0.113.9:40000");
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct stun_msg m = { .cls = cases[i].cls, .method = cases[i].method };
		size_t len = (size_t)stun_encode(&m, true, msg, sizeof msg);
		assert_int_equal(reply_to(msg, len, &from, 0, out), 0);
	}
	size_t len = request(msg, (uint16_t[]) { 0x8029 }, 1);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(reply_to(msg, cut, &from, 0, out), 0);
	assert_int_equal(server.malformed, 4 + len);
	assert_int_equal(server.answered, 0);
}

static void no_refusal_outgrows_its_request(void **state)
{
	(void)state;
	struct addr from = addr_of("[2001:db8::9]:40000");
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];
	size_t len = request(msg, NULL, 0);

	/* One more unknown attribute each time, in the fewest bytes: without a value. */
	for (uint16_t count = 0; count <= 2 * STUN_MAX_UNKNOWN; count++) {
		size_t reply = reply_to(msg, len, &from, 0, out);
		assert_in_range(reply, 0, count ? len : len + STUN_SERVER_GROWTH);
		assert_true(reply || count == 1); /* not even ERROR-CODE fits */
		store_be32(msg + len, (uint32_t)(0x7f00 + count) << 16);
		len += 4;
		store_be16(msg + 2, (uint16_t)(len - STUN_HEADER));
	}
}

static void a_source_network_gets_its_burst_and_then_its_rate(void **state)
{
	(void)state;
	struct addr from = addr_of("203.0.113.9:40000");
	const uint64_t now = 1000000;

	assert_int_equal(answered_of(2 * STUN_SERVER_BURST, &from, now), STUN_SERVER_BURST);
	assert_int_equal(answered_of(STUN_SERVER_BURST, &from, now + 1000), STUN_SERVER_RATE);
	assert_int_equal(answered_of(STUN_SERVER_BURST, &from, now + 1000 + 1000 / STUN_SERVER_RATE - 1), 0);
	assert_int_equal(answered_of(STUN_SERVER_BURST, &from, now + 1000 + 1000 / STUN_SERVER_RATE), 1);
	assert_int_equal(answered_of(2 * STUN_SERVER_BURST, &from, now + 3600000), STUN_SERVER_BURST);
	assert_int_equal(server.answered, 2 * STUN_SERVER_BURST + STUN_SERVER_RATE + 1);
	assert_int_equal(server.limited, 7 * STUN_SERVER_BURST - server.answered);
}

static void the_limit_is_per_24_and_per_48(void **state)
{
	(void)state;
	static const struct {
		const char *spender, *other;
		bool shared;
	} cases[] = {
		{ "203.0.113.9:40000", "203.0.113.9:40001", true },
		{ "203.0.113.9:40000", "203.0.113.255:1", true },
		{ "203.0.113.9:40000", "203.0.112.9:40000", false },
		{ "203.0.113.9:40000", "203.0.114.9:40000", false },
		{ "[2001:db8:1::1]:1", "[2001:db8:1:ffff:ffff::2]:2", true },
		{ "[2001:db8:1::1]:1", "[2001:db8:2::1]:1", false },
		{ "[2001:db8:1::1]:1", "[2001:db8::1]:1", false },
		{ "203.0.113.9:40000", "[2001:db8:1::1]:1", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct addr spender = addr_of(cases[i].spender), other = addr_of(cases[i].other);
		uint64_t now = (i + 1) * 1000000; /* the buckets are full again */

		assert_int_equal(answered_of(STUN_SERVER_BURST, &spender, now), STUN_SERVER_BURST);
		assert_int_equal(is_answered(&other, now), !cases[i].shared);
	}
}

static void a_flood_from_everywhere_is_bounded(void **state)
{
	(void)state;
	struct rng rng;
	unsigned answered = 0;

	rng_init_seed(&rng, 7);
	for (unsigned i = 0; i < 600000; i++) {
		uint32_t ip = rng_u32(&rng);
		struct addr from = addr_from_ip(ADDR_V4, (const uint8_t *)&ip, 1000);
		answered += is_answered(&from, 0);
	}
	assert_in_range(answered, 1, STUN_SERVER_BUCKETS * STUN_SERVER_BURST);
	assert_int_equal(answered + server.limited, 600000);
}

static int setup(void **state)
{
	struct rng rng;

	(void)state;
	rng_init_seed(&rng, 1);
	stun_server_init(&server, NULL, 0, &rng);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_binding_is_answered_with_the_source_and_no_more, setup),
		cmocka_unit_test_setup(a_fingerprint_is_answered_with_a_fingerprint, setup),
		cmocka_unit_test_setup(a_change_that_cannot_be_made_is_refused_with_420, setup),
		cmocka_unit_test_setup(unknown_attributes_are_refused_with_420, setup),
		cmocka_unit_test_setup(what_may_be_passed_over_is_no_reason_to_refuse, setup),
		cmocka_unit_test_setup(only_binding_requests_are_answered, setup),
		cmocka_unit_test_setup(no_refusal_outgrows_its_request, setup),
		cmocka_unit_test_setup(a_source_network_gets_its_burst_and_then_its_rate, setup),
		cmocka_unit_test_setup(the_limit_is_per_24_and_per_48, setup),
		cmocka_unit_test_setup(a_flood_from_everywhere_is_bounded, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
