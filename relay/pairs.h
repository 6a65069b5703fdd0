/* Which pairs of things something was done with lately, so that it is done no more often. Pure. */
#ifndef P2PD_RELAY_PAIRS_H
#define P2PD_RELAY_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/map.h"

enum { PAIRS_MAX = 65536 };

/* The pairs of the last gap stand in one of two maps, which take turns: so they end without being looked for. With
 * PAIRS_MAX in one, it takes its turn early: memory stays bounded, some pair may come too soon. */
struct pairs {
	struct map now, before; /* two pointers -> when; of this span of the gap, and of the last */
	uint64_t since_ms;
	uint32_t gap_ms;
};

void pairs_init(struct pairs *p, uint32_t gap_ms, struct rng *rng);
void pairs_free(struct pairs *p);
/* False if the last time for this pair, in whichever order, is less than gap_ms ago; else it is now. */
bool pairs_take(struct pairs *p, const void *a, const void *b, uint64_t now_ms);

#endif
