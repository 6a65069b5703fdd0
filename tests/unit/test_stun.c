#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "nat/stun.h"

/* RFC 5769. All three have the same transaction id and the same short-term password. */
#define TXID "b7e7a701bc34d686fa87dfae"
static const char password[] = "VOkJxbRl1RmTxUk/WvJxBt";

static const char sample_request[] =
	"00010058 2112a442" TXID "80220010 5354554e207465737420636c69656e74" /* SOFTWARE "STUN test client" */
	"00240004 6e0001ff"						     /* PRIORITY */
	"80290008 932ff9b151263b36"					     /* ICE-CONTROLLED */
	"00060009 6576746a3a68367659 202020"				     /* USERNAME "evtj:h6vY" */
	"00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"		     /* MESSAGE-INTEGRITY */
	"80280004 e57a3bcf";						     /* FINGERPRINT */
static const char sample_ipv4_response[] = "0101003c 2112a442" TXID
					   "8022000b 7465737420766563746f72 20" /* SOFTWARE "test vector" */
					   "00200008 0001a147e112a643"		/* XOR-MAPPED-ADDRESS */
					   "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7"
					   "80280004 c07d4c96";
static const char sample_ipv6_response[] = "01010048 2112a442" TXID "8022000b 7465737420766563746f72 20"
					   "00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
					   "00080014 a382954e4be67bf11784c97c8292c275bfe3ed41"
					   "80280004 c8fb0b4c";

static size_t unhex(uint8_t *out, const char *hex)
{
	size_t len = 0;

	for (; *hex; hex += 2) {
		if (*hex == ' ')
			hex++;
		sscanf(hex, "%2hhx", &out[len++]);
	}
	return len;
}

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static void assert_addr(const struct addr *got, const char *want)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(got, text), want);
}

static void assert_text(const char *got, size_t len, const char *want)
{
	assert_int_equal(len, strlen(want));
	assert_memory_equal(got, want, len);
}

static void the_sample_request_of_rfc5769_is_understood(void **state)
{
	(void)state;
	uint8_t msg[STUN_MAX];
	size_t len = unhex(msg, sample_request);
	struct stun_msg m;

	assert_true(stun_is_message(msg, len));
	assert_int_equal(stun_decode(&m, msg, len), 0);
	assert_int_equal(m.cls, STUN_REQUEST);
	assert_int_equal(m.method, STUN_BINDING);
	assert_memory_equal(m.txid, msg + 8, STUN_TXID);
	assert_text(m.software, m.software_len, "STUN test client");
	assert_text(m.username, m.username_len, "evtj:h6vY");
	assert_true(m.has_fingerprint);
	assert_true(stun_check_integrity(&m, msg, password, strlen(password)));
	assert_false(stun_check_integrity(&m, msg, password, strlen(password) - 1));
	/* PRIORITY is ICE's, and we would have to know it; ICE-CONTROLLED may be passed over. */
	assert_int_equal(m.unknown_count, 1);
	assert_int_equal(m.unknown[0], 0x0024);
}

