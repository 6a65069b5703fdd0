#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/loop.h"
#include "core/timers.h"

enum { MANY = 200 };

/* --- The heap of deadlines. */

/* What a heap has to give, looked up by hand. */
static struct timers_entry *least(struct timers_entry *entries)
{
	struct timers_entry *first = NULL;

	for (int i = 0; i < MANY; i++) {
		struct timers_entry *e = &entries[i];
		if (!e->place)
			continue;
		if (!first || e->at_ms < first->at_ms ||
		    (e->at_ms == first->at_ms && e->order < first->order))
			first = e;
	}
	return first;
}

static void the_earliest_is_first_whatever_is_set_and_removed(void **state)
{
	(void)state;
	static struct timers_entry entries[MANY];
	struct timers t = { 0 };
	struct rng rng;

	rng_init_seed(&rng, 1);
	assert_null(timers_first(&t));
	assert_int_equal(timers_reserve(&t, MANY), 0);
	for (int i = 0; i < 20000; i++) {
		struct timers_entry *e = &entries[rng_below(&rng, MANY)];
		if (rng_below(&rng, 3))
			timers_set(&t, e, rng_below(&rng, 50));
		else
			timers_remove(&t, rng_below(&rng, 2) ? e : &entries[i % MANY]);
		assert_ptr_equal(timers_first(&t), least(entries));
	}
	while (timers_first(&t)) {
		assert_ptr_equal(timers_first(&t), least(entries));
		timers_remove(&t, timers_first(&t));
	}
	assert_null(least(entries));
	timers_free(&t);
}

static void room_grows_and_keeps_what_is_set(void **state)
{
	(void)state;
	static struct timers_entry entries[MANY];
	struct timers t = { 0 };

	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(timers_reserve(&t, i + 1), 0);
		timers_set(&t, &entries[i], MANY - i);
	}
	for (size_t i = MANY; i-- > 0; timers_remove(&t, &entries[i]))
		assert_ptr_equal(timers_first(&t), &entries[i]);
	timers_free(&t);
}

/* --- Timers of a loop. */

struct bell {
	struct loop *loop;
	struct loop_timer *timer;
	struct bell *victim;
	char name, *log; /* appended when it rings */
	uint64_t again_ms;
	unsigned again, rings;
};

static void ring(void *arg)
{
	struct bell *b = arg;

	b->rings++;
	if (b->log)
		strncat(b->log, &b->name, 1);
	if (b->victim) {
		loop_timer_destroy(b->victim->timer);
		b->victim->timer = NULL;
	}
	if (b->rings <= b->again)
		loop_timer_set(b->timer, b->again_ms);
}

static void make(struct bell *b, struct loop *l, char name, char *log)
{
	*b = (struct bell) { .loop = l, .name = name, .log = log };
	b->timer = loop_timer_create(l, ring, b);
	assert_non_null(b->timer);
}

static void timers_come_in_order_of_their_time_not_of_their_setting(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct bell a, b, c, d;
	char log[8] = "";
	uint64_t now = loop_now_ms();

	make(&a, l, 'a', log);
	make(&b, l, 'b', log);
	make(&c, l, 'c', log);
	make(&d, l, 'd', log);
	loop_timer_set(c.timer, now + 30);
	loop_timer_set(b.timer, now + 20);
	loop_timer_set(d.timer, now + 1);
	loop_timer_set(d.timer, UINT64_MAX);
	loop_timer_set(a.timer, now + 5);
	loop_run(l); /* ends as nothing is left that could wake it */
	assert_string_equal(log, "abc");
	assert_true(loop_now_ms() >= now + 30);
	loop_timer_destroy(a.timer);
	loop_timer_destroy(b.timer);
	loop_timer_destroy(c.timer);
	loop_timer_destroy(d.timer);
	loop_destroy(l);
}

static void one_that_is_always_due_leaves_others_their_turn(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct bell greedy, modest;
	char log[8] = "";

	make(&greedy, l, 'g', log);
	make(&modest, l, 'm', log);
	greedy.again = 2;
	loop_timer_set(greedy.timer, 0);
	loop_timer_set(modest.timer, 0);
	loop_run(l);
	assert_string_equal(log, "gmgg");
	loop_timer_destroy(greedy.timer);
	loop_timer_destroy(modest.timer);
	loop_destroy(l);
}

static void timers_may_be_destroyed_while_one_rings(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct bell a, b, self;
	char log[8] = "";

	make(&a, l, 'a', log);
	make(&b, l, 'b', log);
	make(&self, l, 's', log);
	a.victim = &b;
	self.victim = &self;
	loop_timer_set(a.timer, 0);
	loop_timer_set(b.timer, 0);
	loop_timer_set(self.timer, 0);
	loop_run(l);
	assert_string_equal(log, "as");
	loop_timer_destroy(a.timer);
	loop_timer_destroy(NULL);
	loop_destroy(l);
}

static void a_timer_that_is_moved_rings_once_at_its_last_time(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct bell a;
	uint64_t now = loop_now_ms();

	make(&a, l, 'a', NULL);
	for (uint64_t later = 1; later <= 20; later++)
		loop_timer_set(a.timer, now + later);
	loop_run(l);
	assert_int_equal(a.rings, 1);
	assert_true(loop_now_ms() >= now + 20);
	loop_timer_destroy(a.timer);
	loop_destroy(l);
}

/* That the clock behind the timers goes on while the machine sleeps cannot be tried here, but it can be looked at. */
static void the_timers_clock_counts_sleep(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	unsigned found = 0;
	char path[64], line[128];
	int clockid;

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
		FILE *f = fopen(path, "r");
		while (f && fgets(line, sizeof line, f))
			if (sscanf(line, "clockid: %d", &clockid) == 1) {
				assert_int_equal(clockid, CLOCK_BOOTTIME);
				found++;
			}
		if (f)
			fclose(f);
	}
	assert_int_equal(found, 1);
	loop_destroy(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_earliest_is_first_whatever_is_set_and_removed),
		cmocka_unit_test(room_grows_and_keeps_what_is_set),
		cmocka_unit_test(timers_come_in_order_of_their_time_not_of_their_setting),
		cmocka_unit_test(one_that_is_always_due_leaves_others_their_turn),
		cmocka_unit_test(timers_may_be_destroyed_while_one_rings),
		cmocka_unit_test(a_timer_that_is_moved_rings_once_at_its_last_time),
		cmocka_unit_test(the_timers_clock_counts_sleep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
