/* Members of networks that only a hub ever sees: identity, pass, login. For the load generators. */
#ifndef P2PD_TESTS_LOAD_MEMBER_H
#define P2PD_TESTS_LOAD_MEMBER_H

#include <string.h>

#include "core/cert.h"
#include "relay/hub_link.h"
#include "relay/proto/link.pb-c.h"

struct load_member {
	uint8_t ik[32], sk[64], pass[64], exporter[32];
	uint64_t pass_until;
};

static inline void load_network_make(struct network *net, struct rng *rng)
{
	uint8_t seed[32];

	rng_fill(rng, seed, sizeof seed);
	crypto_ed25519_keypair(net->root_pk, net->root_sk, seed);
	network_id(net->netid, net->root_pk);
}

static inline void load_member_make(struct load_member *m, const struct network *net, uint64_t pass_until,
				    struct rng *rng)
{
	uint8_t seed[32];

	rng_fill(rng, seed, sizeof seed);
	crypto_ed25519_keypair(m->ik, m->sk, seed);
	m->pass_until = pass_until;
	cert_pass_issue(m->pass, net, m->ik, pass_until);
}

static inline ProtobufCBinaryData load_bytes(const void *data, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)(uintptr_t)data, .len = len };
}

static inline void load_say(struct hub_link *link, const Link__ToHub *msg)
{
	uint8_t text[2048];

	hub_link_send(link, text, link__to_hub__pack(msg, text));
}

/* The answer to a challenge. */
static inline void load_log_in(const struct load_member *m, struct hub_link *link, const struct network *net,
			       uint16_t tag, const uint8_t *nonce)
{
	uint8_t text[9 + 96], sig[64];
	Link__Login l = LINK__LOGIN__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;

	memcpy(text, "p2pd1/hub", 9);
	memcpy(text + 9, m->exporter, 32);
	memcpy(text + 41, net->netid, 32);
	memcpy(text + 73, nonce, 32);
	crypto_ed25519_sign(sig, text, sizeof text, m->sk);
	l.version = 1;
	l.netid = load_bytes(net->netid, 32);
	l.root_pk = load_bytes(net->root_pk, 32);
	l.ik = load_bytes(m->ik, 32);
	l.pass_not_after = m->pass_until;
	l.pass_sig = load_bytes(m->pass, 64);
	l.sig = load_bytes(sig, 64);
	l.name_tag = tag;
	msg.body_case = LINK__TO_HUB__BODY_LOGIN;
	msg.login = &l;
	load_say(link, &msg);
}

#endif
