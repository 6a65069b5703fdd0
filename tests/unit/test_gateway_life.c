/* What becomes of leases: on disk, in time, with visitors; and how they are carried. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "gateway_bench.h"

/* --- On disk. */

static void a_restart_loses_nothing(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct forward_entry before[ENTRIES];
	struct addr visitor = made_ip("198.51.100.7");

	r.udp = r.kernel = r.restricted = r.tokens = true;
	r.allow[0] = (struct forward_prefix) { made_ip("192.0.2.0"), 24 };
	r.allow_count = 1;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(gateway_admit(b->g, r.id, &visitor, NOW + 100), 0);
	assert_int_equal(ask_one(b, 2, 2), 0);
	assert_int_equal(gateway_entries(b->g, before, ENTRIES), 2);
	reopen(b);
	assert_int_equal(gateway_entries(b->g, b->entries, ENTRIES), 2);
	assert_memory_equal(b->entries, before, 2 * sizeof *before);
	assert_int_equal(b->entries[0].allow_count, 2);
	assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 4);
	assert_string_equal(gateway_owner(b->g, made_request(2).id)->name, "node-2");
}

static void what_cannot_be_kept_is_not_given(void **state)
{
	struct bench *b = *state;

	assert_int_equal(ask_one(b, 1, 1), 0);
	int dir = b->dir, elsewhere = open("/proc", O_DIRECTORY | O_RDONLY);
	assert_int_equal(dup2(elsewhere, dir), dir); /* no file can be made there */
	assert_true(ask_one(b, 1, 2) < 0);
	assert_null(gateway_owner(b->g, made_request(2).id));
	struct lease_request r = made_request(1);
	r.ranges[0].wanted = 9000;
	assert_true(ask(b, 1, &r) < 0);
	gateway_user_entries(b->g, b->entries, ENTRIES);
	assert_int_equal(b->entries[0].listen.port, 8001);
	int back = open(b->path, O_DIRECTORY | O_RDONLY);
	assert_int_equal(dup2(back, dir), dir);
	close(back);
	close(elsewhere);
	assert_int_equal(ask_one(b, 1, 2), 0);
}

static void a_spoilt_file_is_put_aside(void **state)
{
	struct bench *b = *state;
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"schema\": \"p2pd.gateway/1\"}",
		"{\"schema\": \"p2pd.gateway/2\", \"leases\": []}",
		"{\"schema\": \"p2pd.gateway/1\", \"leases\": [{}]}",
	};
	struct stat st;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		assert_int_equal(file_write(b->dir, "gateway.json", texts[i], strlen(texts[i])), 0);
		reopen(b);
		assert_int_equal(gateway_user_entries(b->g, NULL, 0), 0);
		assert_int_equal(fstatat(b->dir, "gateway.json.spoilt", &st, 0), 0);
		assert_int_not_equal(fstatat(b->dir, "gateway.json", &st, 0), 0);
		unlinkat(b->dir, "gateway.json.spoilt", 0);
	}
	assert_int_equal(ask_one(b, 1, 1), 0);
}

/* As an earlier version took it: with it the kernel would refuse all leases together. */
static void a_rate_that_is_not_taken_any_more_is_bounded(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.rate = 125000000000;
	assert_int_equal(ask(b, 1, &r), 0); /* lease_request_read() has refused it by now */
	assert_int_equal(ask_one(b, 2, 2), 0);
	reopen(b);
	assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 4);
	assert_int_equal(b->entries[0].rate, RULE_RATE_MAX);
}

/* --- Time. */

static void a_lease_that_is_not_renewed_ends(void **state)
{
	struct bench *b = *state;

	assert_int_equal(gateway_next_unix_s(b->g), UINT64_MAX);
	assert_int_equal(ask_one(b, 1, 1), 0);
	uint64_t now = NOW;
	while (now < NOW + LEASE_TTL_S) {
		assert_false(gateway_tick(b->g, now));
		assert_true(gateway_next_unix_s(b->g) > now);
		now = gateway_next_unix_s(b->g);
	}
	assert_int_equal(now, NOW + LEASE_TTL_S);
	assert_true(gateway_tick(b->g, now));
	assert_null(gateway_owner(b->g, made_request(1).id));
	reopen(b);
	assert_null(gateway_owner(b->g, made_request(1).id));
}

