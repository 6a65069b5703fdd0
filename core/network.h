/* What all members of a network share, in simple mode derived from the network's name and a secret
 * (notes: Argon2id, crypto_kdf). Every holder of the secret is an administrator of the network. */
#ifndef P2PD_CORE_NETWORK_H
#define P2PD_CORE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"

enum { NETWORK_NAME_MAX = 63, NETWORK_SECRET_MIN = 16 };

struct network {
	char name[NETWORK_NAME_MAX + 1];
	uint8_t root_pk[32], root_sk[64]; /* Ed25519 */
	uint8_t netid[32];		  /* BLAKE2b-256("p2pd1/netid" || root_pk) */
	uint8_t epoch_key[32];	  /* of epoch 0; kept to be stored, used only to derive the next three */
	uint8_t envelope_key[32]; /* BLAKE2b-256(key = epoch_key, label), each with its own label */
	uint8_t psk_key[32];
	uint8_t probe_key[32];
};

/* Takes about 0.2 s and 64 MiB (once, at join). -EINVAL: an empty or too long name, an empty secret; -ENOMEM.
 * NFC: names are restricted to what is its own NFC in practice: printable ASCII; others are -EINVAL. */
int network_from_secret(struct network *net, const char *name, const char *secret, size_t secret_len);
/* A secret that can be guessed offline by the hub: short, few distinct characters, a repeated or counting pattern. */
bool network_secret_is_weak(const char *secret, size_t len);
/* 128 random bits as text that can be typed: 26 lower-case base32 characters. */
enum { NETWORK_SECRET_TEXT = 27 };
struct rng;
void network_generate_secret(char out[static NETWORK_SECRET_TEXT], struct rng *rng);
/* The id of the network whose root key is `root_pk`. */
void network_id(uint8_t netid[static 32], const uint8_t root_pk[static 32]);
/* psk0 of two nodes: BLAKE2b-256(key = psk_key, "p2pd1/psk0" || min(wk) || max(wk)). */
void network_psk(const struct network *net, const uint8_t wk_a[static 32], const uint8_t wk_b[static 32],
		 uint8_t out[static 32]);
/* fd + 40 bits of the netid, then 80 bits of BLAKE2b-256("p2pd1/ip6" || wk): the /48 is the network's. */
void network_ip6(const struct network *net, const uint8_t wk[static 32], struct addr *out);
/* A host address of `prefix`/`bits` from wk and an attempt number (never the network's or broadcast address, which
 * a /31 and a /32 do not have). Attempts walk through all host addresses before one comes again. ADDR_NONE when
 * `prefix` is not IPv4 or bits > 32. */
void network_ip4(const uint8_t wk[static 32], const struct addr *prefix, unsigned bits, uint32_t attempt,
		 struct addr *out);
/* 16 bits of a hash of the name: lets a hub say "another network of that name is here: wrong secret?" and little more. */
uint16_t network_name_tag(const char *name);
/* What a node needs to start again without the secret, to be kept in a 0600 file: version(1) root_sk(64)
 * epoch_key(32) check(32). The check ties the rest to the name. */
enum { NETWORK_STORED_LEN = 1 + 64 + 32 + 32 };
void network_store(const struct network *net, uint8_t out[static NETWORK_STORED_LEN]);
/* 0, -EINVAL for a name that cannot be, -EBADMSG for bytes that are not what network_store made for this name. */
int network_restore(struct network *net, const char *name, const uint8_t in[static NETWORK_STORED_LEN]);
void network_wipe(struct network *net);

#endif
