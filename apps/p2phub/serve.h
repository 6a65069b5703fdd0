/* The hub's input and output: joins HTTP over TLS, node links, UDP relay and STUN to the logic in relay and nat. */
#ifndef P2PD_APPS_P2PHUB_SERVE_H
#define P2PD_APPS_P2PHUB_SERVE_H

#include "core/addr.h"
#include "core/loop.h"
#include "core/tls_key.h"
#include "relay/hub_url.h"
#include "relay/quota.h"
#include "relay/relay_ticket.h"

enum {
	SERVE_UDP_MAX = 8,
	SERVE_NODES_MAX = 20000,
	SERVE_SESSIONS_MAX = 1 << 18,
	SERVE_BACKLOG = 65536, /* bytes for one node that wait: until they are gone it hears of no others */
	/* Relayed data is given to a node's stream while less than this waits there: so control is never behind more,
	 * and data alone never comes to SERVE_BACKLOG. */
	SERVE_DATA_MARK = 32768,
	SERVE_FRAMES_MAX = 64 << 20, /* bytes of relayed data that wait, for all nodes together */
};

/* What can change while it runs. */
struct serve_limits {
	struct quota_limits quota;
	size_t nodes;		    /* that the hub knows; 0: SERVE_NODES_MAX, which is the most */
	uint64_t audit_retention_s; /* 0: for ever */
};

struct serve_config {
	struct addr tls;
	struct addr udp[SERVE_UDP_MAX];
	size_t udp_count;
	bool metrics_public;	   /* anyone may read /metrics, else only this machine and who has a token */
	struct addr metrics;	   /* where to answer GET /metrics by plain HTTP, too; ADDR_NONE: nowhere */
	const struct tls_key *key; /* only for the call */
	/* A proxy ends TLS before us, at this URL: see relay/login.h. NULL: none. Only for the call. */
	const struct hub_url *front;
	struct serve_limits limits;
	struct addr relays[SERVE_UDP_MAX]; /* other ones */
	size_t relay_count;
	uint8_t relay_key[RELAY_KEY]; /* that we and they share */
	const char *data;	      /* the data folder; NULL: nothing is kept, and there is no API */
	const char *url_host;	      /* the hub's own name, for the API; may be ""; it stays */
	uint16_t url_port;
};

struct serve; /* opaque */

/* 0; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES and others with `*at` the address that could not be had; -EBADMSG: key and
 * certificate do not belong together; -ENOMEM. */
int serve_create(struct serve **out, struct loop *l, const struct serve_config *config, struct addr *at);
/* The same of a relay that knows nobody but by tickets under config->relay_key, and does nothing else than relaying and
 * STUN: of `config` it takes udp, metrics, limits.quota and relay_key. */
int serve_create_relay(struct serve **out, struct loop *l, const struct serve_config *config,
		       struct addr *at);
/* New connections see this key; existing ones live on. 0, -EBADMSG (key and certificate do not belong together) or -ENOMEM,
 * and then nothing has changed. */
int serve_use_key(struct serve *s, const struct tls_key *key);
void serve_set_limits(struct serve *s, const struct serve_limits *limits);
/* Ends all links. NULL is allowed. */
void serve_destroy(struct serve *s);

#endif
