/* What one owner asks for does no harm to the others' leases, nor to the gateway. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway_bench.h"

static struct lease_request numbered(unsigned n)
{
	struct lease_request r = made_request(0);

	r.id[14] = (uint8_t)(n >> 8);
	r.id[15] = (uint8_t)n;
	return r;
}

/* --- Tunnel ports: with the same ones twice the kernel would refuse all leases together. */

static void an_owners_tunnel_ports_are_of_one_lease(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);
	static const struct {
		uint16_t tunnel, count;
		int rc;
	} cases[] = { { 10000, 10, -EADDRINUSE },
		      { 10005, 10, -EADDRINUSE },
		      { 9991, 10, -EADDRINUSE },
		      { 9000, 2000, -EADDRINUSE },
		      { 10009, 1, -EADDRINUSE },
		      { 9990, 10, 0 },
		      { 10010, 10, 0 } };

	r.ranges[0] = (struct lease_range) { 8000, 10000, 10 };
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(ask(b, 1, &r), 0); /* again */
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lease_request other = made_request(2);
		other.ranges[0] = (struct lease_range) { 0, cases[i].tunnel, cases[i].count };
		assert_int_equal(ask(b, 1, &other), cases[i].rc);
		if (cases[i].rc)
			assert_memory_equal(b->conflict, r.id, FORWARD_ID);
		else
			assert_int_equal(gateway_release(b->g, owner(1).ik, other.id), 0);
		assert_int_equal(ask(b, 2, &other), 0); /* another node's own */
		assert_int_equal(gateway_release(b->g, owner(2).ik, other.id), 0);
	}
	r = made_request(3);
	r.tcp = false;
	r.udp = true;
	r.ranges[0].tunnel = 10000;
	assert_int_equal(ask(b, 1, &r), 0); /* of another protocol */
}

/* --- Ports. */

/* So that no run of 4081 is left between the single ports. */
static void a_search_in_vain_asks_the_machine_little(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.udp = true;
	for (unsigned i = 0; i < 15; i++)
		r.ranges[i] = (struct lease_range) { (uint16_t)(1024 + 4030 * (i + 1)), (uint16_t)(10000 + i),
						     1 };
	r.ranges[15] = (struct lease_range) { 0, 20000, 4081 };
	r.range_count = 16;
	assert_int_equal(ask(b, 1, &r), -ENOSPC);
	assert_in_range(b->asked, 1, 1024);
	assert_in_range(b->looked, 1, 2);
}

static void a_large_range_asks_the_machine_little(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	r.udp = true;
	r.ranges[0] = (struct lease_range) { 20000, 20000, 4096 };
	assert_int_equal(ask(b, 1, &r), 0);
	assert_in_range(b->asked, 1, 1024);
	assert_in_range(b->looked, 1, 2);
}

static void what_listens_is_neither_given_nor_chosen(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1);

	/* Of 9000 to 9099 only 9040 to 9049 are free, one of them has a program that does not listen. */
	b->config.ports[0] = (struct rule_range) { 9000, 100 };
	b->config.port_count = 1;
	gateway_configure(b->g, &b->config);
	for (unsigned port = 9000; port < 9100; port++)
		if (port < 9040 || port >= 9050)
			b->listened[port / 8] |= (uint8_t)(1 << port % 8);
	b->busy = 9041;
	r.ranges[0] = (struct lease_range) { 9020, 12000, 1 };
	assert_int_equal(ask(b, 1, &r), -EADDRINUSE);
	r.ranges[0] = (struct lease_range) { 0, 12000, 8 };
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(b->grant.ports[0], 9042);
	/* What listens there now are we. */
	memset(b->listened, 0xff, sizeof b->listened);
	r.paused = true;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(b->grant.ports[0], 9042);
}

/* --- The kernel. */

