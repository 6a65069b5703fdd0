#include "tests/sim/sim_trial.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOIN_LIMIT_MS = 20000 };

const char *sim_nat_name(enum sim_nat_kind kind)
{
	static const char *const names[SIM_NAT_KINDS] = {
		[NAT_NONE] = "open",
		[NAT_FULL_CONE] = "full-cone",
		[NAT_ADDRESS_RESTRICTED] = "address-restricted",
		[NAT_PORT_RESTRICTED] = "port-restricted",
		[NAT_SYMMETRIC] = "symmetric",
		[NAT_FIREWALL] = "firewall",
		[NAT_SEQUENTIAL] = "sequential",
		[NAT_SEQUENTIAL_DOWN] = "sequential-down",
		[NAT_STRIDE] = "stride",
		[NAT_BLOCK_512] = "block-512",
		[NAT_BLOCK_1024] = "block-1024",
		[NAT_LIMITED] = "limited",
		[NAT_UDP_BLOCKED] = "udp-blocked",
		[NAT_HOME_CARRIER] = "home-carrier",
		[NAT_HOME_CARRIER_SYMMETRIC] = "home-carrier-symmetric",
	};

	return names[kind];
}

struct sim *sim_new(uint64_t seed)
{
	struct sim *s = malloc(sizeof *s);

	assert(s);
	sim_init(s, seed);
	return s;
}

void sim_delete(struct sim *s)
{
	sim_free(s);
	free(s);
}

/* ---- one */

static struct sim_node *add_node(struct sim *s, const struct trial *t, enum sim_nat_kind kind)
{
	struct sim_site *site = sim_site(s, kind);
	struct sim_node *n;

	for (struct sim_site *router = site; router; router = router->parent)
		if (router->nat.kind != NAT_NONE) {
			router->nat.rules.foreign_per_s = t->foreign_per_s;
			router->nat.rules.clash = t->clash;
		}
	n = sim_node_at(s, site);
	n->engine->config.hard_nat = t->hard_nat;
	if (t->depth)
		engine_on_hops(n->engine, t->depth, false);
	return n;
}

static void note_entries(struct trial_result *r, const struct sim_node *n)
{
	for (const struct sim_site *site = n->site; site; site = site->parent)
		if (site->nat.peak > r->entries)
			r->entries = site->nat.peak;
}

static void talk(struct sim *s, const struct trial *t, struct trial_result *r, struct sim_node *a,
		 struct sim_node *b)
{
	uint64_t start = s->now_ms;
	unsigned before[2] = { (unsigned)a->engine->budget.sent, (unsigned)b->engine->budget.sent };

	while (s->now_ms - start < t->limit_ms && !r->direct) {
		sim_ping(s, a, b);
		sim_run(s, TRIAL_TRAFFIC_MS);
		if (!r->relay_ms && a->first_pong_ms)
			r->relay_ms = a->first_pong_ms - start;
		r->direct = sim_way(a, b) == ENGINE_WAY_DIRECT && sim_way(b, a) == ENGINE_WAY_DIRECT;
	}
	unsigned sent[2] = { (unsigned)a->engine->budget.sent - before[0],
			     (unsigned)b->engine->budget.sent - before[1] };
	r->probes = sent[0] > sent[1] ? sent[0] : sent[1];
	note_entries(r, a);
	note_entries(r, b);
	if (!r->direct)
		return;
	uint64_t since[2] = { sim_peer(a, b)->way_since_ms, sim_peer(b, a)->way_since_ms };
	uint64_t last = since[0] > since[1] ? since[0] : since[1];
	r->direct_ms = last > start ? last - start : 0;
	if (!r->relay_ms)
		r->relay_ms = r->direct_ms; /* the first pong came that way, or was about to */
}

struct trial_result sim_trial(const struct trial *t, uint64_t seed)
{
	struct trial_result r = { 0 };
	struct sim *s = sim_new(seed);
	struct sim_node *a, *b;

	s->loss_permille = t->loss_permille;
	a = add_node(s, t, t->from);
	b = add_node(s, t, t->to);
	b->late_ms = t->late_ms;
	if (sim_run_joined(s, JOIN_LIMIT_MS)) {
		sim_run(s, t->fresh ? 1 : TRIAL_SETTLE_MS);
		talk(s, t, &r, a, b);
	}
	sim_delete(s);
	return r;
}

