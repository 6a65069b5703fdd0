/* Port forwarding by our own sockets, where the kernel's NAT cannot be: TCP by splice(2) between two connections, UDP by a
 * socket for each flow. At the gateway the visitor's address goes ahead in a PROXY protocol v2 header; at the owner it is
 * handed on to the service in one, or not at all. Limits are enforced here. Runs on the loop, in its thread. */
#ifndef P2PD_APPS_P2PD_FORWARD_CARRY_H
#define P2PD_APPS_P2PD_FORWARD_CARRY_H

#include "core/forward.h"
#include "core/loop.h"

struct carry; /* opaque */

enum {
	CARRY_WHY = 160,
	CARRY_CONNECT_MS = 10000, /* until the target takes a connection, or the gateway's header is there */
	CARRY_UDP_UNANSWERED_S =
		30, /* a flow that never had an answer is idle sooner, as Linux's conntrack has it */
	CARRY_UDP_FOREVER_S =
		300, /* what `idle_s` 0 means for UDP, which never says that it ends (RFC 4787 REQ-5) */
};

/* `tun`: what comes to an owner's entry must come by this device, what goes to an owner must leave by it. Raises the limit
 * on descriptors as far as this process may. NULL without memory. */
struct carry *carry_create(struct loop *l, const char *tun);
/* Whom a gateway may name as a visitor: where it is not asked (the beginning), anybody. */
void carry_visitors(struct carry *c, bool (*may_come)(void *arg, const struct addr *visitor), void *arg);
void carry_destroy(struct carry *c); /* ends all at once; NULL is allowed */
/* Makes these entries so. Connections of what is gone are reset, and of visitors that are not allowed any more; the others
 * live on. What an id's entries share is taken from the first of them. Listens on each port of each entry. 0; or the first
 * error, with `why` and *failed the entry's index, after all others were made so: -EADDRINUSE, -EADDRNOTAVAIL, -EACCES,
 * -EMFILE. */
int carry_apply(struct carry *c, const struct forward_entry *entries, size_t count, size_t *failed,
		char why[static CARRY_WHY]);
/* False for an unknown id. */
bool carry_stats(const struct carry *c, const uint8_t id[static FORWARD_ID], struct forward_stats *out);

#endif
