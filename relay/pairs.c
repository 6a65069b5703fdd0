#include "relay/pairs.h"

void pairs_init(struct pairs *p, uint32_t gap_ms, struct rng *rng)
{
	*p = (struct pairs) { .gap_ms = gap_ms };
	map_init(&p->now, 2 * sizeof(void *), sizeof(uint64_t), rng);
	map_init(&p->before, 2 * sizeof(void *), sizeof(uint64_t), rng);
}

void pairs_free(struct pairs *p)
{
	map_clear(&p->now);
	map_clear(&p->before);
}

static void turn(struct pairs *p, uint64_t now_ms)
{
	struct map before = p->before;

	if (now_ms - p->since_ms < p->gap_ms && p->now.count < PAIRS_MAX)
		return;
	map_clear(&before);
	p->before = p->now;
	p->now = before;
	p->since_ms = now_ms;
}

bool pairs_take(struct pairs *p, const void *a, const void *b, uint64_t now_ms)
{
	const void *key[2] = { a < b ? a : b, a < b ? b : a };

	turn(p, now_ms);
	const uint64_t *at = map_find(&p->now, key);
	if (!at)
		at = map_find(&p->before, key);
	if (at && now_ms - *at < p->gap_ms)
		return false;
	return map_put(&p->now, key, &now_ms) == 0;
}
