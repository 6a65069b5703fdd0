/* What this node may send to addresses that have not answered: shared by all peers and techniques, so that no router is
 * filled and no stranger is flooded. A tuple is a socket and a destination that a probe was sent to; it counts until it
 * was answered, or BUDGET_HOLD_MS after its last probe (Linux's nf_conntrack_udp_timeout for unreplied entries). Pure. */
#ifndef P2PD_NAT_BUDGET_H
#define P2PD_NAT_BUDGET_H

#include "core/bucket.h"

enum {
	BUDGET_TUPLES = 1024, /* traversal notes, B2 */
	BUDGET_PPS = 250,
	BUDGET_BURST = 64,
	BUDGET_HOLD_MS = 30000,
	BUDGET_MIN_PORT = 1024, /* below it probes trip application gateways (EasyTier #289) */
	BUDGET_SLOTS = 32,
	/* Tuples, and probes at once, that who tries many ports leaves to those who try a few: simultaneous open. */
	BUDGET_LEFT = 24,
	BUDGET_LEFT_AT_ONCE = 8,
};

struct budget {
	struct bucket rate;
	/* Tuples taken in each second of the hold time, a ring by second. */
	struct {
		uint64_t second;
		uint16_t tuples;
	} slots[BUDGET_SLOTS];
	uint64_t sent, refused; /* counters, for people */
};

/* A probe to a new tuple; false when tuples or rate are used up. `port` below BUDGET_MIN_PORT is always refused. */
bool budget_take(struct budget *b, uint16_t port, uint64_t now_ms);
/* One more probe to a tuple last probed at `last_ms`: needs the rate only, while that still counts; else it is a new
 * tuple. It counts from now on. */
bool budget_again(struct budget *b, uint64_t last_ms, uint64_t now_ms);
/* A tuple last probed at `last_ms` answered: it counts no more. */
void budget_answered(struct budget *b, uint64_t last_ms, uint64_t now_ms);
unsigned budget_unanswered(const struct budget *b, uint64_t now_ms);
/* When a new tuple may be tried next, given that none is answered: now_ms if at once. */
uint64_t budget_next_ms(const struct budget *b, uint64_t now_ms);

/* The same for who tries many ports; and when one more probe may go to a tuple last probed at `last_ms`. */
bool budget_take_many(struct budget *b, uint16_t port, uint64_t now_ms);
bool budget_again_many(struct budget *b, uint64_t last_ms, uint64_t now_ms);
uint64_t budget_next_many_ms(const struct budget *b, uint64_t now_ms);
uint64_t budget_again_many_ms(const struct budget *b, uint64_t last_ms, uint64_t now_ms);

#endif
