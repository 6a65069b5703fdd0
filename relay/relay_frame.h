/* Relayed data in a link's messages (relay_wire.h: run, move): datagrams of one session, one after the other, without
 * headers of their own. Pure. */
#ifndef P2PD_RELAY_RELAY_FRAME_H
#define P2PD_RELAY_RELAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay/relay_wire.h"

enum { RELAY_FRAME_UDP_MAX = RELAY_RUN_MAX - RELAY_RUN_HEADER + RELAY_RUN_DATAGRAMS * RELAY_HEADER };

/* A run. */
struct relay_frame {
	uint32_t session;
	size_t stride;	     /* 1 .. len */
	const uint8_t *data; /* in the message */
	size_t len;	     /* at least 1 */
};

/* False: it is no run, or has more datagrams or bytes than it may. */
bool relay_frame_read(struct relay_frame *f, const uint8_t *msg, size_t len);
bool relay_frame_is_move(const uint8_t *msg, size_t len);
size_t relay_frame_count(const struct relay_frame *f); /* datagrams */
void relay_frame_write_move(uint8_t out[static RELAY_MOVE_LEN]);

/* Makes a message of datagrams that came by UDP, `stride` bytes each but the last, which may be shorter; all have the same
 * RELAY_HEADER in front, and a byte behind it (see relay_run()). Takes as many from the front as fit, and returns how many
 * bytes they are; 0: not even the first fits. */
size_t relay_frame_pack(uint8_t out[static RELAY_RUN_MAX], size_t *out_len, const uint8_t *run, size_t len,
			size_t stride);
/* The datagrams of a run with their headers, f->stride + RELAY_HEADER bytes each but the last; returns the length of all. */
size_t relay_frame_unpack(uint8_t out[static RELAY_FRAME_UDP_MAX], const struct relay_frame *f);

#endif
