/* What the data path may use of the kernel: the rungs of a ladder, each with all below it. Tests force a rung by the
 * environment: P2PD_OFFLOAD. */
#ifndef P2PD_APPS_P2PD_RUNG_H
#define P2PD_APPS_P2PD_RUNG_H

#include "core/udp.h"
#include "tun/device.h"

struct rung {
	enum tun_offload tun;
	enum udp_offload udp;
};

/* all, no-uso, no-gro, no-gso, none; NULL is all. 0 or -EINVAL. */
int rung_parse(struct rung *r, const char *text);

#endif
