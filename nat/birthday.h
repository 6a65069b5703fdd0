/* Many mappings against many ports (B2 to B5 of the traversal notes): sends probes from `sockets` sockets to the ports of a plan, paced by the node's
 * budget, once each in an order that no two rounds share, and tells which answer belongs to which. Serves every technique
 * but simultaneous open: who opens has many sockets and one port, who probes one socket and many ports, a rendezvous
 * many sockets and one port on both ends. Pure. Embed by value; zeroed memory is idle.
 *
 * A probe's transaction id is computed from a key of the round, the socket and the destination, so that 1,024 of them
 * need no table: an answer counts only when it carries the id of a probe that was sent to where it came from. */
#ifndef P2PD_NAT_BIRTHDAY_H
#define P2PD_NAT_BIRTHDAY_H

#include "core/crypto.h"
#include "core/probe.h"
#include "nat/budget.h"

enum {
	BIRTHDAY_REFRESH_MS = 11000, /* B2: hard sockets are refreshed every 10 to 12 s */
	BIRTHDAY_PATIENCE_MS = 2000, /* after the last probe of a round, plus two ways */
	BIRTHDAY_SOCKETS = 256,	     /* TECHNIQUE_MAX_SOCKETS; plans of more are cut */
};

enum birthday_order {
	BIRTHDAY_SHUFFLED, /* lo..hi in an order drawn from the seed */
	/* From to.port on, for sequences: base, base + 1, + 2, + 3 steps, then base - 1 step, again three ahead and one
	 * back. Sequences move on; what lies behind is for a base that was measured late. Wraps within lo..hi. */
	BIRTHDAY_OUTWARD,
};

struct birthday_plan {
	struct addr to;	  /* the peer's public address; its port is the target when `ports` is 1 */
	unsigned sockets; /* 0 to sockets - 1 */
	unsigned ports;	  /* destinations from each socket; 1: to.port alone */
	enum birthday_order order;
	uint16_t lo,
		hi; /* the range; 0, 0: all ports. Never below BUDGET_MIN_PORT. At most all of it is tried */
	unsigned
		skip; /* shuffled: ports tried in earlier rounds, of all sockets (several share the range out) */
	uint64_t seed;	   /* shuffled: the same in all rounds of a pair */
	int step;	   /* outward */
	uint64_t start_ms; /* nothing is sent before */
	/* The round ends then at the latest, and one port is refreshed until then. 0: it ends patience after the last
	 * probe, or after the last one that the budget allowed. */
	uint64_t end_ms;
	/* Further probes from each socket when there is one port: 200, 600, 1400 ms later and so on. */
	unsigned repeats;
	/* Of the first probe from each socket, when there is one port: it leaves our NATs and dies before the peer's, where a
	 * packet that comes first can take the very mapping that the peer is about to need. 0: the system's. */
	uint8_t opener_ttl;
	uint32_t one_way_ms; /* to the peer */
};

enum birthday_state { BIRTHDAY_IDLE, BIRTHDAY_RUNNING, BIRTHDAY_HIT, BIRTHDAY_FAILED };

struct birthday {
	enum birthday_state state;
	struct birthday_plan plan;
	uint8_t key[32];
	unsigned sent; /* probes of this round; further fields are birthday.c's */
	unsigned hit_socket;
	struct addr hit;
	uint32_t range, multiplier,
		offset;		    /* of the order: port = lo + (multiplier * i + offset) mod range */
	uint64_t first_ms, last_ms; /* when probes were sent, or could have been */
	/* One port: when a socket sent last, after first_ms, and how often it did. */
	uint32_t socket_ms[BIRTHDAY_SOCKETS];
	uint8_t socket_sent[BIRTHDAY_SOCKETS];
};

struct birthday_probe {
	unsigned socket;
	struct addr to;
	uint8_t ttl; /* 0 for the system's default */
	uint8_t txid[PROBE_TXID];
};

/* Starts a round, whatever was before. A plan without sockets or ports, or whose address nobody may send to, fails at
 * once. */
void birthday_start(struct birthday *b, const struct birthday_plan *plan, struct rng *rng, uint64_t now_ms);
/* The next due probe that the budget allows; false when none is. Ends in BIRTHDAY_FAILED in time. */
bool birthday_next(struct birthday *b, struct budget *budget, uint64_t now_ms, struct birthday_probe *out);
/* An authenticated pong came in on `socket`. True, and BIRTHDAY_HIT (even after a failure), if its id is of a probe
 * that was sent from there to `from`. The first hit stays. */
bool birthday_on_pong(struct birthday *b, struct budget *budget, unsigned socket, const struct addr *from,
		      const uint8_t txid[static PROBE_TXID], uint64_t now_ms);
/* When birthday_next is to be called next: now_ms or before if at once, UINT64_MAX when not running. */
uint64_t birthday_deadline(const struct birthday *b, const struct budget *budget, uint64_t now_ms);

#endif
