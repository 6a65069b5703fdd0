/* Deadlines, the earliest first: a heap of entries that their owners embed. Pure. */
#ifndef P2PD_CORE_TIMERS_H
#define P2PD_CORE_TIMERS_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed memory is not set. */
struct timers_entry {
	uint64_t at_ms;
	uint64_t order; /* of those of one moment: in which they were set, or which the owner gives them */
	size_t place;	/* in the heap, from 1; 0: not set */
};

/* Zeroed memory is empty. */
struct timers {
	struct timers_entry **heap; /* from index 1 */
	size_t count, room;
	uint64_t last_order;
};

/* Makes sure that `count` entries fit. 0 or -ENOMEM. */
int timers_reserve(struct timers *t, size_t count);
void timers_free(struct timers *t);
/* Sets an entry (anew); there must be room. */
void timers_set(struct timers *t, struct timers_entry *entry, uint64_t at_ms);
/* The same, but of those of one moment the one with the least `order` is first. One heap is set in one of the ways. */
void timers_set_ordered(struct timers *t, struct timers_entry *entry, uint64_t at_ms, uint64_t order);
/* Of an entry that is not set it does nothing. */
void timers_remove(struct timers *t, struct timers_entry *entry);
/* The one that is due first, NULL when none is set. */
struct timers_entry *timers_first(const struct timers *t);

#endif
