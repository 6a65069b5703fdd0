/* What coord knows of networks and nodes, to be read by those who administer the hub: in pages, each in the order of its
 * key, so that a page that follows misses nothing that was there all the time. Changes nothing; takes a millisecond for
 * 20,000 nodes. */
#ifndef P2PD_RELAY_COORD_LIST_H
#define P2PD_RELAY_COORD_LIST_H

#include "relay/coord.h"

enum { COORD_LIST_MAX = 1001 }; /* more are not given in one page */

struct coord_network {
	uint8_t netid[32];
	uint32_t members, online;
};

struct coord_node {
	uint8_t netid[32], ik[32];
	bool online;
	uint32_t slot;	 /* of the relay; 0: none */
	uint32_t rtt_ms; /* of the link; 0: not known */
	uint64_t seq;	 /* of the record */
	size_t record_len;
};

/* Of a relay slot. */
struct coord_owner {
	uint32_t slot;
	bool known;
	uint8_t netid[32], ik[32];
};

/* The first `cap` networks, or those after the one with id `after`. Returns their number. */
size_t coord_list_networks(const struct coord *c, const uint8_t *after, struct coord_network *out,
			   size_t cap);
/* 0 or -ENOENT. */
int coord_find_network(const struct coord *c, const uint8_t netid[static 32], struct coord_network *out);
/* The nodes of one network, those after `after` if it is given. */
size_t coord_list_nodes(const struct coord *c, const uint8_t netid[static 32], const uint8_t *after,
			struct coord_node *out, size_t cap);
/* The networks in which a node with this key is. */
size_t coord_find_node(const struct coord *c, const uint8_t ik[static 32], struct coord_node *out,
		       size_t cap);
/* Says whose slots these are. `owners` come sorted by slot. */
void coord_find_owners(const struct coord *c, struct coord_owner *owners, size_t count);
int coord_owner_compare(const void *a, const void *b);

#endif
