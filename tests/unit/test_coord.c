#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static void forget_said(struct hub *h)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->said[i].msg)
			link__to_node__free_unpacked(h->said[i].msg, NULL);
	h->count = 0;
}

static void listen_to(struct hub *h)
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
static const Link__ToNode *heard(const struct hub *h, uint64_t conn, Link__ToNode__BodyCase kind)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->said[i].conn == conn && h->said[i].msg && h->said[i].msg->body_case == kind)
			return h->said[i].msg;
	return NULL;
}

static const Link__Peer *heard_of(const struct hub *h, uint64_t conn, const struct node *n)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct said *s = &h->said[i];
		if (s->conn == conn && s->msg && s->msg->body_case == LINK__TO_NODE__BODY_PEER &&
		    !memcmp(s->msg->peer->ik.data, n->pk, 32))
			return s->msg->peer;
	}
	return NULL;
}

static bool closed(const struct hub *h, uint64_t conn)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->said[i].conn == conn && h->said[i].close)
			return true;
	return false;
}

static int refused_with(const struct hub *h, uint64_t conn)
{
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_REFUSED);
	return m ? (int)m->refused->reason : -1;
}

static void hub_start_with(struct hub *h, bool relay)
{
	struct coord_config config = { .max_nodes = MAX_NODES, .udp_count = 2 };

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

static void hub_start(struct hub *h)
{
	hub_start_with(h, true);
}

static void hub_stop(struct hub *h)
{
	forget_said(h);
	coord_destroy(h->c);
	relay_server_destroy(h->relay);
}

static void pass_time(struct hub *h, uint64_t ms)
{
	for (uint64_t until = h->now + ms; h->now < until;) {
		uint64_t next = coord_deadline(h->c);
		h->now = next < until ? next : until;
		coord_tick(h->c, h->now);
	}
	listen_to(h);
}

/* ---- a node */

static void exporter_of(uint8_t out[static 32], uint64_t conn)
{
	memset(out, (int)conn, 32);
}

static void open_conn(struct hub *h, uint64_t conn)
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

static void say(struct hub *h, uint64_t conn, const Link__ToHub *m)
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
};

struct login_bytes {
	Link__Login login;
	uint8_t sig[64], pass[64];
};

static ProtobufCBinaryData bin(const uint8_t *p, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)p, .len = len };
}

static void make_login(struct hub *h, struct login_bytes *b, uint64_t conn, const struct node *n,
		       const struct wrong *w)
{
	const struct network *netid_of = w->netid_of ? w->netid_of : n->net;
	uint8_t text[9 + 32 + 32 + 32];
	Link__Login *l = &b->login;

	link__login__init(l);
	l->pass_not_after = UNIX_S + (w->expires_in ? (uint64_t)w->expires_in : 3600);
	cert_pass_issue(b->pass, w->pass_of ? w->pass_of : n->net, n->pk, l->pass_not_after);
	memcpy(text, "p2pd1/hub", 9);
	exporter_of(text + 9, w->exporter_of ? w->exporter_of : conn);
	memcpy(text + 41, netid_of->netid, 32);
	memcpy(text + 73, h->nonce[w->nonce_of ? w->nonce_of : conn], 32);
	crypto_ed25519_sign(b->sig, text, sizeof text, n->sk);
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

static void login_wrong(struct hub *h, uint64_t conn, const struct node *n, const struct wrong *w)
{
	struct login_bytes b;
	Link__ToHub m = LINK__TO_HUB__INIT;

	make_login(h, &b, conn, n, w);
	m.body_case = LINK__TO_HUB__BODY_LOGIN;
	m.login = &b.login;
	say(h, conn, &m);
}

static const Link__Welcome *join(struct hub *h, uint64_t conn, const struct node *n)
{
	open_conn(h, conn);
	login_wrong(h, conn, n, &(struct wrong) { 0 });
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_WELCOME);
	assert_non_null(m);
	return m->welcome;
}

