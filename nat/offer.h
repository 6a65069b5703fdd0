/* What two nodes tell each other before a technique that needs both ends (techniques other than plain simultaneous
 * open): the NAT in front of each, where the next mappings will lie, that the sockets are open. It travels inside the
 * tunnel (control.h), by the relay, so the hub sees none of it. Pure.
 * Layout (OFFER_WIRE bytes): attempt(LE16) heard(LE16) flags(1) round(1) max_sockets(LE16) base(LE16)
 * endpoint(19) verdict(VERDICT_WIRE). */
#ifndef P2PD_NAT_OFFER_H
#define P2PD_NAT_OFFER_H

#include <stddef.h>

#include "nat/technique.h"

enum { OFFER_WIRE = 10 + ADDR_WIRE_LEN + VERDICT_WIRE };

struct offer {
	uint16_t attempt; /* numbers this node's attempts with that peer, from 1 */
	uint16_t heard;	  /* the peer's attempt that we have the offer of; 0: none yet */
	bool ready;	  /* the mappings of the opening side are there */
	bool rotated;	  /* `endpoint` is of a fresh socket: meet there */
	uint8_t round;	  /* failed rounds so far */
	struct technique_side side;
	uint16_t base;	      /* where our NAT put its last mapping, just measured; 0: not sequential */
	struct addr endpoint; /* our mapping that is the same for everyone; ADDR_NONE: there is none */
};

void offer_write(const struct offer *o, uint8_t out[static OFFER_WIRE]);
/* False for what makes no sense: attempt 0, an unusable or low endpoint, a verdict that there is not. */
bool offer_read(struct offer *o, const uint8_t *msg, size_t len);

#endif
