#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/record.h"

#include "tests/unit/member.h"

enum { NOW = MEMBER_BORN + 10 * MEMBER_DAY, TTL = 3600 };

static struct network net, wrong;
static struct member m;
static struct addr overlay4;

static int set_up(void **state)
{
	(void)state;
	member_network(&net, "home");
	member_network(&wrong, "office");
	member_make(&m, &net, 1);
	overlay4 = member_addr("10.77.0.0");
	return 0;
}

static void add(struct record *r, enum candidate_kind kind, const char *text)
{
	struct candidate *c = &r->candidates[r->candidate_count++];

	c->kind = (uint8_t)kind;
	if (addr_parse(&c->addr, text, 0))
		fail_msg("%s does not parse", text);
}

static struct record simple(void)
{
	struct record r = { .seq = 7, .boot = 0x1122334455667788, .time_s = NOW, .ttl_s = TTL, .caps = 5 };

	add(&r, CANDIDATE_HOST, "192.168.1.2:41641");
	add(&r, CANDIDATE_REFLEXIVE, "198.51.100.7:1024");
	add(&r, CANDIDATE_MAPPED, "198.51.100.7:51820");
	add(&r, CANDIDATE_HOST, "[2001:db8::1]:41641");
	return r;
}

static int seal_as(const struct record *r, const struct member *who, const uint8_t ik_sk[static 64],
		   const struct network *by, uint8_t out[static RECORD_MAX])
{
	struct rng rng;

	rng_init_seed(&rng, 1);
	return record_seal(r, who->encoded, who->len, ik_sk, by, &rng, out);
}

static int seal(const struct record *r, uint8_t out[static RECORD_MAX])
{
	return seal_as(r, &m, m.ik_sk, &net, out);
}

static int open_at(struct record *r, const uint8_t *in, size_t len, uint64_t unix_s)
{
	return record_open(r, in, len, &net, &overlay4, 16, unix_s);
}

/* Seals anything as a member would: the envelope keeps no member out. */
static size_t envelope(const void *plain, size_t len, uint8_t out[static RECORD_MAX])
{
	memset(out, 0x55, CRYPTO_XNONCE);
	crypto_xchacha_seal(out + CRYPTO_XNONCE, plain, len, net.netid, 32, out, net.envelope_key);
	return CRYPTO_XNONCE + len + CRYPTO_TAG;
}

/* The envelope taken off again. */
static size_t inside(const uint8_t *sealed, size_t len, uint8_t out[static RECORD_MAX])
{
	assert_int_equal(crypto_xchacha_open(out, sealed + CRYPTO_XNONCE, len - CRYPTO_XNONCE, net.netid, 32,
					     sealed, net.envelope_key),
			 0);
	return len - CRYPTO_XNONCE - CRYPTO_TAG;
}

/* Signs a body anew, so that nothing but its content can be the reason. */
static size_t sign_and_seal(const uint8_t *body, size_t len, uint8_t out[static RECORD_MAX])
{
	uint8_t plain[RECORD_MAX + 64], msg[12 + RECORD_MAX] = "p2pd1/record";

	memcpy(msg + 12, body, len);
	memcpy(plain, body, len);
	crypto_ed25519_sign(plain + len, msg, 12 + len, m.ik_sk);
	return envelope(plain, len + 64, out);
}

static void what_is_sealed_opens_again(void **state)
{
	(void)state;
	struct record r = simple(), got;
	uint8_t out[RECORD_MAX];
	int len = seal(&r, out);

	assert_true(len > 0);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), 0);
	r.cert = m.cert;
	assert_memory_equal(&got, &r, sizeof r);
}

static void the_largest_record_fits(void **state)
{
	(void)state;
	struct member large = m;
	struct record r = { .time_s = NOW, .ttl_s = TTL }, got;
	uint8_t out[RECORD_MAX];

	memset(large.cert.name, 'x', CERT_NAME_MAX);
	large.cert.group_count = CERT_MAX_GROUPS;
	large.cert.route_count = CERT_MAX_ROUTES;
	for (size_t i = 0; i < CERT_MAX_ROUTES; i++)
		large.cert.routes[i].prefix = member_addr("192.168.0.0");
	large.len = (size_t)cert_issue(&large.cert, &net, large.encoded);
	for (size_t i = 0; i < RECORD_MAX_CANDIDATES; i++)
		add(&r, CANDIDATE_PREDICTED, "198.51.100.7:1024");
	int len = seal_as(&r, &large, m.ik_sk, &net, out);
	assert_true(len > 0 && len <= RECORD_MAX);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), 0);
	assert_int_equal(got.candidate_count, RECORD_MAX_CANDIDATES);
}

