/* A connection (struct conn) belongs to the caller's socket, a member (roster.h) to an identity; a login joins the two.
 * Timers, each a list of equal delays: login timeout, ping, silence; those of the roster beside them. */
#include "relay/coord.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cert.h"
#include "core/log.h"
#include "relay/coord_internal.h"
#include "relay/proto/link.pb-c.h"

enum { LINK_VERSION = 1, NEWS_AT_ONCE = 64 };

struct coord *coord_create(const struct coord_config *config)
{
	struct coord *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->config = *config;
	c->logins.delay_ms = COORD_LOGIN_TIMEOUT_MS;
	c->pings.delay_ms = COORD_PING_MS;
	c->silent.delay_ms = COORD_SILENT_MS;
	c->news.delay_ms = 1;
	map_init(&c->conns, sizeof(uint64_t), sizeof(struct conn *), config->rng);
	pairs_init(&c->pairs, COORD_INTRODUCE_GAP_MS, config->rng);
	roster_init(&c->roster, config->relay, config->rng, config->max_nodes);
	return c;
}

void coord_destroy(struct coord *c)
{
	if (!c)
		return;
	for (struct conn **k = NULL; (k = map_walk(&c->conns, k));)
		free(*k);
	map_clear(&c->conns);
	pairs_free(&c->pairs);
	roster_free(&c->roster);
	coord_queue_free(&c->queue);
	crypto_wipe(c->config.relay_key, sizeof c->config.relay_key);
	free(c);
}

void coord_set_max_nodes(struct coord *c, size_t max_nodes)
{
	c->config.max_nodes = c->roster.max = max_nodes;
}

static struct conn *conn_find(const struct coord *c, uint64_t id)
{
	struct conn **k = map_find(&c->conns, &id);
	return k ? *k : NULL;
}

/* The member stays online until the caller reports the close: one place where members go. */
static void conn_close(struct coord *c, struct conn *k, const Link__ToNode *last)
{
	if (k->closing)
		return;
	k->closing = true;
	due_end(&c->logins, &k->login_due);
	due_end(&c->pings, &k->ping_due);
	due_end(&c->silent, &k->silent_due);
	due_end(&c->news, &k->news_due);
	coord_queue_close(&c->queue, k->id, last);
}

/* A node that missed a message would have a wrong picture for ever: better that it starts anew. */
void coord_send(struct coord *c, struct conn *k, const Link__ToNode *msg)
{
	if (!k->closing && coord_queue_message(&c->queue, k->id, msg))
		conn_close(c, k, NULL);
}

static void conn_malformed(struct coord *c, struct conn *k, uint64_t now_ms)
{
	c->stats.malformed++;
	log_limited(&c->log_last_ms, now_ms, "coord", "connection %llu broke the protocol",
		    (unsigned long long)k->id);
	conn_close(c, k, NULL);
}

static void conn_refuse(struct coord *c, struct conn *k, Link__RefusedReason reason)
{
	Link__Refused refused = LINK__REFUSED__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	refused.reason = reason;
	msg.body_case = LINK__TO_NODE__BODY_REFUSED;
	msg.refused = &refused;
	c->stats.refused += !k->closing;
	conn_close(c, k, &msg);
}

static int send_challenge(struct coord *c, struct conn *k)
{
	Link__Challenge challenge = LINK__CHALLENGE__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	challenge.nonce = coord_bytes(k->nonce, sizeof k->nonce);
	challenge.version = LINK_VERSION;
	challenge.front = c->config.front;
	msg.body_case = LINK__TO_NODE__BODY_CHALLENGE;
	msg.challenge = &challenge;
	return coord_queue_message(&c->queue, k->id, &msg);
}

static void send_ping(struct coord *c, struct conn *k, uint64_t now_ms)
{
	Link__Ping ping = LINK__PING__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	rng_fill(c->config.rng, &k->ping_t, sizeof k->ping_t);
	k->ping_sent_ms = now_ms;
	due_arm(&c->pings, &k->ping_due, now_ms);
	ping.t = k->ping_t;
	ping.spread_ms = roster_spread_ms(c->roster.online);
	msg.body_case = LINK__TO_NODE__BODY_PING;
	msg.ping = &ping;
	coord_send(c, k, &msg);
}

