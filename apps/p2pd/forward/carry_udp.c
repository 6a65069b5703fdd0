/* Datagrams. Who comes to a port from one address is a flow: a socket of its own, connected to the target, so that the
 * answers are his. At the owner he is known by what the header says, and answers go to where his last datagram came from:
 * a gateway that begins anew goes on with the flow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "apps/p2pd/forward/carry_impl.h"

struct carry_flow {
	struct carry_visit visit; /* first */
	struct carry_watch service;
	struct carry_listener *listener;
	struct addr peer; /* where answers go */
	uint8_t header[PROXY_HEADER_MAX];
	uint8_t header_len;
	bool answered;
};

/* Of the map of flows; no padding. */
struct key {
	struct carry_listener *listener;
	struct addr visitor;
};

_Static_assert(sizeof(struct key) == sizeof(void *) + sizeof(struct addr), "a key is compared whole");

/* A datagram from outside, its header taken off. */
struct datagram {
	struct addr peer, visitor, local;
	const uint8_t *data;
	size_t len;
};

static void flow_turn(struct carry *c, struct carry_job *j);
static void flow_due(struct carry *c, struct carry_job *j);

static const struct carry_kind flow_kind = { flow_turn, flow_due };

static struct forward_stats *stats_of(const struct carry_flow *f)
{
	return &f->visit.entry->rule->stats;
}

/* --- Flows. */

void carry_flow_end(struct carry *c, struct carry_flow *f)
{
	struct key key = { f->listener, f->visit.visitor };

	map_remove(&c->flow_by_key, &key);
	carry_watch_end(c, &f->service);
	carry_visit_end(&f->visit);
	carry_job_end(c, &f->visit.job);
	free(f);
}

/* It is the last of the header. */
void carry_flow_renew(struct carry_flow *f)
{
	const struct carry_entry *e = f->visit.entry;

	if (e->side == FORWARD_GATEWAY && f->header_len)
		memcpy(f->header + f->header_len - sizeof e->secret, e->secret, sizeof e->secret);
}

static uint64_t patience_ms(const struct carry_flow *f)
{
	uint64_t idle = carry_rule_idle_ms(f->visit.entry->rule);

	if (!idle)
		idle = CARRY_UDP_FOREVER_S * 1000;
	return !f->answered && idle > CARRY_UDP_UNANSWERED_S * 1000 ? CARRY_UDP_UNANSWERED_S * 1000 : idle;
}

static void flow_due(struct carry *c, struct carry_job *j)
{
	struct carry_flow *f = (struct carry_flow *)j;

	if (f->visit.entry->rule->paused)
		f->visit.last_ms = c->now_ms;
	uint64_t due = f->visit.last_ms + patience_ms(f);
	if (due > c->now_ms)
		carry_due(c, j, due);
	else
		carry_flow_end(c, f);
}

static int dial(struct carry *c, struct carry_flow *f)
{
	const struct carry_entry *e = f->visit.entry;
	struct addr target = carry_target(e, f->listener->index);
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&target, &ss);
	int fd = carry_target_socket(c, e, SOCK_DGRAM);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&ss, len) != 0) {
		int error = -errno;
		carry_fd_close(c, fd);
		return error;
	}
	return carry_watch_begin(c, &f->service, &f->visit.job, fd);
}

static struct carry_flow *flow_create(struct carry *c, struct carry_listener *ln, const struct datagram *d)
{
	struct key key = { ln, d->visitor };
	struct carry_flow *f = calloc(1, sizeof *f);

	if (!f || carry_job_begin(c, &f->visit.job, &flow_kind)) {
		free(f);
		return NULL;
	}
	f->listener = ln;
	f->service.fd = -1;
	f->visit.visitor = d->visitor;
	f->header_len = (uint8_t)carry_header(ln->entry, &d->visitor, &d->local, f->header);
	carry_visit_begin(&f->visit, ln->entry);
	if (map_put(&c->flow_by_key, &key, &f) || dial(c, f)) {
		ln->entry->rule->stats.rejected[FORWARD_NO_SERVICE]++;
		carry_flow_end(c, f);
		return NULL;
	}
	carry_visit_count(c, &f->visit, &d->visitor);
	flow_due(c, &f->visit.job);
	return f;
}

/* NULL: there is none, and none may be. */
static struct carry_flow *flow_of(struct carry *c, struct carry_listener *ln, const struct datagram *d)
{
	struct key key = { ln, d->visitor };
	struct carry_rule *r = ln->entry->rule;
	struct carry_flow **f = map_find(&c->flow_by_key, &key);

