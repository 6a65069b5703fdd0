/* Behaviour tests: CHANGE-REQUEST, RESPONSE-PORT, PADDING and RFC 3489, and what none of them may be used for. */
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

/* Serves from these endpoints, with full buckets. */
static void serve(const char *const *endpoints, size_t count)
{
	struct addr table[STUN_SERVER_ENDPOINTS];
	struct rng rng;

	rng_init_seed(&rng, 1);
	for (size_t i = 0; i < count; i++)
		table[i] = addr_of(endpoints[i]);
	stun_server_init(&server, table, count, &rng);
}

#define A  "198.51.100.10"
#define B  "203.0.113.10"
#define A6 "[2001:db8:10::10]"
#define B6 "[2001:db8:11::10]"
static const char *const square[] = { A ":3478",  A ":3479",  B ":3478",  B ":3479",
				      A6 ":3478", A6 ":3479", B6 ":3478", B6 ":3479" };
static const char *const any4[] = { "0.0.0.0:3478", "0.0.0.0:3479" };
static const char *const any6[] = { "[::]:3478", "[::]:3479" };

static void assert_addr(const struct addr *got, const char *want)
{
	char text[ADDR_TEXT_MAX];

	if (want)
		assert_string_equal(addr_format(got, text), want);
	else
		assert_int_equal(got->family, ADDR_NONE);
}

/* Asks as a client at `from` would ask `at`. The reply is decoded into *m, its route is returned. */
static struct stun_route ask(const struct stun_msg *request, const char *at, const char *from,
			     struct stun_msg *m, size_t *request_len, size_t *reply_len)
{
	static uint8_t msg[STUN_PADDED_MAX], out[STUN_PADDED_MAX];
	struct stun_route route = { .server = addr_of(at), .client = addr_of(from) };
	int len = stun_encode(request, false, msg, sizeof msg);

	assert_true(len > 0);
	*request_len = (size_t)len;
	*reply_len = stun_server_reply(&server, msg, (size_t)len, &route, 0, out);
	if (*reply_len)
		assert_int_equal(request->classic ? stun_decode_classic(m, out, *reply_len)
						  : stun_decode(m, out, *reply_len),
				 0);
	return route;
}

static struct stun_msg binding(uint32_t change, uint16_t response_port, uint16_t padding)
{
	return (struct stun_msg) { .cls = STUN_REQUEST,
				   .method = STUN_BINDING,
				   .change_request = change,
				   .response_port = response_port,
				   .padding = padding };
}

enum { IP = STUN_CHANGE_IP, PORT = STUN_CHANGE_PORT };

