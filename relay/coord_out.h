/* What a hub's coordination has to say, in order: encoded messages and closes. Room for one close of every connection
 * is taken beforehand, so that a connection can always be closed, also when memory is short. */
#ifndef P2PD_RELAY_COORD_OUT_H
#define P2PD_RELAY_COORD_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct Link__ToNode;

struct coord_out {
	uint64_t conn;
	uint8_t *msg; /* malloc'ed, the receiver's to free; NULL for a mere close */
	size_t len;
	bool close; /* close the connection once this was sent */
};

struct coord_queue {
	struct coord_out *items; /* a ring; cap is 0 or a power of two */
	size_t head, count, cap;
	size_t closes; /* connections that may still want to be closed: each has room for it */
};

/* Takes room for the close of one more connection. 0 or -ENOMEM. */
int coord_queue_reserve(struct coord_queue *q);
/* A connection has ended: what is queued for it goes. `closed`: its close was queued before. */
void coord_queue_end(struct coord_queue *q, uint64_t conn, bool closed);
/* 0 or -ENOMEM. */
int coord_queue_message(struct coord_queue *q, uint64_t conn, const struct Link__ToNode *msg);
/* Uses up the room that was reserved. `last` is sent before the close, if there is memory for it; may be NULL. */
void coord_queue_close(struct coord_queue *q, uint64_t conn, const struct Link__ToNode *last);
bool coord_queue_next(struct coord_queue *q, struct coord_out *out);
void coord_queue_free(struct coord_queue *q);

#endif
