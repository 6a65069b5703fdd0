/* Loops in threads of their own, and what threads share: waking each other, and the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/log.h"
#include "core/loop.h"

enum { ROUNDS = 1000, THREADS = 4, LINES = 500, PADDING = 400 };

/* Two loops that throw a ball to each other. */
struct player {
	struct loop *loop;
	struct loop_wake *wake;
	struct player *other;
	pthread_barrier_t *ready;
	pthread_t thread, woken_on;
	int ball; /* no lock: waking orders what was written */
	int catches;
};

static void on_ball(void *arg)
{
	struct player *p = arg;
	int ball = p->ball; /* once thrown, the next one may come */

	p->woken_on = pthread_self();
	p->catches++;
	if (ball < ROUNDS) {
		p->other->ball = ball + 1;
		loop_wake(p->other->wake);
	}
	if (ball + 1 >= ROUNDS)
		loop_stop(p->loop);
}

/* A loop is made in its thread; nothing is destroyed before both have stopped. */
static void *play(void *arg)
{
	struct player *p = arg;

	p->loop = loop_create();
	p->wake = loop_wake_create(p->loop, on_ball, p);
	pthread_barrier_wait(p->ready);
	loop_run(p->loop);
	pthread_barrier_wait(p->ready);
	loop_wake_destroy(p->wake);
	loop_destroy(p->loop);
	return NULL;
}

static void loops_of_two_threads_wake_each_other(void **state)
{
	(void)state;
	pthread_barrier_t ready;
	struct player a = { .ready = &ready }, b = { .ready = &ready, .other = &a };

	a.other = &b;
	pthread_barrier_init(&ready, NULL, 3);
	assert_int_equal(pthread_create(&a.thread, NULL, play, &a), 0);
	assert_int_equal(pthread_create(&b.thread, NULL, play, &b), 0);
	pthread_barrier_wait(&ready);
	a.ball = 1;
	loop_wake(a.wake);
	pthread_barrier_wait(&ready);
	pthread_join(a.thread, NULL);
	pthread_join(b.thread, NULL);
	assert_int_equal(a.catches + b.catches, ROUNDS);
	assert_true(pthread_equal(a.woken_on, a.thread));
	assert_true(pthread_equal(b.woken_on, b.thread));
	pthread_barrier_destroy(&ready);
}

/* --- Waking oneself. */

struct self {
	struct loop *loop;
	struct loop_wake *wake;
	int wakes;
};

static void count(void *arg)
{
	struct self *s = arg;

	s->wakes++;
	loop_wake_destroy(s->wake);
}

static void wakes_before_a_turn_become_one_and_none_comes_after_destroy(void **state)
{
	(void)state;
	struct self s = { .loop = loop_create() };

	s.wake = loop_wake_create(s.loop, count, &s);
	for (int i = 0; i < 3; i++)
		loop_wake(s.wake);
	loop_run(s.loop); /* ends: nothing is left that could wake it */
	assert_int_equal(s.wakes, 1);

	s.wake = loop_wake_create(s.loop, count, &s);
	loop_wake(s.wake);
	loop_wake_destroy(s.wake);
	loop_run(s.loop);
	assert_int_equal(s.wakes, 1);
	loop_wake_destroy(NULL);
	loop_destroy(s.loop);
}

/* --- The log. */

static void *chatter(void *arg)
{
	char text[PADDING + 1];

	memset(text, *(const char *)arg, PADDING);
	text[PADDING] = 0;
	for (int i = 0; i < LINES; i++)
		log_warn("test", "%s", text);
	return NULL;
}

static void talk_all_at_once(int to)
{
	static const char letters[THREADS] = "abcd";
	pthread_t threads[THREADS];

	dup2(to, STDERR_FILENO);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, chatter, (void *)&letters[i]) != 0)
			_exit(1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

static bool is_whole(const char *line)
{
	static const char start[] = "warn test: ";
	size_t len = sizeof start - 1;

	if (strncmp(line, start, len) != 0 || strlen(line) != len + PADDING + 1)
		return false;
	return strspn(line + len, (char[]) { line[len], 0 }) == PADDING && line[len + PADDING] == '\n';
}

static void lines_of_several_threads_stay_whole(void **state)
{
	(void)state;
	char line[2 * PADDING];
	int ends[2], lines = 0, status;

	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0)
		talk_all_at_once(ends[1]);
	close(ends[1]);
	FILE *log = fdopen(ends[0], "r");
	for (; fgets(line, sizeof line, log); lines++)
		assert_true(is_whole(line));
	assert_int_equal(lines, THREADS * LINES);
	fclose(log);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loops_of_two_threads_wake_each_other),
		cmocka_unit_test(wakes_before_a_turn_become_one_and_none_comes_after_destroy),
		cmocka_unit_test(lines_of_several_threads_stay_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
