/* The routers on the way to a server, by TTL (report 8 of the traversal notes): how deep the outermost NAT lies, and
 * whether it is a carrier's. Needs no root: the kernel's error queue names who answered (IP_RECVERR). Blocks up to
 * HOPS_LIMIT_MS: for worker threads and natcheck. */
#ifndef P2PD_NAT_HOPS_H
#define P2PD_NAT_HOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"

enum { HOPS_MAX = 8, HOPS_LIMIT_MS = 1500 };

struct hops {
	struct addr router[HOPS_MAX]; /* by TTL - 1; ADDR_NONE: silent */
	unsigned count; /* TTLs that were tried before the server, or a public router, was reached */
};

/* 0 or a negative errno. */
int hops_trace(const struct addr *server, struct hops *out);
/* Pure. Routers up to and with the outermost NAT: the last private hop; 0 when none answered. */
unsigned hops_depth(const struct hops *h);
/* Pure. A hop in 100.64/10 (RFC 6598), or two private networks after one another. */
bool hops_cgnat(const struct hops *h);

#endif
