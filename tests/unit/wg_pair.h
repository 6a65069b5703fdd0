/* Two sessions facing each other for tests: a virtual clock, messages handed over by the test itself. */
#ifndef P2PD_TESTS_WG_PAIR_H
#define P2PD_TESTS_WG_PAIR_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/session.h"

struct node {
	struct noise_local local;
	struct rng rng;
	struct session_clock clock;
	struct session_index *index;
	struct cookie_checker checker;
	struct session session;
};

/* A message on its way. */
struct letter {
	uint8_t bytes[2048];
	size_t len;
};

/* `lo` has the lower public key, the other is `hi`. */
struct pair {
	struct node lo, hi;
	uint64_t now;
};

struct pair_options {
	bool own_kind, aegis;
	uint16_t keepalive_s;
	const uint8_t *psk;
	uint64_t seed;
};

static const struct addr wg_somewhere = { .ip = { 192, 0, 2, 1 }, .port = 1, .family = ADDR_V4 };

static inline void node_open(struct node *n, const struct node *peer, const struct pair_options *o)
{
	struct session_config config = {
		.local = &n->local,
		.index = n->index,
		.clock = &n->clock,
		.rng = &n->rng,
		.owner = n,
		.peer_pk = peer->local.pk,
		.own_kind = o->own_kind,
		.aegis = o->aegis,
		.keepalive_s = o->keepalive_s,
		.psk = o->psk,
	};

	if (session_init(&n->session, &config) != 0)
		abort();
	cookie_checker_init(&n->checker, n->local.pk);
}

static inline void node_keys(struct node *n, uint64_t seed)
{
	uint8_t sk[32];

	rng_init_seed(&n->rng, seed);
	rng_fill(&n->rng, sk, sizeof sk);
	noise_local_init(&n->local, sk);
	n->clock.wall_offset_ns = INT64_C(1700000000) * 1000000000;
	n->index = session_index_create(SESSION_INDEXES);
}

static inline void pair_open(struct pair *p, const struct pair_options *o)
{
	memset(p, 0, sizeof *p);
	p->now = 1000000;
	for (uint64_t seed = 2 * o->seed + 1;; seed += 1000000) {
		node_keys(&p->lo, seed);
		node_keys(&p->hi, seed + 1);
		if (memcmp(p->lo.local.pk, p->hi.local.pk, 32) < 0)
			break;
		session_index_destroy(p->lo.index);
		session_index_destroy(p->hi.index);
	}
	node_open(&p->lo, &p->hi, o);
	node_open(&p->hi, &p->lo, o);
}

static inline void pair_close(struct pair *p)
{
	session_close(&p->lo.session);
	session_close(&p->hi.session);
	session_index_destroy(p->lo.index);
	session_index_destroy(p->hi.index);
}

/* What session_next() says; a message lands in `out`. */
static inline enum session_due node_next(struct node *n, uint64_t now, struct letter *out)
{
	out->len = 0;
	return session_next(&n->session, now, out->bytes, &out->len);
}

/* 0 when there were no keys. */
static inline bool node_send(struct node *n, uint64_t now, const char *text, struct letter *out)
{
	size_t len = strlen(text);

	out->len = 0;
	memcpy(out->bytes + WG_DATA_HEADER, text, len);
	int rc = session_seal(&n->session, out->bytes + WG_DATA_HEADER, len, 1420, now);
	if (rc < 0)
		return false;
	out->len = (size_t)rc;
	return true;
}

static inline int receive_initiation(struct node *n, uint64_t now, const struct letter *in,
				     struct letter *reply)
{
	struct noise_initiation opened;
	int rc = noise_open_initiation(&opened, &n->local, in->bytes);

	if (rc == 0)
		rc = session_on_initiation(&n->session, &opened, now, reply->bytes);
	if (rc == 0)
		reply->len = WG_RESPONSE_LEN;
	return rc;
}

/* As a daemon would: checks length and MACs, then hands over. A reply, if there is one, lands in `reply`. -EPERM for
 * what the MACs refused. */
static inline int node_receive(struct node *n, uint64_t now, bool under_load, struct letter *in,
			       struct letter *reply, struct session_opened *opened)
{
	uint8_t type = in->len ? in->bytes[0] : 0;

	reply->len = 0;
	memset(opened, 0, sizeof *opened);
	if (type == WG_DATA || type == SEALER_FIRST_BYTE_AEGIS)
		return session_open(&n->session, in->bytes, in->len, now, opened);
	if (type == WG_COOKIE && in->len == WG_COOKIE_LEN)
		return session_on_cookie(&n->session, in->bytes, now);
	switch (cookie_check(&n->checker, in->bytes, in->len, &wg_somewhere, under_load, now, &n->rng,
			     reply->bytes)) {
	case COOKIE_REPLY: reply->len = WG_COOKIE_LEN; return -EPERM;
	case COOKIE_DROP: return -EPERM;
	case COOKIE_ACCEPT: break;
	}
	if (type == WG_INITIATION)
		return receive_initiation(n, now, in, reply);
	return session_on_response(&n->session, in->bytes, now);
}

#endif
