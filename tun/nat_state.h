/* The entries that the kernel's NAT carries, with what is to be known of them to carry others next. */
#ifndef P2PD_TUN_NAT_STATE_H
#define P2PD_TUN_NAT_STATE_H

#include "tun/nat_reach.h"
#include "tun/nat_table.h"
#include "tun/nat_tally.h"

/* Zeroed memory is an empty one. */
struct nat_state {
	struct forward_entry *entries; /* sorted by id, with the targets that packets get */
	struct addr *asked;	       /* the targets that were asked for */
	size_t count;
	struct nat_tally tally;
};

/* The counts of ids that are in `before` go on. 0 or -ENOMEM. */
int nat_state_make(struct nat_state *s, const struct nat_reach *reach, const struct forward_entry *entries,
		   size_t count, const struct nat_state *before);
void nat_state_free(struct nat_state *s);
/* What a connection of `old` becomes: true if it is to be ended, for it belongs to no entry any more, or to one that leads
 * elsewhere or does not allow its visitor. */
bool nat_state_ends(struct nat_state *now, const struct nat_state *old, const struct conntrack_flow *f);
/* The caps of ids some of whose connections the kernel would not count. */
void nat_state_caps(FILE *out, const struct nat_frame *f, const struct nat_state *s);
/* After a look: those that have to be told anew. */
void nat_state_recap(FILE *out, const struct nat_frame *f, struct nat_state *s);
/* The host moved, so that a target is reached in another way now: the entries as they were asked for, to be freed. NULL:
 * nothing moved. */
struct forward_entry *nat_state_moved(const struct nat_state *s, const struct nat_reach *reach);

#endif
