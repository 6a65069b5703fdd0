#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/punch.h"

enum { NOW = 1000000, START = NOW + 50, ONE_WAY = 25, BURSTS = START + ONE_WAY + 30 };
#define A   "203.0.113.1:1000"
#define B   "[2001:db8::2]:2000"
#define LAN "192.168.7.7:3000"
#define NEW "203.0.113.99:9000"

struct sent {
	uint64_t at_ms;
	const char *to;
	uint8_t ttl;
};

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static void add(struct punch_plan *plan, enum candidate_kind kind, const char *text)
{
	struct addr a = addr_of(text);

	assert_true(candidates_add(&plan->remote, kind, &a));
}

static struct punch_plan plan_for(const char *reflexive)
{
	struct punch_plan plan = {
		.have_ip4 = true, .have_ip6 = true, .start_ms = START, .one_way_ms = ONE_WAY
	};

	if (reflexive)
		add(&plan, CANDIDATE_REFLEXIVE, reflexive);
	return plan;
}

static struct punch started(const struct punch_plan *plan)
{
	struct punch p = { 0 };

	punch_start(&p, plan, NOW);
	assert_int_equal(p.state, PUNCH_RUNNING);
	return p;
}

static void add_remote(struct punch *p, const char *text, uint64_t now_ms)
{
	struct addr a = addr_of(text);

	punch_add_remote(p, CANDIDATE_REFLEXIVE, &a, now_ms);
}

static void reply(struct punch *p, const char *from, uint64_t now_ms)
{
	struct addr a = addr_of(from);

	punch_on_reply(p, &a, now_ms);
}

/* Lives through virtual time until `until_ms`, wakes at each deadline, and compares what is sent with the column of
 * facts; the last has no address. Returns the number of probes. */
static unsigned expect(struct punch *p, uint64_t until_ms, const struct sent *want)
{
	struct punch_probe probe;
	char to[ADDR_TEXT_MAX];
	unsigned n = 0;

	while (punch_deadline(p) < until_ms) {
		uint64_t now = punch_deadline(p);

		assert_false(now > 0 && punch_next(p, now - 1, &probe));
		for (; punch_next(p, now, &probe); n++) {
			assert_non_null(want[n].to);
			assert_int_equal(now, want[n].at_ms);
			assert_string_equal(addr_format(&probe.to, to), want[n].to);
			assert_int_equal(probe.ttl, want[n].ttl);
		}
		assert_true(punch_deadline(p) > now);
	}
	assert_null(want[n].to);
	return n;
}

static unsigned probes_until(struct punch *p, uint64_t until_ms)
{
	struct punch_probe probe;
	unsigned n = 0;

	for (uint64_t now = punch_deadline(p); now < until_ms; now = punch_deadline(p)) {
		while (punch_next(p, now, &probe))
			n++;
	}
	return n;
}

static void an_opener_and_six_bursts_go_to_each_candidate(void **state)
{
	(void)state;
	static const struct sent want[] = {
		{ START, A, PUNCH_OPENER_TTL },
		{ START, B, PUNCH_OPENER_TTL },
		{ BURSTS, A },
		{ BURSTS, B },
		{ BURSTS + 20, A },
		{ BURSTS + 20, B },
		{ BURSTS + 60, A },
		{ BURSTS + 60, B },
		{ BURSTS + 140, A },
		{ BURSTS + 140, B },
		{ BURSTS + 300, A },
		{ BURSTS + 300, B },
		{ BURSTS + 600, A },
		{ BURSTS + 600, B },
		{ 0 },
	};
	const uint64_t end = BURSTS + 600 + 1500 + 2 * ONE_WAY;
	struct punch_plan plan = plan_for(A);
	struct punch_probe probe;

	add(&plan, CANDIDATE_HOST, B);
	struct punch p = started(&plan);
	expect(&p, end, want);
	assert_int_equal(p.state, PUNCH_RUNNING);
	assert_int_equal(punch_deadline(&p), end);
	assert_false(punch_next(&p, end, &probe));
	assert_int_equal(p.state, PUNCH_FAILED);
	assert_int_equal(punch_deadline(&p), UINT64_MAX);
}

