#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "nat/portmap.h"

enum { PORT = 41000, MINUTE = 60000 };

static const struct lan none;
static struct lan lan4, lan6;

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static struct portmap begun(const struct lan *six, uint64_t now)
{
	static const uint8_t nonce[GATEWAY_NONCE] = { 7 };
	struct portmap p;

	portmap_init(&p, PORT, nonce);
	assert_true(portmap_deadline(&p) == UINT64_MAX);
	portmap_on_network(&p, &lan4, six, now);
	return p;
}

static struct gateway_job take(struct portmap *p, enum gateway_protocol protocol, uint64_t now)
{
	struct gateway_job job;

	assert_true(portmap_next(p, now, &job));
	assert_int_equal(job.protocol, protocol);
	return job;
}

static void grant(struct portmap *p, const struct gateway_job *job, const char *external, uint32_t lifetime_s,
		  uint64_t now)
{
	struct gateway_result r = { .external = at(external), .lifetime_s = lifetime_s };

	portmap_on_result(p, job, &r, now);
}

static void refuse(struct portmap *p, const struct gateway_job *job, int error, unsigned code, uint64_t now)
{
	struct gateway_result r = { .error = error, .code = code };

	portmap_on_result(p, job, &r, now);
}

/* Only this protocol is there; the others are out of the way for a minute. */
static struct gateway_job only(struct portmap *p, enum gateway_protocol protocol, uint64_t now)
{
	struct gateway_job job, wanted = { 0 };

	while (portmap_next(p, now, &job)) {
		if (job.protocol == protocol)
			wanted = job;
		else
			refuse(p, &job, -ENOENT, 0, now);
	}
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		if (i != (int)protocol)
			p->entries[i][0].due_ms = UINT64_MAX;
	return wanted;
}

static void all_three_are_asked_at_once(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 1000);
	struct gateway_job job;

	assert_int_equal(portmap_deadline(&p), 1000);
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		job = take(&p, (enum gateway_protocol)i, 1000);
		assert_false(job.unmap);
		assert_int_equal(job.internal_port, PORT);
		assert_int_equal(job.suggested_port, PORT);
		assert_int_equal(job.lifetime_s, 7200);
		assert_int_equal(job.nonce[0], 7);
		assert_true(addr_equal(&job.lan.gateway, &lan4.gateway));
	}
	assert_false(portmap_next(&p, 1000, &job));
	assert_true(portmap_deadline(&p) == UINT64_MAX);
}

static void ipv6_pinholes_follow_when_the_protocol_is_free(void **state)
{
	(void)state;
	struct portmap p = begun(&lan6, 0);
	struct gateway_job four[GATEWAY_PROTOCOLS], job;

	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		four[i] = take(&p, (enum gateway_protocol)i, 0);
	assert_false(portmap_next(&p, 0, &job));
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		refuse(&p, &four[i], -ENOENT, 0, 10);
	assert_int_equal(take(&p, GATEWAY_PCP, 10).lan.local.family, ADDR_V6);
	assert_int_equal(take(&p, GATEWAY_UPNP, 10).lan.local.family, ADDR_V6);
	assert_false(portmap_next(&p, 10, &job)); /* NAT-PMP knows IPv4 only */
}

