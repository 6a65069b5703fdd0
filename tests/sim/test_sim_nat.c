/* Each NAT model does what its name says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/sim_nat.h"

enum { START_MS = 1000000, INNER_PORT = 41000 };

static struct rng rng;
static struct sim_nat nat;
static uint64_t now_ms;

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* The i-th of many remotes, all with different addresses. */
static struct addr remote_of(unsigned i)
{
	return addr_from_ip(ADDR_V4, (uint8_t[]) { 20, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i },
			    7000);
}

static struct addr inner_of(unsigned host, unsigned port)
{
	return addr_from_ip(ADDR_V4, (uint8_t[]) { 192, 168, 1, (uint8_t)host }, (uint16_t)port);
}

static void begin(enum sim_nat_kind kind)
{
	struct addr ip = at("203.0.113.1");

	sim_nat_free(&nat);
	rng_init_seed(&rng, 7);
	now_ms = START_MS;
	sim_nat_init(&nat, kind, &ip, &rng);
}

/* The outer endpoint of a packet from inside; port 0 when it is dropped. */
static struct addr out(struct addr inner, struct addr remote)
{
	struct addr outer;

	return sim_nat_out(&nat, &inner, &remote, now_ms, &outer) ? outer : (struct addr) { 0 };
}

static bool in(struct addr outer, struct addr remote)
{
	struct addr inner;

	return sim_nat_in(&nat, &outer, &remote, now_ms, &inner);
}

static uint16_t port_to(unsigned remote)
{
	return out(inner_of(2, INNER_PORT), remote_of(remote)).port;
}

static void each_kind_maps_and_filters_as_named(void **state)
{
	static const struct {
		enum sim_nat_kind kind;
		bool same_for_port, same_for_ip; /* the mapping, to another port, to another address */
		bool from_port, from_ip;	 /* whether strangers there are let in */
		bool preserved;
	} cases[] = {
		{ NAT_FULL_CONE, true, true, true, true, true },
		{ NAT_ADDRESS_RESTRICTED, true, true, true, false, true },
		{ NAT_PORT_RESTRICTED, true, true, false, false, true },
		{ NAT_LIMITED, true, true, false, false, true },
		{ NAT_FIREWALL, true, true, false, false, true },
		{ NAT_SYMMETRIC, false, false, false, false, false },
		{ NAT_SEQUENTIAL, false, false, false, false, false },
		{ NAT_SEQUENTIAL_DOWN, false, false, false, false, false },
		{ NAT_STRIDE, false, false, false, false, false },
		{ NAT_BLOCK_512, false, false, false, false, false },
		{ NAT_BLOCK_1024, false, false, false, false, false },
	};
	struct addr inner = inner_of(2, INNER_PORT), first = at("20.0.0.1:7000"), to;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(cases[i].kind);
		struct addr outer = out(inner, first);
		assert_true(in(outer, first));
		assert_int_equal(in(outer, at("20.0.0.1:7001")), cases[i].from_port);
		assert_int_equal(in(outer, at("20.0.0.2:7000")), cases[i].from_ip);
		to = out(inner, at("20.0.0.1:7002"));
		assert_int_equal(addr_equal(&to, &outer), cases[i].same_for_port);
		to = out(inner, at("20.0.0.3:7000"));
		assert_int_equal(addr_equal(&to, &outer), cases[i].same_for_ip);
		assert_int_equal(outer.port == INNER_PORT, cases[i].preserved);
		assert_int_equal(addr_same_ip(&outer, &nat.public_ip), cases[i].kind != NAT_FIREWALL);
	}
	begin(NAT_UDP_BLOCKED);
	assert_int_equal(out(inner, first).port, 0);
}

static void a_mapping_may_depend_on_the_address_alone(void **state)
{
	struct addr inner = inner_of(2, INNER_PORT);

	(void)state;
	begin(NAT_SYMMETRIC);
	nat.rules.mapping = SIM_ADDRESS_DEPENDENT;
	uint16_t port = out(inner, at("20.0.0.1:7000")).port;
	assert_int_equal(out(inner, at("20.0.0.1:7001")).port, port);
	assert_int_not_equal(out(inner, at("20.0.0.2:7000")).port, port);
}

