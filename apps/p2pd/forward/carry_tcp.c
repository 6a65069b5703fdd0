/* The life of a TCP connection: it came; the header that says who it is was read (at the owner, of the gateway's); the
 * target took it, and was told the same; both ends say what they have to say; ended, in peace if both said that they had
 * finished, else by a reset of both. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apps/p2pd/forward/carry_impl.h"

static void tcp_turn(struct carry *c, struct carry_job *j);
static void tcp_due(struct carry *c, struct carry_job *j);

static const struct carry_kind tcp_kind = { tcp_turn, tcp_due };

/* --- The end. */

static void end(struct carry *c, struct carry_tcp *t)
{
	carry_pump_end(c, t);
	carry_watch_end(c, &t->visitor);
	carry_watch_end(c, &t->service);
	carry_visit_end(&t->visit);
	carry_job_end(c, &t->visit.job);
	free(t);
}

static void reset_on_close(int fd)
{
	struct linger now = { .l_onoff = 1 };

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void carry_tcp_reset(struct carry *c, struct carry_tcp *t)
{
	c->work += CARRY_WORK_RESET;
	reset_on_close(t->visitor.fd);
	reset_on_close(t->service.fd);
	end(c, t);
}

static void reject(struct carry *c, struct carry_tcp *t, enum forward_reject why)
{
	t->visit.entry->rule->stats.rejected[why]++;
	carry_tcp_reset(c, t);
}

/* --- The target. */

static int dial(struct carry *c, struct carry_tcp *t)
{
	const struct carry_entry *e = t->visit.entry;
	struct addr target = carry_target(e, t->index);
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&target, &ss);
	int fd = carry_target_socket(c, e, SOCK_STREAM);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&ss, len) != 0 && errno != EINPROGRESS) {
		int error = -errno;
		carry_fd_close(c, fd);
		return error;
	}
	t->phase = CARRY_CONNECTING;
	t->visit.last_ms = c->now_ms;
	carry_due(c, &t->visit.job, c->now_ms + CARRY_CONNECT_MS);
	return carry_watch_begin(c, &t->service, &t->visit.job, fd);
}

static void go_on(struct carry *c, struct carry_tcp *t, const struct addr *visitor)
{
	carry_visit_count(c, &t->visit, visitor);
	if (dial(c, t))
		reject(c, t, FORWARD_NO_SERVICE);
}

