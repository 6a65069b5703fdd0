/* STUN server: Binding (RFC 8489), stateless but for a rate limit per source network (/24 and /48), bounded in
 * memory. Replies to plain Bindings are as small as they can be; CHANGE-REQUEST (RFC 5780) comes with natcheck and is
 * refused with 420 until then. Pure. */
#ifndef P2PD_NAT_STUN_SERVER_H
#define P2PD_NAT_STUN_SERVER_H

#include "core/bucket.h"
#include "nat/stun.h"

enum {
	STUN_SERVER_BUCKETS = 4096,
	STUN_SERVER_RATE = 50,	 /* replies per s and source network */
	STUN_SERVER_BURST = 100, /* replies at once */
	/* No reply is longer than its request by more than this: an IPv6 XOR-MAPPED-ADDRESS. */
	STUN_SERVER_GROWTH = 24,
};

struct stun_server {
	uint32_t seed; /* of the hash from source network to bucket: who shares one cannot be foreseen */
	struct bucket buckets[STUN_SERVER_BUCKETS];
	uint64_t answered, limited, malformed;
};

struct rng;
void stun_server_init(struct stun_server *s, struct rng *rng);
/* Length of the reply to send back to `from`, 0 for none. */
size_t stun_server_reply(struct stun_server *s, const uint8_t *msg, size_t len, const struct addr *from,
			 uint64_t now_ms, uint8_t out[static STUN_MAX]);

#endif
