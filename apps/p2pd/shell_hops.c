/* The routers before the internet, looked at each time that the world sees us by another address: how far an opener must
 * go (nat/punch.h), and whether the NAT is a carrier's. */
#include "apps/p2pd/shell_internal.h"

#include <stdlib.h>

#include "nat/hops.h"

struct trace {
	struct shell *s;
	struct addr server;
	struct hops hops;
	int error;
};

static void do_trace(void *arg)
{
	struct trace *t = arg;

	t->error = hops_trace(&t->server, &t->hops);
}

static void trace_done(void *arg, int error)
{
	struct trace *t = arg;
	struct shell *s = t->s;

	s->tracing = false;
	if (!error && !t->error)
		engine_on_hops(s->engine, hops_depth(&t->hops), hops_cgnat(&t->hops));
	free(t);
}

void shell_trace_on_settle(struct shell *s)
{
	const struct engine *e = s->engine;
	const struct addr *seen = engine_reflexive(e);

	if (s->tracing || s->ending || seen->family != ADDR_V4 || addr_equal(seen, &s->traced))
		return;
	s->traced = *seen;
	struct trace *t = calloc(1, sizeof *t);
	if (!t)
		return;
	t->s = s;
	t->server = e->hub_udp[0];
	s->tracing = !loop_work(s->loop, do_trace, trace_done, t);
	if (!s->tracing)
		free(t);
}
