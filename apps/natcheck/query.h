/* One STUN request, repeated until something answers to it: what the tests of natcheck are made of. It may be padded to
 * a size, and its answer may come from elsewhere or to another socket. Pure. Zeroed memory is idle. */
#ifndef P2PD_APPS_NATCHECK_QUERY_H
#define P2PD_APPS_NATCHECK_QUERY_H

#include "nat/stun.h"

enum { QUERY_MAX = 1600, QUERY_TRIES = 4 };

enum query_state {
	QUERY_IDLE,
	QUERY_WAITING,
	QUERY_ANSWERED,
	QUERY_REFUSED, /* an error, or a success without an address */
	QUERY_SILENT,
};

struct query_plan {
	struct addr to;
	unsigned from, listen;	 /* the caller's numbers of the sockets to send on and to hear on */
	struct stun_msg request; /* with a transaction id */
	size_t size;	 /* of the request: padded to it without asking for a padded answer; 0: as it is */
	uint32_t rto_ms; /* doubles with every try */
	unsigned tries;	 /* at most QUERY_TRIES */
	bool any_source; /* that an answer comes is all: from anywhere, with or without an address in it */
};

struct query {
	enum query_state state;
	struct query_plan plan;
	unsigned sent;
	uint64_t sent_ms, next_ms;
	/* Of the answer. */
	struct addr from, mapped;
	size_t len;
	unsigned fragment; /* size of the largest fragment that it came in; 0: in one piece */
	uint32_t rtt_ms;   /* 0 if unknown, for it may be to an earlier request */
};

void query_start(struct query *q, const struct query_plan *plan, uint64_t now_ms);
/* The next due request; its length, 0 when none is. Ends in QUERY_SILENT in time. */
size_t query_next(struct query *q, uint64_t now_ms, uint8_t out[static QUERY_MAX]);
/* It cannot be sent at all. */
void query_fail(struct query *q);
uint64_t query_deadline(const struct query *q); /* UINT64_MAX when not waiting */
/* A datagram came in on socket `listen`. True if it was the answer. */
bool query_on_message(struct query *q, unsigned listen, const struct addr *from, const uint8_t *msg,
		      size_t len, unsigned fragment, uint64_t now_ms);
/* Ended, in whatever way, or was never begun. */
bool query_is_over(const struct query *q);

#endif
