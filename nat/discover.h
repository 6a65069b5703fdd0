/* Finds out what a NAT does (RFC 5780; reports 1 to 5 and 12 of the traversal notes): mapping, filtering, allocation,
 * pooling, hairpin, and whether our port moves when a stranger's packet comes first. Asks STUN servers from numbered
 * sockets: one family, up to four server endpoints. Says "unknown" where the servers cannot tell (filtering is judged by
 * the source address of the answer, never by what the server claims). The same code serves natcheck and p2pd.
 * All sockets are separate, so that no test spoils another's mapping. Pure. Embed by value; zeroed memory is idle.
 *
 * What a server tells of further endpoints (OTHER-ADDRESS) is not believed but asked: at most DISCOVER_LEARNT of them, of
 * the server's family, private or loopback only if the server itself is, with four plain Bindings of 20 bytes each at
 * most; more goes to one only after it has answered.
 *
 * Filtering and clash need a packet from an address that the socket has not sent to. A server that announces a
 * second endpoint sends it from there (CHANGE-REQUEST); else another one does that is told our port (RESPONSE-PORT), so
 * that two servers with one address each do.
 * That nothing came counts only when the same was seen to arrive at DISCOVER_MAIN, which has sent to that address, and
 * plain Bindings were answered before and after. (Behind a NAT with endpoint-dependent mapping no CHANGE-REQUEST brings
 * anything there: then it must do that the server announces the endpoint, and that it answers.) */
#ifndef P2PD_NAT_DISCOVER_H
#define P2PD_NAT_DISCOVER_H

#include "core/crypto.h"
#include "core/verdict.h"
#include "nat/ask.h"
#include "nat/predict.h"

enum {
	DISCOVER_RTO_MS = 250,
	DISCOVER_SERVERS = 4,
	DISCOVER_LEARNT = 4, /* two servers with a second address and a second port */
	DISCOVER_ENDPOINTS = DISCOVER_SERVERS + DISCOVER_LEARNT,
	/* Sockets by number. MAIN is the one whose mapping matters (p2pd's own); the others are opened for this alone. */
	DISCOVER_MAIN = 0,
	DISCOVER_FILTERING = 1,
	DISCOVER_HAIRPIN = 2,
	DISCOVER_CLASH = 3,
	DISCOVER_FRESH = 4, /* to DISCOVER_FRESH + PREDICT_FRESH_SOCKETS - 1 */
	DISCOVER_SOCKETS = DISCOVER_FRESH + PREDICT_FRESH_SOCKETS,
	/* Fresh sockets that ask a second endpoint, too: whether each socket counts for itself shows in no other way. */
	DISCOVER_FRESH_TWICE = 6,
	DISCOVER_FRESH_ASKS = PREDICT_FRESH_SOCKETS + DISCOVER_FRESH_TWICE,
};

enum discover_answer { DISCOVER_UNKNOWN, DISCOVER_NO, DISCOVER_YES };

struct discover_config {
	struct addr servers
		[DISCOVER_SERVERS]; /* of one family; further endpoints are learnt from OTHER-ADDRESS */
	size_t server_count;
	struct addr local; /* of DISCOVER_MAIN towards the servers, with its port */
	uint32_t rto_ms;   /* until a server answers; at least DISCOVER_RTO_MS */
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

enum discover_phase {
	DISCOVER_ASK_SERVERS,	/* MAIN asks those that were given */
	DISCOVER_ASK_ENDPOINTS, /* and those that they told of */
	DISCOVER_ASK_FRESH,	/* fresh sockets make new mappings, while no other socket does */
	DISCOVER_ASK_STRANGERS, /* filtering, hairpin, clash */
	DISCOVER_DONE,
};

/* Where its asks stand in `asks`. TRY_: filtering; PROOF_: that such an answer arrives where nothing filters it. */
enum discover_ask {
	ASK_ENDPOINT = 0,
	ASK_FRESH = ASK_ENDPOINT + DISCOVER_ENDPOINTS,
	ASK_BEFORE = ASK_FRESH + DISCOVER_FRESH_ASKS,
	ASK_AFTER,
	ASK_TRY_IP,
	ASK_TRY_PORT,
	ASK_PROOF_IP,
	ASK_PROOF_PORT,
	ASK_HAIRPIN_MAPPED,
	ASK_HAIRPIN,
	ASK_HAIRPIN_OPENER,
	ASK_CLASH_MAPPED,
	ASK_CLASH_STRANGER,
	ASK_CLASH_AGAIN,
	DISCOVER_ASKS,
};

/* How to have a packet come from where a socket has not sent to. */
struct discover_stranger {
	struct addr ask, comes_from; /* ADDR_NONE: there is none */
	uint8_t change;		     /* flags of CHANGE-REQUEST; 0: RESPONSE-PORT */
};

struct discover {
	bool running;
	struct discover_config config;
	struct discover_result result; /* filled as answers come; final once running is false */
	/* The rest is discover.c's. */
	enum discover_phase phase;
	uint64_t start_ms, phase_ms, end_ms;
	uint64_t wake_ms;	   /* an answer came: what follows from it is due */
	uint32_t rtt_ms, every_ms; /* the longest; between two tries */
	size_t endpoint_count;
	struct ask asks[DISCOVER_ASKS];
	struct addr local[DISCOVER_SOCKETS]; /* ADDR_NONE: unknown */
	struct addr home;		     /* the server that the sockets of filtering and clash send to */
	struct discover_stranger by_ip, by_port;
};

/* Starts anew, whatever was before. -EINVAL without servers or with mixed families. */
int discover_start(struct discover *d, const struct discover_config *config, struct rng *rng,
		   uint64_t now_ms);
void discover_stop(struct discover *d);
/* The next due request; false when none is. All tests together end within 2.5 s at an RTT of 50 ms, silence included. */
bool discover_next(struct discover *d, struct rng *rng, uint64_t now_ms, struct ask_out *out);
/* A datagram came in on `socket`, whose own address is `local` (ADDR_NONE: unknown). True if it was ours. */
bool discover_on_message(struct discover *d, unsigned socket, const struct addr *local,
			 const struct addr *from, const uint8_t *msg, size_t len, uint64_t now_ms);
uint64_t discover_deadline(const struct discover *d); /* UINT64_MAX when not running */

#endif
