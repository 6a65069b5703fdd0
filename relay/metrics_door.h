/* `--metrics ADDR:PORT`: GET /metrics by plain HTTP, and nothing else, for a Prometheus that cannot read the control
 * socket. */
#ifndef P2PD_RELAY_METRICS_DOOR_H
#define P2PD_RELAY_METRICS_DOOR_H

#include "core/addr.h"
#include "core/loop.h"
#include "relay/metrics.h"

struct metrics_door; /* opaque */

/* `write` is called for each request and must stay. 0, or a negative errno as of stream_listen(). */
int metrics_door_open(struct metrics_door **out, struct loop *l, const struct addr *at,
		      void (*write)(void *arg, struct metrics *m), void *arg);
void metrics_door_close(struct metrics_door *d); /* NULL is allowed */

#endif
