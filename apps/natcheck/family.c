#include "apps/natcheck/family.h"

#include <errno.h>
#include <unistd.h>

#include "apps/natcheck/sock.h"
#include "apps/natcheck/worker.h"
#include "core/loop.h"
#include "nat/hops.h"
#include "tun/route.h"

enum {
	FIRST_RTO_MS = 250, /* three retransmissions fit into the 3 s of a verdict */
	LEAST_RTO_MS = 150,
	BATCH = 64,	/* datagrams between two looks at the clock: a flood must not hold us */
	LATE_MS = 1000, /* what would disturb the NAT's allocations waits so long for discovery to see them */
};

/* What the hops' thread works on. */
struct tracing {
	struct addr server;
	struct hops hops;
	int error;
};

/* --- Start. */

static int open_sockets(struct family *f, enum addr_family family)
{
	struct addr any = { .family = family };

	for (unsigned i = 0; i < FAMILY_SOCKETS; i++) {
		enum sock_kind kind = i == FAMILY_WHOLE	      ? SOCK_WHOLE
				      : i == FAMILY_FRAGMENTS ? SOCK_FRAGMENTS
							      : SOCK_ORDINARY;
		int fd = sock_open(&any, kind);
		if (fd < 0)
			return fd;
		f->fds[i] = (struct pollfd) { .fd = fd, .events = POLLIN };
	}
	return 0;
}

static void make_plan(struct query_plan *plan, const struct addr *to, unsigned socket, uint32_t rto_ms,
		      struct rng *rng)
{
	*plan = (struct query_plan) {
		.to = *to,
		.from = socket,
		.listen = socket,
		.request = { .cls = STUN_REQUEST, .method = STUN_BINDING },
		.rto_ms = rto_ms,
		.tries = QUERY_TRIES,
	};
	rng_fill(rng, plan->request.txid, sizeof plan->request.txid);
}

/* All servers of the family that there is a way to; the first few of them are what discovery asks. */
static void start_servers(struct family *f, enum addr_family family, struct discover_config *config)
{
	struct query_plan plan;

	for (size_t i = 0; i < f->check->count; i++) {
		struct check_server *s = &f->check->servers[i];
		if (s->addr.family != family)
			continue;
		s->local = sock_towards(&s->addr);
		if (s->local.family == ADDR_NONE)
			continue;
		f->local = f->local.family == ADDR_NONE ? s->local : f->local;
		s->answer = CHECK_SILENT;
		make_plan(&plan, &s->addr, FAMILY_ASK, FIRST_RTO_MS, f->config.rng);
		query_start(&f->servers[i], &plan, f->config.start_ms);
		if (config->server_count < DISCOVER_SERVERS)
			config->servers[config->server_count++] = s->addr;
	}
}

static void start_mappings(struct family *f)
{
	struct mapping_config config = { .asking = FAMILY_ASK, .rto_ms = LEAST_RTO_MS };

	if (f->config.no_mapping || route_default(f->local.family, 0, &config.lan))
		return;
	for (unsigned i = 0; i < GATEWAY_PROTOCOLS; i++) {
		config.protocol = i;
		config.socket = FAMILY_MAPPED + i;
		config.port = sock_local(f->fds[config.socket].fd).port;
		mapping_start(&f->maps[i], &config, f->config.rng, f->config.start_ms);
	}
}

int family_start(struct family *f, struct check *check, enum addr_family family,
		 const struct family_config *with)
{
	struct discover_config config = { 0 };

	*f = (struct family) { .check = check, .config = *with };
	for (unsigned i = 0; i < FAMILY_SOCKETS; i++)
		f->fds[i].fd = -1;
	f->view = check_view_of(f->check, family);
	start_servers(f, family, &config);
	if (f->local.family == ADDR_NONE)
		return 0;
	int ret = open_sockets(f, family);
	if (ret)
		return ret;
	f->view->tried = true;
	config.local = f->local;
	config.local.port = sock_local(f->fds[DISCOVER_MAIN].fd).port;
	f->view->local = config.local;
	ret = discover_start(&f->discover, &config, f->config.rng, f->config.start_ms);
	start_mappings(f);
	return ret;
}

/* --- What waits for discovery. */

static void trace(void *arg)
{
	struct tracing *t = arg;

	t->error = hops_trace(&t->server, &t->hops);
}

/* The first server that answered; NULL: none yet. */
static const struct query *first_answer(const struct family *f)
{
	for (size_t i = 0; i < CHECK_MAX_SERVERS; i++) {
		if (f->servers[i].state == QUERY_ANSWERED)
			return &f->servers[i];
	}
	return NULL;
}

