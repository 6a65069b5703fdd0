/* Entries with ids that carry a generation, so that an old id does not name a new owner. Flat, grows on the heap up to a
 * limit, never shrinks; entries move when it grows. */
#ifndef P2PD_RELAY_RELAY_POOL_H
#define P2PD_RELAY_RELAY_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "core/crypto.h"

enum { RELAY_POOL_MAX = 1 << 20 /* entries, so that 12 bits of an id are left for its generation */ };
#define RELAY_NO_INDEX UINT32_MAX

/* First in every pool entry. */
struct pool_head {
	uint32_t id; /* generation and index; 0: free */
	uint32_t generation;
	uint32_t next_free;
};

struct pool {
	uint8_t *items;
	size_t size;
	uint32_t cap, max, live, free_head;
	unsigned index_bits;
};

void pool_init(struct pool *p, size_t size, size_t max);
struct pool_head *pool_at(const struct pool *p, uint32_t index);
uint32_t pool_index(const struct pool *p, uint32_t id);
/* NULL unless `id` is of a live entry. */
void *pool_find(const struct pool *p, uint32_t id);
/* A new one, zeroed but for its head; NULL when it is full. */
void *pool_take(struct pool *p, struct rng *rng);
void pool_release(struct pool *p, struct pool_head *h);

#endif
