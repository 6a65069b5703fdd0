/* What `nft` is told: our table, and how it changes from some entries to others. Pure text.
 *
 * Packets meet, in this order:
 *   enter    (prerouting)  connections of ours go to their id's chain `live`; what is new and comes to a forwarded port goes
 *                          to its id's chain `enter`, which checks it against the limits, sets the mark and the timeouts.
 *                          Answers from elsewhere than the tunnel get the packet mark that routes them into it.
 *   turn     (prerouting)  changes the destination, by a map with one element for each port
 *   through  (forward)     MSS; what only pretends to belong to us is refused
 *   leave    (output)      the answers of this host's own sockets, as in `enter`
 * An id has three chains: ID enter, ID cap (the count of its connections) and ID live; counters, and sets of who is allowed.
 * A change touches only what belongs to the ids that change, and of those only what changes. */
#ifndef P2PD_TUN_NAT_SCRIPT_H
#define P2PD_TUN_NAT_SCRIPT_H

#include <stdio.h>

#include "core/forward.h"
#include "tun/conntrack.h"
#include "tun/device.h"
#include "tun/nat_switch.h"

enum { NAT_TABLE_MAX = TUN_NAME_MAX + 8, NAT_ID_TEXT = FORWARD_ID * 2 + 1 };

struct nat_frame {
	char table[NAT_TABLE_MAX], tun[TUN_NAME_MAX + 1];
	uint32_t mark, mask;
	struct addr prefix4, prefix6; /* the overlay's */
	unsigned bits4, bits6;
};

/* "p2pd-" and the device's name, in letters that nft takes. */
void nat_script_table(char out[static NAT_TABLE_MAX], const char *tun);
const char *nat_script_id(const uint8_t id[static FORWARD_ID], char out[static NAT_ID_TEXT]);
/* False if the text is no id. */
bool nat_script_read_id(const char *text, uint8_t id[static FORWARD_ID]);

/* The table without entries. Counters are also notes of what to undo: "mark_VALUE", and "was_WHAT_IFINDEX" for each
 * switch. */
void nat_script_base(FILE *out, const struct nat_frame *f, unsigned mark_value);
/* The notes of these switches, and that nothing else comes through by what they open. Replaces what was. */
void nat_script_switches(FILE *out, const struct nat_frame *f, const struct nat_switch_list *old,
			 const struct nat_switch_list *now);
/* From the entries `old` to `now`, both sorted by id (nat_script_sort). `counted`: the counts to begin with of an id that
 * is new, NULL for none. */
void nat_script_change(FILE *out, const struct nat_frame *f, const struct forward_entry *old,
		       size_t old_count, const struct forward_entry *now, size_t now_count,
		       const struct forward_stats *(*counted)(void *arg, const uint8_t *id), void *arg);
/* Packets of connections that have been ended are refused, so that both ends hear of it. */
void nat_script_ended(FILE *out, const struct nat_frame *f, const struct conntrack_flow *flows, size_t count);

void nat_script_sort(struct forward_entry *entries, size_t count);

/* Where a counter's name leads: the id, and what it counts. */
enum nat_count { NAT_COUNT_IN, NAT_COUNT_OUT, NAT_COUNT_TOTAL, NAT_COUNT_REJECTED };
bool nat_script_counter(const char *name, uint8_t id[static FORWARD_ID], enum nat_count *what,
			enum forward_reject *why);
/* The notes. */
bool nat_script_is_mark(const char *name, unsigned *value);
bool nat_script_is_switch(const char *name, struct nat_switch *s);

#endif
