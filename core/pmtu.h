/* How large a datagram a path carries: path MTU discovery by probes of the packetization layer, for each path (RFC
 * 8899). Sizes are of UDP payloads that carry one sealed IP packet. Pure; embed by value. */
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
	uint16_t base,
		max; /* the least size that a path must carry to be of use; the largest that we would send */
	uint16_t good;	  /* the largest that was answered; 0: none yet */
	uint16_t bad;	  /* the least that was not; 0: none */
	uint16_t probing; /* the size being probed; 0: none */
	uint8_t tries;
	uint64_t due_ms;
};

void pmtu_init(struct pmtu *p, uint16_t base, uint16_t max);
/* The size that the next liveness ping over the path is to have: so no packet is sent for the search alone. A path
 * whose large pings go unanswered while small ones are answered is black for large packets only. */
uint16_t pmtu_next_size(struct pmtu *p, uint64_t now_ms);
void pmtu_on_pong(struct pmtu *p, uint16_t size, uint64_t now_ms);
void pmtu_on_timeout(struct pmtu *p, uint16_t size, uint64_t now_ms);
/* Local error EMSGSIZE, or nothing of this size came through lately though it did before. */
void pmtu_on_too_big(struct pmtu *p, uint16_t size, uint64_t now_ms);
/* The largest payload that may be sent now; 0 while not even `base` was answered. */
uint16_t pmtu_size(const struct pmtu *p);

#endif
