/* What of a rule is carried at its owner, and what is asked of its gateway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/p2pd/forward/forward_plan.h"

static struct rule rule;
static struct forward_plan plan;
static struct forward_list kernel, user;
static struct forward_node members[2];
static struct forward_prefix admitted[2];

static struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static int begin(void **state)
{
	char why[RULE_WHY];

	(void)state;
	rule_init(&rule);
	memset(rule.id, 7, sizeof rule.id);
	assert_int_equal(rule_read_local(&rule, "192.168.50.10:80,9000-9002", why), 0);
	plan = (struct forward_plan) {
		.ip4 = ip("10.77.0.1"),
		.ip6 = ip("fd00::1"),
		.gateway = { .ik = { 9 }, .ip4 = ip("10.77.0.9"), .ip6 = ip("fd00::9") },
		.tunnel = 12000,
		.secret = "known to both",
		.members = members,
		.admitted = admitted,
	};
	members[0] = (struct forward_node) { .ik = { 2 }, .ip4 = ip("10.77.0.2"), .ip6 = ip("fd00::2") };
	members[1] = (struct forward_node) { .ik = { 3 }, .ip6 = ip("fd00::3") };
	admitted[0] = (struct forward_prefix) { ip("198.51.100.7"), 32 };
	admitted[1] = (struct forward_prefix) { ip("2001:db8::7"), 128 };
	return 0;
}

static int end(void **state)
{
	(void)state;
	forward_list_free(&kernel);
	forward_list_free(&user);
	return 0;
}

static void make_public(void)
{
	rule.scope = RULE_PUBLIC;
	strcpy(rule.via, "gate");
}

static void compute(void)
{
	forward_list_clear(&kernel);
	forward_list_clear(&user);
	assert_int_equal(forward_plan_entries(&rule, &plan, &kernel, &user), 0);
}

/* "10.77.0.1:80+1 tcp -> 192.168.50.10:80" */
static const char *shown(const struct forward_entry *e)
{
	static char text[160];
	char listen[ADDR_TEXT_MAX], target[ADDR_TEXT_MAX];

	snprintf(text, sizeof text, "%s+%u %s -> %s", addr_format(&e->listen, listen), e->count,
		 e->proto == FORWARD_TCP ? "tcp" : "udp", addr_format(&e->target, target));
	return text;
}

static void members_come_to_both_our_addresses(void **state)
{
	static const char *const wanted[] = {
		"10.77.0.1:80+1 tcp -> 192.168.50.10:80",
		"10.77.0.1:9000+3 tcp -> 192.168.50.10:9000",
		"[fd00::1]:80+1 tcp -> 192.168.50.10:80",
		"[fd00::1]:9000+3 tcp -> 192.168.50.10:9000",
	};

	(void)state;
	compute();
	assert_int_equal(kernel.count, 0);
	assert_int_equal(user.count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(shown(&user.items[i]), wanted[i]);
		assert_false(user.items[i].restricted);
		assert_false(user.items[i].header_in);
		assert_int_equal(user.items[i].gateway4.family, ADDR_NONE);
		assert_int_equal(user.items[i].side, FORWARD_OWNER);
	}
}

static void the_kernel_carries_the_services_family_and_sockets_the_other(void **state)
{
	(void)state;
	plan.kernel = true;
	compute();
	assert_int_equal(kernel.count, 2);
	assert_int_equal(user.count, 2);
	assert_string_equal(shown(&kernel.items[0]), "10.77.0.1:80+1 tcp -> 192.168.50.10:80");
	assert_string_equal(shown(&user.items[0]), "[fd00::1]:80+1 tcp -> 192.168.50.10:80");
}

static void only_source_ip_kernel_is_the_kernels(void **state)
{
	static const enum rule_source others[] = { RULE_PROXY_V2, RULE_NAT };

	(void)state;
	plan.kernel = true;
	for (size_t i = 0; i < 2; i++) {
		rule.source_ip = others[i];
		compute();
		assert_int_equal(kernel.count, 0);
		assert_int_equal(user.count, 4);
		assert_int_equal(user.items[0].header_out, others[i] == RULE_PROXY_V2);
	}
}

static void both_protocols_are_entries_of_their_own(void **state)
{
	(void)state;
	rule.udp = true;
	compute();
	assert_int_equal(user.count, 8);
	assert_string_equal(shown(&user.items[1]), "10.77.0.1:80+1 udp -> 192.168.50.10:80");
}

static void another_public_port_moves_all_ranges_alike(void **state)
{
	(void)state;
	rule.public_port = 8080;
	compute();
	assert_string_equal(shown(&user.items[0]), "10.77.0.1:8080+1 tcp -> 192.168.50.10:80");
	assert_string_equal(shown(&user.items[1]), "10.77.0.1:17000+3 tcp -> 192.168.50.10:9000");
}