static void publish(struct hub *h, uint64_t conn, uint64_t seq, const char *record, size_t len)
{
	Link__Publish p = LINK__PUBLISH__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	p.seq = seq;
	p.record = bin((const uint8_t *)record, len);
	m.body_case = LINK__TO_HUB__BODY_PUBLISH;
	m.publish = &p;
	say(h, conn, &m);
}

static void introduce(struct hub *h, uint64_t conn, const struct node *to)
{
	Link__Introduce i = LINK__INTRODUCE__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	i.ik = bin(to->pk, 32);
	m.body_case = LINK__TO_HUB__BODY_INTRODUCE;
	m.introduce = &i;
	say(h, conn, &m);
}

static void relay_open(struct hub *h, uint64_t conn, const struct node *to)
{
	Link__RelayOpen r = LINK__RELAY_OPEN__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	r.ik = bin(to->pk, 32);
	m.body_case = LINK__TO_HUB__BODY_RELAY_OPEN;
	m.relay_open = &r;
	say(h, conn, &m);
}

static void pong(struct hub *h, uint64_t conn, uint64_t t)
{
	Link__Pong p = LINK__PONG__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	p.t = t;
	m.body_case = LINK__TO_HUB__BODY_PONG;
	m.pong = &p;
	say(h, conn, &m);
}

/* Answers the ping that came with the welcome after `rtt` ms. */
static void join_with_rtt(struct hub *h, uint64_t conn, const struct node *n, uint64_t rtt)
{
	join(h, conn, n);
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_PING);
	assert_non_null(m);
	uint64_t t = m->ping->t;
	h->now += rtt;
	pong(h, conn, t);
}

static void leave(struct hub *h, uint64_t conn)
{
	coord_on_close(h->c, conn, h->now);
	listen_to(h);
}

/* ---- login */

