/* What an owner and a gateway say to each other of a public rule: HTTP with JSON bodies, plain TCP from overlay address to
 * overlay address at LEASE_PORT, bound to the TUN device. So each is authenticated by its address (the tunnel lets nobody
 * send from another's) and by a signature: lease_link.h.
 *   PUT    /lease/FORWARD-ID   owner to gateway: struct lease_request; 200 with struct lease_grant, or an error (RFC 9457)
 *   DELETE /lease/FORWARD-ID   owner to gateway
 *   GET    /lease/FORWARD-ID   owner to gateway: its counts (struct forward_stats)
 *   POST   /admit              gateway to owner: a visitor came with a token: struct admit_request; 200 with admit_grant
 * A lease is renewed every LEASE_RENEW_S, at once on changes; the gateway keeps it on disk and ends it LEASE_TTL_S after
 * the last renewal. Pure. */
#ifndef P2PD_APPS_P2PD_FORWARD_LEASE_H
#define P2PD_APPS_P2PD_FORWARD_LEASE_H

#include "apps/p2pd/forward/rule.h"

enum { LEASE_PORT = 7781, LEASE_RENEW_S = 60, LEASE_TTL_S = 600, LEASE_MODE_WHY = 160 };

struct lease_range {
	uint16_t wanted; /* the public port; 0: any, then the gateway chooses */
	uint16_t tunnel; /* at the owner's overlay address */
	uint16_t count;
};

struct lease_request {
	uint8_t id[FORWARD_ID];
	char name[RULE_NAME], domain[RULE_DOMAIN];
	bool tcp, udp;
	struct lease_range ranges[RULE_RANGES_MAX];
	unsigned range_count;
	bool restricted; /* only `allow` (tokens add to it); else anybody */
	struct forward_prefix allow[FORWARD_PREFIXES_MAX];
	unsigned allow_count;
	uint32_t max_conn, idle_s;
	uint64_t rate, expires_at;
	bool paused;
	bool kernel;			/* the owner can and wants to use its kernel's NAT; else sockets */
	enum addr_family family;	/* of the service: the kernel carries only that one */
	bool tokens;			/* visitors may be admitted by token */
	uint8_t secret[FORWARD_SECRET]; /* of the lease, made by the owner: see struct forward_entry */
};

struct lease_grant {
	struct addr public4, public6;	 /* where visitors come to; ADDR_NONE: not by that family. Ports 0 */
	uint16_t ports[RULE_RANGES_MAX]; /* the first of each range */
	bool kernel;			 /* both use the kernel's NAT, for the service's family */
	char mode_why[LEASE_MODE_WHY];	 /* why not */
	char door[RULE_DOMAIN + 16];	 /* "https://ADDR:PORT", where tokens are taken; "": nowhere */
	uint64_t rate;			 /* as the gateway limits it, which may be less than asked for */
	uint32_t max_conn;
};

struct admit_request {
	uint8_t id[FORWARD_ID];
	char token[64];
	struct addr visitor; /* port 0 */
	bool look;	     /* only to know what would happen: nothing is burnt, nobody admitted */
};

struct admit_grant {
	bool full; /* nobody is admitted or burnt: the rule has as many visitors as it can, one of them to go at... */
	uint64_t until; /* Unix seconds; of a look: 0 */
	uint32_t for_s; /* for how long */
	char name[RULE_NAME];
};

struct json_t;
/* 0 or -EINVAL with `why`: unknown and missing keys, wrong types and values are errors. */
int lease_request_read(struct lease_request *r, const struct json_t *json, char why[static RULE_WHY]);
struct json_t *lease_request_json(const struct lease_request *r);
int lease_grant_read(struct lease_grant *g, const struct json_t *json, char why[static RULE_WHY]);
struct json_t *lease_grant_json(const struct lease_grant *g);
int admit_request_read(struct admit_request *r, const struct json_t *json, char why[static RULE_WHY]);
struct json_t *admit_request_json(const struct admit_request *r);
int admit_grant_read(struct admit_grant *g, const struct json_t *json, char why[static RULE_WHY]);
struct json_t *admit_grant_json(const struct admit_grant *g);
/* Clocks differ: last_ms travels as an age. */
int lease_stats_read(struct forward_stats *s, const struct json_t *json, uint64_t now_ms,
		     char why[static RULE_WHY]);
struct json_t *lease_stats_json(const struct forward_stats *s, uint64_t now_ms);

#endif