static void send_peer(struct coord *c, struct conn *to, const struct member *m, bool online, bool with_record)
{
	Link__Peer peer = LINK__PEER__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	peer.ik = coord_bytes(m->key.ik, 32);
	peer.online = online;
	if (with_record && m->record)
		peer.record = coord_bytes(m->record, m->record_len);
	msg.body_case = LINK__TO_NODE__BODY_PEER;
	msg.peer = &peer;
	coord_send(c, to, &msg);
}

/* ---- news of members: each connection is told of changes in their order, and of what changed again meanwhile only
 * once. So what waits here for a slow one is a number. */

static void wake(struct coord *c, struct conn *k)
{
	if (!k->closing && !k->paused && !k->news_due.at_ms)
		due_arm(&c->news, &k->news_due, 0);
}

static void spread(struct coord *c, struct member *m, bool record)
{
	roster_changed(m, record);
	for (struct member *other = m->network->members; other; other = other->next)
		if (other != m && other->link)
			wake(c, other->link);
}

static void tell_news(struct coord *c, struct conn *k)
{
	struct member *m = roster_changed_since(k->member->network, k->told);

	due_end(&c->news, &k->news_due);
	for (int i = 0; m && i < NEWS_AT_ONCE; i++, m = m->next) {
		if (m != k->member && (m->link || m->record))
			send_peer(c, k, m, m->link, m->record_changed > k->knows);
		k->told = m->changed;
	}
	if (m)
		wake(c, k);
	else
		k->knows = k->told;
}

void coord_pause(struct coord *c, uint64_t conn)
{
	struct conn *k = conn_find(c, conn);

	if (!k)
		return;
	k->paused = true;
	due_end(&c->news, &k->news_due);
}

void coord_resume(struct coord *c, uint64_t conn)
{
	struct conn *k = conn_find(c, conn);

	if (k)
		k->paused = false;
	if (k && k->member)
		wake(c, k);
}

/* ---- login */

static bool login_well_formed(const Link__Login *l)
{
	return l->netid.len == 32 && l->root_pk.len == 32 && l->ik.len == 32 &&
	       l->pass_sig.len == CRYPTO_SIG && l->sig.len == CRYPTO_SIG && l->name_tag <= UINT16_MAX;
}

static bool login_signed(const struct coord *c, const struct conn *k, const Link__Login *l)
{
	uint8_t text[LOGIN_TEXT];
	size_t len = login_text(text, k->exporter, c->config.front, l->netid.data, k->nonce);

	return crypto_ed25519_verify(l->sig.data, text, len, l->ik.data) == 0;
}

/* REFUSED_UNSPECIFIED: let in. Only who holds the identity key learns that the pass has expired. */
static Link__RefusedReason login_check(const struct coord *c, const struct conn *k, const Link__Login *l,
				       uint64_t unix_s)
{
	if (l->version != LINK_VERSION)
		return LINK__REFUSED_REASON__REFUSED_VERSION;
	if (!login_well_formed(l) || !login_signed(c, k, l))
		return LINK__REFUSED_REASON__REFUSED_BAD_LOGIN;
	switch (cert_pass_verify(l->pass_sig.data, l->root_pk.data, l->netid.data, l->ik.data,
				 l->pass_not_after, unix_s)) {
	case 0: return LINK__REFUSED_REASON__REFUSED_UNSPECIFIED;
	case -EKEYEXPIRED: return LINK__REFUSED_REASON__REFUSED_EXPIRED;
	default: return LINK__REFUSED_REASON__REFUSED_BAD_LOGIN;
	}
}

/* The newer connection wins: after a network change the older one is dead and does not know it yet. */
static void replace_link(struct coord *c, struct member *m)
{
	struct conn *old = m ? m->link : NULL;

	if (!old)
		return;
	old->member = NULL;
	conn_refuse(c, old, LINK__REFUSED_REASON__REFUSED_REPLACED);
}

