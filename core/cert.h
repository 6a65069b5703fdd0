/* NodeCert: says that a node's identity key (Ed25519), its WireGuard key (X25519), name and addresses belong together
 * and to the network. Fixed order, little-endian, exact length, at most 1 KiB, signed over "p2pd1/cert" || the bytes
 * before the signature. Decoding checks the form; cert_verify checks the truth.
 * Layout: version(1) kind(1) netid(32) serial(16) ik(32) wk(32) not_before(8) not_after(8) ip6(16) ip4(4, zeros for
 * none) name(1 + n) groups(1 + 2 each) routes(1 + {family(1) bits(1) ip(16)} each) flags(4) issuer(32) sig(64). */
#ifndef P2PD_CORE_CERT_H
#define P2PD_CORE_CERT_H

#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/network.h"

enum {
	CERT_MAX = 1024,
	CERT_NAME_MAX = 63,
	CERT_MAX_GROUPS = 32,
	CERT_MAX_ROUTES = 16,
	CERT_VERSION = 1,
	CERT_KIND_NODE = 1,
	CERT_CLOCK_ERROR_S = 86400,
};

struct cert_route {
	struct addr prefix;
	uint8_t bits;
};

struct cert {
	uint8_t netid[32], ik[32], wk[32];
	uint8_t serial[16];
	uint64_t not_before, not_after; /* Unix seconds */
	struct addr ip6, ip4;		/* ip4 may be ADDR_NONE; ports 0 */
	char name[CERT_NAME_MAX + 1];	/* DNS labels: a-z 0-9 -, not first or last in a label, joined by . */
	uint16_t groups[CERT_MAX_GROUPS];
	uint8_t group_count;
	struct cert_route routes[CERT_MAX_ROUTES];
	uint8_t route_count;
	uint32_t flags;
	uint8_t issuer[32]; /* Ed25519 public key of the signer */
	uint8_t sig[64];
};

/* Lower-cases and replaces what a name may not contain; never empty. */
void cert_name_from(char out[static CERT_NAME_MAX + 1], const char *wish);
/* Signs with the network's root and encodes. Fills netid, ip6, issuer and sig; the rest is the caller's, the serial
 * at random. The length, or -EINVAL for what no decoder would take. */
int cert_issue(struct cert *c, const struct network *net, uint8_t out[static CERT_MAX]);
/* -EBADMSG for anything but exactly one certificate. */
int cert_decode(struct cert *c, const uint8_t *in, size_t len);
/* Against the network: netid, issuer, signature, validity at `unix_s` (one day of clock error is allowed before
 * not_before), ip6 derived from wk. `c` is what cert_decode made of `encoded`. 0, -EPERM, or -EKEYEXPIRED for a
 * genuine one outside its time. */
int cert_verify(const struct cert *c, const uint8_t *encoded, size_t len, const struct network *net,
		uint64_t unix_s);
/* Of two claims to one IPv4 address the lower (not_before, ik) wins: true if `a` does. */
bool cert_wins_ip4(const struct cert *a, const struct cert *b);

/* The pass by which a node shows a hub that it is a member, without showing the certificate (names and overlay
 * addresses are none of the hub's business): root signature over "p2pd1/hubpass" || netid || ik || not_after. */
void cert_pass_issue(uint8_t sig[static 64], const struct network *net, const uint8_t ik[static 32],
		     uint64_t not_after);
/* Needs no secret: the hub's side. Checks that root_pk hashes to netid, too. 0 or -EPERM or -EKEYEXPIRED. */
int cert_pass_verify(const uint8_t sig[static 64], const uint8_t root_pk[static 32],
		     const uint8_t netid[static 32], const uint8_t ik[static 32], uint64_t not_after,
		     uint64_t unix_s);

#endif
