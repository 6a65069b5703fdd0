/* Every kind of NAT with every other, and with one datagram in twenty lost: what can be direct is, soon, and what cannot is
 * relayed at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim_trial.h"

#ifdef __SANITIZE_ADDRESS__
enum { TRIALS = 4, LOSSY = 3 };
#else
enum { TRIALS = 20, LOSSY = 10 };
#endif

enum { RELAY_MS = 500, LIMIT_MS = 50000, LOSSY_LIMIT_MS = 60000, LOSS_PERMILLE = 50 };

static const enum sim_nat_kind kinds[] = {
	NAT_NONE,      NAT_FULL_CONE,  NAT_ADDRESS_RESTRICTED, NAT_PORT_RESTRICTED,
	NAT_SYMMETRIC, NAT_SEQUENTIAL, NAT_SEQUENTIAL_DOWN,    NAT_STRIDE,
	NAT_BLOCK_512, NAT_BLOCK_1024, NAT_HOME_CARRIER
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static bool is_random(enum sim_nat_kind k)
{
	return k == NAT_SYMMETRIC || k == NAT_BLOCK_512 || k == NAT_BLOCK_1024;
}

static bool is_hard(enum sim_nat_kind k)
{
	return is_random(k) || k == NAT_SEQUENTIAL || k == NAT_SEQUENTIAL_DOWN || k == NAT_STRIDE;
}

/* Random x hard needs --hard-nat, and luck. */
static bool can_be_direct(enum sim_nat_kind a, enum sim_nat_kind b)
{
	return !(is_hard(a) && is_hard(b)) || !(is_random(a) || is_random(b));
}

static void every_pair_does_what_it_can(void **state)
{
	(void)state;
	for (int i = 0; i < KINDS; i++)
		for (int j = 0; j < KINDS; j++) {
			bool can = can_be_direct(kinds[i], kinds[j]);
			struct trial t = { .from = kinds[i],
					   .to = kinds[j],
					   .limit_ms = can ? LIMIT_MS : 3000 };
			struct trial_summary sum = sim_trials(&t, TRIALS, 1);
			assert_in_range(sum.relay_p95_ms, 1, RELAY_MS);
			assert_int_equal(sum.direct, can ? sum.trials : 0);
		}
}

static void with_loss_it_takes_longer(void **state)
{
	(void)state;
	static const enum sim_nat_kind pairs[][2] = {
		{ NAT_PORT_RESTRICTED, NAT_PORT_RESTRICTED },
		{ NAT_NONE, NAT_HOME_CARRIER },
		{ NAT_SYMMETRIC, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_SYMMETRIC },
		{ NAT_BLOCK_512, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_BLOCK_1024 },
		{ NAT_SEQUENTIAL, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_STRIDE },
		{ NAT_SEQUENTIAL, NAT_SEQUENTIAL },
		{ NAT_SEQUENTIAL_DOWN, NAT_STRIDE },
		{ NAT_SYMMETRIC, NAT_FULL_CONE },
		{ NAT_ADDRESS_RESTRICTED, NAT_SYMMETRIC },
	};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct trial t = { .from = pairs[i][0],
				   .to = pairs[i][1],
				   .loss_permille = LOSS_PERMILLE,
				   .foreign_per_s = 5,
				   .limit_ms = LOSSY_LIMIT_MS };
		struct trial_summary sum = sim_trials(&t, 2 * LOSSY, 1);
		assert_int_equal(sum.direct, sum.trials);
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
		cmocka_unit_test(every_pair_does_what_it_can),
		cmocka_unit_test(with_loss_it_takes_longer),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
