#include "core/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

/* An entry is its hash (0: empty), padding, the value, the key. */
enum { MAP_FIRST_CAP = 16, MAP_HEAD = 16 };

static uint8_t *entry_at(const struct map *m, size_t i)
{
	return m->entries + i * m->stride;
}

static uint64_t entry_hash(const uint8_t *entry)
{
	return load_le64(entry);
}

static uint8_t *entry_key(const struct map *m, uint8_t *entry)
{
	return entry + m->stride - (m->key_len + 15) / 16 * 16;
}

static uint64_t hash_of(const struct map *m, const void *key)
{
	uint8_t h[16];

	crypto_blake2s(h, sizeof h, m->seed, sizeof m->seed, &(struct part) { key, m->key_len }, 1);
	return load_le64(h) | 1;
}

/* Where `hash` wants to be: above the bit that is always set. */
static size_t home(const struct map *m, uint64_t hash)
{
	return (size_t)(hash >> 1) & (m->cap - 1);
}

void map_init(struct map *m, size_t key_len, size_t value_len, struct rng *rng)
{
	*m = (struct map) { .key_len = key_len, .value_len = value_len };
	m->stride = MAP_HEAD + (value_len + 15) / 16 * 16 + (key_len + 15) / 16 * 16;
	rng_fill(rng, m->seed, sizeof m->seed);
}

void map_clear(struct map *m)
{
	free(m->entries);
	m->entries = NULL;
	m->cap = m->count = 0;
}

/* The entry with this key, or the empty one where it would go. The map is never full. */
static uint8_t *probe(const struct map *m, const void *key, uint64_t hash)
{
	for (size_t i = home(m, hash);; i = (i + 1) & (m->cap - 1)) {
		uint8_t *e = entry_at(m, i);
		if (!entry_hash(e))
			return e;
		if (entry_hash(e) == hash && memcmp(entry_key(m, e), key, m->key_len) == 0)
			return e;
	}
}

static int grow(struct map *m)
{
	struct map bigger = *m;

	bigger.cap = m->cap ? m->cap * 2 : MAP_FIRST_CAP;
	bigger.entries = calloc(bigger.cap, m->stride);
	if (!bigger.entries)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		uint8_t *e = entry_at(m, i);
		if (entry_hash(e))
			memcpy(probe(&bigger, entry_key(m, e), entry_hash(e)), e, m->stride);
	}
	free(m->entries);
	*m = bigger;
	return 0;
}

void *map_find(const struct map *m, const void *key)
{
	if (!m->count)
		return NULL;
	uint8_t *e = probe(m, key, hash_of(m, key));
	return entry_hash(e) ? e + MAP_HEAD : NULL;
}

int map_put(struct map *m, const void *key, const void *value)
{
	uint64_t hash = hash_of(m, key);

	if (m->count >= m->cap / 4 * 3 && grow(m))
		return -ENOMEM;
	uint8_t *e = probe(m, key, hash);
	if (!entry_hash(e)) {
		m->count++;
		store_le64(e, hash);
		memcpy(entry_key(m, e), key, m->key_len);
	}
	memcpy(e + MAP_HEAD, value, m->value_len);
	return 0;
}

/* Backward-shift deletion: later entries of the run move up, so that no tombstones are needed. */
static void close_gap(struct map *m, size_t gap)
{
	for (size_t i = (gap + 1) & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		uint8_t *e = entry_at(m, i);
		if (!entry_hash(e))
			break;
		size_t from_home = (i - home(m, entry_hash(e))) & (m->cap - 1);
		if (from_home >= ((i - gap) & (m->cap - 1))) {
			memcpy(entry_at(m, gap), e, m->stride);
			gap = i;
		}
	}
	memset(entry_at(m, gap), 0, m->stride);
}

bool map_remove(struct map *m, const void *key)
{
	if (!m->count)
		return false;
	uint8_t *e = probe(m, key, hash_of(m, key));
	if (!entry_hash(e))
		return false;
	close_gap(m, (size_t)(e - m->entries) / m->stride);
	m->count--;
	return true;
}

void *map_walk(const struct map *m, const void *previous)
{
	size_t i = previous ? (size_t)((const uint8_t *)previous - m->entries) / m->stride + 1 : 0;

	for (; i < m->cap; i++)
		if (entry_hash(entry_at(m, i)))
			return entry_at(m, i) + MAP_HEAD;
	return NULL;
}
