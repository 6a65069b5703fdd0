/* Routes of the overlay's prefixes into our device, by rtnetlink. */
#ifndef P2PD_TUN_ROUTE_H
#define P2PD_TUN_ROUTE_H

#include "core/addr.h"
#include "core/lan.h"
#include "tun/device.h"

/* -EEXIST if that very route is there already by somebody else. */
int route_add(unsigned ifindex, const struct addr *prefix, unsigned bits);
int route_del(unsigned ifindex, const struct addr *prefix, unsigned bits);

struct route_clash {
	struct addr prefix;
	unsigned bits;
	char ifname[TUN_NAME_MAX + 1];
};
/* Looks for a route of another interface than `own_ifindex` (0: none yet) in any table but local's loopback that
 * overlaps prefix/bits; default routes (/0) and wider routes than the prefix do not clash. 1 and *clash, 0, or a negative errno. */
int route_find_clash(const struct addr *prefix, unsigned bits, unsigned own_ifindex,
		     struct route_clash *clash);

/* The way out for a family, of interfaces other than `skip_ifindex` (0: none): the default route of the main table
 * with the least metric that has a gateway. 0, -ENOENT, or a negative errno. */
int route_default(enum addr_family family, unsigned skip_ifindex, struct lan *out);
/* The interface by which the kernel would send to `to`. 0 or a negative errno. */
int route_towards(const struct addr *to, unsigned *ifindex);

#endif
