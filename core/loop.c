#include "core/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "core/log.h"
#include "core/timers.h"

struct loop_signal {
	uv_signal_t uv;
	void (*on_signal)(void *arg, int signum);
	void *arg;
};

struct loop_work {
	uv_work_t uv;
	struct loop_work *next, **at;
	void (*work)(void *arg);
	void (*done)(void *arg, int error);
	void *arg;
};

struct loop {
	uv_loop_t uv;
	struct loop_work *works;
	struct timers timers;
	size_t timer_count;
	int clock_fd;
	uv_poll_t clock;
	uint64_t armed_ms; /* when it fires; UINT64_MAX: not set */
	struct loop_signal signals[LOOP_SIGNALS];
	unsigned signal_count;
	struct loop_orphan *orphans;
	struct loop_late *late;
	uv_prepare_t before_wait;
	bool stopped; /* loop_run_locked() is to end */
};

struct loop_timer {
	struct timers_entry entry; /* first: found by a cast */
	struct loop *loop;
	void (*on_due)(void *arg);
	void *arg;
};

struct loop_fd {
	uv_poll_t uv; /* first: released by a cast */
	void (*on_ready)(void *arg, unsigned events);
	void *arg;
	unsigned wanted;
};

struct loop_wake {
	uv_async_t uv; /* first: released by a cast */
	void (*on_wake)(void *arg);
	void *arg;
};

uint64_t loop_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- Timers: all of a loop's wait in one heap, and one timer of the kernel wakes the loop for the first. It counts while
 * the machine sleeps, which libuv's do not, so that what became due meanwhile is done on waking. */

static void arm(struct loop *l, uint64_t at_ms)
{
	/* A timer of zero is none: one nanosecond later is over as well. */
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(at_ms / 1000),
						 .tv_nsec = (long)(at_ms % 1000) * 1000000 + 1 } };

	l->armed_ms = at_ms;
	timerfd_settime(l->clock_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Waking once too often is cheaper than telling the kernel of each timer that moves away. */
static void wait_for_first(struct loop *l)
{
	const struct timers_entry *first = timers_first(&l->timers);

	if (!first) {
		uv_unref((uv_handle_t *)&l->clock);
		return;
	}
	uv_ref((uv_handle_t *)&l->clock);
	if (first->at_ms < l->armed_ms)
		arm(l, first->at_ms);
}

/* What is set anew in a callback has its turn later, so that others get theirs. */
static void on_clock(uv_poll_t *uv, int status, int events)
{
	struct loop *l = uv->data;
	uint64_t now = loop_now_ms(), last = l->timers.last_order, wakes;
	struct timers_entry *first;

	(void)status;
	(void)events;
	if (read(l->clock_fd, &wakes, sizeof wakes) < 0)
		return;
	l->armed_ms = UINT64_MAX;
	while ((first = timers_first(&l->timers)) && first->at_ms <= now && first->order <= last) {
		struct loop_timer *t = (struct loop_timer *)first;
		timers_remove(&l->timers, first);
		t->on_due(t->arg);
	}
	wait_for_first(l);
}

static int open_clock(struct loop *l)
{
	l->armed_ms = UINT64_MAX;
	l->clock_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->clock_fd < 0)
		return -errno;
	int rc = uv_poll_init(&l->uv, &l->clock, l->clock_fd);
	if (rc) {
		close(l->clock_fd);
		return rc;
	}
	l->clock.data = l;
	uv_poll_start(&l->clock, UV_READABLE, on_clock);
	uv_unref((uv_handle_t *)&l->clock);
	return 0;
}

static void close_clock(struct loop *l)
{
	if (l->timer_count)
		log_error("loop", "%zu timers were left open", l->timer_count);
	uv_close((uv_handle_t *)&l->clock, NULL);
	close(l->clock_fd);
	timers_free(&l->timers);
}

struct loop_timer *loop_timer_create(struct loop *l, void (*on_due)(void *arg), void *arg)
{
	struct loop_timer *t = timers_reserve(&l->timers, l->timer_count + 1) ? NULL : calloc(1, sizeof *t);

	if (!t)
		return NULL;
	l->timer_count++;
	t->loop = l;
	t->on_due = on_due;
	t->arg = arg;
	return t;
}

