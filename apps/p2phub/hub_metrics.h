/* The hub's numbers for Prometheus: GET /metrics. Pure but for process_*. What each is stands in its HELP. */
#ifndef P2PD_APPS_P2PHUB_HUB_METRICS_H
#define P2PD_APPS_P2PHUB_HUB_METRICS_H

#include "relay/coord.h"
#include "relay/frame_queue.h"
#include "relay/http.h"
#include "relay/metrics.h"
#include "relay/relay_server.h"

struct hub_metrics {
	struct coord_stats coord;
	struct relay_stats relay;
	struct frame_pool frames; /* what waits for links */
	const struct http_stats *http;
};

void hub_metrics_write(struct metrics *m, const struct hub_metrics *h);

#endif
