/* Turns. An epoll of our own is one descriptor of the loop: thousands of sockets are told to the kernel once, and the loop
 * is not asked to watch now for this, now for that. Who has something to do stands in one queue; a turn of the loop takes
 * from its head until a bounded work is done. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "apps/p2pd/forward/carry_impl.h"

enum { EVENTS = 128 };

int carry_job_begin(struct carry *c, struct carry_job *j, const struct carry_kind *kind)
{
	if (timers_reserve(&c->timers, c->job_count + 1))
		return -ENOMEM;
	c->job_count++;
	j->kind = kind;
	return 0;
}

static void unqueue(struct carry *c, struct carry_job *j)
{
	if (!j->at)
		return;
	*j->at = j->next;
	if (j->next)
		j->next->at = j->at;
	else
		c->queue_tail = j->at;
	j->next = NULL;
	j->at = NULL;
}

void carry_job_end(struct carry *c, struct carry_job *j)
{
	unqueue(c, j);
	timers_remove(&c->timers, &j->deadline);
	c->job_count--;
}

void carry_queue(struct carry *c, struct carry_job *j)
{
	if (j->at)
		return;
	j->at = c->queue_tail;
	*c->queue_tail = j;
	c->queue_tail = &j->next;
}

void carry_due(struct carry *c, struct carry_job *j, uint64_t at_ms)
{
	if (at_ms == UINT64_MAX)
		timers_remove(&c->timers, &j->deadline);
	else
		timers_set(&c->timers, &j->deadline, at_ms);
}

int carry_watch_begin(struct carry *c, struct carry_watch *w, struct carry_job *j, int fd)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = w };

	*w = (struct carry_watch) { .job = j, .fd = fd };
	if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &e) == 0)
		return 0;
	int error = -errno;
	carry_fd_close(c, fd);
	w->fd = -1;
	return error;
}

/* Closing alone would leave it in the epoll for as long as a child that is just being started has a copy. No event of it can
 * be under way: those of a turn are all told before any job runs. */
void carry_watch_end(struct carry *c, struct carry_watch *w)
{
	if (w->fd >= 0) {
		epoll_ctl(c->epoll, EPOLL_CTL_DEL, w->fd, NULL);
		carry_fd_close(c, w->fd);
	}
	w->fd = -1;
}

static void collect(struct carry *c)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(c->epoll, events, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		struct carry_watch *w = events[i].data.ptr;
		uint32_t is = events[i].events;
		w->readable = w->readable || is & (EPOLLIN | EPOLLHUP | EPOLLERR);
		w->writable = w->writable || is & (EPOLLOUT | EPOLLHUP | EPOLLERR);
		w->broken = w->broken || is & EPOLLERR;
		carry_queue(c, w->job);
	}
}

static void run_due(struct carry *c)
{
	struct timers_entry *first;
	uint64_t last = c->timers.last_order;

	while ((first = timers_first(&c->timers)) && first->at_ms <= c->now_ms && first->order <= last &&
	       c->work < CARRY_TURN_WORK) {
		struct carry_job *j = (struct carry_job *)first;
		timers_remove(&c->timers, first);
		c->work += CARRY_WORK_DUE;
		j->kind->on_due(c, j);
	}
}

static void run_queue(struct carry *c)
{
	while (c->queue && c->work < CARRY_TURN_WORK) {
		struct carry_job *j = c->queue;
		unqueue(c, j);
		c->work += CARRY_WORK_TURN;
		j->kind->on_turn(c, j);
	}
}

void carry_turn_arm(struct carry *c)
{
	const struct timers_entry *first = timers_first(&c->timers);

	loop_timer_set(c->timer, c->queue ? 0 : first ? first->at_ms : UINT64_MAX);
}

static void turn(void *arg)
{
	struct carry *c = arg;

	c->now_ms = loop_now_ms();
	c->work = 0;
	collect(c);
	run_due(c);
	run_queue(c);
	carry_turn_arm(c);
}

static void on_ready(void *arg, unsigned events)
{
	(void)events;
	turn(arg);
}

int carry_turn_begin(struct carry *c)
{
	c->queue_tail = &c->queue;
	c->now_ms = loop_now_ms();
	c->epoll = carry_fd_keep(c, epoll_create1(EPOLL_CLOEXEC));
	if (c->epoll < 0)
		return c->epoll;
	c->timer = loop_timer_create(c->loop, turn, c);
	c->epoll_watch = loop_fd_create(c->loop, c->epoll, on_ready, c);
	return c->timer && c->epoll_watch ? loop_fd_want(c->epoll_watch, LOOP_READ) : -ENOMEM;
}

void carry_turn_end(struct carry *c)
{
	loop_fd_destroy(c->epoll_watch);
	loop_timer_destroy(c->timer);
	if (c->epoll >= 0)
		carry_fd_close(c, c->epoll);
	timers_free(&c->timers);
}
