#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/pcp.h"

static const uint8_t nonce[PCP_NONCE] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static struct pcp_map map_of(const char *client)
{
	struct pcp_map m = { .client = at(client), .lifetime_s = 7200, .suggested = { .port = 41000 } };

	memcpy(m.nonce, nonce, sizeof nonce);
	return m;
}

/* RFC 6887 figures 2, 3, 9 and 10, byte by byte. */
static const uint8_t request4[PCP_MAP_LEN] = {
	2,   1,	  0, 0,	 0,    0,    0x1c, 0x20, /* version, MAP, lifetime 7200 */
	0,   0,	  0, 0,	 0,    0,    0,	   0,	 0, 0,	0xff, 0xff,
	192, 168, 1, 20,					  /* client */
	1,   2,	  3, 4,	 5,    6,    7,	   8,	 9, 10, 11,   12, /* nonce */
	17,  0,	  0, 0,	 0xa0, 0x28, 0xa0, 0x28,		  /* UDP, ports 41000 */
	0,   0,	  0, 0,	 0,    0,    0,	   0,	 0, 0,	0xff, 0xff,
	0,   0,	  0, 0, /* any external IPv4 address */
};
static const uint8_t response4[PCP_MAP_LEN] = {
	2,  0x81, 0,	0,    0,    0,	  0x0e, 0x10, /* success, lifetime 3600 */
	0,  0,	  0x01, 0x00, 0,    0,	  0,	0,    0, 0,  0,	   0,	 0,   0, 0,   0, /* epoch 256 */
	1,  2,	  3,	4,    5,    6,	  7,	8,    9, 10, 11,   12,			 /* nonce */
	17, 0,	  0,	0,    0xa0, 0x28, 0xa0, 0x29, /* UDP, 41000 -> 41001 */
	0,  0,	  0,	0,    0,    0,	  0,	0,    0, 0,  0xff, 0xff, 203, 0, 113, 5,
};

static void a_map_request_is_written_as_the_rfc_draws_it(void **state)
{
	(void)state;
	struct pcp_map m = map_of("192.168.1.20:41000");
	uint8_t out[PCP_MAP_LEN];

	pcp_encode_map(&m, out);
	assert_memory_equal(out, request4, sizeof request4);
	m.suggested = at("203.0.113.5:7");
	pcp_encode_map(&m, out);
	assert_memory_equal(out + 42, "\0\7\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\5", 18);
}

static void a_pinhole_is_asked_for_by_the_ipv6_address(void **state)
{
	(void)state;
	static const uint8_t zero[16];
	struct pcp_map m = map_of("[2001:db8::20]:41000");
	uint8_t out[PCP_MAP_LEN];

	pcp_encode_map(&m, out);
	assert_memory_equal(out + 8, m.client.ip, 16);
	assert_memory_equal(out + 44, zero, 16);
}

static void a_response_is_read(void **state)
{
	(void)state;
	struct pcp_response r;
	struct addr external = at("203.0.113.5:41001");

	assert_int_equal(pcp_decode(&r, response4, sizeof response4), 0);
	assert_int_equal(r.opcode, PCP_MAP);
	assert_int_equal(r.result, PCP_SUCCESS);
	assert_int_equal(r.lifetime_s, 3600);
	assert_int_equal(r.epoch_s, 256);
	assert_memory_equal(r.nonce, nonce, sizeof nonce);
	assert_int_equal(r.internal_port, 41000);
	assert_true(addr_equal(&r.external, &external));
}

/* A byte of the response is another, or it has another length. */
static void what_is_no_response_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
		size_t len;
	} cases[] = {
		{ "a request", 1, 0x01, 60 },
		{ "an opcode that we never sent", 1, 0x82, 60 },
		{ "another version that is none to fall back to", 0, 1, 60 },
		{ "TCP", 36, 6, 60 },
		{ "no header", 0, 2, 20 },
		{ "cut off", 0, 2, 56 },
		{ "no multiple of four bytes", 0, 2, 61 },
		{ "nothing", 0, 2, 0 },
		{ "longer than the RFC allows", 0, 2, 1104 },
	};
	uint8_t msg[1200];
	struct pcp_response r;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		memset(msg, 0, sizeof msg);
		memcpy(msg, response4, sizeof response4);
		msg[cases[i].at] = cases[i].value;
		if (pcp_decode(&r, msg, cases[i].len) != -EBADMSG)
			fail_msg("taken: %s", cases[i].what);
	}
}

static void an_announcement_is_a_header(void **state)
{
	(void)state;
	uint8_t msg[24] = { 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9 };
	struct pcp_response r;

	assert_int_equal(pcp_decode(&r, msg, sizeof msg), 0);
	assert_int_equal(r.opcode, PCP_ANNOUNCE);
	assert_int_equal(r.epoch_s, 9);
}

