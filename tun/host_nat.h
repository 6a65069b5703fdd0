/* Port forwarding by the kernel: nftables rules in a table of our own, connection marks and policy routing, so that the
 * service sees the visitor's own address and its replies (the host's own, or those of LAN hosts that this host routes
 * for) go back into the tunnel. Others' rules are left as they are; where a firewall's chains drop by policy (ufw,
 * Docker), what we forward is accepted there by one rule of ours. All of it is gone after host_nat_close(), and also when
 * the process dies in any way: a keeper process sees to that; what even it left is removed at the next open.
 *
 * The calls run `nft` and wait for it (10 to 50 ms): call them on a work thread, one at a time; but host_nat_can() and
 * host_nat_stats() may be called by any thread at any time. */
#ifndef P2PD_TUN_HOST_NAT_H
#define P2PD_TUN_HOST_NAT_H

#include "core/forward.h"
#include "tun/device.h"

struct host_nat; /* opaque */

enum { HOST_NAT_WHY = 160 };

struct host_nat_config {
	char tun[TUN_NAME_MAX + 1];
	unsigned ifindex;
	struct addr ip4, ip6;	      /* our overlay addresses */
	struct addr prefix4, prefix6; /* the overlay's */
	unsigned bits4, bits6;
};

/* 0, or a negative errno with `why` for a person: -EPERM, -ENOENT (no nft), -ENOTSUP (the kernel lacks something). */
int host_nat_open(struct host_nat **out, const struct host_nat_config *config, char why[static HOST_NAT_WHY]);
/* Ends what it carried. NULL is allowed. */
void host_nat_close(struct host_nat *n);
/* Whether the kernel can carry this entry here, else `why`: a loopback target, a LAN target though this host is no router,
 * families that differ. Pure but for what it reads of the host. 0 or -ENOTSUP. */
int host_nat_can(const struct host_nat *n, const struct forward_entry *e, char why[static HOST_NAT_WHY]);
/* Makes these entries so, all or none, and ends the connections of those that are gone; connections and counts of the
 * others stay. 0 or a negative errno with `why`. */
int host_nat_apply(struct host_nat *n, const struct forward_entry *entries, size_t count,
		   char why[static HOST_NAT_WHY]);
/* Where a firewall of this host drops what it does not know, it lets new connections in to these from the next
 * host_nat_apply() on: what our own sockets carry, and what nodes say to each other about it. At an overlay address they come
 * by the tunnel, at others not. Replaces all. 0 or -ENOMEM. */
int host_nat_inlets(struct host_nat *n, const struct forward_inlet *inlets, size_t count);
/* The counts of all ids: host_nat_stats() tells them from then on. Also ends connections that are idle, and puts right what
 * others have undone: to be called every few seconds. 0 or a negative errno. */
int host_nat_look(struct host_nat *n, uint64_t now_ms);
/* As of the last look. False for an unknown id. */
bool host_nat_stats(const struct host_nat *n, const uint8_t id[static FORWARD_ID], struct forward_stats *out);

#endif