static void the_login_matrix(void **state)
{
	(void)state;
	const struct wrong cases[] = {
		{ "nothing", -1 },
		{ "version", LINK__REFUSED_REASON__REFUSED_VERSION, .version = 2 },
		{ "signature", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .flip_sig = 40 },
		{ "exporter", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .exporter_of = 9 },
		{ "nonce", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .nonce_of = 2 },
		{ "identity", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .ik_of = &bob },
		{ "network id", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .netid_of = &net_b },
		{ "network id and root", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .netid_of = &net_b,
		  .root_of = &net_b },
		{ "root", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .root_of = &net_b },
		{ "pass", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .flip_pass = 7 },
		{ "pass of another network", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .pass_of = &net_b },
		{ "expired", LINK__REFUSED_REASON__REFUSED_EXPIRED, .expires_in = -100000 },
		{ "lengths", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .short_by = 1 },
		{ "emptiness", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .short_by = 32 },
		{ "name tag", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .name_tag = 65536 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct hub h;
		hub_start(&h);
		open_conn(&h, 2);
		open_conn(&h, 1);
		login_wrong(&h, 1, &ann, &cases[i]);
		if (refused_with(&h, 1) != cases[i].want)
			fail_msg("wrong %s: %d", cases[i].what, refused_with(&h, 1));
		assert_int_equal(closed(&h, 1), cases[i].want >= 0);
		assert_int_equal(coord_stats(h.c).online, cases[i].want < 0);
		assert_int_equal(heard(&h, 1, LINK__TO_NODE__BODY_WELCOME) != NULL, cases[i].want < 0);
		hub_stop(&h);
	}
}

static void a_replayed_login_is_refused_on_another_connection(void **state)
{
	(void)state;
	struct hub h;
	struct login_bytes b;
	Link__ToHub m = LINK__TO_HUB__INIT;

	hub_start(&h);
	open_conn(&h, 1);
	open_conn(&h, 2);
	make_login(&h, &b, 1, &ann, &(struct wrong) { 0 });
	m.body_case = LINK__TO_HUB__BODY_LOGIN;
	m.login = &b.login;
	say(&h, 1, &m);
	assert_non_null(heard(&h, 1, LINK__TO_NODE__BODY_WELCOME));
	say(&h, 2, &m);
	assert_int_equal(refused_with(&h, 2), LINK__REFUSED_REASON__REFUSED_BAD_LOGIN);
	assert_int_equal(coord_stats(h.c).online, 1);
	hub_stop(&h);
}

static void nothing_but_a_login_is_heard_before_it_and_none_after_it(void **state)
{
	(void)state;
	struct hub h;
	Link__ToHub none = LINK__TO_HUB__INIT;

	hub_start(&h);
	for (uint64_t conn = 1; conn <= 5; conn++)
		open_conn(&h, conn);
	publish(&h, 1, 1, "r", 1);
	assert_true(closed(&h, 1));
	introduce(&h, 2, &bob);
	assert_true(closed(&h, 2));
	relay_open(&h, 3, &bob);
	assert_true(closed(&h, 3));
	say(&h, 4, &none);
	assert_true(closed(&h, 4));
	login_wrong(&h, 5, &ann, &(struct wrong) { 0 });
	say(&h, 5, &none);
	assert_false(closed(&h, 5));
	login_wrong(&h, 5, &ann, &(struct wrong) { 0 });
	assert_true(closed(&h, 5));
	assert_int_equal(coord_stats(h.c).malformed, 5);
	hub_stop(&h);
}

static void who_does_not_log_in_is_closed_after_ten_seconds(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	open_conn(&h, 1);
	join(&h, 2, &ann);
	pass_time(&h, COORD_LOGIN_TIMEOUT_MS - 1);
	assert_false(closed(&h, 1));
	pass_time(&h, 1);
	assert_true(closed(&h, 1));
	assert_false(closed(&h, 2));
	login_wrong(&h, 1, &bob, &(struct wrong) { 0 });
	assert_int_equal(h.count, 0);
	leave(&h, 1);
	assert_int_equal(coord_stats(h.c).connections, 1);
	hub_stop(&h);
}

static void a_welcome_says_what_a_node_needs(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	const Link__Welcome *w = join(&h, 1, &ann);
	assert_int_equal(w->n_udp, 2);
	assert_int_equal(w->udp[0]->ip.len, 0);
	assert_int_equal(w->udp[0]->port, 3478);
	assert_int_equal(w->udp[1]->ip.len, 4);
	assert_int_not_equal(w->bind_slot, 0);
	assert_int_equal(w->bind_token.len, RELAY_TOKEN);
	assert_false(crypto_is_zero(w->bind_token.data, RELAY_TOKEN));
	assert_int_equal(w->members, 0);
	assert_false(w->same_name_elsewhere);
	assert_int_equal(join(&h, 2, &bob)->members, 1);
	w = join(&h, 3, &eve);
	assert_int_equal(w->members, 0);
	assert_true(w->same_name_elsewhere);
	leave(&h, 1);
	leave(&h, 2);
	leave(&h, 3);
	assert_false(join(&h, 4, &eve)->same_name_elsewhere);
	hub_stop(&h);
}

static void a_second_login_replaces_the_first(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 3, &ann);
	assert_int_equal(refused_with(&h, 1), LINK__REFUSED_REASON__REFUSED_REPLACED);
	assert_true(closed(&h, 1));
	assert_null(heard_of(&h, 2, &ann));
	leave(&h, 1);
	assert_null(heard_of(&h, 2, &ann));
	assert_int_equal(coord_stats(h.c).online, 2);
	publish(&h, 3, 1, "new", 3);
	assert_non_null(heard_of(&h, 2, &ann));
	hub_stop(&h);
}

/* ---- presence and records */

