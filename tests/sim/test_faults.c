/* Whole worlds under random faults: hubs and nodes killed, NATs that forget, paths cut, bursts of loss, long silences.
 * Whatever the order was, once it ends every pair can talk again, and nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim.h"

#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 60 }; /* each takes six times as long */
#else
enum { SEEDS = 300 };
#endif

enum {
	N = 4,
	FAULTS = 12,
	HEAL_MS = 30000,
	STEP_MS = 250,
};

static struct sim_node *n[N];

static void talk(struct sim *s)
{
	uint32_t a = rng_below(&s->rng, N), b = rng_below(&s->rng, N);

	if (a != b && n[a]->engine && n[b]->engine)
		sim_send(s, n[a], n[b]);
}

static void roam(struct sim *s, struct sim_node *node)
{
	uint8_t ip[4] = { 203, 0, (uint8_t)(114 + rng_below(&s->rng, 100)), node->site->nat.public_ip.ip[3] };

	if (node->site->nat.kind != NAT_NONE)
		node->site->nat.public_ip = addr_from_ip(ADDR_V4, ip, 0);
	sim_nat_flush(&node->site->nat);
}

static void fault(struct sim *s)
{
	struct sim_node *victim = n[rng_below(&s->rng, N)];

	switch (rng_below(&s->rng, 8)) {
	case 0:
		if (s->coord)
			sim_hub_kill(s);
		else
			sim_hub_start(s);
		break;
	case 1:
	case 2:
		if (victim->engine)
			sim_node_kill(s, victim);
		else
			sim_node_start(s, victim);
		break;
	case 3: sim_nat_flush(&victim->site->nat); break;
	case 4: s->cut_direct = !s->cut_direct; break;
	case 5: s->loss_permille = s->loss_permille ? 0 : 400; break;
	case 6: roam(s, victim); break;
	case 7: sim_run(s, 200000); break; /* keys, mappings and slots grow old */
	}
}

static void heal(struct sim *s)
{
	s->cut_direct = false;
	s->loss_permille = 0;
	if (!s->coord)
		sim_hub_start(s);
	for (int i = 0; i < N; i++)
		if (!n[i]->engine)
			sim_node_start(s, n[i]);
}

/* What b has got from a. */
static uint64_t got(struct sim_node *a, struct sim_node *b)
{
	struct engine_peer *ep = sim_peer(b, a);

	return ep ? ep->peer.rx_bytes : 0;
}

/* Only every second ordered pair speaks by itself when `one_way`: the other end has nothing to say. */
static bool speaks(int a, int b, bool one_way)
{
	return a != b && (!one_way || a < b);
}

/* The first pair that is still silent, or -1. */
static int all_pairs_talk(struct sim *s, bool one_way)
{
	uint64_t before[N][N];
	int silent = 0;

	for (int a = 0; a < N; a++)
		for (int b = 0; b < N; b++)
			before[a][b] = got(n[a], n[b]);
	for (uint64_t end = s->now_ms + HEAL_MS; s->now_ms < end && silent >= 0; sim_run(s, STEP_MS)) {
		silent = -1;
		for (int a = 0; a < N; a++)
			for (int b = 0; b < N; b++) {
				if (!speaks(a, b, one_way) || got(n[a], n[b]) > before[a][b])
					continue;
				silent = a * N + b;
				sim_send(s, n[a], n[b]);
			}
	}
	return silent;
}

static void every_pair_talks_after_any_faults(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct sim *s = malloc(sizeof *s);
		assert_non_null(s);
		sim_init(s, seed);
		s->jitter_ms = rng_below(&s->rng, 20);
		for (int i = 0; i < N; i++)
			n[i] = sim_node(s, (enum sim_nat_kind)rng_below(&s->rng, NAT_SYMMETRIC + 1));
		sim_run(s, rng_below(&s->rng, 2000));
		for (int i = 0; i < FAULTS; i++) {
			fault(s);
			for (uint32_t t = rng_below(&s->rng, 3000); t < 3000; t += 100) {
				talk(s);
				sim_run(s, 100);
			}
		}
		heal(s);
		int silent = all_pairs_talk(s, seed % 2);
		if (silent >= 0)
			fail_msg("seed %llu: %d does not reach %d", (unsigned long long)seed, silent / N,
				 silent % N);
		sim_run(s, 10000);
		assert_int_equal(s->pool.in_use, 0);
		sim_free(s);
		free(s);
	}
}