void loop_timer_set(struct loop_timer *t, uint64_t at_ms)
{
	uint64_t now = loop_now_ms();

	if (at_ms == UINT64_MAX)
		timers_remove(&t->loop->timers, &t->entry);
	else
		timers_set(&t->loop->timers, &t->entry, at_ms > now ? at_ms : now);
	wait_for_first(t->loop);
}

void loop_timer_destroy(struct loop_timer *t)
{
	if (!t)
		return;
	timers_remove(&t->loop->timers, &t->entry);
	wait_for_first(t->loop);
	t->loop->timer_count--;
	free(t);
}

/* --- Late work */

void loop_late(struct loop *l, struct loop_late *late)
{
	if (late->at)
		return;
	late->next = l->late;
	late->at = &l->late;
	if (late->next)
		late->next->at = &late->next;
	l->late = late;
}

void loop_late_cancel(struct loop_late *late)
{
	if (!late->at)
		return;
	*late->at = late->next;
	if (late->next)
		late->next->at = late->at;
	late->at = NULL;
}

static void run_late(struct loop *l)
{
	while (l->late) {
		struct loop_late *late = l->late;
		loop_late_cancel(late);
		late->run(late);
	}
}

static void before_wait(uv_prepare_t *uv)
{
	run_late(uv->data);
}

static void start_late(struct loop *l)
{
	uv_prepare_init(&l->uv, &l->before_wait);
	l->before_wait.data = l;
	uv_prepare_start(&l->before_wait, before_wait);
	uv_unref((uv_handle_t *)&l->before_wait);
}

/* --- Life */

/* libuv writes to sockets in a way that raises SIGPIPE once the peer has gone. */
struct loop *loop_create(void)
{
	struct loop *l = calloc(1, sizeof *l);

	signal(SIGPIPE, SIG_IGN);
	if (!l || uv_loop_init(&l->uv) != 0) {
		free(l);
		return NULL;
	}
	if (open_clock(l)) {
		uv_loop_close(&l->uv);
		free(l);
		return NULL;
	}
	start_late(l);
	return l;
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
	run_late(l);
	l->stopped = false;
}

/* The wait is ours (see uv_backend_fd() in libuv's documentation), so that it can be without the lock. */
void loop_run_locked(struct loop *l, pthread_mutex_t *lock)
{
	struct pollfd backend = { .fd = uv_backend_fd(&l->uv), .events = POLLIN };

	pthread_mutex_lock(lock);
	while (!l->stopped && uv_run(&l->uv, UV_RUN_NOWAIT)) {
		run_late(l);
		int timeout = l->stopped ? 0 : uv_backend_timeout(&l->uv);
		pthread_mutex_unlock(lock);
		poll(&backend, 1, timeout);
		pthread_mutex_lock(lock);
	}
	run_late(l);
	l->stopped = false;
	pthread_mutex_unlock(lock);
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
	uv_stop(&l->uv);
}

static void name_open(uv_handle_t *handle, void *arg)
{
	const struct loop *l = arg;

	if (!uv_is_closing(handle) && handle != (const uv_handle_t *)&l->clock)
		log_error("loop", "a %s was left open", uv_handle_type_name(handle->type));
}

static void run_turns(struct loop *l)
{
	for (int turn = 0; turn < 100 && uv_loop_alive(&l->uv); turn++)
		uv_run(&l->uv, UV_RUN_NOWAIT);
}

/* Handles are released in their close callbacks, which need a few turns. A name look-up under way cannot be broken off
 * and is not waited for: its thread may need seconds, and the memory goes with the process. */
void loop_destroy(struct loop *l)
{
	loop_work_finish(l);
	while (l->orphans)
		l->orphans->drop(l->orphans);
	for (unsigned i = 0; i < l->signal_count; i++)
		uv_close((uv_handle_t *)&l->signals[i].uv, NULL);
	uv_close((uv_handle_t *)&l->before_wait, NULL);
	uv_walk(&l->uv, name_open, l);
	run_turns(l);
	size_t timers_open = l->timer_count;
	close_clock(l);
	run_turns(l);
	if (uv_loop_close(&l->uv) == 0 && !timers_open)
		free(l);
}

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}

