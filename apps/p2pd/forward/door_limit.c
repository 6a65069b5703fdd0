#include "apps/p2pd/forward/door_limit.h"

#include <string.h>

enum { SOURCE_KEY = 9, NET6 = 8, SITE6 = 6, SITE = 0x80, SWEEP_MS = 1000, SWEPT_MAX = 256 };

struct source {
	uint8_t key[SOURCE_KEY]; /* family, | SITE for a /48, and the address's first bytes */
	struct bucket knocks, comes, wrong;
	uint64_t told_ms;
};

struct pace {
	uint32_t per_s, burst;
};

static const struct {
	struct pace source, net, all;
} knocking = { { DOOR_KNOCKS_PER_S, DOOR_KNOCKS_BURST },
	       { DOOR_NET_PER_S, DOOR_NET_BURST },
	       { DOOR_ALL_PER_S, DOOR_ALL_BURST } },
  coming = { { DOOR_COMES_PER_S, DOOR_COMES_BURST },
	     { DOOR_NET_COMES_PER_S, DOOR_NET_COMES_BURST },
	     { DOOR_ALL_COMES_PER_S, DOOR_ALL_COMES_BURST } };

void door_limit_init(struct door_limit *l, struct rng *rng)
{
	memset(l, 0, sizeof *l);
	map_init(&l->sources, SOURCE_KEY, sizeof(struct source), rng);
}

void door_limit_free(struct door_limit *l)
{
	map_clear(&l->sources);
}

/* Of requests, or of connections. */
static struct bucket *bucket_of(struct source *s, bool knocks)
{
	return knocks ? &s->knocks : &s->comes;
}

static void source_key(uint8_t key[static SOURCE_KEY], const struct addr *who)
{
	memset(key, 0, SOURCE_KEY);
	key[0] = who->family;
	memcpy(key + 1, who->ip, who->family == ADDR_V4 ? 4 : NET6);
}

static void site_key(uint8_t key[static SOURCE_KEY], const struct addr *who)
{
	memset(key, 0, SOURCE_KEY);
	key[0] = who->family | SITE;
	memcpy(key + 1, who->ip, SITE6);
}

/* The bucket gives one a second; of wrong tokens fewer, so its seconds are longer. */
static uint64_t slow_ms(uint64_t now_ms)
{
	return now_ms / DOOR_WRONG_EVERY_S;
}

static bool is_idle(const struct source *s, uint64_t now_ms)
{
	struct bucket knocks = s->knocks, comes = s->comes, wrong = s->wrong;
	bool site = s->key[0] & SITE;

	bucket_charge(&knocks, (site ? knocking.net : knocking.source).per_s, 0, now_ms);
	bucket_charge(&comes, (site ? coming.net : coming.source).per_s, 0, now_ms);
	bucket_charge(&wrong, 1, 0, slow_ms(now_ms));
	return knocks.spent == 0 && comes.spent == 0 && wrong.spent == 0;
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

/* NULL without memory. Where it was before may be another's place after a find. */
static struct source *find(struct door_limit *l, const uint8_t key[static SOURCE_KEY], uint64_t now_ms)
{
	struct source fresh = { 0 };

	memcpy(fresh.key, key, SOURCE_KEY);
	struct source *s = map_find(&l->sources, fresh.key);
	if (s)
		return s;
	if (l->sources.count >= DOOR_SOURCES_MAX)
		sweep(l, now_ms);
	if (l->sources.count >= DOOR_SOURCES_MAX) { /* the others of the kind, as one */
		memset(fresh.key + 1, 0, SOURCE_KEY - 1);
		s = map_find(&l->sources, fresh.key);
	}
	if (!s && map_put(&l->sources, fresh.key, &fresh) == 0)
		s = map_find(&l->sources, fresh.key);
	return s;
}

static bool time_to_tell(struct source *s, uint64_t now_ms)
{
	bool tell = s->told_ms == 0 || now_ms >= s->told_ms + DOOR_TELL_MS;

	if (tell)
		s->told_ms = now_ms;
	return tell;
}

/* First, so that one who has a whole /48 fills no more places than his share. */
static bool site_has(struct door_limit *l, const struct addr *who, bool knocks, uint64_t now_ms, bool *tell)
{
	const struct pace *pace = knocks ? &knocking.net : &coming.net;
	uint8_t key[SOURCE_KEY];

	if (who->family != ADDR_V6)
		return true;
	site_key(key, who);
	struct source *site = find(l, key, now_ms);
	if (!site)
		return false;
	bool has = bucket_has(bucket_of(site, knocks), pace->per_s, pace->burst, now_ms);
	*tell = !has && time_to_tell(site, now_ms);
	return has;
}

static void site_charge(struct door_limit *l, const struct addr *who, bool knocks, uint64_t now_ms)
{
	uint8_t key[SOURCE_KEY];

	if (who->family != ADDR_V6)
		return;
	site_key(key, who);
	struct source *site = find(l, key, now_ms);
	if (site)
		bucket_charge(bucket_of(site, knocks), (knocks ? knocking.net : coming.net).per_s, 1, now_ms);
}

static bool all_take(struct door_limit *l, const struct addr *who, bool knocks, uint64_t now_ms)
{
	const struct pace *pace = knocks ? &knocking.all : &coming.all;
	struct bucket *all = knocks ? l->all : l->all_comes;

	return bucket_take(&all[who->family == ADDR_V6], pace->per_s, pace->burst, now_ms);
}

static bool take(struct door_limit *l, const struct addr *who, bool knocks, uint64_t now_ms, bool *tell)
{
	const struct pace *pace = knocks ? &knocking.source : &coming.source;
	uint8_t key[SOURCE_KEY];

	*tell = false;
	if (!site_has(l, who, knocks, now_ms, tell))
		return false;
	source_key(key, who);
	struct source *s = find(l, key, now_ms);
	if (!s)
		return false;
	bool good = !knocks || bucket_has(&s->wrong, 1, DOOR_WRONG_BURST, slow_ms(now_ms));
	if (good && bucket_take(bucket_of(s, knocks), pace->per_s, pace->burst, now_ms) &&
	    all_take(l, who, knocks, now_ms)) {
		site_charge(l, who, knocks, now_ms);
		return true;
	}
	*tell = time_to_tell(s, now_ms);
	return false;
}

bool door_limit_come(struct door_limit *l, const struct addr *who, uint64_t now_ms, bool *tell)
{
	return take(l, who, false, now_ms, tell);
}

bool door_limit_knock(struct door_limit *l, const struct addr *who, uint64_t now_ms, bool *tell)
{
	return take(l, who, true, now_ms, tell);
}

void door_limit_wrong(struct door_limit *l, const struct addr *who, uint64_t now_ms)
{
	uint8_t key[SOURCE_KEY];

	source_key(key, who);
	struct source *s = find(l, key, now_ms);
	if (s)
		bucket_take(&s->wrong, 1, DOOR_WRONG_BURST, slow_ms(now_ms));
}