/* RFC 6887 section 8.5. */
static void epochs_tell_whether_the_gateway_forgot(void **state)
{
	(void)state;
	static const struct {
		uint32_t first, then, elapsed_s;
		bool valid;
	} cases[] = {
		{ 1000, 1000, 0, true },    { 1000, 1100, 100, true },
		{ 1000, 999, 0, true },	   /* overtaken on the way */
		{ 1000, 998, 0, false },   /* went back */
		{ 1000, 0, 100, false },   /* started anew */
		{ 1000, 1096, 100, true }, /* within a sixteenth and two seconds */
		{ 1000, 1091, 100, false }, { 1000, 1108, 100, true },
		{ 1000, 1110, 100, false }, { 0, 4000000000u, 4000000000u, true },
		{ 1000, 1002, 0, true },    { 1000, 1005, 0, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pcp_epoch e = { 0 };
		uint64_t now = 5000;

		assert_true(pcp_epoch_note(&e, cases[i].first, now));
		now += cases[i].elapsed_s * 1000ull;
		if (pcp_epoch_note(&e, cases[i].then, now) != cases[i].valid)
			fail_msg("epoch %u after %u in %u s", cases[i].then, cases[i].first,
				 cases[i].elapsed_s);
		assert_true(pcp_epoch_note(&e, cases[i].then, now)); /* noted either way */
	}
}

static void requests_are_repeated_ever_less_often(void **state)
{
	(void)state;
	struct pcp_map m = map_of("192.168.1.20:41000");
	struct pcp_client c = { 0 };
	uint8_t out[PCP_MAP_LEN];
	uint64_t now = 1000;

	assert_int_equal(pcp_client_next(&c, now, out), 0);
	assert_true(pcp_client_deadline(&c) == UINT64_MAX);
	pcp_client_start(&c, &m, now);
	for (unsigned wait = 250; wait <= 4000; wait *= 2) {
		assert_int_equal(pcp_client_deadline(&c), now);
		assert_int_equal(pcp_client_next(&c, now, out), PCP_MAP_LEN);
		assert_memory_equal(out, request4, sizeof request4);
		assert_int_equal(pcp_client_next(&c, now + wait - 1, out), 0);
		now += wait;
	}
	for (int i = 0; i < 40; i++) {
		assert_int_equal(pcp_client_next(&c, pcp_client_deadline(&c), out), PCP_MAP_LEN);
		assert_true(pcp_client_deadline(&c) > now);
	}
}

/* A byte of the answer is another; what then becomes of the request. */
static void only_the_awaited_answer_counts(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
		enum pcp_client_state then;
	} cases[] = {
		{ "the answer", 0, 2, PCP_DONE },	 { "somebody else's nonce", 24, 99, PCP_WAITING },
		{ "another port", 41, 99, PCP_WAITING }, { "not authorized", 3, 2, PCP_FAILED },
		{ "no resources", 3, 8, PCP_FAILED },	 { "a lease of nothing", 6, 0, PCP_DONE },
		{ "no address", 54, 0, PCP_FAILED }, /* no IPv4 address, that is */
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pcp_map m = map_of("192.168.1.20:41000");
		struct pcp_client c;
		uint8_t out[PCP_MAP_LEN], msg[PCP_MAP_LEN];

		pcp_client_start(&c, &m, 0);
		pcp_client_next(&c, 0, out);
		memcpy(msg, response4, sizeof msg);
		msg[cases[i].at] = cases[i].value;
		bool taken = pcp_client_on_message(&c, msg, sizeof msg);
		if (c.state != cases[i].then || taken != (cases[i].then != PCP_WAITING))
			fail_msg("%s: state %d", cases[i].what, c.state);
	}
}

/* It says so in its own version's form: 8 bytes (RFC 6886 section 3.5). */
static void a_gateway_of_natpmp_alone_refuses_the_version(void **state)
{
	(void)state;
	static const uint8_t msg[] = { 0, 0x81, 0, 1, 0, 0, 0, 7 };
	struct pcp_map m = map_of("192.168.1.20:41000");
	struct pcp_client c;

	pcp_client_start(&c, &m, 0);
	assert_false(pcp_client_on_message(&c, msg, 7));
	assert_true(pcp_client_on_message(&c, msg, sizeof msg));
	assert_int_equal(c.state, PCP_FAILED);
	assert_int_equal(c.response.result, PCP_UNSUPP_VERSION);
}

static void a_mapping_that_ends_needs_no_address(void **state)
{
	(void)state;
	struct pcp_map m = map_of("192.168.1.20:41000");
	struct pcp_client c;
	uint8_t msg[PCP_MAP_LEN];

	m.lifetime_s = 0;
	memcpy(msg, response4, sizeof msg);
	memset(msg + 4, 0, 4);
	memset(msg + 42, 0, 18);
	pcp_client_start(&c, &m, 0);
	assert_true(pcp_client_on_message(&c, msg, sizeof msg));
	assert_int_equal(c.state, PCP_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_map_request_is_written_as_the_rfc_draws_it),
		cmocka_unit_test(a_pinhole_is_asked_for_by_the_ipv6_address),
		cmocka_unit_test(a_response_is_read),
		cmocka_unit_test(what_is_no_response_is_refused),
		cmocka_unit_test(an_announcement_is_a_header),
		cmocka_unit_test(epochs_tell_whether_the_gateway_forgot),
		cmocka_unit_test(requests_are_repeated_ever_less_often),
		cmocka_unit_test(only_the_awaited_answer_counts),
		cmocka_unit_test(a_gateway_of_natpmp_alone_refuses_the_version),
		cmocka_unit_test(a_mapping_that_ends_needs_no_address),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
