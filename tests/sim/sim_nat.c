#include "tests/sim/sim_nat.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_nat_table.h"

enum { SWEEP_AT_LEAST = 1024, RANDOM_TRIES = 16, FOREIGN_SCOPE = 0xf };

/* ---- presets */

struct sim_nat_rules sim_nat_preset(enum sim_nat_kind kind)
{
	struct sim_nat_rules r = {
		.filtering = SIM_ADDRESS_AND_PORT_DEPENDENT,
		.ports = SIM_PORTS_PRESERVED,
		.port_lo = 1024,
		.port_hi = 65535,
		.unreplied_ms = SIM_NAT_UNREPLIED_MS,
		.replied_ms = SIM_NAT_REPLIED_MS,
		.inbound_refreshes = true,
		.hairpin = true,
	};

	switch (kind) {
	case NAT_FULL_CONE: r.filtering = SIM_ENDPOINT_INDEPENDENT; break;
	case NAT_ADDRESS_RESTRICTED: r.filtering = SIM_ADDRESS_DEPENDENT; break;
	case NAT_SYMMETRIC: r.ports = SIM_PORTS_RANDOM; break;
	case NAT_FIREWALL: r.ports = SIM_PORTS_UNTRANSLATED; break;
	case NAT_SEQUENTIAL: r.step = 1; break;
	case NAT_SEQUENTIAL_DOWN: r.step = -1; break;
	case NAT_STRIDE: r.step = 2; break;
	case NAT_BLOCK_512: r.block = 512; break;
	case NAT_BLOCK_1024: r.block = 1024; break;
	case NAT_LIMITED:
		r.limit = SIM_NAT_LIMIT;
		r.evict = true;
		break;
	case NAT_UDP_BLOCKED: r.blocked = true; break;
	default: break;
	}
	if (r.step)
		r.ports = SIM_PORTS_SEQUENTIAL;
	if (r.block)
		r.ports = SIM_PORTS_RANDOM;
	if (r.ports == SIM_PORTS_SEQUENTIAL || r.ports == SIM_PORTS_RANDOM)
		r.mapping = SIM_ADDRESS_AND_PORT_DEPENDENT;
	return r;
}

/* ---- ports */

static struct sim_nat_host *host_of(struct sim_nat *n, const struct addr *inner)
{
	struct sim_nat_host *h = n->hosts;

	for (; h < n->hosts + n->host_count; h++)
		if (addr_same_ip(&h->ip, inner))
			return h;
	assert(n->host_count < SIM_NAT_HOSTS);
	n->host_count++;
	*h = (struct sim_nat_host) { .ip = *inner };
	h->ip.port = 0;
	h->ip.scope = 0;
	if (n->more_ip_count)
		h->ip_index = rng_below(n->rng, n->more_ip_count + 1);
	if (n->rules.step_per_host)
		h->next_port = (uint16_t)(n->rules.port_lo +
					  rng_below(n->rng, n->rules.port_hi - n->rules.port_lo + 1));
	return h;
}

static bool block_taken(const struct sim_nat *n, uint32_t lo)
{
	for (size_t i = 0; i < n->host_count; i++)
		if (n->hosts[i].block_lo == lo)
			return true;
	return false;
}

static bool give_block(struct sim_nat *n, struct sim_nat_host *h)
{
	uint32_t first = (n->rules.port_lo + n->rules.block - 1) / n->rules.block;
	uint32_t count = (n->rules.port_hi + 1u) / n->rules.block - first;
	uint32_t start = rng_below(n->rng, count);

	for (uint32_t i = 0; i < count && !h->block_lo; i++) {
		uint32_t lo = (first + (start + i) % count) * n->rules.block;
		if (!block_taken(n, lo))
			h->block_lo = (uint16_t)lo;
	}
	return h->block_lo != 0;
}

static uint16_t step_on(const struct sim_nat_rules *r, uint16_t port)
{
	int span = r->port_hi - r->port_lo + 1, at = (port - r->port_lo + r->step) % span;

	return (uint16_t)(r->port_lo + (at < 0 ? at + span : at));
}

