/* The event loop: libuv behind a few calls, so that only loop, udp and stream know it. One loop per thread, made
 * in it or before it starts; nothing of a loop may be called from another thread but loop_wake(). Everything made on a loop is destroyed before loop_destroy(). After a destroy call
 * no callback of that object comes any more and the pointer is dead; the memory goes once libuv has let go of it. */
#ifndef P2PD_CORE_LOOP_H
#define P2PD_CORE_LOOP_H

#include <pthread.h>
#include <stdint.h>

struct loop;
struct uv_loop_s;

/* Also makes the process ignore SIGPIPE. NULL without memory. */
struct loop *loop_create(void);
/* Runs until loop_stop(), or until nothing is left that could wake it. */
void loop_run(struct loop *l);
/* The same with `lock` held in all callbacks, and free while the loop waits: for what is shared with other threads. */
void loop_run_locked(struct loop *l, pthread_mutex_t *lock);
void loop_stop(struct loop *l);
/* An object that was not destroyed before is named in the log, and its memory is not released. */
void loop_destroy(struct loop *l);
/* For udp.c and stream.c. */
struct uv_loop_s *loop_uv(struct loop *l);
/* Something without an owner that ends by itself in time, and at once when the loop is destroyed. */
struct loop_orphan {
	struct loop_orphan *next, **at;
	void (*drop)(struct loop_orphan *o); /* must call loop_orphan_remove() */
};
void loop_orphan_add(struct loop *l, struct loop_orphan *o);
void loop_orphan_remove(struct loop_orphan *o);

/* Something to be done once, after the callbacks of this turn and before the loop waits: embed by value, zero it. */
struct loop_late {
	struct loop_late *next, **at; /* `at` NULL: not to be done */
	void (*run)(struct loop_late *late);
};
/* Again before it has run is once. */
void loop_late(struct loop *l, struct loop_late *late);
void loop_late_cancel(struct loop_late *late);

/* The `now` of all protocol code: monotonic, goes on while the machine sleeps. */
uint64_t loop_now_ms(void);

struct loop_timer;
struct loop_timer *loop_timer_create(struct loop *l, void (*on_due)(void *arg), void *arg);
/* Due once at `at_ms` of loop_now_ms(), at the loop's next turn if that is over (on waking, if the machine slept then);
 * UINT64_MAX: never. */
void loop_timer_set(struct loop_timer *t, uint64_t at_ms);
void loop_timer_destroy(struct loop_timer *t); /* NULL is allowed */

/* Readiness of a descriptor that stays the caller's: destroy the watch before closing it. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_fd;
struct loop_fd *loop_fd_create(struct loop *l, int fd, void (*on_ready)(void *arg, unsigned events),
			       void *arg);
/* Which events to wait for, 0 for none. 0 or a negative errno. */
int loop_fd_want(struct loop_fd *w, unsigned events);
void loop_fd_destroy(struct loop_fd *w); /* NULL is allowed */

/* Runs work(arg) on another thread, one of a few that the process shares, then done(arg, 0) on the loop's own. Work that
 * still waits for a thread when the loop ends is left out: done(arg, -ECANCELED) alone is called. What runs by then is
 * waited for, so work is bounded and its owner tells it to hurry. `arg` belongs to the work until done, which may
 * release it. 0 or a negative errno, and then neither is called. */
int loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg, int error), void *arg);
/* Ends all work as said above, now; loop_destroy() does it, too. Not from within a callback. */
void loop_work_finish(struct loop *l);

/* Lets other threads wake the loop. Keeps the loop running until it is destroyed. NULL without memory. */
struct loop_wake;
struct loop_wake *loop_wake_create(struct loop *l, void (*on_wake)(void *arg), void *arg);
/* From any thread, also from a loop's own: on_wake is called at least once after this, in the loop's thread; what was written
 * before is seen there. Several may become one. */
void loop_wake(struct loop_wake *w);
/* When no other thread can call loop_wake() any more. NULL is allowed. */
void loop_wake_destroy(struct loop_wake *w);

/* At most LOOP_SIGNALS of them; they stay until loop_destroy() and keep no loop running. 0 or a negative errno. */
enum { LOOP_SIGNALS = 4 };
int loop_on_signal(struct loop *l, int signum, void (*on_signal)(void *arg, int signum), void *arg);

#endif