/* The answer to a request of RFC 3489 has our address in plain bytes, for whoever rewrites addresses to find; that to one
 * of RFC 8489 tells what it should say. */
static void start_alg(struct family *f, const struct addr *server, uint32_t rto_ms, uint64_t now)
{
	struct query_plan plan;

	make_plan(&plan, server, FAMILY_ASK, rto_ms, f->config.rng);
	query_start(&f->alg[1], &plan, now);
	make_plan(&plan, server, FAMILY_ASK, rto_ms, f->config.rng);
	plan.request.classic = true;
	plan.request.classic_id = rng_u32(f->config.rng);
	query_start(&f->alg[0], &plan, now);
}

static void start_late(struct family *f, uint64_t now)
{
	const struct query *answer = first_answer(f);
	struct tracing tracing = { .error = -EINPROGRESS };

	f->late = true;
	if (!answer)
		return;
	uint32_t rto_ms = 2 * answer->rtt_ms > LEAST_RTO_MS ? 2 * answer->rtt_ms : LEAST_RTO_MS;
	struct mtu_config mtu = { answer->plan.to, FAMILY_WHOLE, FAMILY_FRAGMENTS, rto_ms };
	mtu_start(&f->mtu, &mtu, f->config.rng, now);
	if (f->local.family ==
	    ADDR_V4) /* the hub answers RFC 3489 there alone, and gateways rewrite no other */
		start_alg(f, &answer->plan.to, rto_ms, now);
	tracing.server = answer->plan.to;
	f->hops = worker_start(trace, &tracing, sizeof tracing);
}

/* Where new mappings come to lie is known; others do not disturb any more. */
static bool has_sampled(const struct discover *d)
{
	return !d->running || d->phase >= DISCOVER_ASK_STRANGERS;
}

void family_go_on(struct family *f, uint64_t now)
{
	const struct query *answer = first_answer(f);
	const struct addr none = { 0 };

	if (f->local.family == ADDR_NONE)
		return;
	if (!f->late && (has_sampled(&f->discover) || now - f->config.start_ms >= LATE_MS))
		start_late(f, now);
	mtu_go_on(&f->mtu, f->config.rng, now);
	for (unsigned i = 0; i < GATEWAY_PROTOCOLS; i++)
		mapping_go_on(&f->maps[i], &f->view->maps[i], answer ? &answer->plan.to : &none,
			      answer ? &answer->mapped : &none, f->config.rng, now);
}

/* --- All queries of a family, by number; NULL beyond the last. */

static struct query *query_at(struct family *f, unsigned i)
{
	if (i < CHECK_MAX_SERVERS)
		return &f->servers[i];
	i -= CHECK_MAX_SERVERS;
	if (i < MTU_QUERIES)
		return &f->mtu.queries[i];
	i -= MTU_QUERIES;
	if (i < GATEWAY_PROTOCOLS)
		return &f->maps[i].inbound;
	i -= GATEWAY_PROTOCOLS;
	return i < 2 ? &f->alg[i] : NULL;
}

void family_send(struct family *f, uint64_t now)
{
	struct ask_out out;
	uint8_t msg[QUERY_MAX];
	struct query *q;

	/* A request that cannot be sent counts like one that was lost. */
	while (discover_next(&f->discover, f->config.rng, now, &out))
		sock_send(f->fds[out.socket].fd, &out.to, out.msg, out.len);
	for (unsigned i = 0; (q = query_at(f, i)); i++) {
		size_t len = query_next(q, now, msg);
		if (len && sock_send(f->fds[q->plan.from].fd, &q->plan.to, msg, len) == -EMSGSIZE)
			query_fail(q);
	}
}

uint64_t family_deadline(struct family *f)
{
	uint64_t due = discover_deadline(&f->discover);
	struct query *q;

	for (unsigned i = 0; (q = query_at(f, i)); i++)
		due = query_deadline(q) < due ? query_deadline(q) : due;
	return due;
}

static void on_strange(struct family *f, const struct addr *from)
{
	for (size_t i = 0; i < f->check->count; i++) {
		if (addr_equal(&f->check->servers[i].addr, from))
			f->check->servers[i].answer = CHECK_STRANGE;
	}
}

