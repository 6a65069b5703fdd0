#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/member.h"

enum { NOW = MEMBER_BORN + 10 * MEMBER_DAY };

static struct network net, wrong;
static struct member m;

static int set_up(void **state)
{
	(void)state;
	member_network(&net, "home");
	member_network(&wrong, "office");
	member_make(&m, &net, 1);
	return 0;
}

static int check(const uint8_t *in, size_t len, uint64_t unix_s)
{
	struct cert c;
	int rc = cert_decode(&c, in, len);

	return rc ? rc : cert_verify(&c, in, len, &net, unix_s);
}

/* Issues a changed copy of m's certificate. */
static int reissue(const struct cert *c, const struct network *by, uint8_t out[static CERT_MAX])
{
	struct cert copy = *c;

	return cert_issue(&copy, by, out);
}

/* m's genuine encoding, but another idea of what it says. */
static int verify_as_it_stands(const struct cert *c, uint64_t unix_s)
{
	return cert_verify(c, m.encoded, m.len, &net, unix_s);
}

static struct cert fullest(void)
{
	struct cert c = m.cert;

	memset(c.name, 'x', CERT_NAME_MAX);
	c.name[CERT_NAME_MAX] = 0;
	c.flags = 0xa1b2c3d4;
	c.group_count = CERT_MAX_GROUPS;
	c.route_count = CERT_MAX_ROUTES;
	for (uint16_t i = 0; i < CERT_MAX_GROUPS; i++)
		c.groups[i] = (uint16_t)(i * 1001);
	for (uint8_t i = 0; i < CERT_MAX_ROUTES; i++) {
		c.routes[i].prefix = member_addr(i % 2 ? "fd12:3456::" : "192.168.0.0");
		c.routes[i].prefix.ip[2] = i;
		c.routes[i].bits = i % 2 ? 128 : 32;
	}
	return c;
}

static void what_is_issued_verifies_and_reads_back(void **state)
{
	(void)state;
	for (int full = 0; full < 2; full++) {
		struct cert c = full ? fullest() : m.cert, got;
		uint8_t out[CERT_MAX];
		int len = cert_issue(&c, &net, out);
		assert_true(len > 0 && len <= CERT_MAX);
		assert_int_equal(cert_decode(&got, out, (size_t)len), 0);
		assert_memory_equal(&got, &c, sizeof c);
		assert_int_equal(cert_verify(&got, out, (size_t)len, &net, NOW), 0);
	}
}

static void the_issuer_fills_in_what_the_network_decides(void **state)
{
	(void)state;
	struct addr ip6;

	network_ip6(&net, m.wk, &ip6);
	assert_memory_equal(m.cert.netid, net.netid, 32);
	assert_memory_equal(m.cert.issuer, net.root_pk, 32);
	assert_true(addr_equal(&m.cert.ip6, &ip6));
}

static void an_address_is_optional(void **state)
{
	(void)state;
	struct cert c = m.cert, got;
	uint8_t out[CERT_MAX];

	c.ip4 = (struct addr) { 0 };
	int len = cert_issue(&c, &net, out);
	assert_int_equal(cert_decode(&got, out, (size_t)len), 0);
	assert_int_equal(got.ip4.family, ADDR_NONE);
}

