/* PeerRecord: a node's certificate and where it can be reached, signed by its identity key and sealed under the
 * network's envelope key, so that the hub that carries it learns nothing. Pure.
 * Layout: nonce(24), XChaCha20-Poly1305 with the netid as associated data over {body, sig(64)}, tag(16);
 * body: version(1) cert(2 + n) seq(8) boot(8) time(8) ttl(4) caps(4) nat(34) candidates(1 + {kind(1) addr(19)} each);
 * sig: Ed25519 by the certificate's ik over "p2pd1/record" || body. */
#ifndef P2PD_CORE_RECORD_H
#define P2PD_CORE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/cert.h"
#include "core/verdict.h"

enum { RECORD_MAX_CANDIDATES = 16, RECORD_MAX = 2048, RECORD_VERSION = 2 };

enum candidate_kind {
	CANDIDATE_HOST,
	CANDIDATE_REFLEXIVE,
	CANDIDATE_MAPPED,
	CANDIDATE_PREDICTED,
	CANDIDATE_RELAY, /* the node's home relay, where members of its network reach it: no place to punch to */
};

struct candidate {
	struct addr addr;
	uint8_t kind; /* enum candidate_kind */
};

struct record {
	struct cert cert;
	uint64_t seq;	 /* greater for each record that this node makes, also across restarts */
	uint64_t boot;	 /* random at each start: a new one means the old session is gone */
	uint64_t time_s; /* Unix seconds when made */
	uint32_t ttl_s;
	uint32_t caps;	    /* capability bits; none defined yet */
	struct verdict nat; /* what the node's NAT does, as far as it knows */
	struct candidate candidates[RECORD_MAX_CANDIDATES];
	uint8_t candidate_count;
};

/* `cert` is the encoded certificate; r->cert is not read. Signs with `ik_sk`, seals. The length or -EINVAL. */
int record_seal(const struct record *r, const uint8_t *cert, size_t cert_len, const uint8_t ik_sk[static 64],
		const struct network *net, struct rng *rng, uint8_t out[static RECORD_MAX]);
/* Opens, checks certificate and signature, drops candidates that nobody should be made to send to (unusable,
 * loopback, overlay addresses of this network: ip6 /48 of the network and `ip4_prefix`/`ip4_bits`), those written as
 * IPv4-mapped IPv6 and those of a kind that we do not know. Whether seq is new is the caller's to check.
 * 0, -EBADMSG, -EPERM (certificate), -EKEYEXPIRED (certificate, or time_s + ttl_s over by more than
 * CERT_CLOCK_ERROR_S). `r` is written on success only. */
int record_open(struct record *r, const uint8_t *in, size_t len, const struct network *net,
		const struct addr *ip4_prefix, unsigned ip4_bits, uint64_t unix_s);

#endif
