/* One question of a behaviour test (RFC 5780): a Binding request from a numbered socket, repeated at a fixed interval
 * until it is answered or its tries are used up. The answer may be wanted elsewhere: from another of the server's
 * endpoints (CHANGE-REQUEST), or to another of our ports (RESPONSE-PORT). Such requests are not padded: that an answer
 * came, and from where, is all that it has to tell; no server then needs to send more bytes than it got.
 * Pure. Embed by value; zeroed memory is idle. */
#ifndef P2PD_NAT_ASK_H
#define P2PD_NAT_ASK_H

#include "core/crypto.h"
#include "nat/stun.h"

enum ask_state {
	ASK_IDLE,
	ASK_WAITING,
	ASK_ANSWERED,
	ASK_REFUSED, /* by an error, by an answer without use, or by one that did not come as it was wanted */
	ASK_SILENT,
};

/* What is asked. */
struct ask_plan {
	uint8_t socket;		/* that the request leaves from */
	uint8_t lands;		/* that the answer is awaited on; another one with RESPONSE-PORT */
	uint8_t tries;		/* requests at most */
	uint8_t change;		/* flags of CHANGE-REQUEST */
	uint16_t response_port; /* 0: none */
	uint32_t every_ms;	/* between two tries; and how long is waited after the last */
	uint64_t start_ms;	/* nothing is sent before */
	struct addr to;
};

struct ask {
	enum ask_state state;
	struct ask_plan plan;
	uint8_t txid[STUN_TXID];
	unsigned sent;
	uint64_t first_ms, next_ms;
	/* The answer. `mapped` and `other` may be missing (ADDR_NONE) where the answer was wanted elsewhere. */
	struct addr from, mapped, other;
	uint64_t answered_ms;
};

/* A request on its way. */
struct ask_out {
	unsigned socket;
	struct addr to;
	size_t len;
	uint8_t msg[STUN_MAX];
};

void ask_start(struct ask *a, const struct ask_plan *plan, struct rng *rng);
/* The next due request; false when none is. Ends in ASK_SILENT in time. */
bool ask_next(struct ask *a, uint64_t now_ms, struct ask_out *out);
uint64_t ask_deadline(const struct ask *a); /* UINT64_MAX when none is awaited */
/* True if `m`, which came in on `socket`, is the end of it. What is not quite the answer changes nothing. */
bool ask_on_message(struct ask *a, unsigned socket, const struct addr *from, const struct stun_msg *m,
		    uint64_t now_ms);

#endif