static void named_members_and_nobody_else(void **state)
{
	(void)state;
	rule.scope = RULE_NODES;
	plan.member_count = 2;
	compute();
	assert_int_equal(user.count, 4);
	/* By both families, whichever the entry listens at: carry knows one list of an id. */
	for (size_t i = 0; i < 4; i++) {
		assert_true(user.items[i].restricted);
		assert_int_equal(user.items[i].allow_count, 3); /* the second member has no IPv4 address */
		assert_true(addr_same_ip(&user.items[i].allow[0].prefix, &members[0].ip4));
		assert_int_equal(user.items[i].allow[0].bits, 32);
		assert_true(addr_same_ip(&user.items[i].allow[1].prefix, &members[0].ip6));
		assert_int_equal(user.items[i].allow[1].bits, 128);
		assert_true(addr_same_ip(&user.items[i].allow[2].prefix, &members[1].ip6));
	}
	plan.member_count = 0;
	compute();
	assert_true(user.items[0].restricted);
	assert_int_equal(user.items[0].allow_count, 0);
}

static void an_allow_list_narrows_who_of_the_members_comes(void **state)
{
	(void)state;
	plan.kernel = true;
	plan.member_count = 2;
	rule.allow[0] = (struct forward_prefix) { ip("10.77.0.2"), 32 };
	rule.allow[1] = (struct forward_prefix) { ip("fd00::"), 16 };
	rule.allow_count = 1;
	for (int nodes = 0; nodes < 2; nodes++) {
		rule.scope = nodes ? RULE_NODES : RULE_ORG;
		compute();
		assert_true(kernel.items[0].restricted && user.items[0].restricted);
		assert_int_equal(kernel.items[0].allow_count, 1); /* by IPv6 nobody */
		assert_true(addr_same_ip(&kernel.items[0].allow[0].prefix, &members[0].ip4));
		assert_int_equal(user.items[0].allow_count, 1);
	}
	rule.allow[0].prefix = ip("10.77.0.9");
	rule.allow_count = 2;
	compute();
	assert_int_equal(kernel.items[0].allow_count, 2); /* both by IPv6 */
	assert_true(addr_same_ip(&kernel.items[0].allow[0].prefix, &members[0].ip6));
	assert_int_equal(kernel.items[0].allow[1].bits, 128);
}

static void public_rules_come_out_at_the_tunnels_ports(void **state)
{
	(void)state;
	make_public();
	compute();
	assert_int_equal(user.count, 4);
	assert_string_equal(shown(&user.items[0]), "10.77.0.1:12000+1 tcp -> 192.168.50.10:80");
	assert_string_equal(shown(&user.items[1]), "10.77.0.1:12001+3 tcp -> 192.168.50.10:9000");
	for (size_t i = 0; i < 4; i++) {
		assert_true(user.items[i].header_in);
		assert_memory_equal(user.items[i].secret, plan.secret, FORWARD_SECRET);
		assert_true(addr_same_ip(&user.items[i].gateway4, &plan.gateway.ip4));
		assert_true(addr_same_ip(&user.items[i].gateway6, &plan.gateway.ip6));
	}
}

static void the_kernel_needs_no_header(void **state)
{
	(void)state;
	make_public();
	plan.kernel = true;
	compute();
	assert_int_equal(kernel.count, 2);
	assert_false(kernel.items[0].header_in);
	assert_int_equal(kernel.items[0].secret[0], 0);
	assert_true(user.items[0].header_in); /* IPv6 visitors come by the gateway's sockets */
}

static void visitors_are_let_in_by_list_and_by_token(void **state)
{
	(void)state;
	make_public();
	rule.allow[0] = (struct forward_prefix) { ip("203.0.113.0"), 24 };
	rule.allow_count = 1;
	plan.admitted_count = 2;
	compute();
	assert_int_equal(user.items[0].allow_count, 1); /* a rule that takes no tokens has nobody admitted */
	rule.allow_token = true;
	compute();
	assert_int_equal(user.items[0].allow_count, 3); /* sockets see visitors of both families */
	plan.kernel = true;
	compute();
	assert_int_equal(kernel.items[0].allow_count, 3);
	rule.allow_count = 0;
	plan.admitted_count = 0;
	compute();
	assert_true(kernel.items[0].restricted);
	assert_int_equal(kernel.items[0].allow_count, 0);
}

static void limits_are_the_rules(void **state)
{
	(void)state;
	rule.max_conn = 5;
	rule.idle_s = 6;
	rule.rate = 7000;
	rule.paused = true;
	compute();
	for (size_t i = 0; i < user.count; i++) {
		const struct forward_entry *e = &user.items[i];
		assert_true(e->max_conn == 5 && e->idle_s == 6 && e->rate == 7000 && e->paused);
		assert_memory_equal(e->id, rule.id, FORWARD_ID);
	}
}