/* A new socket has room for the header, or something is wrong with it. */
static bool send_header(struct carry_tcp *t)
{
	uint8_t header[PROXY_HEADER_MAX];
	size_t len = carry_header(t->visit.entry, &t->visit.visitor, &t->local, header);

	return len == 0 || send(t->service.fd, header, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* False: not open, be it not yet or never. */
static bool connected(struct carry *c, struct carry_tcp *t)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (!t->service.writable)
		return false;
	if (getsockopt(t->service.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error || !send_header(t)) {
		reject(c, t, FORWARD_NO_SERVICE);
		return false;
	}
	t->phase = CARRY_OPEN;
	t->visit.last_ms = c->now_ms;
	tcp_due(c, &t->visit.job);
	return true;
}

/* --- The header that comes. */

/* Left in the socket's buffer until all of it is there: it needs no memory of ours. */
static void take_header(struct carry *c, struct carry_tcp *t)
{
	uint8_t data[PROXY_HEADER_READ_MAX];
	struct proxy_header h;

	if (!t->visitor.readable)
		return;
	ssize_t n = recv(t->visitor.fd, data, sizeof data, MSG_PEEK);
	if (n < 0 && errno == EAGAIN) {
		t->visitor.readable = false;
		return;
	}
	if (n <= 0) {
		carry_tcp_reset(c, t);
		return;
	}
	int len = proxy_header_read(&h, data, (size_t)n);
	if (len == -EAGAIN) {
		t->visitor.readable = false;
		return;
	}
	if (len < 0 || recv(t->visitor.fd, data, (size_t)len, 0) != len) {
		reject(c, t, FORWARD_BAD_HEADER);
		return;
	}
	if (!carry_believes(c, t->visit.entry, &h)) {
		carry_tcp_reset(c, t);
		return;
	}
	if (!carry_rule_allows(t->visit.entry->rule, &h.from)) {
		reject(c, t, FORWARD_NOT_ALLOWED);
		return;
	}
	t->local = h.to;
	go_on(c, t, &h.from);
}

/* --- Turns. */

static void open_turn(struct carry *c, struct carry_tcp *t)
{
	bool broken = t->visitor.broken || t->service.broken;

	if (broken ? carry_pump_rest(c, t) : carry_pump(c, t))
		carry_tcp_reset(c, t);
	else if (t->in.shut && t->out.shut)
		end(c, t);
}

static void tcp_turn(struct carry *c, struct carry_job *j)
{
	struct carry_tcp *t = (struct carry_tcp *)j;

	bool paused = t->visit.entry->rule->paused;

	if (t->visitor.broken && (paused || t->phase != CARRY_OPEN)) {
		carry_tcp_reset(c, t);
		return;
	}
	if (paused)
		return;
	if (t->phase == CARRY_HEADER)
		take_header(c, t);
	else if (t->phase == CARRY_OPEN || connected(c, t))
		open_turn(c, t);
}

static uint64_t patience_ms(const struct carry_tcp *t)
{
	return t->phase == CARRY_OPEN ? carry_rule_idle_ms(t->visit.entry->rule) : CARRY_CONNECT_MS;
}

static void too_late(struct carry *c, struct carry_tcp *t)
{
	if (t->phase == CARRY_OPEN)
		carry_tcp_reset(c, t);
	else
		reject(c, t, t->phase == CARRY_HEADER ? FORWARD_BAD_HEADER : FORWARD_NO_SERVICE);
}

/* Bytes do not move the deadline: it looks how long ago the last one was when it is due. */
static void tcp_due(struct carry *c, struct carry_job *j)
{
	struct carry_tcp *t = (struct carry_tcp *)j;
	uint64_t patience = patience_ms(t);

	if (t->visit.entry->rule->paused)
		t->visit.last_ms = c->now_ms;
	if (!patience)
		carry_due(c, j, UINT64_MAX);
	else if (t->visit.last_ms + patience > c->now_ms)
		carry_due(c, j, t->visit.last_ms + patience);
	else
		too_late(c, t);
}

/* --- The beginning. */

static struct addr local_address(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
		return (struct addr) { 0 };
	return addr_from_sockaddr((struct sockaddr *)&ss);
}

static struct carry_tcp *create(struct carry *c, struct carry_listener *ln, int fd)
{
	struct carry_tcp *t = calloc(1, sizeof *t);

	if (!t || carry_job_begin(c, &t->visit.job, &tcp_kind)) {
		free(t);
		carry_fd_close(c, fd);
		return NULL;
	}
	t->index = ln->index;
	t->in.job = t->out.job = &t->visit.job;
	t->service.fd = -1;
	t->visit.last_ms = c->now_ms;
	carry_visit_begin(&t->visit, ln->entry);
	if (carry_watch_begin(c, &t->visitor, &t->visit.job, fd)) {
		end(c, t);
		return NULL;
	}
	return t;
}

void carry_tcp_begin(struct carry *c, struct carry_listener *ln, int fd, const struct addr *from)
{
	static const struct addr later;
	struct carry_entry *e = ln->entry;

	if (!carry_may_enter(e, from) || !carry_rule_admit(c, e->rule, e->header_in ? &later : from)) {
		reset_on_close(fd);
		carry_fd_close(c, fd);
		return;
	}
	struct carry_tcp *t = create(c, ln, fd);
	if (!t)
		return;
	carry_due(c, &t->visit.job, c->now_ms + CARRY_CONNECT_MS);
	if (e->header_in)
		return;
	if (e->header_out)
		t->local = local_address(fd);
	go_on(c, t, from);
}
