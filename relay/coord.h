/* The hub's coordination: logins, presence, records, introductions, relay sessions. Pure: connections are opaque ids,
 * messages are encoded `link.ToHub` bytes in and `link.ToNode` bytes out, and it says when a connection is to be closed.
 * It holds everything in memory: a restarted hub gets it all back from the nodes, which log in again, and the records of
 * those that are away from its store, by way of the roster. Records of nodes that went away are kept for an hour, at most
 * `max_nodes` in all. */
#ifndef P2PD_RELAY_COORD_H
#define P2PD_RELAY_COORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/crypto.h"
#include "relay/coord_out.h"
#include "relay/login.h"
#include "relay/relay_server.h"
#include "relay/roster.h"

enum {
	COORD_MESSAGE_MAX = 16384,
	COORD_RECORD_MAX = 2048,
	COORD_EXPORTER = LOGIN_EXPORTER,
	COORD_LOGIN_TIMEOUT_MS = 10000,
	COORD_PING_MS = 24000,	      /* two may be lost before COORD_SILENT_MS */
	COORD_PING_TOGETHER_MS = 100, /* due within this: sent with the first, the loop wakes once for all */
	COORD_SILENT_MS = 50000,
	/* A node that sends more is disconnected. */
	COORD_MESSAGES_PER_S = 200,
	COORD_MESSAGES_BURST = 1000,
	COORD_PUBLISHES_PER_S = 2,
	COORD_PUBLISHES_BURST = 20,
	/* More introductions than this are not made. */
	COORD_INTRODUCES_PER_S = 50,
	COORD_INTRODUCES_BURST = 100,
	COORD_INTRODUCE_GAP_MS = 500, /* of one pair */
	COORD_INTRODUCE_LEAD_MS = 20, /* for the hub's and the nodes' own time */
	COORD_RTT_UNKNOWN_MS = 100,   /* taken for a link that has not answered a ping yet */
	COORD_RTT_MAX_MS = 2000,
};

struct coord; /* opaque */

struct coord_config {
	struct relay_server *relay; /* may be NULL: no relay */
	struct rng *rng;
	size_t max_nodes;
	/* UDP endpoints to announce; an address with family ADDR_NONE and a port: "where your link goes to". */
	struct addr udp[8];
	size_t udp_count;
	/* Other relays, and the key that they take guests by: relay_ticket.h. */
	struct addr relays[8];
	size_t relay_count;
	uint8_t relay_key[RELAY_KEY];
	char front[HUB_URL_TEXT]; /* login_front(), where a proxy ends TLS before us; else "" */
};

struct coord *coord_create(const struct coord_config *config); /* NULL without memory */
void coord_destroy(struct coord *c);
/* From now on. Who is known beyond that, stays until it goes or is forgotten. */
void coord_set_max_nodes(struct coord *c, size_t max_nodes);

/* A connection is up. `conn` is the caller's id for it, > 0 and not in use. `unix_s` is the wall clock, for passes.
 * 0, or -EINVAL, -ENOSPC (twice max_nodes are connected), -ENOMEM: then close it, coord knows nothing of it. */
int coord_on_open(struct coord *c, uint64_t conn, const uint8_t exporter[static COORD_EXPORTER],
		  uint64_t now_ms);
void coord_on_message(struct coord *c, uint64_t conn, const uint8_t *msg, size_t len, uint64_t now_ms,
		      uint64_t unix_s);
void coord_on_close(struct coord *c, uint64_t conn, uint64_t now_ms);

/* What is to be sent, in order: see coord_out.h. `msg` is the caller's to free. False when there is none.
 * coord_on_close comes for each connection that was opened, also for one that was told to close; members are told that
 * a node went when that is called. After it nothing is handed out for this connection. */
bool coord_next(struct coord *c, struct coord_out *out);
/* While its connection takes no more, it is not told of other members; from when it does on, of all that it missed. */
void coord_pause(struct coord *c, uint64_t conn);
void coord_resume(struct coord *c, uint64_t conn);
/* Runs what is due: login timeouts (10 s), pings (after login and every 24 s; a link silent for 50 s is closed), expiry. */
void coord_tick(struct coord *c, uint64_t now_ms);
uint64_t coord_deadline(const struct coord *c);

/* The relay slot of who logged in over this connection; 0: nobody, or there is no slot. Stays the same. */
uint32_t coord_slot(const struct coord *c, uint64_t conn);
/* Its members, for the store: roster_next_change(), roster_count_relayed(), and roster_restore(). */
struct roster *coord_roster(struct coord *c);

struct coord_stats {
	uint32_t connections, online, networks, records;
	uint64_t logins, refused, introductions, malformed, limited;
};
struct coord_stats coord_stats(const struct coord *c);

#endif
