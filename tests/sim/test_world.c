/* Whole nodes and a whole hub in virtual time: joining, relay first, direct when proven, faults. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim.h"

static struct sim *world(uint64_t seed)
{
	struct sim *s = malloc(sizeof *s);

	assert_non_null(s);
	sim_init(s, seed);
	return s;
}

static void end(struct sim *s)
{
	sim_free(s);
	free(s);
}

/* Pings every 100 ms until the first direct pong or `limit_ms`. */
static void ping_until_direct(struct sim *s, struct sim_node *a, struct sim_node *b, uint64_t limit_ms)
{
	for (uint64_t t = 0; t < limit_ms && !a->first_direct_pong_ms; t += 100) {
		sim_ping(s, a, b);
		sim_run(s, 100);
	}
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static void easy_pairs_are_relayed_at_once_and_direct_soon(void **state)
{
	(void)state;
	static const enum sim_nat_kind pairs[][2] = {
		{ NAT_PORT_RESTRICTED, NAT_PORT_RESTRICTED },
		{ NAT_FULL_CONE, NAT_PORT_RESTRICTED },
		{ NAT_ADDRESS_RESTRICTED, NAT_PORT_RESTRICTED },
		{ NAT_NONE, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_NONE },
		{ NAT_NONE, NAT_NONE },
		{ NAT_NONE, NAT_SYMMETRIC },
		{ NAT_FULL_CONE, NAT_SYMMETRIC },
	};
	enum { RUNS = 20 };

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		uint64_t direct[RUNS];
		for (uint64_t seed = 0; seed < RUNS; seed++) {
			struct sim *s = world(seed + 1);
			struct sim_node *a = sim_node(s, pairs[i][0]), *b = sim_node(s, pairs[i][1]);
			assert_true(sim_run_joined(s, 3000));
			sim_run(s, 100);
			uint64_t start = s->now_ms;
			ping_until_direct(s, a, b, 10000);
			assert_in_range(a->first_pong_ms - start, 1, 1000);
			assert_int_not_equal(a->first_direct_pong_ms, 0);
			direct[seed] = a->first_direct_pong_ms - start;
			end(s);
		}
		qsort(direct, RUNS, sizeof *direct, by_value);
		assert_in_range(direct[RUNS / 2], 1, 1500);
		assert_in_range(direct[RUNS - 1], 1, 5000);
	}
}

static void symmetric_pair_stays_on_the_relay(void **state)
{
	(void)state;
	struct sim *s = world(7);
	struct sim_node *a = sim_node(s, NAT_SYMMETRIC), *b = sim_node(s, NAT_SYMMETRIC);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 100);
	for (int i = 0; i < 300; i++) {
		sim_send(s, a, b);
		sim_run(s, 100);
	}
	assert_int_equal(sim_way(a, b), ENGINE_WAY_RELAY);
	assert_int_equal(b->received, 300);
	end(s);
}

static void neighbours_behind_one_nat_meet_on_the_lan(void **state)
{
	(void)state;
	struct sim *s = world(8);
	struct sim_site *home = sim_site(s, NAT_PORT_RESTRICTED);
	struct sim_node *a = sim_node_at(s, home), *b = sim_node_at(s, home);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 100);
	ping_until_direct(s, a, b, 5000);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_DIRECT);
	assert_true(addr_is_private(&sim_peer(a, b)->peer.best->addr));
	end(s);
}

static void a_cut_path_costs_at_most_two_seconds(void **state)
{
	(void)state;
	struct sim *s = world(9);
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED), *b = sim_node(s, NAT_PORT_RESTRICTED);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 100);
	ping_until_direct(s, a, b, 5000);
	for (int i = 0; i < 50; i++) {
		sim_send(s, a, b);
		sim_run(s, 50);
	}
	s->cut_direct = true;
	uint64_t before = b->received;
	for (int i = 0; i < 100; i++) {
		sim_send(s, a, b);
		sim_run(s, 50);
	}
	/* 5 s at 20 packets a second: at most 2 s of them are lost. */
	assert_in_range(b->received - before, 60, 100);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_RELAY);
	s->cut_direct = false;
	a->first_direct_pong_ms = 0;
	ping_until_direct(s, a, b, 30000);
	assert_int_not_equal(a->first_direct_pong_ms, 0);
	end(s);
}

static void tunnels_outlive_the_hub_and_it_gets_all_back(void **state)
{
	(void)state;
	struct sim *s = world(10);
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED), *b = sim_node(s, NAT_PORT_RESTRICTED);
	struct sim_node *c = sim_node(s, NAT_SYMMETRIC);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 100);
	ping_until_direct(s, a, b, 5000);
	sim_hub_kill(s);
	uint64_t before = b->received;
	for (int i = 0; i < 300; i++) {
		sim_send(s, a, b);
		sim_run(s, 100);
	}
	assert_int_equal(b->received - before, 300);
	sim_hub_start(s);
	sim_run(s, 5000);
	assert_int_equal(coord_stats(s->coord).online, 3);
	a->first_pong_ms = 0;
	sim_ping(s, a, c);
	sim_run(s, 1000);
	assert_int_not_equal(a->first_pong_ms, 0);
	end(s);
}

