/* Our nf_tables table, as `nft` is told of it. Pure text.
 *
 * Packets meet, in this order:
 *   enter    (prerouting)  connections of ours go to their id's chain `live`; what is new and comes to a forwarded port goes
 *                          to its id's chain `enter`, which checks it against the limits, sets the mark and the timeouts.
 *                          Answers from elsewhere than the tunnel get the packet mark that routes them into it.
 *   turn     (prerouting)  changes the destination, by a map with one element for each port
 *   through  (forward)     MSS; what only pretends to belong to us is refused
 *   leave    (output)      the answers of this host's own sockets, as in `enter`
 * An id has three chains, enter_ID, cap_ID (the count of its connections) and live_ID; counters; and sets of who is allowed.
 * Counters without an id are notes for nat_sweep. */
#ifndef P2PD_TUN_NAT_TABLE_H
#define P2PD_TUN_NAT_TABLE_H

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

extern const struct nat_family {
	const char *ip, *type;
	char digit; /* at the end of our names */
} nat_families[2];
extern const struct nat_proto {
	const char *name;
	enum forward_proto number;
} nat_protos[2];
enum { NAT_REJECTS = FORWARD_BAD_HEADER }; /* it and what is behind it cannot happen here */

#define NAT_TABLE_PREFIX "p2pd-" /* and the device's name, in letters that nft takes */
char nat_table_digit(const struct addr *a);
void nat_table_name(char out[static NAT_TABLE_MAX], const char *tun);
const char *nat_table_id(const uint8_t id[static FORWARD_ID], char out[static NAT_ID_TEXT]);

/* The table without entries, with the note of the mark's value. */
void nat_table_base(FILE *out, const struct nat_frame *f, unsigned mark_value);
/* The notes of these switches, and that nothing else comes through by what they open. `old` is what was there. */
void nat_table_switches(FILE *out, const struct nat_frame *f, const struct nat_switch_list *old,
			const struct nat_switch_list *now);
/* Connections to these get the mark, by which firewalls let them in. Replaces all. */
void nat_table_inlets(FILE *out, const struct nat_frame *f, const struct forward_inlet *inlets, size_t count);
/* From now on packets of connections that have been ended are refused, so that both ends hear of it. */
void nat_table_ended(FILE *out, const struct nat_frame *f, const struct conntrack_flow *flows, size_t count);

/* Where a counter's name leads: the id, and what it counts. */
enum nat_count { NAT_COUNT_IN, NAT_COUNT_OUT, NAT_COUNT_TOTAL, NAT_COUNT_REJECTED };
bool nat_table_counter(const char *name, uint8_t id[static FORWARD_ID], enum nat_count *what,
		       enum forward_reject *why);
bool nat_table_is_mark(const char *name, unsigned *value);
bool nat_table_is_switch(const char *name, struct nat_switch *s);

#endif