static void members_hear_of_each_other_and_of_nobody_else(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 9, &eve);
	join(&h, 2, &bob);
	assert_true(heard_of(&h, 1, &bob)->online);
	assert_true(heard_of(&h, 2, &ann)->online);
	assert_null(heard_of(&h, 2, &eve));
	assert_null(heard_of(&h, 9, &bob));
	publish(&h, 2, 5, "bob's", 5);
	assert_memory_equal(heard_of(&h, 1, &bob)->record.data, "bob's", 5);
	assert_null(heard_of(&h, 2, &bob));
	assert_null(heard_of(&h, 9, &bob));
	leave(&h, 2);
	assert_false(heard_of(&h, 1, &bob)->online);
	assert_int_equal(heard_of(&h, 1, &bob)->record.len, 0);
	assert_null(heard_of(&h, 9, &bob));
	hub_stop(&h);
}

static void the_greatest_seq_is_kept(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	publish(&h, 1, 5, "five", 4);
	publish(&h, 1, 5, "same", 4);
	assert_int_equal(h.count, 0);
	publish(&h, 1, 4, "less", 4);
	assert_int_equal(h.count, 0);
	join(&h, 3, &cid);
	assert_memory_equal(heard_of(&h, 3, &ann)->record.data, "five", 4);
	publish(&h, 1, 6, "more", 4);
	assert_memory_equal(heard_of(&h, 2, &ann)->record.data, "more", 4);
	assert_memory_equal(heard_of(&h, 3, &ann)->record.data, "more", 4);
	hub_stop(&h);
}

static void records_have_a_size(void **state)
{
	(void)state;
	static const char big[COORD_RECORD_MAX + 1];
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	publish(&h, 1, 1, big, COORD_RECORD_MAX);
	assert_int_equal(heard_of(&h, 2, &ann)->record.len, COORD_RECORD_MAX);
	publish(&h, 1, 2, big, COORD_RECORD_MAX + 1);
	assert_true(closed(&h, 1));
	publish(&h, 2, 1, big, 0);
	assert_true(closed(&h, 2));
	hub_stop(&h);
}

static void a_record_outlives_its_node_by_an_hour(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	publish(&h, 1, 1, "ann", 3);
	leave(&h, 1);
	pass_time(&h, 3600000 - 1);
	join(&h, 2, &bob);
	assert_false(heard_of(&h, 2, &ann)->online);
	assert_memory_equal(heard_of(&h, 2, &ann)->record.data, "ann", 3);
	leave(&h, 2);
	pass_time(&h, 1);
	join(&h, 3, &cid);
	assert_null(heard_of(&h, 3, &ann));
	assert_int_equal(coord_stats(h.c).records, 0);
	hub_stop(&h);
}

/* ---- introductions */

static void both_ends_of_an_introduction_start_together(void **state)
{
	(void)state;
	static const struct {
		uint32_t rtt_a, rtt_b, in_a, in_b, one_way;
	} cases[] = {
		{ 50, 50, 20, 20, 25 }, { 100, 20, 20, 60, 30 },    { 20, 300, 160, 20, 80 },
		{ 0, 0, 20, 20, 0 },	{ 9000, 0, 20, 1020, 500 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct hub h;
		hub_start(&h);
		join_with_rtt(&h, 1, &ann, cases[i].rtt_a);
		join_with_rtt(&h, 2, &bob, cases[i].rtt_b);
		introduce(&h, 1, &bob);
		const Link__Introduction *a = heard(&h, 1, LINK__TO_NODE__BODY_INTRODUCTION)->introduction;
		const Link__Introduction *b = heard(&h, 2, LINK__TO_NODE__BODY_INTRODUCTION)->introduction;
		assert_memory_equal(a->ik.data, bob.pk, 32);
		assert_memory_equal(b->ik.data, ann.pk, 32);
		assert_int_equal(a->in_ms, cases[i].in_a);
		assert_int_equal(b->in_ms, cases[i].in_b);
		assert_int_equal(a->one_way_ms, cases[i].one_way);
		assert_int_equal(b->one_way_ms, cases[i].one_way);
		hub_stop(&h);
	}
}

static void introductions_stay_in_the_network_and_among_those_online(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 9, &eve);
	leave(&h, 2);
	introduce(&h, 1, &eve);
	assert_int_equal(h.count, 0);
	introduce(&h, 1, &bob);
	assert_int_equal(h.count, 0);
	introduce(&h, 1, &ann);
	assert_int_equal(h.count, 0);
	assert_int_equal(coord_stats(h.c).introductions, 0);
	hub_stop(&h);
}

