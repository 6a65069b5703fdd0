/* Longest-prefix match over IPv4 and IPv6: allowed addresses to an opaque owner (WireGuard's cryptokey routing). */
#ifndef P2PD_CORE_LPM_H
#define P2PD_CORE_LPM_H

#include "core/addr.h"

struct lpm_node;
struct lpm {
	struct lpm_node *root4, *root6; /* zeroed memory is empty */
};

/* Replaces the owner of the same prefix. 0, -EINVAL (no owner, no such prefix), -ENOMEM. Host bits of `prefix` are
 * ignored. */
int lpm_insert(struct lpm *t, const struct addr *prefix, unsigned bits, void *owner);
/* The owner of the longest prefix that holds the raw address (4 or 16 bytes), or NULL. */
void *lpm_find(const struct lpm *t, enum addr_family family, const uint8_t *ip);
/* Removes each prefix of `owner`. */
void lpm_remove_owner(struct lpm *t, const void *owner);
/* Removes the exact prefix if it is `owner`'s. */
void lpm_remove(struct lpm *t, const struct addr *prefix, unsigned bits, const void *owner);
void lpm_clear(struct lpm *t);

#endif
