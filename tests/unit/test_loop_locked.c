/* loop_run_locked(): a lock that is held in every callback, and free while the loop waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/loop.h"

enum { TIMER, FD, WAKE, WORK, SIGNAL, KINDS };

struct bench {
	struct loop *loop;
	pthread_mutex_t lock;
	struct loop_timer *timer;
	struct loop_fd *watch, *late;
	struct loop_wake *wake;
	int pipe[2];
	bool held[KINDS];
	unsigned left; /* callbacks to come before the loop is stopped */
	int wakes;
};

/* The lock is of the kind that fails a second time. */
static void called(struct bench *b, int kind)
{
	b->held[kind] = pthread_mutex_trylock(&b->lock) == EBUSY;
	if (!b->held[kind])
		pthread_mutex_unlock(&b->lock);
	if (--b->left == 0)
		loop_stop(b->loop);
}

static void on_due(void *arg)
{
	called(arg, TIMER);
}

static void on_ready(void *arg, unsigned events)
{
	struct bench *b = arg;
	char byte;

	assert_int_equal(events, LOOP_READ);
	assert_int_equal(read(b->pipe[0], &byte, 1), 1);
	called(b, FD);
}

static void on_wake(void *arg)
{
	called(arg, WAKE);
}

static void work(void *arg)
{
	(void)arg;
}

static void on_done(void *arg, int error)
{
	assert_int_equal(error, 0);
	called(arg, WORK);
}

static void on_signal(void *arg, int signum)
{
	assert_int_equal(signum, SIGUSR1);
	called(arg, SIGNAL);
}

static int make(void **state)
{
	static struct bench bench;

	bench = (struct bench) { .loop = loop_create() };
	pthread_mutex_init(&bench.lock, NULL);
	bench.timer = loop_timer_create(bench.loop, on_due, &bench);
	bench.wake = loop_wake_create(bench.loop, on_wake, &bench);
	*state = &bench;
	return pipe(bench.pipe);
}

static int end(void **state)
{
	struct bench *b = *state;

	loop_timer_destroy(b->timer);
	loop_fd_destroy(b->watch);
	loop_fd_destroy(b->late);
	loop_wake_destroy(b->wake);
	loop_destroy(b->loop);
	pthread_mutex_destroy(&b->lock);
	close(b->pipe[0]);
	close(b->pipe[1]);
	return 0;
}

static bool is_free(struct bench *b)
{
	bool is = pthread_mutex_trylock(&b->lock) == 0;

	if (is)
		pthread_mutex_unlock(&b->lock);
	return is;
}

static void the_lock_is_held_in_callbacks_of_every_kind(void **state)
{
	struct bench *b = *state;

	b->left = KINDS;
	b->watch = loop_fd_create(b->loop, b->pipe[0], on_ready, b);
	assert_int_equal(loop_fd_want(b->watch, LOOP_READ), 0);
	assert_int_equal(loop_on_signal(b->loop, SIGUSR1, on_signal, b), 0);
	assert_int_equal(loop_work(b->loop, work, on_done, b), 0);
	assert_int_equal(write(b->pipe[1], "x", 1), 1);
	loop_timer_set(b->timer, 0);
	loop_wake(b->wake);
	raise(SIGUSR1);
	loop_run_locked(b->loop, &b->lock);
	for (int kind = 0; kind < KINDS; kind++)
		assert_true(b->held[kind]);
	assert_true(is_free(b));
}

/* --- Another thread gets the lock while the loop waits for it. */

static void *take_and_wake(void *arg)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock); /* for ever, if the loop kept it */
	b->wakes++;
	pthread_mutex_unlock(&b->lock);
	loop_wake(b->wake);
	return NULL;
}

static void the_lock_is_free_while_the_loop_waits(void **state)
{
	struct bench *b = *state;
	pthread_t thread;

	b->left = 1;
	assert_int_equal(pthread_create(&thread, NULL, take_and_wake, b), 0);
	loop_run_locked(b->loop, &b->lock);
	pthread_join(thread, NULL);
	assert_int_equal(b->wakes, 1);
	assert_true(b->held[WAKE]);
}

/* --- What a callback adds is served, though nothing else wakes the loop. */

static void watch_the_pipe(void *arg)
{
	struct bench *b = arg;

	b->late = loop_fd_create(b->loop, b->pipe[0], on_ready, b);
	assert_int_equal(loop_fd_want(b->late, LOOP_READ), 0);
}

static void what_is_added_in_a_callback_is_served(void **state)
{
	struct bench *b = *state;

	b->left = 2;
	loop_timer_destroy(b->timer);
	b->timer = loop_timer_create(b->loop, watch_the_pipe, b);
	loop_timer_set(b->timer, 0);
	loop_wake(b->wake);
	assert_int_equal(write(b->pipe[1], "x", 1), 1);
	loop_run_locked(b->loop, &b->lock);
	assert_true(b->held[FD]);
	assert_true(b->held[WAKE]);
}

static void rearm(void *arg)
{
	struct bench *b = arg;

	if (b->left > 1)
		loop_timer_set(b->timer, 0);
	called(b, TIMER);
}

static void a_timer_that_sets_itself_again_fires_again(void **state)
{
	struct bench *b = *state;

	b->left = 5;
	loop_timer_destroy(b->timer);
	b->timer = loop_timer_create(b->loop, rearm, b);
	loop_timer_set(b->timer, 0);
	loop_run_locked(b->loop, &b->lock);
	assert_int_equal(b->left, 0);
}

static void a_loop_stopped_before_it_runs_ends_at_once_and_runs_the_next_time(void **state)
{
	struct bench *b = *state;

	loop_stop(b->loop);
	loop_run_locked(b->loop, &b->lock);
	assert_true(is_free(b));
	b->left = 1;
	loop_wake(b->wake);
	loop_run_locked(b->loop, &b->lock);
	assert_true(b->held[WAKE]);
}

static void it_ends_when_nothing_is_left_that_could_wake_it(void **state)
{
	struct bench *b = *state;

	loop_wake_destroy(b->wake);
	b->wake = NULL;
	b->left = 2;
	loop_timer_set(b->timer, 0);
	loop_run_locked(b->loop, &b->lock);
	assert_true(b->held[TIMER]);
}

#define with_a_loop(test) cmocka_unit_test_setup_teardown(test, make, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_a_loop(the_lock_is_held_in_callbacks_of_every_kind),
		with_a_loop(the_lock_is_free_while_the_loop_waits),
		with_a_loop(what_is_added_in_a_callback_is_served),
		with_a_loop(a_timer_that_sets_itself_again_fires_again),
		with_a_loop(a_loop_stopped_before_it_runs_ends_at_once_and_runs_the_next_time),
		with_a_loop(it_ends_when_nothing_is_left_that_could_wake_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