static void the_answer_comes_from_where_it_was_asked_to(void **state)
{
	(void)state;
	static const struct {
		size_t endpoints; /* the first so many of the table */
		const char *const *table;
		const char *at;
		uint32_t change;
		const char *from, *other; /* NULL: refused; none is announced */
	} cases[] = {
		{ 8, square, A ":3478", 0, A ":3478", B ":3479" },
		{ 8, square, A ":3478", PORT, A ":3479", B ":3479" },
		{ 8, square, A ":3478", IP, B ":3478", B ":3479" },
		{ 8, square, A ":3478", IP | PORT, B ":3479", B ":3479" },
		{ 8, square, B ":3479", IP | PORT, A ":3478", A ":3478" },
		{ 8, square, B ":3479", PORT, B ":3478", A ":3478" },
		{ 8, square, A6 ":3479", IP, B6 ":3479", B6 ":3478" },
		{ 8, square, B6 ":3478", IP | PORT, A6 ":3479", A6 ":3479" },
		/* one address, two ports */
		{ 2, square, A ":3478", 0, A ":3478", NULL },
		{ 2, square, A ":3478", PORT, A ":3479", NULL },
		{ 2, square, A ":3478", IP, NULL, NULL },
		{ 2, square, A ":3478", IP | PORT, NULL, NULL },
		/* three corners of the square */
		{ 3, square, A ":3478", IP, B ":3478", NULL },
		{ 3, square, B ":3478", IP | PORT, A ":3479", NULL },
		{ 3, square, A ":3478", IP | PORT, NULL, NULL },
		/* the other family is no alternate, nor is an endpoint that nobody knows */
		{ 8, square, "192.0.2.1:3478", PORT, NULL, B ":3479" },
		{ 8, square, "192.0.2.1:9", 0, "192.0.2.1:9", NULL },
		{ 1, square, A ":3478", PORT, NULL, NULL },
		{ 0, NULL, A ":3478", PORT, NULL, NULL },
		/* bound to any address: the one that was asked answers from its other port */
		{ 2, any4, A ":3479", PORT, A ":3478", NULL },
		{ 2, any4, A ":3479", IP, NULL, NULL },
		{ 2, any6, A6 ":3479", PORT, A6 ":3478", NULL },
		{ 2, any6, A ":3479", PORT, NULL, NULL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *client = cases[i].at[0] == '[' ? "[2001:db8::9]:40000" : "192.0.2.9:40000";
		struct stun_msg request = binding(cases[i].change, 0, 60), m;
		size_t request_len, reply_len;

		serve(cases[i].table, cases[i].endpoints);
		struct stun_route route = ask(&request, cases[i].at, client, &m, &request_len, &reply_len);
		assert_addr(&route.client, client);
		assert_addr(&route.server, cases[i].from ? cases[i].from : cases[i].at);
		assert_int_equal(m.cls, cases[i].from ? STUN_SUCCESS : STUN_ERROR);
		assert_int_equal(m.error_code, cases[i].from ? 0 : 420);
		if (!cases[i].from)
			continue;
		assert_addr(&m.mapped, client);
		assert_addr(&m.response_origin, cases[i].from);
		assert_addr(&m.other_address, cases[i].other);
	}
}

static void the_response_port_is_of_the_asking_address_and_not_a_system_port(void **state)
{
	(void)state;
	static const struct {
		uint16_t port, padding;
		const char *to;
		uint16_t error;
	} cases[] = {
		{ 40001, 60, "192.0.2.9:40001", 0 }, { 1024, 60, "192.0.2.9:1024", 0 },
		{ 65535, 0, "192.0.2.9:65535", 0 },  { 1023, 60, "192.0.2.9:40000", 400 },
		{ 53, 0, "192.0.2.9:40000", 400 },
	};

	serve(square, 8);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct stun_msg request = binding(0, cases[i].port, cases[i].padding), m;
		size_t request_len, reply_len;
		struct stun_route route = ask(&request, A ":3478", "192.0.2.9:40000", &m, &request_len,
					      &reply_len);

		assert_addr(&route.client, cases[i].to);
		assert_addr(&route.server, A ":3478");
		assert_int_equal(m.error_code, cases[i].error);
		if (!cases[i].error && cases[i].padding)
			assert_addr(&m.mapped, "192.0.2.9:40000");
	}
}

/* Debian's `stun` and turnutils_natdiscovery do not pad. */
static void an_unpadded_change_gets_a_bare_answer(void **state)
{
	(void)state;
	serve(square, 8);
	for (unsigned classic = 0; classic < 2; classic++) {
		struct stun_msg request = binding(IP | PORT, 0, 0), m;
		size_t request_len, reply_len;

		request.classic = classic;
		request.classic_id = 0x01020304;
		struct stun_route route = ask(&request, A ":3478", "192.0.2.9:40000", &m, &request_len,
					      &reply_len);
		assert_addr(&route.server, B ":3479");
		assert_int_equal(reply_len, STUN_HEADER);
		assert_int_equal(m.cls, STUN_SUCCESS);
	}
}

static void a_padded_binding_gets_as_long_an_answer(void **state)
{
	(void)state;
	static const struct {
		uint16_t padding;
		size_t reply;
	} cases[] = { { 4, 56 },      { 32, 56 },     { 36, 56 },     { 40, 64 },     { 1, 56 },
		      { 1000, 1024 }, { 1447, 1472 }, { 1448, 1472 }, { 1476, 1500 }, { 0, 44 } };

	serve(square, 8);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct stun_msg request = binding(0, 0, cases[i].padding), m;
		size_t request_len, reply_len;

		ask(&request, A ":3478", "192.0.2.9:40000", &m, &request_len, &reply_len);
		assert_int_equal(reply_len, cases[i].reply);
		assert_addr(&m.mapped, "192.0.2.9:40000");
		assert_addr(&m.other_address, B ":3479");
	}
}

