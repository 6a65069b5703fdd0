#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/loop.h"

struct work {
	struct loop *loop;
	sem_t *waits_for, *says; /* NULL: nothing */
	sem_t *frees;		 /* posted once done */
	pthread_t ran_on;
	int runs, dones, error;
};

static void run(void *arg)
{
	struct work *w = arg;

	w->runs++;
	w->ran_on = pthread_self();
	if (w->says)
		sem_post(w->says);
	if (w->waits_for)
		sem_wait(w->waits_for);
}

static void done(void *arg, int error)
{
	struct work *w = arg;

	w->dones++;
	w->error = error;
	if (w->frees)
		sem_post(w->frees);
}

static void work_runs_elsewhere_and_is_done_here(void **state)
{
	(void)state;
	struct loop *loop = loop_create();
	struct work w[3] = { 0 };

	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_work(loop, run, done, &w[i]), 0);
	loop_run(loop);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(w[i].runs, 1);
		assert_int_equal(w[i].dones, 1);
		assert_int_equal(w[i].error, 0);
		assert_false(pthread_equal(w[i].ran_on, pthread_self()));
	}
	loop_destroy(loop);
}

/* The one thread is busy; what it is busy with ends only after the other was left out. */
static void a_loop_that_ends_leaves_out_what_waits_and_waits_for_what_runs(void **state)
{
	(void)state;
	struct loop *loop = loop_create();
	sem_t left_out, running;

	sem_init(&left_out, 0, 0);
	sem_init(&running, 0, 0);
	struct work first = { .waits_for = &left_out, .says = &running }, second = { .frees = &left_out };
	assert_int_equal(loop_work(loop, run, done, &first), 0);
	assert_int_equal(loop_work(loop, run, done, &second), 0);
	sem_wait(&running);
	loop_destroy(loop);
	assert_int_equal(first.dones, 1);
	assert_int_equal(first.error, 0);
	assert_int_equal(second.runs, 0);
	assert_int_equal(second.dones, 1);
	assert_int_equal(second.error, -ECANCELED);
}

/* One thread, so that the second work waits. libuv reads it when the first work comes. */
static int setup(void **state)
{
	(void)state;
	return setenv("UV_THREADPOOL_SIZE", "1", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(work_runs_elsewhere_and_is_done_here),
		cmocka_unit_test(a_loop_that_ends_leaves_out_what_waits_and_waits_for_what_runs),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
