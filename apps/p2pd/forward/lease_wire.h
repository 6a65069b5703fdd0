/* How requests and answers of lease_link look on the wire. A request is signed by its sender's identity key, for that
 * receiver only: header "P2PD-Signature", base64url of an Ed25519 signature over "p2pd1/lease" and a NUL, and the BLAKE2b-512 of
 * receiver's key, method NUL, path NUL and body. That nobody plays one again is the tunnel's doing. Pure. */
#ifndef P2PD_APPS_P2PD_FORWARD_LEASE_WIRE_H
#define P2PD_APPS_P2PD_FORWARD_LEASE_WIRE_H

#include "apps/p2pd/forward/lease_link.h"
#include "relay/http_parse.h"

enum lease_kind { LEASE_PUT, LEASE_DELETE, LEASE_STATS, LEASE_ADMIT };

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
