#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/discover.h"
#include "tests/sim/sim_stun.h"

enum { LIMIT_MS = 2500 };

#define S1    "198.51.100.1:3478"
#define S1_P  "198.51.100.1:3479"
#define S2    "198.51.100.2:3478"
#define S2_P  "198.51.100.2:3479"
#define OTHER "192.0.2.77:3478"

static struct discover d;
static uint64_t mapping_known_ms;

static struct sim_stun *make_world(enum sim_nat_kind kind, uint64_t seed)
{
	static struct sim_stun w;

	sim_stun_free(&w);
	sim_stun_init(&w, kind, seed);
	return &w;
}

static void run(struct sim_stun *w)
{
	struct ask_out out;
	struct sim_stun_packet in;

	mapping_known_ms = 0;
	while (d.running) {
		while (discover_next(&d, &w->rng, w->now_ms, &out))
			sim_stun_send(w, out.socket, &out.to, out.msg, out.len);
		uint64_t due = discover_deadline(&d);
		assert_true(due > w->now_ms);
		if (d.running && sim_stun_receive(w, due, &in))
			discover_on_message(&d, in.socket, &in.to, &in.from, in.msg, in.len, w->now_ms);
		if (d.result.verdict.mapping && !mapping_known_ms)
			mapping_known_ms = w->now_ms - SIM_STUN_START_MS;
	}
	assert_in_range(w->now_ms - SIM_STUN_START_MS, 0, LIMIT_MS);
	assert_int_equal(discover_deadline(&d), UINT64_MAX);
}

static const struct discover_result *discover(struct sim_stun *w, const char *const *servers)
{
	struct discover_config c = { .local = w->inside };

	for (; *servers; servers++)
		c.servers[c.server_count++] = sim_stun_addr(*servers);
	assert_int_equal(discover_start(&d, &c, &w->rng, w->now_ms), 0);
	run(w);
	return &d.result;
}

/* ---- verdicts by NAT and servers */

static const char *const one_port[] = { S1, NULL };
static const char *const two_ports[] = { S1, S1_P, NULL };
static const char *const four_corners[] = { S1, S1_P, S2, S2_P, NULL };
static const char *const second_hub[] = { S2, S2_P, NULL };
static const char *const two_hubs[] = { S1, S1_P, S2, NULL };

enum servers {
	ONE_PORT,      /* tells no more than where we are seen */
	TWO_PORTS,     /* one address, both ports given */
	TWO_ADDRESSES, /* four corners, of which one is given */
	TWO_HUBS,      /* of one address and two ports each */
	SERVER_SETS,
};

static const char *const *build_servers(struct sim_stun *w, enum servers set)
{
	if (set == ONE_PORT)
		sim_stun_add(w, one_port);
	if (set == TWO_PORTS || set == TWO_HUBS)
		sim_stun_add(w, two_ports);
	if (set == TWO_HUBS)
		sim_stun_add(w, second_hub);
	if (set == TWO_ADDRESSES)
		sim_stun_add(w, four_corners);
	return set == TWO_PORTS ? two_ports : set == TWO_HUBS ? two_hubs : one_port;
}

/* Short, for tables. */
#define M_NONE	 MAPPING_NONE
#define M_EI	 MAPPING_ENDPOINT_INDEPENDENT
#define M_AD	 MAPPING_ADDRESS_DEPENDENT
#define M_APD	 MAPPING_ADDRESS_AND_PORT_DEPENDENT
#define UNTOLD	 MAPPING_UNKNOWN
#define F_EI	 FILTERING_ENDPOINT_INDEPENDENT
#define F_AD	 FILTERING_ADDRESS_DEPENDENT
#define F_APD	 FILTERING_ADDRESS_AND_PORT_DEPENDENT
#define F_UNTOLD FILTERING_UNKNOWN

struct expected {
	enum nat_mapping mapping;
	enum nat_filtering filtering;
};

