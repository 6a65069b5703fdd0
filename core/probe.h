/* Path probes: authenticated pings and pongs between two nodes on the UDP port that carries the tunnel. Only their
 * pong proves a path. Layout: 0x80, 3 zero bytes, tag(8), nonce(24), sealed{kind(1) txid(12) addr(19) zeros}, tag(16).
 * Sealed with XChaCha20-Poly1305 under BLAKE2b(key = network probe_key, "p2pd1/probe" || X25519(wk, wk) || min(wk) ||
 * max(wk)), with the bytes before the nonce as associated data. The 8-byte tag, the head of BLAKE2b-256(key = that
 * key, "p2pd1/probetag" || sender's wk), lets the receiver find the peer; it proves nothing.
 * A pong is never longer than its ping. Pure. */
#ifndef P2PD_CORE_PROBE_H
#define P2PD_CORE_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/crypto.h"
#include "core/network.h"

enum {
	PROBE_FIRST_BYTE = 0x80,
	PROBE_TXID = 12,
	PROBE_TAG = 8,
	PROBE_MIN = 4 + PROBE_TAG + CRYPTO_XNONCE + 1 + PROBE_TXID + ADDR_WIRE_LEN + CRYPTO_TAG,
	PROBE_MAX = 1500,
};

enum probe_kind { PROBE_PING = 1, PROBE_PONG = 2 };

struct probe_keys {
	uint8_t key[32];
	uint8_t tag_tx[PROBE_TAG], tag_rx[PROBE_TAG];
};

struct probe {
	enum probe_kind kind;
	uint8_t txid[PROBE_TXID];
	struct addr seen; /* pong: the source address of the ping as the answerer saw it; ping: ADDR_NONE */
};

/* 0 or -EINVAL for a key that must not be used: a low-order point, our own. */
int probe_keys_init(struct probe_keys *k, const struct network *net, const uint8_t our_sk[static 32],
		    const uint8_t our_pk[static 32], const uint8_t peer_pk[static 32]);
/* Zero-padded to `size` (at least PROBE_MIN, at most PROBE_MAX); returns the length. */
size_t probe_seal(const struct probe_keys *k, const struct probe *p, struct rng *rng, size_t size,
		  uint8_t out[static PROBE_MAX]);
/* The tag of a message that has the form of a probe, or NULL. */
const uint8_t *probe_tag(const uint8_t *msg, size_t len);
/* Takes only what the peer sealed (a message of our own that comes back is -EBADMSG). 0 or -EBADMSG. */
int probe_open(const struct probe_keys *k, const uint8_t *msg, size_t len, struct probe *out);

#endif