static void the_opener_grows_by_round_and_then_stays_away(void **state)
{
	(void)state;
	static const uint8_t ttl[] = { 4, 7, 0, 0 };

	for (unsigned round = 0; round < sizeof ttl; round++) {
		struct punch_plan plan = plan_for(A);
		struct punch_probe probe;

		plan.round = round;
		struct punch p = started(&plan);
		assert_int_equal(punch_deadline(&p), ttl[round] ? START : BURSTS);
		assert_true(punch_next(&p, punch_deadline(&p), &probe));
		assert_int_equal(probe.ttl, ttl[round]);
		assert_int_equal(probes_until(&p, UINT64_MAX), ttl[round] ? 6 : 5);
	}
}

static void private_hosts_are_probed_cheaply(void **state)
{
	(void)state;
	static const struct sent want[] = {
		{ START, LAN, PUNCH_OPENER_TTL }, { BURSTS, LAN }, { BURSTS + 20, LAN }, { 0 }
	};
	struct punch_plan plan = plan_for(NULL);

	add(&plan, CANDIDATE_HOST, LAN);
	struct punch p = started(&plan);
	expect(&p, UINT64_MAX, want);
}

/* Two homes behind one carrier's NAT may see each other by private addresses. */
static void private_reflexive_addresses_are_probed_in_full(void **state)
{
	(void)state;
	struct punch_plan plan = plan_for("100.64.3.3:3000");
	struct punch p = started(&plan);

	assert_int_equal(probes_until(&p, UINT64_MAX), 7);
}

static void what_cannot_be_sent_to_is_skipped(void **state)
{
	(void)state;
	static const struct {
		bool have_ip4, have_ip6;
		size_t want;
	} cases[] = { { true, true, 2 }, { true, false, 1 }, { false, true, 1 }, { false, false, 0 } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct punch_plan plan = plan_for(A);

		add(&plan, CANDIDATE_HOST, B);
		add(&plan, CANDIDATE_HOST, "[fe80::1]:1"); /* on which interface? */
		plan.have_ip4 = cases[i].have_ip4;
		plan.have_ip6 = cases[i].have_ip6;
		struct punch p = started(&plan);
		assert_int_equal(probes_until(&p, UINT64_MAX), 7 * cases[i].want);
		assert_int_equal(p.state, PUNCH_FAILED);
	}
}

static void a_link_local_address_with_an_interface_is_probed(void **state)
{
	(void)state;
	struct punch_plan plan = plan_for(NULL);
	struct addr a = addr_of("[fe80::1]:1");

	a.scope = 3;
	candidates_add(&plan.remote, CANDIDATE_HOST, &a);
	struct punch p = started(&plan);
	assert_int_equal(probes_until(&p, UINT64_MAX), 3);
}

static void a_hit_sends_three_more_to_who_answered(void **state)
{
	(void)state;
	static const struct sent before[] = { { START, A, PUNCH_OPENER_TTL },
					      { START, B, PUNCH_OPENER_TTL },
					      { BURSTS, A },
					      { BURSTS, B },
					      { 0 } };
	static const struct sent after[] = {
		{ BURSTS + 7, B }, { BURSTS + 27, B }, { BURSTS + 67, B }, { 0 }
	};
	struct punch_plan plan = plan_for(A);

	add(&plan, CANDIDATE_HOST, B);
	struct punch p = started(&plan);
	expect(&p, BURSTS + 1, before);
	reply(&p, B, BURSTS + 7);
	assert_int_equal(p.state, PUNCH_HIT);
	reply(&p, A, BURSTS + 8); /* the first counts */
	expect(&p, UINT64_MAX, after);
	assert_int_equal(p.state, PUNCH_HIT);
	assert_int_equal(punch_deadline(&p), UINT64_MAX);
}

static void a_late_reply_turns_failure_into_a_hit(void **state)
{
	(void)state;
	static const struct sent after[] = {
		{ START + 9000, A }, { START + 9020, A }, { START + 9060, A }, { 0 }
	};
	struct punch_plan plan = plan_for(A);
	struct punch p = started(&plan);

	probes_until(&p, UINT64_MAX);
	assert_int_equal(p.state, PUNCH_FAILED);
	reply(&p, A, START + 9000);
	expect(&p, UINT64_MAX, after);
	assert_int_equal(p.state, PUNCH_HIT);
}