static void on_datagram(struct family *f, unsigned socket, const struct sock_datagram *d, const uint8_t *msg)
{
	struct addr local = f->local;
	uint64_t now = loop_now_ms();
	struct query *q;

	local.port = sock_local(f->fds[socket].fd).port;
	if (socket < DISCOVER_SOCKETS) {
		discover_on_message(&f->discover, socket, &local, &d->from, msg, d->len, now);
		return;
	}
	for (unsigned i = 0; (q = query_at(f, i)); i++) {
		if (query_on_message(q, socket, &d->from, msg, d->len, d->fragment, now))
			return;
	}
	if (socket == FAMILY_ASK)
		on_strange(f, &d->from);
}

void family_receive(struct family *f, unsigned socket)
{
	uint8_t msg[2048];
	struct sock_datagram d;

	for (unsigned n = 0; n < BATCH && sock_receive(f->fds[socket].fd, msg, sizeof msg, &d); n++)
		on_datagram(f, socket, &d, msg);
}

/* --- The end. */

static bool queries_are_over(struct family *f)
{
	struct query *q;

	for (unsigned i = 0; (q = query_at(f, i)); i++) {
		if (!query_is_over(q))
			return false;
	}
	return true;
}

bool family_has_ended_mappings(const struct family *f)
{
	for (unsigned i = 0; i < GATEWAY_PROTOCOLS; i++) {
		if (!mapping_is_over(&f->maps[i]))
			return false;
	}
	return true;
}

static bool hops_are_over(const struct family *f)
{
	struct tracing t;

	return !f->hops || worker_collect(f->hops, &t);
}

bool family_is_over(struct family *f)
{
	if (f->local.family == ADDR_NONE)
		return true;
	return f->late && !f->discover.running && queries_are_over(f) && family_has_ended_mappings(f) &&
	       hops_are_over(f);
}

/* --- Judging. */

static void judge_servers(struct family *f)
{
	bool strange = false, answered = false;

	for (size_t i = 0; i < f->check->count; i++) {
		struct check_server *s = &f->check->servers[i];
		const struct query *q = &f->servers[i];
		if (q->state == QUERY_ANSWERED) {
			s->answer = CHECK_ANSWERED;
			s->mapped = q->mapped;
			s->rtt_ms = q->rtt_ms;
		} else if (q->state == QUERY_REFUSED) {
			s->answer = CHECK_STRANGE;
		}
		answered |= q->state == QUERY_ANSWERED;
		strange |= q->state != QUERY_IDLE && s->answer == CHECK_STRANGE;
	}
	if (answered || f->discover.result.mapped.family != ADDR_NONE)
		f->view->udp = CHECK_UDP_OK;
	else if (f->view->tried && !strange)
		f->view->udp = CHECK_UDP_BLOCKED;
}

static void judge_depth(struct family *f)
{
	struct tracing t;
	struct verdict *v = &f->view->nat.verdict;

	if (f->view->udp != CHECK_UDP_OK)
		return;
	if (v->mapping == MAPPING_NONE) {
		f->view->depth_known = DISCOVER_YES;
		return;
	}
	if (!worker_collect(f->hops, &t) || t.error || !hops_depth(&t.hops))
		return;
	f->view->depth_known = DISCOVER_YES;
	v->depth = (uint8_t)hops_depth(&t.hops);
	v->cgnat = hops_cgnat(&t.hops);
}

static enum discover_answer judge_alg(const struct family *f)
{
	if (f->alg[0].state != QUERY_ANSWERED || f->alg[1].state != QUERY_ANSWERED)
		return DISCOVER_UNKNOWN;
	return addr_equal(&f->alg[0].mapped, &f->alg[1].mapped) ? DISCOVER_NO : DISCOVER_YES;
}

void family_judge(struct family *f)
{
	f->view->nat = f->discover.result;
	judge_servers(f);
	f->view->nat.verdict.udp_blocked = f->view->udp == CHECK_UDP_BLOCKED;
	f->view->mapped = f->view->nat.mapped;
	judge_depth(f);
	f->view->alg = judge_alg(f);
	f->view->mtu = mtu_result(&f->mtu);
}

void family_cut(struct family *f, uint64_t now)
{
	for (unsigned i = 0; i < GATEWAY_PROTOCOLS; i++)
		mapping_cut(&f->maps[i], now);
}

void family_stop(struct family *f)
{
	for (unsigned i = 0; i < FAMILY_SOCKETS; i++) {
		if (f->fds[i].fd >= 0)
			close(f->fds[i].fd);
	}
	for (unsigned i = 0; i < GATEWAY_PROTOCOLS; i++)
		mapping_free(&f->maps[i]);
	worker_release(f->hops);
}
