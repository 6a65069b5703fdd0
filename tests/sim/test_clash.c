/* Routers on which a packet that nobody asked for takes the very tuple that the outbound flow needs (rules.clash; B1 of
 * the traversal notes): low-TTL openers avoid it, fresh ports get out of it, and the old ones stay silent meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim_trial.h"

#ifdef __SANITIZE_ADDRESS__
enum { TRIALS = 10 };
#else
enum { TRIALS = 50 };
#endif

enum {
	/* The second node's start comes half of it too late: after a full-TTL opener of the first, before its bursts. */
	LATE_MS = 100,
	FORGOTTEN_MS = 180000,
};

static const enum sim_nat_kind easy[] = { NAT_FULL_CONE, NAT_ADDRESS_RESTRICTED, NAT_PORT_RESTRICTED,
					  NAT_HOME_CARRIER };
enum { EASY = sizeof easy / sizeof *easy };

static void openers_avoid_the_clash(void **state)
{
	(void)state;
	struct trial_summary all = { 0 };

	for (int i = 0; i < EASY; i++)
		for (int j = 0; j < EASY; j++)
			for (uint32_t late_ms = 0; late_ms <= LATE_MS; late_ms += LATE_MS) {
				struct trial t = { .from = easy[i],
						   .to = easy[j],
						   .clash = true,
						   .late_ms = late_ms,
						   .limit_ms = 5000 };
				struct trial_summary sum = sim_trials(&t, TRIALS / 2, 1);
				trial_add(&all, &sum);
			}
	trial_print("clash: easy x easy", &all);
	assert_in_range(all.direct * 1000 / all.trials, 995, 1000);
	assert_in_range(all.p95_ms, 0, 1000);
}

static void fresh_ports_get_out_of_a_clash(void **state)
{
	(void)state;
	struct trial t = { .from = NAT_PORT_RESTRICTED,
			   .to = NAT_PORT_RESTRICTED,
			   .clash = true,
			   .late_ms = LATE_MS,
			   .depth = 20, /* wrong: openers get to the other NAT */
			   .limit_ms = 60000 };
	struct trial_summary sum = sim_trials(&t, TRIALS, 1);

	assert_int_equal(sum.direct, sum.trials);
	/* It did clash: three rounds failed, and the ports that they went by are not those in use. */
	assert_in_range(sum.p50_ms, 7000, 40000);
}

/* Where one end searches, too: what the other's openers leave at its router would take the port that it searches from. */
static void searches_do_not_clash_either(void **state)
{
	(void)state;
	static const enum sim_nat_kind pairs[][2] = {
		{ NAT_SYMMETRIC, NAT_PORT_RESTRICTED },	 { NAT_PORT_RESTRICTED, NAT_SYMMETRIC },
		{ NAT_BLOCK_1024, NAT_PORT_RESTRICTED }, { NAT_PORT_RESTRICTED, NAT_SEQUENTIAL },
		{ NAT_SEQUENTIAL, NAT_SEQUENTIAL },
	};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct trial t = { .from = pairs[i][0], .to = pairs[i][1], .clash = true, .limit_ms = 50000 };
		struct trial_summary sum = sim_trials(&t, TRIALS, 1);
		assert_int_equal(sum.direct, sum.trials);
		assert_in_range(trial_permille_within(&sum, 6000), 900, 1000);
	}
}

/* ---- silence */

static struct {
	struct sim_node *from, *to;
	uint64_t first_ms, last_ms, longest_ms;
	unsigned sent;
} main_tuple;

static void on_sent(struct sim *s, struct sim_node *by, uint16_t port, const struct pkt *p)
{
	if (by != main_tuple.from || port != by->inner.port ||
	    !addr_same_ip(&p->addr, &main_tuple.to->site->nat.public_ip) ||
	    p->addr.port != main_tuple.to->inner.port)
		return;
	uint64_t gap = main_tuple.last_ms ? s->now_ms - main_tuple.last_ms : 0;
	if (gap > main_tuple.longest_ms)
		main_tuple.longest_ms = gap;
	main_tuple.last_ms = s->now_ms;
	main_tuple.sent++;
}

static void the_old_ports_are_silent_until_all_routers_forgot(void **state)
{
	(void)state;
	struct sim *s = sim_new(1);
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED), *b = sim_node(s, NAT_PORT_RESTRICTED);

	s->cut_direct = true;
	assert_true(sim_run_joined(s, 5000));
	sim_run(s, TRIAL_SETTLE_MS);
	main_tuple.from = a;
	main_tuple.to = b;
	s->sent = on_sent;
	unsigned before = 0;
	for (int second = 0; second < 400; second++) {
		sim_ping(s, a, b);
		sim_run(s, 1000);
		if (second == 100)
			before = main_tuple.sent;
	}
	/* Three rounds, silence, and three more: the main ports may serve again. */
	assert_in_range(main_tuple.longest_ms, FORGOTTEN_MS + 1, FORGOTTEN_MS + 60000);
	assert_in_range(before, 3, 3 * 9);
	assert_in_range(main_tuple.sent, before + 1, 2 * before);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_RELAY);
	s->cut_direct = false;
	a->first_direct_pong_ms = 0;
	for (int second = 0; second < 700 && !a->first_direct_pong_ms; second++) {
		sim_ping(s, a, b);
		sim_run(s, 1000);
	}
	assert_int_not_equal(a->first_direct_pong_ms, 0);
	sim_delete(s);
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
		cmocka_unit_test(openers_avoid_the_clash),
		cmocka_unit_test(fresh_ports_get_out_of_a_clash),
		cmocka_unit_test(searches_do_not_clash_either),
		cmocka_unit_test(the_old_ports_are_silent_until_all_routers_forgot),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
