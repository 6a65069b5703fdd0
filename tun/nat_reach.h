/* What of the host lies between a forwarded port and its service: its addresses, routes and listening programs, and whether
 * the kernel's NAT can get there. Reads, and changes nothing. Linux only. */
#ifndef P2PD_TUN_NAT_REACH_H
#define P2PD_TUN_NAT_REACH_H

#include "core/forward.h"
#include "tun/nat_switch.h"

struct nat_reach {
	unsigned ifindex;     /* of the TUN device */
	struct addr ip4, ip6; /* our overlay addresses */
};

/* Where packets are to go: the entry's target; or, for a loopback one and where a UDP program on all addresses would answer
 * from another, that address of ours. */
struct addr nat_reach_target(const struct nat_reach *r, const struct forward_entry *e);
/* 0; or -ENOTSUP with `why`. */
int nat_reach_can(const struct nat_reach *r, const struct forward_entry *e, char *why, size_t cap);
/* What has to be switched on for these entries, whose targets are nat_reach_target's. */
void nat_reach_switches(const struct nat_reach *r, const struct forward_entry *entries, size_t count,
			const struct nat_switch_list *ours, struct nat_switch_list *want);

#endif