static void sequences_go_by_their_step(void **state)
{
	static const struct {
		enum sim_nat_kind kind;
		int step;
	} cases[] = {
		{ NAT_SEQUENTIAL, 1 }, { NAT_SEQUENTIAL_DOWN, -1 }, { NAT_STRIDE, 2 }, { NAT_STRIDE, -7 }
	};
	enum { LO = 30000, SPAN = 101 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(cases[i].kind);
		nat.rules.step = cases[i].step;
		nat.rules.port_lo = LO;
		nat.rules.port_hi = LO + SPAN - 1;
		nat.next_port = LO + 50;
		int last = port_to(0);
		assert_int_equal(last, LO + 50);
		for (unsigned r = 1; r < SPAN; r++) {
			int port = port_to(r);
			/* Round and round within the range. */
			assert_int_equal((port - last - cases[i].step + 10 * SPAN) % SPAN, 0);
			assert_in_range(port, LO, LO + SPAN - 1);
			last = port;
		}
		assert_int_equal(port_to(SPAN), 0);
		assert_int_equal(nat.lost, 1);
	}
}

static void a_sequence_is_everybodys_or_each_hosts_own(void **state)
{
	(void)state;
	for (int own = 0; own < 2; own++) {
		begin(NAT_SEQUENTIAL);
		nat.rules.step_per_host = own;
		uint16_t before = out(inner_of(2, 1), remote_of(0)).port;
		for (unsigned i = 0; i < 10; i++)
			out(inner_of(3, 1), remote_of(i));
		assert_int_equal(out(inner_of(2, 1), remote_of(1)).port - before, own ? 1 : 11);
	}
}

static int by_value(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void random_ports_are_spread_and_differ(void **state)
{
	enum { MANY = 20000, PARTS = 8 };
	static uint16_t ports[MANY];
	unsigned part[PARTS] = { 0 };

	(void)state;
	begin(NAT_SYMMETRIC);
	for (unsigned i = 0; i < MANY; i++) {
		ports[i] = port_to(i);
		assert_true(ports[i] >= 1024);
		part[(ports[i] - 1024) * PARTS / 64512]++;
	}
	qsort(ports, MANY, sizeof *ports, by_value);
	for (unsigned i = 1; i < MANY; i++)
		assert_int_not_equal(ports[i], ports[i - 1]);
	for (unsigned i = 0; i < PARTS; i++)
		assert_in_range(part[i], MANY / PARTS - 300, MANY / PARTS + 300);
}

static void a_block_is_one_hosts_and_runs_dry(void **state)
{
	(void)state;
	begin(NAT_BLOCK_512);
	unsigned mine = port_to(0) / 512, others = out(inner_of(3, 1), remote_of(0)).port / 512;
	assert_int_not_equal(mine, others);
	for (unsigned i = 1; i < 512; i++)
		assert_int_equal(port_to(i) / 512, mine);
	assert_int_equal(port_to(512), 0);
	assert_int_equal(out(inner_of(3, 1), remote_of(1)).port / 512, others);
	now_ms += SIM_NAT_UNREPLIED_MS;
	assert_int_equal(port_to(512) / 512, mine);
}

static void several_addresses_are_paired_or_arbitrary(void **state)
{
	(void)state;
	for (int arbitrary = 0; arbitrary < 2; arbitrary++) {
		begin(NAT_SYMMETRIC);
		nat.more_ips[0] = at("203.0.113.2");
		nat.more_ip_count = 1;
		nat.rules.pool_arbitrary = arbitrary;
		unsigned hosts_on_first = 0, second = 0;
		for (unsigned host = 2; host < 34; host++) {
			struct addr first = out(inner_of(host, 1), remote_of(0));
			hosts_on_first += addr_same_ip(&first, &nat.public_ip);
			for (unsigned i = 1; i < 10; i++) {
				struct addr other = out(inner_of(host, 1), remote_of(i));
				assert_true(sim_nat_owns(&nat, &other));
				second += !addr_same_ip(&first, &other);
			}
		}
		assert_in_range(hosts_on_first, 6, 26);
		assert_true(arbitrary ? second > 100 : second == 0);
	}
}

static void idle_flows_end_in_time(void **state)
{
	static const struct {
		bool replied, inbound_refreshes;
		uint64_t silent_ms; /* then packets from outside for as long again */
		bool passes;	    /* one from outside at the end */
	} cases[] = {
		{ false, true, SIM_NAT_UNREPLIED_MS - 1, true },
		{ false, true, SIM_NAT_UNREPLIED_MS, false },
		{ true, true, SIM_NAT_REPLIED_MS - 1, true },
		{ true, true, SIM_NAT_REPLIED_MS, false },
		{ true, false, SIM_NAT_REPLIED_MS / 2 - 1, true },
		{ true, false, SIM_NAT_REPLIED_MS - 1, false },
	};
	struct addr remote = remote_of(0);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(NAT_PORT_RESTRICTED);
		nat.rules.inbound_refreshes = cases[i].inbound_refreshes;
		struct addr outer = out(inner_of(2, INNER_PORT), remote);
		if (cases[i].replied)
			assert_true(in(outer, remote));
		now_ms += cases[i].silent_ms;
		bool first = in(outer, remote);
		if (cases[i].replied)
			now_ms += cases[i].silent_ms;
		assert_int_equal(first && in(outer, remote), cases[i].passes);
	}
}

