#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/cookie.h"

static const uint8_t pk[32] = "the public key of who is guarded";

/* One who guards, one who knocks. */
struct fixture {
	struct rng rng;
	struct cookie_checker checker;
	struct cookie_jar jar;
	struct addr from;
	uint8_t msg[WG_INITIATION_LEN], reply[WG_COOKIE_LEN];
	size_t len;
};

static void prepare(struct fixture *f, size_t len)
{
	memset(f, 0, sizeof *f);
	rng_init_seed(&f->rng, 3);
	cookie_checker_init(&f->checker, pk);
	cookie_jar_init(&f->jar, pk);
	assert_int_equal(addr_parse(&f->from, "192.0.2.7:51820", 0), 0);
	rng_fill(&f->rng, f->msg, len);
	store_le32(f->msg, len == WG_INITIATION_LEN ? WG_INITIATION : WG_RESPONSE);
	f->len = len;
}

static enum cookie_verdict knock(struct fixture *f, const char *from, bool under_load, uint64_t now_ms)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, from, 0), 0);
	return cookie_check(&f->checker, f->msg, f->len, &a, under_load, now_ms, &f->rng, f->reply);
}

/* Gets a cookie for `from` and stamps the message with it. */
static void obtain_cookie(struct fixture *f, const char *from, uint64_t now_ms)
{
	cookie_stamp(&f->jar, f->msg, f->len, now_ms);
	assert_int_equal(knock(f, from, true, now_ms), COOKIE_REPLY);
	assert_int_equal(cookie_open(&f->jar, f->reply, now_ms), 0);
	cookie_stamp(&f->jar, f->msg, f->len, now_ms);
}

static void a_stamped_message_passes_and_a_damaged_one_does_not(void **state)
{
	static const size_t lens[] = { WG_INITIATION_LEN, WG_RESPONSE_LEN };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct fixture f;
		prepare(&f, lens[i]);
		cookie_stamp(&f.jar, f.msg, f.len, 0);
		const struct cookie_checker before = f.checker;
		for (size_t bit = 0; bit < (f.len - 16) * 8; bit++) {
			f.msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(knock(&f, "192.0.2.7:1", false, 0), COOKIE_DROP);
			assert_int_equal(knock(&f, "192.0.2.7:1", true, 0), COOKIE_DROP);
			f.msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t len = 0; len < lens[i]; len++) {
			f.len = len;
			assert_int_equal(knock(&f, "192.0.2.7:1", true, 0), COOKIE_DROP);
		}
		f.len = lens[i];
		assert_memory_equal(&before, &f.checker, sizeof before);
		assert_true(crypto_is_zero(f.reply, sizeof f.reply));
		assert_int_equal(knock(&f, "192.0.2.7:1", false, 0), COOKIE_ACCEPT);
	}
}

