/* Receiver indexes of all sessions of a node: 32-bit random, unique, mapped to an opaque owner. A session reserves
 * what it will ever need at its start, so that it cannot run out of indexes in the middle of a handshake. */
#ifndef P2PD_CORE_SESSION_INDEX_H
#define P2PD_CORE_SESSION_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "core/crypto.h"

struct session_index;

/* Room for `max_entries` indexes, SESSION_INDEXES of them for each session. NULL without memory. */
struct session_index *session_index_create(size_t max_entries);
void session_index_destroy(struct session_index *index);
/* The owner given to session_init, or NULL. */
void *session_index_find(const struct session_index *index, uint32_t local_index);

/* --- For sessions. */
/* Sets `count` entries aside; -ENOSPC. */
int session_index_reserve(struct session_index *index, size_t count);
void session_index_release(struct session_index *index, size_t count);
/* A new index for `owner` (not NULL), out of those reserved: it cannot fail. A session may for a moment hold one more
 * than it reserved, while new keys replace old ones. `low` is its lowest byte, one for all of a session: messages are
 * spread over sockets by it (udp_steer), and a flow is to stay at its socket when the keys change. */
uint32_t session_index_add(struct session_index *index, void *owner, uint8_t low, struct rng *rng);
/* Nothing happens for an index that is not there. */
void session_index_remove(struct session_index *index, uint32_t local_index);

#endif