static void a_leap_of_the_clock_ends_no_lease(void **state)
{
	struct bench *b = *state;

	assert_int_equal(ask_one(b, 1, 1), 0);
	assert_false(gateway_tick(b->g, NOW));
	assert_false(gateway_tick(b->g, NOW + 1000000));
	assert_false(gateway_tick(b->g, NOW + 1000000 + LEASE_TTL_S / 8));
	assert_non_null(gateway_owner(b->g, made_request(1).id));
	assert_false(gateway_tick(b->g, NOW - 1000000));
	assert_non_null(gateway_owner(b->g, made_request(1).id));
}

static void an_expired_rule_ends_at_its_second(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.expires_at = NOW + 30;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_false(gateway_tick(b->g, NOW));
	assert_int_equal(gateway_next_unix_s(b->g), NOW + 30);
	assert_false(gateway_tick(b->g, NOW + 29));
	assert_true(gateway_tick(b->g, NOW + 30));
	assert_null(gateway_owner(b->g, r.id));
}

/* --- Visitors. */

static unsigned allowed(struct bench *b)
{
	assert_true(gateway_user_entries(b->g, b->entries, ENTRIES) > 0);
	return b->entries[0].allow_count;
}

static void visitors_come_until_their_time_is_over(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct addr visitor = made_ip("198.51.100.7"), other = made_ip("2001:db8:5::7");

	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(gateway_admit(b->g, r.id, &visitor, NOW + 100), -ENOENT);
	r.restricted = r.tokens = true;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_true(gateway_takes_tokens(b->g));
	assert_string_equal(b->grant.door, "https://203.0.113.1:7443");
	assert_int_equal(gateway_admit(b->g, r.id, &visitor, NOW + 100), 0);
	assert_int_equal(gateway_admit(b->g, r.id, &other, NOW + 200), 0);
	assert_int_equal(gateway_admit(b->g, r.id, &other, NOW + 300), 0);
	assert_int_equal(allowed(b), 2);
	assert_int_equal(b->entries[0].allow[0].bits, 32);
	assert_int_equal(b->entries[0].allow[1].bits, 128);
	gateway_tick(b->g, NOW + 99);
	assert_int_equal(gateway_next_unix_s(b->g), NOW + 100);
	assert_true(gateway_tick(b->g, NOW + 100));
	assert_int_equal(allowed(b), 1);
	assert_false(gateway_tick(b->g, NOW + 200));
	assert_true(gateway_tick(b->g, NOW + 300));
	assert_int_equal(allowed(b), 0);
}

static void the_owners_next_word_is_the_last_on_visitors(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct addr visitor = made_ip("198.51.100.7");

	r.restricted = r.tokens = true;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(gateway_admit(b->g, r.id, &visitor, NOW + 100), 0);
	r.allow[0] = (struct forward_prefix) { visitor, 32 };
	r.allow_count = 1;
	assert_int_equal(gateway_admit(b->g, r.id, &visitor, NOW + 100), 0);
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(allowed(b), 1);
	r.allow_count = 0;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(allowed(b), 0);
}

/* The owner's next word was faster than its answer to the door. */
static void only_sockets_get_the_leases_secret(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.kernel = true;
	assert_int_equal(ask(b, 1, &r), 0);
	uint64_t version = gateway_version(b->g);
	assert_int_equal(gateway_entries(b->g, b->entries, ENTRIES), 1);
	assert_int_equal(b->entries[0].secret[0], 0);
	assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 1);
	assert_memory_equal(b->entries[0].secret, r.secret, FORWARD_SECRET);
	/* The owner began anew. */
	r.secret[0]++;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_not_equal(gateway_version(b->g), version);
	reopen(b);
	assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 1);
	assert_memory_equal(b->entries[0].secret, r.secret, FORWARD_SECRET);
}

static void whom_the_owner_has_allowed_already_is_in(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct addr visitor = made_ip("198.51.100.0"), other = made_ip("203.0.113.9");

	r.restricted = r.tokens = true;
	for (r.allow_count = 0; r.allow_count < FORWARD_PREFIXES_MAX; r.allow_count++) {
		visitor.ip[3] = (uint8_t)r.allow_count;
		r.allow[r.allow_count] = (struct forward_prefix) { visitor, 32 };
	}
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(gateway_admit(b->g, r.id, &visitor, NOW + 100), 0);
	assert_int_equal(gateway_admit(b->g, r.id, &other, NOW + 100), -ENOSPC);
}

