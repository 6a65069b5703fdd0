#include "core/sources.h"

#include <string.h>

enum { KEY = 9, IP6_SOURCE = 8 };

static void make_key(uint8_t key[static KEY], const struct addr *a)
{
	memset(key, 0, KEY);
	key[0] = (uint8_t)a->family;
	memcpy(key + 1, a->ip, a->family == ADDR_V4 ? 4 : IP6_SOURCE);
}

void sources_init(struct sources *s, struct rng *rng)
{
	map_init(&s->counts, KEY, sizeof(unsigned), rng);
}

void sources_free(struct sources *s)
{
	map_clear(&s->counts);
}

int sources_add(struct sources *s, const struct addr *a)
{
	uint8_t key[KEY];
	unsigned count = sources_count(s, a) + 1;

	make_key(key, a);
	return a->family == ADDR_NONE ? 0 : map_put(&s->counts, key, &count);
}

void sources_remove(struct sources *s, const struct addr *a)
{
	uint8_t key[KEY];

	make_key(key, a);
	unsigned *count = a->family == ADDR_NONE ? NULL : map_find(&s->counts, key);
	if (count && --*count == 0)
		map_remove(&s->counts, key);
}

unsigned sources_count(const struct sources *s, const struct addr *a)
{
	uint8_t key[KEY];

	make_key(key, a);
	const unsigned *count = a->family == ADDR_NONE ? NULL : map_find(&s->counts, key);
	return count ? *count : 0;
}

bool sources_same(const struct addr *a, const struct addr *b)
{
	uint8_t of_a[KEY], of_b[KEY];

	make_key(of_a, a);
	make_key(of_b, b);
	return memcmp(of_a, of_b, KEY) == 0;
}
