#include "apps/p2pd/forward/forward_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/crypto.h"

/* ---- Lists */

int forward_list_add(struct forward_list *l, const struct forward_entry *e)
{
	enum { FIRST = 16 };

	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : FIRST;
		struct forward_entry *items = realloc(l->items, cap * sizeof *items);
		if (!items)
			return -ENOMEM;
		l->items = items;
		l->cap = cap;
	}
	l->items[l->count++] = *e;
	return 0;
}

void forward_list_clear(struct forward_list *l)
{
	l->count = 0;
}

void forward_list_free(struct forward_list *l)
{
	if (l->items) /* secrets of leases are in it */
		crypto_wipe(l->items, l->cap * sizeof *l->items);
	free(l->items);
	*l = (struct forward_list) { 0 };
}

/* ---- Who may come */

static void allow(struct forward_entry *e, const struct addr *prefix, uint8_t bits)
{
	struct forward_prefix *p = &e->allow[e->allow_count];

	if (e->allow_count == FORWARD_PREFIXES_MAX)
		return;
	*p = (struct forward_prefix) { .prefix = *prefix, .bits = bits };
	p->prefix.port = 0;
	e->allow_count++;
}

/* By its allow-list, if it has one. */
static bool may_come(const struct rule *r, const struct addr *a)
{
	bool in = !rule_restricted(r);

	for (unsigned i = 0; i < r->allow_count && !in; i++)
		in = addr_in_prefix(a, &r->allow[i].prefix, r->allow[i].bits);
	return in;
}

/* Members of `to` are let in by their addresses, those of them that the allow-list has. */
static void allow_members(struct forward_entry *e, const struct rule *r, const struct forward_plan *p)
{
	for (unsigned i = 0; i < p->member_count; i++) {
		const struct forward_node *m = &p->members[i];
		if (m->ip4.family && may_come(r, &m->ip4))
			allow(e, &m->ip4, 32);
		if (m->ip6.family && may_come(r, &m->ip6))
			allow(e, &m->ip6, 128);
	}
}

static void allow_prefixes(struct forward_entry *e, const struct forward_prefix *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		allow(e, &list[i].prefix, list[i].bits);
}

/* Both families in each entry: those of an id share one list. */
static void set_allow(struct forward_entry *e, const struct rule *r, const struct forward_plan *p)
{
	e->restricted = r->scope == RULE_NODES || rule_restricted(r);
	if (r->scope == RULE_NODES) {
		allow_members(e, r, p);
		return;
	}
	allow_prefixes(e, r->allow, r->allow_count);
	if (r->allow_token)
		allow_prefixes(e, p->admitted, p->admitted_count);
}

/* ---- Entries */

unsigned forward_plan_ports(const struct rule *r)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < r->range_count; i++)
		sum += r->ranges[i].count;
	return sum;
}

bool forward_plan_wants_kernel(const struct rule *r)
{
	return r->source_ip == RULE_KERNEL;
}

/* Where what comes out of the tunnel arrives. */
static uint16_t arrival_port(const struct rule *r, const struct forward_plan *p, unsigned range)
{
	uint16_t port = p->tunnel;

	if (r->scope != RULE_PUBLIC)
		return rule_public_port(r, range);
	for (unsigned i = 0; i < range; i++)
		port = (uint16_t)(port + r->ranges[i].count);
	return port;
}

static bool by_kernel(const struct rule *r, const struct forward_plan *p, enum addr_family family)
{
	return p->kernel && forward_plan_wants_kernel(r) && family == r->local.family;
}

static void common(struct forward_entry *e, const struct rule *r)
{
	memcpy(e->id, r->id, FORWARD_ID);
	e->side = FORWARD_OWNER;
	e->paused = r->paused;
	e->max_conn = r->max_conn;
	e->idle_s = r->idle_s;
	e->rate = r->rate;
}

static int add_entry(const struct rule *r, const struct forward_plan *p, const struct addr *own,
		     enum forward_proto proto, unsigned range, struct forward_list *list)
{
	struct forward_entry e;

	memset(&e, 0, sizeof e); /* padding, too: lists are compared as bytes */
	common(&e, r);
	e.proto = proto;
	e.listen = *own;
	e.listen.port = arrival_port(r, p, range);
	e.target = r->local;
	e.target.port = r->ranges[range].first;
	e.count = r->ranges[range].count;
	if (r->scope == RULE_PUBLIC) {
		e.gateway4 = p->gateway.ip4;
		e.gateway6 = p->gateway.ip6;
		e.header_in = !by_kernel(r, p, own->family);
		if (e.header_in)
			memcpy(e.secret, p->secret, sizeof e.secret);
	}
	e.header_out = r->source_ip == RULE_PROXY_V2;
	set_allow(&e, r, p);
	return forward_list_add(list, &e);
}

static int add_address(const struct rule *r, const struct forward_plan *p, const struct addr *own,
		       struct forward_list *list)
{
	int ret = 0;

