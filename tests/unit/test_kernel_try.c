/* One entry that the kernel refuses, among many. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/forward/kernel_try.h"

enum { MANY = 200 };

/* In the kernel's place: refuses what has a bad id in it, or all with another error. */
struct kernel {
	bool bad[MANY + 1];
	int broken; /* 0 or what it answers to everything */
	unsigned calls;
	struct forward_list has; /* what it was last told, and took */
	bool cut[MANY + 1];	 /* who was gone in between */
};

static int apply(void *arg, const struct forward_entry *entries, size_t count,
		 char why[static KERNEL_TRY_WHY])
{
	struct kernel *k = arg;
	bool there[MANY + 1] = { false };

	k->calls++;
	if (k->broken) {
		snprintf(why, KERNEL_TRY_WHY, "broken");
		return k->broken;
	}
	for (size_t i = 0; i < count; i++) {
		there[entries[i].id[0]] = true;
		if (k->bad[entries[i].id[0]]) {
			snprintf(why, KERNEL_TRY_WHY, "%u is bad", entries[i].id[0]);
			return -EINVAL;
		}
	}
	for (unsigned i = 0; i <= MANY; i++)
		k->cut[i] |= !there[i];
	forward_list_clear(&k->has);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(forward_list_add(&k->has, &entries[i]), 0);
	return 0;
}

/* Two entries of an id, of which `rate` makes others. */
static void add(struct forward_list *l, uint8_t id, uint64_t rate)
{
	struct forward_entry e;

	memset(&e, 0, sizeof e);
	e.id[0] = id;
	e.rate = rate;
	for (uint16_t port = 1; port <= 2; port++) {
		e.count = port;
		assert_int_equal(forward_list_add(l, &e), 0);
	}
}

static bool has(const struct forward_list *l, uint8_t id, uint64_t rate)
{
	size_t found = 0;

	for (size_t i = 0; i < l->count; i++)
		found += l->items[i].id[0] == id && l->items[i].rate == rate;
	return found == 2;
}

struct bench {
	struct kernel kernel;
	struct kernel_try t;
	struct forward_list now, wanted;
	int rc;
};

static void run(struct bench *b)
{
	memset(b->kernel.cut, 0, sizeof b->kernel.cut);
	b->kernel.calls = 0;
	b->t = (struct kernel_try) { .apply = apply, .arg = &b->kernel };
	b->rc = kernel_try(&b->t, &b->now, &b->wanted);
	forward_list_free(&b->wanted);
	if (b->rc)
		return;
	/* What it says is in effect is what the kernel has. */
	assert_int_equal(b->t.in_effect.count, b->kernel.has.count);
	for (size_t i = 0; i < b->kernel.has.count; i++)
		assert_memory_equal(&b->t.in_effect.items[i], &b->kernel.has.items[i], sizeof *b->now.items);
}

static void finish(struct bench *b)
{
	forward_list_free(&b->now);
	forward_list_free(&b->kernel.has);
	forward_list_free(&b->t.in_effect);
	free(b->t.refused);
}

static void what_all_is_good_is_told_once(void **state)
{
	struct bench b = { 0 };

	(void)state;
	add(&b.now, 1, 0);
	add(&b.wanted, 1, 5);
	add(&b.wanted, 2, 0);
	run(&b);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.kernel.calls, 1);
	assert_int_equal(b.t.refused_count, 0);
	assert_true(has(&b.t.in_effect, 1, 5) && has(&b.t.in_effect, 2, 0));
	finish(&b);
}

static void a_bad_one_that_is_new_leaves_all_others(void **state)
{
	struct bench b = { 0 };

	(void)state;
	for (uint8_t i = 1; i <= 5; i++) {
		add(&b.now, i, 0);
		add(&b.wanted, i, i == 2 ? 7 : 0); /* one has other limits now */
	}
	add(&b.wanted, 6, 0);
	add(&b.wanted, 7, 0);
	b.kernel.bad[6] = true;
	run(&b);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.t.refused_count, 1);
	assert_int_equal(b.t.refused[0].id[0], 6);
	assert_string_equal(b.t.refused[0].why, "6 is bad");
	assert_int_equal(b.t.in_effect.count, 12);
	assert_true(has(&b.t.in_effect, 2, 7) && has(&b.t.in_effect, 7, 0));
	for (uint8_t i = 1; i <= 5; i++)
		assert_false(b.kernel.cut[i]); /* their connections live on */
	finish(&b);
}

