/* Many nodes: behind one small router, behind one NAT, in one network. What punching costs others, that it works for all,
 * and that all is quiet afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim_trial.h"

#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 2 };
#else
enum { SEEDS = 8 };
#endif

/* ---- a small router */

enum { FOREIGN = 200, PAIRS = 2 };

/* Both hard pairs have one end behind `router`; the other end of each is behind `outside`. */
static void punch_through(enum sim_nat_kind router, enum sim_nat_kind outside, bool evict, uint64_t seed)
{
	struct sim *s = sim_new(seed);
	struct sim_site *home = sim_site(s, router);
	struct sim_node *in[PAIRS], *out[PAIRS];
	unsigned direct = 0;

	home->nat.rules.limit = SIM_NAT_LIMIT;
	home->nat.rules.evict = evict;
	for (int i = 0; i < PAIRS; i++) {
		in[i] = sim_node_at(s, home);
		out[i] = sim_node(s, outside);
	}
	sim_nat_hold(&home->nat, FOREIGN, s->now_ms);
	assert_true(sim_run_joined(s, 5000));
	sim_run(s, TRIAL_SETTLE_MS);
	for (int t = 0; t < 120 * 10; t++) {
		for (int i = 0; i < PAIRS; i++)
			sim_ping(s, in[i], out[i]);
		sim_run(s, 100);
	}
	for (int i = 0; i < PAIRS; i++)
		direct += sim_way(in[i], out[i]) == ENGINE_WAY_DIRECT;
	if (getenv("SIM_TABLE"))
		print_message(
			"%s to %s through %u entries, %s: %u of %u direct, peak %zu, %llu foreign lost, "
			"%llu evicted, %llu refused\n",
			sim_nat_name(router), sim_nat_name(outside), SIM_NAT_LIMIT,
			evict ? "early drop" : "none", direct, PAIRS, home->nat.peak,
			(unsigned long long)home->nat.foreign_lost, (unsigned long long)home->nat.evicted,
			(unsigned long long)home->nat.lost);
	assert_int_equal(home->nat.foreign_lost, 0);
	assert_int_equal(direct, PAIRS);
	sim_delete(s);
}

static void a_small_router_keeps_its_other_flows(void **state)
{
	(void)state;
	static const enum sim_nat_kind cases[][2] = { { NAT_SYMMETRIC, NAT_PORT_RESTRICTED },
						      { NAT_PORT_RESTRICTED, NAT_SYMMETRIC } };

	for (int i = 0; i < 2; i++)
		for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
			punch_through(cases[i][0], cases[i][1], true, seed);
			punch_through(cases[i][0], cases[i][1], false, seed);
		}
}

/* ---- one NAT, many nodes */

static void nodes_behind_one_nat_all_reach_the_same_peer(void **state)
{
	(void)state;
	enum { HOME = 4, LIMIT_MS = 60000 };
	static const enum sim_nat_kind kinds[] = { NAT_FULL_CONE,	NAT_ADDRESS_RESTRICTED,
						   NAT_PORT_RESTRICTED, NAT_SYMMETRIC,
						   NAT_SEQUENTIAL,	NAT_SEQUENTIAL_DOWN,
						   NAT_STRIDE,		NAT_BLOCK_512,
						   NAT_BLOCK_1024,	NAT_HOME_CARRIER };

	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		struct sim *s = sim_new(k + 1);
		struct sim_site *home = sim_site(s, kinds[k]);
		struct sim_node *n[HOME], *peer = sim_node(s, NAT_PORT_RESTRICTED);
		unsigned direct = 0, lan = 0;
		uint64_t start, last_ms = 0;
		for (int i = 0; i < HOME; i++)
			n[i] = sim_node_at(s, home);
		assert_true(sim_run_joined(s, 5000));
		sim_run(s, TRIAL_SETTLE_MS);
		start = s->now_ms;
		for (int t = 0; t < LIMIT_MS / 100; t++) {
			for (int i = 0; i < HOME; i++) {
				sim_ping(s, n[i], peer);
				sim_ping(s, n[i], n[(i + 1) % HOME]);
			}
			sim_run(s, 100);
		}
		for (int i = 0; i < HOME; i++) {
			const struct path *to_next = sim_peer(n[i], n[(i + 1) % HOME])->peer.best;
			bool ok = sim_way(n[i], peer) == ENGINE_WAY_DIRECT;
			uint64_t since_ms = sim_peer(n[i], peer)->way_since_ms;
			direct += ok;
			lan += to_next && addr_is_private(&to_next->addr);
			last_ms = ok && since_ms > start + last_ms ? since_ms - start : last_ms;
		}
		if (getenv("SIM_TABLE"))
			print_message("%d nodes behind one %s: %u direct within %llu ms, %u by the LAN\n",
				      HOME, sim_nat_name(kinds[k]), direct, (unsigned long long)last_ms, lan);
		assert_int_equal(direct, HOME);
		assert_int_equal(lan, HOME);
		sim_delete(s);
	}
}

/* ---- a network of ten */

enum { TEN = 10, CONVERGE_MS = 30000, LIFETIME_KNOWN_MS = 15 * 60000, IDLE_MINUTES = 10 };

