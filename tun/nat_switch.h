/* Settings of the kernel (sysctls) without which packets are not forwarded: each is switched on only where it is off, and
 * switched off again only if nobody else came to need it meanwhile. Linux only. */
#ifndef P2PD_TUN_NAT_SWITCH_H
#define P2PD_TUN_NAT_SWITCH_H

#include <stdbool.h>
#include <stddef.h>

#include "core/addr.h"

/* Ordered as they are to be switched on. */
enum nat_switch_what {
	NAT_SWITCH_FORWARD4, /* packets that come by this interface are forwarded */
	NAT_SWITCH_FORWARD6, /* the same for IPv6: Linux 6.17 */
	NAT_SWITCH_RA,	 /* accept_ra: 1 becomes 2, else the host would lose its IPv6 route by what follows */
	NAT_SWITCH_ALL6, /* before Linux 6.17: for all interfaces, ifindex is 0 */
	NAT_SWITCHES,
};
struct nat_switch {
	enum nat_switch_what what;
	unsigned ifindex;
};
enum { NAT_SWITCH_LIST = 128 };
struct nat_switch_list {
	struct nat_switch list[NAT_SWITCH_LIST];
	size_t count;
};

bool nat_switch_has(const struct nat_switch_list *l, struct nat_switch s);
/* Adds what has to be on, and is not so without us, for packets of a family to be forwarded that come by this interface.
 * `ours`: what we have switched on. */
void nat_switch_want_forward(struct nat_switch_list *l, const struct nat_switch_list *ours,
			     enum addr_family family, unsigned ifindex);
/* Lets packets in by this interface, our own, whose answers would not go out by it. 0 or a negative errno. */
int nat_switch_loosen(unsigned ifindex);
/* 0 or a negative errno. */
int nat_switch_on(struct nat_switch s);
void nat_switch_off(struct nat_switch s);
/* Whether packets that come by this interface are forwarded. */
bool nat_switch_forwards(enum addr_family family, unsigned ifindex);

#endif