/* Where this host's ports come from. False when there is no block left for it. */
static bool range_of(struct sim_nat *n, struct sim_nat_host *h, uint32_t *lo, uint32_t *count)
{
	*lo = n->rules.port_lo;
	*count = n->rules.port_hi - n->rules.port_lo + 1u;
	if (!n->rules.block)
		return true;
	if (!h->block_lo && !give_block(n, h))
		return false;
	*lo = h->block_lo;
	*count = n->rules.block;
	return true;
}

static bool is_free(struct sim_nat *n, const struct addr *outer, const struct addr *remote, uint64_t now_ms)
{
	return !sim_mapping_at(n, outer, now_ms) && !sim_flow_by_outer(n, outer, remote, now_ms);
}

static bool choose_sequential(struct sim_nat *n, struct sim_nat_host *h, const struct addr *remote,
			      uint64_t now_ms, struct addr *outer)
{
	uint16_t *next = n->rules.step_per_host ? &h->next_port : &n->next_port, first = *next;

	do {
		outer->port = *next;
		*next = step_on(&n->rules, *next);
		if (is_free(n, outer, remote, now_ms))
			return true;
	} while (*next != first);
	return false;
}

/* At random, and when that often meets what is taken, the next that is free. */
static bool choose_random(struct sim_nat *n, struct sim_nat_host *h, const struct addr *remote,
			  uint64_t now_ms, struct addr *outer)
{
	uint32_t lo, count, at = 0;

	if (!range_of(n, h, &lo, &count))
		return false;
	for (uint32_t i = 0; i < count + RANDOM_TRIES; i++) {
		at = i < RANDOM_TRIES ? rng_below(n->rng, count) : (at + 1) % count;
		outer->port = (uint16_t)(lo + at);
		if (is_free(n, outer, remote, now_ms))
			return true;
	}
	return false;
}

static struct addr ip_for(struct sim_nat *n, const struct sim_nat_host *h)
{
	unsigned i = h->ip_index;

	if (n->more_ip_count && n->rules.pool_arbitrary)
		i = rng_below(n->rng, n->more_ip_count + 1);
	return i ? n->more_ips[i - 1] : n->public_ip;
}

static bool choose(struct sim_nat *n, const struct addr *inner, const struct addr *remote, uint64_t now_ms,
		   struct addr *outer)
{
	struct sim_nat_host *h = host_of(n, inner);

	*outer = *inner;
	if (n->rules.ports == SIM_PORTS_UNTRANSLATED)
		return true;
	*outer = ip_for(n, h);
	outer->port = inner->port;
	if (n->rules.ports == SIM_PORTS_PRESERVED && is_free(n, outer, remote, now_ms))
		return true;
	if (n->rules.ports == SIM_PORTS_SEQUENTIAL)
		return choose_sequential(n, h, remote, now_ms, outer);
	return choose_random(n, h, remote, now_ms, outer);
}

/* ---- a full table */

static void sweep(struct sim_nat *n, uint64_t now_ms)
{
	for (size_t i = n->flow_count; i--;)
		if (i < n->flow_count && !sim_flow_live(n, n->flows[i], now_ms))
			sim_flow_drop(n, n->flows[i]);
	n->sweep_at = n->flow_count * 2 > SWEEP_AT_LEAST ? n->flow_count * 2 : SWEEP_AT_LEAST;
}

/* Linux's early_drop looks at a few hash buckets; here any flow without reply is as likely. */
static bool evict(struct sim_nat *n)
{
	size_t start = rng_below(n->rng, (uint32_t)n->flow_count);

	for (size_t i = 0; i < n->flow_count; i++) {
		struct sim_flow *f = n->flows[(start + i) % n->flow_count];
		if (f->held || (f->out && f->in))
			continue;
		n->evicted++;
		n->foreign_lost += f->inner.scope == FOREIGN_SCOPE;
		sim_flow_drop(n, f);
		return true;
	}
	return false;
}

