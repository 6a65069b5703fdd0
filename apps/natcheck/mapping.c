#include "apps/natcheck/mapping.h"

#include <errno.h>

#include "apps/natcheck/worker.h"
#include "nat/portmap_run.h"

enum { TRIES = 3 };

/* What the thread works on. What UPnP found when it mapped is needed to end that. */
struct task {
	struct upnp_igd igd;
	struct gateway_job job;
	struct gateway_result result;
	uint64_t deadline_ms;
};

static void run_task(void *arg)
{
	struct task *t = arg;
	struct gateway_limit limit = { t->deadline_ms, -1 };

	portmap_run(&t->igd, &t->job, &limit, &t->result);
}

static void start_task(struct mapping *m, const struct task *t, enum mapping_state state)
{
	worker_release(m->worker);
	m->worker = worker_start(run_task, t, sizeof *t);
	m->state = m->worker ? state : MAPPING_OVER;
}

void mapping_start(struct mapping *m, const struct mapping_config *config, struct rng *rng, uint64_t now_ms)
{
	struct task t = {
		.job = {
			.protocol = config->protocol,
			.lan = config->lan,
			.internal_port = config->port,
			.suggested_port = config->port,
			.lifetime_s = MAPPING_LEASE_S,
		},
		.deadline_ms = now_ms + MAPPING_ASK_MS,
	};

	*m = (struct mapping) { .config = *config };
	rng_fill(rng, t.job.nonce, sizeof t.job.nonce);
	start_task(m, &t, MAPPING_ASKING);
}

static void on_asked(struct mapping *m, struct check_map *out, const struct gateway_result *r)
{
	if (!r->error) {
		out->state = PORTMAP_WORKING;
		out->external = m->external = r->external;
		m->state = MAPPING_MADE;
		return;
	}
	out->state = r->error == -EPERM	   ? PORTMAP_REFUSED
		     : r->error == -ENOENT ? PORTMAP_ABSENT
					   : PORTMAP_UNKNOWN;
	m->state = MAPPING_OVER;
}

static void end_mapping(struct mapping *m, uint64_t now_ms)
{
	struct task t;

	worker_collect(m->worker, &t);
	t.job.unmap = true;
	t.job.suggested_port = m->external.port;
	t.deadline_ms = now_ms + MAPPING_END_MS;
	start_task(m, &t, MAPPING_ENDING);
}

/* The server answers to the address that it sees: another one than what the gateway told is not the mapping's. */
static void test(struct mapping *m, const struct addr *server, const struct addr *asker, struct rng *rng,
		 uint64_t now_ms)
{
	struct query_plan plan = {
		.to = *server,
		.from = m->config.asking,
		.listen = m->config.socket,
		.request = { .cls = STUN_REQUEST, .method = STUN_BINDING, .response_port = m->external.port },
		.rto_ms = m->config.rto_ms,
		.tries = TRIES,
		.any_source = true,
	};

	if (!addr_same_ip(&m->external, asker)) {
		end_mapping(m, now_ms);
		return;
	}
	rng_fill(rng, plan.request.txid, sizeof plan.request.txid);
	query_start(&m->inbound, &plan, now_ms);
	m->state = MAPPING_TESTING;
}

void mapping_go_on(struct mapping *m, struct check_map *out, const struct addr *server,
		   const struct addr *asker, struct rng *rng, uint64_t now_ms)
{
	struct task t;

	if (m->state == MAPPING_ASKING && worker_collect(m->worker, &t))
		on_asked(m, out, &t.result);
	if (m->state == MAPPING_MADE && server->family != ADDR_NONE)
		test(m, server, asker, rng, now_ms);
	if (m->state == MAPPING_TESTING && query_is_over(&m->inbound)) {
		if (m->inbound.state == QUERY_ANSWERED)
			out->inbound = DISCOVER_YES;
		else if (m->inbound.state == QUERY_SILENT)
			out->inbound = DISCOVER_NO;
		end_mapping(m, now_ms);
	}
	if (m->state == MAPPING_ENDING && worker_collect(m->worker, &t))
		m->state = MAPPING_OVER;
}

void mapping_cut(struct mapping *m, uint64_t now_ms)
{
	if (m->state == MAPPING_MADE || m->state == MAPPING_TESTING)
		end_mapping(m, now_ms);
}

bool mapping_is_over(const struct mapping *m)
{
	return m->state == MAPPING_IDLE || m->state == MAPPING_OVER;
}

void mapping_free(struct mapping *m)
{
	worker_release(m->worker);
	*m = (struct mapping) { 0 };
}
