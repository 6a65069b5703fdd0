/* A network and its members for tests and fuzz targets: everything from seeds. */
#ifndef P2PD_TESTS_MEMBER_H
#define P2PD_TESTS_MEMBER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/addr.h"
#include "core/cert.h"
#include "core/crypto.h"
#include "core/network.h"

enum { MEMBER_BORN = 1700000000, MEMBER_DAY = 86400, MEMBER_DIES = MEMBER_BORN + 365 * MEMBER_DAY };

struct member {
	uint8_t ik[32], ik_sk[64], wk[32], wk_sk[32];
	struct cert cert;
	uint8_t encoded[CERT_MAX];
	size_t len;
};

static inline void member_network(struct network *net, const char *name)
{
	if (crypto_init() || network_from_secret(net, name, "a secret for tests", 18))
		abort();
}

static inline struct addr member_addr(const char *text)
{
	struct addr a;

	if (addr_parse(&a, text, 0))
		abort();
	return a;
}

static inline void member_make(struct member *m, const struct network *net, uint64_t seed)
{
	uint8_t ik_seed[32];
	struct rng rng;

	memset(m, 0, sizeof *m);
	rng_init_seed(&rng, seed);
	rng_fill(&rng, ik_seed, sizeof ik_seed);
	rng_fill(&rng, m->wk_sk, sizeof m->wk_sk);
	crypto_x25519_clamp(m->wk_sk);
	crypto_x25519_public(m->wk, m->wk_sk);
	crypto_ed25519_keypair(m->ik, m->ik_sk, ik_seed);
	m->cert = (struct cert) { .not_before = MEMBER_BORN, .not_after = MEMBER_DIES };
	m->cert.ip4 = member_addr("10.77.0.5");
	memcpy(m->cert.ik, m->ik, 32);
	memcpy(m->cert.wk, m->wk, 32);
	rng_fill(&rng, m->cert.serial, sizeof m->cert.serial);
	snprintf(m->cert.name, sizeof m->cert.name, "node-%u", (unsigned)seed);
	int len = cert_issue(&m->cert, net, m->encoded);
	if (len < 0)
		abort();
	m->len = (size_t)len;
}

#endif