static bool make_room(struct sim_nat *n, uint64_t now_ms)
{
	bool full = n->rules.limit && n->flow_count >= n->rules.limit;

	if (full || n->flow_count >= n->sweep_at)
		sweep(n, now_ms);
	if (!n->rules.limit || n->flow_count < n->rules.limit || (n->rules.evict && evict(n)))
		return true;
	n->lost++;
	return false;
}

/* ---- flows from inside */

static bool clashes(struct sim_nat *n, const struct sim_mapping *m, const struct addr *inner,
		    const struct addr *remote, uint64_t now_ms)
{
	struct addr outer = n->public_ip;

	if (!m && n->rules.ports != SIM_PORTS_PRESERVED)
		return false;
	outer.port = inner->port;
	const struct sim_flow *f = sim_flow_by_outer(n, m ? &m->outer : &outer, remote, now_ms);
	return f && (m || !f->mapping);
}

static struct sim_mapping *mapping_for(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				       uint64_t now_ms)
{
	struct sim_mapping *m = sim_mapping_of(n, inner, remote, now_ms);
	bool moved = clashes(n, m, inner, remote, now_ms);
	struct addr outer;

	if (m && !moved)
		return m;
	if (choose(n, inner, remote, now_ms, &outer))
		return sim_mapping_new(n, inner, remote, &outer, moved);
	n->lost++;
	return NULL;
}

static struct sim_flow *open_flow(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				  uint64_t now_ms)
{
	struct sim_mapping *m = make_room(n, now_ms) ? mapping_for(n, inner, remote, now_ms) : NULL;

	return m ? sim_flow_new(n, m, &m->outer, remote, now_ms) : NULL;
}

/* ---- what others inside do */

static struct sim_flow *open_foreign(struct sim_nat *n, uint64_t now_ms)
{
	struct addr remote = addr_from_ip(ADDR_V4, (uint8_t[]) { 192, 0, 2, 53 }, 53);
	struct addr inner = addr_from_ip(ADDR_V4, (uint8_t[]) { 192, 168, 1, 250 }, 0);
	struct sim_flow *f;

	if (n->host_count)
		inner = n->hosts[rng_below(n->rng, (uint32_t)n->host_count)].ip;
	/* Not one of the host's own sockets, whatever its port. */
	inner.scope = FOREIGN_SCOPE;
	inner.port = (uint16_t)(1024 + n->foreign_port++ % 64512);
	f = sim_flow_by_inner(n, &inner, &remote, now_ms);
	if (f)
		return f;
	f = open_flow(n, &inner, &remote, now_ms);
	n->foreign_opened++;
	n->foreign_lost += !f;
	if (f)
		f->out = true;
	return f;
}

/* Exponentially distributed with mean 1, by comparing uniform numbers only (von Neumann 1951): the length of a
 * falling run tells whether its first number is taken. */
static double exponential(struct sim_nat *n)
{
	for (unsigned whole = 0;; whole++) {
		uint32_t first = rng_u32(n->rng), last = first, next;
		unsigned run = 1;
		for (; (next = rng_u32(n->rng)) < last; last = next)
			run++;
		if (run % 2)
			return whole + first / 4294967296.0;
	}
}

static void run_foreign(struct sim_nat *n, uint64_t now_ms)
{
	double mean_ms = n->rules.foreign_per_s > 0 ? 1000 / n->rules.foreign_per_s : 0;

	if (mean_ms <= 0)
		return;
	if (n->foreign_at_ms <= 0)
		n->foreign_at_ms = (double)now_ms + mean_ms * exponential(n);
	for (; n->foreign_at_ms <= (double)now_ms; n->foreign_at_ms += mean_ms * exponential(n))
		open_foreign(n, (uint64_t)n->foreign_at_ms);
}

void sim_nat_hold(struct sim_nat *n, unsigned count, uint64_t now_ms)
{
	while (count--) {
		struct sim_flow *f = open_foreign(n, now_ms);
		if (f)
			sim_flow_hold(n, f);
	}
}

/* ---- packets */

bool sim_nat_out(struct sim_nat *n, const struct addr *inner, const struct addr *remote, uint64_t now_ms,
		 struct addr *outer)
{
	struct sim_flow *f;