/* The ping goes first, so that its answer measures the link and not the queue behind it. */
static void welcome(struct coord *c, struct conn *k, bool was_online, uint64_t now_ms, uint64_t unix_s)
{
	c->stats.logins++;
	due_end(&c->logins, &k->login_due);
	due_arm(&c->silent, &k->silent_due, now_ms);
	coord_send_welcome(c, k, unix_s);
	send_ping(c, k, now_ms);
	wake(c, k);
	if (!was_online)
		spread(c, k->member, false);
}

static void on_login(struct coord *c, struct conn *k, const Link__Login *l, uint64_t now_ms, uint64_t unix_s)
{
	Link__RefusedReason reason = login_check(c, k, l, unix_s);
	struct member_key key;

	if (reason != LINK__REFUSED_REASON__REFUSED_UNSPECIFIED) {
		log_limited(&c->log_last_ms, now_ms, "coord", "refused a login (%d)", (int)reason);
		conn_refuse(c, k, reason);
		return;
	}
	memcpy(key.netid, l->netid.data, 32);
	memcpy(key.ik, l->ik.data, 32);
	struct member *m = roster_find(&c->roster, &key);
	bool was_online = m && m->link;
	replace_link(c, m);
	k->member = roster_arrive(&c->roster, &key, (uint16_t)l->name_tag, k);
	if (k->member)
		welcome(c, k, was_online, now_ms, unix_s);
	else
		conn_refuse(c, k, LINK__REFUSED_REASON__REFUSED_LIMIT);
}

/* ---- what a member says */

static void on_publish(struct coord *c, struct conn *k, const Link__Publish *p, uint64_t now_ms)
{
	struct member *m = k->member;

	if (p->record.len == 0 || p->record.len > COORD_RECORD_MAX) {
		conn_malformed(c, k, now_ms);
		return;
	}
	/* Each one is multiplied by the size of the network. */
	if (!bucket_take(&m->publishes, COORD_PUBLISHES_PER_S, COORD_PUBLISHES_BURST, now_ms)) {
		c->stats.limited++;
		conn_close(c, k, NULL);
		return;
	}
	int rc = roster_keep(&c->roster, m, p->seq, p->record.data, p->record.len);
	if (rc == 0)
		spread(c, m, true);
	else if (rc != -EALREADY)
		conn_close(c, k, NULL);
}

/* The other member of k's network with this key, or NULL. */
static struct member *fellow(const struct coord *c, const struct conn *k, const uint8_t *ik)
{
	struct member_key key = k->member->key;

	memcpy(key.ik, ik, 32);
	struct member *m = roster_find(&c->roster, &key);
	return m == k->member ? NULL : m;
}

/* The least of the last few: what exceeds it was waiting somewhere, not travelling. */
static uint32_t rtt_of(const struct conn *k)
{
	size_t n = k->rtt_count < RTT_SAMPLES ? k->rtt_count : RTT_SAMPLES;
	uint32_t least = n ? COORD_RTT_MAX_MS : COORD_RTT_UNKNOWN_MS;

	for (size_t i = 0; i < n; i++)
		least = k->rtt_ms[i] < least ? k->rtt_ms[i] : least;
	return least;
}

/* `k` gets the message rtt/2 after now; `slower_ms` is the greater RTT of the two. Both so start at
 * T0 = now + slower/2 + lead. */
static void send_introduction(struct coord *c, struct conn *k, const struct member *peer, uint32_t slower_ms,
			      uint32_t one_way_ms)
{
	Link__Introduction introduction = LINK__INTRODUCTION__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	introduction.ik = coord_bytes(peer->key.ik, 32);
	introduction.in_ms = (slower_ms - rtt_of(k)) / 2 + COORD_INTRODUCE_LEAD_MS;
	introduction.one_way_ms = one_way_ms;
	msg.body_case = LINK__TO_NODE__BODY_INTRODUCTION;
	msg.introduction = &introduction;
	coord_send(c, k, &msg);
}

