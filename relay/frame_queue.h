/* What waits for a client that is slower than those who send to it: messages in order, the oldest dropped when there are
 * too many. Of the senders of one client (flows) the greediest loses, of the clients each has its share of the memory that
 * there is for all. Pure. Timers: none. */
#ifndef P2PD_RELAY_FRAME_QUEUE_H
#define P2PD_RELAY_FRAME_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "core/crypto.h"

/* Of one client (notes: dataplane, relay hot path). At 20 Mb/s it is 50 ms. */
enum { FRAME_QUEUE_MESSAGES = 32, FRAME_QUEUE_BYTES = 131072 };

/* What the queues of all clients share. Set `max`, zero the rest. */
struct frame_pool {
	size_t max; /* bytes that may wait in all */
	size_t bytes;
	uint32_t users; /* queues that are not empty */
	uint64_t dropped;
};

/* Embed by value; zeroed memory is empty, and an empty queue holds no memory. */
struct frame_queue {
	struct frame_list *list;
};

/* Copies `msg` (len > 0) to the end; what has no room is dropped and counted, which may be `msg` itself. */
void frame_queue_push(struct frame_queue *q, struct frame_pool *pool, uint32_t flow, const void *msg,
		      size_t len);
/* The oldest messages, as many as are not more than `most` bytes together, but one at least: how many. They stay until
 * the queue is changed. 0: it is empty. */
size_t frame_queue_peek(const struct frame_queue *q, struct part out[static FRAME_QUEUE_MESSAGES],
			size_t most);
/* Drops the `count` oldest, without counting: they were sent. */
void frame_queue_pop(struct frame_queue *q, struct frame_pool *pool, size_t count);
/* The client has gone. */
void frame_queue_clear(struct frame_queue *q, struct frame_pool *pool);

#endif
