/* WireGuard's handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: messages in, messages and keys out. No I/O, clock or
 * heap; randomness is handed in. Layouts and constants: the WireGuard paper, section 5.4. The MACs of a message are
 * `cookie`'s business: the functions here leave the last 32 bytes (mac1, mac2) alone. */
#ifndef P2PD_CORE_NOISE_H
#define P2PD_CORE_NOISE_H

#include <stdint.h>

#include "core/crypto.h"

enum {
	WG_INITIATION = 1,
	WG_RESPONSE = 2,
	WG_COOKIE = 3,
	WG_DATA = 4,
	WG_INITIATION_LEN = 148,
	WG_RESPONSE_LEN = 92,
	WG_COOKIE_LEN = 64,
	WG_DATA_HEADER = 16,
	WG_DATA_OVERHEAD = 32, /* header and tag; also the least length of a data message */
	WG_MACS_LEN = 32,
	NOISE_TIMESTAMP_LEN = 12, /* TAI64N, compared as big-endian bytes */
};

/* Our static identity. */
struct noise_local {
	uint8_t sk[32], pk[32];
};

/* What stays the same of one peer: computed once. */
struct noise_remote {
	uint8_t pk[32];
	uint8_t ss[32];	 /* X25519(our static, its static) */
	uint8_t psk[32]; /* all zero without one */
};

/* A handshake that we started and whose response is awaited. */
struct noise_initiator {
	uint8_t hash[32], chain[32], ephemeral_sk[32];
	uint32_t local_index;
};

/* An initiation that decrypted: all that is needed to answer it. */
struct noise_initiation {
	uint8_t hash[32], chain[32];
	uint8_t peer_pk[32], peer_ephemeral[32];
	uint8_t timestamp[NOISE_TIMESTAMP_LEN];
	uint32_t remote_index;
};

struct noise_keys {
	uint8_t send[32], receive[32];
};

/* The chaining key and the hash that every handshake starts from. */
void noise_initial(uint8_t chain[static 32], uint8_t hash[static 32]);
/* `sk` need not be clamped. */
void noise_local_init(struct noise_local *local, const uint8_t sk[static 32]);
/* `psk` may be NULL. -EINVAL for a low-order public key or our own. */
int noise_remote_init(struct noise_remote *remote, const struct noise_local *local,
		      const uint8_t pk[static 32], const uint8_t *psk);

/* Writes an initiation into msg (its MACs left zero) and fills `hs`. */
int noise_initiate(struct noise_initiator *hs, const struct noise_local *local,
		   const struct noise_remote *remote, uint32_t local_index,
		   const uint8_t timestamp[static NOISE_TIMESTAMP_LEN], struct rng *rng,
		   uint8_t msg[static WG_INITIATION_LEN]);
/* Opens an initiation of any peer: first decrypts who it is from. The caller then finds that peer and must refuse an
 * unknown one and a timestamp that is not newer. -EBADMSG or -EINVAL, `in` then holds nothing of use. */
int noise_open_initiation(struct noise_initiation *in, const struct noise_local *local,
			  const uint8_t msg[static WG_INITIATION_LEN]);
/* Answers it: writes the response (MACs zero) and gives the keys. */
int noise_respond(const struct noise_initiation *in, const struct noise_remote *remote, uint32_t local_index,
		  struct rng *rng, uint8_t msg[static WG_RESPONSE_LEN], struct noise_keys *keys);
/* The response to our initiation `hs`, which stays as it is (a forged response must not end a handshake). */
int noise_open_response(const struct noise_initiator *hs, const struct noise_local *local,
			const struct noise_remote *remote, const uint8_t msg[static WG_RESPONSE_LEN],
			struct noise_keys *keys, uint32_t *remote_index);

#endif