	for (unsigned i = 0; own->family && i < r->range_count && !ret; i++) {
		if (r->tcp)
			ret = add_entry(r, p, own, FORWARD_TCP, i, list);
		if (r->udp && !ret)
			ret = add_entry(r, p, own, FORWARD_UDP, i, list);
	}
	return ret;
}

int forward_plan_entries(const struct rule *r, const struct forward_plan *p, struct forward_list *kernel,
			 struct forward_list *user)
{
	int ret = add_address(r, p, &p->ip4, by_kernel(r, p, ADDR_V4) ? kernel : user);

	return ret ? ret : add_address(r, p, &p->ip6, by_kernel(r, p, ADDR_V6) ? kernel : user);
}

/* ---- Passes and leases */

static unsigned add_pass(const struct rule *r, const struct forward_plan *p, enum forward_proto proto,
			 struct pass_entry *out)
{
	for (unsigned i = 0; i < r->range_count; i++) {
		out[i] = (struct pass_entry) {
			.side = FORWARD_OWNER,
			.proto = proto,
			.first = arrival_port(r, p, i),
			.count = r->ranges[i].count,
		};
		memcpy(out[i].peer, p->gateway.ik, sizeof out[i].peer);
	}
	return r->range_count;
}

unsigned forward_plan_passes(const struct rule *r, const struct forward_plan *p,
			     struct pass_entry out[static RULE_RANGES_MAX * 2])
{
	unsigned count = 0;

	if (r->scope != RULE_PUBLIC || !by_kernel(r, p, r->local.family))
		return 0;
	if (r->tcp)
		count += add_pass(r, p, FORWARD_TCP, out);
	if (r->udp)
		count += add_pass(r, p, FORWARD_UDP, out + count);
	return count;
}

static void add_allow(struct lease_request *out, const struct forward_prefix *list, unsigned count)
{
	for (unsigned i = 0; i < count && out->allow_count < FORWARD_PREFIXES_MAX; i++)
		out->allow[out->allow_count++] = list[i];
}

void forward_plan_lease(const struct rule *r, const struct forward_plan *p, struct lease_request *out)
{
	*out = (struct lease_request) {
		.tcp = r->tcp,
		.udp = r->udp,
		.range_count = r->range_count,
		.restricted = rule_restricted(r),
		.max_conn = r->max_conn,
		.idle_s = r->idle_s,
		.rate = r->rate,
		.expires_at = r->expires_at,
		.paused = r->paused,
		.kernel = by_kernel(r, p, r->local.family),
		.family = r->local.family,
		.tokens = r->allow_token,
	};
	memcpy(out->id, r->id, FORWARD_ID);
	memcpy(out->name, r->name, sizeof out->name);
	memcpy(out->domain, r->domain, sizeof out->domain);
	memcpy(out->secret, p->secret, sizeof out->secret);
	add_allow(out, r->allow, r->allow_count);
	if (r->allow_token)
		add_allow(out, p->admitted, p->admitted_count);
	for (unsigned i = 0; i < r->range_count; i++)
		out->ranges[i] = (struct lease_range) { rule_public_port(r, i), arrival_port(r, p, i),
							r->ranges[i].count };
}

static bool same_ranges(const struct lease_request *a, const struct lease_request *b)
{
	if (a->range_count != b->range_count)
		return false;
	for (unsigned i = 0; i < a->range_count; i++)
		if (a->ranges[i].wanted != b->ranges[i].wanted ||
		    a->ranges[i].tunnel != b->ranges[i].tunnel || a->ranges[i].count != b->ranges[i].count)
			return false;
	return true;
}

static bool same_allow(const struct lease_request *a, const struct lease_request *b)
{
	if (a->restricted != b->restricted || a->allow_count != b->allow_count || a->tokens != b->tokens)
		return false;
	for (unsigned i = 0; i < a->allow_count; i++)
		if (a->allow[i].bits != b->allow[i].bits ||
		    !addr_equal(&a->allow[i].prefix, &b->allow[i].prefix))
			return false;
	return true;
}

static bool same_limits(const struct lease_request *a, const struct lease_request *b)
{
	return a->max_conn == b->max_conn && a->idle_s == b->idle_s && a->rate == b->rate &&
	       a->expires_at == b->expires_at && a->paused == b->paused;
}

bool forward_plan_same_lease(const struct lease_request *a, const struct lease_request *b)
{
	return !memcmp(a->id, b->id, FORWARD_ID) && !strcmp(a->name, b->name) &&
	       !strcmp(a->domain, b->domain) && crypto_equal(a->secret, b->secret, sizeof a->secret) &&
	       a->tcp == b->tcp && a->udp == b->udp && a->kernel == b->kernel && a->family == b->family &&
	       same_ranges(a, b) && same_allow(a, b) && same_limits(a, b);
}
