/* What the entries of one id share. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "apps/p2pd/forward/carry_impl.h"
#include "core/crypto.h"

enum {
	BURSTS_A_SECOND = 10, /* of the rate, what may go at once */
	BURST_MIN = 3000,
	QUANTA_A_SECOND =
		100, /* who has waited for the rate has at least so much of it, or the wait was hardly worth it */
	QUANTUM_MIN = 1500,
	QUANTUM_MAX = 65536,
};

/* --- The rate. */

static uint32_t burst(const struct carry_rule *r)
{
	uint32_t n = r->rate / BURSTS_A_SECOND;

	return n < BURST_MIN ? BURST_MIN : n;
}

static uint32_t quantum(const struct carry_rule *r)
{
	uint32_t n = r->rate / QUANTA_A_SECOND;

	return n < QUANTUM_MIN ? QUANTUM_MIN : n > QUANTUM_MAX ? QUANTUM_MAX : n;
}

static uint64_t left(struct carry *c, const struct carry_rule *r, struct carry_rate *rate)
{
	uint64_t full = burst(r) * 1000ULL;

	bucket_charge(&rate->bucket, r->rate, 0, c->now_ms);
	return rate->bucket.spent < full ? (full - rate->bucket.spent) / 1000 : 0;
}

/* When there will be a quantum to give. */
static uint64_t next_quantum_ms(struct carry *c, const struct carry_rule *r, const struct carry_rate *rate)
{
	uint64_t owed = rate->bucket.spent + quantum(r) * 1000ULL, full = burst(r) * 1000ULL;

	return owed <= full ? c->now_ms : c->now_ms + (owed - full) / r->rate + 1;
}

static void arm(struct carry *c, struct carry_rule *r)
{
	uint64_t in = r->in.held ? next_quantum_ms(c, r, &r->in) : UINT64_MAX;
	uint64_t out = r->out.held ? next_quantum_ms(c, r, &r->out) : UINT64_MAX;

	carry_due(c, &r->job, in < out ? in : out);
}

static void hold(struct carry *c, struct carry_rule *r, struct carry_rate *rate, struct carry_way *w)
{
	if (!w->held_at) {
		w->held_at = rate->held_tail;
		*rate->held_tail = w;
		rate->held_tail = &w->held_next;
	}
	if (!r->job.deadline.place)
		arm(c, r);
}

void carry_rate_leave(struct carry_rate *rate, struct carry_way *w)
{
	if (!w->held_at)
		return;
	*w->held_at = w->held_next;
	if (w->held_next)
		w->held_next->held_at = w->held_at;
	else
		rate->held_tail = w->held_at;
	w->held_next = NULL;
	w->held_at = NULL;
}

/* As many as there are quanta now; they may still go first when others have come by then. */
static void release(struct carry *c, struct carry_rule *r, struct carry_rate *rate)
{
	uint64_t quanta = r->rate ? left(c, r, rate) / quantum(r) : UINT64_MAX;

	for (struct carry_way *w; quanta && (w = rate->held); quanta--) {
		carry_rate_leave(rate, w);
		w->granted = true;
		carry_queue(c, w->job);
	}
}

static void rule_due(struct carry *c, struct carry_job *j)
{
	struct carry_rule *r = (struct carry_rule *)j;

	release(c, r, &r->in);
	release(c, r, &r->out);
	arm(c, r);
}

size_t carry_rate_allow(struct carry *c, struct carry_rule *r, struct carry_rate *rate, struct carry_way *w,
			size_t want)
{
	if (!r->rate)
		return want;
	uint64_t have = left(c, r, rate);
	if (!w->granted && (rate->held || have < quantum(r))) {
		hold(c, r, rate, w);
		return 0;
	}
	w->granted = false;
	if (have < quantum(r))
		have = quantum(r);
	return want < have ? want : (size_t)have;
}

void carry_rate_charge(struct carry *c, struct carry_rule *r, struct carry_rate *rate, size_t bytes)
{
	if (r->rate)
		bucket_charge(&rate->bucket, r->rate, (uint32_t)bytes, c->now_ms);
}

