/* The counts of each id, put together from the kernel's counters and its table of connections. Pure. */
#ifndef P2PD_TUN_NAT_TALLY_H
#define P2PD_TUN_NAT_TALLY_H

#include "core/forward.h"
#include "tun/conntrack.h"

struct nat_tally_id {
	uint8_t id[FORWARD_ID];
	struct forward_stats stats;
	uint32_t max_conn;
	/* The kernel counts connections from when it is told of the cap: `uncounted` of those that lived then are none of its
	 * count. When there are fewer than at the last look, it is to be told anew. */
	uint32_t uncounted, last;
	bool new_cap; /* since `before` */
};

/* Zeroed memory is an empty one. */
struct nat_tally {
	struct nat_tally_id *ids; /* sorted */
	size_t id_count;
	const struct forward_entry **places; /* sorted by where they listen */
	size_t place_count;
	uint32_t *seen, *seen_now; /* conntrack's ids, of the look before (sorted) and of this one */
	size_t seen_count, now_count, now_room;
};

/* For these entries, sorted by id, which must outlive it. The counts of ids that were in `before` go on. 0 or -ENOMEM. */
int nat_tally_make(struct nat_tally *t, const struct forward_entry *entries, size_t count,
		   const struct nat_tally *before);
void nat_tally_free(struct nat_tally *t);
/* A look begins; then come all counters and flows, in any order, and it ends. */
void nat_tally_begin(struct nat_tally *t);
void nat_tally_counter(struct nat_tally *t, const char *name, uint64_t packets, uint64_t bytes);
void nat_tally_flow(struct nat_tally *t, const struct conntrack_flow *f, uint64_t now_ms);
void nat_tally_end(struct nat_tally *t);

/* One more connection lives that the kernel will not have counted. */
void nat_tally_uncounted(struct nat_tally *t, const struct forward_entry *e);
/* All that live are uncounted from now on. */
void nat_tally_all_uncounted(struct nat_tally *t);
/* After a look: whether the kernel is to be told anew, for `uncounted` has become less. */
bool nat_tally_recap(struct nat_tally_id *one);
struct nat_tally_id *nat_tally_find(const struct nat_tally *t, const uint8_t id[static FORWARD_ID]);
/* Neither over nor not yet answered. */
bool nat_tally_lives(const struct conntrack_flow *f);
/* NULL: of no entry. */
const struct forward_entry *nat_tally_entry(const struct nat_tally *t, const struct conntrack_flow *f);
/* NULL for an unknown id. */
const struct forward_stats *nat_tally_stats(const struct nat_tally *t, const uint8_t id[static FORWARD_ID]);

#endif