/* By ONE_PORT, TWO_PORTS, TWO_ADDRESSES, TWO_HUBS. */
static const struct kind {
	enum sim_nat_kind nat;
	enum sim_nat_sense mapping;
	struct expected by[SERVER_SETS];
} kinds[] = {
	{ NAT_NONE, 0, { { M_NONE, F_UNTOLD }, { M_NONE, F_UNTOLD }, { M_NONE, F_EI }, { M_NONE, F_EI } } },
	{ NAT_FIREWALL,
	  0,
	  { { M_NONE, F_UNTOLD }, { M_NONE, F_APD }, { M_NONE, F_APD }, { M_NONE, F_APD } } },
	{ NAT_FULL_CONE, 0, { { UNTOLD, F_UNTOLD }, { M_EI, F_UNTOLD }, { M_EI, F_EI }, { M_EI, F_EI } } },
	{ NAT_ADDRESS_RESTRICTED,
	  0,
	  { { UNTOLD, F_UNTOLD }, { M_EI, F_UNTOLD }, { M_EI, F_AD }, { M_EI, F_AD } } },
	{ NAT_PORT_RESTRICTED,
	  0,
	  { { UNTOLD, F_UNTOLD }, { M_EI, F_APD }, { M_EI, F_APD }, { M_EI, F_APD } } },
	{ NAT_SYMMETRIC,
	  SIM_ADDRESS_AND_PORT_DEPENDENT,
	  { { UNTOLD, F_UNTOLD }, { M_APD, F_APD }, { M_APD, F_APD }, { M_APD, F_APD } } },
	{ NAT_SYMMETRIC,
	  SIM_ADDRESS_DEPENDENT,
	  { { UNTOLD, F_UNTOLD }, { M_EI, F_APD }, { M_AD, F_APD }, { M_AD, F_APD } } },
};

static struct sim_stun *world_of(const struct kind *k, uint64_t seed)
{
	struct sim_stun *w = make_world(k->nat, seed);

	if (k->mapping)
		w->nat.rules.mapping = k->mapping;
	return w;
}

static void mapping_and_filtering_are_told_as_far_as_the_servers_can(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		for (unsigned set = 0; set < SERVER_SETS; set++) {
			struct sim_stun *w = world_of(&kinds[i], 7 + i);
			const struct discover_result *r = discover(w, build_servers(w, set));
			const struct expected *e = &kinds[i].by[set];
			assert_int_equal(r->verdict.mapping, e->mapping);
			assert_int_equal(r->verdict.filtering, e->filtering);
			assert_false(r->verdict.udp_blocked);
			assert_int_equal(r->rtt_ms, 2 * SIM_STUN_ONE_WAY_MS);
			assert_int_equal(w->sent_astray, 0);
		}
	}
}

static void the_mapping_is_known_before_all_is_over(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 1);
	const struct discover_result *r = discover(w, build_servers(w, TWO_HUBS));

	assert_in_range(mapping_known_ms, 1, 2 * SIM_STUN_ONE_WAY_MS);
	assert_true(r->across_addresses);
	assert_true(r->keeps_port);
	struct addr mapped = sim_stun_addr(SIM_STUN_PUBLIC ":40000"), ip = sim_stun_addr(SIM_STUN_PUBLIC);
	assert_true(addr_equal(&r->mapped, &mapped));
	assert_true(addr_equal(&r->verdict.public_ip, &ip));
}

/* What is told under loss may be less, but is not wrong, and seldom less. */
static void loss_makes_it_say_less_but_nothing_wrong(void **state)
{
	(void)state;
	enum { TRIALS = 60 };
	const size_t count = sizeof kinds / sizeof kinds[0];
	unsigned right = 0, wrong = 0;

	for (uint64_t seed = 0; seed < TRIALS * count; seed++) {
		const struct kind *k = &kinds[seed % count];
		struct sim_stun *w = world_of(k, seed);
		w->loss_percent = 10;
		enum servers set = seed / count % 2 ? TWO_ADDRESSES : TWO_HUBS;
		const struct discover_result *r = discover(w, build_servers(w, set));
		const struct expected *e = &k->by[set];
		assert_false(r->verdict.udp_blocked);
		right += r->verdict.mapping == e->mapping && r->verdict.filtering == e->filtering;
		wrong += r->verdict.filtering && r->verdict.filtering != e->filtering;
		/* With an answer less, an endpoint-independent mapping may be all that shows of an
		 * address-dependent one. */
		wrong += verdict_is_hard(&r->verdict) && r->verdict.mapping != e->mapping &&
			 r->verdict.mapping != MAPPING_ENDPOINT_DEPENDENT;
	}
	print_message("%u of %zu right, %u wrong\n", right, TRIALS * count, wrong);
	assert_in_range(wrong, 0, TRIALS * count / 200);
	assert_in_range(right, TRIALS * count * 95 / 100, TRIALS * count);
}