static void a_lease_is_renewed_at_half(void **state)
{
	(void)state;
	static const struct {
		uint32_t granted_s, renewed_s;
	} cases[] = {
		{ 7200, 3600 },	       { 120, 60 }, { 30, 15 }, { 1, 15 }, { 0 /* for ever */, 3600 },
		{ 4000000000u, 3600 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct portmap p = begun(&none, 0);
		struct gateway_job job = only(&p, GATEWAY_UPNP, 0);

		grant(&p, &job, "203.0.113.5:4242", cases[i].granted_s, 100);
		assert_int_equal(portmap_deadline(&p), 100 + cases[i].renewed_s * 1000ull);
		assert_int_equal(take(&p, GATEWAY_UPNP, portmap_deadline(&p)).suggested_port, 4242);
	}
}

static void a_failure_is_tried_again_ever_less_often(void **state)
{
	(void)state;
	static const unsigned minutes[] = { 1, 5, 15, 60, 60 };
	struct portmap p = begun(&none, 0);
	struct gateway_job job = only(&p, GATEWAY_PCP, 0);
	uint64_t now = 0;

	for (size_t i = 0; i < sizeof minutes / sizeof *minutes; i++) {
		refuse(&p, &job, i % 2 ? -EPERM : -ENOENT, 2, now);
		assert_int_equal(p.entries[GATEWAY_PCP][0].state, i % 2 ? PORTMAP_REFUSED : PORTMAP_ABSENT);
		assert_int_equal(portmap_deadline(&p), now + minutes[i] * (uint64_t)MINUTE);
		now = portmap_deadline(&p);
		job = take(&p, GATEWAY_PCP, now);
	}
	/* A new network is worth a new try, and so is a change of whatever kind. */
	refuse(&p, &job, -ENOENT, 0, now);
	portmap_on_network(&p, &lan4, &none, now);
	assert_int_equal(portmap_deadline(&p), now);
}

static void changes_that_do_not_end_make_few_requests(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job job;
	unsigned jobs = 0;

	for (uint64_t now = 0; now < 10 * MINUTE; now += 200) {
		portmap_on_network(&p, &lan4, &none, now);
		for (; portmap_next(&p, now, &job); jobs++)
			refuse(&p, &job, -ENOENT, 0, now);
	}
	assert_in_range(jobs, 9 * GATEWAY_PROTOCOLS, 11 * GATEWAY_PROTOCOLS);
}

static void a_mapping_outlives_a_lost_renewal_until_its_lease_ends(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job job = only(&p, GATEWAY_PCP, 0);
	struct portmap_entry *e = &p.entries[GATEWAY_PCP][0];
	uint64_t now = 0;

	grant(&p, &job, "203.0.113.5:4242", 120, now);
	now = portmap_deadline(&p);
	for (job = take(&p, GATEWAY_PCP, now); now < 120000; job = take(&p, GATEWAY_PCP, now)) {
		refuse(&p, &job, -ENOENT, 0, now);
		assert_int_equal(e->state, PORTMAP_WORKING);
		now = portmap_deadline(&p);
		assert_true(now <= 120000);
	}
	refuse(&p, &job, -ENOENT, 0, now);
	assert_int_equal(e->state, PORTMAP_ABSENT);
	assert_int_equal(e->external.family, ADDR_NONE);
}

static void a_refused_renewal_ends_the_mapping(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job job = only(&p, GATEWAY_PCP, 0);

	grant(&p, &job, "203.0.113.5:4242", 7200, 0);
	job = take(&p, GATEWAY_PCP, 3600000);
	refuse(&p, &job, -EPERM, 2, 3600000);
	assert_int_equal(p.entries[GATEWAY_PCP][0].state, PORTMAP_REFUSED);
	assert_int_equal(p.entries[GATEWAY_PCP][0].code, 2);
}

static void a_gateway_that_forgot_is_asked_anew_at_once(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job job = only(&p, GATEWAY_PCP, 0);
	struct gateway_result r = {
		.external = at("203.0.113.5:4242"), .lifetime_s = 7200, .has_epoch = true, .epoch_s = 5000
	};
	uint64_t now = 1000000;

	portmap_on_result(&p, &job, &r, 0);
	portmap_on_announcement(&p, GATEWAY_PCP, 6000, NULL, now);
	assert_true(portmap_deadline(&p) > now);
	portmap_on_announcement(&p, GATEWAY_PCP, 3, NULL, now);
	assert_int_equal(portmap_deadline(&p), now);
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		take(&p, (enum gateway_protocol)i, now);
}

static void another_external_address_is_asked_about_at_once(void **state)
{
	(void)state;
	const struct addr same = at("203.0.113.5"), other = at("203.0.113.6");
	struct portmap p = begun(&none, 0);
	struct gateway_job job = only(&p, GATEWAY_NATPMP, 0);

	grant(&p, &job, "203.0.113.5:4242", 7200, 0);
	portmap_on_announcement(&p, GATEWAY_NATPMP, 1000, &same, 100000);
	assert_true(portmap_deadline(&p) > 100000);
	portmap_on_announcement(&p, GATEWAY_NATPMP, 1000, &other, 100000);
	assert_int_equal(portmap_deadline(&p), 100000);
}

static void a_gateway_younger_than_a_mapping_is_asked_anew(void **state)
{
	(void)state;
	static const struct {
		uint32_t epoch_s;
		bool anew;
	} cases[] = { { 0, true }, { 90, true }, { 99, false }, { 100, false }, { 5000, false } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct portmap p = begun(&none, 0);
		struct gateway_job job = only(&p, GATEWAY_UPNP, 0);

		grant(&p, &job, "203.0.113.5:4242", 7200, 100000);
		portmap_on_announcement(&p, GATEWAY_PCP, cases[i].epoch_s, NULL, 200000);
		assert_int_equal(portmap_deadline(&p) == 200000, cases[i].anew);
	}
}

static void many_claims_of_a_loss_make_few_requests(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	unsigned jobs = 0;

	for (uint64_t now = 0; now < 60000; now += 10) {
		struct gateway_job job;
		portmap_on_announcement(&p, GATEWAY_PCP, (uint32_t)(now * 7919), NULL, now);
		for (; portmap_next(&p, now, &job); jobs++)
			grant(&p, &job, "203.0.113.5:4242", 7200, now);
	}
	assert_in_range(jobs, 3, 3 * (1 + 60000 / PORTMAP_LOST_MS + 1));
}

static void a_result_from_before_a_change_does_not_count(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job job = only(&p, GATEWAY_PCP, 0);
	struct lan other = lan4;

	other.local = at("192.168.7.9");
	other.gateway = at("192.168.7.1");
	portmap_on_network(&p, &other, &none, 5);
	grant(&p, &job, "203.0.113.5:4242", 7200, 10);
	assert_int_equal(p.entries[GATEWAY_PCP][0].state, PORTMAP_UNKNOWN);
	job = take(&p, GATEWAY_PCP, 10);
	assert_true(addr_equal(&job.lan.gateway, &other.gateway));
	assert_int_equal(job.suggested_port, PORT);
}

static void without_a_gateway_nobody_is_asked(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job job = only(&p, GATEWAY_PCP, 0);

	grant(&p, &job, "203.0.113.5:4242", 7200, 0);
	portmap_on_network(&p, &none, &none, 5);
	assert_int_equal(p.entries[GATEWAY_PCP][0].state, PORTMAP_ABSENT);
	assert_true(portmap_deadline(&p) == UINT64_MAX);
	portmap_on_lost(&p, 20000);
	assert_false(portmap_next(&p, 30000, &job));
	portmap_on_network(&p, &lan4, &none, 40000);
	take(&p, GATEWAY_PCP, 40000);
}

static void at_the_end_what_may_be_there_is_given_back(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job job, pcp = take(&p, GATEWAY_PCP, 0), natpmp = take(&p, GATEWAY_NATPMP, 0),
				upnp = take(&p, GATEWAY_UPNP, 0);

	refuse(&p, &pcp, -ENOENT, 0, 0); /* nothing to give back */
	grant(&p, &natpmp, "203.0.113.5:4242", 7200, 0);
	portmap_release(&p);
	refuse(&p, &upnp, -ECANCELED, 0, 0); /* it may have come to something */
	job = take(&p, GATEWAY_NATPMP, 1);
	assert_true(job.unmap);
	assert_int_equal(job.suggested_port, 4242);
	refuse(&p, &job, -ENOENT, 0, 1);
	assert_true(take(&p, GATEWAY_UPNP, 1).unmap);
	assert_false(portmap_next(&p, 1000000000, &job));
}

static void double_nat_is_told(void **state)
{
	(void)state;
	static const struct {
		const char *external, *stun;
		bool told;
	} cases[] = {
		{ "203.0.113.5:1", "203.0.113.5:9", false },
		{ "203.0.113.5:1", "203.0.113.6:1", true },
		{ "203.0.113.5:1", NULL, false },
		{ "100.64.3.4:1", NULL, true },
		{ "192.168.0.2:1", "203.0.113.6:1", true },
		{ "10.0.0.1:1", "10.0.0.1:1", true },
		{ "[2001:db8::1]:1", "203.0.113.6:1", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr external = at(cases[i].external);
		struct addr stun = cases[i].stun ? at(cases[i].stun) : (struct addr) { 0 };
		if (portmap_double_nat(&external, &stun) != cases[i].told)
			fail_msg("%s", cases[i].external);
	}
}

static void the_view_lists_what_works_in_the_order_of_preference(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	struct gateway_job pcp = take(&p, GATEWAY_PCP, 0), natpmp = take(&p, GATEWAY_NATPMP, 0),
			   upnp = take(&p, GATEWAY_UPNP, 0);
	struct addr stun = at("203.0.113.5:1");
	struct portmap_view v;

	portmap_view(&p, &stun, &v);
	assert_true(v.enabled);
	assert_int_equal(v.count, 0);
	assert_int_equal(v.state[GATEWAY_PCP], PORTMAP_UNKNOWN);
	grant(&p, &upnp, "203.0.113.5:4242", 7200, 0);
	refuse(&p, &natpmp, -EPERM, 3, 0);
	grant(&p, &pcp, "100.64.0.1:4242", 7200, 0);
	portmap_view(&p, &stun, &v);
	assert_int_equal(v.count, 2);
	assert_int_equal(v.items[0].protocol, GATEWAY_PCP);
	assert_true(v.items[0].double_nat);
	assert_int_equal(v.items[1].protocol, GATEWAY_UPNP);
	assert_false(v.items[1].double_nat);
	assert_int_equal(v.state[GATEWAY_NATPMP], PORTMAP_REFUSED);
	assert_int_equal(v.code[GATEWAY_NATPMP], 3);
}

static void one_endpoint_is_listed_once(void **state)
{
	(void)state;
	struct portmap p = begun(&none, 0);
	const struct addr unknown = { 0 };
	struct gateway_job job;
	struct portmap_view v;

	while (portmap_next(&p, 0, &job))
		grant(&p, &job, "203.0.113.5:4242", 7200, 0);
	portmap_view(&p, &unknown, &v);
	assert_int_equal(v.count, 1);
	assert_int_equal(v.state[GATEWAY_UPNP], PORTMAP_WORKING);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	lan4 = (struct lan) {
		.gateway = at("192.168.1.1"), .local = at("192.168.1.20"), .bits = 24, .ifindex = 2
	};
	lan6 = (struct lan) {
		.gateway = at("fe80::1"), .local = at("2001:db8::20"), .bits = 64, .ifindex = 2
	};
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_three_are_asked_at_once),
		cmocka_unit_test(ipv6_pinholes_follow_when_the_protocol_is_free),
		cmocka_unit_test(a_lease_is_renewed_at_half),
		cmocka_unit_test(a_failure_is_tried_again_ever_less_often),
		cmocka_unit_test(changes_that_do_not_end_make_few_requests),
		cmocka_unit_test(a_mapping_outlives_a_lost_renewal_until_its_lease_ends),
		cmocka_unit_test(a_refused_renewal_ends_the_mapping),
		cmocka_unit_test(a_gateway_that_forgot_is_asked_anew_at_once),
		cmocka_unit_test(another_external_address_is_asked_about_at_once),
		cmocka_unit_test(a_gateway_younger_than_a_mapping_is_asked_anew),
		cmocka_unit_test(many_claims_of_a_loss_make_few_requests),
		cmocka_unit_test(a_result_from_before_a_change_does_not_count),
		cmocka_unit_test(without_a_gateway_nobody_is_asked),
		cmocka_unit_test(at_the_end_what_may_be_there_is_given_back),
		cmocka_unit_test(double_nat_is_told),
		cmocka_unit_test(the_view_lists_what_works_in_the_order_of_preference),
		cmocka_unit_test(one_endpoint_is_listed_once),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