/* Kills the hub or a node at random moments; after the last restart all is connected again within 5 s. */
static void random_kills_heal_within_five_seconds(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < 140; seed++) {
		struct sim *s = world(seed);
		struct sim_node *nodes[2] = { sim_node(s, NAT_PORT_RESTRICTED),
					      sim_node(s, NAT_PORT_RESTRICTED) };

		assert_true(sim_run_joined(s, 3000));
		for (int round = 0; round < 10; round++) {
			uint32_t victim = rng_below(&s->rng, 3), down = rng_below(&s->rng, 3000);
			for (uint32_t t = 0; t < rng_below(&s->rng, 3000); t += 50) {
				sim_ping(s, nodes[0], nodes[1]);
				sim_run(s, 50);
			}
			if (victim == 2)
				sim_hub_kill(s);
			else
				sim_node_kill(s, nodes[victim]);
			sim_run(s, down);
			if (victim == 2)
				sim_hub_start(s);
			else
				sim_node_start(s, nodes[victim]);
			uint64_t pongs = nodes[0]->pongs;
			for (uint64_t end_ms = s->now_ms + 5000;
			     s->now_ms < end_ms && nodes[0]->pongs == pongs;) {
				sim_ping(s, nodes[0], nodes[1]);
				sim_run(s, 50);
			}
			if (nodes[0]->pongs == pongs)
				fail_msg("seed %llu round %d victim %u down %u ms", (unsigned long long)seed,
					 round, victim, down);
		}
		end(s);
	}
}

static void lossy_links_still_become_direct(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct sim *s = world(seed);
		struct sim_node *a, *b;
		s->loss_permille = 50;
		s->duplicate_permille = 20;
		s->jitter_ms = 20;
		a = sim_node(s, NAT_PORT_RESTRICTED);
		b = sim_node(s, NAT_PORT_RESTRICTED);
		assert_true(sim_run_joined(s, 5000));
		sim_run(s, 100);
		ping_until_direct(s, a, b, 15000);
		assert_int_not_equal(a->first_direct_pong_ms, 0);
		end(s);
	}
}

static void all_pairs_of_a_mixed_network_connect(void **state)
{
	(void)state;
	enum { N = 10 };
	struct sim *s = world(11);
	struct sim_node *n[N];

	for (int i = 0; i < N; i++)
		n[i] = sim_node(s, (enum sim_nat_kind)(i % 5));
	assert_true(sim_run_joined(s, 5000));
	sim_run(s, 200);
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			if (i != j)
				sim_send(s, n[i], n[j]);
	sim_run(s, 5000);
	for (int i = 0; i < N; i++) {
		assert_int_equal(n[i]->received, N - 1);
		for (int j = 0; j < N; j++)
			assert_true(i == j || sim_way(n[i], n[j]) != ENGINE_WAY_NONE);
	}
	end(s);
}

static void an_idle_network_is_quiet(void **state)
{
	(void)state;
	struct sim *s = world(12);
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED), *b = sim_node(s, NAT_PORT_RESTRICTED);

	assert_true(sim_run_joined(s, 3000));
	ping_until_direct(s, a, b, 5000);
	sim_run(s, 300000);
	uint64_t before = s->datagrams;
	sim_run(s, 60000);
	/* Per node and minute: 3 STUN exchanges, 1 renewal of the relay's binding (4 messages). */
	assert_in_range(s->datagrams - before, 1, 2 * (6 + 8));
	end(s);
}

static void of_two_claims_to_an_address_the_older_wins(void **state)
{
	(void)state;
	struct sim *s = world(13);
	struct sim_node *a = sim_node(s, NAT_NONE), *b;

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 2000);
	b = sim_node(s, NAT_NONE);
	sim_node_kill(s, b);
	b->config.ip4_wish = a->engine->ip4;
	b->config.cert_not_before = 0;
	sim_node_start(s, b);
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	assert_false(addr_same_ip(&a->engine->ip4, &b->engine->ip4));
	sim_send(s, a, b);
	sim_send(s, b, a);
	sim_run(s, 2000);
	assert_int_equal(a->received, 1);
	assert_int_equal(b->received, 1);
	end(s);
}

