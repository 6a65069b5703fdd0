/* What the files of lease_link share, and nobody else includes: lease_link.c (life, peers' requests), lease_link_call.c
 * (ours), lease_link_wire.c (how both look on the wire: pure). */
#ifndef P2PD_APPS_P2PD_FORWARD_LEASE_LINK_IMPL_H
#define P2PD_APPS_P2PD_FORWARD_LEASE_LINK_IMPL_H

#include "apps/p2pd/forward/lease_link.h"
#include "core/bucket.h"
#include "core/map.h"
#include "relay/http.h"

/* What a member may ask. Any user of its machine may ask, too, but cannot sign: that must not cost the node its turns. */
struct lease_turns {
	struct bucket signed_asks, others;
	uint64_t told_ms; /* that it was too often */
};

struct lease_listener {
	struct stream_listener *stream; /* NULL: it does not listen */
	struct addr at;
};

struct lease_link {
	struct lease_link_config config;
	struct http_server *http;
	struct lease_listener listeners[2]; /* IPv4, IPv6 */
	struct map buckets;		    /* struct lease_turns, by the peer's identity key */
	struct lease_ask *asks;
	struct lease_call *calls;
	unsigned ask_count, call_count;
};

struct lease_ask {
	struct lease_link *link; /* NULL: it was stopped */
	struct lease_ask *next, **at;
	struct http_exchange *x; /* NULL: the peer has gone */
};

static inline unsigned lease_family(const struct addr *a)
{
	return a->family == ADDR_V6;
}

/* --- lease_link_call.c */
void lease_calls_stop(struct lease_link *k);

/* --- lease_link_wire.c */
enum lease_kind { LEASE_PUT, LEASE_DELETE, LEASE_STATS, LEASE_ADMIT };

/* A request is signed by its sender's identity key, for that receiver only: header "P2PD-Signature", base64url of an
 * Ed25519 signature over "p2pd1/lease", a NUL, and the BLAKE2b-512 of receiver's key, method, NUL, path, NUL and body. That
 * nobody plays one again is the tunnel's doing. */
/* A whole HTTP request, to be freed; `body` may be NULL. NULL without memory. */
char *lease_wire_request(const char *method, const char *path, const struct json_t *body,
			 const uint8_t sk[static 64], const uint8_t receiver[static 32], size_t *len);
/* Whether the request was signed by `sender` for us. */
bool lease_wire_signed(const struct http_message *m, const uint8_t sender[static 32],
		       const uint8_t receiver[static 32]);
/* A problem object (RFC 9457) with {"error": {"code", "message"}} and "forward_id" in it; *status is HTTP's. A new
 * reference, NULL without memory. */
struct json_t *lease_wire_error(int error, const char *why, const uint8_t *conflict, int *status);
/* What the peer answered. */
void lease_wire_reply(enum lease_kind kind, const struct http_message *m, uint64_t now_ms,
		      struct lease_reply *reply);

#endif