static void a_full_table_loses_the_new_or_evicts_the_unreplied(void **state)
{
	(void)state;
	for (int evict = 0; evict < 2; evict++) {
		begin(NAT_LIMITED);
		nat.rules.evict = evict;
		sim_nat_hold(&nat, 200, now_ms);
		for (unsigned i = 0; i < 2 * SIM_NAT_LIMIT; i++)
			assert_int_equal(port_to(i) != 0, evict || i < SIM_NAT_LIMIT - 200);
		assert_int_equal(evict ? nat.evicted : nat.lost, SIM_NAT_LIMIT + 200);
		assert_int_equal(nat.foreign_lost, 0);
		assert_int_equal(sim_nat_live(&nat, now_ms), SIM_NAT_LIMIT);
		assert_int_equal(nat.peak, SIM_NAT_LIMIT);
		/* The others' go on, ours end and leave room. */
		now_ms += SIM_NAT_UNREPLIED_MS;
		assert_int_equal(sim_nat_live(&nat, now_ms), 200);
		assert_int_not_equal(port_to(0), 0);
	}
}

static void others_lose_flows_when_we_fill_the_table(void **state)
{
	(void)state;
	begin(NAT_LIMITED);
	nat.rules.evict = false;
	nat.rules.foreign_per_s = 100;
	for (unsigned i = 0; i < SIM_NAT_LIMIT; i++)
		port_to(i);
	now_ms += 1000;
	port_to(0);
	assert_in_range(nat.foreign_lost, 50, 150);
}

static void a_packet_that_comes_first_moves_our_port(void **state)
{
	struct addr unasked = remote_of(1), outer = at("203.0.113.1:41000");

	(void)state;
	for (int clash = 0; clash < 2; clash++) {
		begin(NAT_PORT_RESTRICTED);
		nat.rules.clash = clash;
		assert_int_equal(port_to(0), INNER_PORT);
		assert_false(in(outer, unasked));
		uint16_t moved = port_to(1);
		assert_int_equal(moved != INNER_PORT, clash);
		assert_int_equal(port_to(0), INNER_PORT);
		assert_int_equal(port_to(2), INNER_PORT);
		assert_int_equal(port_to(1), moved);
	}
	/* Retries from outside keep the tuple, silence gives it back. */
	for (int i = 0; i < 10; i++) {
		assert_false(in(outer, unasked));
		now_ms += SIM_NAT_UNREPLIED_MS - 1;
	}
	assert_int_not_equal(port_to(1), INNER_PORT);
	now_ms += SIM_NAT_UNREPLIED_MS;
	assert_int_equal(port_to(1), INNER_PORT);
	assert_true(in(outer, unasked));
}

static void a_clash_is_there_before_any_mapping(void **state)
{
	(void)state;
	begin(NAT_PORT_RESTRICTED);
	nat.rules.clash = true;
	assert_false(in(at("203.0.113.1:41000"), remote_of(1)));
	assert_int_not_equal(port_to(1), INNER_PORT);
	assert_int_equal(port_to(2), INNER_PORT);
}

static void two_hosts_do_not_share_a_port(void **state)
{
	(void)state;
	begin(NAT_PORT_RESTRICTED);
	assert_int_equal(port_to(0), INNER_PORT);
	uint16_t port = out(inner_of(3, INNER_PORT), remote_of(0)).port;
	assert_int_not_equal(port, INNER_PORT);
	assert_int_equal(out(inner_of(3, INNER_PORT), remote_of(1)).port, port);
}