static void only_kernel_rules_of_gateways_need_passes(void **state)
{
	struct pass_entry out[RULE_RANGES_MAX * 2];

	(void)state;
	plan.kernel = true;
	assert_int_equal(forward_plan_passes(&rule, &plan, out), 0);
	make_public();
	rule.udp = true;
	assert_int_equal(forward_plan_passes(&rule, &plan, out), 4);
	assert_int_equal(out[1].first, 12001);
	assert_int_equal(out[1].count, 3);
	assert_int_equal(out[1].proto, FORWARD_TCP);
	assert_int_equal(out[3].proto, FORWARD_UDP);
	assert_memory_equal(out[0].peer, plan.gateway.ik, sizeof out[0].peer);
	plan.kernel = false;
	assert_int_equal(forward_plan_passes(&rule, &plan, out), 0);
}

static void a_lease_says_what_the_gateway_needs(void **state)
{
	struct lease_request r;

	(void)state;
	make_public();
	rule.public_port = 8080;
	rule.allow[0] = (struct forward_prefix) { ip("203.0.113.0"), 24 };
	rule.allow_count = 1;
	rule.allow_token = true;
	rule.expires_at = 99;
	plan.admitted_count = 2;
	plan.kernel = true;
	forward_plan_lease(&rule, &plan, &r);
	assert_int_equal(r.range_count, 2);
	assert_int_equal(r.ranges[1].wanted, 17000);
	assert_int_equal(r.ranges[1].tunnel, 12001);
	assert_int_equal(r.ranges[1].count, 3);
	assert_int_equal(r.allow_count, 3);
	assert_true(r.restricted && r.tokens && r.kernel && r.tcp && !r.udp);
	assert_int_equal(r.family, ADDR_V4);
	assert_int_equal(r.expires_at, 99);
}

static void any_change_is_told_to_the_gateway(void **state)
{
	struct lease_request a, b;

	(void)state;
	make_public();
	forward_plan_lease(&rule, &plan, &a);
	b = a;
	assert_true(forward_plan_same_lease(&a, &b));
#define DIFFERS(change)                                        \
	do {                                                   \
		b = a;                                         \
		change;                                        \
		assert_false(forward_plan_same_lease(&a, &b)); \
	} while (0)
	DIFFERS(b.paused = true);
	DIFFERS(b.kernel = true);
	DIFFERS(b.udp = true);
	DIFFERS(b.restricted = true);
	DIFFERS(b.tokens = true);
	DIFFERS(b.max_conn++);
	DIFFERS(b.idle_s++);
	DIFFERS(b.rate++);
	DIFFERS(b.expires_at++);
	DIFFERS(b.ranges[1].tunnel++);
	DIFFERS(b.ranges[0].wanted++);
	DIFFERS(b.range_count--);
	DIFFERS(strcpy(b.name, "other"));
	DIFFERS(b.secret[15]++);
	DIFFERS(strcpy(b.domain, "example.org"));
	DIFFERS(b.allow[b.allow_count++] = admitted[0]);
#undef DIFFERS
}

static void without_an_address_there_is_no_entry(void **state)
{
	(void)state;
	plan.ip6 = (struct addr) { 0 };
	compute();
	assert_int_equal(user.count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(members_come_to_both_our_addresses, begin, end),
		cmocka_unit_test_setup_teardown(the_kernel_carries_the_services_family_and_sockets_the_other,
						begin, end),
		cmocka_unit_test_setup_teardown(only_source_ip_kernel_is_the_kernels, begin, end),
		cmocka_unit_test_setup_teardown(both_protocols_are_entries_of_their_own, begin, end),
		cmocka_unit_test_setup_teardown(another_public_port_moves_all_ranges_alike, begin, end),
		cmocka_unit_test_setup_teardown(named_members_and_nobody_else, begin, end),
		cmocka_unit_test_setup_teardown(an_allow_list_narrows_who_of_the_members_comes, begin, end),
		cmocka_unit_test_setup_teardown(public_rules_come_out_at_the_tunnels_ports, begin, end),
		cmocka_unit_test_setup_teardown(the_kernel_needs_no_header, begin, end),
		cmocka_unit_test_setup_teardown(visitors_are_let_in_by_list_and_by_token, begin, end),
		cmocka_unit_test_setup_teardown(limits_are_the_rules, begin, end),
		cmocka_unit_test_setup_teardown(only_kernel_rules_of_gateways_need_passes, begin, end),
		cmocka_unit_test_setup_teardown(a_lease_says_what_the_gateway_needs, begin, end),
		cmocka_unit_test_setup_teardown(any_change_is_told_to_the_gateway, begin, end),
		cmocka_unit_test_setup_teardown(without_an_address_there_is_no_entry, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
