/* The way out of this host for one family: what port mapping has to know of the LAN. */
#ifndef P2PD_CORE_LAN_H
#define P2PD_CORE_LAN_H

#include "core/addr.h"

struct lan {
	struct addr
		gateway; /* of the default route; port 0, scope set where it is link-local; ADDR_NONE: no way out */
	struct addr local; /* the address that this host has towards it (IPv6: its global one); port 0 */
	unsigned bits;	   /* of local's prefix */
	unsigned ifindex;
};

#endif