/* ---- many */

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t quantile(const uint64_t *sorted, unsigned count, unsigned percent)
{
	unsigned at = (count * percent + 99) / 100;

	return count ? sorted[at ? at - 1 : 0] : 0;
}

static void finish(struct trial_summary *sum)
{
	qsort(sum->direct_ms, sum->direct, sizeof *sum->direct_ms, by_value);
	sum->p50_ms = quantile(sum->direct_ms, sum->direct, 50);
	sum->p95_ms = quantile(sum->direct_ms, sum->direct, 95);
	sum->max_ms = quantile(sum->direct_ms, sum->direct, 100);
}

struct trial_summary sim_trials(const struct trial *t, unsigned count, uint64_t seed)
{
	static uint64_t relay_ms[TRIALS_MAX];
	struct trial_summary sum = { .trials = count };
	unsigned long probes = 0;
	char what[64];

	assert(count <= TRIALS_MAX);
	for (unsigned i = 0; i < count; i++) {
		struct trial_result r = sim_trial(t, seed + i);
		relay_ms[i] = r.relay_ms ? r.relay_ms : t->limit_ms;
		probes += r.probes;
		sum.probes_max = r.probes > sum.probes_max ? r.probes : sum.probes_max;
		sum.entries_max = r.entries > sum.entries_max ? r.entries : sum.entries_max;
		if (r.direct)
			sum.direct_ms[sum.direct++] = r.direct_ms;
		else if (getenv("SIM_FAILURES"))
			printf("not direct: %s to %s, seed %llu\n", sim_nat_name(t->from),
			       sim_nat_name(t->to), (unsigned long long)(seed + i));
	}
	qsort(relay_ms, count, sizeof *relay_ms, by_value);
	sum.relay_p95_ms = quantile(relay_ms, count, 95);
	sum.probes_mean = count ? (unsigned)(probes / count) : 0;
	finish(&sum);
	snprintf(what, sizeof what, "%s > %s%s", sim_nat_name(t->from), sim_nat_name(t->to),
		 t->fresh ? " (fresh)" : "");
	trial_print(what, &sum);
	return sum;
}

unsigned trial_permille_within(const struct trial_summary *sum, uint64_t ms)
{
	unsigned n = 0;

	while (n < sum->direct && sum->direct_ms[n] <= ms)
		n++;
	return sum->trials ? n * 1000 / sum->trials : 0;
}

void trial_add(struct trial_summary *all, const struct trial_summary *one)
{
	assert(all->direct + one->direct <= TRIALS_MAX);
	memcpy(all->direct_ms + all->direct, one->direct_ms, one->direct * sizeof *one->direct_ms);
	if (all->trials + one->trials)
		all->probes_mean = (all->probes_mean * all->trials + one->probes_mean * one->trials) /
				   (all->trials + one->trials);
	all->trials += one->trials;
	all->direct += one->direct;
	all->relay_p95_ms = one->relay_p95_ms > all->relay_p95_ms ? one->relay_p95_ms : all->relay_p95_ms;
	all->probes_max = one->probes_max > all->probes_max ? one->probes_max : all->probes_max;
	all->entries_max = one->entries_max > all->entries_max ? one->entries_max : all->entries_max;
	finish(all);
}

void trial_print(const char *what, const struct trial_summary *sum)
{
	static bool begun;

	if (!getenv("SIM_TABLE"))
		return;
	if (!begun)
		printf("%-42s %7s %8s %8s %8s %8s %13s %7s\n", "case", "direct", "relay95", "p50 ms",
		       "p95 ms", "max ms", "probes", "entries");
	begun = true;
	printf("%-42s %3u/%-3u %8llu %8llu %8llu %8llu %5u max %4u %7zu\n", what, sum->direct, sum->trials,
	       (unsigned long long)sum->relay_p95_ms, (unsigned long long)sum->p50_ms,
	       (unsigned long long)sum->p95_ms, (unsigned long long)sum->max_ms, sum->probes_mean,
	       sum->probes_max, sum->entries_max);
	fflush(stdout);
}
