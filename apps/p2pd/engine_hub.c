/* The node's side of the link's messages (relay/proto/link.proto). The hub is not believed: what it passes on of others
 * is opened and verified here, what it says of itself only moves packets. */
#include "apps/p2pd/engine_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/log.h"
#include "relay/proto/link.pb-c.h"

enum { LINK_VERSION = 1, PASS_VALID_S = 86400, HUB_MESSAGE_MAX = 16384, PUBLISH_AGAIN_MS = 1000 };

static bool send_to_hub(struct engine *e, const Link__ToHub *msg)
{
	size_t len = link__to_hub__get_packed_size(msg);
	struct pkt *p;

	if (!e->hub_up || len > HUB_MESSAGE_MAX)
		return false;
	p = pkt_get(e->config.pool);
	if (!p) {
		e->drops.no_buffer++;
		return false;
	}
	p->len = (uint32_t)link__to_hub__pack(msg, pkt_data(p));
	pkt_list_push(&e->hub_out, p);
	return true;
}

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)data, .len = len };
}

static bool may_ask(struct engine *e, uint64_t now_ms)
{
	return bucket_take(&e->asks, ENGINE_ASKS_PER_S, ENGINE_ASKS_BURST, now_ms);
}

void engine_hub_introduce(struct engine *e, const uint8_t ik[static 32], uint64_t now_ms)
{
	Link__Introduce body = LINK__INTRODUCE__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;

	if (!may_ask(e, now_ms))
		return;
	body.ik = bytes_of(ik, 32);
	msg.body_case = LINK__TO_HUB__BODY_INTRODUCE;
	msg.introduce = &body;
	send_to_hub(e, &msg);
}

void engine_hub_relay_open(struct engine *e, const uint8_t ik[static 32], uint64_t now_ms)
{
	Link__RelayOpen body = LINK__RELAY_OPEN__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;

	if (!may_ask(e, now_ms))
		return;
	body.ik = bytes_of(ik, 32);
	msg.body_case = LINK__TO_HUB__BODY_RELAY_OPEN;
	msg.relay_open = &body;
	send_to_hub(e, &msg);
}

/* ---- publishing */

/* The home relay goes among the candidates, the last of which gives way if it must. */
static void name_home(const struct engine *e, struct record *r)
{
	if (!e->home)
		return;
	if (r->candidate_count == RECORD_MAX_CANDIDATES)
		r->candidate_count--;
	r->candidates[r->candidate_count++] = (struct candidate) { e->home->at, CANDIDATE_RELAY };
}

static void publish(struct engine *e, uint64_t now_ms)
{
	struct record r = { .boot = e->boot,
			    .time_s = engine_unix_s(e, now_ms),
			    .ttl_s = ENGINE_RECORD_TTL_S };
	Link__Publish body = LINK__PUBLISH__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;
	uint8_t ts[NOISE_TIMESTAMP_LEN], sealed[RECORD_MAX];
	int len;

	/* The clock that never goes back, kept on disk, numbers records, too. */
	session_timestamp(&e->clock, now_ms, ts);
	r.seq = e->clock.last_ns;
	r.candidate_count = (uint8_t)e->candidates.count;
	memcpy(r.candidates, e->candidates.items, sizeof r.candidates);
	name_home(e, &r);
	r.nat = e->verdict;
	len = record_seal(&r, e->cert_bytes, e->cert_len, e->ik_sk, &e->config.net, &e->rng, sealed);
	if (len < 0) {
		log_error("engine", "our own record does not seal (%d)", len);
		return;
	}
	body.seq = r.seq;
	body.record = bytes_of(sealed, (size_t)len);
	msg.body_case = LINK__TO_HUB__BODY_PUBLISH;
	msg.publish = &body;
	e->publish_at_ms = now_ms +
			   (send_to_hub(e, &msg) ? ENGINE_RECORD_TTL_S * 1000ULL / 4 : PUBLISH_AGAIN_MS);
}

