/* A hub's coordination with nodes that speak to it, in virtual time: for tests of relay/coord. Ids of connections are
 * below CONNS. What the hub says stands in h->said until the next action. */
#ifndef P2PD_TESTS_COORD_BENCH_H
#define P2PD_TESTS_COORD_BENCH_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/cert.h"
#include "relay/coord.h"
#include "relay/proto/link.pb-c.h"

enum { CONNS = 64, SAID = 512, UNIX_S = 1700000000, MAX_NODES = 20 };

struct said {
	uint64_t conn;
	Link__ToNode *msg; /* NULL: a mere close */
	bool close;
};

/* A hub, and what it said since it was last asked. */
struct hub {
	struct coord *c;
	struct relay_server *relay;
	struct rng rng;
	uint64_t now;
	struct said said[SAID];
	size_t count;
	uint8_t nonce[CONNS][32];
};

struct node {
	uint8_t pk[32], sk[64];
	const struct network *net;
};

static struct network net_a, net_b;
static struct node ann, bob, cid, eve; /* eve is in net_b */

/* ---- the hub */

static inline void forget_said(struct hub *h)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->said[i].msg)
			link__to_node__free_unpacked(h->said[i].msg, NULL);
	h->count = 0;
}

static inline void listen_to(struct hub *h)
{
	struct coord_out out;

	forget_said(h);
	while (coord_next(h->c, &out)) {
		assert_in_range(h->count, 0, SAID - 1);
		struct said *s = &h->said[h->count++];
		*s = (struct said) { .conn = out.conn, .close = out.close };
		if (out.msg)
			assert_non_null(s->msg = link__to_node__unpack(NULL, out.len, out.msg));
		free(out.msg);
	}
}

/* What was said to `conn` of this kind; NULL if nothing. */
static inline const Link__ToNode *heard(const struct hub *h, uint64_t conn, Link__ToNode__BodyCase kind)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->said[i].conn == conn && h->said[i].msg && h->said[i].msg->body_case == kind)
			return h->said[i].msg;
	return NULL;
}

static inline const Link__Peer *heard_of(const struct hub *h, uint64_t conn, const struct node *n)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct said *s = &h->said[i];
		if (s->conn == conn && s->msg && s->msg->body_case == LINK__TO_NODE__BODY_PEER &&
		    !memcmp(s->msg->peer->ik.data, n->pk, 32))
			return s->msg->peer;
	}
	return NULL;
}

static inline bool closed(const struct hub *h, uint64_t conn)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->said[i].conn == conn && h->said[i].close)
			return true;
	return false;
}

static inline int refused_with(const struct hub *h, uint64_t conn)
{
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_REFUSED);
	return m ? (int)m->refused->reason : -1;
}

static inline void hub_start_as(struct hub *h, bool relay, const char *front)
{
	struct coord_config config = { .max_nodes = MAX_NODES, .udp_count = 2 };

	snprintf(config.front, sizeof config.front, "%s", front);
	*h = (struct hub) { .now = 1000000 };
	rng_init_seed(&h->rng, 1);
	h->relay = relay ? relay_server_create(MAX_NODES, 100, &h->rng) : NULL;
	config.rng = &h->rng;
	config.relay = h->relay;
	config.udp[0].port = 3478;
	config.udp[1] = addr_from_ip(ADDR_V4, (const uint8_t[]) { 198, 51, 100, 1 }, 3479);
	h->c = coord_create(&config);
	assert_non_null(h->c);
}

static inline void hub_start_with(struct hub *h, bool relay)
{
	hub_start_as(h, relay, "");
}

static inline void hub_start(struct hub *h)
{
	hub_start_with(h, true);
}

static inline void hub_stop(struct hub *h)
{
	forget_said(h);
	coord_destroy(h->c);
	relay_server_destroy(h->relay);
}

static inline void pass_time(struct hub *h, uint64_t ms)
{
	for (uint64_t until = h->now + ms; h->now < until;) {
		uint64_t next = coord_deadline(h->c);
		h->now = next < until ? next : until;
		coord_tick(h->c, h->now);
	}
	listen_to(h);
}

/* ---- a node */

static inline void exporter_of(uint8_t out[static 32], uint64_t conn)
{
	memset(out, (int)conn, 32);
}

static inline void open_conn(struct hub *h, uint64_t conn)
{
	uint8_t exporter[32];

	exporter_of(exporter, conn);
	assert_int_equal(coord_on_open(h->c, conn, exporter, h->now), 0);
	listen_to(h);
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_CHALLENGE);
	assert_non_null(m);
	assert_int_equal(m->challenge->version, 1);
	assert_int_equal(m->challenge->nonce.len, 32);
	memcpy(h->nonce[conn], m->challenge->nonce.data, 32);
}

static inline void say(struct hub *h, uint64_t conn, const Link__ToHub *m)
{
	uint8_t buf[COORD_MESSAGE_MAX + 100];
	size_t len = link__to_hub__get_packed_size(m);

	assert_in_range(len, 0, sizeof buf);
	link__to_hub__pack(m, buf);
	coord_on_message(h->c, conn, buf, len, h->now, UNIX_S);
	listen_to(h);
}

/* What may be wrong with a login. */
struct wrong {
	const char *what;
	int want; /* reason; -1: let in */
	uint32_t version;
	uint64_t exporter_of, nonce_of; /* another connection's */
	const struct network *netid_of, *root_of, *pass_of;
	const struct node *ik_of;
	size_t flip_sig, flip_pass;
	int64_t expires_in;
	size_t short_by; /* of all fields */
	uint32_t name_tag;
	const char *front; /* that the login is bound to; NULL: to the exporter */
};