/* The hub is away from a's point of view only: its relay binding stays. */
static void drop_link_of(struct sim *s, struct sim_node *a, uint64_t for_ms)
{
	coord_on_close(s->coord, a->conn, s->now_ms);
	a->conn = 0;
	a->reconnect_ms = s->now_ms + for_ms;
	engine_on_hub_down(a->engine, s->now_ms);
}

static void late_news_of_a_restart_stall_nothing(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);
	assert_non_null(s);
	sim_init(s, 1);
	struct sim_node *a = sim_node(s, NAT_SYMMETRIC), *b = sim_node(s, NAT_SYMMETRIC);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	sim_send(s, b, a);
	sim_run(s, 1000);
	assert_int_equal(a->received, 1);
	drop_link_of(s, a, 5000);
	sim_node_kill(s, b);
	sim_node_start(s, b);
	sim_run(s, 3000);
	sim_send(s, b, a);
	sim_run(s, 1000);
	assert_int_equal(a->received, 2);
	/* Now a learns that b has started again. It has nothing to say to b. */
	sim_run(s, 3000);
	for (int i = 0; i < 10; i++) {
		sim_send(s, b, a);
		sim_run(s, 100);
	}
	assert_int_equal(a->received, 12);
	sim_free(s);
	free(s);
}

static void a_new_hub_knows_who_is_gone(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);
	assert_non_null(s);
	sim_init(s, 2);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE), *c = sim_node(s, NAT_NONE);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	assert_true(sim_peer(a, b)->online && sim_peer(a, c)->online);
	sim_hub_kill(s);
	sim_node_kill(s, c);
	sim_hub_start(s);
	sim_run(s, 3000);
	assert_true(sim_peer(a, b)->online);
	assert_false(sim_peer(a, c)->online);
	sim_free(s);
	free(s);
}

/* One packet for a peer that comes back a moment after the hub said that it is not there. */
static void what_waits_goes_when_the_peer_comes_back(void **state)
{
	(void)state;
	for (uint32_t late_ms = 0; late_ms < 2000; late_ms += 50) {
		struct sim *s = malloc(sizeof *s);
		assert_non_null(s);
		sim_init(s, 3);
		struct sim_node *a = sim_node(s, NAT_SYMMETRIC), *b = sim_node(s, NAT_SYMMETRIC);

		assert_true(sim_run_joined(s, 3000));
		sim_run(s, 1000);
		sim_hub_kill(s);
		sim_node_kill(s, b);
		sim_ping(s, a, b);
		sim_hub_start(s);
		sim_run(s, late_ms);
		sim_node_start(s, b);
		sim_run(s, 5000);
		assert_int_equal(a->engine->udp_out.count, 0);
		assert_int_equal(sim_peer(a, b)->peer.staged.count, 0);
		sim_free(s);
		free(s);
	}
}

static void that_udp_is_blocked_is_told_and_so_is_its_end(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);
	assert_non_null(s);
	sim_init(s, 4);
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED), *b = sim_node(s, NAT_UDP_BLOCKED);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 10000);
	assert_true(b->engine->verdict.udp_blocked);
	assert_true(sim_peer(a, b)->nat.udp_blocked);

	b->site->nat.rules.blocked = false;
	sim_run(s, 60000);
	assert_false(b->engine->verdict.udp_blocked);
	assert_false(sim_peer(a, b)->nat.udp_blocked);
	assert_true(verdict_is_easy(&sim_peer(a, b)->nat));
	sim_send(s, a, b);
	sim_run(s, 2000);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_DIRECT);
	sim_free(s);
	free(s);
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
		cmocka_unit_test(late_news_of_a_restart_stall_nothing),
		cmocka_unit_test(a_new_hub_knows_who_is_gone),
		cmocka_unit_test(what_waits_goes_when_the_peer_comes_back),
		cmocka_unit_test(that_udp_is_blocked_is_told_and_so_is_its_end),
		cmocka_unit_test(every_pair_talks_after_any_faults),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
