#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/pmtu.h"

enum { BASE = 1328, MAX = 1440, STEP = 16, FINE = 2 * STEP };

/* A path that carries up to `carries` bytes and loses some pings anyway. */
struct way {
	struct pmtu pmtu;
	uint16_t carries;
	uint32_t loss_percent;
	struct rng rng;
	uint64_t now_ms;
	unsigned pings;
};

static void open_way(struct way *w, uint16_t carries)
{
	*w = (struct way) { .carries = carries, .now_ms = 1000 };
	pmtu_init(&w->pmtu, BASE, MAX);
	rng_init_seed(&w->rng, carries);
}

/* One ping and what becomes of it. */
static uint16_t ping(struct way *w)
{
	uint16_t size = pmtu_next_size(&w->pmtu, w->now_ms);

	w->pings++;
	w->now_ms += 700;
	if (size > w->carries || rng_below(&w->rng, 100) < w->loss_percent)
		pmtu_on_timeout(&w->pmtu, size, w->now_ms);
	else
		pmtu_on_pong(&w->pmtu, size, w->now_ms);
	return size;
}

static void pings(struct way *w, unsigned count)
{
	while (count--)
		ping(w);
}

static void nothing_is_known_before_the_first_answer(void **state)
{
	(void)state;
	struct pmtu zero = { 0 };
	struct way w;

	open_way(&w, 0);
	assert_int_equal(pmtu_size(&zero), 0);
	pings(&w, 20);
	assert_int_equal(pmtu_size(&w.pmtu), 0);
}

static void most_paths_need_a_single_ping(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, 1472);
	assert_int_equal(ping(&w), MAX);
	assert_int_equal(pmtu_size(&w.pmtu), MAX);
	for (int i = 0; i < 100; i++)
		assert_int_equal(ping(&w), MAX);
}

static void every_size_is_found_and_never_overrated(void **state)
{
	(void)state;
	for (uint16_t carries = BASE; carries <= MAX + 1; carries++) {
		struct way w;
		open_way(&w, carries);
		for (int i = 0; i < 30; i++) {
			ping(&w);
			assert_true(pmtu_size(&w.pmtu) <= carries);
		}
		uint16_t found = pmtu_size(&w.pmtu);
		if (found < MAX && found + FINE <= carries)
			fail_msg("%u found of %u", found, carries);
		for (int i = 0; i < 20; i++)
			assert_int_equal(ping(&w), found); /* quiet: only what is known is asked for */
	}
}

static void the_base_is_known_after_two_pings_whatever_the_path(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, BASE);
	assert_int_equal(ping(&w), MAX);
	assert_int_equal(ping(&w), BASE);
	assert_int_equal(pmtu_size(&w.pmtu), BASE);
}

static void a_path_that_does_not_carry_the_base_is_of_no_use(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, BASE - 1);
	ping(&w);
	for (int i = 0; i < 50; i++)
		assert_int_equal(ping(&w), BASE); /* so that its owner sees that it is dead */
	assert_int_equal(pmtu_size(&w.pmtu), 0);
}

/* The owner ends a path after four lost pings in a row: those on a dead path must not take longer for their size, and
 * those on a path that is black for large packets must never be four. */
static void a_dead_path_is_told_from_a_narrow_one(void **state)
{
	(void)state;
	static const struct {
		uint16_t then;
		unsigned most_lost_in_a_row;
	} cases[] = { { 0, 4 }, { BASE, 1 }, { 1400, 1 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct way w;
		unsigned row = 0, most = 0;
		open_way(&w, MAX);
		pings(&w, 5);
		w.carries = cases[i].then;
		for (int n = 0; n < 4 || (cases[i].then && n < 100); n++) {
			uint16_t size = ping(&w);
			assert_true(n == 0 || cases[i].then || size == BASE);
			row = size > w.carries ? row + 1 : 0;
			most = row > most ? row : most;
		}
		assert_int_equal(most, cases[i].most_lost_in_a_row);
	}
}

static void a_black_hole_for_large_packets_is_seen_at_the_third_loss(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, MAX);
	pings(&w, 5);
	w.carries = 1400;
	for (int lost = 1; lost <= 3; lost++) {
		assert_int_equal(pmtu_size(&w.pmtu), MAX);
		assert_int_equal(pmtu_in_doubt(&w.pmtu), lost > 1);
		assert_int_equal(ping(&w), MAX);
		if (lost < 3)
			assert_int_equal(ping(&w), BASE);
	}
	assert_int_equal(pmtu_size(&w.pmtu), BASE);
	assert_false(pmtu_in_doubt(&w.pmtu));
	pings(&w, 20);
	assert_in_range(pmtu_size(&w.pmtu), 1400 - FINE + 1, 1400);
}