void loop_orphan_add(struct loop *l, struct loop_orphan *o)
{
	o->next = l->orphans;
	o->at = &l->orphans;
	if (o->next)
		o->next->at = &o->next;
	l->orphans = o;
}

void loop_orphan_remove(struct loop_orphan *o)
{
	*o->at = o->next;
	if (o->next)
		o->next->at = o->at;
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

struct loop_fd *loop_fd_create(struct loop *l, int fd, void (*on_ready)(void *arg, unsigned events),
			       void *arg)
{
	struct loop_fd *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->on_ready = on_ready;
	w->arg = arg;
	if (uv_poll_init(&l->uv, &w->uv, fd) != 0) {
		free(w);
		return NULL;
	}
	return w;
}

/* An error (of an UDP socket: an ICMP message came) shows as readiness: the call that then fails tells which it is.
 * libuv has stopped waiting by then and is told to go on. */
static void fd_ready(uv_poll_t *uv, int status, int events)
{
	struct loop_fd *w = (struct loop_fd *)uv;
	unsigned ready = 0;

	if (events & UV_READABLE)
		ready |= LOOP_READ;
	if (events & UV_WRITABLE)
		ready |= LOOP_WRITE;
	w->on_ready(w->arg, status < 0 ? w->wanted : ready);
	if (status < 0 && !uv_is_closing((uv_handle_t *)uv))
		loop_fd_want(w, w->wanted);
}

int loop_fd_want(struct loop_fd *w, unsigned events)
{
	int uv_events = (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0);

	w->wanted = events;
	return uv_events ? uv_poll_start(&w->uv, uv_events, fd_ready) : uv_poll_stop(&w->uv);
}

void loop_fd_destroy(struct loop_fd *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->uv, free_handle);
}

static void woken(uv_async_t *uv)
{
	struct loop_wake *w = (struct loop_wake *)uv;

	w->on_wake(w->arg);
}

struct loop_wake *loop_wake_create(struct loop *l, void (*on_wake)(void *arg), void *arg)
{
	struct loop_wake *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->on_wake = on_wake;
	w->arg = arg;
	if (uv_async_init(&l->uv, &w->uv, woken) != 0) {
		free(w);
		return NULL;
	}
	return w;
}

void loop_wake(struct loop_wake *w)
{
	uv_async_send(&w->uv);
}

void loop_wake_destroy(struct loop_wake *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->uv, free_handle);
}

static void do_work(uv_work_t *uv)
{
	struct loop_work *w = uv->data;

	w->work(w->arg);
}

static void work_done(uv_work_t *uv, int status)
{
	struct loop_work *w = uv->data;

	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	w->done(w->arg, status);
	free(w);
}

int loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg, int error), void *arg)
{
	struct loop_work *w = calloc(1, sizeof *w);

	if (!w)
		return -ENOMEM;
	*w = (struct loop_work) { .next = l->works, .at = &l->works, .work = work, .done = done, .arg = arg };
	w->uv.data = w;
	int rc = uv_queue_work(&l->uv, &w->uv, do_work, work_done);
	if (rc) {
		free(w);
		return rc;
	}
	if (w->next)
		w->next->at = &w->next;
	l->works = w;
	return 0;
}

void loop_work_finish(struct loop *l)
{
	for (struct loop_work *w = l->works; w; w = w->next)
		uv_cancel((uv_req_t *)&w->uv);
	while (l->works)
		uv_run(&l->uv, UV_RUN_ONCE);
}

static void signal_came(uv_signal_t *uv, int signum)
{
	struct loop_signal *s = uv->data;

	s->on_signal(s->arg, signum);
}

int loop_on_signal(struct loop *l, int signum, void (*on_signal)(void *arg, int signum), void *arg)
{
	if (l->signal_count == LOOP_SIGNALS)
		return -ENOSPC;
	struct loop_signal *s = &l->signals[l->signal_count];
	int rc = uv_signal_init(&l->uv, &s->uv);
	if (rc)
		return rc;
	l->signal_count++;
	s->on_signal = on_signal;
	s->arg = arg;
	s->uv.data = s;
	uv_unref((uv_handle_t *)&s->uv);
	return uv_signal_start(&s->uv, signal_came, signum);
}