static void a_longer_request_than_we_would_send_gets_our_longest(void **state)
{
	(void)state;
	static uint8_t msg[4096], out[STUN_PADDED_MAX];
	struct stun_route route = { .server = addr_of(A ":3478"), .client = addr_of("192.0.2.9:1") };
	const struct stun_msg plain = binding(0, 0, 0);
	size_t len = (size_t)stun_encode(&plain, false, msg, sizeof msg);

	store_be16(msg + len, 0x0026);
	store_be16(msg + len + 2, (uint16_t)(sizeof msg - len - 4));
	store_be16(msg + 2, (uint16_t)(sizeof msg - STUN_HEADER));
	serve(square, 8);
	assert_int_equal(stun_server_reply(&server, msg, sizeof msg, &route, 0, out), STUN_PADDED_MAX);
}

/* RFC 3489: what Debian's `stun` sends first, and what it needs to know. */
static void a_client_of_rfc3489_is_answered(void **state)
{
	(void)state;
	static const uint8_t msg[] = { 0x00, 0x01, 0x00, 0x08, 0x01, 0xff, 0x51, 0x37, 0x64, 0x87,
				       0x73, 0x65, 0x5b, 0xb6, 0x8c, 0x21, 0x5e, 0xc4, 0x3a, 0x57,
				       0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00 };
	static const uint8_t want[] = { 0x01, 0x01, 0x00, 0x18, 0x01, 0xff, 0x51, 0x37, 0x64, 0x87, 0x73,
					0x65, 0x5b, 0xb6, 0x8c, 0x21, 0x5e, 0xc4, 0x3a, 0x57, /* header */
					0x00, 0x01, 0x00, 0x08, 0x00, 0x01, 0x9c, 0x40, 192,  0,    2,
					9, /* MAPPED-ADDRESS */
					0x00, 0x05, 0x00, 0x08, 0x00, 0x01, 0x0d, 0x97, 203,  0,    113,
					10 }; /* CHANGED-ADDRESS */
	struct stun_route route = { .server = addr_of(A ":3478"), .client = addr_of("192.0.2.9:40000") };
	uint8_t out[STUN_PADDED_MAX];

	serve(square, 8);
	assert_int_equal(stun_server_reply(&server, msg, sizeof msg, &route, 0, out), sizeof want);
	assert_memory_equal(out, want, sizeof want);

	route = (struct stun_route) { addr_of(A6 ":3478"), addr_of("[2001:db8::9]:40000") };
	assert_int_equal(stun_server_reply(&server, msg, sizeof msg, &route, 0, out), 0);
}

/* RESPONSE-ADDRESS of RFC 3489 would send the answer to anybody. */
static void a_response_address_is_refused(void **state)
{
	(void)state;
	struct stun_route route = { .server = addr_of(A ":3478"), .client = addr_of("192.0.2.9:40000") };
	uint8_t msg[STUN_MAX], out[STUN_PADDED_MAX];
	struct stun_msg m = binding(0, 40001, 0);

	m.classic = true;
	size_t len = (size_t)stun_encode(&m, false, msg, sizeof msg);
	store_be16(msg + STUN_HEADER, 0x0002);
	serve(square, 8);
	size_t n = stun_server_reply(&server, msg, len, &route, 0, out);
	assert_addr(&route.client, "192.0.2.9:40000");
	assert_int_equal(stun_decode_classic(&m, out, n), 0);
	assert_int_equal(m.error_code, 420);
}