struct login_bytes {
	Link__Login login;
	uint8_t sig[64], pass[64];
};

static inline ProtobufCBinaryData bin(const uint8_t *p, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)p, .len = len };
}

static inline void make_login(struct hub *h, struct login_bytes *b, uint64_t conn, const struct node *n,
			      const struct wrong *w)
{
	const struct network *netid_of = w->netid_of ? w->netid_of : n->net;
	uint8_t buffer[15 + 32 + 32 + 32] = "p2pd1/hub-front", *text = w->front ? buffer + 6 : buffer;
	Link__Login *l = &b->login;

	link__login__init(l);
	l->pass_not_after = UNIX_S + (w->expires_in ? (uint64_t)w->expires_in : 3600);
	cert_pass_issue(b->pass, w->pass_of ? w->pass_of : n->net, n->pk, l->pass_not_after);
	if (w->front)
		crypto_blake2b(text + 9, 32, NULL, 0, &(struct part) { w->front, strlen(w->front) }, 1);
	else
		exporter_of(text + 9, w->exporter_of ? w->exporter_of : conn);
	memcpy(text + 41, netid_of->netid, 32);
	memcpy(text + 73, h->nonce[w->nonce_of ? w->nonce_of : conn], 32);
	crypto_ed25519_sign(b->sig, buffer, (size_t)(text - buffer) + 105, n->sk);
	if (w->flip_sig)
		b->sig[w->flip_sig] ^= 1;
	if (w->flip_pass)
		b->pass[w->flip_pass] ^= 1;
	l->version = w->version ? w->version : 1;
	l->name_tag = w->name_tag ? w->name_tag : 77;
	l->netid = bin(netid_of->netid, 32 - w->short_by);
	l->root_pk = bin((w->root_of ? w->root_of : n->net)->root_pk, 32 - w->short_by);
	l->ik = bin((w->ik_of ? w->ik_of : n)->pk, 32 - w->short_by);
	l->sig = bin(b->sig, 64 - w->short_by);
	l->pass_sig = bin(b->pass, 64 - w->short_by);
}

static inline void login_wrong(struct hub *h, uint64_t conn, const struct node *n, const struct wrong *w)
{
	struct login_bytes b;
	Link__ToHub m = LINK__TO_HUB__INIT;

	make_login(h, &b, conn, n, w);
	m.body_case = LINK__TO_HUB__BODY_LOGIN;
	m.login = &b.login;
	say(h, conn, &m);
}

static inline const Link__Welcome *join(struct hub *h, uint64_t conn, const struct node *n)
{
	open_conn(h, conn);
	login_wrong(h, conn, n, &(struct wrong) { 0 });
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_WELCOME);
	assert_non_null(m);
	return m->welcome;
}

static inline void publish(struct hub *h, uint64_t conn, uint64_t seq, const char *record, size_t len)
{
	Link__Publish p = LINK__PUBLISH__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	p.seq = seq;
	p.record = bin((const uint8_t *)record, len);
	m.body_case = LINK__TO_HUB__BODY_PUBLISH;
	m.publish = &p;
	say(h, conn, &m);
}

static inline void introduce(struct hub *h, uint64_t conn, const struct node *to)
{
	Link__Introduce i = LINK__INTRODUCE__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	i.ik = bin(to->pk, 32);
	m.body_case = LINK__TO_HUB__BODY_INTRODUCE;
	m.introduce = &i;
	say(h, conn, &m);
}

static inline void relay_open(struct hub *h, uint64_t conn, const struct node *to)
{
	Link__RelayOpen r = LINK__RELAY_OPEN__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	r.ik = bin(to->pk, 32);
	m.body_case = LINK__TO_HUB__BODY_RELAY_OPEN;
	m.relay_open = &r;
	say(h, conn, &m);
}

static inline void pong(struct hub *h, uint64_t conn, uint64_t t)
{
	Link__Pong p = LINK__PONG__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	p.t = t;
	m.body_case = LINK__TO_HUB__BODY_PONG;
	m.pong = &p;
	say(h, conn, &m);
}

/* Answers the ping that came with the welcome after `rtt` ms. */
static inline void join_with_rtt(struct hub *h, uint64_t conn, const struct node *n, uint64_t rtt)
{
	join(h, conn, n);
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_PING);
	assert_non_null(m);
	uint64_t t = m->ping->t;
	h->now += rtt;
	pong(h, conn, t);
}

static inline void leave(struct hub *h, uint64_t conn)
{
	coord_on_close(h->c, conn, h->now);
	listen_to(h);
}

static inline void nobody(struct node *n, const struct network *net, uint64_t seed)
{
	uint8_t s[32] = { 0 };

	store_le64(s, seed);
	crypto_ed25519_keypair(n->pk, n->sk, s);
	n->net = net;
}

static inline void make_network(struct network *net, uint8_t seed)
{
	uint8_t s[32] = { seed };

	crypto_ed25519_keypair(net->root_pk, net->root_sk, s);
	crypto_blake2b(net->netid, 32, NULL, 0,
		       (struct part[]) { { "p2pd1/netid", 11 }, { net->root_pk, 32 } }, 2);
}

static inline int bench_setup(void **state)
{
	(void)state;
	if (crypto_init())
		return -1;
	make_network(&net_a, 1);
	make_network(&net_b, 2);
	nobody(&ann, &net_a, 1);
	nobody(&bob, &net_a, 2);
	nobody(&cid, &net_a, 3);
	nobody(&eve, &net_b, 4);
	return 0;
}

#endif