static void nothing_happens_when_idle_or_stopped(void **state)
{
	(void)state;
	struct punch_plan plan = plan_for(A);
	struct punch_probe probe;
	struct punch p = { 0 };

	for (int i = 0; i < 2; i++) {
		assert_int_equal(p.state, PUNCH_IDLE);
		assert_int_equal(punch_deadline(&p), UINT64_MAX);
		add_remote(&p, NEW, START);
		reply(&p, A, START);
		assert_false(punch_next(&p, START, &probe));
		assert_int_equal(p.state, PUNCH_IDLE);
		p = started(&plan);
		assert_true(punch_next(&p, START, &probe));
		punch_stop(&p);
	}
}

static void a_candidate_told_before_the_start_goes_with_the_others(void **state)
{
	(void)state;
	static const struct sent want[] = { { START, A, PUNCH_OPENER_TTL },
					    { START, NEW, PUNCH_OPENER_TTL },
					    { BURSTS, A },
					    { BURSTS, NEW },
					    { 0 } };
	struct punch_plan plan = plan_for(A);
	struct punch p = started(&plan);

	add_remote(&p, NEW, START - 1);
	expect(&p, BURSTS + 1, want);
}

static void a_candidate_told_midway_is_probed_at_once_and_in_full(void **state)
{
	(void)state;
	enum { LATE = BURSTS + 250 };
	static const struct sent early[] = { { START, A, PUNCH_OPENER_TTL },
					     { BURSTS, A },
					     { BURSTS + 20, A },
					     { BURSTS + 60, A },
					     { BURSTS + 140, A },
					     { 0 } };
	static const struct sent late[] = { { LATE, NEW },	 { LATE + 20, NEW },  { BURSTS + 300, A },
					    { LATE + 60, NEW },	 { LATE + 140, NEW }, { LATE + 300, NEW },
					    { BURSTS + 600, A }, { LATE + 600, NEW }, { 0 } };
	struct punch_plan plan = plan_for(A);
	struct punch p = started(&plan);

	expect(&p, LATE, early);
	add_remote(&p, NEW, LATE);
	add_remote(&p, NEW, LATE + 1); /* known by now */
	add_remote(&p, A, LATE + 1);
	add_remote(&p, "127.0.0.1:5", LATE + 1);
	expect(&p, LATE + 600 + 1500 + 2 * ONE_WAY, late);
	assert_int_equal(p.state, PUNCH_RUNNING);
	assert_int_equal(probes_until(&p, UINT64_MAX), 0);
	assert_int_equal(p.state, PUNCH_FAILED);
}

static struct punch full(void)
{
	struct punch_plan plan = plan_for(NULL);

	for (unsigned i = 0; i < RECORD_MAX_CANDIDATES; i++) {
		char text[ADDR_TEXT_MAX];
		snprintf(text, sizeof text, "203.0.113.1:%u", 1000 + i);
		add(&plan, CANDIDATE_REFLEXIVE, text);
	}
	return started(&plan);
}

static void a_new_candidate_replaces_the_last_of_a_full_list(void **state)
{
	(void)state;
	struct punch p = full();
	struct addr new = addr_of(NEW);

	add_remote(&p, NEW, START + 1);
	assert_int_equal(p.plan.remote.count, RECORD_MAX_CANDIDATES);
	assert_true(addr_equal(&p.plan.remote.items[RECORD_MAX_CANDIDATES - 1].addr, &new));
	add_remote(&p, "203.0.113.1:1000", START + 1); /* known: nobody is replaced */
	add_remote(&p, "0.0.0.0:1", START + 1);
	assert_true(addr_equal(&p.plan.remote.items[RECORD_MAX_CANDIDATES - 1].addr, &new));
}

