/* How much of a relay its users may take: rates, bytes a month, and fair shares of what there is. Pure; it counts bytes of
 * datagrams as they came in. Embed by value; zeroed memory has no limits.
 *
 * Fair shares (only with limits.total_rate): time goes in windows. In each, every node that sent in the last one has an equal
 * share of the total to itself; what others leave of theirs is for whoever comes first. So one busy node gets all of an
 * idle relay, and no number of busy ones keeps another from its share. */
#ifndef P2PD_RELAY_QUOTA_H
#define P2PD_RELAY_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bucket.h"

enum {
	QUOTA_WINDOW_MS = 50,
	QUOTA_BURST_MS = 100,	  /* of a rate, at once */
	QUOTA_BURST_MIN = 131072, /* and never less than two superframes */
};

/* 0: no limit. Rates in bytes a second, at most 4 GB. */
struct quota_limits {
	uint32_t total_rate, network_rate, node_rate;
	uint64_t network_month, node_month; /* bytes in a calendar month, UTC */
};

struct quota {
	struct quota_limits limits;
	uint64_t window;  /* number of the one that is counted */
	uint64_t used;	  /* in it, by all */
	uint64_t kept;	  /* of it, for nodes that have not used their share yet */
	uint32_t sharing; /* nodes that have a share of it */
	uint32_t senders; /* that sent in it: the next one's sharers */
	uint32_t month;
};

/* A node, or a network. */
struct quota_user {
	struct bucket rate;
	uint64_t window, used; /* the last window in which it sent, and how much */
	bool shares;	       /* it has a share of that window */
	uint32_t month;	       /* that month_bytes are of */
	uint64_t month_bytes;
};

enum quota_verdict { QUOTA_OK, QUOTA_NODE_RATE, QUOTA_NETWORK_RATE, QUOTA_MONTH, QUOTA_SHARE };

/* The number of the calendar month, UTC. */
uint32_t quota_month(uint64_t unix_s);
void quota_set_month(struct quota *q, uint32_t month);
/* What `node` of `network` sends: QUOTA_OK, and it is counted; else what forbids it, and nothing is. */
enum quota_verdict quota_take(struct quota *q, struct quota_user *network, struct quota_user *node,
			      size_t bytes, uint64_t now_ms);
/* Bytes of this month that were taken elsewhere: they count, too. */
void quota_add_used(const struct quota *q, struct quota_user *u, uint64_t bytes);
/* Bytes of this month. */
uint64_t quota_used(const struct quota *q, const struct quota_user *u);

#endif
