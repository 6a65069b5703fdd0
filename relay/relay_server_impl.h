/* What the files of `relay_server` share, and nobody else includes: relay_server.c (slots, sessions, data),
 * relay_server_control.c (who is bound, guests), relay_pool.h.
 * A slot is a member's binding, a session joins two slots; each slot heads a list of its sessions. A link of such a list is
 * named by session index * 2 + side. */
#ifndef P2PD_RELAY_RELAY_SERVER_IMPL_H
#define P2PD_RELAY_RELAY_SERVER_IMPL_H

#include "core/bucket.h"
#include "core/map.h"
#include "relay/relay_pool.h"
#include "relay/relay_server.h"

/* A network of guests: of those who came with a ticket. */
struct guest_network {
	uint32_t id, guests;
	struct quota_user use;
};

struct guest {
	uint8_t tags[2 * RELAY_TAG]; /* network and node */
	struct guest_network *network;
	struct quota_user use;
};

struct slot {
	struct pool_head head;
	uint32_t network;
	uint32_t first;		  /* of its session links */
	struct relay_route bound; /* its link goes first; the address is kept beside it */
	uint64_t seen_ms;
	uint64_t bytes;			      /* from it, forwarded and not yet taken */
	struct quota_user *use, *network_use; /* NULL: no limits */
	struct guest *guest;		      /* NULL: it is none */
	uint8_t token[RELAY_TOKEN];
};

struct session {
	struct pool_head head;
	uint32_t slot[2]; /* indices */
	uint32_t next[2], prev[2];
};

struct relay_server {
	struct pool slots, sessions;
	struct map pairs; /* two slot ids, the lower first -> session id */
	struct rng *rng;
	uint8_t secret[32];
	struct bucket unbound;
	uint64_t now_ms; /* of the last datagram */
	struct quota quota;
	struct relay_stats stats;

	bool takes_guests;
	uint8_t key[RELAY_KEY];
	uint64_t unix_s;
	uint32_t last_network;
	struct map guests;	   /* their tags -> slot id */
	struct map guest_networks; /* network tag -> struct guest_network * */
};

static inline struct slot *slot_at(const struct relay_server *r, uint32_t index)
{
	return (struct slot *)(void *)pool_at(&r->slots, index);
}

static inline struct session *session_at(const struct relay_server *r, uint32_t index)
{
	return (struct session *)(void *)pool_at(&r->sessions, index);
}

static inline bool slot_is_bound(const struct slot *s, uint64_t now_ms)
{
	return s->bound.node.family != ADDR_NONE && now_ms - s->seen_ms < RELAY_IDLE_MS;
}

/* The header of a control message; RELAY_HEADER. */
size_t relay_control(uint8_t *out, uint8_t type, uint32_t id);
enum relay_action relay_on_control(struct relay_server *r, const uint8_t *msg, size_t len,
				   const struct relay_route *route, uint8_t *reply, size_t *reply_len);
/* The slot goes: if it is a guest's, that one, too. */
void relay_guest_forget(struct relay_server *r, struct slot *s);

#endif
