/* Who gets which ports, and how much. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "gateway_bench.h"

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
	b->asked = b->looked = 0;
	b->busy = 8001; /* by our own socket */
	assert_int_equal(ask_one(b, 1, 1), 0);
	assert_int_equal(b->asked + b->looked, 0);
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
	b->asked = b->looked = 0;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(b->asked + b->looked, 0);
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
	r.ranges[0] = (struct lease_range) { 0, 12010, 2 };
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

static void of_two_with_the_name_that_was_named_neither_gets_any(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	struct gateway_owner o = owner(2);

	strcpy(b->config.owners[0], "node-2");
	b->config.owner_count = 1;
	gateway_configure(b->g, &b->config);
	o.sole = false;
	assert_int_equal(ask_as(b, &o, &r), -EACCES);
	assert_non_null(strstr(b->why, "two nodes are called 'node-2'"));
	/* Nobody has another's address. */
	strcpy(b->config.owners[0], "FD00:0::2");
	gateway_configure(b->g, &b->config);
	assert_int_equal(ask_as(b, &o, &r), 0);
	assert_int_equal(ask_one(b, 1, 3), -EACCES);
	strcpy(o.name, "fd00::2");
	o.ip6 = made_ip("fd00::3");
	assert_int_equal(ask_as(b, &o, &r), -EACCES);
	/* That it did not have the name for itself is still known after a restart. */
	reopen(b);
	assert_non_null(gateway_owner(b->g, r.id));
	strcpy(b->config.owners[0], "node-2");
	gateway_configure(b->g, &b->config);
	assert_null(gateway_owner(b->g, r.id));
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
		r.ranges[0].wanted = r.ranges[0].tunnel = (uint16_t)(10000 + i);
		assert_int_equal(ask(b, 1, &r), 0);
	}
	struct lease_request r = made_request(0);
	r.id[13] = 1;
	r.ranges[0].tunnel = 9000;
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
		TEST(of_two_with_the_name_that_was_named_neither_gets_any),
		TEST(nobody_touches_anothers_lease),
		TEST(an_owner_has_no_more_ports_than_it_may),
		TEST(an_owner_has_no_more_leases_than_it_may),
		TEST(limits_are_the_lower_of_both),
		TEST(a_stricter_administrator_ends_leases),
		TEST(a_rule_that_has_expired_gets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