/* Others can try anew with what they now know of us. */
static void retry_relayed(struct engine *e, uint64_t now_ms)
{
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		if (!ep->peer.own_kind || ep->peer.best)
			continue;
		ep->introduce_at_ms = now_ms;
		engine_touch(e, ep, now_ms);
	}
}

static bool measured(const struct engine *e)
{
	for (size_t i = 0; i < e->hub_udp_count; i++)
		if (e->reflexive[i].family)
			return true;
	return false;
}

/* The first record waits a moment for STUN, so that peers need not try twice. */
uint64_t engine_publish_deadline(const struct engine *e)
{
	if (!e->welcomed)
		return UINT64_MAX;
	if (!e->joined && !measured(e))
		return e->joined_by_ms;
	return e->publish_due ? 0 : e->publish_at_ms;
}

void engine_run_publish(struct engine *e, uint64_t now_ms)
{
	struct engine_event joined = { .kind = ENGINE_EV_JOINED };

	if (now_ms < engine_publish_deadline(e))
		return;
	if (e->cert.not_after < engine_unix_s(e, now_ms) + ENGINE_CERT_DAYS * 86400ULL / 2)
		engine_issue_cert(e, now_ms);
	publish(e, now_ms);
	e->publish_due = false;
	retry_relayed(e, now_ms);
	if (e->joined)
		return;
	e->joined = true;
	e->roster++;
	engine_event(e, &joined);
}

/* ---- messages of the hub */

/* We sign our own URL and no other; the hub's is only told to the person. */
static bool is_our_front(struct engine *e, const char *front)
{
	const struct engine_event other = { .kind = ENGINE_EV_OTHER_FRONT };
	struct hub_url url;

	if (!*front || !strcmp(front, e->config.hub_front))
		return true;
	if (hub_url_parse(&url, front) == 0) {
		login_front(&url, e->other_front);
		engine_event(e, &other);
	}
	return false;
}

static void on_challenge(struct engine *e, const Link__Challenge *c, uint64_t now_ms)
{
	const struct network *net = &e->config.net;
	Link__Login body = LINK__LOGIN__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;
	uint8_t text[LOGIN_TEXT], sig[64], pass[64];

	if (c->nonce.len != LOGIN_NONCE || e->welcomed || !is_our_front(e, c->front))
		return;
	size_t len = login_text(text, e->exporter, c->front, net->netid, c->nonce.data);
	crypto_ed25519_sign(sig, text, len, e->ik_sk);
	body.version = LINK_VERSION;
	body.pass_not_after = engine_unix_s(e, now_ms) + PASS_VALID_S;
	cert_pass_issue(pass, net, e->ik_pk, body.pass_not_after);
	body.netid = bytes_of(net->netid, 32);
	body.root_pk = bytes_of(net->root_pk, 32);
	body.ik = bytes_of(e->ik_pk, 32);
	body.pass_sig = bytes_of(pass, 64);
	body.sig = bytes_of(sig, 64);
	body.name_tag = network_name_tag(net->name);
	msg.body_case = LINK__TO_HUB__BODY_LOGIN;
	msg.login = &body;
	send_to_hub(e, &msg);
}

static bool read_endpoint(const struct engine *e, const Link__UdpEndpoint *u, struct addr *out)
{
	if (u->port == 0 || u->port > 65535)
		return false;
	if (u->ip.len == 0)
		*out = e->hub_link;
	else if (u->ip.len == 4 || u->ip.len == 16)
		*out = addr_from_ip(u->ip.len == 4 ? ADDR_V4 : ADDR_V6, u->ip.data, (uint16_t)u->port);
	else
		return false;
	out->port = (uint16_t)u->port;
	if (!addr_may_name(&e->hub_link, out) || engine_in_overlay(e, out))
		return false;
	return out->family == ADDR_V4 ? e->config.have_ip4 : e->config.have_ip6;
}

/* One asked twice would look like a mapping that is the same for two. */
static bool is_listed(const struct engine *e, const struct addr *a)
{
	for (size_t i = 0; i < e->hub_udp_count; i++)
		if (addr_equal(&e->hub_udp[i], a))
			return true;
	return false;
}