static void a_pair_is_introduced_twice_a_second_at_most(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 3, &cid);
	for (int i = 0; i < 100; i++, h.now += 10) {
		introduce(&h, 1, &bob);
		introduce(&h, 2, &ann);
	}
	assert_int_equal(coord_stats(h.c).introductions, 2);
	introduce(&h, 1, &cid);
	assert_int_equal(coord_stats(h.c).introductions, 3);
	hub_stop(&h);
}

/* ---- relay sessions */

static uint32_t session_heard(const struct hub *h, uint64_t conn)
{
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_RELAY_SESSION);
	assert_non_null(m);
	return m->relay_session->session;
}

static void both_ends_get_the_same_relay_session(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 9, &eve);
	relay_open(&h, 1, &bob);
	uint32_t session = session_heard(&h, 1);
	assert_int_not_equal(session, 0);
	assert_int_equal(session_heard(&h, 2), session);
	relay_open(&h, 2, &ann);
	assert_int_equal(session_heard(&h, 1), session);
	relay_open(&h, 1, &eve);
	assert_int_equal(session_heard(&h, 1), 0);
	assert_int_equal(h.count, 1);
	relay_open(&h, 1, &cid);
	assert_int_equal(session_heard(&h, 1), 0);
	relay_open(&h, 1, &ann);
	assert_int_equal(session_heard(&h, 1), 0);
	hub_stop(&h);
}

static void a_link_that_flaps_keeps_its_slot_for_a_minute(void **state)
{
	(void)state;
	struct hub h;
	uint8_t token[RELAY_TOKEN];

	hub_start(&h);
	const Link__Welcome *w = join(&h, 1, &ann);
	uint32_t slot = w->bind_slot;
	memcpy(token, w->bind_token.data, sizeof token);
	join(&h, 2, &bob);
	relay_open(&h, 1, &bob);
	uint32_t session = session_heard(&h, 1);
	leave(&h, 1);
	pass_time(&h, 20000);
	relay_open(&h, 2, &ann);
	assert_int_equal(session_heard(&h, 2), session);
	w = join(&h, 3, &ann);
	assert_int_equal(w->bind_slot, slot);
	assert_memory_equal(w->bind_token.data, token, sizeof token);
	leave(&h, 3);
	pass_time(&h, 60000);
	assert_int_equal(relay_server_stats(h.relay).slots, 1);
	w = join(&h, 4, &ann);
	assert_int_not_equal(w->bind_slot, slot);
	assert_memory_not_equal(w->bind_token.data, token, sizeof token);
	hub_stop(&h);
}

static void a_hub_without_relay_still_introduces(void **state)
{
	(void)state;
	struct hub h;

	hub_start_with(&h, false);
	const Link__Welcome *w = join(&h, 1, &ann);
	assert_int_equal(w->bind_slot, 0);
	assert_int_equal(w->bind_token.len, RELAY_TOKEN);
	join(&h, 2, &bob);
	relay_open(&h, 1, &bob);
	assert_int_equal(session_heard(&h, 1), 0);
	introduce(&h, 1, &bob);
	assert_int_equal(coord_stats(h.c).introductions, 1);
	hub_stop(&h);
}

/* ---- life and limits */