static void the_sample_responses_of_rfc5769_are_understood(void **state)
{
	(void)state;
	static const struct {
		const char *hex, *mapped;
	} cases[] = {
		{ sample_ipv4_response, "192.0.2.1:32853" },
		{ sample_ipv6_response, "[2001:db8:1234:5678:11:2233:4455:6677]:32853" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t msg[STUN_MAX];
		size_t len = unhex(msg, cases[i].hex);
		struct stun_msg m;

		assert_int_equal(stun_decode(&m, msg, len), 0);
		assert_int_equal(m.cls, STUN_SUCCESS);
		assert_int_equal(m.method, STUN_BINDING);
		assert_addr(&m.mapped, cases[i].mapped);
		assert_text(m.software, m.software_len, "test vector");
		assert_true(m.has_fingerprint);
		assert_true(stun_check_integrity(&m, msg, password, strlen(password)));
		assert_int_equal(m.unknown_count, 0);
	}
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	uint8_t msg[STUN_MAX];
	size_t len = unhex(msg, sample_request);
	struct stun_msg m;

	for (size_t cut = 0; cut < len; cut++) {
		assert_false(stun_is_message(msg, cut));
		assert_int_equal(stun_decode(&m, msg, cut), -EBADMSG);
	}
	/* With a length that fits, what is left may be a message, but not the one that was signed. */
	for (size_t cut = STUN_HEADER; cut < len; cut += 4) {
		store_be16(msg + 2, (uint16_t)(cut - STUN_HEADER));
		if (stun_decode(&m, msg, cut) == 0)
			assert_false(m.has_fingerprint);
	}
}

static void no_bit_flip_passes_fingerprint_or_integrity(void **state)
{
	(void)state;
	static const char *const samples[] = { sample_request, sample_ipv4_response, sample_ipv6_response };

	for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
		uint8_t msg[STUN_MAX];
		size_t len = unhex(msg, samples[i]), signed_bits = (len - 8) * 8;
		struct stun_msg m;

		for (size_t bit = 0; bit < len * 8; bit++) {
			msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (stun_decode(&m, msg, len) == 0) {
				assert_false(m.has_fingerprint);
				if (bit < signed_bits)
					assert_false(
						stun_check_integrity(&m, msg, password, strlen(password)));
			}
			msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void other_protocols_on_the_port_are_told_apart(void **state)
{
	(void)state;
	uint8_t msg[STUN_HEADER + 4] = { 0 };

	store_be16(msg + 2, 4);
	store_be32(msg + 4, 0x2112a442);
	assert_true(stun_is_message(msg, sizeof msg));
	msg[0] = 0x40; /* the two highest bits must be zero */
	assert_false(stun_is_message(msg, sizeof msg));
	msg[0] = 0x80;
	assert_false(stun_is_message(msg, sizeof msg));
	msg[0] = 0;
	msg[4] ^= 1; /* magic cookie */
	assert_false(stun_is_message(msg, sizeof msg));
	msg[4] ^= 1;
	assert_false(stun_is_message(msg, sizeof msg - 4)); /* length */
	assert_false(stun_is_message(msg, STUN_HEADER - 1));
}

static void what_is_encoded_is_decoded(void **state)
{
	(void)state;
	static const struct {
		enum stun_class cls;
		uint16_t method;
		const char *mapped, *other, *origin;
		uint32_t change_request;
		uint16_t error_code, response_port, padding;
		const char *software, *username;
	} cases[] = {
		{ STUN_REQUEST, STUN_BINDING },
		{ STUN_INDICATION, STUN_BINDING },
		{ STUN_SUCCESS, STUN_BINDING, "192.0.2.1:1" },
		{ STUN_SUCCESS, STUN_BINDING, "[2001:db8::1]:65535" },
		{ STUN_SUCCESS, STUN_BINDING, "1.2.3.4:5", "5.6.7.8:9", "[2001:db8::2]:3478" },
		{ STUN_ERROR, STUN_BINDING, .error_code = 420 },
		{ STUN_ERROR, STUN_BINDING, .error_code = 300 },
		{ STUN_ERROR, STUN_BINDING, .error_code = 699 },
		{ STUN_REQUEST, STUN_BINDING, .change_request = 6, .software = "s", .username = "user" },
		{ STUN_REQUEST, STUN_BINDING, .response_port = 65535, .padding = 1 },
		{ STUN_REQUEST, STUN_BINDING, .change_request = 2, .padding = 500 },
		{ STUN_ERROR, 0xfff },
		{ STUN_SUCCESS, 0x555 },
		{ STUN_INDICATION, 0xaaa },
	};

	for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
		size_t c = i / 2;
		bool fingerprint = i % 2;
		uint8_t msg[STUN_MAX];
		struct stun_msg got, m = {
			.cls = cases[c].cls,
			.method = cases[c].method,
			.change_request = cases[c].change_request,
			.error_code = cases[c].error_code,
			.response_port = cases[c].response_port,
			.padding = cases[c].padding,
			.software = cases[c].software,
			.software_len = cases[c].software ? strlen(cases[c].software) : 0,
			.username = cases[c].username,
			.username_len = cases[c].username ? strlen(cases[c].username) : 0,
		};

		memset(m.txid, 0x5a, sizeof m.txid);
		m.mapped = cases[c].mapped ? addr_of(cases[c].mapped) : m.mapped;
		m.other_address = cases[c].other ? addr_of(cases[c].other) : m.other_address;
		m.response_origin = cases[c].origin ? addr_of(cases[c].origin) : m.response_origin;
		int len = stun_encode(&m, fingerprint, msg, sizeof msg);
		assert_in_range(len, STUN_HEADER, STUN_MAX);
		assert_int_equal(stun_decode(&got, msg, (size_t)len), 0);
		assert_int_equal(got.cls, m.cls);
		assert_int_equal(got.method, m.method);
		assert_memory_equal(got.txid, m.txid, STUN_TXID);
		assert_true(addr_equal(&got.mapped, &m.mapped));
		assert_true(addr_equal(&got.other_address, &m.other_address));
		assert_true(addr_equal(&got.response_origin, &m.response_origin));
		assert_int_equal(got.change_request, m.change_request);
		assert_int_equal(got.error_code, m.error_code);
		assert_int_equal(got.response_port, m.response_port);
		assert_int_equal(got.padding, m.padding);
		assert_int_equal(got.has_fingerprint, fingerprint);
		assert_text(got.software, got.software_len, cases[c].software ? cases[c].software : "");
		assert_text(got.username, got.username_len, cases[c].username ? cases[c].username : "");
	}
}

static void encoding_refuses_what_does_not_fit(void **state)
{
	(void)state;
	uint8_t msg[2 * STUN_MAX];
	char text[2 * STUN_MAX] = { 0 };
	struct stun_msg m = { .cls = STUN_SUCCESS, .method = STUN_BINDING, .mapped = addr_of("1.2.3.4:5") };
	size_t whole = (size_t)stun_encode(&m, true, msg, sizeof msg);

	for (size_t cap = 0; cap < whole; cap++)
		assert_int_equal(stun_encode(&m, true, msg, cap), -EINVAL);
	assert_int_equal(stun_encode(&m, true, msg, whole), whole);
	m.software = text;
	m.software_len = STUN_MAX;
	assert_int_equal(stun_encode(&m, false, msg, sizeof msg), -EINVAL);
}

static void only_padding_makes_a_message_long(void **state)
{
	(void)state;
	uint8_t msg[STUN_PADDED_MAX + 100];
	struct stun_msg got, m = { .cls = STUN_REQUEST, .method = STUN_BINDING };

	m.padding = STUN_PADDED_MAX - STUN_HEADER - 4;
	assert_int_equal(stun_encode(&m, false, msg, sizeof msg), STUN_PADDED_MAX);
	assert_int_equal(stun_decode(&got, msg, STUN_PADDED_MAX), 0);
	assert_int_equal(got.padding, m.padding);
	assert_int_equal(stun_encode(&m, false, msg, STUN_PADDED_MAX - 1), -EINVAL);
	assert_int_equal(stun_encode(&m, true, msg, sizeof msg), -EINVAL);
	m.padding++;
	assert_int_equal(stun_encode(&m, false, msg, sizeof msg), -EINVAL);
}

static void a_message_of_rfc3489_keeps_its_whole_transaction_id(void **state)
{
	(void)state;
	uint8_t msg[STUN_MAX];
	struct stun_msg got, m = { .cls = STUN_SUCCESS,
				   .method = STUN_BINDING,
				   .classic = true,
				   .classic_id = 0xa1b2c3d4,
				   .mapped = addr_of("1.2.3.4:5"),
				   .response_origin = addr_of("5.6.7.8:9"),
				   .other_address = addr_of("9.8.7.6:5") };
	uint8_t want[STUN_MAX];
	size_t want_len = unhex(want, "01010024 a1b2c3d4 000000000000000000000000 00010008 0001000501020304"
				      "00040008 0001000905060708 00050008 0001000509080706");
	size_t len = (size_t)stun_encode(&m, false, msg, sizeof msg);

	assert_int_equal(len, want_len);
	assert_memory_equal(msg, want, len);
	assert_false(stun_is_message(msg, len));
	assert_int_equal(stun_decode(&got, msg, len), -EBADMSG);
	assert_int_equal(stun_decode_classic(&got, msg, len), 0);
	assert_true(got.classic);
	assert_int_equal(got.classic_id, m.classic_id);
	assert_addr(&got.mapped, "1.2.3.4:5");
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(stun_decode_classic(&got, msg, cut), -EBADMSG);
	store_be32(msg + 4, 0x2112a442);
	assert_int_equal(stun_decode_classic(&got, msg, len), -EBADMSG);
}

/* A Binding success with these attributes. */
static size_t message(uint8_t *msg, const char *attributes)
{
	size_t len = unhex(msg, "01010000 2112a442" TXID);

	len += unhex(msg + len, attributes);
	store_be16(msg + 2, (uint16_t)(len - STUN_HEADER));
	return len;
}

static void malformed_attributes_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *attributes;
		int want;
	} cases[] = {
		{ "", 0 },
		{ "00010008 0001 0050 01020304", 0 },
		{ "00010008 0003 0050 01020304", -EBADMSG },  /* family 3 */
		{ "00010008 0002 0050 01020304", -EBADMSG },  /* IPv6 in 4 bytes */
		{ "00010007 0001 0050 010203 00", -EBADMSG }, /* IPv4 in 3 */
		{ "00010004 0001 0050", -EBADMSG },	      /* no address */
		{ "00010000", -EBADMSG },
		{ "00200018 0002 0050 00112233445566778899aabbccddeeff 01020304", -EBADMSG },
		{ "00030004 00000006", 0 },
		{ "00030002 0006 0000", -EBADMSG },
		{ "00270004 9c40 0000", 0 },
		{ "00270002 9c40 0000", 0 },
		{ "00270003 9c4000 00", -EBADMSG },
		{ "00270008 9c400000 00000000", -EBADMSG },
		{ "00260000", 0 },
		{ "00260005 0000000000 000000", 0 },
		{ "00260005 00000000", -EBADMSG }, /* beyond the end */
		{ "00090004 00000414", 0 },
		{ "00090008 00000414 4f6f7073", 0 }, /* with a phrase */
		{ "00090004 00000214", -EBADMSG },   /* 2xx */
		{ "00090004 00000714", -EBADMSG },   /* 7xx */
		{ "00090004 00000464", -EBADMSG },   /* 4 and 100 */
		{ "00090003 000004 00", -EBADMSG },
		{ "00080014 0000000000000000000000000000000000000000", 0 },
		{ "00080010 00000000000000000000000000000000", -EBADMSG },
		{ "80280004 00000000", -EBADMSG }, /* wrong fingerprint */
		{ "80280002 0000 0000", -EBADMSG },
		{ "80220000", 0 },
		{ "80220005 00000000", -EBADMSG }, /* beyond the end */
		{ "8022ffff 00000000", -EBADMSG },
		{ "80ff0004 00000000", 0 }, /* unknown, to be passed over */
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t msg[STUN_MAX];
		size_t len = message(msg, cases[i].attributes);
		struct stun_msg m;

		assert_int_equal(stun_decode(&m, msg, len), cases[i].want);
	}
}