static void read_endpoints(struct engine *e, const Link__Welcome *w)
{
	struct addr before = e->hub_udp[0];

	e->hub_udp_count = 0;
	for (size_t i = 0; i < w->n_udp && e->hub_udp_count < ENGINE_HUB_UDP; i++) {
		struct addr *at = &e->hub_udp[e->hub_udp_count];
		if (read_endpoint(e, w->udp[i], at) && !is_listed(e, at))
			e->hub_udp_count++;
	}
	if (!addr_equal(&before, &e->hub_udp[0]))
		memset(e->reflexive, 0, sizeof e->reflexive);
}

static void read_relays(struct engine *e, const Link__Welcome *w, uint64_t now_ms)
{
	bool complete = w->ticket.len == RELAY_TICKET && w->ticket_token.len == RELAY_TOKEN;
	struct addr relays[ENGINE_AWAYS];
	size_t count = 0;

	for (size_t i = 0; complete && i < w->n_relays && count < ENGINE_AWAYS; i++)
		if (w->relays[i]->ip.len && read_endpoint(e, w->relays[i], &relays[count]) &&
		    !is_listed(e, &relays[count]))
			count++;
	if (count)
		engine_aways_on_welcome(e, relays, count, w->ticket.data, w->ticket_token.data, now_ms);
	else
		engine_aways_forget(e, now_ms);
}

static void on_welcome(struct engine *e, const Link__Welcome *w, uint64_t now_ms)
{
	struct engine_event alone = { .kind = ENGINE_EV_ALONE_WITH_SAME_NAME };

	if (e->welcomed || w->bind_token.len != RELAY_TOKEN)
		return;
	e->welcomed = true;
	e->roster++;
	e->publish_due = true;
	e->joined_by_ms = now_ms + ENGINE_JOIN_STUN_MS;
	read_endpoints(e, w);
	if (w->members == 0 && w->same_name_elsewhere && !e->joined)
		engine_event(e, &alone);
	read_relays(e, w, now_ms);
	engine_relay_on_welcome(e, w->bind_slot, w->bind_token.data, now_ms);
	engine_measure(e, now_ms);
	/* The hub may have forgotten all sessions: they are asked for again as they are needed. */
	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		/* Who is here is said next; who went while we did not listen is not mentioned. */
		ep->online = false;
		if (!ep->peer.own_kind || (!ep->relay_session && !ep->peer.staged.count))
			continue;
		ep->relay_session = 0;
		ep->relay_asked_ms = now_ms;
		engine_hub_relay_open(e, ep->ik, now_ms);
	}
	engine_due(e, now_ms);
}

static void on_peer(struct engine *e, const Link__Peer *m, uint64_t now_ms)
{
	struct engine_peer *ep = NULL;
	struct record r;

	if (m->ik.len != 32 || !memcmp(m->ik.data, e->ik_pk, 32))
		return;
	if (m->record.len) {
		int rc = record_open(&r, m->record.data, m->record.len, &e->config.net, &e->config.ip4_prefix,
				     e->config.ip4_bits, engine_unix_s(e, now_ms));
		if (rc < 0 || memcmp(r.cert.ik, m->ik.data, 32) || !memcmp(r.cert.wk, e->local.pk, 32)) {
			log_limited(&e->log_last_ms, now_ms, "hub", "a record that does not verify (%d)", rc);
			e->drops.bad_auth++;
			return;
		}
		ep = engine_peer_learn(e, &r, now_ms);
	}
	if (!ep)
		ep = engine_peer_by_ik(e, m->ik.data);
	if (!ep)
		return;
	/* It is back, and something waits for it. That it was not there a moment ago is no answer any more. */
	if (m->online && !ep->online && ep->peer.staged.count) {
		ep->relay_asked_ms = 0;
		engine_connect(e, ep, now_ms);
	}
	/* By UDP the relay says that the session ended when the peer went; over the link nobody does. */
	if (m->online && !ep->online && e->by_link && ep->relay_session) {
		ep->relay_asked_ms = now_ms;
		engine_hub_relay_open(e, ep->ik, now_ms);
	}
	ep->online = m->online;
	e->roster++;
}

