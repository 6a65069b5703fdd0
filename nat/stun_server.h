/* STUN server: Binding (RFC 8489) with the behaviour tests of RFC 5780, stateless but for a rate limit per source network
 * (/24 and /48), bounded in memory. Pure.
 *
 * It answers from up to two addresses and two ports of each family. OTHER-ADDRESS (RFC 5780 section 7.4) names the
 * opposite corner, only where all four are there. With fewer endpoints none is named: CHANGE-REQUEST is served as far as
 * they go (one address with two ports: the other port), else refused with 420. The other port shows in such a reply, by
 * its source and in RESPONSE-ORIGIN. Two hubs with one address each stand in for one with two: a client asks both how
 * its NAT maps, and has each send to the port that the other knows (RESPONSE-PORT) to see how it filters.
 *
 * Sources can be forged, so what a reply costs others is bounded:
 * - It goes to the address that the request came from. RESPONSE-PORT changes the port only, to none below 1024.
 * - It is no longer than its request, save to a plain Binding (no CHANGE-REQUEST, no RESPONSE-PORT), which gets
 *   XOR-MAPPED-ADDRESS and OTHER-ADDRESS: growth of STUN_SERVER_GROWTH at most. Attributes that do not fit are left out,
 *   RESPONSE-ORIGIN first, then OTHER-ADDRESS, XOR-MAPPED-ADDRESS, and UNKNOWN-ATTRIBUTES of an error.
 * - So who wants addresses in the answer to a CHANGE-REQUEST or RESPONSE-PORT pads the request: 24 bytes of PADDING are
 *   room for all in IPv4, 60 in IPv6. An unpadded one gets a bare success of 20 bytes. That is all that Debian's `stun`
 *   and coturn's turnutils_natdiscovery, which do not pad, look at (that it came is the result), and gives an attacker
 *   less than a plain Binding does.
 * - A plain Binding with PADDING gets a reply padded to the request's size (STUN_PADDED_MAX at most).
 * - Requests of RFC 3489 (no cookie) are held to the same, and are answered over IPv4 only. Its RESPONSE-ADDRESS, by
 *   which a reply would go anywhere, is refused with 420. */
#ifndef P2PD_NAT_STUN_SERVER_H
#define P2PD_NAT_STUN_SERVER_H

#include "core/bucket.h"
#include "nat/stun.h"

enum {
	STUN_SERVER_ENDPOINTS = 24,
	STUN_SERVER_BUCKETS = 4096,
	/* A node that finds out what its NAT does asks some 60 times in 2 s, and a carrier puts many behind one address. */
	STUN_SERVER_RATE = 200,	  /* replies per s and source network */
	STUN_SERVER_BURST = 1000, /* replies at once */
	/* Of these, to CHANGE-REQUEST and RESPONSE-PORT. Debian's `stun` asks 14 times in 1.3 s. */
	STUN_SERVER_DIVERTED_RATE = 30,
	STUN_SERVER_DIVERTED_BURST = 150,
	STUN_SERVER_GROWTH = 48, /* XOR-MAPPED-ADDRESS and OTHER-ADDRESS in IPv6 */
	STUN_SERVER_LEAST_PORT = 1024,
};

/* The two ends of a datagram: ours (ADDR_NONE if unknown) and the client's. */
struct stun_route {
	struct addr server, client;
};

struct stun_server {
	uint32_t seed; /* of the hash from source network to bucket: who shares one cannot be foreseen */
	struct addr endpoints[STUN_SERVER_ENDPOINTS];
	size_t endpoint_count;
	struct bucket buckets[STUN_SERVER_BUCKETS], diverted[STUN_SERVER_BUCKETS];
	uint64_t answered, limited, malformed;
};

struct rng;
/* `endpoints` are those that it can answer from, the preferred first; what is more than STUN_SERVER_ENDPOINTS is not
 * used. One with the unspecified address (0.0.0.0, ::) stands for each local address that a request comes to. */
void stun_server_init(struct stun_server *s, const struct addr *endpoints, size_t count, struct rng *rng);
/* Length of the reply in `out`, 0 for none. `route` is the request's on entry, the reply's on return. */
size_t stun_server_reply(struct stun_server *s, const uint8_t *msg, size_t len, struct stun_route *route,
			 uint64_t now_ms, uint8_t out[static STUN_PADDED_MAX]);

#endif