static void visitors_are_bounded(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct addr visitor = made_ip("198.51.100.0");
	int rc = 0;
	unsigned n = 0;

	r.restricted = r.tokens = true;
	r.allow[0] = (struct forward_prefix) { made_ip("192.0.2.0"), 24 };
	r.allow_count = 1;
	assert_int_equal(ask(b, 1, &r), 0);
	for (; rc == 0 && n < 2 * FORWARD_PREFIXES_MAX; n++) {
		visitor.ip[3] = (uint8_t)n;
		rc = gateway_admit(b->g, r.id, &visitor, NOW + 100);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(n, FORWARD_PREFIXES_MAX);
	assert_int_equal(allowed(b), FORWARD_PREFIXES_MAX);
}

/* --- What is carried, and how. */

static void the_kernel_carries_the_services_family_and_sockets_the_other(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct pass_entry passes[ENTRIES];

	r.kernel = r.udp = true;
	r.ranges[0].count = 10;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_true(b->grant.kernel);
	assert_int_equal(gateway_entries(b->g, b->entries, ENTRIES), 2);
	assert_int_equal(b->entries[0].proto, FORWARD_TCP);
	assert_int_equal(b->entries[1].proto, FORWARD_UDP);
	struct addr listen = made_ip("203.0.113.1"), target = owner(1).ip4;
	listen.port = 8001;
	target.port = 10001;
	assert_true(addr_equal(&b->entries[1].listen, &listen));
	assert_true(addr_equal(&b->entries[1].target, &target));
	assert_int_equal(b->entries[1].count, 10);
	assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 2);
	assert_int_equal(b->entries[0].listen.family, ADDR_V6);
	assert_int_equal(b->entries[0].target.family, ADDR_V6);
	assert_true(b->entries[0].header_out);
	assert_int_equal(gateway_passes(b->g, passes, ENTRIES), 2);
	assert_memory_equal(passes[1].peer, owner(1).ik, 32);
	assert_int_equal(passes[1].first, 10001);
	assert_int_equal(passes[1].count, 10);
	assert_int_equal(passes[1].proto, FORWARD_UDP);
	assert_int_equal(passes[1].side, FORWARD_GATEWAY);
}

static void why_the_kernel_is_not_used_is_said(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct gateway_owner o = owner(1);

	r.kernel = true;
	assert_int_equal(gateway_lease(b->g, &o, &r, "no nft here", NOW, &b->grant, b->conflict, b->why), 0);
	assert_false(b->grant.kernel);
	assert_string_equal(b->grant.mode_why, "gateway: no nft here");
	assert_int_equal(gateway_entries(b->g, b->entries, ENTRIES), 0);
	assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 2);
	assert_int_equal(gateway_passes(b->g, NULL, 0), 0);
	b->config.public4 = (struct addr) { 0 };
	gateway_configure(b->g, &b->config);
	assert_int_equal(ask(b, 1, &r), 0);
	assert_false(b->grant.kernel);
	assert_non_null(strstr(b->grant.mode_why, "IPv4"));
	assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 1);
	b->config.public6 = (struct addr) { 0 };
	gateway_configure(b->g, &b->config);
	assert_int_equal(ask(b, 1, &r), -EACCES);
}

static void lists_longer_than_the_room_are_counted_only(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.udp = true;
	assert_int_equal(ask(b, 1, &r), 0);
	b->entries[1].count = 77;
	assert_int_equal(gateway_user_entries(b->g, b->entries, 1), 4);
	assert_int_equal(b->entries[1].count, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_restart_loses_nothing),
		TEST(what_cannot_be_kept_is_not_given),
		TEST(a_spoilt_file_is_put_aside),
		TEST(a_rate_that_is_not_taken_any_more_is_bounded),
		TEST(a_lease_that_is_not_renewed_ends),
		TEST(a_leap_of_the_clock_ends_no_lease),
		TEST(an_expired_rule_ends_at_its_second),
		TEST(visitors_come_until_their_time_is_over),
		TEST(the_owners_next_word_is_the_last_on_visitors),
		TEST(only_sockets_get_the_leases_secret),
		TEST(whom_the_owner_has_allowed_already_is_in),
		TEST(visitors_are_bounded),
		TEST(the_kernel_carries_the_services_family_and_sockets_the_other),
		TEST(why_the_kernel_is_not_used_is_said),
		TEST(lists_longer_than_the_room_are_counted_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