static void on_introduce(struct coord *c, struct conn *k, const Link__Introduce *i, uint64_t now_ms)
{
	struct member *m = k->member, *peer = fellow(c, k, i->ik.data);
	struct conn *other = peer ? peer->link : NULL;

	if (!other || other->closing)
		return;
	if (!bucket_take(&m->introduces, COORD_INTRODUCES_PER_S, COORD_INTRODUCES_BURST, now_ms)) {
		c->stats.limited++;
		return;
	}
	if (!pairs_take(&c->pairs, m, peer, now_ms))
		return;
	/* From the links alone the way between the two is between |a - b|/2 and (a + b)/2 (the detour by us): for links
	 * alike, (a + b)/4 is the middle. Being wrong costs little: the openers of both sides leave at T0 whatever it
	 * is, and the bursts that wait for it are spread over 600 ms. */
	uint32_t a = rtt_of(k), b = rtt_of(other), one_way_ms = (a + b) / 4;
	send_introduction(c, k, peer, a > b ? a : b, one_way_ms);
	send_introduction(c, other, m, a > b ? a : b, one_way_ms);
	c->stats.introductions++;
}

static void send_session(struct coord *c, struct conn *k, const uint8_t *ik, uint32_t session)
{
	Link__RelaySession answer = LINK__RELAY_SESSION__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	answer.ik = coord_bytes(ik, 32);
	answer.session = session;
	msg.body_case = LINK__TO_NODE__BODY_RELAY_SESSION;
	msg.relay_session = &answer;
	coord_send(c, k, &msg);
}

/* A peer whose link is down for a moment has its slot still, and is worth relaying to. */
static void on_relay_open(struct coord *c, struct conn *k, const Link__RelayOpen *r)
{
	struct member *m = k->member, *peer = fellow(c, k, r->ik.data);
	uint32_t session = peer && c->config.relay ? relay_session_open(c->config.relay, m->slot, peer->slot)
						   : 0;

	send_session(c, k, r->ik.data, session);
	if (session && peer->link)
		send_session(c, peer->link, m->key.ik, session);
}

static void on_ping(struct coord *c, struct conn *k, const Link__Ping *ping)
{
	Link__Pong pong = LINK__PONG__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	pong.t = ping->t;
	msg.body_case = LINK__TO_NODE__BODY_PONG;
	msg.pong = &pong;
	coord_send(c, k, &msg);
}

static void on_pong(struct conn *k, const Link__Pong *pong, uint64_t now_ms)
{
	if (!k->ping_sent_ms || pong->t != k->ping_t)
		return;
	uint64_t rtt = now_ms - k->ping_sent_ms;
	k->rtt_ms[k->rtt_count++ % RTT_SAMPLES] = rtt < COORD_RTT_MAX_MS ? (uint32_t)rtt : COORD_RTT_MAX_MS;
	k->ping_sent_ms = 0;
}

static bool names_a_node(const Link__ToHub *m)
{
	if (m->body_case == LINK__TO_HUB__BODY_INTRODUCE)
		return m->introduce->ik.len == 32;
	if (m->body_case == LINK__TO_HUB__BODY_RELAY_OPEN)
		return m->relay_open->ik.len == 32;
	return true;
}

static void dispatch(struct coord *c, struct conn *k, const Link__ToHub *m, uint64_t now_ms, uint64_t unix_s)
{
	bool login = m->body_case == LINK__TO_HUB__BODY_LOGIN;

	if (login != !k->member || !names_a_node(m)) {
		conn_malformed(c, k, now_ms);
		return;
	}
	if (login) {
		on_login(c, k, m->login, now_ms, unix_s);
		return;
	}
	due_arm(&c->silent, &k->silent_due, now_ms);
	switch (m->body_case) {
	case LINK__TO_HUB__BODY_PUBLISH: on_publish(c, k, m->publish, now_ms); return;
	case LINK__TO_HUB__BODY_INTRODUCE: on_introduce(c, k, m->introduce, now_ms); return;
	case LINK__TO_HUB__BODY_RELAY_OPEN: on_relay_open(c, k, m->relay_open); return;
	case LINK__TO_HUB__BODY_PING: on_ping(c, k, m->ping); return;
	case LINK__TO_HUB__BODY_PONG: on_pong(k, m->pong, now_ms); return;
	default: return; /* of a newer version: not understood, not held against it */
	}
}

/* ---- connections */

