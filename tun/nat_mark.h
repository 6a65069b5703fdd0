/* The mark that connections carried by the kernel's NAT have, and the policy rules by which packets that bear it go into
 * the TUN device, whatever their destination. Three bits of the mark are ours: each daemon of the host takes a value of its
 * own. Linux only. */
#ifndef P2PD_TUN_NAT_MARK_H
#define P2PD_TUN_NAT_MARK_H

#include <stdint.h>

enum {
	/* Bits that neither Tailscale (0x00ff0000), Kubernetes (0xc000), Calico and Cilium (lower ones) nor wg-quick (0xca6c) use. */
	NAT_MARK_SHIFT = 26,
	NAT_MARK_MASK = 7 << NAT_MARK_SHIFT,
	NAT_MARK_VALUES = 7,	/* 1 to 7 */
	NAT_MARK_TABLE = 77810, /* routing table, plus the value */
	NAT_MARK_PRIORITY =
		78, /* of the rules: after `local` (0), before all others, as VPNs have them (Tailscale 5210 on) */
	NAT_MARK_PROTOCOL =
		178, /* says whose rules and routes they are: IANA's and iproute2's lists have none of it */
};

static inline uint32_t nat_mark_bits(unsigned value)
{
	return (uint32_t)value << NAT_MARK_SHIFT;
}

/* Takes a value that nobody has whose device lives, and makes its routes and rules, for IPv6 where the device has it. The
 * device is up. The value, or a negative errno; -EBUSY: all are taken. */
int nat_mark_take(unsigned ifindex);
/* Makes them again, should somebody have removed them. 0 or a negative errno. */
int nat_mark_keep(unsigned value, unsigned ifindex);
void nat_mark_drop(unsigned value);
/* Removes the rules of daemons that are no more, and those that lead into this device (0: into none). */
void nat_mark_sweep(unsigned ifindex);

#endif