static const enum sim_nat_kind mixed[TEN] = {
	NAT_NONE,	NAT_FULL_CONE, NAT_ADDRESS_RESTRICTED, NAT_PORT_RESTRICTED, NAT_SYMMETRIC,
	NAT_SEQUENTIAL, NAT_STRIDE,    NAT_BLOCK_1024,	       NAT_HOME_CARRIER,    NAT_PORT_RESTRICTED
};

/* Whether the notes let these two hope for a direct path. */
static bool can_be_direct(const struct sim_node *a, const struct sim_node *b)
{
	enum technique t =
		engine_expected(a->engine, sim_peer((struct sim_node *)a, (struct sim_node *)b)).technique;

	return t != TECHNIQUE_NONE;
}

static void talk_among_all(struct sim *s, struct sim_node *n[TEN], uint64_t ms)
{
	for (uint64_t t = 0; t < ms; t += 500) {
		for (int i = 0; i < TEN; i++)
			for (int j = 0; j < TEN; j++)
				if (i != j)
					sim_send(s, n[i], n[j]);
		sim_run(s, 500);
	}
}

/* How many pairs that can be direct are not. */
static unsigned missing(const struct sim *s, struct sim_node *n[TEN])
{
	unsigned possible = 0, direct = 0;

	for (int i = 0; i < TEN; i++)
		for (int j = 0; j < i; j++) {
			bool hope = can_be_direct(n[i], n[j]), is = sim_way(n[i], n[j]) == ENGINE_WAY_DIRECT;
			possible += hope;
			direct += hope && is;
			if (hope && !is && getenv("SIM_TABLE"))
				print_message("%s to %s is not direct\n", sim_nat_name(mixed[i]),
					      sim_nat_name(mixed[j]));
		}
	if (getenv("SIM_TABLE"))
		print_message("ten nodes, seed %d: %u of %u pairs are direct\n", (int)s->seed, direct,
			      possible);
	return possible - direct;
}

static void ten_mixed_nodes_converge_and_fall_silent(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct sim *s = sim_new(seed);
		struct sim_node *n[TEN];
		for (int i = 0; i < TEN; i++)
			n[i] = sim_node(s, mixed[i]);
		assert_true(sim_run_joined(s, 5000));
		sim_run(s, TRIAL_SETTLE_MS);
		talk_among_all(s, n, CONVERGE_MS);
		/* A search at random misses now and then, and is repeated when the budget is free again. */
		assert_in_range(missing(s, n), 0, 1);
		talk_among_all(s, n, CONVERGE_MS * 3 / 2);
		assert_int_equal(missing(s, n), 0);
		sim_run(s, LIFETIME_KNOWN_MS);
		uint64_t before = s->datagrams, direct = s->direct_datagrams;
		sim_run(s, IDLE_MINUTES * 60000);
		uint64_t per_minute = (s->datagrams - before) / TEN / IDLE_MINUTES;
		if (getenv("SIM_TABLE"))
			print_message("idle: %llu datagrams a node and minute, in and out\n",
				      (unsigned long long)per_minute);
		/* The mapping to the hub every 84 s, 0.7 of Linux's 120, and the relay's binding, four messages. */
		assert_in_range(per_minute, 1, 6);
		assert_int_equal(s->direct_datagrams, direct);
		sim_delete(s);
	}
}

/* ---- one seed */

static uint64_t digest;

static void digest_datagram(struct sim *s, struct sim_node *by, uint16_t port, const struct pkt *p)
{
	uint64_t words[] = { s->now_ms, by->inner.port, port, p->addr.port, p->len, p->ttl };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		digest = (digest ^ words[i]) * 1099511628211u;
	for (uint32_t i = 0; i < p->len; i++)
		digest = (digest ^ p->buf[p->off + i]) * 1099511628211u;
}

static uint64_t history(uint64_t seed)
{
	struct sim *s = sim_new(seed);
	struct sim_node *a, *b, *c;

	digest = 14695981039346656037u;
	s->loss_permille = 50;
	s->jitter_ms = 30;
	s->sent = digest_datagram;
	a = sim_node(s, NAT_SYMMETRIC);
	b = sim_node(s, NAT_PORT_RESTRICTED);
	c = sim_node(s, NAT_SEQUENTIAL);
	c->site->nat.rules.foreign_per_s = 30;
	assert_true(sim_run_joined(s, 20000));
	for (int t = 0; t < 600; t++) {
		sim_ping(s, a, b);
		sim_ping(s, b, c);
		sim_run(s, 100);
	}
	assert_int_equal(sim_way(a, b), ENGINE_WAY_DIRECT);
	sim_delete(s);
	return digest;
}

static void one_seed_is_one_history_of_birthdays_too(void **state)
{
	(void)state;
	assert_true(history(1) == history(1));
	assert_true(history(1) != history(2));
}

static int setup(void **state)
{
	(void)state;
	log_set_level(getenv("SIM_LOG") ? LOG_LVL_DEBUG : LOG_LVL_ERROR);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_router_keeps_its_other_flows),
		cmocka_unit_test(nodes_behind_one_nat_all_reach_the_same_peer),
		cmocka_unit_test(ten_mixed_nodes_converge_and_fall_silent),
		cmocka_unit_test(one_seed_is_one_history_of_birthdays_too),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
