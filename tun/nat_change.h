/* How our nf_tables table changes from some entries to others, as `nft` is told: only what belongs to the ids that change,
 * and of those only what changes. Pure text. */
#ifndef P2PD_TUN_NAT_CHANGE_H
#define P2PD_TUN_NAT_CHANGE_H

#include <stdio.h>

#include "core/forward.h"
#include "tun/nat_table.h"

/* An owner's kernel forgets an idle TCP connection so much later than it should: time enough to end it properly. */
enum { NAT_IDLE_GRACE_S = 15 };

/* As nat_change wants its entries: by id. */
void nat_change_sort(struct forward_entry *entries, size_t count);
/* From `old` to `now`. `counted`: the counts to begin with of an id that is new; it may be NULL, and tell NULL. */
void nat_change(FILE *out, const struct nat_frame *f, const struct forward_entry *old, size_t old_count,
		const struct forward_entry *now, size_t now_count,
		const struct forward_stats *(*counted)(void *arg, const uint8_t *id), void *arg);
/* The cap of the entry's id, counted from anew: `uncounted` of its connections are there already. */
void nat_change_cap(FILE *out, const struct nat_frame *f, const struct forward_entry *e, uint32_t uncounted);

#endif
