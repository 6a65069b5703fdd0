#include "tests/sim/sim_nat_table.h"

#include <assert.h>
#include <stdlib.h>

struct pair {
	struct addr a, b;
};

void sim_nat_table_init(struct sim_nat *n)
{
	map_init(&n->by_inner, sizeof(struct pair), sizeof(void *), n->rng);
	map_init(&n->by_outer, sizeof(struct pair), sizeof(void *), n->rng);
	map_init(&n->mappings, sizeof(struct pair), sizeof(void *), n->rng);
	map_init(&n->ports, sizeof(struct addr), sizeof(void *), n->rng);
}

void sim_nat_table_free(struct sim_nat *n)
{
	map_clear(&n->by_inner);
	map_clear(&n->by_outer);
	map_clear(&n->mappings);
	map_clear(&n->ports);
	free(n->flows);
	n->flows = NULL;
	n->flow_cap = 0;
}

static void put(struct map *m, const void *key, void *value)
{
	int ret = map_put(m, key, &value);

	assert(ret == 0);
}

static void *find(const struct map *m, const void *key)
{
	void **value = map_find(m, key);

	return value ? *value : NULL;
}

/* ---- mappings */

static struct pair mapping_key(const struct sim_nat *n, const struct addr *inner, const struct addr *remote)
{
	struct pair key = { .a = *inner };

	if (n->rules.mapping != SIM_ENDPOINT_INDEPENDENT)
		key.b = *remote;
	if (n->rules.mapping == SIM_ADDRESS_DEPENDENT)
		key.b.port = 0;
	return key;
}

static void drop_mapping(struct sim_nat *n, struct sim_mapping *m)
{
	if (!m->moved)
		map_remove(&n->mappings, &(struct pair) { m->inner, m->remote });
	map_remove(&n->ports, &m->outer);
	free(m);
}

static struct sim_mapping *alive(struct sim_nat *n, struct sim_mapping *m, uint64_t now_ms)
{
	if (!m || m->expires_ms > now_ms)
		return m;
	while (m->flows->next)
		sim_flow_drop(n, m->flows->next);
	sim_flow_drop(n, m->flows);
	return NULL;
}

struct sim_mapping *sim_mapping_of(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				   uint64_t now_ms)
{
	struct pair key = mapping_key(n, inner, remote);

	return alive(n, find(&n->mappings, &key), now_ms);
}

struct sim_mapping *sim_mapping_at(struct sim_nat *n, const struct addr *outer, uint64_t now_ms)
{
	return alive(n, find(&n->ports, outer), now_ms);
}

struct sim_mapping *sim_mapping_new(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				    const struct addr *outer, bool moved)
{
	struct pair key = mapping_key(n, inner, remote);
	struct sim_mapping *m = malloc(sizeof *m);

	assert(m);
	*m = (struct sim_mapping) { .inner = key.a, .remote = key.b, .outer = *outer, .moved = moved };
	put(&n->ports, outer, m);
	if (!moved)
		put(&n->mappings, &key, m);
	return m;
}

/* ---- flows */

static uint64_t expiry(const struct sim_nat *n, const struct sim_flow *f)
{
	if (f->held)
		return UINT64_MAX;
	return f->used_ms + (f->out && f->in ? n->rules.replied_ms : n->rules.unreplied_ms);
}

bool sim_flow_live(const struct sim_nat *n, const struct sim_flow *f, uint64_t now_ms)
{
	return expiry(n, f) > now_ms;
}

static struct sim_flow *live_flow(struct sim_nat *n, struct sim_flow *f, uint64_t now_ms)
{
	if (!f || sim_flow_live(n, f, now_ms))
		return f;
	sim_flow_drop(n, f);
	return NULL;
}

struct sim_flow *sim_flow_by_inner(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				   uint64_t now_ms)
{
	return live_flow(n, find(&n->by_inner, &(struct pair) { *inner, *remote }), now_ms);
}

struct sim_flow *sim_flow_by_outer(struct sim_nat *n, const struct addr *outer, const struct addr *remote,
				   uint64_t now_ms)
{
	return live_flow(n, find(&n->by_outer, &(struct pair) { *outer, *remote }), now_ms);
}

static void keep_mapping(const struct sim_nat *n, const struct sim_flow *f)
{
	if (f->mapping && expiry(n, f) > f->mapping->expires_ms)
		f->mapping->expires_ms = expiry(n, f);
}

void sim_flow_touch(struct sim_nat *n, struct sim_flow *f, uint64_t now_ms)
{
	f->used_ms = now_ms;
	keep_mapping(n, f);
}

void sim_flow_replied(struct sim_nat *n, struct sim_flow *f)
{
	f->in = true;
	keep_mapping(n, f);
}

void sim_flow_hold(struct sim_nat *n, struct sim_flow *f)
{
	f->held = true;
	keep_mapping(n, f);
}

static void link_flow(struct sim_nat *n, struct sim_flow *f)
{
	struct sim_mapping *m = f->mapping;

	f->next = m->flows;
	if (m->flows)
		m->flows->previous = f;
	m->flows = f;
	put(&n->by_inner, &(struct pair) { f->inner, f->remote }, f);
}

struct sim_flow *sim_flow_new(struct sim_nat *n, struct sim_mapping *m, const struct addr *outer,
			      const struct addr *remote, uint64_t now_ms)
{
	struct sim_flow *f = malloc(sizeof *f);

	if (n->flow_count == n->flow_cap) {
		n->flow_cap = n->flow_cap ? n->flow_cap * 2 : 64;
		n->flows = realloc(n->flows, n->flow_cap * sizeof(struct sim_flow *));
	}
	assert(f && n->flows);
	*f = (struct sim_flow) { .remote = *remote, .outer = *outer, .mapping = m, .index = n->flow_count };
	n->flows[n->flow_count++] = f;
	if (n->flow_count > n->peak)
		n->peak = n->flow_count;
	n->opened++;
	put(&n->by_outer, &(struct pair) { *outer, *remote }, f);
	if (m) {
		f->inner = m->inner;
		link_flow(n, f);
	}
	sim_flow_touch(n, f, now_ms);
	return f;
}

static void unlink_flow(struct sim_nat *n, struct sim_flow *f)
{
	struct sim_mapping *m = f->mapping;

	map_remove(&n->by_inner, &(struct pair) { f->inner, f->remote });
	if (f->next)
		f->next->previous = f->previous;
	if (f->previous)
		f->previous->next = f->next;
	else
		m->flows = f->next;
	if (!m->flows)
		drop_mapping(n, m);
}

void sim_flow_drop(struct sim_nat *n, struct sim_flow *f)
{
	n->flows[f->index] = n->flows[--n->flow_count];
	n->flows[f->index]->index = f->index;
	map_remove(&n->by_outer, &(struct pair) { f->outer, f->remote });
	if (f->mapping)
		unlink_flow(n, f);
	free(f);
}