static void no_two_seals_look_alike(void **state)
{
	(void)state;
	struct record r = simple();
	uint8_t a[RECORD_MAX], b[RECORD_MAX];
	struct rng rng;

	rng_init_seed(&rng, 1);
	int len = record_seal(&r, m.encoded, m.len, m.ik_sk, &net, &rng, a);
	assert_int_equal(record_seal(&r, m.encoded, m.len, m.ik_sk, &net, &rng, b), len);
	assert_memory_not_equal(a, b, CRYPTO_XNONCE);
	assert_memory_not_equal(a + CRYPTO_XNONCE, b + CRYPTO_XNONCE, 64);
}

static void every_flipped_bit_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	struct record r = simple(), got, before;
	uint8_t out[RECORD_MAX];
	size_t len = (size_t)seal(&r, out);

	memset(&got, 0x5a, sizeof got);
	memset(&before, 0x5a, sizeof before);
	for (size_t bit = 0; bit < len * 8; bit++) {
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(open_at(&got, out, len, NOW), -EBADMSG);
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_memory_equal(&got, &before, sizeof got);
	assert_int_equal(open_at(&got, out, len, NOW), 0);
}

/* What another member can do: the envelope is no obstacle, the signatures are. */
static void every_bit_flipped_inside_the_envelope_is_refused(void **state)
{
	(void)state;
	struct record r = simple(), got;
	uint8_t out[RECORD_MAX], plain[RECORD_MAX], again[RECORD_MAX];
	size_t len = inside(out, (size_t)seal(&r, out), plain);

	for (size_t bit = 0; bit < len * 8; bit++) {
		plain[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(open_at(&got, again, envelope(plain, len, again), NOW) < 0);
		plain[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(open_at(&got, again, envelope(plain, len, again), NOW), 0);
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	struct record r = simple(), got;
	uint8_t out[RECORD_MAX + 1] = { 0 }, plain[RECORD_MAX], again[RECORD_MAX];
	size_t len = (size_t)seal(&r, out), plain_len = inside(out, len, plain);

	for (size_t n = 0; n <= sizeof out; n++)
		assert_int_equal(open_at(&got, out, n, NOW), n == len ? 0 : -EBADMSG);
	for (size_t n = 0; n < plain_len; n++) {
		assert_int_equal(open_at(&got, again, envelope(plain, n, again), NOW), -EBADMSG);
		if (n < plain_len - CRYPTO_SIG)
			assert_int_equal(open_at(&got, again, sign_and_seal(plain, n, again), NOW), -EBADMSG);
	}
	plain[plain_len] = 0;
	assert_int_equal(open_at(&got, again, envelope(plain, plain_len + 1, again), NOW), -EBADMSG);
}

static void another_network_is_refused(void **state)
{
	(void)state;
	struct record r = simple(), got;
	struct network mixed = wrong;
	struct member stranger;
	uint8_t out[RECORD_MAX];

	member_make(&stranger, &wrong, 1);
	int len = seal_as(&r, &stranger, stranger.ik_sk, &wrong, out);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), -EBADMSG);
	memcpy(mixed.envelope_key, net.envelope_key, 32);
	len = seal_as(&r, &stranger, stranger.ik_sk, &mixed, out);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), -EBADMSG);
	memcpy(mixed.netid, net.netid, 32);
	len = seal_as(&r, &stranger, stranger.ik_sk, &mixed, out);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), -EPERM);
}

static void a_member_cannot_make_another_members_record(void **state)
{
	(void)state;
	struct record r = simple(), got;
	struct member other;
	uint8_t out[RECORD_MAX];

	member_make(&other, &net, 2);
	int len = seal_as(&r, &m, other.ik_sk, &net, out);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), -EBADMSG);
}

static void a_record_lasts_as_long_as_its_certificate_and_its_ttl(void **state)
{
	(void)state;
	enum { LAST = NOW + TTL + CERT_CLOCK_ERROR_S };
	static const struct {
		uint64_t made, now;
		int want;
	} cases[] = {
		{ NOW, NOW, 0 },
		{ NOW, LAST, 0 },
		{ NOW, LAST + 1, -EKEYEXPIRED },
		{ NOW, NOW - 1000, 0 },
		{ UINT64_MAX, NOW, 0 },
		{ 0, NOW, -EKEYEXPIRED },
		{ MEMBER_DIES, MEMBER_DIES, 0 },
		{ MEMBER_DIES, MEMBER_DIES + 1, -EKEYEXPIRED },
		{ MEMBER_BORN, MEMBER_BORN - CERT_CLOCK_ERROR_S - 1, -EKEYEXPIRED },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct record r = simple(), got;
		uint8_t out[RECORD_MAX];
		r.time_s = cases[i].made;
		int len = seal(&r, out);
		assert_int_equal(open_at(&got, out, (size_t)len, cases[i].now), cases[i].want);
	}
}