/* What is left need not be enough for it: a large datagram would never pass. */
bool carry_rate_take(struct carry *c, struct carry_rule *r, struct carry_rate *rate, size_t bytes)
{
	if (r->rate && !left(c, r, rate))
		return false;
	carry_rate_charge(c, r, rate, bytes);
	return true;
}

/* --- The rule. */

static const struct carry_kind rule_kind = { NULL, rule_due };

struct carry_rule *carry_rule_create(struct carry *c, const uint8_t id[static FORWARD_ID])
{
	struct carry_rule *r = calloc(1, sizeof *r);

	if (!r || carry_job_begin(c, &r->job, &rule_kind)) {
		free(r);
		return NULL;
	}
	memcpy(r->id, id, FORWARD_ID);
	r->in.held_tail = &r->in.held;
	r->out.held_tail = &r->out.held;
	r->next = c->rules;
	r->at = &c->rules;
	if (r->next)
		r->next->at = &r->next;
	c->rules = r;
	return r;
}

void carry_rule_destroy(struct carry *c, struct carry_rule *r)
{
	*r->at = r->next;
	if (r->next)
		r->next->at = r->at;
	carry_job_end(c, &r->job);
	carry_share_leave(c, r->share);
	free(r->allow);
	free(r);
}

/* Who may not come any more goes. The others' deadlines may have moved; while paused nobody was idle by his own doing. */
static void review_visit(struct carry *c, struct carry_rule *r, struct carry_visit *v, bool paused)
{
	if (v->visitor.family != ADDR_NONE && !carry_rule_allows(r, &v->visitor)) {
		carry_visit_reset(c, v);
		return;
	}
	if (paused)
		v->last_ms = c->now_ms;
	carry_queue(c, &v->job);
	carry_due(c, &v->job, c->now_ms);
}

static void review(struct carry *c, struct carry_rule *r, bool paused)
{
	struct carry_visit *next;

	for (struct carry_entry *e = r->entries; e; e = e->next)
		for (struct carry_visit *v = e->visits; v; v = next) {
			next = v->next;
			review_visit(c, r, v, paused);
		}
}

static uint32_t rate_of(uint64_t rate)
{
	return rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
}

/* Ids do not go from one owner to another while something of them is carried. */
static int set_share(struct carry *c, struct carry_rule *r, uint64_t owner)
{
	if (r->entries)
		return 0;
	carry_share_leave(c, r->share);
	r->share = owner ? carry_share_join(c, owner) : NULL;
	return owner && !r->share ? -ENOMEM : 0;
}

int carry_rule_set(struct carry *c, struct carry_rule *r, const struct forward_entry *e)
{
	unsigned count = e->allow_count < FORWARD_PREFIXES_MAX ? e->allow_count : FORWARD_PREFIXES_MAX;
	struct forward_prefix *allow = count ? malloc(count * sizeof *allow) : NULL;

	if ((count && !allow) || set_share(c, r, e->owner)) {
		free(allow);
		return -ENOMEM;
	}
	if (count)
		memcpy(allow, e->allow, count * sizeof *allow);
	free(r->allow);
	r->allow = allow;
	r->allow_count = count;
	r->restricted = e->restricted;
	bool paused = r->paused || e->paused;
	r->paused = e->paused;
	r->max_conn = e->max_conn;
	r->idle_s = e->idle_s;
	r->rate = rate_of(e->rate);
	rule_due(c, &r->job);
	review(c, r, paused);
	return 0;
}

uint64_t carry_rule_idle_ms(const struct carry_rule *r)
{
	return r->idle_s * 1000ULL;
}

static bool in_prefix(const struct addr *a, const struct forward_prefix *p)
{
	return a->family == p->prefix.family && addr_in_prefix(a, &p->prefix, p->bits);
}

bool carry_rule_allows(const struct carry_rule *r, const struct addr *visitor)
{
	if (!r->restricted)
		return true;
	for (unsigned i = 0; i < r->allow_count; i++)
		if (in_prefix(visitor, &r->allow[i]))
			return true;
	return false;
}