/* Each is a stock WireGuard peer to the other: known by key and endpoint, in another network. */
static void stock_peers_talk_and_roam(void **state)
{
	(void)state;
	struct sim *s = world(14);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_PORT_RESTRICTED);
	struct engine_wg_peer of_a = { .name = "a", .endpoint = a->inner },
			      of_b = { .name = "b", .keepalive_s = 25 };

	sim_node_kill(s, b);
	assert_int_equal(network_from_secret(&b->config.net, "other", "quite another secret, not ours", 30),
			 0);
	sim_node_start(s, b);
	assert_true(sim_run_joined(s, 3000));
	memcpy(of_a.pk, a->engine->local.pk, 32);
	memcpy(of_b.pk, b->engine->local.pk, 32);
	of_a.allowed[0].prefix = a->engine->ip4;
	of_b.allowed[0].prefix = b->engine->ip4;
	of_a.allowed[0].bits = of_b.allowed[0].bits = 32;
	of_a.allowed_count = of_b.allowed_count = 1;
	assert_int_equal(engine_add_wg(a->engine, &of_b, s->now_ms), 0);
	assert_int_equal(engine_add_wg(b->engine, &of_a, s->now_ms), 0);
	assert_int_equal(engine_add_wg(b->engine, &of_a, s->now_ms), -EEXIST);
	for (int i = 0; i < 2000; i++) {
		/* Only b can begin; a learns where b is, also after its NAT has forgotten it. */
		if (i == 1000)
			sim_nat_flush(&b->site->nat);
		sim_send(s, b, a);
		if (i > 0)
			sim_send(s, a, b);
		sim_run(s, 200);
	}
	assert_int_equal(a->received, 2000);
	assert_in_range(b->received, 1995, 1999);
	assert_int_equal(engine_ping(a->engine, engine_find_peer(a->engine, "b"), 1, s->now_ms), -ENOTSUP);
	assert_int_equal(engine_remove_wg(a->engine, "b"), 0);
	assert_int_equal(engine_remove_wg(a->engine, "b"), -ENOENT);
	end(s);
}

static void one_seed_is_one_history(void **state)
{
	(void)state;
	uint64_t seen[2];

	for (int i = 0; i < 2; i++) {
		struct sim *s = world(99);
		struct sim_node *a, *b;
		s->loss_permille = 100;
		s->jitter_ms = 30;
		a = sim_node(s, NAT_PORT_RESTRICTED);
		b = sim_node(s, NAT_ADDRESS_RESTRICTED);
		sim_run_joined(s, 5000);
		ping_until_direct(s, a, b, 10000);
		seen[i] = s->datagrams * 1000000 + a->first_direct_pong_ms;
		end(s);
	}
	assert_int_equal(seen[0], seen[1]);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(getenv("SIM_LOG") ? LOG_LVL_DEBUG : LOG_LVL_ERROR);
	return crypto_init();
}

static void a_node_tells_when_its_nat_maps_it_elsewhere(void **state)
{
	(void)state;
	struct sim *s = world(5);
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED);
	struct addr elsewhere;

	assert_int_equal(addr_parse(&elsewhere, "192.0.2.99", 1), 0);
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 30000);
	assert_int_equal(a->moves, 0);
	sim_nat_readdress(&a->site->nat, &elsewhere);
	sim_run(s, ENGINE_STUN_MS + 1000);
	assert_int_equal(a->moves, 1);
	end(s);
}

static void a_node_that_slept_measures_at_once(void **state)
{
	(void)state;
	struct sim *s = world(6);
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED);
	struct addr elsewhere;

	assert_int_equal(addr_parse(&elsewhere, "192.0.2.99", 1), 0);
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	sim_sleep(s, a, 3000); /* less than between two measurements */
	sim_nat_readdress(&a->site->nat, &elsewhere);
	sim_run(s, 3000 + 4 * s->one_way_ms + 50);
	assert_true(addr_same_ip(engine_reflexive(a->engine), &elsewhere));
	end(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(easy_pairs_are_relayed_at_once_and_direct_soon),
		cmocka_unit_test(symmetric_pair_stays_on_the_relay),
		cmocka_unit_test(neighbours_behind_one_nat_meet_on_the_lan),
		cmocka_unit_test(a_cut_path_costs_at_most_two_seconds),
		cmocka_unit_test(tunnels_outlive_the_hub_and_it_gets_all_back),
		cmocka_unit_test(random_kills_heal_within_five_seconds),
		cmocka_unit_test(lossy_links_still_become_direct),
		cmocka_unit_test(all_pairs_of_a_mixed_network_connect),
		cmocka_unit_test(an_idle_network_is_quiet),
		cmocka_unit_test(of_two_claims_to_an_address_the_older_wins),
		cmocka_unit_test(stock_peers_talk_and_roam),
		cmocka_unit_test(one_seed_is_one_history),
		cmocka_unit_test(a_node_tells_when_its_nat_maps_it_elsewhere),
		cmocka_unit_test(a_node_that_slept_measures_at_once),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
