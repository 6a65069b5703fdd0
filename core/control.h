/* Messages between two daemons inside a confirmed session: data packets whose first byte is CONTROL_FIRST_BYTE, which
 * no IP version has. They end at the daemon and are never routed; stock WireGuard peers neither send nor get them.
 * Layout: 0xF0, type(1), then by type: ping, pong: id LE64; offer: see nat/offer.h; cipher: opens(1), answers(1), and
 * ends in the session (core/session.h); gaps: expected, missing, ms LE32 (core/gaps.h). The rest is padding. Pure. */
#ifndef P2PD_CORE_CONTROL_H
#define P2PD_CORE_CONTROL_H

#include <stdbool.h>

#include "core/bytes.h"
#include "core/gaps.h"

enum {
	CONTROL_FIRST_BYTE = 0xF0,
	CONTROL_HEADER = 2,
	CONTROL_LEN = 10,
	CONTROL_CIPHER_LEN = 4,
	CONTROL_GAPS_LEN = 14
};
enum control_type {
	CONTROL_PING = 1,
	CONTROL_PONG = 2,
	CONTROL_OFFER = 3,
	CONTROL_CIPHER = 4,
	CONTROL_GAPS = 5
};

/* Which ciphers the sender opens on the keys that this came by, beside ChaCha20-Poly1305. Bits that are not known are
 * ignored. */
struct control_cipher {
	bool opens_aegis; /* bit 0 of opens */
	bool answers;	  /* the sender has heard the same of the receiver, and wants no answer */
};

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

static inline void control_write_cipher(uint8_t out[static CONTROL_CIPHER_LEN],
					const struct control_cipher *c)
{
	out[0] = CONTROL_FIRST_BYTE;
	out[1] = CONTROL_CIPHER;
	out[2] = c->opens_aegis;
	out[3] = c->answers;
}

static inline bool control_read_cipher(struct control_cipher *c, const uint8_t *msg, size_t len)
{
	if (len < CONTROL_CIPHER_LEN || control_type(msg, len) != CONTROL_CIPHER)
		return false;
	*c = (struct control_cipher) { .opens_aegis = msg[2] & 1, .answers = msg[3] & 1 };
	return true;
}

static inline void control_write_gaps(uint8_t out[static CONTROL_GAPS_LEN], const struct gaps_report *r)
{
	out[0] = CONTROL_FIRST_BYTE;
	out[1] = CONTROL_GAPS;
	store_le32(out + 2, r->expected);
	store_le32(out + 6, r->missing);
	store_le32(out + 10, r->ms);
}

static inline bool control_read_gaps(struct gaps_report *r, const uint8_t *msg, size_t len)
{
	if (len < CONTROL_GAPS_LEN || control_type(msg, len) != CONTROL_GAPS)
		return false;
	r->expected = load_le32(msg + 2);
	r->missing = load_le32(msg + 6);
	r->ms = load_le32(msg + 10);
	return r->missing <= r->expected && r->expected <= GAPS_MAX;
}

#endif