/* Whoever is behind which NAT: a server that does not do as asked never makes it look more open, or more closed. */
static void servers_that_do_not_serve_changes_leave_the_filtering_unknown(void **state)
{
	(void)state;
	static const enum sim_stun_quirk quirks[] = { SIM_STUN_IGNORES, SIM_STUN_DROPS, SIM_STUN_REFUSES };
	static const enum sim_nat_kind nats[] = { NAT_NONE, NAT_FIREWALL, NAT_FULL_CONE,
						  NAT_ADDRESS_RESTRICTED, NAT_PORT_RESTRICTED };

	for (size_t i = 0; i < sizeof quirks / sizeof quirks[0]; i++) {
		for (size_t j = 0; j < sizeof nats / sizeof nats[0]; j++) {
			for (unsigned set = 0; set < SERVER_SETS; set++) {
				struct sim_stun *w = make_world(nats[j], 3);
				const char *const *ask = build_servers(w, set);
				for (size_t n = 0; n < w->server_count; n++)
					w->servers[n].quirk = quirks[i];
				const struct discover_result *r = discover(w, ask);
				assert_int_equal(r->verdict.filtering, FILTERING_UNKNOWN);
				assert_int_equal(r->clash_moves_port,
						 nats[j] == NAT_NONE || nats[j] == NAT_FIREWALL
							 ? DISCOVER_NO
							 : DISCOVER_UNKNOWN);
			}
		}
	}
}

/* Another host, private addresses, its own address, nonsense: none makes it send anywhere but to the server. */
static void what_a_server_tells_of_others_is_not_believed(void **state)
{
	(void)state;
	static const struct {
		const char *other;
		unsigned strangers; /* packets to where no server is, at most */
	} cases[] = {
		{ "192.168.1.1:3478", 0 },
		{ "127.0.0.1:3478", 0 },
		{ "10.0.0.1:53", 0 },
		{ "169.254.169.254:80", 0 },
		{ "100.64.0.1:3478", 0 },
		{ "224.0.0.1:3478", 0 },
		{ "255.255.255.255:1", 0 },
		{ "0.0.0.0:3478", 0 },
		{ "198.51.100.9" /* port 0 */, 0 },
		{ "[2001:db8::1]:3478", 0 },
		{ "198.51.100.1:3478", 0 },
		/* It, and its port at the server's own address. */
		{ "192.0.2.99:53", 8 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sim_stun *w = make_world(NAT_FULL_CONE, 4);
		const char *const *ask = build_servers(w, ONE_PORT);
		w->servers[0].says_other = sim_stun_addr(cases[i].other);
		const struct discover_result *r = discover(w, ask);
		assert_int_equal(w->sent_astray, cases[i].strangers);
		assert_int_equal(r->verdict.mapping, MAPPING_UNKNOWN);
		assert_int_equal(r->verdict.filtering, FILTERING_UNKNOWN);
	}
}

/* XOR-MAPPED-ADDRESS is where the hairpin test sends to. */
static void where_a_server_sees_us_is_no_order_to_send_there(void **state)
{
	(void)state;
	static const char *const cases[] = { "127.0.0.1:2000", "224.0.0.1:5000", "192.0.2.9:53" };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sim_stun *w = make_world(NAT_FULL_CONE, 4);
		const char *const *ask = build_servers(w, TWO_PORTS);
		w->servers[0].says_mapped = sim_stun_addr(cases[i]);
		discover(w, ask);
		assert_int_equal(w->sent_astray, 0);
	}
}

