/* A token bucket: `per_s` a second, `burst` at once. Zeroed memory is a full bucket. Pure. */
#ifndef P2PD_CORE_BUCKET_H
#define P2PD_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	uint64_t at_ms;
	uint64_t spent; /* thousandths of a token that are still missing at at_ms */
};

/* Takes `count` that cannot be refused, be it that the bucket is in debt then. */
static inline void bucket_charge(struct bucket *b, uint32_t per_s, uint32_t count, uint64_t now_ms)
{
	uint64_t idle = now_ms - b->at_ms;

	b->spent = idle >= b->spent / per_s + 1 ? 0 : b->spent - idle * per_s;
	b->at_ms = now_ms;
	b->spent += count * 1000ULL;
}

/* Takes one token; false when there is none. `now_ms` never goes back. */
static inline bool bucket_take(struct bucket *b, uint32_t per_s, uint32_t burst, uint64_t now_ms)
{
	bucket_charge(b, per_s, 0, now_ms);
	if (b->spent + 1000 > (uint64_t)burst * 1000)
		return false;
	b->spent += 1000;
	return true;
}

/* Whether one could be taken. */
static inline bool bucket_has(const struct bucket *b, uint32_t per_s, uint32_t burst, uint64_t now_ms)
{
	struct bucket copy = *b;

	return bucket_take(&copy, per_s, burst, now_ms);
}

#endif