static void on_relay_session(struct engine *e, const Link__RelaySession *m, uint64_t now_ms)
{
	struct engine_peer *ep = m->ik.len == 32 ? engine_peer_by_ik(e, m->ik.data) : NULL;

	if (!ep)
		return;
	if (m->session != ep->relay_session && !ep->peer.best)
		session_on_new_way(&ep->peer.session, now_ms);
	ep->relay_session = m->session;
	if (engine_way(ep, e) != ENGINE_WAY_NONE) {
		engine_flush_staged(e, ep, now_ms);
		engine_run_session(e, ep, now_ms);
	}
	engine_touch(e, ep, now_ms);
}

static void on_introduction(struct engine *e, const Link__Introduction *m, uint64_t now_ms)
{
	struct engine_peer *ep = m->ik.len == 32 ? engine_peer_by_ik(e, m->ik.data) : NULL;

	if (ep)
		engine_on_introduction(e, ep, m->in_ms, m->one_way_ms, now_ms);
}

static void answer_ping(struct engine *e, const Link__Ping *ping)
{
	Link__Pong body = LINK__PONG__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;

	body.t = ping->t;
	msg.body_case = LINK__TO_HUB__BODY_PONG;
	msg.pong = &body;
	send_to_hub(e, &msg);
}

static void dispatch(struct engine *e, const Link__ToNode *m, uint64_t now_ms)
{
	struct engine_event refused = { .kind = ENGINE_EV_REFUSED };

	switch (m->body_case) {
	case LINK__TO_NODE__BODY_CHALLENGE: on_challenge(e, m->challenge, now_ms); return;
	case LINK__TO_NODE__BODY_WELCOME: on_welcome(e, m->welcome, now_ms); return;
	case LINK__TO_NODE__BODY_PEER: on_peer(e, m->peer, now_ms); return;
	case LINK__TO_NODE__BODY_INTRODUCTION: on_introduction(e, m->introduction, now_ms); return;
	case LINK__TO_NODE__BODY_RELAY_SESSION: on_relay_session(e, m->relay_session, now_ms); return;
	case LINK__TO_NODE__BODY_PING:
		e->hub_spread_ms = m->ping->spread_ms;
		answer_ping(e, m->ping);
		return;
	case LINK__TO_NODE__BODY_REFUSED:
		refused.code = (int)m->refused->reason;
		engine_event(e, &refused);
		return;
	default: e->drops.malformed++;
	}
}

void engine_on_hub_message(struct engine *e, const uint8_t *msg, size_t len, uint64_t now_ms)
{
	Link__ToNode *m = len <= HUB_MESSAGE_MAX ? link__to_node__unpack(NULL, len, msg) : NULL;

	if (!m) {
		e->drops.malformed++;
		return;
	}
	dispatch(e, m, now_ms);
	link__to_node__free_unpacked(m, NULL);
}

const char *engine_hub_front(const struct engine *e)
{
	return e->other_front;
}

void engine_on_hub_up(struct engine *e, const uint8_t exporter[static ENGINE_EXPORTER],
		      const struct addr *remote, uint64_t now_ms)
{
	e->counts.hub_links++;
	e->hub_up = true;
	e->welcomed = false;
	e->hub_link = *remote;
	memcpy(e->exporter, exporter, ENGINE_EXPORTER);
	engine_due(e, now_ms);
}

/* Tunnels stay; so does the relay's binding by UDP, for the hub's UDP side may well be alive. */
void engine_on_hub_down(struct engine *e, uint64_t now_ms)
{
	e->counts.hub_links_lost += e->hub_up;
	e->counts.hub_failures += !e->hub_up;
	e->hub_up = false;
	e->welcomed = false;
	pkt_list_clear(&e->hub_out, e->config.pool);
	engine_relay_on_hub_down(e, now_ms);
	engine_due(e, now_ms);
}
