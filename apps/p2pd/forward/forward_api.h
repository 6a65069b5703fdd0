/* Port forwarding for this machine's people and programs: HTTP and JSON, on the control socket and, to read only, on
 * loopback (forward_door.h).
 *   GET /api/v1/portmap[?all=1]          {"schema": "p2pd.portmap/1", "forwards": [RULE, ...]}; rule.h says what a RULE is
 *   POST /api/v1/portmap                 a RULE's keys, "force": 201 RULE
 *   GET, PATCH, DELETE /api/v1/portmap/ID   RULE. ID is the forward_id, or a name that only one living rule has
 *   POST .../ID/pause, /resume, /restore RULE
 *   POST .../ID/ping                     {"schema": "p2pd.portmap.ping/1", "checks": [{"what", "ok", "detail"}, ...]}
 *   GET .../ID/stats                     {"schema": "p2pd.portmap.stats/1", "forward_id", "bytes_in", "bytes_out",
 *                                        "connections", "total", "rejected": {...}, "last_visitor", "last_visit_at"}
 *   GET, POST .../ID/tokens; DELETE .../ID/tokens/TOKEN-ID; POST .../ID/tokens/TOKEN-ID/rotate
 *   POST /api/v1/portmap/apply           {"policy": YAML, "dry_run"}: {"schema": "p2pd.portmap.apply/1", "changes": [...]},
 *                                        as policy.h has them
 *   GET /api/v1/portmap/audit[?since=UNIX]
 *   POST, DELETE /api/v1/portmap/api-token
 * An answer to a change comes when it is in effect, or when it is known what keeps it from being so, within
 * FORWARDER_WAIT_MS. Errors: {"error": {"code": WORD, "message": TEXT}}; of a conflict also "forward_id", of a policy
 * "line" and "column". */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARD_API_H
#define P2PD_APPS_P2PD_FORWARD_FORWARD_API_H

#include "apps/p2pd/forward/forwarder.h"
#include "relay/http.h"

#define FORWARD_API_PATH "/api/v1/portmap*" /* of the route */
enum { FORWARD_API_BODY_MAX = 3 << 19 /* a policy of POLICY_TEXT_MAX as JSON */ };

struct forward_api; /* opaque */

/* NULL without memory. */
struct forward_api *forward_api_create(struct forwarder *f);
/* No request waits any more: the servers are gone. NULL is allowed. */
void forward_api_destroy(struct forward_api *a);
/* Answers, now or later. `read_only`: nothing but GET. */
void forward_api_handle(struct forward_api *a, struct http_exchange *x, bool read_only);

#endif
