/* Does this network translate IPv6 to IPv4 (RFC 7050: by the addresses that the resolver makes up for ipv4only.arpa)? */
#ifndef P2PD_APPS_NATCHECK_NAT64_H
#define P2PD_APPS_NATCHECK_NAT64_H

#include "nat/discover.h"

struct nat64 {
	enum discover_answer found;
	struct addr prefix; /* port 0 */
	unsigned bits;
};

/* The prefix length by which `a` hides one of ipv4only.arpa's two addresses; 0: it is none of them. Pure. */
unsigned nat64_prefix_bits(const struct addr *a);
/* Asks the system's resolver: blocks for as long as that takes. `arg` is a struct nat64. */
void nat64_find(void *arg);

#endif