static void others_allocate_at_the_given_rate(void **state)
{
	enum { SAMPLES = 2000, EVERY_MS = 100 };
	static const double rates[] = { 1, 10, 50 };

	(void)state;
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
		begin(NAT_SEQUENTIAL);
		nat.rules.foreign_per_s = rates[i];
		double sum = 0, squares = 0, mean = rates[i] * EVERY_MS / 1000;
		uint16_t last = port_to(0);
		for (unsigned k = 1; k <= SAMPLES; k++) {
			now_ms += EVERY_MS;
			uint16_t port = port_to(k);
			double between = (port - last + 64512) % 64512 - 1;
			sum += between;
			squares += between * between;
			last = port;
		}
		/* A Poisson process: variance and mean are one. Bounds of about five standard errors. */
		double seen = sum / SAMPLES, variance = squares / SAMPLES - seen * seen;
		assert_true(seen > mean - 0.12 * (mean + 0.3) && seen < mean + 0.12 * (mean + 0.3));
		assert_true(variance > 0.8 * mean && variance < 1.2 * mean);
	}
}

static void others_fill_the_block(void **state)
{
	(void)state;
	begin(NAT_BLOCK_512);
	nat.rules.foreign_per_s = 10; /* so 300 of 512 are theirs */
	for (unsigned i = 0; i < 600; i++, now_ms += 100)
		port_to(0);
	assert_in_range(sim_nat_live(&nat, now_ms), 220, 380);
	unsigned got = 0;
	for (unsigned i = 1; i <= 512; i++)
		got += port_to(i) != 0;
	assert_in_range(got, 512 - 380, 512 - 220);
}

static void a_flush_forgets_and_a_new_address_too(void **state)
{
	struct addr ip = at("203.0.113.77"), outer;

	(void)state;
	begin(NAT_FULL_CONE);
	outer = out(inner_of(2, INNER_PORT), remote_of(0));
	assert_true(in(outer, remote_of(5)));
	sim_nat_flush(&nat);
	assert_false(in(outer, remote_of(0)));
	outer = out(inner_of(2, INNER_PORT), remote_of(0));
	sim_nat_readdress(&nat, &ip);
	assert_false(in(outer, remote_of(0)));
	outer = out(inner_of(2, INNER_PORT), remote_of(0));
	assert_true(addr_same_ip(&outer, &ip));
}

/* Birthday punching opens this many: at once, and again each round. */
static void thousands_of_mappings_come_and_go(void **state)
{
	(void)state;
	begin(NAT_SYMMETRIC);
	for (unsigned round = 0; round < 50; round++, now_ms += SIM_NAT_UNREPLIED_MS)
		for (unsigned i = 0; i < 1024; i++) {
			struct addr outer = out(inner_of(2, 2000 + i), remote_of(round));
			assert_true(outer.port && in(outer, remote_of(round)));
		}
	assert_int_equal(nat.opened, 50 * 1024);
	assert_true(nat.peak < 10000);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

static int teardown(void **state)
{
	(void)state;
	sim_nat_free(&nat);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_maps_and_filters_as_named),
		cmocka_unit_test(a_mapping_may_depend_on_the_address_alone),
		cmocka_unit_test(sequences_go_by_their_step),
		cmocka_unit_test(a_sequence_is_everybodys_or_each_hosts_own),
		cmocka_unit_test(random_ports_are_spread_and_differ),
		cmocka_unit_test(a_block_is_one_hosts_and_runs_dry),
		cmocka_unit_test(several_addresses_are_paired_or_arbitrary),
		cmocka_unit_test(idle_flows_end_in_time),
		cmocka_unit_test(a_full_table_loses_the_new_or_evicts_the_unreplied),
		cmocka_unit_test(others_lose_flows_when_we_fill_the_table),
		cmocka_unit_test(a_packet_that_comes_first_moves_our_port),
		cmocka_unit_test(a_clash_is_there_before_any_mapping),
		cmocka_unit_test(two_hosts_do_not_share_a_port),
		cmocka_unit_test(others_allocate_at_the_given_rate),
		cmocka_unit_test(others_fill_the_block),
		cmocka_unit_test(a_flush_forgets_and_a_new_address_too),
		cmocka_unit_test(thousands_of_mappings_come_and_go),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