/* A peer that is behind a NAT gone wild, or means ill, speaks from a new port each millisecond. */
static void the_budget_is_never_exceeded(void **state)
{
	(void)state;
	struct punch p = full();
	unsigned sent = 0;

	for (unsigned i = 0; i < 5000; i++) {
		char text[ADDR_TEXT_MAX];
		snprintf(text, sizeof text, "203.0.113.2:%u", 1000 + i);
		add_remote(&p, text, START + i);
		sent += probes_until(&p, START + i + 1);
	}
	sent += probes_until(&p, UINT64_MAX);
	assert_int_equal(p.state, PUNCH_FAILED);
	assert_int_equal(p.sent, sent);
	assert_in_range(sent, 16 * 7, PUNCH_BUDGET - 3);
	reply(&p, A, START + 9000); /* three are left for this */
	sent += probes_until(&p, UINT64_MAX);
	assert_int_equal(p.hit_probes, 3);
	assert_in_range(sent, 16 * 7, PUNCH_BUDGET);
}

static void a_start_that_has_passed_means_now(void **state)
{
	(void)state;
	static const struct sent want[] = { { NOW, A, PUNCH_OPENER_TTL }, { NOW + ONE_WAY + 30, A }, { 0 } };
	struct punch_plan plan = plan_for(A);

	plan.start_ms = NOW - 100000;
	struct punch p = started(&plan);
	expect(&p, NOW + ONE_WAY + 31, want);
}

static void times_beyond_reason_are_cut(void **state)
{
	(void)state;
	static const struct sent want[] = {
		{ NOW + PUNCH_MAX_WAIT_MS, A, PUNCH_OPENER_TTL },
		{ NOW + PUNCH_MAX_WAIT_MS + PUNCH_MAX_ONE_WAY_MS + 30, A },
		{ 0 },
	};
	struct punch_plan plan = plan_for(A);

	plan.start_ms = UINT64_MAX;
	plan.one_way_ms = UINT32_MAX;
	struct punch p = started(&plan);
	expect(&p, want[1].at_ms + 1, want);
}

static void a_late_caller_sends_one_probe_for_those_it_missed(void **state)
{
	(void)state;
	struct punch_plan plan = plan_for(A);
	struct punch p = started(&plan);
	struct punch_probe probe;

	assert_true(punch_next(&p, BURSTS + 150, &probe)); /* asleep since before the start */
	assert_int_equal(probe.ttl, 0);
	assert_false(punch_next(&p, BURSTS + 150, &probe));
	assert_int_equal(punch_deadline(&p), BURSTS + 300);
	assert_int_equal(p.sent, 1);
}

static void a_round_may_follow_a_round(void **state)
{
	(void)state;
	struct punch_plan plan = plan_for(A);
	struct punch p = started(&plan);

	reply(&p, A, START);
	probes_until(&p, UINT64_MAX);
	punch_start(&p, &plan, NOW);
	assert_int_equal(p.state, PUNCH_RUNNING);
	assert_int_equal(p.sent, 0);
	assert_int_equal(probes_until(&p, UINT64_MAX), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_opener_and_six_bursts_go_to_each_candidate),
		cmocka_unit_test(the_opener_grows_by_round_and_then_stays_away),
		cmocka_unit_test(private_hosts_are_probed_cheaply),
		cmocka_unit_test(private_reflexive_addresses_are_probed_in_full),
		cmocka_unit_test(what_cannot_be_sent_to_is_skipped),
		cmocka_unit_test(a_link_local_address_with_an_interface_is_probed),
		cmocka_unit_test(a_hit_sends_three_more_to_who_answered),
		cmocka_unit_test(a_late_reply_turns_failure_into_a_hit),
		cmocka_unit_test(nothing_happens_when_idle_or_stopped),
		cmocka_unit_test(a_candidate_told_before_the_start_goes_with_the_others),
		cmocka_unit_test(a_candidate_told_midway_is_probed_at_once_and_in_full),
		cmocka_unit_test(a_new_candidate_replaces_the_last_of_a_full_list),
		cmocka_unit_test(the_budget_is_never_exceeded),
		cmocka_unit_test(a_start_that_has_passed_means_now),
		cmocka_unit_test(times_beyond_reason_are_cut),
		cmocka_unit_test(a_late_caller_sends_one_probe_for_those_it_missed),
		cmocka_unit_test(a_round_may_follow_a_round),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
