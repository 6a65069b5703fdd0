#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/p2pd/forward/gateway_internal.h"
#include "core/file.h"
#include "lease_made.h"

enum { NOW = 1800000000, ENTRIES = 64 };

struct bench {
	char path[64];
	int dir;
	struct gateway_config config;
	struct gateway *g;
	uint16_t busy; /* a port that another program has */
	unsigned asked;
	/* Of the last ask. */
	struct lease_grant grant;
	uint8_t conflict[FORWARD_ID];
	char why[RULE_WHY];
	struct forward_entry entries[ENTRIES];
};

static bool in_use(void *arg, enum forward_proto proto, uint16_t port)
{
	struct bench *b = arg;

	(void)proto;
	b->asked++;
	return port == b->busy;
}

static void open_gateway(struct bench *b)
{
	assert_int_equal(gateway_open(&b->g, b->dir, &b->config, in_use, b), 0);
}

static void reopen(struct bench *b)
{
	gateway_close(b->g);
	open_gateway(b);
}

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof *b);

	strcpy(b->path, "/tmp/test_gateway.XXXXXX");
	assert_non_null(mkdtemp(b->path));
	b->dir = file_open_dir(b->path);
	assert_true(b->dir >= 0);
	b->config.public4 = made_ip("203.0.113.1");
	b->config.public6 = made_ip("2001:db8::1");
	open_gateway(b);
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	gateway_close(b->g);
	unlinkat(b->dir, "gateway.json", 0);
	unlinkat(b->dir, "gateway.json.bad", 0);
	close(b->dir);
	rmdir(b->path);
	free(b);
	return 0;
}

static struct gateway_owner owner(uint8_t n)
{
	struct gateway_owner o = { .ik = { n, 1 }, .ip4 = made_ip("100.64.0.0"), .ip6 = made_ip("fd00::") };

	snprintf(o.name, sizeof o.name, "node-%u", n);
	o.ip4.ip[3] = n;
	o.ip6.ip[15] = n;
	return o;
}

static int ask(struct bench *b, uint8_t who, const struct lease_request *r)
{
	struct gateway_owner o = owner(who);

	b->why[0] = 0;
	b->grant = (struct lease_grant) { 0 };
	int rc = gateway_lease(b->g, &o, r, "", NOW, &b->grant, b->conflict, b->why);
	if (rc && !*b->why)
		fail_msg("refused with %d and no reason", rc);
	return rc;
}

static int ask_one(struct bench *b, uint8_t who, uint8_t rule)
{
	struct lease_request r = made_request(rule);

	return ask(b, who, &r);
}

static bool file_stands(struct bench *b, ino_t *inode)
{
	struct stat st;

	if (fstatat(b->dir, "gateway.json", &st, 0) != 0)
		return false;
	*inode = st.st_ino;
	return true;
}

/* --- Ports. */

static void an_owner_gets_the_port_it_asks_for(void **state)
{
	struct bench *b = *state;

	assert_int_equal(ask_one(b, 1, 1), 0);
	assert_int_equal(b->grant.ports[0], 8001);
	assert_true(addr_equal(&b->grant.public4, &b->config.public4));
	assert_true(addr_equal(&b->grant.public6, &b->config.public6));
	assert_string_equal(b->grant.door, "");
	assert_string_equal(gateway_owner(b->g, made_request(1).id)->name, "node-1");
}

static void what_is_taken_is_refused_and_who_has_it_is_named(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(2);

	assert_int_equal(ask_one(b, 1, 1), 0);
	r.ranges[0] = (struct lease_range) { 7990, 12000, 20 };
	assert_int_equal(ask(b, 2, &r), -EADDRINUSE);
	assert_memory_equal(b->conflict, made_request(1).id, FORWARD_ID);
	r.tcp = false;
	r.udp = true;
	assert_int_equal(ask(b, 2, &r), 0);
	r.tcp = true;
	assert_int_equal(ask(b, 2, &r), -EADDRINUSE);
	b->busy = 9000;
	r = made_request(3);
	r.ranges[0].wanted = 9000;
	assert_int_equal(ask(b, 2, &r), -EADDRINUSE);
	assert_memory_equal(b->conflict, (uint8_t[FORWARD_ID]) { 0 }, FORWARD_ID);
}

static void a_renewal_asks_nobody_and_writes_nothing(void **state)
{
	struct bench *b = *state;
	ino_t first, second;

	assert_int_equal(ask_one(b, 1, 1), 0);
	uint64_t version = gateway_version(b->g);
	assert_true(file_stands(b, &first));
	b->asked = 0;
	b->busy = 8001; /* by our own socket */
	assert_int_equal(ask_one(b, 1, 1), 0);
	assert_int_equal(b->asked, 0);
	assert_true(file_stands(b, &second));
	assert_int_equal(first, second);
	assert_int_equal(gateway_version(b->g), version);
}

