/* Datagrams of many sessions that came one by one, put together by session: to the kernel a train of one session costs
 * little more than a datagram. They wait only while more are waiting to be received, and no longer than the caller has
 * them. Pure: copies come in, trains go out. The caller is the timer. */
#ifndef P2PD_RELAY_RELAY_GATHER_H
#define P2PD_RELAY_RELAY_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay/relay_server.h"

/* What may wait: at the rate of one core some 10 ms. A train is at most what a kernel takes, and a device. */
enum {
	RELAY_GATHER_DATAGRAMS = 4096,
	RELAY_GATHER_BYTES = 512 << 10,
	RELAY_GATHER_TRAIN = 64,
	RELAY_GATHER_TRAIN_BYTES = 65400,
};

struct relay_gather; /* opaque; its memory is used only as far as datagrams have waited together */

/* Datagrams of one session to one end of it: `stride` bytes each but the last, which may be shorter. */
struct relay_train {
	uint8_t *data; /* until the next relay_gather_add() */
	size_t len, stride;
	struct relay_route route;
};

struct relay_gather *relay_gather_create(void);	   /* NULL without memory */
void relay_gather_destroy(struct relay_gather *g); /* NULL is allowed */

/* Takes a copy of a datagram with a RELAY_HEADER, to be sent to `route`. False: there is no room, or trains are being
 * taken out. */
bool relay_gather_add(struct relay_gather *g, const uint8_t *msg, size_t len,
		      const struct relay_route *route);
bool relay_gather_is_empty(const struct relay_gather *g);
/* False: it holds nothing of this session (of a message with a RELAY_HEADER) to this end of it. */
bool relay_gather_may_hold(const struct relay_gather *g, const uint8_t *msg, const struct relay_route *route);
/* Takes out the next train; those of a session in the order in which it came. False: that was all, and it is empty. */
bool relay_gather_next(struct relay_gather *g, struct relay_train *out);

#endif