static void xor_mapped_address_wins_in_either_order(void **state)
{
	(void)state;
	static const char *const orders[] = {
		"00200008 0001a147e112a643 00010008 0001 0050 01020304",
		"00010008 0001 0050 01020304 00200008 0001a147e112a643",
	};
	uint8_t msg[STUN_MAX];
	struct stun_msg m;

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(stun_decode(&m, msg, message(msg, orders[i])), 0);
		assert_addr(&m.mapped, "192.0.2.1:32853");
	}
	assert_int_equal(stun_decode(&m, msg, message(msg, "00010008 0001 0050 01020304")), 0);
	assert_addr(&m.mapped, "1.2.3.4:80");
}

static void an_ipv4_mapped_address_becomes_ipv4(void **state)
{
	(void)state;
	uint8_t msg[STUN_MAX];
	struct stun_msg m;

	assert_int_equal(
		stun_decode(&m, msg, message(msg, "00010014 0002 0050 00000000000000000000ffff01020304")), 0);
	assert_addr(&m.mapped, "1.2.3.4:80");
}

static void what_follows_message_integrity_is_ignored(void **state)
{
	(void)state;
	uint8_t msg[STUN_MAX];
	struct stun_msg m;

	size_t len = message(msg, "00080014 0000000000000000000000000000000000000000"
				  "00010008 0001 0050 01020304 7fff0000");
	assert_int_equal(stun_decode(&m, msg, len), 0);
	assert_int_equal(m.mapped.family, ADDR_NONE);
	assert_int_equal(m.unknown_count, 0);
}