static void a_port_of_no_matter_stays_the_same(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.ranges[0] = (struct lease_range) { 0, 12000, 100 };
	r.ranges[1] = (struct lease_range) { 0, 13000, 50 };
	r.range_count = 2;
	assert_int_equal(ask(b, 1, &r), 0);
	uint16_t first = b->grant.ports[0], second = b->grant.ports[1];
	assert_true(first >= 1024 && second >= 1024);
	assert_true(first + 100 <= second || second + 50 <= first);
	reopen(b);
	r.paused = true;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(b->grant.ports[0], first);
	assert_int_equal(b->grant.ports[1], second);
}

static void ports_are_chosen_from_what_is_allowed_and_free(void **state)
{
	struct bench *b = *state;

	b->config.ports[0] = (struct rule_range) { 9000, 3 };
	b->config.ports[1] = (struct rule_range) { 9100, 2 };
	b->config.port_count = 2;
	gateway_configure(b->g, &b->config);
	b->busy = 9001;
	struct lease_request r = made_request(1);
	r.ranges[0] = (struct lease_range) { 0, 12000, 2 };
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(b->grant.ports[0], 9100);
	r = made_request(2);
	r.ranges[0] = (struct lease_range) { 0, 12000, 2 };
	assert_int_equal(ask(b, 1, &r), -ENOSPC);
	r.ranges[0].count = 1;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_true(b->grant.ports[0] == 9000 || b->grant.ports[0] == 9002);
}

static void only_ports_that_the_administrator_gives_are_given(void **state)
{
	struct bench *b = *state;
	static const struct {
		uint16_t first, count;
		int by_default, by_list; /* 5000 to 5999 */
	} cases[] = {
		{ 22, 1, -EACCES, -EACCES },
		{ 80, 1, 0, -EACCES },
		{ 443, 1, 0, -EACCES },
		{ 80, 2, -EACCES, -EACCES },
		{ 1023, 2, -EACCES, -EACCES },
		{ 1024, 1, 0, -EACCES },
		{ 5000, 1000, 0, 0 },
		{ 5500, 501, 0, -EACCES },
		{ 65535, 1, 0, -EACCES },
		{ GATEWAY_DOOR_PORT, 1, -EACCES, -EACCES },
		{ GATEWAY_DOOR_PORT - 1, 3, -EACCES, -EACCES },
	};

	for (int listed = 0; listed < 2; listed++) {
		b->config.ports[0] = (struct rule_range) { 5000, 1000 };
		b->config.port_count = (unsigned)listed;
		gateway_configure(b->g, &b->config);
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			struct lease_request r = made_request(1);
			r.ranges[0] = (struct lease_range) { cases[i].first, 12000, cases[i].count };
			int rc = ask(b, 1, &r);
			if (rc != (listed ? cases[i].by_list : cases[i].by_default))
				fail_msg("case %zu, listed %d: %d %s", i, listed, rc, b->why);
			gateway_release(b->g, owner(1).ik, r.id);
		}
	}
}

/* --- Who may have how much. */

static void only_members_that_the_administrator_names_get_any(void **state)
{
	struct bench *b = *state;

	strcpy(b->config.owners[0], "node-2");
	b->config.owner_count = 1;
	gateway_configure(b->g, &b->config);
	assert_int_equal(ask_one(b, 1, 1), -EACCES);
	assert_int_equal(ask_one(b, 2, 1), 0);
	assert_int_equal(gateway_entries(b->g, NULL, 0) + gateway_user_entries(b->g, NULL, 0), 2);
}

static void nobody_touches_anothers_lease(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(ask(b, 2, &r), -EACCES);
	assert_int_equal(gateway_release(b->g, owner(2).ik, r.id), -ENOENT);
	assert_string_equal(gateway_owner(b->g, r.id)->name, "node-1");
	assert_int_equal(gateway_release(b->g, owner(1).ik, r.id), 0);
	assert_null(gateway_owner(b->g, r.id));
	assert_int_equal(gateway_release(b->g, owner(1).ik, r.id), -ENOENT);
}

static void an_owner_has_no_more_ports_than_it_may(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	b->config.max_ports = 10;
	gateway_configure(b->g, &b->config);
	r.ranges[0].count = 6;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(ask(b, 1, &r), 0);
	r = made_request(100);
	r.ranges[0].count = 5;
	assert_int_equal(ask(b, 1, &r), -ENOSPC);
	r.ranges[0].count = 4;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(ask_one(b, 2, 50), 0);
}