static void links_are_pinged_and_silent_ones_closed(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	assert_non_null(heard(&h, 1, LINK__TO_NODE__BODY_PING));
	pass_time(&h, COORD_PING_MS);
	const Link__ToNode *m = heard(&h, 1, LINK__TO_NODE__BODY_PING);
	assert_non_null(m);
	pong(&h, 1, m->ping->t);
	pass_time(&h, COORD_SILENT_MS - 1);
	assert_false(closed(&h, 1));
	pass_time(&h, 1);
	assert_true(closed(&h, 1));
	hub_stop(&h);
}

static void a_nodes_ping_is_answered(void **state)
{
	(void)state;
	struct hub h;
	Link__Ping ping = LINK__PING__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	hub_start(&h);
	join(&h, 1, &ann);
	ping.t = 0x1122334455667788;
	m.body_case = LINK__TO_HUB__BODY_PING;
	m.ping = &ping;
	say(&h, 1, &m);
	assert_true(heard(&h, 1, LINK__TO_NODE__BODY_PONG)->pong->t == ping.t);
	hub_stop(&h);
}

static void who_says_too_much_is_closed(void **state)
{
	(void)state;
	struct hub h;
	int said = 0;

	hub_start(&h);
	join(&h, 1, &ann);
	do
		introduce(&h, 1, &bob);
	while (!closed(&h, 1) && ++said < 5000);
	assert_int_equal(said, COORD_MESSAGES_BURST - 1); /* the login was one */
	join(&h, 2, &bob);
	for (said = 0; said < 5000 && !closed(&h, 2); said++)
		publish(&h, 2, (uint64_t)said + 1, "r", 1);
	assert_int_equal(said, COORD_PUBLISHES_BURST + 1);
	hub_stop(&h);
}

static void garbage_and_oversize_close_the_link(void **state)
{
	(void)state;
	static const uint8_t big[COORD_MESSAGE_MAX + 1];
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	coord_on_message(h.c, 1, (const uint8_t *)"\x0a\xff", 2, h.now, UNIX_S);
	coord_on_message(h.c, 2, big, sizeof big, h.now, UNIX_S);
	coord_on_message(h.c, 33, big, 1, h.now, UNIX_S);
	listen_to(&h);
	assert_true(closed(&h, 1));
	assert_true(closed(&h, 2));
	assert_int_equal(coord_stats(h.c).malformed, 2);
	hub_stop(&h);
}

static void nobody(struct node *n, const struct network *net, uint64_t seed)
{
	uint8_t s[32] = { 0 };

	store_le64(s, seed);
	crypto_ed25519_keypair(n->pk, n->sk, s);
	n->net = net;
}

static void a_full_hub_forgets_the_gone_and_refuses_when_all_are_here(void **state)
{
	(void)state;
	struct hub h;
	struct node n;

	hub_start(&h);
	join(&h, 1, &ann);
	publish(&h, 1, 1, "ann", 3);
	leave(&h, 1);
	for (uint64_t i = 0; i < MAX_NODES; i++) {
		nobody(&n, &net_a, 1000 + i);
		join(&h, 10 + i, &n);
	}
	assert_int_equal(coord_stats(h.c).records, 0);
	open_conn(&h, 1);
	login_wrong(&h, 1, &ann, &(struct wrong) { 0 });
	assert_int_equal(refused_with(&h, 1), LINK__REFUSED_REASON__REFUSED_LIMIT);
	assert_int_equal(coord_stats(h.c).online, MAX_NODES);
	hub_stop(&h);
}

static void connections_are_limited_and_ids_are_unique(void **state)
{
	(void)state;
	struct hub h;
	const uint8_t exporter[32] = { 0 };

	hub_start(&h);
	assert_int_equal(coord_on_open(h.c, 0, exporter, h.now), -EINVAL);
	for (uint64_t i = 1; i <= 2 * MAX_NODES; i++)
		open_conn(&h, i);
	assert_int_equal(coord_on_open(h.c, 1, exporter, h.now), -EINVAL);
	assert_int_equal(coord_on_open(h.c, 50, exporter, h.now), -ENOSPC);
	hub_stop(&h);
}

