/* The goals of traversal, at a round trip of 50 ms: how often, how soon and with how many probes two nodes behind any
 * two NATs become direct. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim_trial.h"

#ifdef __SANITIZE_ADDRESS__
enum { TRIALS = 30, FEW = 10, CHANCE = 1 };
#else
enum { TRIALS = 200, FEW = 25, CHANCE = 0 };
#endif

enum {
	RELAY_MS = 500, /* the first pong, by the relay: two handshakes of the tunnel and one of the relay */
	FOREIGN_PER_S = 30,
};

static const enum sim_nat_kind easy[] = { NAT_NONE, NAT_FULL_CONE, NAT_ADDRESS_RESTRICTED,
					  NAT_PORT_RESTRICTED, NAT_HOME_CARRIER };
static const enum sim_nat_kind sequential[] = { NAT_SEQUENTIAL, NAT_SEQUENTIAL_DOWN, NAT_STRIDE };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* So many of 1,000 are direct by then. Of few trials one may miss by chance. */
static void assert_share(const struct trial_summary *sum, uint64_t ms, unsigned permille)
{
	assert_in_range(trial_permille_within(sum, ms) + CHANCE * 1000 / sum->trials, permille, 2000);
}

static void easy_pairs_open_at_once(void **state)
{
	(void)state;
	struct trial_summary all = { 0 };

	for (size_t i = 0; i < COUNT(easy); i++)
		for (size_t j = 0; j < COUNT(easy); j++) {
			struct trial t = { .from = easy[i], .to = easy[j], .limit_ms = 5000 };
			struct trial_summary sum = sim_trials(&t, FEW, 1);
			trial_add(&all, &sum);
		}
	trial_print("easy x easy", &all);
	assert_in_range(all.direct * 1000 / all.trials, 995, 1000);
	assert_in_range(all.p50_ms, 0, 300);
	assert_in_range(all.p95_ms, 0, 1000);
	assert_in_range(all.relay_p95_ms, 1, RELAY_MS);
}

static void a_block_of_ports_is_soon_searched(void **state)
{
	(void)state;
	static const enum sim_nat_kind pairs[][2] = {
		{ NAT_BLOCK_512, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_BLOCK_512 },
		{ NAT_BLOCK_1024, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_BLOCK_1024 },
	};

	for (size_t i = 0; i < COUNT(pairs); i++) {
		struct trial t = { .from = pairs[i][0], .to = pairs[i][1], .limit_ms = 45000 };
		struct trial_summary sum = sim_trials(&t, TRIALS, 1000 * i);
		assert_share(&sum, 2000, 990);
		/* One in a thousand misses the block, and looks further half a minute later. */
		assert_in_range(sum.probes_max, 1, sum.max_ms < BUDGET_HOLD_MS ? 300 : 600);
	}
}

static void sequences_meet_in_spite_of_noise(void **state)
{
	(void)state;
	struct trial_summary all = { 0 };

	for (size_t i = 0; i < COUNT(sequential); i++)
		for (size_t j = 0; j < COUNT(sequential); j++) {
			struct trial t = { .from = sequential[i],
					   .to = sequential[j],
					   .foreign_per_s = FOREIGN_PER_S,
					   .limit_ms = 10000 };
			struct trial_summary sum = sim_trials(&t, i == j ? TRIALS : FEW, 1000 * i);
			trial_add(&all, &sum);
			assert_in_range(trial_permille_within(&sum, 3000), 900, 1000);
		}
	trial_print("sequential x sequential, 30 foreign a second", &all);
	assert_in_range(trial_permille_within(&all, 3000), 950, 1000);
	assert_int_equal(all.direct, all.trials);
}

static void a_sequence_is_found_from_an_easy_nat(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(sequential); i++) {
		struct trial t = { .from = sequential[i],
				   .to = NAT_PORT_RESTRICTED,
				   .foreign_per_s = FOREIGN_PER_S,
				   .limit_ms = 10000 };
		struct trial_summary sum = sim_trials(&t, TRIALS, 1);
		assert_share(&sum, 3000, 950);
		t.from = t.to;
		t.to = sequential[i];
		sum = sim_trials(&t, TRIALS, 1);
		assert_share(&sum, 3000, 950);
	}
}

static void two_random_nats_are_relayed_at_once(void **state)
{
	(void)state;
	struct trial t = { .from = NAT_SYMMETRIC, .to = NAT_SYMMETRIC, .limit_ms = 5000 };
	struct trial_summary sum = sim_trials(&t, FEW, 1);

	assert_int_equal(sum.direct, 0);
	assert_in_range(sum.relay_p95_ms, 1, RELAY_MS);
	assert_in_range(sum.probes_max, 0, PUNCH_BUDGET);
	/* Small blocks, when that is allowed. */
	t = (struct trial) {
		.from = NAT_BLOCK_512, .to = NAT_BLOCK_512, .hard_nat = true, .limit_ms = 60000
	};
	sum = sim_trials(&t, FEW, 1);
	assert_in_range(sum.relay_p95_ms, 1, RELAY_MS);
}

static void fresh_nodes_need_little_longer(void **state)
{
	(void)state;
	static const enum sim_nat_kind pairs[][2] = {
		{ NAT_PORT_RESTRICTED, NAT_PORT_RESTRICTED }, { NAT_SYMMETRIC, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_SYMMETRIC },	      { NAT_BLOCK_1024, NAT_PORT_RESTRICTED },
		{ NAT_SEQUENTIAL, NAT_SEQUENTIAL },	      { NAT_PORT_RESTRICTED, NAT_SEQUENTIAL },
	};

	for (size_t i = 0; i < COUNT(pairs); i++) {
		struct trial t = { .from = pairs[i][0], .to = pairs[i][1], .fresh = true, .limit_ms = 45000 };
		struct trial_summary sum = sim_trials(&t, FEW, 1);
		assert_share(&sum, 12000, 900);
	}
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
		cmocka_unit_test(easy_pairs_open_at_once),
		cmocka_unit_test(a_block_of_ports_is_soon_searched),
		cmocka_unit_test(sequences_meet_in_spite_of_noise),
		cmocka_unit_test(a_sequence_is_found_from_an_easy_nat),
		cmocka_unit_test(two_random_nats_are_relayed_at_once),
		cmocka_unit_test(fresh_nodes_need_little_longer),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
