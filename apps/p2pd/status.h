/* What a node tells of itself, as JSON: schema p2pd.status/1, whose keys are only ever added to. Pure. */
#ifndef P2PD_APPS_P2PD_STATUS_H
#define P2PD_APPS_P2PD_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "apps/p2pd/engine.h"

struct status {
	const struct engine *engine;
	const char *hub_url;
	const char *tun;	  /* the device's name */
	uint64_t now_ms, unix_ns; /* the same moment on both clocks */
};

/* In memory to be freed; NULL without memory. */
char *status_format(const struct status *s);

/* How a direct address of the peer came to be known: "lan", "ipv6", "public", "port-mapping",
 * "simultaneous-open". */
const char *status_technique(const struct engine_peer *ep, const struct addr *direct);
/* Why packets to this peer do not go directly, for a person; NULL when they do. */
const char *status_reason(const struct engine *e, const struct engine_peer *ep);

/* RFC 3339 in UTC, "2026-01-31T09:05:00Z". Returns `out`. */
enum { STATUS_TIME = 32 };
const char *status_time(uint64_t unix_s, char out[static STATUS_TIME]);

#endif