static void every_flipped_bit_is_refused(void **state)
{
	(void)state;
	uint8_t bad[CERT_MAX];

	assert_int_equal(check(m.encoded, m.len, NOW), 0);
	memcpy(bad, m.encoded, m.len);
	for (size_t bit = 0; bit < m.len * 8; bit++) {
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(check(bad, m.len, NOW) < 0);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void every_truncation_and_any_extra_byte_is_refused(void **state)
{
	(void)state;
	struct cert c = fullest();
	uint8_t out[CERT_MAX + 1] = { 0 };
	size_t len = (size_t)cert_issue(&c, &net, out);

	for (size_t n = 0; n < len; n++) {
		uint8_t *exact = malloc(n + 1);
		memcpy(exact + 1, out, n);
		assert_int_equal(cert_decode(&c, exact + 1, n), -EBADMSG);
		free(exact);
	}
	assert_int_equal(cert_decode(&c, out, len), 0);
	for (size_t n = len + 1; n <= sizeof out; n++)
		assert_int_equal(cert_decode(&c, out, n), -EBADMSG);
}

static void another_networks_certificate_is_refused(void **state)
{
	(void)state;
	struct member stranger;
	struct cert c;

	member_make(&stranger, &wrong, 1);
	assert_int_equal(check(stranger.encoded, stranger.len, NOW), -EPERM);
	assert_int_equal(cert_decode(&c, stranger.encoded, stranger.len), 0);
	assert_int_equal(cert_verify(&c, stranger.encoded, stranger.len, &wrong, NOW), 0);
}

/* A member of another network claims ours, in every way that leaves its own signature valid. */
static void a_stranger_cannot_sign_for_us(void **state)
{
	(void)state;
	struct network forger = wrong;
	uint8_t out[CERT_MAX];

	memcpy(forger.netid, net.netid, 32);
	assert_int_equal(check(out, (size_t)reissue(&m.cert, &forger, out), NOW), -EPERM);
	memcpy(forger.root_pk, net.root_pk, 32);
	assert_int_equal(check(out, (size_t)reissue(&m.cert, &forger, out), NOW), -EPERM);
}

static void each_claim_is_checked_against_the_network(void **state)
{
	(void)state;
	struct cert c = m.cert;

	assert_int_equal(verify_as_it_stands(&c, NOW), 0);
	c.netid[31] ^= 1;
	assert_int_equal(verify_as_it_stands(&c, NOW), -EPERM);
	c = m.cert;
	c.issuer[0] ^= 1;
	assert_int_equal(verify_as_it_stands(&c, NOW), -EPERM);
	c = m.cert;
	c.ip6.ip[15] ^= 1;
	assert_int_equal(verify_as_it_stands(&c, NOW), -EPERM);
	c = m.cert;
	c.wk[0] ^= 1;
	assert_int_equal(verify_as_it_stands(&c, NOW), -EPERM);
}

static void a_certificate_is_valid_in_its_time_and_a_day_before(void **state)
{
	(void)state;
	static const struct {
		uint64_t now;
		int want;
	} cases[] = {
		{ 0, -EKEYEXPIRED },
		{ MEMBER_BORN - MEMBER_DAY - 1, -EKEYEXPIRED },
		{ MEMBER_BORN - MEMBER_DAY, 0 },
		{ MEMBER_BORN, 0 },
		{ MEMBER_DIES, 0 },
		{ MEMBER_DIES + 1, -EKEYEXPIRED },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(check(m.encoded, m.len, cases[i].now), cases[i].want);
}

static void what_no_decoder_takes_is_not_issued(void **state)
{
	(void)state;
	static const char *const names[] = { "",     "-a",   "a-", ".a",  "a.",	 "a..b",
					     "a.-b", "a-.b", "A",  "a b", "a_b", "\xc3\xa9" };
	static const char *const addrs[] = { "0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255",
					     "fd00::1" };
	uint8_t out[CERT_MAX];
	struct cert c;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		c = m.cert;
		strcpy(c.name, names[i]);
		assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
	}
	for (size_t i = 0; i < sizeof addrs / sizeof *addrs; i++) {
		c = m.cert;
		c.ip4 = member_addr(addrs[i]);
		assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
	}
	c = m.cert;
	memset(c.name, 'x', sizeof c.name);
	assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
	c = m.cert;
	c.group_count = CERT_MAX_GROUPS + 1;
	assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
	c = m.cert;
	c.route_count = CERT_MAX_ROUTES + 1;
	assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
	c = m.cert;
	c.route_count = 1; /* of no family */
	assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
	c.routes[0] = (struct cert_route) { member_addr("10.0.0.0"), 33 };
	assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
	c.routes[0] = (struct cert_route) { member_addr("fd00::"), 129 };
	assert_int_equal(cert_issue(&c, &net, out), -EINVAL);
}

/* Signed by the root itself, so that only the form can be the reason. */
static void a_second_encoding_of_the_same_is_refused(void **state)
{
	(void)state;
	enum { ROUTE = 1 + 1 + 32 + 16 + 32 + 32 + 8 + 8 + 16 + 4 + 1 + 6 + 1 + 1, IP6 = 130, NAME = 151 };
	struct cert c = m.cert, got;
	uint8_t out[CERT_MAX];

	c.route_count = 1;
	c.routes[0] = (struct cert_route) { member_addr("10.0.0.0"), 8 };
	size_t len = (size_t)cert_issue(&c, &net, out);
	assert_int_equal(out[ROUTE], ADDR_V4);
	assert_memory_equal(out + IP6, c.ip6.ip, 16);
	assert_memory_equal(out + NAME, "node-1", 6);
	assert_int_equal(cert_decode(&got, out, len), 0);
	out[ROUTE + 2 + 15] = 1; /* behind an IPv4 prefix */
	assert_int_equal(cert_decode(&got, out, len), -EBADMSG);
	memset(out + ROUTE + 2, 0, 16);
	memset(out + ROUTE + 2 + 10, 0xff, 2);
	out[ROUTE] = ADDR_V6; /* IPv4-mapped */
	assert_int_equal(cert_decode(&got, out, len), -EBADMSG);
	len = (size_t)cert_issue(&c, &net, out);
	memset(out + IP6, 0, 16);
	memset(out + IP6 + 10, 0xff, 2);
	assert_int_equal(cert_decode(&got, out, len), -EBADMSG);
	len = (size_t)cert_issue(&c, &net, out);
	out[NAME + 5] = 0;
	assert_int_equal(cert_decode(&got, out, len), -EBADMSG);
}

static void names_are_made_to_fit(void **state)
{
	(void)state;
	static const struct {
		const char *wish, *want;
	} cases[] = {
		{ "nas", "nas" },
		{ "NAS", "nas" },
		{ "Anna's Laptop", "anna-s-laptop" },
		{ "b\xc3\xbcro", "b-ro" },
		{ "\xe5\xae\xb6", "node" },
		{ "", "node" },
		{ "---", "node" },
		{ "..", "node" },
		{ "host.example.org.", "host.example.org" },
		{ ".a..b-.c.-d-", "a.b.c.d" },
		{ "xn--bro-hoa", "xn--bro-hoa" },
		{ "a\nb\x1b[31m", "a-b--31m" },
		{ "0123456789012345678901234567890123456789012345678901234567890123456789",
		  "012345678901234567890123456789012345678901234567890123456789012" },
		{ "01234567890123456789012345678901234567890123456789012345678901-34",
		  "01234567890123456789012345678901234567890123456789012345678901" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char out[CERT_NAME_MAX + 1];
		cert_name_from(out, cases[i].wish);
		assert_string_equal(out, cases[i].want);
	}
}

static void every_name_that_is_made_can_be_issued(void **state)
{
	(void)state;
	static const char alphabet[] = "aZ9-._ \xc3\xbc";
	struct cert c = m.cert;
	uint8_t out[CERT_MAX];
	struct rng rng;

	rng_init_seed(&rng, 1);
	for (unsigned n = 0; n < 500; n++) {
		char wish[100] = "";
		for (uint32_t i = 0, len = rng_below(&rng, 90); i < len; i++)
			wish[i] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
		cert_name_from(c.name, wish);
		if (cert_issue(&c, &net, out) < 0)
			fail_msg("'%s' from '%s'", c.name, wish);
	}
}

static void the_older_then_the_lower_key_wins_an_address(void **state)
{
	(void)state;
	struct cert a = { .not_before = 1, .ik = { 9 } }, b = { .not_before = 2, .ik = { 1 } };

	assert_true(cert_wins_ip4(&a, &b));
	assert_false(cert_wins_ip4(&b, &a));
	b.not_before = 1;
	assert_false(cert_wins_ip4(&a, &b));
	assert_true(cert_wins_ip4(&b, &a));
	assert_false(cert_wins_ip4(&a, &a));
}

static void a_hub_knows_a_member_by_its_pass(void **state)
{
	(void)state;
	uint8_t sig[64], other[32] = { 1 };

	cert_pass_issue(sig, &net, m.ik, MEMBER_DIES);
	assert_int_equal(cert_pass_verify(sig, net.root_pk, net.netid, m.ik, MEMBER_DIES, NOW), 0);
	assert_int_equal(cert_pass_verify(sig, net.root_pk, net.netid, m.ik, MEMBER_DIES, MEMBER_DIES), 0);
	assert_int_equal(cert_pass_verify(sig, net.root_pk, net.netid, m.ik, MEMBER_DIES, MEMBER_DIES + 1),
			 -EKEYEXPIRED);
	assert_int_equal(cert_pass_verify(sig, net.root_pk, net.netid, other, MEMBER_DIES, NOW), -EPERM);
	assert_int_equal(cert_pass_verify(sig, net.root_pk, net.netid, m.ik, MEMBER_DIES + 1, NOW), -EPERM);
	assert_int_equal(cert_pass_verify(sig, net.root_pk, wrong.netid, m.ik, MEMBER_DIES, NOW), -EPERM);
	assert_int_equal(cert_pass_verify(sig, wrong.root_pk, net.netid, m.ik, MEMBER_DIES, NOW), -EPERM);
	assert_int_equal(cert_pass_verify(sig, wrong.root_pk, wrong.netid, m.ik, MEMBER_DIES, NOW), -EPERM);
	for (size_t bit = 0; bit < sizeof sig * 8; bit++) {
		sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(cert_pass_verify(sig, net.root_pk, net.netid, m.ik, MEMBER_DIES, NOW),
				 -EPERM);
		sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* A root key of one's own, chosen to sign, does not hash to the netid. */
static void a_pass_by_a_root_that_is_not_the_networks_is_refused(void **state)
{
	(void)state;
	struct network forger = wrong;
	uint8_t sig[64];

	memcpy(forger.netid, net.netid, 32);
	cert_pass_issue(sig, &forger, m.ik, MEMBER_DIES);
	assert_int_equal(cert_pass_verify(sig, forger.root_pk, net.netid, m.ik, MEMBER_DIES, NOW), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_issued_verifies_and_reads_back),
		cmocka_unit_test(the_issuer_fills_in_what_the_network_decides),
		cmocka_unit_test(an_address_is_optional),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(every_truncation_and_any_extra_byte_is_refused),
		cmocka_unit_test(another_networks_certificate_is_refused),
		cmocka_unit_test(a_stranger_cannot_sign_for_us),
		cmocka_unit_test(each_claim_is_checked_against_the_network),
		cmocka_unit_test(a_certificate_is_valid_in_its_time_and_a_day_before),
		cmocka_unit_test(what_no_decoder_takes_is_not_issued),
		cmocka_unit_test(a_second_encoding_of_the_same_is_refused),
		cmocka_unit_test(names_are_made_to_fit),
		cmocka_unit_test(every_name_that_is_made_can_be_issued),
		cmocka_unit_test(the_older_then_the_lower_key_wins_an_address),
		cmocka_unit_test(a_hub_knows_a_member_by_its_pass),
		cmocka_unit_test(a_pass_by_a_root_that_is_not_the_networks_is_refused),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
