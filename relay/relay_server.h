/* The hub's UDP relay: forwards datagrams between two bound members of one network by session id, and nowhere else.
 * Pure: fed with datagrams, says where each goes. Flat tables, indexed; nothing is kept for an unknown sender. */
#ifndef P2PD_RELAY_RELAY_SERVER_H
#define P2PD_RELAY_RELAY_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/crypto.h"
#include "relay/quota.h"
#include "relay/relay_ticket.h"
#include "relay/relay_wire.h"

struct relay_server; /* opaque: a slot table and a session table that grow up to the given limits */

/* At most RELAY_POOL_MAX slots and sessions. A bound address is forgotten after 5 min without a refresh or data from it (notes: dataplane, relay hot path). A challenge is good for
 * 10 to 20 s. At most 1000 "unbound" replies a second in all: sources can be forged. */
enum {
	RELAY_IDLE_MS = 300000,
	RELAY_EPOCH_MS = 10000,
	RELAY_UNBOUND_PER_S = 1000,
};

struct relay_stats {
	uint64_t forwarded, bytes;
	uint64_t link_forwarded, link_bytes; /* of these, what left over a link */
	uint64_t undeliverable;		     /* the other end is not bound */
	uint64_t unbound;		     /* data from a source that is not bound, or of no session */
	uint64_t challenged, bad_proof, malformed;
	uint64_t unknown_slot; /* binds and proofs for a slot that is not open: never answered */
	uint64_t over_rate, over_month, over_share; /* datagrams that a quota did not let through */
	uint32_t slots, sessions, bound;
	uint64_t bad_ticket; /* genuine but too old, or not genuine */
	uint32_t by_link;    /* slots that are reached by their link */
};

/* NULL without memory. `rng` is kept. */
struct relay_server *relay_server_create(size_t max_slots, size_t max_sessions, struct rng *rng);
void relay_server_destroy(struct relay_server *r);

/* A member's slot and its token. `network` is opaque: a session joins only slots of one network. Slot ids and session
 * ids are never 0 and carry a generation, so that an old id does not name a new owner. 0 when the table is full. */
uint32_t relay_slot_open(struct relay_server *r, uint32_t network, const uint8_t token[static RELAY_TOKEN]);
/* What the member sends counts for both, which stay as long as the slot. Without it, there is no limit. */
void relay_slot_charge(struct relay_server *r, uint32_t slot, struct quota_user *node,
		       struct quota_user *network);
/* What `use`, given to relay_slot_charge(), had taken of this month before. */
void relay_server_add_used(struct relay_server *r, struct quota_user *use, uint64_t bytes);
/* None before. The month is quota_month()'s, to be told anew when it may have changed. */
void relay_server_set_quota(struct relay_server *r, const struct quota_limits *limits);
void relay_server_set_month(struct relay_server *r, uint32_t month);
/* From now on members with a ticket under this key open slots by themselves, which go when they have been idle; the
 * limits of relay_server_set_quota() hold for each of them, and each network. */
void relay_server_take_guests(struct relay_server *r, const uint8_t key[static RELAY_KEY]);
/* At least every minute: the wall clock, for tickets; guests that have gone go. */
void relay_server_tick(struct relay_server *r, uint64_t now_ms, uint64_t unix_s);
/* Ends its sessions, too. */
void relay_slot_close(struct relay_server *r, uint32_t slot);
/* Bytes that were forwarded for the member since this was asked last. 0 for an unknown slot. */
uint64_t relay_slot_take_bytes(struct relay_server *r, uint32_t slot);
/* The session between two slots: the same id for the same pair. 0 when full, for different networks, or unknown slots. */
uint32_t relay_session_open(struct relay_server *r, uint32_t slot_a, uint32_t slot_b);

/* How a node is reached: over its link, the caller's id for it, if that is not 0. Else by UDP: the two ends of a datagram,
 * the hub's (ADDR_NONE: it does not matter) and the node's. */
struct relay_route {
	struct addr hub, node;
	uint64_t link;
	bool second; /* of what is forwarded: to the session's second end */
};

enum relay_action { RELAY_DROP, RELAY_FORWARD, RELAY_REPLY };
/* `route` is how `msg` came (by UDP), and on return how to answer. RELAY_FORWARD: send `msg` unchanged (the id is the same
 * in both directions) to the other member, from where that one is bound: its NAT lets nothing else in; to a link as
 * relay_frame_pack() makes it. RELAY_REPLY: send the *reply_len bytes in `reply` back. */
enum relay_action relay_server_on_datagram(struct relay_server *r, const uint8_t *msg, size_t len,
					   struct relay_route *route, uint64_t now_ms,
					   uint8_t reply[static RELAY_PROVE_LEN], size_t *reply_len);
/* Of datagrams that came together by one route, `stride` bytes each but the last, which may be shorter: how many bytes
 * at the beginning are to be handled as one. These are the first datagram, and those behind it that are data with the
 * same header. */
size_t relay_run(const uint8_t *data, size_t len, size_t stride);
/* The same for a run: all of it is forwarded, at the price of one datagram, or there is one reply, or none. */
enum relay_action relay_server_on_run(struct relay_server *r, const uint8_t *run, size_t len, size_t stride,
				      struct relay_route *route, uint64_t now_ms,
				      uint8_t reply[static RELAY_PROVE_LEN], size_t *reply_len);
/* A message that begins with RELAY_DATA came over `link` (not 0), whose login is that of `slot`: if it is well-formed, the
 * slot is reached by this link from now on, until a proof comes by UDP. RELAY_FORWARD: it is a run, send it to the other
 * member by `route`: unchanged to a link, as relay_frame_unpack() makes it to an address. Never RELAY_REPLY. */
enum relay_action relay_server_on_link(struct relay_server *r, uint32_t slot, uint64_t link,
				       const uint8_t *msg, size_t len, struct relay_route *route,
				       uint64_t now_ms);
/* The link has gone; `slot` may be another's by now. */
void relay_slot_unlink(struct relay_server *r, uint32_t slot, uint64_t link);
struct relay_stats relay_server_stats(const struct relay_server *r);

/* A session, for those who administer the hub. */
struct relay_session_view {
	uint32_t id, slot[2];
	struct addr bound[2]; /* ADDR_NONE: not bound */
};
/* The next one at or after place `*at` of the table; `*at` is the place behind it then. False when there is none. Places
 * stay, so what comes and goes between two calls moves no other. */
bool relay_server_next_session(const struct relay_server *r, uint32_t *at, struct relay_session_view *out);
/* Where a slot is bound. False when it is not, or there is no such slot. */
bool relay_server_bound(const struct relay_server *r, uint32_t slot, struct addr *out);

#endif