	if (!f)
		return carry_rule_admit(c, r, &d->visitor) ? flow_create(c, ln, d) : NULL;
	if (!r->paused)
		return *f;
	r->stats.rejected[FORWARD_PAUSED]++;
	return NULL;
}

/* --- To the service. */

/* A connected socket tells of what became of an earlier datagram first, and sends nothing then. */
static ssize_t send_on(struct carry_flow *f, const struct datagram *d)
{
	struct iovec parts[2] = { { f->header, f->header_len }, { (void *)d->data, d->len } };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n = sendmsg(f->service.fd, &m, MSG_NOSIGNAL);

	if (n >= 0 || errno != ECONNREFUSED)
		return n;
	stats_of(f)->rejected[FORWARD_NO_SERVICE]++;
	return sendmsg(f->service.fd, &m, MSG_NOSIGNAL);
}

static void carry_in(struct carry *c, struct carry_listener *ln, const struct datagram *d)
{
	struct carry_rule *r = ln->entry->rule;
	struct carry_flow *f = flow_of(c, ln, d);

	if (!f)
		return;
	f->peer = d->peer;
	f->visit.last_ms = c->now_ms;
	if (!carry_rate_take(c, r, &r->in, d->len))
		r->stats.rejected[FORWARD_RATE]++;
	else if (send_on(f, d) >= 0)
		r->stats.bytes_in += d->len;
}

/* Who it is from. False: counted why nobody whom we know. */
static bool read_sender(const struct carry *c, struct carry_listener *ln, struct datagram *d)
{
	struct carry_entry *e = ln->entry;
	struct proxy_header h;

	if (!carry_may_enter(e, &d->peer))
		return false;
	d->visitor = d->peer;
	d->local = e->listen;
	d->local.port = (uint16_t)(d->local.port + ln->index);
	if (!e->header_in)
		return true;
	int len = proxy_header_read(&h, d->data, d->len);
	if (len < 0) {
		e->rule->stats.rejected[FORWARD_BAD_HEADER]++;
		return false;
	}
	if (!carry_believes(c, e, &h))
		return false;
	d->visitor = h.from;
	d->local = h.to;
	d->data += len;
	d->len -= (size_t)len;
	return true;
}

/* False: none is there. Errors are not those of the datagrams behind. */
static bool receive(struct carry *c, struct carry_watch *w, struct datagram *d)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	ssize_t n;

	do {
		n = recvfrom(w->fd, c->buffer, sizeof c->buffer, 0, (struct sockaddr *)&ss, &len);
	} while (n < 0 && errno == EINTR);
	c->work += CARRY_WORK_DATAGRAM;
	if (n < 0) {
		w->readable = errno != EAGAIN;
		return false;
	}
	*d = (struct datagram) { .data = c->buffer, .len = (size_t)n };
	d->peer = addr_from_sockaddr((struct sockaddr *)&ss);
	return true;
}

static void listener_turn(struct carry *c, struct carry_job *j)
{
	struct carry_listener *ln = (struct carry_listener *)j;
	struct datagram d;

	for (size_t work = 0; ln->watch.readable && work < CARRY_SHARE_WORK; work += CARRY_WORK_DATAGRAM)
		if (receive(c, &ln->watch, &d) && read_sender(c, ln, &d))
			carry_in(c, ln, &d);
	if (ln->watch.readable)
		carry_queue(c, j);
}

const struct carry_kind carry_udp_listener = { listener_turn, NULL };

/* --- From the service. */

static void carry_out(struct carry *c, struct carry_flow *f, const struct datagram *d)
{
	struct carry_rule *r = f->visit.entry->rule;
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&f->peer, &ss);

	f->answered = true;
	if (r->paused) {
		r->stats.rejected[FORWARD_PAUSED]++;
		return;
	}
	f->visit.last_ms = c->now_ms;
	if (!carry_rate_take(c, r, &r->out, d->len))
		r->stats.rejected[FORWARD_RATE]++;
	else if (sendto(f->listener->watch.fd, d->data, d->len, MSG_NOSIGNAL, (struct sockaddr *)&ss, len) >=
		 0)
		r->stats.bytes_out += d->len;
}

static void flow_turn(struct carry *c, struct carry_job *j)
{
	struct carry_flow *f = (struct carry_flow *)j;
	struct datagram d;

	for (size_t work = 0; f->service.readable && work < CARRY_SHARE_WORK; work += CARRY_WORK_DATAGRAM) {
		if (receive(c, &f->service, &d))
			carry_out(c, f, &d);
		else if (f->service.readable)
			stats_of(f)->rejected[FORWARD_NO_SERVICE]++;
	}
	if (f->service.readable)
		carry_queue(c, j);
}
