#include "relay/relay_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_FIRST_CAP = 16 };

void pool_init(struct pool *p, size_t size, size_t max)
{
	*p = (struct pool) { .size = size, .free_head = RELAY_NO_INDEX };
	p->max = max < RELAY_POOL_MAX ? (uint32_t)max : RELAY_POOL_MAX;
	p->index_bits = 1;
	while (p->max > UINT32_C(1) << p->index_bits)
		p->index_bits++;
}

struct pool_head *pool_at(const struct pool *p, uint32_t index)
{
	return (struct pool_head *)(void *)(p->items + index * p->size);
}

uint32_t pool_index(const struct pool *p, uint32_t id)
{
	return id & ((UINT32_C(1) << p->index_bits) - 1);
}

void *pool_find(const struct pool *p, uint32_t id)
{
	uint32_t index = pool_index(p, id);

	if (id == 0 || index >= p->cap || pool_at(p, index)->id != id)
		return NULL;
	return pool_at(p, index);
}

/* Generations start at random, so that ids of before a restart rarely name anything after it. */
static int pool_grow(struct pool *p, struct rng *rng)
{
	uint32_t cap = p->cap ? p->cap * 2 : POOL_FIRST_CAP;

	cap = cap < p->max ? cap : p->max;
	if (cap == p->cap)
		return -ENOSPC;
	uint8_t *items = realloc(p->items, cap * p->size);
	if (!items)
		return -ENOMEM;
	p->items = items;
	memset(items + p->cap * p->size, 0, (cap - p->cap) * p->size);
	for (uint32_t i = cap; i-- > p->cap;) {
		pool_at(p, i)->generation = rng_u32(rng);
		pool_at(p, i)->next_free = p->free_head;
		p->free_head = i;
	}
	p->cap = cap;
	return 0;
}

void *pool_take(struct pool *p, struct rng *rng)
{
	if (p->free_head == RELAY_NO_INDEX && pool_grow(p, rng))
		return NULL;
	uint32_t index = p->free_head;
	struct pool_head *h = pool_at(p, index);
	do
		h->id = ++h->generation << p->index_bits;
	while (h->id == 0);
	h->id |= index;
	p->free_head = h->next_free;
	p->live++;
	return h;
}

void pool_release(struct pool *p, struct pool_head *h)
{
	uint32_t index = pool_index(p, h->id), generation = h->generation;

	crypto_wipe(h, p->size);
	*h = (struct pool_head) { .generation = generation, .next_free = p->free_head };
	p->free_head = index;
	p->live--;
}
