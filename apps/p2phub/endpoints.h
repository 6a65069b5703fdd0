/* The endpoints that the hub's STUN server can answer from: what --udp names, and behind 0.0.0.0 and :: the machine's own
 * public addresses, if there are two: one may then stand in for the other. Private ones are left out there: a client
 * that is told of one, or answered from it, would not see it. Who wants them names each address with --udp. Addresses
 * that come later are not noticed. */
#ifndef P2PD_APPS_P2PHUB_ENDPOINTS_H
#define P2PD_APPS_P2PHUB_ENDPOINTS_H

#include "core/addr.h"

enum { ENDPOINTS_LOCAL = 64 };

/* This machine's public addresses; how many there are, at most `cap`. */
size_t endpoints_local(struct addr *out, size_t cap);
/* For stun_server_init(). `bound` are the sockets' addresses, `local` those of endpoints_local(). */
size_t endpoints_of(const struct addr *bound, size_t bound_count, const struct addr *local,
		    size_t local_count, struct addr *out, size_t cap);

#endif
