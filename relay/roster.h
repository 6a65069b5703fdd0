/* Who is a member of which network: online, or gone for a while with its last record and its relay slot kept.
 * Knows nothing of messages. Timers: a slot is closed 60 s after its member went (its link may flap), a member is
 * forgotten 1 h after it went. When full, the one that is gone longest makes room. What changed of whom is handed out for a
 * store (roster_next_change), which after a restart gives it back (roster_restore). */
#ifndef P2PD_RELAY_ROSTER_H
#define P2PD_RELAY_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bucket.h"
#include "core/crypto.h"
#include "core/map.h"
#include "relay/due.h"
#include "relay/relay_server.h"

enum {
	ROSTER_SLOT_KEEP_MS = 60000,
	ROSTER_RECORD_KEEP_MS = 3600000,
	ROSTER_RETURNS_PER_S = 500, /* as many are sure to be served */
	ROSTER_SPREAD_MIN_MS = 500, /* less is what nodes do by themselves */
	ROSTER_SPREAD_MAX_MS = 60000,
};

struct roster_network {
	uint8_t netid[32];
	uint32_t id;	   /* for the relay */
	uint16_t name_tag; /* as the one said that was online first */
	uint32_t online;
	struct quota_user use;	       /* of the relay */
	bool use_known;		       /* roster_set_used() was called for one of its members */
	struct member *members, *last; /* the one that changed last is the last */
	uint64_t changes;
};

struct member_key {
	uint8_t netid[32], ik[32];
};

struct member {
	struct member_key key;
	struct roster_network *network;
	struct member *prev, *next; /* in the network */
	void *link;		    /* the owner's connection; NULL: gone */
	uint64_t seq;		    /* of the record */
	uint8_t *record;	    /* NULL: none yet */
	size_t record_len;
	uint64_t changed, record_changed; /* which of the network's changes it was */
	uint32_t slot;			  /* 0: none */
	uint8_t token[RELAY_TOKEN];	  /* of the slot; random bytes without one */
	struct due slot_due, gone_due;
	struct due unsaved; /* something of it is to be handed out */
	bool record_unsaved;
	uint64_t relayed; /* bytes by slots that it had, to be handed out */
	struct quota_user use;
	bool use_known; /* roster_set_used() was called */
	struct bucket introduces, publishes;
};

struct roster {
	struct map members,
		networks; /* struct member_key -> struct member *, netid -> struct roster_network * */
	struct map tags;  /* name tag -> uint32_t networks with it that have members online */
	struct due_list slot_kept, gone;
	struct due_list unsaved; /* a queue */
	struct relay_server *relay;
	struct rng *rng;
	size_t max;
	uint32_t online, records, last_network_id;
};

void roster_init(struct roster *r, struct relay_server *relay, struct rng *rng, size_t max);
void roster_free(struct roster *r);

/* Makes the member online with this link; it is created if it is new. The same member again: the link is exchanged.
 * NULL when the roster is full of members online, or without memory. */
struct member *roster_arrive(struct roster *r, const struct member_key *key, uint16_t name_tag, void *link);
/* It may be forgotten at once: do not use `m` afterwards. */
void roster_leave(struct roster *r, struct member *m, uint64_t now_ms);
/* NULL: no such member. */
struct member *roster_find(const struct roster *r, const struct member_key *key);
/* Keeps a newer record. 0, -EALREADY for a seq that is not greater, -ENOMEM. */
int roster_keep(struct roster *r, struct member *m, uint64_t seq, const uint8_t *record, size_t len);
/* Another network with its name tag has members online. */
bool roster_name_elsewhere(const struct roster *r, const struct roster_network *n);
/* Its link, or its record, too, is news to the other members. */
void roster_changed(struct member *m, bool record);
/* The first of those that changed after change number `after`, the others follow by ->next; NULL: none did. */
struct member *roster_changed_since(const struct roster_network *n, uint64_t after);
/* What is new of a member since this told of it last: it came, went, published, or was relayed for. */
struct roster_change {
	struct member_key key;
	bool online;
	uint64_t seq;
	const uint8_t *record; /* until the next call for this roster; NULL: the same as before */
	size_t record_len;
	uint64_t relayed; /* bytes more */
	bool use_known;	  /* else roster_set_used() is wanted */
};
/* False when there is none. */
bool roster_next_change(struct roster *r, struct roster_change *out);
/* What was relayed for it and for all of its network in this month, before this hub began to count. */
void roster_set_used(struct roster *r, const struct member_key *key, uint64_t node_bytes,
		     uint64_t network_bytes);
/* Has roster_next_change tell of all that something was relayed for. */
void roster_count_relayed(struct roster *r);
/* A member as it was before a restart, with its record, gone for `gone_ms` now. At the start, before anybody arrives, and the
 * one that is gone longest first. 0, -ENOMEM, -EALREADY (it is known), -ENOSPC, or -ESTALE: gone for too long. */
int roster_restore(struct roster *r, const struct roster_change *was, uint64_t gone_ms, uint64_t now_ms);
void roster_tick(struct roster *r, uint64_t now_ms);
uint64_t roster_deadline(const struct roster *r);

/* Over how long so many are to be spread who all come back because the hub was started anew. Pure. */
uint32_t roster_spread_ms(uint32_t online);

#endif
