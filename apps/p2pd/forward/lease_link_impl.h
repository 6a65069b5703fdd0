/* What the files of lease_link share, and nobody else includes: lease_link.c (life, peers' requests), lease_link_call.c
 * (ours). */
#ifndef P2PD_APPS_P2PD_FORWARD_LEASE_LINK_IMPL_H
#define P2PD_APPS_P2PD_FORWARD_LEASE_LINK_IMPL_H

#include "apps/p2pd/forward/lease_link.h"
#include "apps/p2pd/forward/lease_wire.h"
#include "core/bucket.h"
#include "core/map.h"
#include "relay/http.h"

struct lease_listener {
	struct stream_listener *stream; /* NULL: it does not listen */
	struct addr at;
};

struct lease_link {
	struct lease_link_config config;
	struct http_server *http;
	struct lease_listener listeners[2]; /* IPv4, IPv6 */
	struct map buckets;		    /* by the peer's identity key */
	struct lease_ask *asks;
	struct lease_call *calls;
	unsigned ask_count, call_count;
};

struct lease_ask {
	struct lease_link *link; /* NULL: it was stopped */
	struct lease_ask *next, **at;
	struct http_exchange *x; /* NULL: the peer has gone */
};

static inline unsigned lease_family(const struct addr *a)
{
	return a->family == ADDR_V6;
}

void lease_calls_stop(struct lease_link *k);

#endif