static void what_does_not_fit_into_the_tunnels_passes_goes_by_sockets(void **state)
{
	struct bench *b = *state;
	enum { EACH = RULE_RANGES_MAX * 2, FIT = PASS_GATEWAY_MAX / EACH };
	struct lease_request r;

	assert_true((int)FIT < (int)GATEWAY_LEASES_MAX);
	for (unsigned n = 0; n <= FIT; n++) {
		r = numbered(n);
		r.kernel = r.udp = true;
		r.range_count = RULE_RANGES_MAX;
		for (unsigned i = 0; i < RULE_RANGES_MAX; i++)
			r.ranges[i] = (struct lease_range) { (uint16_t)(8000 + n * 16 + i),
							     (uint16_t)(10000 + (n / 256) * 16 + i), 1 };
		assert_int_equal(ask(b, (uint8_t)n, &r), 0);
		assert_int_equal(b->grant.kernel, n < FIT);
	}
	assert_non_null(strstr(b->grant.mode_why, "as many"));
	assert_true(gateway_passes(b->g, NULL, 0) <= PASS_GATEWAY_MAX);
	assert_int_equal(ask(b, (uint8_t)FIT, &r), 0);
	assert_false(b->grant.kernel);
	assert_int_equal(gateway_release(b->g, owner(0).ik, numbered(0).id), 0);
	assert_int_equal(ask(b, (uint8_t)FIT, &r), 0);
	assert_true(b->grant.kernel);
}

static void what_the_kernel_does_not_take_goes_by_sockets_until_it_changes(void **state)
{
	struct bench *b = *state;
	struct lease_request r = made_request(1), other = made_request(2);

	r.kernel = other.kernel = true;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_int_equal(ask(b, 1, &other), 0);
	uint64_t version = gateway_version(b->g);
	gateway_kernel_refused(b->g, r.id, "nft: File exists");
	assert_int_not_equal(gateway_version(b->g), version);
	assert_true(gateway_granted(b->g, r.id, &b->grant));
	assert_false(b->grant.kernel);
	assert_string_equal(b->grant.mode_why, "gateway: nft: File exists");
	assert_true(gateway_granted(b->g, other.id, &b->grant));
	assert_true(b->grant.kernel);
	assert_false(gateway_granted(b->g, made_request(3).id, &b->grant));
	version = gateway_version(b->g);
	assert_int_equal(ask(b, 1, &r), 0);
	assert_false(b->grant.kernel);
	assert_string_equal(b->grant.mode_why, "gateway: nft: File exists");
	assert_int_equal(gateway_version(b->g), version); /* nothing is tried again, nobody cut off */
	r.ranges[0].tunnel = 12000;
	assert_int_equal(ask(b, 1, &r), 0);
	assert_true(b->grant.kernel);
}

/* --- Leases that end by themselves. */

static void what_ends_is_told_with_its_reason(void **state)
{
	struct bench *b = *state;

	assert_int_equal(ask_one(b, 1, 1), 0);
	assert_int_equal(ask_one(b, 2, 2), 0);
	assert_int_equal(ask_one(b, 3, 3), 0);
	assert_int_equal(gateway_release(b->g, owner(3).ik, made_request(3).id), 0);
	assert_int_equal(b->ended, 0);
	strcpy(b->config.owners[0], "node-2");
	b->config.owner_count = 1;
	gateway_configure(b->g, &b->config);
	assert_int_equal(b->ended, 1);
	assert_non_null(strstr(b->ended_why, "settings"));
	gateway_tick(b->g, NOW);
	for (uint64_t now = NOW; now <= NOW + LEASE_TTL_S; now += LEASE_RENEW_S)
		gateway_tick(b->g, now);
	assert_int_equal(b->ended, 2);
	assert_string_equal(b->ended_why, "ran out");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_owners_tunnel_ports_are_of_one_lease),
		TEST(a_search_in_vain_asks_the_machine_little),
		TEST(a_large_range_asks_the_machine_little),
		TEST(what_listens_is_neither_given_nor_chosen),
		TEST(what_does_not_fit_into_the_tunnels_passes_goes_by_sockets),
		TEST(what_the_kernel_does_not_take_goes_by_sockets_until_it_changes),
		TEST(what_ends_is_told_with_its_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