static void nothing_may_follow_the_fingerprint(void **state)
{
	(void)state;
	uint8_t msg[STUN_MAX];
	struct stun_msg m = { .cls = STUN_SUCCESS, .method = STUN_BINDING };
	size_t len = (size_t)stun_encode(&m, true, msg, sizeof msg);

	store_be32(msg + len, 0x80220000);
	store_be16(msg + 2, (uint16_t)(len + 4 - STUN_HEADER));
	assert_int_equal(stun_decode(&m, msg, len + 4), -EBADMSG);
}

static void unknown_attributes_are_listed_if_they_must_be_understood(void **state)
{
	(void)state;
	uint8_t msg[STUN_MAX];
	struct stun_msg m;

	assert_int_equal(stun_decode(&m, msg, message(msg, "7fff0000 80ff0000 00240000 0014000161000000")),
			 0);
	assert_int_equal(m.unknown_count, 2);
	assert_int_equal(m.unknown[0], 0x7fff);
	assert_int_equal(m.unknown[1], 0x0024);

	char many[STUN_MAX_UNKNOWN * 2 * 8 + 1] = "";
	for (size_t i = 0; i < STUN_MAX_UNKNOWN * 2; i++)
		strcat(many, "7f000000");
	assert_int_equal(stun_decode(&m, msg, message(msg, many)), 0);
	assert_int_equal(m.unknown_count, STUN_MAX_UNKNOWN);
}