static void a_dead_path_says_nothing_of_sizes(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, MAX);
	pings(&w, 5);
	w.carries = 0;
	pings(&w, 50);
	assert_int_equal(pmtu_size(&w.pmtu), MAX);
	w.carries = MAX;
	pings(&w, 2);
	assert_int_equal(pmtu_next_size(&w.pmtu, w.now_ms), MAX);
	assert_int_equal(pmtu_size(&w.pmtu), MAX);
}

static void lost_pings_alone_do_not_shrink_a_path(void **state)
{
	(void)state;
	unsigned shrunk = 0;

	for (uint16_t seed = MAX; seed < MAX + 100; seed++) {
		struct way w;
		open_way(&w, seed);
		w.loss_percent = 2;
		for (int i = 0; i < 500; i++) {
			ping(&w);
			shrunk += w.pmtu.good && w.pmtu.good < MAX;
		}
	}
	/* 2 % to the third power, of 50,000 pings: less than one in the mean, and it lasts for a raise at most. */
	assert_in_range(shrunk, 0, 2000);
}

static void a_path_that_grew_is_found_out_later(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, 1380);
	pings(&w, 30);
	uint16_t narrow = pmtu_size(&w.pmtu);
	w.carries = MAX;
	pings(&w, 30);
	assert_int_equal(pmtu_size(&w.pmtu), narrow);
	w.now_ms += PMTU_RAISE_MS;
	assert_int_equal(ping(&w), MAX);
	assert_int_equal(pmtu_size(&w.pmtu), MAX);
}

static void looking_for_more_keeps_what_is_known(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, 1380);
	pings(&w, 30);
	uint16_t found = pmtu_size(&w.pmtu);
	w.now_ms += PMTU_RAISE_MS;
	for (int i = 0; i < 30; i++) {
		ping(&w);
		assert_int_equal(pmtu_size(&w.pmtu), found);
		assert_false(pmtu_in_doubt(&w.pmtu));
	}
	assert_int_equal(ping(&w), found);
}

static void what_an_interface_refuses_counts_at_once(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, 1400);
	ping(&w);
	ping(&w);
	pmtu_on_too_big(&w.pmtu, MAX, w.now_ms);
	assert_int_equal(pmtu_size(&w.pmtu), BASE);
	assert_in_range(pmtu_next_size(&w.pmtu, w.now_ms), BASE + 1, MAX - 1);
	pings(&w, 20);
	uint16_t found = pmtu_size(&w.pmtu);
	pmtu_on_too_big(&w.pmtu, found, w.now_ms);
	assert_int_equal(pmtu_size(&w.pmtu), BASE);
	pmtu_on_too_big(&w.pmtu, BASE, w.now_ms);
	assert_int_equal(pmtu_size(&w.pmtu), 0);
	assert_int_equal(pmtu_next_size(&w.pmtu, w.now_ms), BASE);
}

/* Pings of the punching are smaller than any data. */
static void small_pongs_prove_no_size(void **state)
{
	(void)state;
	struct way w;

	open_way(&w, MAX);
	pmtu_on_pong(&w.pmtu, 100, w.now_ms);
	assert_int_equal(pmtu_size(&w.pmtu), 0);
	pings(&w, 3);
	w.carries = BASE - 1;
	for (int i = 0; i < 20; i++) {
		ping(&w);
		pmtu_on_pong(&w.pmtu, 100, w.now_ms);
		pmtu_on_timeout(&w.pmtu, 100, w.now_ms);
	}
	assert_int_equal(pmtu_size(&w.pmtu), MAX); /* it is dead, not narrow */
	assert_int_equal(pmtu_next_size(&w.pmtu, w.now_ms), BASE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_known_before_the_first_answer),
		cmocka_unit_test(most_paths_need_a_single_ping),
		cmocka_unit_test(every_size_is_found_and_never_overrated),
		cmocka_unit_test(the_base_is_known_after_two_pings_whatever_the_path),
		cmocka_unit_test(a_path_that_does_not_carry_the_base_is_of_no_use),
		cmocka_unit_test(a_dead_path_is_told_from_a_narrow_one),
		cmocka_unit_test(a_black_hole_for_large_packets_is_seen_at_the_third_loss),
		cmocka_unit_test(a_dead_path_says_nothing_of_sizes),
		cmocka_unit_test(lost_pings_alone_do_not_shrink_a_path),
		cmocka_unit_test(a_path_that_grew_is_found_out_later),
		cmocka_unit_test(looking_for_more_keeps_what_is_known),
		cmocka_unit_test(what_an_interface_refuses_counts_at_once),
		cmocka_unit_test(small_pongs_prove_no_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