static void silence_means_blocked_and_an_error_does_not(void **state)
{
	(void)state;
	static const struct {
		enum sim_nat_kind nat;
		enum sim_stun_quirk quirk;
		bool blocked;
	} cases[] = {
		{ NAT_UDP_BLOCKED, SIM_STUN_HONEST, true },
		{ NAT_FULL_CONE, SIM_STUN_DEAD, true },
		{ NAT_FULL_CONE, SIM_STUN_ERRORS, false },
		{ NAT_FULL_CONE, SIM_STUN_HONEST, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sim_stun *w = make_world(cases[i].nat, 5);
		const char *const *ask = build_servers(w, TWO_PORTS);
		w->servers[0].quirk = cases[i].quirk;
		const struct discover_result *r = discover(w, ask);
		assert_int_equal(r->verdict.udp_blocked, cases[i].blocked);
		assert_int_equal(verdict_type(&r->verdict) == NAT_TYPE_BLOCKED, cases[i].blocked);
		if (cases[i].quirk != SIM_STUN_HONEST || cases[i].blocked)
			assert_int_equal(r->verdict.mapping, MAPPING_UNKNOWN);
	}
}

static void a_dead_server_among_live_ones_costs_time_only(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_ADDRESS_RESTRICTED, 6);
	static const char *const ask[] = { OTHER, S1, NULL }, *const nowhere[] = { OTHER, NULL };

	sim_stun_add(w, four_corners);
	sim_stun_add(w, nowhere)->quirk = SIM_STUN_DEAD;
	const struct discover_result *r = discover(w, ask);
	assert_int_equal(r->verdict.mapping, MAPPING_ENDPOINT_INDEPENDENT);
	assert_int_equal(r->verdict.filtering, FILTERING_ADDRESS_DEPENDENT);
}

static void hairpinning_is_seen_with_its_source(void **state)
{
	(void)state;
	static const struct {
		enum sim_nat_kind nat;
		bool hairpin;
		enum discover_answer answer;
	} cases[] = {
		{ NAT_FULL_CONE, true, DISCOVER_YES },
		{ NAT_PORT_RESTRICTED, true, DISCOVER_YES },
		{ NAT_PORT_RESTRICTED, false, DISCOVER_NO },
		{ NAT_SYMMETRIC, true, DISCOVER_UNKNOWN }, /* the filter hides it */
		{ NAT_SYMMETRIC, false, DISCOVER_UNKNOWN },
		{ NAT_NONE, true, DISCOVER_UNKNOWN },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sim_stun *w = make_world(cases[i].nat, 8);
		w->nat.rules.hairpin = cases[i].hairpin;
		const struct discover_result *r = discover(w, build_servers(w, TWO_ADDRESSES));
		assert_int_equal(r->hairpin, cases[i].answer);
		assert_true(cases[i].answer != DISCOVER_YES ||
			    addr_same_ip(&r->hairpin_source, &w->nat.public_ip));
	}
}

static void a_port_that_moves_when_a_stranger_comes_first_is_found(void **state)
{
	(void)state;
	static const struct {
		enum sim_nat_kind nat;
		bool clash;
		enum discover_answer answer[SERVER_SETS];
	} cases[] = {
		{ NAT_PORT_RESTRICTED, true, { DISCOVER_UNKNOWN, DISCOVER_YES, DISCOVER_YES, DISCOVER_YES } },
		{ NAT_PORT_RESTRICTED, false, { DISCOVER_UNKNOWN, DISCOVER_NO, DISCOVER_NO, DISCOVER_NO } },
		{ NAT_ADDRESS_RESTRICTED,
		  true,
		  { DISCOVER_UNKNOWN, DISCOVER_NO, DISCOVER_YES, DISCOVER_YES } },
		{ NAT_FULL_CONE, true, { DISCOVER_UNKNOWN, DISCOVER_NO, DISCOVER_NO, DISCOVER_NO } },
		{ NAT_NONE, false, { DISCOVER_NO, DISCOVER_NO, DISCOVER_NO, DISCOVER_NO } },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (unsigned set = 0; set < SERVER_SETS; set++) {
			struct sim_stun *w = make_world(cases[i].nat, 9);
			w->nat.rules.clash = cases[i].clash;
			const struct discover_result *r = discover(w, build_servers(w, set));
			assert_int_equal(r->clash_moves_port, cases[i].answer[set]);
		}
	}
}

