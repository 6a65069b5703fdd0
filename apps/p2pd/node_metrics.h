/* A node's numbers for Prometheus: GET /metrics. Pure but for process_*. What each is stands in its HELP. */
#ifndef P2PD_APPS_P2PD_NODE_METRICS_H
#define P2PD_APPS_P2PD_NODE_METRICS_H

#include "apps/p2pd/engine.h"
#include "apps/p2pd/forward/forward_metrics.h"
#include "relay/metrics.h"

struct node_metrics {
	const struct engine *engine;
	const char *offload; /* the rung in use: rung.h */
	unsigned workers;
	struct forwarder *forwarder; /* NULL: there is none */
};

void node_metrics_write(struct metrics *m, const struct node_metrics *n);

#endif
