/* The bytes of a connection: from one socket to the other through a pipe, without a copy (splice(2)). What cannot be
 * written stays in the pipe, and nothing more is read by then, so that the sender is held back. An empty pipe goes back at
 * once; where descriptors are short, bytes are copied instead, and what cannot be written is left where it was. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apps/p2pd/forward/carry_impl.h"

enum {
	PIPE_SIZE = 256 << 10, /* asked of the kernel, for each segment that came takes a page's place */
	PIPES_KEPT = 16,
};

/* A direction with what belongs to it. */
struct run {
	struct carry *c;
	struct carry_rule *rule;
	struct carry_visit *visit;
	struct carry_way *way;
	struct carry_watch *from, *to;
	struct carry_rate *rate;
	uint64_t *bytes;
};

/* --- Pipes. */

static struct carry_pipe *pipe_open(struct carry *c)
{
	struct carry_pipe *p = carry_fd_room(c, 2) ? calloc(1, sizeof *p) : NULL;
	int ends[2];

	if (!p || pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
		free(p);
		return NULL;
	}
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE);
	p->out = carry_fd_keep(c, ends[0]);
	p->in = carry_fd_keep(c, ends[1]);
	return p;
}

static struct carry_pipe *pipe_get(struct carry *c)
{
	struct carry_pipe *p = c->pipes;

	if (!p)
		return pipe_open(c);
	c->pipes = p->next;
	c->pipe_count--;
	return p;
}

static void pipe_close(struct carry *c, struct carry_pipe *p)
{
	carry_fd_close(c, p->in);
	carry_fd_close(c, p->out);
	free(p);
}

static void pipe_put(struct carry *c, struct carry_pipe *p)
{
	if (c->pipe_count == PIPES_KEPT) {
		pipe_close(c, p);
		return;
	}
	p->next = c->pipes;
	c->pipes = p;
	c->pipe_count++;
}

void carry_pipes_free(struct carry *c)
{
	for (struct carry_pipe *p; (p = c->pipes);) {
		c->pipes = p->next;
		pipe_close(c, p);
	}
}

/* --- One direction. */

static void moved(struct run *r, size_t n)
{
	*r->bytes += n;
	r->visit->last_ms = r->c->now_ms;
}

/* -EAGAIN: no room there for all of it. */
static int drain(struct run *r)
{
	struct carry_way *w = r->way;

	while (w->waiting) {
		if (!r->to->writable)
			return -EAGAIN;
		ssize_t n = splice(w->pipe->out, NULL, r->to->fd, NULL, w->waiting,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r->to->writable = n == 0 || errno != EAGAIN;
			return n == 0 ? -EIO : -errno;
		}
		w->waiting -= (size_t)n;
		moved(r, (size_t)n);
	}
	return 0;
}

/* Looked at, written as far as there is room, and only that is taken. */
static ssize_t copy(struct run *r, size_t want)
{
	uint8_t *buffer = r->c->buffer;
	ssize_t n = recv(r->from->fd, buffer, want < CARRY_BUFFER ? want : CARRY_BUFFER, MSG_PEEK);

	if (n <= 0)
		return n;
	n = send(r->to->fd, buffer, (size_t)n, MSG_NOSIGNAL);
	if (n < 0) {
		r->to->writable = errno != EAGAIN;
		return n;
	}
	n = recv(r->from->fd, buffer, (size_t)n, MSG_TRUNC);
	if (n > 0)
		moved(r, (size_t)n);
	return n;
}

/* Bytes that were taken; 0: the source has said all. -EAGAIN: nothing there, or no room for it. */
static ssize_t fill(struct run *r, size_t want)
{
	struct carry_way *w = r->way;
	ssize_t n;

	if (!w->pipe)
		w->pipe = pipe_get(r->c);
	if (w->pipe) {
		n = splice(r->from->fd, NULL, w->pipe->in, NULL, want, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		w->waiting = n > 0 ? (size_t)n : 0;
	} else {
		n = copy(r, want);
	}
	if (n >= 0)
		return n;
	if (errno == EINTR)
		return -EINTR;
	if (errno == EAGAIN && r->to->writable)
		r->from->readable = false;
	return -errno;
}

static int finish(struct run *r)
{
	struct carry_way *w = r->way;

	if (w->shut)
		return 0;
	if (shutdown(r->to->fd, SHUT_WR) != 0)
		return -errno;
	w->shut = true;
	return 0;
}

/* A share at most; then it is queued again. 0, or what broke. */
static int run_way(struct run *r)
{
	struct carry_way *w = r->way;
	size_t share = CARRY_SHARE_WORK;

	for (;;) {
		int rc = drain(r);
		if (rc)
			return rc == -EAGAIN ? 0 : rc;
		if (w->ended)
			return finish(r);
		if (!r->from->readable || !r->to->writable)
			return 0;
		if (!share) {
			carry_queue(r->c, w->job);
			return 0;
		}
		size_t want = carry_rate_allow(r->c, r->rule, r->rate, w, share);
		if (!want)
			return 0;
		ssize_t n = fill(r, want);
		if (n < 0 && n != -EAGAIN && n != -EINTR)
			return (int)n;
		if (n <= 0) {
			w->ended = n == 0;
			continue;
		}
		carry_rate_charge(r->c, r->rule, r->rate, (size_t)n);
		r->c->work += (size_t)n;
		share -= (size_t)n;
	}
}

static int run_and_give_back(struct run *r)
{
	int rc = run_way(r);

	if (r->way->pipe && !r->way->waiting) {
		pipe_put(r->c, r->way->pipe);
		r->way->pipe = NULL;
	}
	return rc;
}

static struct run run_in(struct carry *c, struct carry_tcp *t)
{
	struct carry_rule *r = t->visit.entry->rule;

	return (struct run) { c, r, &t->visit, &t->in, &t->visitor, &t->service, &r->in, &r->stats.bytes_in };
}

static struct run run_out(struct carry *c, struct carry_tcp *t)
{
	struct carry_rule *r = t->visit.entry->rule;

	return (struct run) {
		c, r, &t->visit, &t->out, &t->service, &t->visitor, &r->out, &r->stats.bytes_out
	};
}

int carry_pump(struct carry *c, struct carry_tcp *t)
{
	struct run in = run_in(c, t), out = run_out(c, t);
	int rc = run_and_give_back(&in);

	return rc ? rc : run_and_give_back(&out);
}

int carry_pump_rest(struct carry *c, struct carry_tcp *t)
{
	struct run r = t->visitor.broken ? run_in(c, t) : run_out(c, t);

	if (r.way->ended || r.to->broken)
		return -ECONNRESET;
	int rc = run_and_give_back(&r);
	return rc == 0 && r.way->ended ? -ECONNRESET : rc;
}

/* What waits in a pipe is not for the next who has it. */
static void way_end(struct carry *c, struct carry_rate *rate, struct carry_way *w)
{
	carry_rate_leave(rate, w);
	if (w->pipe)
		pipe_close(c, w->pipe);
	w->pipe = NULL;
}

void carry_pump_end(struct carry *c, struct carry_tcp *t)
{
	way_end(c, &t->visit.entry->rule->in, &t->in);
	way_end(c, &t->visit.entry->rule->out, &t->out);
}
