/* The kernel's table of connections (conntrack), by ctnetlink: those that carry a mark. Linux only. */
#ifndef P2PD_TUN_CONNTRACK_H
#define P2PD_TUN_CONNTRACK_H

#include <stddef.h>

#include "core/addr.h"

/* One that the kernel follows. Addresses with ports, as packets have them: of the first packet, and of the answers. */
struct conntrack_flow {
	uint8_t proto;	   /* IANA's number: TCP 6, UDP 17 */
	uint8_t tcp_state; /* enum tcp_conntrack: TCP_CONNTRACK_ESTABLISHED ...; 0 for others */
	bool answered;	   /* packets went both ways */
	uint32_t id, mark;
	uint32_t timeout_s; /* so long until it is forgotten, unless packets come */
	struct addr from, to;
	struct addr back_from, back_to;
};

/* Calls `each` for those whose mark is `mark` under `mask`. 0 or a negative errno. */
int conntrack_each(uint32_t mark, uint32_t mask, void (*each)(void *arg, const struct conntrack_flow *f),
		   void *arg);
/* Forgets them; those gone already are no error. 0 or a negative errno. */
int conntrack_delete(const struct conntrack_flow *flows, size_t count);
/* Forgets all that carry the mark. */
int conntrack_delete_marked(uint32_t mark, uint32_t mask);

/* A list that grows, for what is to be deleted. Zeroed memory is an empty one. */
struct conntrack_list {
	struct conntrack_flow *flows;
	size_t count, room;
};
/* What does not fit into memory is left out. */
void conntrack_list_add(struct conntrack_list *l, const struct conntrack_flow *f);
void conntrack_list_free(struct conntrack_list *l);

#endif