static void integrity_of_an_oversized_message_is_not_believed(void **state)
{
	(void)state;
	static uint8_t msg[4 * STUN_MAX];
	struct stun_msg m;
	size_t len = message(msg, ""), text = 2 * STUN_MAX;

	store_be16(msg + len, 0x8022);
	store_be16(msg + len + 2, (uint16_t)text);
	len += 4 + text;
	store_be32(msg + len, 0x00080014);
	len += 24;
	store_be16(msg + 2, (uint16_t)(len - STUN_HEADER));
	assert_int_equal(stun_decode(&m, msg, len), 0);
	assert_false(stun_check_integrity(&m, msg, password, strlen(password)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sample_request_of_rfc5769_is_understood),
		cmocka_unit_test(the_sample_responses_of_rfc5769_are_understood),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(no_bit_flip_passes_fingerprint_or_integrity),
		cmocka_unit_test(other_protocols_on_the_port_are_told_apart),
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(encoding_refuses_what_does_not_fit),
		cmocka_unit_test(only_padding_makes_a_message_long),
		cmocka_unit_test(a_message_of_rfc3489_keeps_its_whole_transaction_id),
		cmocka_unit_test(malformed_attributes_are_refused),
		cmocka_unit_test(xor_mapped_address_wins_in_either_order),
		cmocka_unit_test(an_ipv4_mapped_address_becomes_ipv4),
		cmocka_unit_test(what_follows_message_integrity_is_ignored),
		cmocka_unit_test(nothing_may_follow_the_fingerprint),
		cmocka_unit_test(unknown_attributes_are_listed_if_they_must_be_understood),
		cmocka_unit_test(integrity_of_an_oversized_message_is_not_believed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