static void nothing_is_said_to_a_connection_that_ended(void **state)
{
	(void)state;
	struct hub h;
	const uint8_t exporter[32] = { 0 };

	hub_start(&h);
	assert_int_equal(coord_on_open(h.c, 1, exporter, h.now), 0);
	assert_int_equal(coord_on_open(h.c, 2, exporter, h.now), 0);
	coord_on_close(h.c, 1, h.now);
	coord_on_close(h.c, 1, h.now);
	listen_to(&h);
	assert_int_equal(h.count, 1);
	assert_int_equal(h.said[0].conn, 2);
	hub_stop(&h);
}

static void a_restarted_hub_gets_everything_back(void **state)
{
	(void)state;
	struct hub h;

	for (int life = 0; life < 2; life++) {
		hub_start(&h);
		join(&h, 1, &ann);
		publish(&h, 1, 5, "ann", 3);
		join(&h, 2, &bob);
		assert_memory_equal(heard_of(&h, 2, &ann)->record.data, "ann", 3);
		publish(&h, 2, 7, "bob", 3);
		assert_memory_equal(heard_of(&h, 1, &bob)->record.data, "bob", 3);
		relay_open(&h, 1, &bob);
		assert_int_not_equal(session_heard(&h, 2), 0);
		introduce(&h, 1, &bob);
		assert_non_null(heard(&h, 2, LINK__TO_NODE__BODY_INTRODUCTION));
		hub_stop(&h);
	}
}

static void make_network(struct network *net, uint8_t seed)
{
	uint8_t s[32] = { seed };

	crypto_ed25519_keypair(net->root_pk, net->root_sk, s);
	crypto_blake2b(net->netid, 32, NULL, 0,
		       (struct part[]) { { "p2pd1/netid", 11 }, { net->root_pk, 32 } }, 2);
}

static int setup(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_login_matrix),
		cmocka_unit_test(a_replayed_login_is_refused_on_another_connection),
		cmocka_unit_test(nothing_but_a_login_is_heard_before_it_and_none_after_it),
		cmocka_unit_test(who_does_not_log_in_is_closed_after_ten_seconds),
		cmocka_unit_test(a_welcome_says_what_a_node_needs),
		cmocka_unit_test(a_second_login_replaces_the_first),
		cmocka_unit_test(members_hear_of_each_other_and_of_nobody_else),
		cmocka_unit_test(the_greatest_seq_is_kept),
		cmocka_unit_test(records_have_a_size),
		cmocka_unit_test(a_record_outlives_its_node_by_an_hour),
		cmocka_unit_test(both_ends_of_an_introduction_start_together),
		cmocka_unit_test(introductions_stay_in_the_network_and_among_those_online),
		cmocka_unit_test(a_pair_is_introduced_twice_a_second_at_most),
		cmocka_unit_test(both_ends_get_the_same_relay_session),
		cmocka_unit_test(a_link_that_flaps_keeps_its_slot_for_a_minute),
		cmocka_unit_test(a_hub_without_relay_still_introduces),
		cmocka_unit_test(links_are_pinged_and_silent_ones_closed),
		cmocka_unit_test(a_nodes_ping_is_answered),
		cmocka_unit_test(who_says_too_much_is_closed),
		cmocka_unit_test(garbage_and_oversize_close_the_link),
		cmocka_unit_test(a_full_hub_forgets_the_gone_and_refuses_when_all_are_here),
		cmocka_unit_test(connections_are_limited_and_ids_are_unique),
		cmocka_unit_test(nothing_is_said_to_a_connection_that_ended),
		cmocka_unit_test(a_restarted_hub_gets_everything_back),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
