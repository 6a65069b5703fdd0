/* Where the way to a service is broken: gateway, tunnel, node and service, looked at one after the other. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEP_MS = 3000,	  /* each */
	REFUSAL_MS = 500, /* a UDP service that is not there says so by then, or never */
	STEPS = 4,
};
#define PONG_ID (1ull << 63) /* others count from 1 */

static void step(struct forwarder_ping *p);

__attribute__((format(printf, 4, 5))) static void found(struct forwarder_ping *p, const char *what, bool ok,
							const char *fmt, ...)
{
	struct forwarder_check *c = &p->checks[p->count++];
	va_list ap;

	c->what = what;
	c->ok = ok;
	va_start(ap, fmt);
	vsnprintf(c->detail, sizeof c->detail, fmt, ap);
	va_end(ap);
	p->running = false;
	p->step++;
}

static void begin(struct forwarder_ping *p, uint64_t ms)
{
	p->running = true;
	p->began_ms = loop_now_ms();
	p->until_ms = p->began_ms + ms;
}

static unsigned took(const struct forwarder_ping *p)
{
	return (unsigned)(loop_now_ms() - p->began_ms);
}

/* ---- Gateway */

static struct engine_peer *gateway_of(const struct forwarder_ping *p, char why[static RULE_WHY])
{
	const struct forwarder_item *it = forwarder_item(p->f, p->rule.id);
	struct engine_peer *ep = it ? forwarder_peer_by_key(p->f, it->lease.gateway.ik) : NULL;

	return ep ? ep : forwarder_peer(p->f, p->rule.via, why);
}

static void on_gateway(void *arg, const struct lease_reply *reply)
{
	struct forwarder_ping *p = arg;
	const char *name = p->rule.via;

	p->call = NULL;
	if (reply->error == 0)
		found(p, "gateway", true, "%s answers and takes visitors, %u ms", name, took(p));
	else if (reply->error == -ENOENT)
		found(p, "gateway", false, "%s answers, but takes no visitors for this rule", name);
	else if (reply->error == -ENOTSUP)
		found(p, "gateway", false, "%s answers, but is no gateway: start it with --gateway", name);
	else
		found(p, "gateway", false, "%s: %s", name, reply->why);
	step(p);
}

static void ask_gateway(struct forwarder_ping *p)
{
	char why[RULE_WHY];
	struct engine_peer *ep = gateway_of(p, why);

	if (!ep) {
		found(p, "gateway", false, "%s", why);
		return;
	}
	begin(p, STEP_MS);
	int ret = lease_link_stats(p->f->link, ep->ip4.family ? &ep->ip4 : &ep->ip6, p->rule.id, on_gateway,
				   p, &p->call);
	if (ret)
		found(p, "gateway", false, "%s cannot be asked: %s", p->rule.via, strerror(-ret));
}

/* ---- Tunnel */

static void ping_peer(struct forwarder_ping *p)
{
	static uint64_t last;
	char why[RULE_WHY];
	struct engine_peer *ep = gateway_of(p, why);
	struct forwarder *f = p->f;

	if (!ep) {
		found(p, "tunnel", false, "%s", why);
		return;
	}
	begin(p, STEP_MS);
	p->pong_id = PONG_ID | ++last;
	int ret = engine_ping(f->config.engine, ep, p->pong_id, p->began_ms);
	if (ret)
		found(p, "tunnel", false, "%s cannot be pinged: %s", p->rule.via, strerror(-ret));
	else if (f->config.settle)
		f->config.settle(f->config.arg);
}

void forwarder_on_pong(struct forwarder *f, const struct engine_event *pong)
{
	struct forwarder_ping *p = f->pings;

	while (p && p->pong_id != pong->id)
		p = p->next;
	if (!p || !(pong->id & PONG_ID))
		return;
	p->pong_id = 0;
	found(p, "tunnel", true, "%s, %u ms",
	      pong->way == ENGINE_WAY_DIRECT ? "direct"
	      : pong->by_link		     ? "relayed over TLS"
					     : "relayed",
	      pong->rtt_ms);
	f->news = true;
	forwarder_step(f);
}

/* ---- Node */

static void look_at_node(struct forwarder_ping *p)
{
	const char *name = p->f->config.engine->config.name;
	struct forwarder_view v;

	if (!forwarder_look(p->f, p->rule.id, &v))
		found(p, "node", false, "the rule is gone");
	else if (v.state == FORWARDER_ACTIVE)
		found(p, "node", true, "%s (this node) carries it %s", name,
		      v.kernel ? "by the kernel" : "by its own sockets");
	else
		found(p, "node", false, "%s (this node): the rule is %s%s%s", name,
		      forwarder_state_name(v.state), *v.why ? ": " : "", v.why);
}