static void a_bad_change_takes_away_what_was_before(void **state)
{
	struct bench b = { 0 };

	(void)state;
	add(&b.now, 1, 0);
	add(&b.now, 2, 0);
	add(&b.now, 3, 0);
	add(&b.wanted, 1, 0);
	add(&b.wanted, 2, 9); /* 3 is wanted no more */
	b.kernel.bad[2] = true;
	run(&b);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.t.refused_count, 1);
	assert_int_equal(b.t.in_effect.count, 2);
	assert_true(has(&b.t.in_effect, 1, 0));
	assert_false(b.kernel.cut[1]);
	finish(&b);
}

static void a_few_bad_ones_are_found_among_many_in_few_tries(void **state)
{
	struct bench b = { 0 };

	(void)state;
	for (unsigned i = 1; i <= MANY; i++)
		add(&b.wanted, (uint8_t)i, 0);
	b.kernel.bad[1] = b.kernel.bad[77] = b.kernel.bad[MANY] = true;
	run(&b);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.t.refused_count, 3);
	assert_int_equal(b.t.in_effect.count, (MANY - 3) * 2);
	assert_in_range(b.kernel.calls, 1, KERNEL_TRIES_MAX);
	finish(&b);
}

static void tries_are_bounded(void **state)
{
	struct bench b = { 0 };

	(void)state;
	for (unsigned i = 1; i <= MANY; i++) {
		add(&b.wanted, (uint8_t)i, 0);
		b.kernel.bad[i] = i > 1;
	}
	add(&b.now, 1, 0);
	run(&b);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.t.refused_count, MANY - 1);
	assert_true(has(&b.t.in_effect, 1, 0));
	assert_in_range(b.kernel.calls, 1, KERNEL_TRIES_MAX + 8);
	finish(&b);
}

static void a_kernel_that_takes_nothing_blames_nobody(void **state)
{
	static const int errors[] = { -EINVAL, -EPERM, -ENOENT, -ENOMEM };

	(void)state;
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		struct bench b = { .kernel = { .broken = errors[i] } };
		add(&b.now, 1, 0);
		add(&b.wanted, 1, 0);
		add(&b.wanted, 2, 0);
		add(&b.wanted, 3, 0);
		run(&b);
		assert_int_equal(b.rc, errors[i]);
		assert_int_equal(b.t.refused_count, 0);
		assert_string_equal(b.t.why, "broken");
		finish(&b);
	}
}

static void if_all_that_are_new_are_bad_and_there_are_no_others_nobody_is_to_blame(void **state)
{
	struct bench b = { 0 };

	(void)state;
	add(&b.wanted, 1, 0);
	add(&b.wanted, 2, 0);
	b.kernel.bad[1] = b.kernel.bad[2] = true;
	run(&b);
	assert_int_equal(b.rc, -EINVAL);
	finish(&b);
	/* One alone is. */
	b = (struct bench) { 0 };
	add(&b.wanted, 1, 0);
	b.kernel.bad[1] = true;
	run(&b);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.t.refused_count, 1);
	assert_int_equal(b.t.in_effect.count, 0);
	finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_all_is_good_is_told_once),
		cmocka_unit_test(a_bad_one_that_is_new_leaves_all_others),
		cmocka_unit_test(a_bad_change_takes_away_what_was_before),
		cmocka_unit_test(a_few_bad_ones_are_found_among_many_in_few_tries),
		cmocka_unit_test(tries_are_bounded),
		cmocka_unit_test(a_kernel_that_takes_nothing_blames_nobody),
		cmocka_unit_test(if_all_that_are_new_are_bad_and_there_are_no_others_nobody_is_to_blame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
