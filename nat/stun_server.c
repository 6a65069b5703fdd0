#include "nat/stun_server.h"

#include <string.h>

#include "core/crypto.h"

enum {
	NETWORK_BYTES_V4 = 3, /* /24 */
	NETWORK_BYTES_V6 = 6, /* /48 */
	CHANGE_REQUEST = 0x0003,
	UNKNOWN_ATTRIBUTE = 420,
};

void stun_server_init(struct stun_server *s, struct rng *rng)
{
	*s = (struct stun_server) { .seed = rng_u32(rng) };
}

/* Networks that hash alike share a bucket. So a flood from everywhere finds a bounded table and a bounded rate, and
 * nobody gets a fresh bucket by pushing another out. */
static struct bucket *bucket_of(struct stun_server *s, const struct addr *from)
{
	size_t len = from->family == ADDR_V4 ? NETWORK_BYTES_V4 : NETWORK_BYTES_V6;
	struct addr network = { .family = from->family };

	memcpy(network.ip, from->ip, len);
	return &s->buckets[addr_hash(&network, s->seed) % STUN_SERVER_BUCKETS];
}

static void answer(struct stun_msg *reply, const struct stun_msg *request, const struct addr *from)
{
	*reply = (struct stun_msg) { .cls = STUN_SUCCESS, .method = STUN_BINDING, .mapped = *from };
	memcpy(reply->txid, request->txid, sizeof reply->txid);
}

/* RFC 8489 section 6.3.1: names the attributes that it would have had to understand. */
static void refuse(struct stun_msg *reply, const struct stun_msg *request)
{
	*reply = (struct stun_msg) { .cls = STUN_ERROR,
				     .method = STUN_BINDING,
				     .error_code = UNKNOWN_ATTRIBUTE };
	memcpy(reply->txid, request->txid, sizeof reply->txid);
	memcpy(reply->unknown, request->unknown, sizeof reply->unknown);
	reply->unknown_count = request->unknown_count;
	if (request->change_request && reply->unknown_count < STUN_MAX_UNKNOWN)
		reply->unknown[reply->unknown_count++] = CHANGE_REQUEST;
}

size_t stun_server_reply(struct stun_server *s, const uint8_t *msg, size_t len, const struct addr *from,
			 uint64_t now_ms, uint8_t out[static STUN_MAX])
{
	struct stun_msg request, reply;

	if (stun_decode(&request, msg, len) || request.cls != STUN_REQUEST ||
	    request.method != STUN_BINDING) {
		s->malformed++;
		return 0;
	}
	if (!bucket_take(bucket_of(s, from), STUN_SERVER_RATE, STUN_SERVER_BURST, now_ms)) {
		s->limited++;
		return 0;
	}
	if (request.unknown_count || request.change_request)
		refuse(&reply, &request);
	else
		answer(&reply, &request, from);
	s->answered++;
	return (size_t)stun_encode(&reply, request.has_fingerprint, out, STUN_MAX);
}
