/* How many of something each source on the network has: a source is an IPv4 address, or the /64 of an IPv6 one, of which
 * anybody has as many as he likes. What has no address (a Unix socket) is not counted. */
#ifndef P2PD_CORE_SOURCES_H
#define P2PD_CORE_SOURCES_H

#include <stdbool.h>

#include "core/addr.h"
#include "core/map.h"

struct sources {
	struct map counts;
};

void sources_init(struct sources *s, struct rng *rng);
void sources_free(struct sources *s);
/* One more; 0 or -ENOMEM, and then it is not counted. */
int sources_add(struct sources *s, const struct addr *a);
/* One less; only for one that was counted. */
void sources_remove(struct sources *s, const struct addr *a);
unsigned sources_count(const struct sources *s, const struct addr *a);
bool sources_same(const struct addr *a, const struct addr *b);

#endif
