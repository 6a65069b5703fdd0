#include "apps/p2pd/forward/door_limit.h"

#include <string.h>

enum { SOURCE_KEY = 9, NET6 = 8, SWEEP_MS = 1000, SWEPT_MAX = 256 };

struct source {
	uint8_t key[SOURCE_KEY];
	struct bucket knocks, wrong;
	uint64_t told_ms;
};

void door_limit_init(struct door_limit *l, struct rng *rng)
{
	memset(l, 0, sizeof *l);
	map_init(&l->sources, SOURCE_KEY, sizeof(struct source), rng);
}

void door_limit_free(struct door_limit *l)
{
	map_clear(&l->sources);
}

static void key_of(uint8_t key[static SOURCE_KEY], const struct addr *who)
{
	memset(key, 0, SOURCE_KEY);
	key[0] = who->family;
	memcpy(key + 1, who->ip, who->family == ADDR_V4 ? 4 : NET6);
}

/* The bucket gives one a second; of wrong tokens fewer, so its seconds are longer. */
static uint64_t slow_ms(uint64_t now_ms)
{
	return now_ms / DOOR_WRONG_EVERY_S;
}

static bool is_idle(const struct source *s, uint64_t now_ms)
{
	struct bucket knocks = s->knocks, wrong = s->wrong;

	bucket_charge(&knocks, DOOR_KNOCKS_PER_S, 0, now_ms);
	bucket_charge(&wrong, 1, 0, slow_ms(now_ms));
	return knocks.spent == 0 && wrong.spent == 0;
}

/* Forgets who has been quiet. Some at a time, once in a while: this is done at the pace of a flood. */
static void sweep(struct door_limit *l, uint64_t now_ms)
{
	uint8_t idle[SWEPT_MAX][SOURCE_KEY];
	size_t count = 0;

	if (now_ms < l->swept_ms + SWEEP_MS && l->swept_ms)
		return;
	l->swept_ms = now_ms;
	for (struct source *s = map_walk(&l->sources, NULL); s && count < SWEPT_MAX;
	     s = map_walk(&l->sources, s))
		if (is_idle(s, now_ms))
			memcpy(idle[count++], s->key, SOURCE_KEY);
	for (size_t i = 0; i < count; i++)
		map_remove(&l->sources, idle[i]);
}

/* NULL without memory. */
static struct source *find(struct door_limit *l, const struct addr *who, uint64_t now_ms)
{
	static const uint8_t others[SOURCE_KEY];
	struct source fresh = { 0 };
	uint8_t *key = fresh.key;

	key_of(key, who);
	struct source *s = map_find(&l->sources, key);
	if (s)
		return s;
	if (l->sources.count >= DOOR_SOURCES_MAX)
		sweep(l, now_ms);
	if (l->sources.count >= DOOR_SOURCES_MAX) {
		memcpy(key, others, sizeof others);
		s = map_find(&l->sources, key);
	}
	if (!s && map_put(&l->sources, key, &fresh) == 0)
		s = map_find(&l->sources, key);
	return s;
}

bool door_limit_knock(struct door_limit *l, const struct addr *who, uint64_t now_ms, bool *tell)
{
	struct source *s = find(l, who, now_ms);

	*tell = false;
	if (!s)
		return false;
	if (bucket_has(&s->wrong, 1, DOOR_WRONG_BURST, slow_ms(now_ms)) &&
	    bucket_take(&s->knocks, DOOR_KNOCKS_PER_S, DOOR_KNOCKS_BURST, now_ms) &&
	    bucket_take(&l->all, DOOR_ALL_PER_S, DOOR_ALL_BURST, now_ms))
		return true;
	*tell = s->told_ms == 0 || now_ms >= s->told_ms + DOOR_TELL_MS;
	if (*tell)
		s->told_ms = now_ms;
	return false;
}

void door_limit_wrong(struct door_limit *l, const struct addr *who, uint64_t now_ms)
{
	struct source *s = find(l, who, now_ms);

	if (s)
		bucket_take(&s->wrong, 1, DOOR_WRONG_BURST, slow_ms(now_ms));
}