bool carry_may_enter(const struct carry_entry *e, const struct addr *from)
{
	if (e->gateway4.family == ADDR_NONE && e->gateway6.family == ADDR_NONE)
		return true;
	if (addr_same_ip(from, &e->gateway4) || addr_same_ip(from, &e->gateway6))
		return true;
	e->rule->stats.rejected[FORWARD_NOT_ALLOWED]++;
	return false;
}

bool carry_believes(const struct carry *c, const struct carry_entry *e, const struct proxy_header *h)
{
	bool good = h->proto == e->proto && h->has_secret && !crypto_is_zero(e->secret, sizeof e->secret) &&
		    crypto_equal(h->secret, e->secret, sizeof e->secret) &&
		    (!c->may_come || c->may_come(c->may_come_arg, &h->from));

	if (!good)
		e->rule->stats.rejected[FORWARD_BAD_HEADER]++;
	return good;
}

bool carry_rule_admit(struct carry *c, struct carry_rule *r, const struct addr *visitor)
{
	enum forward_reject why = FORWARD_REJECTS;

	if (r->paused)
		why = FORWARD_PAUSED;
	else if (visitor->family != ADDR_NONE && !carry_rule_allows(r, visitor))
		why = FORWARD_NOT_ALLOWED;
	else if (r->max_conn && r->stats.connections >= r->max_conn)
		why = FORWARD_FULL;
	else if (!carry_fd_room(c, 1) || !carry_share_room(c, r->share, CARRY_VISIT_FDS))
		why = FORWARD_FULL;
	if (why == FORWARD_REJECTS)
		return true;
	r->stats.rejected[why]++;
	return false;
}

/* --- Visits. */

void carry_visit_begin(struct carry_visit *v, struct carry_entry *e)
{
	v->entry = e;
	v->next = e->visits;
	v->at = &e->visits;
	if (v->next)
		v->next->at = &v->next;
	e->visits = v;
	e->rule->stats.connections++;
	carry_share_hold(e->rule->share, CARRY_VISIT_FDS);
}

void carry_visit_end(struct carry_visit *v)
{
	*v->at = v->next;
	if (v->next)
		v->next->at = v->at;
	v->entry->rule->stats.connections--;
	carry_share_drop(v->entry->rule->share, CARRY_VISIT_FDS);
}

void carry_visit_count(struct carry *c, struct carry_visit *v, const struct addr *visitor)
{
	struct forward_stats *s = &v->entry->rule->stats;

	v->visitor = *visitor;
	v->last_ms = c->now_ms;
	s->total++;
	s->last_visitor = *visitor;
	s->last_ms = c->now_ms;
}

/* --- The way to the target. */

struct addr carry_target(const struct carry_entry *e, unsigned index)
{
	struct addr a = e->target;

	a.port = (uint16_t)(a.port + index);
	return a;
}

/* To the owner through the tunnel only: without it nothing must leave in the clear by another way. */
int carry_target_socket(struct carry *c, const struct carry_entry *e, int type)
{
	int family = e->target.family == ADDR_V4 ? AF_INET : AF_INET6, one = 1;
	int fd = carry_fd_keep(c, socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));

	if (fd < 0)
		return fd;
	if (e->side == FORWARD_GATEWAY &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, c->tun, (socklen_t)strlen(c->tun) + 1) != 0) {
		int error = -errno;
		carry_fd_close(c, fd);
		return error;
	}
	if (type == SOCK_STREAM) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	}
	return fd;
}

size_t carry_header(const struct carry_entry *e, const struct addr *visitor, const struct addr *local,
		    uint8_t out[static PROXY_HEADER_MAX])
{
	struct proxy_header h = {
		.proto = e->proto, .from = *visitor, .to = *local, .has_secret = e->side == FORWARD_GATEWAY
	};

	if (h.has_secret) /* never to the service */
		memcpy(h.secret, e->secret, sizeof h.secret);
	return e->header_out ? proxy_header_write(out, &h) : 0;
}
