/* The transport keys of a WireGuard session and the three slots that they move through. Pure.
 *
 *   next      we answered for it; unused until the peer's first message proves that it has the keys, too
 *   current   what we send with
 *   previous  still opens what was on its way when the keys changed
 *
 * A change moves next -> current -> previous; what falls out at the end is wiped and its index given back. */
#ifndef P2PD_CORE_KEYPAIR_H
#define P2PD_CORE_KEYPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/gaps.h"
#include "core/noise.h"
#include "core/replay.h"
#include "core/sealer.h"
#include "core/session_index.h"

/* Paper section 6.1. Too large for an enum. */
#define KEYPAIR_REKEY_AFTER_MESSAGES  (UINT64_C(1) << 60)
#define KEYPAIR_REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13))

enum {
	KEYPAIR_REJECT_AFTER_MS = 180000, /* paper section 6.1, REJECT_AFTER_TIME */
	/* We stop sending this much earlier: what leaves later may arrive at a peer whose keys have expired, since they
	 * were made up to one round trip before ours. The round trip is not known here; 2 s is beyond any usual one. */
	KEYPAIR_SEND_MARGIN_MS = 2000,
};

struct keypair {
	struct noise_keys keys;	 /* of ChaCha20-Poly1305 */
	struct noise_keys aegis; /* of AEGIS-256; zero without `opens_aegis` */
	bool opens_aegis;	 /* so we say to the peer */
	bool seals_aegis;	 /* the peer has said, with these keys, that it opens it */
	bool heard;		 /* the peer has said, with these keys, what it opens */
	bool owes_answer;	 /* and wants to know what we open */
	uint8_t asks;		 /* how often we have asked */
	uint64_t created_ms;
	uint64_t send_counter;
	uint32_t local_index, remote_index;
	bool valid, initiator;
	struct replay replay;
	uint64_t accepted; /* messages */
	struct gaps_meter gaps;
};

struct keypairs {
	struct session_index *index;
	struct keypair previous, current, next;
};

/* New keys from a handshake that the peer answered: current at once. A `next` that nobody confirmed becomes previous:
 * when both sides started a handshake, the peer may be sending with it. */
void keypairs_add_initiated(struct keypairs *k, const struct keypair *fresh);
/* New keys from a handshake that we answered: next. */
void keypairs_add_answered(struct keypairs *k, const struct keypair *fresh);
/* The peer has used `next`: it becomes current. */
void keypairs_confirm(struct keypairs *k);
/* Wipes all. */
void keypairs_clear(struct keypairs *k);
/* The valid keypair with that receiver index, or NULL. */
struct keypair *keypairs_find(struct keypairs *k, uint32_t local_index);

/* Derives the keys of AEGIS-256: BLAKE2s-32(the transport key of the direction, a label of ours). From then on the
 * keypair opens its messages, too. Call once, when the transport keys are there. */
void keypair_open_aegis(struct keypair *kp);

bool keypair_can_send(const struct keypair *kp, uint64_t now_ms);
bool keypair_can_open(const struct keypair *kp, uint64_t now_ms);
/* The cipher that it seals packets with. */
enum cipher keypair_cipher(const struct keypair *kp);
/* Takes `count` counters out of the keypair. 0, or -EAGAIN if it has not so many left below
 * KEYPAIR_REJECT_AFTER_MESSAGES. Only if keypair_can_send(), and a cipher that both ends open. */
int keypair_sealer(struct keypair *kp, enum cipher cipher, unsigned count, size_t mtu, struct sealer *out);
/* Only if keypair_can_open(). */
void keypair_opener(const struct keypair *kp, struct opener *out);
/* A message with that counter has authenticated: true if it may be used, which no second one may. Both ciphers share
 * the counters. */
bool keypair_accept(struct keypair *kp, uint64_t counter);

#endif
