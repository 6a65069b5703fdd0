/* Gathers where a node can be reached, best first, without doubles. Pure. */
#ifndef P2PD_NAT_CANDIDATES_H
#define P2PD_NAT_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>

#include "core/addr.h"
#include "core/record.h"

struct candidate_list {
	struct candidate items[RECORD_MAX_CANDIDATES];
	size_t count;
};

/* Adds one unless it is unusable, a double (same address: the first kind stays), or the list is full. */
bool candidates_add(struct candidate_list *l, enum candidate_kind kind, const struct addr *addr);
bool candidates_has(const struct candidate_list *l, const struct addr *addr);
/* Host candidates from interface addresses (port added), leaving out loopback, IPv4 link-local and everything inside
 * the overlay's prefixes, at most 8 of them. IPv6 global first, then IPv4, then IPv6 ULA and link-local. */
void candidates_add_hosts(struct candidate_list *l, const struct addr *addrs, size_t count, uint16_t port,
			  const struct addr *overlay, const unsigned *overlay_bits, size_t overlay_count);
bool candidates_equal(const struct candidate_list *a, const struct candidate_list *b);

#endif