static void diverted_answers_have_a_lower_budget_of_their_own(void **state)
{
	(void)state;
	unsigned diverted = 0, plain = 0;

	serve(square, 8);
	for (unsigned i = 0; i < STUN_SERVER_BURST / 2; i++) {
		struct stun_msg change = binding(IP, 0, 0), port = binding(0, 2000, 0), m;
		size_t request_len, reply_len;
		ask(i % 2 ? &change : &port, A ":3478", "192.0.2.9:40000", &m, &request_len, &reply_len);
		diverted += reply_len > 0;
	}
	for (unsigned i = 0; i < STUN_SERVER_BURST; i++) {
		struct stun_msg request = binding(0, 0, 0), m;
		size_t request_len, reply_len;
		ask(&request, A ":3478", "192.0.2.77:40000", &m, &request_len, &reply_len);
		plain += reply_len > 0;
	}
	assert_int_equal(diverted, STUN_SERVER_DIVERTED_BURST);
	assert_int_equal(plain, STUN_SERVER_BURST / 2);
}

static struct stun_msg random_request(struct rng *rng)
{
	struct stun_msg m = binding(rng_below(rng, 8), 0, 0);

	if (rng_below(rng, 2))
		m.response_port = (uint16_t)rng_u32(rng);
	if (rng_below(rng, 2))
		m.padding = (uint16_t)rng_below(rng, rng_below(rng, 2) ? 100 : STUN_PADDED_MAX - 200);
	m.classic = rng_below(rng, 2);
	m.classic_id = rng_u32(rng);
	if (rng_below(rng, 4) == 0)
		m.unknown_count = (uint8_t)rng_below(rng, STUN_MAX_UNKNOWN); /* encoded as a harmless list */
	if (rng_below(rng, 2)) {
		m.software = "software";
		m.software_len = rng_below(rng, 9);
	}
	return m;
}

static void no_reply_amplifies_or_goes_elsewhere(void **state)
{
	(void)state;
	uint8_t msg[STUN_PADDED_MAX], out[STUN_PADDED_MAX];
	struct rng rng;
	unsigned answered = 0;

	rng_init_seed(&rng, 11);
	serve(square, 8);
	for (unsigned i = 0; i < 100000; i++) {
		struct stun_msg request = random_request(&rng);
		bool v6 = rng_below(&rng, 2);
		struct stun_route in = { addr_of(square[rng_below(&rng, 4) + (v6 ? 4 : 0)]),
					 addr_of(v6 ? "[2001:db8::9]:40000" : "192.0.2.9:40000") };
		struct stun_route route = in;
		int len = stun_encode(&request, rng_below(&rng, 2), msg, sizeof msg);
		assert_true(len > 0);
		if (rng_below(&rng, 3) == 0 && len > STUN_HEADER)
			msg[STUN_HEADER + rng_below(&rng, (uint32_t)len - STUN_HEADER)] ^= (uint8_t)rng_u32(
				&rng);
		size_t n = stun_server_reply(&server, msg, (size_t)len, &route, i * 1000, out);
		struct stun_msg seen;
		if (!n)
			continue;
		answered++;
		assert_int_equal(request.classic ? stun_decode_classic(&seen, msg, (size_t)len)
						 : stun_decode(&seen, msg, (size_t)len),
				 0);
		bool plain = !(seen.change_request & (IP | PORT)) && !seen.response_port &&
			     !seen.unknown_count;
		assert_in_range(n, STUN_HEADER, (size_t)len + (plain ? STUN_SERVER_GROWTH : 0));
		assert_true(addr_same_ip(&route.client, &in.client));
		assert_true(route.client.port == in.client.port ||
			    (route.client.port == seen.response_port && route.client.port >= 1024));
		assert_int_equal(route.server.family, in.server.family);
	}
	assert_in_range(answered, 40000, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_answer_comes_from_where_it_was_asked_to),
		cmocka_unit_test(the_response_port_is_of_the_asking_address_and_not_a_system_port),
		cmocka_unit_test(an_unpadded_change_gets_a_bare_answer),
		cmocka_unit_test(a_padded_binding_gets_as_long_an_answer),
		cmocka_unit_test(a_longer_request_than_we_would_send_gets_our_longest),
		cmocka_unit_test(a_client_of_rfc3489_is_answered),
		cmocka_unit_test(a_response_address_is_refused),
		cmocka_unit_test(diverted_answers_have_a_lower_budget_of_their_own),
		cmocka_unit_test(no_reply_amplifies_or_goes_elsewhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
