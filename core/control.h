/* Messages between two daemons inside a confirmed session: data packets whose first byte is CONTROL_FIRST_BYTE, which
 * no IP version has. They end at the daemon and are never routed; stock WireGuard peers neither send nor get them.
 * Layout: 0xF0, type(1), then by type: ping, pong: id LE64; offer: see nat/offer.h. The rest is padding. Pure. */
#ifndef P2PD_CORE_CONTROL_H
#define P2PD_CORE_CONTROL_H

#include <stdbool.h>

#include "core/bytes.h"

enum { CONTROL_FIRST_BYTE = 0xF0, CONTROL_HEADER = 2, CONTROL_LEN = 10 };
enum control_type { CONTROL_PING = 1, CONTROL_PONG = 2, CONTROL_OFFER = 3 };

static inline void control_write(uint8_t out[static CONTROL_LEN], enum control_type type, uint64_t id)
{
	out[0] = CONTROL_FIRST_BYTE;
	out[1] = (uint8_t)type;
	store_le64(out + 2, id);
}

/* The type of a control message, 0 for what is none. */
static inline uint8_t control_type(const uint8_t *msg, size_t len)
{
	return len < CONTROL_HEADER || msg[0] != CONTROL_FIRST_BYTE ? 0 : msg[1];
}

/* A ping or pong. */
static inline bool control_read(const uint8_t *msg, size_t len, enum control_type *type, uint64_t *id)
{
	if (len < CONTROL_LEN || msg[0] != CONTROL_FIRST_BYTE)
		return false;
	*type = msg[1];
	*id = load_le64(msg + 2);
	return *type == CONTROL_PING || *type == CONTROL_PONG;
}

#endif