static void mac2_matters_under_load_only(void **state)
{
	(void)state;
	struct fixture f;

	prepare(&f, WG_INITIATION_LEN);
	obtain_cookie(&f, "192.0.2.7:1", 0);
	for (size_t bit = (f.len - 16) * 8; bit < f.len * 8; bit++) {
		f.msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(knock(&f, "192.0.2.7:1", false, 0), COOKIE_ACCEPT);
		assert_int_equal(knock(&f, "192.0.2.7:1", true, 0), COOKIE_REPLY);
		f.msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(knock(&f, "192.0.2.7:1", true, 0), COOKIE_ACCEPT);
}

static void a_cookie_is_good_for_the_address_it_was_sent_to(void **state)
{
	static const struct {
		const char *got_at, *used_at;
		enum cookie_verdict want;
	} cases[] = {
		{ "192.0.2.7:1", "192.0.2.7:1", COOKIE_ACCEPT },
		{ "192.0.2.7:1", "192.0.2.7:2", COOKIE_REPLY },
		{ "192.0.2.7:1", "192.0.2.8:1", COOKIE_REPLY },
		{ "[2001:db8::1]:1", "[2001:db8::1]:1", COOKIE_ACCEPT },
		{ "[2001:db8::1]:1", "[2001:db8::2]:1", COOKIE_REPLY },
		{ "[2001:db8::1]:1", "[2001:db8::1]:256", COOKIE_REPLY },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (int response = 0; response < 2; response++) {
			struct fixture f;
			prepare(&f, response ? WG_RESPONSE_LEN : WG_INITIATION_LEN);
			obtain_cookie(&f, cases[i].got_at, 0);
			assert_int_equal(knock(&f, cases[i].used_at, true, 0), cases[i].want);
		}
	}
}

static void a_reply_names_the_sender_and_is_no_longer_than_its_cause(void **state)
{
	(void)state;
	struct fixture f;

	prepare(&f, WG_RESPONSE_LEN);
	cookie_stamp(&f.jar, f.msg, f.len, 0);
	assert_int_equal(knock(&f, "192.0.2.7:1", true, 0), COOKIE_REPLY);
	assert_int_equal(load_le32(f.reply), WG_COOKIE);
	assert_memory_equal(f.reply + 4, f.msg + 4, 4);
	assert_true(sizeof f.reply < WG_RESPONSE_LEN);
}

/* The receiver index (bytes 4 to 7) is not covered, it only finds the session. */
static void a_damaged_reply_is_refused_and_a_good_one_counts_once(void **state)
{
	(void)state;
	struct fixture f;

	prepare(&f, WG_INITIATION_LEN);
	cookie_stamp(&f.jar, f.msg, f.len, 0);
	assert_int_equal(knock(&f, "192.0.2.7:1", true, 0), COOKIE_REPLY);
	const struct cookie_jar before = f.jar;
	for (size_t bit = 0; bit < sizeof f.reply * 8; bit++) {
		if (bit / 32 == 1)
			continue;
		f.reply[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(cookie_open(&f.jar, f.reply, 0), -EBADMSG);
		f.reply[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_memory_equal(&before, &f.jar, sizeof before);
	assert_int_equal(cookie_open(&f.jar, f.reply, 0), 0);
	assert_int_equal(cookie_open(&f.jar, f.reply, 0), -EBADMSG);
}

static void a_reply_to_an_earlier_message_is_refused(void **state)
{
	(void)state;
	struct fixture f;

	prepare(&f, WG_INITIATION_LEN);
	assert_int_equal(cookie_open(&f.jar, f.reply, 0), -EBADMSG);
	cookie_stamp(&f.jar, f.msg, f.len, 0);
	assert_int_equal(knock(&f, "192.0.2.7:1", true, 0), COOKIE_REPLY);
	f.msg[20] ^= 1;
	cookie_stamp(&f.jar, f.msg, f.len, 0);
	assert_int_equal(cookie_open(&f.jar, f.reply, 0), -EBADMSG);
}

static void a_cookie_is_used_for_115_s_and_its_secret_for_120_s(void **state)
{
	(void)state;
	struct fixture f;

	prepare(&f, WG_INITIATION_LEN);
	obtain_cookie(&f, "192.0.2.7:1", 1000);
	assert_int_equal(knock(&f, "192.0.2.7:1", true, 1000 + COOKIE_SECRET_MS - 1), COOKIE_ACCEPT);
	assert_int_equal(knock(&f, "192.0.2.7:1", true, 1000 + COOKIE_SECRET_MS), COOKIE_REPLY);
	cookie_stamp(&f.jar, f.msg, f.len, 1000 + COOKIE_USE_MS - 1);
	assert_false(crypto_is_zero(f.msg + f.len - 16, 16));
	cookie_stamp(&f.jar, f.msg, f.len, 1000 + COOKIE_USE_MS);
	assert_true(crypto_is_zero(f.msg + f.len - 16, 16));
}

static void a_source_gets_five_at_once_and_twenty_a_second(void **state)
{
	(void)state;
	struct fixture f;
	int accepted = 0;

	prepare(&f, WG_INITIATION_LEN);
	obtain_cookie(&f, "192.0.2.7:1", 0);
	for (int i = 0; i < 100; i++)
		accepted += knock(&f, "192.0.2.7:1", true, 0) == COOKIE_ACCEPT;
	assert_int_equal(accepted, COOKIE_BURST);
	for (uint64_t now = 1; now <= 10000; now++)
		accepted += knock(&f, "192.0.2.7:1", true, now) == COOKIE_ACCEPT;
	assert_int_equal(accepted, COOKIE_BURST + 10 * COOKIE_RATE_PER_S);
	/* Rest fills the allowance again, but no further. */
	accepted = 0;
	for (int i = 0; i < 100; i++)
		accepted += knock(&f, "192.0.2.7:1", true, 60000) == COOKIE_ACCEPT;
	assert_int_equal(accepted, COOKIE_BURST);
}

static int spend(struct fixture *f, const char *from, uint64_t now_ms)
{
	int accepted = 0;

	obtain_cookie(f, from, now_ms);
	for (int i = 0; i < 100; i++)
		accepted += knock(f, from, true, now_ms) == COOKIE_ACCEPT;
	return accepted;
}

static void sources_have_their_own_allowance_and_an_ipv6_network_has_one(void **state)
{
	(void)state;
	struct fixture f;

	prepare(&f, WG_INITIATION_LEN);
	assert_int_equal(spend(&f, "192.0.2.7:1", 0), COOKIE_BURST);
	assert_int_equal(spend(&f, "192.0.2.7:2", 0), 0);
	assert_int_equal(spend(&f, "192.0.2.8:1", 0), COOKIE_BURST);
	assert_int_equal(spend(&f, "[2001:db8:0:1::1]:1", 0), COOKIE_BURST);
	assert_int_equal(spend(&f, "[2001:db8:0:1:ffff::2]:1", 0), 0);
	assert_int_equal(spend(&f, "[2001:db8:0:2::1]:1", 0), COOKIE_BURST);
}

/* However many sources hold cookies, no more is computed for them than the table allows. */
static void many_sources_share_a_bounded_allowance(void **state)
{
	(void)state;
	struct fixture f;
	int accepted = 0;

	prepare(&f, WG_INITIATION_LEN);
	for (uint8_t i = 1; i < 9; i++) {
		for (int j = 0; j < 256; j++) {
			uint8_t ip[4] = { 203, 0, i, (uint8_t)j };
			char text[ADDR_TEXT_MAX];
			struct addr a = addr_from_ip(ADDR_V4, ip, 9);
			accepted += spend(&f, addr_format(&a, text), 0);
		}
	}
	assert_in_range(accepted, COOKIE_BUCKETS * COOKIE_BURST / 2, COOKIE_BUCKETS * COOKIE_BURST);
	assert_int_equal(spend(&f, "192.0.2.7:1", 250), COOKIE_BURST);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stamped_message_passes_and_a_damaged_one_does_not),
		cmocka_unit_test(mac2_matters_under_load_only),
		cmocka_unit_test(a_cookie_is_good_for_the_address_it_was_sent_to),
		cmocka_unit_test(a_reply_names_the_sender_and_is_no_longer_than_its_cause),
		cmocka_unit_test(a_damaged_reply_is_refused_and_a_good_one_counts_once),
		cmocka_unit_test(a_reply_to_an_earlier_message_is_refused),
		cmocka_unit_test(a_cookie_is_used_for_115_s_and_its_secret_for_120_s),
		cmocka_unit_test(a_source_gets_five_at_once_and_twenty_a_second),
		cmocka_unit_test(sources_have_their_own_allowance_and_an_ipv6_network_has_one),
		cmocka_unit_test(many_sources_share_a_bounded_allowance),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