static void allocations_are_told_from_fresh_sockets(void **state)
{
	(void)state;
	static const struct {
		enum sim_nat_kind nat;
		double foreign_per_s;
		enum nat_allocation allocation;
		int step;
	} cases[] = {
		{ NAT_PORT_RESTRICTED, 0, ALLOCATION_PRESERVING, 0 },
		{ NAT_SYMMETRIC, 0, ALLOCATION_RANDOM, 0 },
		{ NAT_SEQUENTIAL, 0, ALLOCATION_SEQUENTIAL, 1 },
		{ NAT_SEQUENTIAL, 20, ALLOCATION_SEQUENTIAL, 1 },
		{ NAT_SEQUENTIAL_DOWN, 0, ALLOCATION_SEQUENTIAL, -1 },
		{ NAT_STRIDE, 0, ALLOCATION_SEQUENTIAL, 2 },
		{ NAT_BLOCK_512, 0, ALLOCATION_RANDOM, 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sim_stun *w = make_world(cases[i].nat, 11);
		w->nat.rules.foreign_per_s = cases[i].foreign_per_s;
		const struct discover_result *r = discover(w, build_servers(w, TWO_ADDRESSES));
		assert_int_equal(r->verdict.allocation, cases[i].allocation);
		assert_int_equal(r->verdict.step, cases[i].step);
		assert_int_equal(r->verdict.noise_per_10s > 50, cases[i].foreign_per_s > 0);
		bool block = cases[i].nat == NAT_BLOCK_512;
		assert_int_equal(r->verdict.block_hi != 0, block);
		assert_true(!block || r->verdict.block_hi - r->verdict.block_lo < 2048);
	}
}

static void several_public_addresses_are_pooling(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_PORT_RESTRICTED, 12);

	w->nat.rules.mapping = SIM_ADDRESS_AND_PORT_DEPENDENT;
	w->nat.rules.pool_arbitrary = true;
	w->nat.more_ips[w->nat.more_ip_count++] = sim_stun_addr("203.0.113.10");
	assert_true(discover(w, build_servers(w, TWO_ADDRESSES))->verdict.pooling);
	w = make_world(NAT_PORT_RESTRICTED, 12);
	assert_false(discover(w, build_servers(w, TWO_ADDRESSES))->verdict.pooling);
}

static void ip6_tells_a_firewall_from_none(void **state)
{
	(void)state;
	static const char *const corners[] = { "[2001:db8:1::1]:3478", "[2001:db8:1::1]:3479",
					       "[2001:db8:1::2]:3478", "[2001:db8:1::2]:3479", NULL };
	static const char *const ask[] = { "[2001:db8:1::1]:3478", NULL };

	for (unsigned firewall = 0; firewall < 2; firewall++) {
		struct sim_stun *w = make_world(firewall ? NAT_FIREWALL : NAT_NONE, 13);
		w->inside = sim_stun_addr("[2001:db8:2::5]:40000");
		sim_stun_add(w, corners);
		const struct discover_result *r = discover(w, ask);
		assert_int_equal(r->verdict.mapping, MAPPING_NONE);
		assert_int_equal(verdict_type(&r->verdict), firewall ? NAT_TYPE_FIREWALL : NAT_TYPE_OPEN);
		assert_int_equal(r->verdict.public_ip.family, ADDR_NONE);
	}
}

static void only_servers_of_one_family_are_asked(void **state)
{
	(void)state;
	struct rng rng;
	struct discover_config c = { .server_count = 0 };

	rng_init_seed(&rng, 1);
	assert_int_equal(discover_start(&d, &c, &rng, 1), -EINVAL);
	assert_int_equal(discover_deadline(&d), UINT64_MAX);
	c.servers[0] = sim_stun_addr(S1);
	c.servers[1] = sim_stun_addr("[2001:db8::1]:3478");
	c.server_count = 2;
	assert_int_equal(discover_start(&d, &c, &rng, 1), -EINVAL);
	c.server_count = DISCOVER_SERVERS + 1;
	assert_int_equal(discover_start(&d, &c, &rng, 1), -EINVAL);
	c.server_count = 1;
	assert_int_equal(discover_start(&d, &c, &rng, 1), 0);
	assert_int_equal(discover_deadline(&d), 1);
	discover_stop(&d);
	assert_int_equal(discover_deadline(&d), UINT64_MAX);
}

