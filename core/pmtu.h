/* How large a datagram a path carries: path MTU discovery by probes of the packetization layer, for each path (RFC
 * 8899). Sizes are of UDP payloads that carry one sealed IP packet. Pure; embed by value.
 *
 * A ping that is lost is followed by one of the base size, and that until one is answered: a path whose large pings are
 * lost and whose base pings are answered is black for large packets only, and its size shrinks; on a path that is dead
 * four pings in a row are lost as ever. */
#ifndef P2PD_CORE_PMTU_H
#define P2PD_CORE_PMTU_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PMTU_PROBES = 3,	/* MAX_PROBES, RFC 8899 section 5.1.2 */
	PMTU_RAISE_MS = 600000, /* PMTU_RAISE_TIMER */
};

/* Zeroed memory knows nothing; pmtu_init gives it its bounds. */
struct pmtu {
	uint16_t base;	    /* the least size that a path must carry to be of use */
	uint16_t max;	    /* the largest that we would send */
	uint16_t good;	    /* the largest that was answered; 0: none yet */
	uint16_t bad;	    /* the least that was not; 0: none */
	uint16_t probing;   /* the size being probed; 0: none */
	uint8_t tries;	    /* pings of that size that were lost */
	bool less_answered; /* meanwhile something smaller was answered, so it is the size that matters */
	bool ask_base;	    /* a ping was lost, and nothing answered since: is the path alive at all? */
	uint64_t due_ms; /* larger sizes are tried again then; 0: the search is under way, or all is known */
};

void pmtu_init(struct pmtu *p, uint16_t base, uint16_t max);
/* The size that the next liveness ping over the path is to have: so no packet is sent for the search alone. A path
 * whose large pings go unanswered while small ones are answered is black for large packets only. */
uint16_t pmtu_next_size(struct pmtu *p, uint64_t now_ms);
void pmtu_on_pong(struct pmtu *p, uint16_t size, uint64_t now_ms);
void pmtu_on_timeout(struct pmtu *p, uint16_t size, uint64_t now_ms);
/* Local error EMSGSIZE, or nothing of this size came through lately though it did before. */
void pmtu_on_too_big(struct pmtu *p, uint16_t size, uint64_t now_ms);
/* A size that was good is no longer answered, though the path is alive: its next ping is not to wait for the usual
 * interval, for until this is cleared up large packets may be lost. */
bool pmtu_in_doubt(const struct pmtu *p);
/* The largest payload that may be sent now; 0 while not even `base` was answered. */
uint16_t pmtu_size(const struct pmtu *p);

#endif
