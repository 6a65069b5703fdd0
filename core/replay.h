/* Replay window of 8128 counters, a ring of words as in RFC 6479. Zeroed memory is an empty window. */
#ifndef P2PD_CORE_REPLAY_H
#define P2PD_CORE_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

enum { REPLAY_WORDS = 128, REPLAY_WINDOW = (REPLAY_WORDS - 1) * 64 };

struct replay {
	uint64_t next; /* greatest counter seen, plus 1 */
	uint64_t words[REPLAY_WORDS];
};

/* True, and remembered, if `counter` was not seen before, is within the window and below `limit`. Call only after the
 * message authenticated. */
bool replay_accept(struct replay *r, uint64_t counter, uint64_t limit);

#endif
