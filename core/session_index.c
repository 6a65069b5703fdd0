#include "core/session_index.h"

#include <errno.h>
#include <stdlib.h>

/* Open addressing with linear probing, at most half full (so there is always room for one more than reserved). The indexes are our own random numbers but for
 * the lowest byte: their other low bits are the hash, and no sender can make them collide. */
struct entry {
	void *owner; /* NULL: free */
	uint32_t index;
};

struct session_index {
	size_t max, reserved;
	uint32_t mask;
	struct entry entries[];
};

struct session_index *session_index_create(size_t max_entries)
{
	size_t slots = 16;

	if (max_entries > UINT32_MAX / 4)
		return NULL;
	while (slots < 2 * max_entries)
		slots *= 2;
	struct session_index *index = calloc(1, sizeof *index + slots * sizeof index->entries[0]);
	if (!index)
		return NULL;
	index->max = max_entries;
	index->mask = (uint32_t)slots - 1;
	return index;
}

void session_index_destroy(struct session_index *index)
{
	free(index);
}

/* Where `local_index` is, or the free slot where it would be. */
static uint32_t slot_of(const struct session_index *index, uint32_t local_index)
{
	uint32_t i = local_index >> 8 & index->mask;

	while (index->entries[i].owner && index->entries[i].index != local_index)
		i = (i + 1) & index->mask;
	return i;
}

void *session_index_find(const struct session_index *index, uint32_t local_index)
{
	return index->entries[slot_of(index, local_index)].owner;
}

int session_index_reserve(struct session_index *index, size_t count)
{
	if (count > index->max - index->reserved)
		return -ENOSPC;
	index->reserved += count;
	return 0;
}

void session_index_release(struct session_index *index, size_t count)
{
	index->reserved -= count;
}

uint32_t session_index_add(struct session_index *index, void *owner, uint8_t low, struct rng *rng)
{
	uint32_t local_index, slot;

	do {
		local_index = rng_u32(rng) << 8 | low;
		slot = slot_of(index, local_index);
	} while (index->entries[slot].owner);
	index->entries[slot] = (struct entry) { owner, local_index };
	return local_index;
}

/* Fills the hole from behind, so that no probe ends at it too early. */
void session_index_remove(struct session_index *index, uint32_t local_index)
{
	struct entry *e = index->entries;
	uint32_t hole = slot_of(index, local_index);

	for (uint32_t i = (hole + 1) & index->mask; e[hole].owner && e[i].owner; i = (i + 1) & index->mask) {
		uint32_t home = e[i].index >> 8 & index->mask;
		if (((i - home) & index->mask) < ((i - hole) & index->mask))
			continue;
		e[hole] = e[i];
		hole = i;
	}
	e[hole] = (struct entry) { 0 };
}
