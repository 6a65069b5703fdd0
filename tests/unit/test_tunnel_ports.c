/* Which ports public rules come out of the tunnel by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "apps/p2pd/forward/tunnel_ports.h"
#include "core/file.h"

static struct tunnel_ports ports;
static struct rng rng;

static int begin(void **state)
{
	(void)state;
	ports = (struct tunnel_ports) { 0 };
	rng_init_seed(&rng, 7);
	return 0;
}

static const uint8_t *id(unsigned n)
{
	static uint8_t ids[4][FORWARD_ID];
	uint8_t *out = ids[n % 4];

	memset(out, 0, FORWARD_ID);
	memcpy(out, &n, sizeof n);
	out[6] = 0x70; /* as a UUIDv7 has it */
	out[8] = 0x80;
	return out;
}

static bool none(void *arg, uint16_t first, unsigned count)
{
	(void)arg;
	(void)first;
	(void)count;
	return false;
}

struct block {
	unsigned first, last;
};

static bool in_block(void *arg, uint16_t first, unsigned count)
{
	const struct block *b = arg;

	return first <= b->last && first + count > b->first;
}

static uint16_t take(unsigned n, unsigned count)
{
	return tunnel_ports_take(&ports, id(n), count, none, NULL, &rng);
}

static void a_run_lies_between_first_and_last(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 200; n++) {
		uint16_t first = take(n, 50);
		assert_in_range(first, TUNNEL_PORTS_FIRST, TUNNEL_PORTS_LAST - 49);
	}
}

static void runs_of_different_rules_never_meet(void **state)
{
	static bool used[65536];

	(void)state;
	for (unsigned n = 0; n < 300; n++) {
		unsigned count = 1 + n % 60;
		uint16_t first = take(n, count);
		assert_int_not_equal(first, 0);
		for (unsigned i = 0; i < count; i++) {
			assert_false(used[first + i]);
			used[first + i] = true;
		}
	}
}

static void a_rule_keeps_its_run_while_it_needs_as_many(void **state)
{
	uint16_t first = take(1, 10);

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(take(1, 10), first);
	assert_int_equal(tunnel_ports_find(&ports, id(1)), first);
	assert_int_equal(ports.count, 1);
	assert_int_not_equal(take(1, 11), 0);
	assert_int_equal(ports.count, 1);
}

static void a_run_that_others_took_is_given_up(void **state)
{
	uint16_t first = take(1, 10);
	struct block b = { first + 9u, first + 500u };

	(void)state;
	uint16_t other = tunnel_ports_take(&ports, id(1), 10, in_block, &b, &rng);
	assert_int_not_equal(other, 0);
	assert_false(in_block(&b, other, 10));
}

static void all_ports_can_be_had_and_no_more(void **state)
{
	unsigned taken = 0;

	(void)state;
	for (unsigned n = 0; take(n, 1000); n++)
		taken++;
	assert_in_range(taken, 10, 20); /* first fit from a place by chance may waste some */
	while (take(1000 + taken, 1))
		if (++taken > 1500)
			break;
	assert_int_equal(take(5000, 20001), 0);
}

static bool is_one(void *arg, const uint8_t rule[static FORWARD_ID])
{
	(void)arg;
	return memcmp(rule, id(1), FORWARD_ID) == 0;
}

static void rules_that_are_gone_give_theirs_back(void **state)
{
	(void)state;
	take(1, 5);
	take(2, 5);
	take(3, 5);
	tunnel_ports_keep(&ports, is_one, NULL);
	assert_int_equal(ports.count, 1);
	assert_int_not_equal(tunnel_ports_find(&ports, id(1)), 0);
	assert_int_equal(tunnel_ports_find(&ports, id(2)), 0);
	tunnel_ports_drop(&ports, id(1));
	assert_int_equal(ports.count, 0);
}

/* ---- On disk */

static char path[] = "/tmp/tunnel-ports-XXXXXX";
static int dir;

static int open_dir(void **state)
{
	strcpy(path + strlen(path) - 6, "XXXXXX");
	assert_non_null(mkdtemp(path));
	dir = file_open_dir(path);
	assert_true(dir >= 0);
	return begin(state);
}

static int close_dir(void **state)
{
	(void)state;
	file_remove(dir, "tunnel_ports.json");
	close(dir);
	return rmdir(path);
}

static void runs_outlive_a_restart(void **state)
{
	struct tunnel_ports again;
	uint16_t first = take(1, 10), second = take(2, 3);

	(void)state;
	assert_int_equal(tunnel_ports_save(&ports, dir), 0);
	assert_false(ports.changed);
	tunnel_ports_load(&again, dir);
	assert_int_equal(again.count, 2);
	assert_int_equal(tunnel_ports_find(&again, id(1)), first);
	assert_int_equal(tunnel_ports_find(&again, id(2)), second);
}

static void a_spoilt_file_counts_as_none(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{\"x\": [10000, 1]}",
		"{\"0198c0de-0000-7000-8000-000000000001\": [9999, 1]}",
		"{\"0198c0de-0000-7000-8000-000000000001\": [29999, 2]}",
		"{\"0198c0de-0000-7000-8000-000000000001\": [10000, 0]}",
		"{\"0198c0de-0000-7000-8000-000000000001\": [10000]}",
		"{\"0198c0de-0000-7000-8000-000000000001\": [10000, 1], ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		assert_int_equal(file_write(dir, "tunnel_ports.json", texts[i], strlen(texts[i])), 0);
		tunnel_ports_load(&ports, dir);
		assert_int_equal(ports.count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_run_lies_between_first_and_last, begin),
		cmocka_unit_test_setup(runs_of_different_rules_never_meet, begin),
		cmocka_unit_test_setup(a_rule_keeps_its_run_while_it_needs_as_many, begin),
		cmocka_unit_test_setup(a_run_that_others_took_is_given_up, begin),
		cmocka_unit_test_setup(all_ports_can_be_had_and_no_more, begin),
		cmocka_unit_test_setup(rules_that_are_gone_give_theirs_back, begin),
		cmocka_unit_test_setup_teardown(runs_outlive_a_restart, open_dir, close_dir),
		cmocka_unit_test_setup_teardown(a_spoilt_file_counts_as_none, open_dir, close_dir),
	};

	if (crypto_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
