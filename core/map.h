/* A hash map from keys of one length to values of one length, both held inside. Open addressing; a random seed and a
 * keyed hash, so that who chooses keys cannot choose collisions. Grows on the heap, never shrinks. */
#ifndef P2PD_CORE_MAP_H
#define P2PD_CORE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/crypto.h"

struct map {
	uint8_t *entries;
	size_t key_len, value_len, stride;
	size_t cap, count; /* cap is 0 or a power of two */
	uint8_t seed[16];
};

/* Takes no memory yet. */
void map_init(struct map *m, size_t key_len, size_t value_len, struct rng *rng);
/* Frees what the map holds; it is empty afterwards and can be used again. */
void map_clear(struct map *m);
/* The value (aligned for any type) or NULL. Valid until the next put or remove. */
void *map_find(const struct map *m, const void *key);
/* Inserts or overwrites. 0 or -ENOMEM, then nothing changed. */
int map_put(struct map *m, const void *key, const void *value);
/* True if it was there. */
bool map_remove(struct map *m, const void *key);
/* Walks all entries: NULL starts, NULL ends. No put or remove meanwhile. Returns the value. */
void *map_walk(const struct map *m, const void *previous);

#endif
