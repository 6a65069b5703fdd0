/* The hub's numbers for Prometheus: GET /metrics. Pure but for process_*. What each is stands in its HELP. */
#ifndef P2PD_APPS_P2PHUB_HUB_METRICS_H
#define P2PD_APPS_P2PHUB_HUB_METRICS_H

#include "core/stream.h"
#include "nat/stun_server.h"
#include "relay/coord.h"
#include "relay/frame_queue.h"
#include "relay/http.h"
#include "relay/metrics.h"
#include "relay/relay_server.h"
#include "relay/store.h"

struct hub_metrics {
	struct coord_stats coord;
	struct relay_stats relay;
	struct frame_pool frames; /* what waits for links */
	struct stream_listener_stats tls;
	const struct http_stats *http;
	const struct stun_server *stun;
	struct store *store; /* NULL: nothing is kept */
};

void hub_metrics_write(struct metrics *m, const struct hub_metrics *h);
/* Of a relay that knows nobody. */
void hub_metrics_write_relay(struct metrics *m, const struct relay_stats *r, const struct stun_server *s);

#endif