int coord_on_open(struct coord *c, uint64_t conn, const uint8_t exporter[static COORD_EXPORTER],
		  uint64_t now_ms)
{
	if (conn == 0 || conn_find(c, conn))
		return -EINVAL;
	if (c->conns.count / 2 >= c->config.max_nodes)
		return -ENOSPC;
	struct conn *k = calloc(1, sizeof *k);
	if (!k || coord_queue_reserve(&c->queue)) {
		free(k);
		return -ENOMEM;
	}
	k->id = conn;
	memcpy(k->exporter, exporter, COORD_EXPORTER);
	rng_fill(c->config.rng, k->nonce, sizeof k->nonce);
	if (map_put(&c->conns, &conn, &k) || send_challenge(c, k)) {
		map_remove(&c->conns, &conn);
		coord_queue_end(&c->queue, conn, false);
		free(k);
		return -ENOMEM;
	}
	due_arm(&c->logins, &k->login_due, now_ms);
	return 0;
}

void coord_on_message(struct coord *c, uint64_t conn, const uint8_t *msg, size_t len, uint64_t now_ms,
		      uint64_t unix_s)
{
	struct conn *k = conn_find(c, conn);

	if (!k || k->closing)
		return;
	if (!bucket_take(&k->messages, COORD_MESSAGES_PER_S, COORD_MESSAGES_BURST, now_ms)) {
		c->stats.limited++;
		conn_close(c, k, NULL);
		return;
	}
	Link__ToHub *m = len <= COORD_MESSAGE_MAX ? link__to_hub__unpack(NULL, len, msg) : NULL;
	if (!m) {
		conn_malformed(c, k, now_ms);
		return;
	}
	dispatch(c, k, m, now_ms, unix_s);
	link__to_hub__free_unpacked(m, NULL);
}

void coord_on_close(struct coord *c, uint64_t conn, uint64_t now_ms)
{
	struct conn *k = conn_find(c, conn);

	if (!k)
		return;
	map_remove(&c->conns, &conn);
	due_end(&c->logins, &k->login_due);
	due_end(&c->pings, &k->ping_due);
	due_end(&c->silent, &k->silent_due);
	due_end(&c->news, &k->news_due);
	coord_queue_end(&c->queue, conn, k->closing);
	if (k->member) {
		spread(c, k->member, false);
		roster_leave(&c->roster, k->member, now_ms);
	}
	free(k);
}

bool coord_next(struct coord *c, struct coord_out *out)
{
	struct due *d;

	while (!c->queue.count && (d = due_take(&c->news, UINT64_MAX)))
		tell_news(c, DUE_OWNER(d, struct conn, news_due));
	return coord_queue_next(&c->queue, out);
}

void coord_tick(struct coord *c, uint64_t now_ms)
{
	struct due *d;

	while ((d = due_take(&c->logins, now_ms)))
		conn_close(c, DUE_OWNER(d, struct conn, login_due), NULL);
	while ((d = due_take(&c->silent, now_ms)))
		conn_close(c, DUE_OWNER(d, struct conn, silent_due), NULL);
	uint64_t ping_until_ms = due_next(&c->pings) <= now_ms ? now_ms + COORD_PING_TOGETHER_MS : now_ms;
	while ((d = due_take(&c->pings, ping_until_ms)))
		send_ping(c, DUE_OWNER(d, struct conn, ping_due), now_ms);
	roster_tick(&c->roster, now_ms);
}

uint64_t coord_deadline(const struct coord *c)
{
	uint64_t at[] = { due_next(&c->logins), due_next(&c->pings), due_next(&c->silent),
			  roster_deadline(&c->roster) };
	uint64_t least = at[0];

	for (size_t i = 1; i < sizeof at / sizeof *at; i++)
		least = at[i] < least ? at[i] : least;
	return least;
}

uint32_t coord_slot(const struct coord *c, uint64_t conn)
{
	const struct conn *k = conn_find(c, conn);

	return k && k->member ? k->member->slot : 0;
}

struct roster *coord_roster(struct coord *c)
{
	return &c->roster;
}

struct coord_stats coord_stats(const struct coord *c)
{
	struct coord_stats s = c->stats;

	s.connections = (uint32_t)c->conns.count;
	s.online = c->roster.online;
	s.networks = (uint32_t)c->roster.networks.count;
	s.records = c->roster.records;
	return s;
}