	if (n->rules.blocked)
		return false;
	run_foreign(n, now_ms);
	f = sim_flow_by_inner(n, inner, remote, now_ms);
	if (!f)
		f = open_flow(n, inner, remote, now_ms);
	if (!f)
		return false;
	f->out = true;
	sim_flow_touch(n, f, now_ms);
	*outer = f->outer;
	return true;
}

static bool admits(struct sim_nat *n, const struct sim_mapping *m, const struct addr *remote, uint64_t now_ms)
{
	if (n->rules.filtering == SIM_ENDPOINT_INDEPENDENT)
		return true;
	if (n->rules.filtering == SIM_ADDRESS_AND_PORT_DEPENDENT)
		return false; /* it has no flow */
	for (const struct sim_flow *f = m->flows; f; f = f->next)
		if (f->out && addr_same_ip(&f->remote, remote) && sim_flow_live(n, f, now_ms))
			return true;
	return false;
}

/* A packet that belongs to no flow: the mapping whose filter lets it in, or NULL. */
static struct sim_mapping *admit(struct sim_nat *n, const struct addr *outer, const struct addr *remote,
				 uint64_t now_ms)
{
	struct sim_mapping *m = sim_mapping_at(n, outer, now_ms);

	if (m && admits(n, m, remote, now_ms))
		return m;
	if (n->rules.clash && make_room(n, now_ms))
		sim_flow_new(n, NULL, outer, remote, now_ms);
	return NULL;
}

/* Making room may cost the mapping itself. */
static struct sim_flow *track(struct sim_nat *n, const struct addr *outer, const struct addr *remote,
			      uint64_t now_ms)
{
	struct sim_mapping *m = make_room(n, now_ms) ? sim_mapping_at(n, outer, now_ms) : NULL;

	return m ? sim_flow_new(n, m, outer, remote, now_ms) : NULL;
}

bool sim_nat_in(struct sim_nat *n, const struct addr *outer, const struct addr *remote, uint64_t now_ms,
		struct addr *inner)
{
	struct sim_flow *f;
	struct sim_mapping *m;

	if (n->rules.blocked)
		return false;
	run_foreign(n, now_ms);
	f = sim_flow_by_outer(n, outer, remote, now_ms);
	m = f ? f->mapping : admit(n, outer, remote, now_ms);
	if (f && (!m || n->rules.inbound_refreshes))
		sim_flow_touch(n, f, now_ms);
	if (!m)
		return false;
	*inner = m->inner;
	if (!f && n->rules.inbound_refreshes) {
		f = track(n, outer, remote, now_ms);
		if (!f)
			return false;
	}
	if (f)
		sim_flow_replied(n, f);
	return true;
}

/* ---- life */

bool sim_nat_owns(const struct sim_nat *n, const struct addr *ip)
{
	for (unsigned i = 0; i < n->more_ip_count; i++)
		if (addr_same_ip(&n->more_ips[i], ip))
			return true;
	return addr_same_ip(&n->public_ip, ip);
}

size_t sim_nat_live(struct sim_nat *n, uint64_t now_ms)
{
	sweep(n, now_ms);
	return n->flow_count;
}

void sim_nat_flush(struct sim_nat *n)
{
	while (n->flow_count)
		sim_flow_drop(n, n->flows[n->flow_count - 1]);
}

void sim_nat_readdress(struct sim_nat *n, const struct addr *public_ip)
{
	sim_nat_flush(n);
	n->public_ip = *public_ip;
	n->public_ip.port = 0;
}

void sim_nat_init(struct sim_nat *n, enum sim_nat_kind kind, const struct addr *public_ip, struct rng *rng)
{
	*n = (struct sim_nat) { .kind = kind, .rules = sim_nat_preset(kind), .rng = rng };
	n->public_ip = *public_ip;
	n->public_ip.port = 0;
	n->sweep_at = SWEEP_AT_LEAST;
	n->next_port = (uint16_t)(1024 + rng_below(rng, 64512));
	sim_nat_table_init(n);
}

void sim_nat_free(struct sim_nat *n)
{
	sim_nat_flush(n);
	sim_nat_table_free(n);
}
