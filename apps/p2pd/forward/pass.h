/* What may come through the tunnel from, and go to, addresses outside the overlay, since a port is forwarded by the kernel
 * (host_nat): at the owner, a gateway's packets from visitors to the tunnel's ports; at the gateway, their answers. All
 * else keeps the rule that a peer sends from its own addresses, and to ours. Pure; looked up for each packet, with the
 * engine's lock held; so change it on the engine's loop, not on a work thread. */
#ifndef P2PD_APPS_P2PD_FORWARD_PASS_H
#define P2PD_APPS_P2PD_FORWARD_PASS_H

#include "core/forward.h"
#include "core/ip.h"

enum {
	PASS_OWNER_MAX = 4096,	  /* of a node's own rules, and */
	PASS_GATEWAY_MAX = 12288, /* of the leases that it gives as a gateway */
	PASS_MAX = PASS_OWNER_MAX + PASS_GATEWAY_MAX,
	PASS_FRAGMENTS = 64,
};

/* The owner's overlay address with ports first to first + count - 1 is reached from outside by the gateway. */
struct pass_entry {
	uint8_t peer[32];	/* identity key: of the gateway at the owner, of the owner at the gateway */
	enum forward_side side; /* ours */
	enum forward_proto proto;
	uint16_t first, count;
};

struct pass; /* opaque */

struct pass *pass_create(void);
void pass_destroy(struct pass *p);
/* Replaces all. 0; or, nothing being changed, -EINVAL (no such ports), -ENOSPC, -ENOMEM, -EEXIST (two gateways for one port
 * at the owner). */
int pass_set(struct pass *p, const struct pass_entry *entries, size_t count);
/* A packet of `peer` whose source it does not own (at the owner), or whose destination is not ours (at the gateway); not
 * both. That the other address is one outside the overlay was checked before. ICMP errors go by what they quote, fragments
 * by their first; IPv6 with other extension headers does not pass. `own4`, `own6` are our overlay addresses. */
bool pass_in(struct pass *p, const uint8_t peer[static 32], const struct ip_view *ip, const uint8_t *packet,
	     const struct addr *own4, const struct addr *own6);
/* The gateway's identity key for a packet from an overlay address of ours to outside the overlay, valid until the next
 * call; NULL: none. */
const uint8_t *pass_out(struct pass *p, const struct ip_view *ip, const uint8_t *packet);

#endif
