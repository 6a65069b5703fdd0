/* The greatest handshake timestamp accepted of each peer, kept on disk so that a recorded handshake cannot be played
 * again after a restart. Peers that are away keep theirs. */
#ifndef P2PD_APPS_P2PD_TIMESTAMPS_H
#define P2PD_APPS_P2PD_TIMESTAMPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/noise.h"

enum { TIMESTAMPS_MAX = 4096 };

struct timestamp {
	uint8_t wk[32];
	uint8_t ts[NOISE_TIMESTAMP_LEN];
};

/* Sorted by wk. Zeroed memory is empty. */
struct timestamps {
	struct timestamp *items;
	size_t count, cap;
	bool changed; /* since the last load or save */
};

/* Keeps the greater one. -ENOSPC beyond TIMESTAMPS_MAX, -ENOMEM. */
int timestamps_note(struct timestamps *t, const uint8_t wk[static 32],
		    const uint8_t ts[static NOISE_TIMESTAMP_LEN]);
void timestamps_free(struct timestamps *t);

/* The file "timestamps" of a state folder. No file is an empty table; a damaged one is -EBADMSG. */
int timestamps_load(struct timestamps *t, int dir);
/* Does nothing unless something changed. */
int timestamps_save(struct timestamps *t, int dir);

#endif
