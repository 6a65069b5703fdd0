/* What a node counts of itself from its start on, for /metrics: plain numbers that only grow. Pure. */
#ifndef P2PD_APPS_P2PD_ENGINE_COUNTS_H
#define P2PD_APPS_P2PD_ENGINE_COUNTS_H

#include <stdint.h>

#include "apps/p2pd/engine_peer.h"

/* Kinds of paths, as status names them. */
enum engine_kind { ENGINE_KIND_DIRECT, ENGINE_KIND_RELAY_UDP, ENGINE_KIND_RELAY_TLS, ENGINE_KINDS };
enum {
	ENGINE_BOUNDS = 15,
	ENGINE_TECHNIQUES = TECHNIQUE_NONE + 1,
	ENGINE_OUTCOMES = OUTCOME_OVERTAKEN + 1,
	ENGINE_OPENERS = OPENED_TECHNIQUE + TECHNIQUE_NONE,
};
/* Of all histograms, in ms: 1, 2 and 5 of each power of ten, up to a minute. */
extern const uint32_t engine_bounds_ms[ENGINE_BOUNDS];

struct engine_histogram {
	uint64_t counts[ENGINE_BOUNDS + 1]; /* the last: over all bounds */
	uint64_t sum_ms;
};

struct engine_counts {
	struct engine_traffic {
		uint64_t packets, bytes; /* of IP packets and control messages in the tunnel */
	} in[ENGINE_KINDS], out[ENGINE_KINDS];
	struct engine_histogram rtt[ENGINE_KINDS]; /* by probes; of relays by pings that someone asked for */
	struct engine_histogram to_direct; /* from the first packet that wants a direct path to the path */
	uint64_t attempts[ENGINE_TECHNIQUES][ENGINE_OUTCOMES];
	uint64_t opened[ENGINE_OPENERS]; /* direct paths, where there was none, by enum engine_opener */
	uint64_t handshakes_begun, handshakes_answered;	  /* that led to keys, by who began */
	uint64_t hub_links, hub_links_lost, hub_failures; /* failures: attempts that led to no link */
};

void engine_observe(struct engine_histogram *h, uint64_t ms);

#endif
