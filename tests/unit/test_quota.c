#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/quota.h"

enum { MB = 1000000, NOVEMBER = 2026 * 12 + 10, FRAME = 1400, NODES = 10 };

/* Bytes of those offered for a second, `per_ms` frames each ms, that were let through. */
static uint64_t second_of(struct quota *q, struct quota_user *network, struct quota_user *nodes,
			  const unsigned *per_ms, unsigned count, uint64_t *got)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < count; i++)
		got[i] = 0;
	for (uint64_t now = 1000; now < 2000; now++)
		for (unsigned i = 0; i < count; i++)
			for (unsigned k = 0; k < per_ms[i]; k++)
				if (quota_take(q, network, &nodes[i], FRAME, now) == QUOTA_OK)
					got[i] += FRAME, all += FRAME;
	return all;
}

static void without_limits_all_passes(void **state)
{
	struct quota q = { 0 };
	struct quota_user network = { 0 }, node = { 0 };
	(void)state;

	for (uint64_t i = 0; i < 10000; i++)
		assert_int_equal(quota_take(&q, &network, &node, 65000, 5), QUOTA_OK);
	assert_int_equal(quota_used(&q, &node), 10000ULL * 65000);
}

static void a_node_keeps_to_its_rate(void **state)
{
	struct quota q = { .limits = { .node_rate = MB } };
	struct quota_user network = { 0 }, node = { 0 };
	uint64_t got;
	(void)state;

	second_of(&q, &network, &node, (unsigned[]) { 10 }, 1, &got);
	assert_in_range(got, MB, MB + QUOTA_BURST_MIN + 2 * FRAME);
	assert_int_equal(quota_take(&q, &network, &node, FRAME, 2000), QUOTA_NODE_RATE);
	assert_int_equal(quota_take(&q, &network, &node, FRAME, 4000), QUOTA_OK);
}

static void the_nodes_of_a_network_share_its_rate(void **state)
{
	struct quota q = { .limits = { .network_rate = MB } };
	struct quota_user network = { 0 }, other = { 0 }, nodes[2] = { 0 };
	uint64_t got[2];
	(void)state;

	uint64_t all = second_of(&q, &network, nodes, (unsigned[]) { 5, 5 }, 2, got);
	assert_in_range(all, MB, MB + QUOTA_BURST_MIN + 2 * FRAME);
	assert_int_equal(quota_take(&q, &network, &nodes[0], FRAME, 2000), QUOTA_NETWORK_RATE);
	assert_int_equal(quota_take(&q, &other, &nodes[0], FRAME, 2000), QUOTA_OK);
}

static void a_month_ends_and_the_next_begins_anew(void **state)
{
	struct quota q = { .limits = { .node_month = 3 * FRAME } };
	struct quota_user network = { 0 }, node = { 0 };
	(void)state;

	quota_set_month(&q, NOVEMBER);
	for (int i = 0; i < 3; i++)
		assert_int_equal(quota_take(&q, &network, &node, FRAME, 1), QUOTA_OK);
	assert_int_equal(quota_take(&q, &network, &node, 1, 1), QUOTA_MONTH);
	assert_int_equal(quota_used(&q, &node), 3 * FRAME);
	quota_set_month(&q, NOVEMBER + 1);
	assert_int_equal(quota_used(&q, &node), 0);
	assert_int_equal(quota_take(&q, &network, &node, FRAME, 1), QUOTA_OK);
}

static void one_alone_gets_all_of_the_relay(void **state)
{
	struct quota q = { .limits = { .total_rate = 10 * MB } };
	struct quota_user network = { 0 }, nodes[NODES] = { 0 };
	unsigned per_ms[NODES] = { 20 };
	uint64_t got[NODES];
	(void)state;

	second_of(&q, &network, nodes, per_ms, NODES, got);
	assert_in_range(got[0], 10 * MB * 95ULL / 100, 10 * MB);
}

static void busy_ones_leave_the_modest_one_its_share(void **state)
{
	struct quota q = { .limits = { .total_rate = 10 * MB } };
	struct quota_user network = { 0 }, nodes[NODES] = { 0 };
	unsigned per_ms[NODES] = { 20, 20, 20, 20, 20, 20, 20, 20, 20, 0 };
	bool passed;
	uint64_t offered = 0;
	(void)state;

	/* The modest one comes last in each ms, with half of its share. */
	for (uint64_t now = 1000; now < 2000; now++) {
		for (unsigned i = 0; i < NODES - 1; i++)
			for (unsigned k = 0; k < per_ms[i]; k++)
				quota_take(&q, &network, &nodes[i], FRAME, now);
		if (now % 3 == 0) {
			offered += FRAME;
			passed = quota_take(&q, &network, &nodes[9], FRAME, now) == QUOTA_OK;
			if (now > 1000 + 2 * QUOTA_WINDOW_MS)
				assert_true(passed);
		}
	}
	assert_in_range(quota_used(&q, &nodes[9]), offered * 9 / 10, offered);
}

static void busy_ones_get_equal_shares(void **state)
{
	struct quota q = { .limits = { .total_rate = 10 * MB } };
	struct quota_user network = { 0 }, nodes[NODES] = { 0 };
	unsigned per_ms[NODES] = { 50, 20, 20, 10, 10, 5, 5, 5, 2, 2 };
	uint64_t got[NODES];
	(void)state;

	uint64_t all = second_of(&q, &network, nodes, per_ms, NODES, got);
	assert_in_range(all, 10 * MB * 9ULL / 10, 10 * MB);
	for (unsigned i = 0; i < NODES; i++)
		assert_in_range(got[i], MB * 8ULL / 10, MB * 16ULL / 10);
}

static void months_are_the_calendars(void **state)
{
	(void)state;
	assert_int_equal(quota_month(1793491199), NOVEMBER - 1); /* 2026-10-31 23:59:59 UTC */
	assert_int_equal(quota_month(1793491200), NOVEMBER);	 /* 2026-11-01 00:00:00 UTC */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_limits_all_passes),
		cmocka_unit_test(a_node_keeps_to_its_rate),
		cmocka_unit_test(the_nodes_of_a_network_share_its_rate),
		cmocka_unit_test(a_month_ends_and_the_next_begins_anew),
		cmocka_unit_test(one_alone_gets_all_of_the_relay),
		cmocka_unit_test(busy_ones_leave_the_modest_one_its_share),
		cmocka_unit_test(busy_ones_get_equal_shares),
		cmocka_unit_test(months_are_the_calendars),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
