/* How often the door may be knocked at, by one source (core/sources.h: an IPv4 address, or a /64) and by all. Bounded
 * memory: of more sources than it can hold, the rest count as one. Pure. */
#ifndef P2PD_APPS_P2PD_FORWARD_DOOR_LIMIT_H
#define P2PD_APPS_P2PD_FORWARD_DOOR_LIMIT_H

#include "core/addr.h"
#include "core/bucket.h"
#include "core/map.h"

enum {
	DOOR_KNOCKS_PER_S = 1, /* of a source: a person who reloads the page */
	DOOR_KNOCKS_BURST = 30,
	DOOR_WRONG_EVERY_S = 10, /* wrong tokens of a source: one in so long, */
	DOOR_WRONG_BURST = 20,	 /* after so many: several people may be behind one address */
	DOOR_ALL_PER_S = 50,
	DOOR_ALL_BURST = 200,
	DOOR_SOURCES_MAX = 8192,
	DOOR_TELL_MS = 60000, /* an audit line of a source that is turned away, at most so often */
};

struct door_limit {
	struct map sources;
	struct bucket all;
	uint64_t swept_ms;
};

void door_limit_init(struct door_limit *l, struct rng *rng);
void door_limit_free(struct door_limit *l);
/* Somebody knocks. False: turn him away; *tell: it is time to say so in the audit. */
bool door_limit_knock(struct door_limit *l, const struct addr *who, uint64_t now_ms, bool *tell);
/* What he had was not good. */
void door_limit_wrong(struct door_limit *l, const struct addr *who, uint64_t now_ms);

#endif