/* ---- Service */

static void close_service(struct forwarder_ping *p)
{
	loop_fd_destroy(p->watch);
	p->watch = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static const char *service_of(const struct forwarder_ping *p, char out[static ADDR_TEXT_MAX])
{
	struct addr a = p->rule.local;

	a.port = p->rule.ranges[0].first;
	return addr_format(&a, out);
}

static void service_said(struct forwarder_ping *p, int error)
{
	char at[ADDR_TEXT_MAX];

	close_service(p);
	service_of(p, at);
	if (!error && p->rule.tcp)
		found(p, "service", true, "%s answers, %u ms", at, took(p));
	else if (error == ECONNREFUSED)
		found(p, "service", false, "%s refused: nothing listens there", at);
	else
		found(p, "service", false, "%s: %s", at, strerror(error));
}

static void on_service(void *arg, unsigned events)
{
	struct forwarder_ping *p = arg;
	socklen_t len = sizeof(int);
	int error = 0;
	(void)events;

	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (!p->rule.tcp && !error) {
		char byte;
		if (recv(p->fd, &byte, sizeof byte, MSG_DONTWAIT) < 0 && errno == EAGAIN)
			return;
	}
	service_said(p, error);
	step(p);
}

static void try_service(struct forwarder_ping *p)
{
	struct addr at = p->rule.local;
	struct sockaddr_storage sa;

	at.port = p->rule.ranges[0].first;
	unsigned len = addr_to_sockaddr(&at, &sa);
	begin(p, p->rule.tcp ? STEP_MS : REFUSAL_MS);
	p->fd = socket(sa.ss_family, (p->rule.tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       0);
	p->watch = p->fd < 0 ? NULL : loop_fd_create(p->f->config.loop, p->fd, on_service, p);
	if (!p->watch || loop_fd_want(p->watch, p->rule.tcp ? LOOP_WRITE : LOOP_READ)) {
		service_said(p, ENOMEM);
		return;
	}
	int ret = connect(p->fd, (struct sockaddr *)&sa, len) ? errno : 0;
	if (!ret && !p->rule.tcp && send(p->fd, "", 0, 0) < 0)
		ret = errno;
	if (ret && ret != EINPROGRESS)
		service_said(p, ret);
}

/* ---- The run */

static void time_is_over(struct forwarder_ping *p)
{
	static const char *const whats[STEPS] = { "gateway", "tunnel", "node", "service" };
	char at[ADDR_TEXT_MAX];

	lease_call_cancel(p->call);
	p->call = NULL;
	p->pong_id = 0;
	if (p->step < STEPS - 1) {
		found(p, whats[p->step], false, "%s does not answer", p->rule.via);
		return;
	}
	close_service(p);
	if (p->rule.tcp)
		found(p, "service", false, "%s does not answer: timed out", service_of(p, at));
	else
		found(p, "service", true, "%s does not refuse (UDP tells no more)", service_of(p, at));
}

/* Begins what can be begun; what has ended is told at the loop's next turn. */
static void step(struct forwarder_ping *p)
{
	static void (*const steps[STEPS])(struct forwarder_ping *) = { ask_gateway, ping_peer, look_at_node,
								       try_service };

	while (!p->running && p->step < STEPS)
		steps[p->step](p);
	p->f->news = true;
	forwarder_step(p->f);
}

void forwarder_ping(struct forwarder *f, const struct rule *r, struct forwarder_ping *p)
{
	p->f = f;
	p->rule = *r;
	p->count = 0;
	p->running = false;
	p->step = r->scope == RULE_PUBLIC ? 0 : 2;
	p->pong_id = 0;
	p->call = NULL;
	p->watch = NULL;
	p->fd = -1;
	p->next = f->pings;
	f->pings = p;
	step(p);
}

void forwarder_ping_cancel(struct forwarder_ping *p)
{
	struct forwarder_ping **at = &p->f->pings;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	lease_call_cancel(p->call);
	p->call = NULL;
	close_service(p);
}

void forwarder_ping_run(struct forwarder *f, uint64_t now_ms)
{
	for (struct forwarder_ping *p = f->pings, *next; p; p = next) {
		next = p->next;
		if (p->running && now_ms >= p->until_ms)
			time_is_over(p);
		if (!p->running && p->step < STEPS)
			step(p);
		if (p->running || p->step < STEPS)
			continue;
		forwarder_ping_cancel(p);
		p->done(p->arg);
	}
}

uint64_t forwarder_ping_deadline(const struct forwarder *f)
{
	uint64_t least = UINT64_MAX;

	for (const struct forwarder_ping *p = f->pings; p; p = p->next) {
		uint64_t due = p->running ? p->until_ms : 0;
		least = due < least ? due : least;
	}
	return least;
}
