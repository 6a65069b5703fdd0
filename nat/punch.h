/* Opens UDP paths to one peer between endpoint-independent NATs (simultaneous open) and wherever no NAT is in the way.
 * Technique B0/B1 of the traversal notes: at the agreed start one low-TTL opener per remote candidate, then full-TTL
 * bursts at start + one_way + 30 ms + {0, 20, 60, 140, 300, 600} ms; after the first hit three more to the address
 * that answered. The peer's private host addresses get an opener and the first two bursts only: they are of use in
 * the same LAN, where nothing has to be timed, and in any other LAN they are strangers'.
 * Says *what* to send when; the caller makes the probe (with its own transaction id) and sends it.
 * Pure: no sockets, clock or heap. Embed by value; zeroed memory is PUNCH_IDLE. */
#ifndef P2PD_NAT_PUNCH_H
#define P2PD_NAT_PUNCH_H

#include "nat/candidates.h"

enum {
	PUNCH_BUDGET = 160, /* probes a round, all kinds */
	PUNCH_OPENER_TTL = 4,
	/* The hub names the times, and it is not to be believed: longer ones are cut to these. */
	PUNCH_MAX_WAIT_MS = 5000,
	PUNCH_MAX_ONE_WAY_MS = 1000,
};
enum punch_state { PUNCH_IDLE, PUNCH_RUNNING, PUNCH_HIT, PUNCH_FAILED };

struct punch_plan {
	struct candidate_list remote;
	bool have_ip4, have_ip6; /* families that we can send on; candidates of the other are skipped */
	uint64_t start_ms;	 /* agreed with the peer through the hub; a time that has passed means now */
	uint32_t one_way_ms;	 /* estimate to the peer: half the sum of both RTTs to the hub, halved */
	unsigned round;		 /* 0, 1, 2, ...: opener TTL 4, then 7, then none */
	uint8_t depth;		 /* of our outermost NAT, 0 if unknown: the first opener's TTL is one more */
};

struct punch_probe {
	struct addr to;
	uint8_t ttl; /* 0 for the default */
};

/* How far a remote candidate is through its opener and bursts. */
struct punch_target {
	uint64_t bursts_ms;  /* when its first burst is due */
	uint8_t step, steps; /* the next: 0 for the opener, then the bursts; how many in all */
};

struct punch {
	enum punch_state state;
	struct punch_plan plan;				    /* plan.remote holds only what we can send to */
	struct punch_target targets[RECORD_MAX_CANDIDATES]; /* of plan.remote.items */
	uint64_t end_ms;				    /* when a round without a hit has failed */
	uint64_t hit_ms;
	unsigned hit_probes; /* of those after the hit, how many were sent */
	unsigned sent;
	struct addr hit; /* in PUNCH_HIT: the address that answered */
};

/* TTL of the openers in round 0, 1, 2, ...; 0 for the system's. `depth` is that of our outermost NAT, 0 if unknown. */
uint8_t punch_opener_ttl(unsigned round, uint8_t depth);
/* Starts a round, whatever was before. */
void punch_start(struct punch *p, const struct punch_plan *plan, uint64_t now_ms);
void punch_stop(struct punch *p);
/* While running: the peer told of one more candidate, or its probe came from an address we did not know. It is probed,
 * too: with the others before the start, else at once and with bursts of its own. When the list is full it takes the
 * place of the last. */
void punch_add_remote(struct punch *p, enum candidate_kind kind, const struct addr *addr, uint64_t now_ms);
/* An authenticated pong arrived for a probe sent to `from`. The first makes it PUNCH_HIT, even after a failure. */
void punch_on_reply(struct punch *p, const struct addr *from, uint64_t now_ms);
/* The next due probe; false when none is due before punch_deadline(). Ends in PUNCH_FAILED 1.5 s + 2 one_way after the
 * last burst without a hit. A caller that comes late gets the latest of the bursts that it missed, not all of them. */
bool punch_next(struct punch *p, uint64_t now_ms, struct punch_probe *out);
uint64_t punch_deadline(const struct punch *p); /* UINT64_MAX when idle, hit and done, or failed */

#endif