static void an_owner_has_no_more_leases_than_it_may(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < GATEWAY_OWNER_MAX; i++) {
		struct lease_request r = made_request(0);
		r.id[14] = (uint8_t)(i >> 8);
		r.id[15] = (uint8_t)i;
		r.ranges[0].wanted = (uint16_t)(10000 + i);
		assert_int_equal(ask(b, 1, &r), 0);
	}
	struct lease_request r = made_request(0);
	r.id[13] = 1;
	assert_int_equal(ask(b, 1, &r), -ENOSPC);
	assert_int_equal(ask(b, 2, &r), 0);
}

static void limits_are_the_lower_of_both(void **state)
{
	struct bench *b = *state;
	static const struct {
		uint64_t asked, most, got;
	} cases[] = { { 0, 0, 0 }, { 0, 9, 9 }, { 5, 9, 5 }, { 20, 9, 9 }, { 20, 0, 20 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lease_request r = made_request(1);
		b->config.max_rate = cases[i].most;
		b->config.max_conn = (uint32_t)cases[i].most;
		gateway_configure(b->g, &b->config);
		r.rate = cases[i].asked;
		r.max_conn = (uint32_t)cases[i].asked;
		assert_int_equal(ask(b, 1, &r), 0);
		assert_int_equal(b->grant.rate, cases[i].got);
		assert_int_equal(b->grant.max_conn, cases[i].got);
		assert_int_equal(gateway_user_entries(b->g, b->entries, ENTRIES), 2);
		assert_int_equal(b->entries[0].rate, cases[i].got);
		assert_int_equal(b->entries[0].max_conn, cases[i].got);
	}
}

static void a_stricter_administrator_ends_leases(void **state)
{
	struct bench *b = *state;

	assert_int_equal(ask_one(b, 1, 1), 0);
	assert_int_equal(ask_one(b, 2, 2), 0);
	b->config.ports[0] = (struct rule_range) { 8002, 1 };
	b->config.port_count = 1;
	assert_true(gateway_configure(b->g, &b->config));
	assert_null(gateway_owner(b->g, made_request(1).id));
	assert_non_null(gateway_owner(b->g, made_request(2).id));
	strcpy(b->config.owners[0], "node-7");
	b->config.owner_count = 1;
	reopen(b);
	assert_null(gateway_owner(b->g, made_request(2).id));
}

static void a_rule_that_has_expired_gets_nothing(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.expires_at = NOW;
	assert_int_equal(ask(b, 1, &r), -EACCES);
	r.expires_at = NOW + 1;
	assert_int_equal(ask(b, 1, &r), 0);
}

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
		assert_int_equal(fstatat(b->dir, "gateway.json.bad", &st, 0), 0);
		assert_int_not_equal(fstatat(b->dir, "gateway.json", &st, 0), 0);
		unlinkat(b->dir, "gateway.json.bad", 0);
	}
	assert_int_equal(ask_one(b, 1, 1), 0);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_owner_gets_the_port_it_asks_for),
		TEST(what_is_taken_is_refused_and_who_has_it_is_named),
		TEST(a_renewal_asks_nobody_and_writes_nothing),
		TEST(a_port_of_no_matter_stays_the_same),
		TEST(ports_are_chosen_from_what_is_allowed_and_free),
		TEST(only_ports_that_the_administrator_gives_are_given),
		TEST(only_members_that_the_administrator_names_get_any),
		TEST(nobody_touches_anothers_lease),
		TEST(an_owner_has_no_more_ports_than_it_may),
		TEST(an_owner_has_no_more_leases_than_it_may),
		TEST(limits_are_the_lower_of_both),
		TEST(a_stricter_administrator_ends_leases),
		TEST(a_rule_that_has_expired_gets_nothing),
		TEST(a_restart_loses_nothing),
		TEST(what_cannot_be_kept_is_not_given),
		TEST(a_spoilt_file_is_put_aside),
		TEST(a_lease_that_is_not_renewed_ends),
		TEST(a_leap_of_the_clock_ends_no_lease),
		TEST(an_expired_rule_ends_at_its_second),
		TEST(visitors_come_until_their_time_is_over),
		TEST(the_owners_next_word_is_the_last_on_visitors),
		TEST(visitors_are_bounded),
		TEST(the_kernel_carries_the_services_family_and_sockets_the_other),
		TEST(why_the_kernel_is_not_used_is_said),
		TEST(lists_longer_than_the_room_are_counted_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
