/* The hub's wall clock, which somebody may set back, and which a machine without a battery for it has in 1970 when it starts.
 * What has ended by it (passes, tokens, tickets) must not be good again then, and what is written down must not look so old
 * when the clock is right once more that it is forgotten. So it is never less than what it was at the start and the time
 * since. A clock that is set forward is believed, and so is its way back from there. Pure. */
#ifndef P2PD_RELAY_WALL_H
#define P2PD_RELAY_WALL_H

#include <stdbool.h>
#include <stdint.h>

enum {
	/* 2026-01-01. A clock that says less was never set: then what is known from before is taken. Only then, for
	 * else a clock that once was set to the wrong year could not be put right by a restart. */
	WALL_LEAST = 1767225600,
	WALL_TOLD_S = 60, /* what is more than this behind is told, once */
};

struct wall {
	uint64_t start_s, start_ms;
	bool behind; /* the system's clock is */
};

/* `known_s`: a time that certainly has been, from a file; 0: none is known. */
void wall_init(struct wall *w, uint64_t unix_s, uint64_t known_s, uint64_t now_ms);
/* What counts as the time, when the system's clock says `unix_s`. */
uint64_t wall_at(struct wall *w, uint64_t unix_s, uint64_t now_ms);

#endif
