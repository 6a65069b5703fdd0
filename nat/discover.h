/* Finds out what a NAT does (RFC 5780; reports 1 to 5 and 12 of the traversal notes): mapping, filtering, allocation,
 * pooling, hairpin, and whether our port moves when a stranger's packet comes first. Asks STUN servers from numbered
 * sockets: one family, up to four server endpoints. Says "unknown" where the servers cannot tell (filtering is judged by
 * the source address of the answer, never by what the server claims). The same code serves natcheck and p2pd.
 * All sockets are separate, so that no test spoils another's mapping. Pure. Embed by value; zeroed memory is idle. */
#ifndef P2PD_NAT_DISCOVER_H
#define P2PD_NAT_DISCOVER_H

#include "core/crypto.h"
#include "core/verdict.h"
#include "nat/predict.h"
#include "nat/stun.h"

enum {
	DISCOVER_SERVERS = 4,
	/* Sockets by number. MAIN is the one whose mapping matters (p2pd's own); the others are opened for this alone. */
	DISCOVER_MAIN = 0,
	DISCOVER_FILTERING = 1,
	DISCOVER_HAIRPIN = 2,
	DISCOVER_CLASH = 3,
	DISCOVER_FRESH = 4, /* to DISCOVER_FRESH + PREDICT_FRESH_SOCKETS - 1 */
	DISCOVER_SOCKETS = DISCOVER_FRESH + PREDICT_FRESH_SOCKETS,
};

enum discover_answer { DISCOVER_UNKNOWN, DISCOVER_NO, DISCOVER_YES };

struct discover_config {
	struct addr servers
		[DISCOVER_SERVERS]; /* of one family; further endpoints are learnt from OTHER-ADDRESS */
	size_t server_count;
	struct addr local; /* of DISCOVER_MAIN towards the servers, with its port */
	uint32_t rto_ms;   /* 0 for the default */
};

struct discover_out {
	unsigned socket;
	struct addr to;
	size_t len;
	uint8_t msg[STUN_MAX];
};

struct discover_result {
	struct verdict verdict; /* depth and cgnat are left 0: hops.h tells them */
	bool across_addresses;	/* servers at different addresses were compared, not only two ports of one */
	struct addr mapped;	/* of DISCOVER_MAIN, by the first server that answered */
	uint32_t rtt_ms;
	bool keeps_port, keeps_parity;
	enum discover_answer hairpin;
	struct addr hairpin_source; /* seen by ourselves */
	enum discover_answer clash_moves_port;
};

struct discover {
	bool running;
	struct discover_config config;
	struct discover_result result; /* filled as answers come; final once running is false */
				       /* The author of discover.c defines the rest. */
};

/* Starts anew, whatever was before. -EINVAL without servers or with mixed families. */
int discover_start(struct discover *d, const struct discover_config *config, struct rng *rng,
		   uint64_t now_ms);
void discover_stop(struct discover *d);
/* The next due request; false when none is. All tests together end within 2.5 s at an RTT of 50 ms, silence included. */
bool discover_next(struct discover *d, struct rng *rng, uint64_t now_ms, struct discover_out *out);
/* A datagram came in on `socket`, whose own address is `local` (ADDR_NONE: unknown). True if it was ours. */
bool discover_on_message(struct discover *d, unsigned socket, const struct addr *local,
			 const struct addr *from, const uint8_t *msg, size_t len, uint64_t now_ms);
uint64_t discover_deadline(const struct discover *d); /* UINT64_MAX when not running */

#endif
