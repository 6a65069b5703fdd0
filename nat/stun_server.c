#include "nat/stun_server.h"

#include <errno.h>
#include <string.h>

#include "core/crypto.h"

enum {
	NETWORK_BYTES_V4 = 3, /* /24 */
	NETWORK_BYTES_V6 = 6, /* /48 */
	CHANGE_REQUEST = 0x0003,
	CHANGE_FLAGS = STUN_CHANGE_IP | STUN_CHANGE_PORT,
	BAD_REQUEST = 400,
	UNKNOWN_ATTRIBUTE = 420,
	PADDING_HEADER = 4,
};

void stun_server_init(struct stun_server *s, const struct addr *endpoints, size_t count, struct rng *rng)
{
	*s = (struct stun_server) { .seed = rng_u32(rng) };
	s->endpoint_count = count < STUN_SERVER_ENDPOINTS ? count : STUN_SERVER_ENDPOINTS;
	if (count)
		memcpy(s->endpoints, endpoints, s->endpoint_count * sizeof *endpoints);
}

static int decode_request(struct stun_msg *request, const uint8_t *msg, size_t len, enum addr_family family)
{
	if (stun_decode(request, msg, len) && (family != ADDR_V4 || stun_decode_classic(request, msg, len)))
		return -EBADMSG;
	return request->cls == STUN_REQUEST && request->method == STUN_BINDING ? 0 : -EBADMSG;
}

/* True for a request whose reply does not simply go back. */
static bool is_diverted(const struct stun_msg *request)
{
	return request->change_request & CHANGE_FLAGS || request->response_port;
}

/* Networks that hash alike share a bucket. So a flood from everywhere finds a bounded table and a bounded rate, and
 * nobody gets a fresh bucket by pushing another out. */
static bool may_answer(struct stun_server *s, const struct stun_msg *request, const struct addr *from,
		       uint64_t now_ms)
{
	size_t len = from->family == ADDR_V4 ? NETWORK_BYTES_V4 : NETWORK_BYTES_V6;
	struct addr network = { .family = from->family };

	memcpy(network.ip, from->ip, len);
	size_t i = addr_hash(&network, s->seed) % STUN_SERVER_BUCKETS;
	if (!bucket_take(&s->buckets[i], STUN_SERVER_RATE, STUN_SERVER_BURST, now_ms))
		return false;
	return !is_diverted(request) ||
	       bucket_take(&s->diverted[i], STUN_SERVER_DIVERTED_RATE, STUN_SERVER_DIVERTED_BURST, now_ms);
}

/* What differs from `at` in the flags' sense, and in nothing else; ADDR_NONE if there is no such endpoint. */
static struct addr alternate(const struct stun_server *s, const struct addr *at, uint32_t flags)
{
	for (size_t i = 0; i < s->endpoint_count; i++) {
		const struct addr *e = &s->endpoints[i];
		bool is_any = addr_is_any(e);
		bool has_ip = is_any || addr_same_ip(e, at);
		bool other_ip = !is_any && !addr_same_ip(e, at);
		if (e->family != at->family || (e->port != at->port) != !!(flags & STUN_CHANGE_PORT) ||
		    !(flags & STUN_CHANGE_IP ? other_ip : has_ip))
			continue;
		struct addr found = is_any ? *at : *e;
		found.port = e->port;
		return found;
	}
	return (struct addr) { 0 };
}

/* A client that is told of it asks the two endpoints beside it, too. */
static struct addr other_address(const struct stun_server *s, const struct addr *at)
{
	if (alternate(s, at, STUN_CHANGE_IP).family == ADDR_NONE ||
	    alternate(s, at, STUN_CHANGE_PORT).family == ADDR_NONE)
		return (struct addr) { 0 };
	return alternate(s, at, CHANGE_FLAGS);
}

/* Makes the reply's route of the request's. 0, or the code of the error that is to go back instead. */
static uint16_t divert(const struct stun_server *s, const struct stun_msg *request, struct stun_route *route)
{
	uint32_t flags = request->change_request & CHANGE_FLAGS;

	if (request->unknown_count)
		return UNKNOWN_ATTRIBUTE;
	if (request->response_port && request->response_port < STUN_SERVER_LEAST_PORT)
		return BAD_REQUEST;
	if (flags) {
		struct addr from = alternate(s, &route->server, flags);
		if (from.family == ADDR_NONE)
			return UNKNOWN_ATTRIBUTE;
		route->server = from;
	}
	if (request->response_port)
		route->client.port = request->response_port;
	return 0;
}

/* RFC 8489 section 6.3.1: names the attributes that it would have had to understand. */
static void refuse(struct stun_msg *reply, const struct stun_msg *request, uint16_t code)
{
	reply->cls = STUN_ERROR;
	reply->error_code = code;
	if (code != UNKNOWN_ATTRIBUTE)
		return;
	memcpy(reply->unknown, request->unknown, sizeof reply->unknown);
	reply->unknown_count = request->unknown_count;
	if (request->change_request & CHANGE_FLAGS && reply->unknown_count < STUN_MAX_UNKNOWN)
		reply->unknown[reply->unknown_count++] = CHANGE_REQUEST;
}

/* Takes out what a client can best do without; false when there is nothing left to take out. */
static bool shorten(struct stun_msg *m)
{
	static const struct addr none;

	if (m->response_origin.family != ADDR_NONE)
		m->response_origin = none;
	else if (m->other_address.family != ADDR_NONE)
		m->other_address = none;
	else if (m->mapped.family != ADDR_NONE)
		m->mapped = none;
	else if (m->unknown_count)
		m->unknown_count = 0;
	else
		return false;
	return true;
}

static size_t encode(struct stun_msg *reply, bool fingerprint, size_t limit, uint8_t *out)
{
	int len;

	do
		len = stun_encode(reply, fingerprint, out, limit);
	while (len < 0 && shorten(reply));
	return len < 0 ? 0 : (size_t)len;
}

static size_t encode_padded(struct stun_msg *reply, bool fingerprint, size_t len, size_t want, uint8_t *out)
{
	if (want > STUN_PADDED_MAX)
		want = STUN_PADDED_MAX;
	if (want <= len + PADDING_HEADER)
		return len;
	reply->padding = (uint16_t)(want - len - PADDING_HEADER);
	return encode(reply, fingerprint, want, out);
}

size_t stun_server_reply(struct stun_server *s, const uint8_t *msg, size_t len, struct stun_route *route,
			 uint64_t now_ms, uint8_t out[static STUN_PADDED_MAX])
{
	const struct stun_route in = *route;
	struct stun_msg request;

	if (decode_request(&request, msg, len, (enum addr_family)in.client.family)) {
		s->malformed++;
		return 0;
	}
	if (!may_answer(s, &request, &in.client, now_ms)) {
		s->limited++;
		return 0;
	}
	struct stun_msg reply = { .cls = STUN_SUCCESS,
				  .method = STUN_BINDING,
				  .classic = request.classic,
				  .classic_id = request.classic_id };
	memcpy(reply.txid, request.txid, sizeof reply.txid);
	uint16_t error = divert(s, &request, route);
	bool plain = !error && !is_diverted(&request);
	if (error) {
		refuse(&reply, &request, error);
	} else {
		reply.mapped = in.client;
		reply.other_address = other_address(s, &in.server);
		if (request.padding)
			reply.response_origin = route->server;
	}
	size_t n = encode(&reply, request.has_fingerprint, len + (plain ? STUN_SERVER_GROWTH : 0), out);
	if (plain && request.padding)
		n = encode_padded(&reply, request.has_fingerprint, n, len, out);
	s->answered += n > 0;
	return n;
}
