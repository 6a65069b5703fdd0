/* Pieces of what a node tells of itself as JSON, of which status and why are made. All are new references. Pure. */
#ifndef P2PD_APPS_P2PD_VIEW_H
#define P2PD_APPS_P2PD_VIEW_H

#include <jansson.h>

#include "apps/p2pd/engine.h"

/* Text, or null for ADDR_NONE; view_ip without the port. */
json_t *view_ip(const struct addr *a);
json_t *view_endpoint(const struct addr *a);
/* RFC 3339 in UTC, "2026-01-31T09:05:00Z"; null for 0. `now_ms` and `unix_ns` are the same moment on both clocks. */
json_t *view_time(uint64_t now_ms, uint64_t unix_ns, uint64_t at_ms);
/* What a NAT does, in the words of natcheck. */
json_t *view_nat(const struct verdict *v);
/* Where packets to the peer go, by what that was opened (reason_opened_by), and since when; why not directly; whether in
 * trains; why over TLS. */
json_t *view_path(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms, uint64_t unix_ns);
/* The last ENGINE_ATTEMPTS attempts at a direct path, the latest first. */
json_t *view_attempts(const struct engine_peer *ep, uint64_t now_ms, uint64_t unix_ns);

#endif