static void zeroed_memory_is_idle(void **state)
{
	(void)state;
	struct ask_out out;
	struct rng rng;
	struct addr from = sim_stun_addr(S1);
	uint8_t msg[STUN_HEADER] = { 1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42 };

	rng_init_seed(&rng, 1);
	memset(&d, 0, sizeof d);
	assert_false(discover_next(&d, &rng, 1, &out));
	assert_false(discover_on_message(&d, 0, &from, &from, msg, sizeof msg, 1));
	assert_int_equal(discover_deadline(&d), UINT64_MAX);
}

/* The first request, and what the server would answer to it. */
static size_t first_answer(struct sim_stun *w, struct ask_out *out, uint8_t answer[static STUN_PADDED_MAX])
{
	struct discover_config c = { .local = w->inside,
				     .servers = { sim_stun_addr(S1) },
				     .server_count = 1 };
	struct sim_stun_server *s = sim_stun_add(w, four_corners);
	struct stun_route route = { sim_stun_addr(S1), sim_stun_addr(SIM_STUN_PUBLIC ":40000") };

	assert_int_equal(discover_start(&d, &c, &w->rng, w->now_ms), 0);
	assert_true(discover_next(&d, &w->rng, w->now_ms, out));
	return stun_server_reply(&s->stun, out->msg, out->len, &route, w->now_ms, answer);
}

static void what_is_malformed_or_not_from_there_changes_nothing(void **state)
{
	(void)state;
	struct sim_stun *w = make_world(NAT_FULL_CONE, 14);
	struct ask_out out;
	uint8_t msg[STUN_PADDED_MAX];
	size_t len = first_answer(w, &out, msg);
	struct addr from = sim_stun_addr(S1), foreign = sim_stun_addr(OTHER),
		    other_port = sim_stun_addr(S1_P);
	const struct discover before = d;

	for (size_t cut = 0; cut < len; cut++)
		assert_false(discover_on_message(&d, 0, &w->inside, &from, msg, cut, w->now_ms));
	assert_false(discover_on_message(&d, 0, &w->inside, &foreign, msg, len, w->now_ms));
	assert_false(discover_on_message(&d, 0, &w->inside, &other_port, msg, len, w->now_ms));
	assert_false(discover_on_message(&d, 1, &w->inside, &from, msg, len, w->now_ms));
	assert_false(discover_on_message(&d, DISCOVER_SOCKETS, &w->inside, &from, msg, len, w->now_ms));
	msg[STUN_HEADER - 1] ^= 1; /* transaction id */
	assert_false(discover_on_message(&d, 0, &w->inside, &from, msg, len, w->now_ms));
	assert_memory_equal(&d, &before, sizeof before);
	msg[STUN_HEADER - 1] ^= 1;
	assert_true(discover_on_message(&d, 0, &w->inside, &from, msg, len, w->now_ms));
	assert_false(discover_on_message(&d, 0, &w->inside, &from, msg, len, w->now_ms)); /* again */
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mapping_and_filtering_are_told_as_far_as_the_servers_can),
		cmocka_unit_test(the_mapping_is_known_before_all_is_over),
		cmocka_unit_test(loss_makes_it_say_less_but_nothing_wrong),
		cmocka_unit_test(servers_that_do_not_serve_changes_leave_the_filtering_unknown),
		cmocka_unit_test(what_a_server_tells_of_others_is_not_believed),
		cmocka_unit_test(where_a_server_sees_us_is_no_order_to_send_there),
		cmocka_unit_test(silence_means_blocked_and_an_error_does_not),
		cmocka_unit_test(a_dead_server_among_live_ones_costs_time_only),
		cmocka_unit_test(hairpinning_is_seen_with_its_source),
		cmocka_unit_test(a_port_that_moves_when_a_stranger_comes_first_is_found),
		cmocka_unit_test(allocations_are_told_from_fresh_sockets),
		cmocka_unit_test(several_public_addresses_are_pooling),
		cmocka_unit_test(ip6_tells_a_firewall_from_none),
		cmocka_unit_test(only_servers_of_one_family_are_asked),
		cmocka_unit_test(zeroed_memory_is_idle),
		cmocka_unit_test(what_is_malformed_or_not_from_there_changes_nothing),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
