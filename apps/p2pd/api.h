/* The control socket: HTTP and JSON for this machine's root and the daemon's own user (the socket's mode, and the
 * credentials of who connects).
 *   GET  /v1/status     schema p2pd.status/1
 *   POST /v1/ping       answers line by line, one JSON object for each pong or timeout, until the client goes away
 *   POST /v1/down       ends the daemon
 *   GET, POST, DELETE /v1/wg; GET /v1/wg/key     stock WireGuard peers
 *   /api/v1/portmap...           port forwarding: forward/forward_api.h
 *   GET  /metrics       for Prometheus: node_metrics.h
 * Bodies: requests.h. */
#ifndef P2PD_APPS_P2PD_API_H
#define P2PD_APPS_P2PD_API_H

#include <stdint.h>

#include "apps/p2pd/engine.h"
#include "apps/p2pd/requests.h"
#include "core/loop.h"

struct api; /* opaque */

/* `settle` is called after each request that may have made the engine say something. `target` is to stay.
 * 0, -EADDRINUSE (someone answers there), or another negative errno. */
int api_start(struct api **out, struct loop *l, const char *path, const struct requests_target *target,
	      void (*settle)(void *arg), void *arg);
void api_stop(struct api *a); /* NULL is allowed */

void api_on_pong(struct api *a, const struct engine_event *pong, uint64_t now_ms);
/* Sends the pings that are due, at api_deadline() at the latest. */
void api_tick(struct api *a, uint64_t now_ms);
uint64_t api_deadline(const struct api *a);

#endif
