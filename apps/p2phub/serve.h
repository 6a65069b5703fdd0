/* The hub's input and output: joins HTTP over TLS, node links, UDP relay and STUN to the logic in relay and nat. */
#ifndef P2PD_APPS_P2PHUB_SERVE_H
#define P2PD_APPS_P2PHUB_SERVE_H

#include "core/addr.h"
#include "core/loop.h"
#include "core/tls_key.h"

enum {
	SERVE_UDP_MAX = 8,
	SERVE_NODES_MAX = 20000,
	SERVE_SESSIONS_MAX = 1 << 18,
	SERVE_BACKLOG = 65536, /* bytes for one node that wait: until they are gone it hears of no others */
};

struct serve_config {
	struct addr tls;
	struct addr udp[SERVE_UDP_MAX];
	size_t udp_count;
	const struct tls_key *key; /* only for the call */
	const char *data;	   /* the data folder; NULL: nothing is kept, and there is no API */
	const char *url_host;	   /* the hub's own name, for the API; may be ""; it stays */
	uint16_t url_port;
};

struct serve; /* opaque */

/* 0; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES and others with `*at` the address that could not be had; -EBADMSG: key and
 * certificate do not belong together; -ENOMEM. */
int serve_create(struct serve **out, struct loop *l, const struct serve_config *config, struct addr *at);
/* Ends all links. NULL is allowed. */
void serve_destroy(struct serve *s);

#endif