static void candidates_that_nobody_should_be_made_to_send_to_are_dropped(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"127.0.0.1:1", "127.9.9.9:5432",      "[::1]:1",      "[::]:1",
		"0.0.0.0:1",   "224.0.0.251:5353",    "[ff02::1]:1",  "255.255.255.255:1",
		"10.77.0.1:1", "10.77.255.255:41641", "198.51.100.7",
	};
	uint8_t out[RECORD_MAX];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct record r = { .time_s = NOW }, got;
		add(&r, CANDIDATE_HOST, "192.168.1.2:1");
		add(&r, CANDIDATE_HOST, bad[i]);
		add(&r, CANDIDATE_REFLEXIVE, "10.78.0.1:1");
		int len = seal(&r, out);
		assert_int_equal(open_at(&got, out, (size_t)len, NOW), 0);
		if (got.candidate_count != 2)
			fail_msg("%s was kept", bad[i]);
		assert_true(addr_equal(&got.candidates[0].addr, &r.candidates[0].addr));
		assert_true(addr_equal(&got.candidates[1].addr, &r.candidates[2].addr));
		assert_int_equal(got.candidates[1].kind, CANDIDATE_REFLEXIVE);
	}
}

static void overlay_ipv6_mapped_and_unknown_candidates_are_dropped(void **state)
{
	(void)state;
	struct record r = { .time_s = NOW, .candidate_count = 6 }, got;
	uint8_t out[RECORD_MAX], wk[32] = { 77 };

	network_ip6(&net, wk, &r.candidates[0].addr);
	network_ip6(&wrong, wk, &r.candidates[1].addr); /* another network's: a place like any other */
	r.candidates[2].addr = (struct addr) { .family = ADDR_V6, .ip = { [10] = 0xff, 0xff, 127, 0, 0, 1 } };
	r.candidates[3].addr = (struct addr) { .family = ADDR_V6, .ip = { [10] = 0xff, 0xff, 8, 8, 8, 8 } };
	r.candidates[4].addr = (struct addr) { .family = ADDR_V4, .ip = { 8, 8, 8, 8, 1 } };
	r.candidates[5].addr = member_addr("8.8.8.8");
	for (size_t i = 0; i < 6; i++)
		r.candidates[i].addr.port = 1;
	r.candidates[5].kind = CANDIDATE_RELAY + 1;
	int len = seal(&r, out);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), 0);
	assert_int_equal(got.candidate_count, 1);
	assert_true(addr_equal(&got.candidates[0].addr, &r.candidates[1].addr));
}

static void more_candidates_than_sixteen_are_refused(void **state)
{
	(void)state;
	struct record r = { .time_s = NOW, .candidate_count = RECORD_MAX_CANDIDATES + 1 }, got;
	uint8_t out[RECORD_MAX], body[RECORD_MAX],
		one[1 + ADDR_WIRE_LEN] = { CANDIDATE_HOST, ADDR_V4, 1, 0, 8, 8, 8, 8 };

	assert_int_equal(seal(&r, out), -EINVAL);
	r.candidate_count = 0;
	size_t len = inside(out, (size_t)seal(&r, out), body) - CRYPTO_SIG;
	for (unsigned count = 15; count < 20; count++) {
		struct writer w = writer_over(body, sizeof body);
		w.len = len - 1;
		write_u8(&w, (uint8_t)count);
		for (unsigned i = 0; i < count; i++)
			write_bytes(&w, one, sizeof one);
		int rc = open_at(&got, out, sign_and_seal(body, w.len, out), NOW);
		assert_int_equal(rc, count <= RECORD_MAX_CANDIDATES ? 0 : -EBADMSG);
	}
}

static void what_is_no_certificate_in_the_record_is_refused(void **state)
{
	(void)state;
	struct record r = simple(), got;
	struct rng rng;
	uint8_t out[RECORD_MAX], large[CERT_MAX + 1] = { 0 };

	rng_init_seed(&rng, 1);
	assert_int_equal(record_seal(&r, large, sizeof large, m.ik_sk, &net, &rng, out), -EINVAL);
	int len = record_seal(&r, large, CERT_MAX, m.ik_sk, &net, &rng, out);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), -EBADMSG);
	len = record_seal(&r, large, 0, m.ik_sk, &net, &rng, out);
	assert_int_equal(open_at(&got, out, (size_t)len, NOW), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sealed_opens_again),
		cmocka_unit_test(the_largest_record_fits),
		cmocka_unit_test(no_two_seals_look_alike),
		cmocka_unit_test(every_flipped_bit_is_refused_and_changes_nothing),
		cmocka_unit_test(every_bit_flipped_inside_the_envelope_is_refused),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(another_network_is_refused),
		cmocka_unit_test(a_member_cannot_make_another_members_record),
		cmocka_unit_test(a_record_lasts_as_long_as_its_certificate_and_its_ttl),
		cmocka_unit_test(candidates_that_nobody_should_be_made_to_send_to_are_dropped),
		cmocka_unit_test(overlay_ipv6_mapped_and_unknown_candidates_are_dropped),
		cmocka_unit_test(more_candidates_than_sixteen_are_refused),
		cmocka_unit_test(what_is_no_certificate_in_the_record_is_refused),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
