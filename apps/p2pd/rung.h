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

#define RUNG_NAMES "all, no-uso, no-gro, no-gso, none"

/* One of RUNG_NAMES; NULL is all. 0 or -EINVAL. */
int rung_parse(struct rung *r, const char *text);
/* The name of the highest rung that what is in use reaches: the kernel may have given less than was asked for. */
const char *rung_name(const struct rung *in_use);
/* "plain", "gso", "gro"; the device's are tun_offload_name()'s. */
const char *rung_udp_name(enum udp_offload udp);

#endif
