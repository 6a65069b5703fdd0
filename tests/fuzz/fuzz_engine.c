/* A whole node and a member that it has a session with, by the relay: datagrams, TUN packets and hub messages of any
 * content, what the member seals, and answers to what the node sent (STUN, probes), in any order, while time passes.
 * Input: records of kind(1), length LE16, bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/engine_internal.h"
#include "apps/p2pd/forward/pass.h"
#include "core/bytes.h"
#include "core/control.h"
#include "core/ip.h"
#include "core/log.h"
#include "nat/stun.h"
#include "relay/proto/link.pb-c.h"

enum { POOL = 512, SESSION = 7, SENT = 64, START_MS = 1000000 };
enum {
	FROM_HUB = 0,
	FROM_PEER,
	FROM_STRANGER,
	TUN,
	HUB_MESSAGE,
	HUB_DOWN,
	HUB_UP,
	TICK,
	SEALED, /* any packet inside the session */
	OFFER,
	STUN_ANSWER,
	PONG,
	PING,
	OWN_VERDICT,
	BURST, /* data in bulk, as a lane does it: out */
	BATCH, /* and in */
	KINDS
};
enum {
	BATCH_MAX = 16,
	BATCH_PACKET = 255,
	BATCH_MESSAGE = BATCH_PACKET + SEALER_PADDING + SEALER_OVERHEAD_MAX
};

static struct network net;
static struct pkt_pool pool;
static struct addr hub, peer, stranger;
static struct engine *node, *member;

/* What the node sent lately: to be answered. */
static struct sent {
	struct addr to;
	uint32_t socket;
	uint8_t data[PROBE_MIN > STUN_MAX ? PROBE_MIN : STUN_MAX];
	size_t len;
} stun_sent[SENT], probes_sent[SENT];
static unsigned stun_count, probe_count;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_set_level(LOG_LVL_ERROR);
	if (crypto_init() || network_from_secret(&net, "home", "correct horse battery staple", 28) ||
	    pkt_pool_init(&pool, POOL))
		abort();
	addr_parse(&hub, "198.51.100.1:3478", 0);
	addr_parse(&peer, "203.0.113.1:40000", 0);
	addr_parse(&stranger, "203.0.113.99:1", 0);
	return 0;
}

/* ---- out */

static void keep(struct sent *ring, unsigned *count, const struct pkt *p)
{
	struct sent *s = &ring[(*count)++ % SENT];

	s->to = p->addr;
	s->socket = p->socket;
	s->len = p->len < sizeof s->data ? p->len : sizeof s->data;
	memcpy(s->data, p->buf + p->off, s->len);
}

static void look_at(const struct pkt *p)
{
	const uint8_t *data = p->buf + p->off;

	assert(!p->socket || p->addr.family == ADDR_V4);
	if (stun_is_message(data, p->len))
		keep(stun_sent, &stun_count, p);
	else if (p->len == PROBE_MIN && data[0] == PROBE_FIRST_BYTE)
		keep(probes_sent, &probe_count, p);
}

/* Whether only a port that is forwarded by the kernel leads from or to there. */
static bool is_visitor(enum addr_family family, const uint8_t *ip)
{
	struct addr a = addr_from_ip(family, ip, 1);

	return a.family == family && !engine_in_overlay(node, &a) && !lpm_find(&node->allowed, family, ip);
}

static bool is_ours(const struct ip_view *ip)
{
	bool v4 = ip->family == ADDR_V4;

	return !memcmp(ip->dst, v4 ? node->ip4.ip : node->ip6.ip, v4 ? 4 : 16);
}

/* What comes to the TUN is from an address of the member, or a visitor's. */
static void check_tun(struct pkt *p)
{
	struct ip_view ip;

	assert(ip_parse(&ip, pkt_data(p), p->len));
	assert(lpm_find(&node->allowed, ip.family, ip.src) || is_visitor(ip.family, ip.src));
}

static void drain(struct engine *e)
{
	struct engine_event ev;
	struct pkt *p;

	while ((p = pkt_list_pop(&e->udp_out))) {
		if (e == node)
			look_at(p);
		pkt_put(&pool, p);
	}
	while ((p = pkt_list_pop(&e->tun_out))) {
		check_tun(p);
		pkt_put(&pool, p);
	}
	pkt_list_clear(&e->hub_out, &pool);
	while (engine_next_event(e, &ev)) {
	}
}

/* ---- in */

static struct pkt *pkt_of(const void *data, size_t len, const struct addr *from)
{
	struct pkt *p = pkt_get(&pool);

	if (!p)
		abort();
	memcpy(pkt_data(p), data, len);
	p->len = (uint32_t)len;
	p->addr = *from;
	return p;
}

static void from_hub(struct engine *e, const Link__ToNode *msg, uint64_t now_ms)
{
	uint8_t wire[4096];

	assert(link__to_node__get_packed_size(msg) <= sizeof wire);
	engine_on_hub_message(e, wire, link__to_node__pack(msg, wire), now_ms);
}

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)data, .len = len };
}

static void welcome(struct engine *e, uint64_t now_ms)
{
	static const uint8_t exporter[ENGINE_EXPORTER], token[RELAY_TOKEN] = { 7 };
	Link__UdpEndpoint endpoint = LINK__UDP_ENDPOINT__INIT, *list[] = { &endpoint };
	Link__ToNode msg = LINK__TO_NODE__INIT;
	Link__Welcome w = LINK__WELCOME__INIT;

	engine_on_hub_up(e, exporter, &hub, now_ms);
	endpoint.port = hub.port;
	w.n_udp = 1;
	w.udp = list;
	w.bind_slot = 1;
	w.bind_token = bytes_of(token, sizeof token);
	msg.body_case = LINK__TO_NODE__BODY_WELCOME;
	msg.welcome = &w;
	from_hub(e, &msg, now_ms);
	e->relay.state = RELAY_IS_BOUND;
	e->relay.was_bound = true;
}

/* `to` learns of `of`, by the record that it publishes, and of a relay session with it. */
static void introduce(struct engine *of, struct engine *to, uint64_t now_ms)
{
	Link__RelaySession session = LINK__RELAY_SESSION__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;
	Link__Peer body = LINK__PEER__INIT;
	struct pkt *p;

	body.ik = session.ik = bytes_of(of->ik_pk, 32);
	body.online = true;
	while ((p = pkt_list_pop(&of->hub_out))) {
		Link__ToHub *said = link__to_hub__unpack(NULL, p->len, pkt_data(p));
		if (said && said->body_case == LINK__TO_HUB__BODY_PUBLISH) {
			body.record = said->publish->record;
			msg.body_case = LINK__TO_NODE__BODY_PEER;
			msg.peer = &body;
			from_hub(to, &msg, now_ms);
		}
		link__to_hub__free_unpacked(said, NULL);
		pkt_put(&pool, p);
	}
	session.session = SESSION;
	msg.body_case = LINK__TO_NODE__BODY_RELAY_SESSION;
	msg.relay_session = &session;
	from_hub(to, &msg, now_ms);
}

/* What one gave to the relay reaches the other. */
static void relay_all(struct engine *from, struct engine *to, uint64_t now_ms)
{
	struct pkt *p;

	while ((p = pkt_list_pop(&from->udp_out))) {
		if (pkt_data(p)[0] == RELAY_DATA)
			engine_on_datagram(to, p, now_ms);
		else
			pkt_put(&pool, p);
	}
}

static struct engine *new_engine(uint8_t seed, uint64_t now_ms)
{
	struct engine_config config = {
		.net = net, .name = "fuzzed", .ip4_bits = 16, .have_ip4 = true, .aegis = true, .seed = seed
	};
	struct engine *e = malloc(sizeof *e);

	config.ik_seed[0] = config.wk_sk[1] = seed;
	config.udp_port = 40001;
	config.max_sockets = 64;
	config.hard_nat = true;
	config.pool = &pool;
	addr_parse(&config.ip4_prefix, "10.77.0.0", 0);
	if (!e || engine_init(e, &config, now_ms, 1800000000ULL * 1000000000))
		abort();
	return e;
}

static void meet(uint64_t *now_ms)
{
	welcome(node, *now_ms);
	welcome(member, *now_ms);
	*now_ms += ENGINE_JOIN_STUN_MS;
	engine_tick(node, *now_ms);
	engine_tick(member, *now_ms);
	introduce(member, node, *now_ms);
	introduce(node, member, *now_ms);
	engine_ping(node, engine_peer_by_ik(node, member->ik_pk), 1, *now_ms);
	for (int i = 0; i < 3; i++) {
		relay_all(node, member, *now_ms);
		relay_all(member, node, *now_ms);
	}
	assert(session_ready(&engine_peer_by_ik(member, node->ik_pk)->peer.session, *now_ms));
	drain(node);
	drain(member);
}

/* ---- a member and a hub that say what they like, in the right form */

static struct engine_peer *as_member_sees_us(void)
{
	return engine_peer_by_ik(member, node->ik_pk);
}

static void sealed(const uint8_t *head, size_t head_len, const uint8_t *data, size_t len, uint64_t now_ms)
{
	uint8_t buf[RELAY_HEADER + WG_DATA_OVERHEAD + ENGINE_MTU + 64] = { 0 };
	uint8_t *msg = buf + RELAY_HEADER + WG_DATA_HEADER;

	len = len < ENGINE_MTU - head_len ? len : ENGINE_MTU - head_len;
	memcpy(msg, head, head_len);
	memcpy(msg + head_len, data, len);
	int n = session_seal(&as_member_sees_us()->peer.session, msg, head_len + len, ENGINE_MTU, now_ms);
	if (n < 0)
		return;
	relay_client_header(buf, SESSION);
	engine_on_datagram(node, pkt_of(buf, RELAY_HEADER + (size_t)n, &hub), now_ms);
}

static void stun_answer(struct reader *r, uint64_t now_ms)
{
	const struct sent *s = &stun_sent[read_u8(r) % SENT];
	struct stun_msg m, reply = { .cls = STUN_SUCCESS, .method = STUN_BINDING };
	uint8_t out[STUN_MAX];

	reply.mapped = addr_read(r);
	reply.other_address = addr_read(r);
	if (!s->len || stun_decode(&m, s->data, s->len) || r->bad)
		return;
	memcpy(reply.txid, m.txid, sizeof reply.txid);
	int n = stun_encode(&reply, false, out, sizeof out);
	if (n <= 0)
		return;
	struct pkt *p = pkt_of(out, (size_t)n, &s->to);
	p->socket = s->socket;
	engine_on_datagram(node, p, now_ms);
}

static void probe(const struct probe *probe, const struct addr *from, uint32_t socket, uint64_t now_ms)
{
	uint8_t out[PROBE_MAX];
	size_t len = probe_seal(&as_member_sees_us()->peer.probe, probe, &member->rng, PROBE_MIN, out);
	struct pkt *p = pkt_of(out, len, from);

	p->socket = socket;
	engine_on_datagram(node, p, now_ms);
}

static void pong(struct reader *r, uint64_t now_ms)
{
	const struct sent *s = &probes_sent[read_u8(r) % SENT];
	struct probe p;

	if (!s->len || probe_open(&as_member_sees_us()->peer.probe, s->data, s->len, &p) < 0)
		return;
	p.kind = PROBE_PONG;
	p.seen = s->to;
	probe(&p, &s->to, s->socket, now_ms);
}

static void ping(struct reader *r, uint64_t now_ms)
{
	struct probe p = { .kind = PROBE_PING };
	uint32_t socket = node->sockets[read_u8(r) % ENGINE_SOCKETS];
	struct addr from = addr_read(r);

	if (!r->bad)
		probe(&p, &from, from.family == ADDR_V4 ? socket : 0, now_ms);
}

static void own_verdict(struct reader *r)
{
	struct verdict v = verdict_read(r);

	if (!r->bad)
		node->verdict = v;
}

/* ---- data in bulk */

static void burst(struct reader *r, uint64_t now_ms)
{
	uint8_t what = read_u8(r), packet[BATCH_PACKET], msg[RELAY_HEADER + BATCH_MESSAGE];
	struct ip_view ip;
	struct engine_burst b = { .ip = &ip, .packet = packet, .one_flow = what & 8 };
	struct engine_out out;
	bool ip6 = what & 1;
	size_t size = ip6 ? 16 : 4, len = r->left > 3 ? r->left - 3 : 0;

	b.count = read_u8(r) + 1u;
	b.bytes = b.largest = read_le16(r);
	len = len < sizeof packet ? len : sizeof packet;
	memset(packet, 0, sizeof packet);
	read_into(r, packet, len);
	if (!ip_parse(&ip, packet, len) || ip.family != (ip6 ? ADDR_V6 : ADDR_V4))
		return;
	if (what & 2) /* to the member */
		memcpy(packet + (ip6 ? 24 : 16), ip6 ? member->ip6.ip : member->ip4.ip, size);
	if (what & 4) /* from us */
		memcpy(packet + (ip6 ? 8 : 12), ip6 ? node->ip6.ip : node->ip4.ip, size);
	if (engine_out_begin(node, &b, now_ms, &out) < 0)
		return;
	assert(out.to.addr.family && out.sealer.end - out.sealer.next == b.count);
	for (unsigned i = 0; i < b.count; i++) {
		size_t sealed = sealer_seal(&out.sealer, msg + RELAY_HEADER, (const uint8_t *)"packet", 6);
		relay_client_header(msg, SESSION);
		engine_on_datagram(member, pkt_of(msg, RELAY_HEADER + sealed, &hub), now_ms);
	}
	drain(member);
}

/* Messages that the member seals, some of them spoilt or sent twice. Their number; 0: it has no keys. */
static unsigned seal_batch(struct reader *r, uint8_t (*msgs)[BATCH_MESSAGE], size_t *lens, uint64_t now_ms)
{
	struct session *s = &as_member_sees_us()->peer.session;
	unsigned n = 0;

	for (; n < BATCH_MAX && r->left; n++) {
		uint8_t op = read_u8(r), len = read_u8(r);
		uint8_t packet[BATCH_PACKET] = { 0 };
		struct sealer sealer;
		len = len < r->left ? len : (uint8_t)r->left;
		read_into(r, packet, len);
		if (op & 1 && len >= 20) /* from an address of its own */
			memcpy(packet + 12, member->ip4.ip, 4);
		if (op & 8 && len >= 20) /* to one of ours */
			memcpy(packet + 16, node->ip4.ip, 4);
		if (session_seal_begin(s, 1, ENGINE_MTU, now_ms, &sealer) < 0)
			return 0;
		lens[n] = sealer_seal(&sealer, msgs[n], packet, len);
		msgs[n][lens[n] - 1] ^= op & 2;
		if (op & 4 && n)
			memcpy(msgs[n], msgs[n - 1], lens[n] = lens[n - 1]);
	}
	return n;
}

static void batch(struct reader *r, uint64_t *now_ms)
{
	static uint8_t msgs[BATCH_MAX][BATCH_MESSAGE];
	uint8_t meanwhile = read_u8(r);
	struct opened list[BATCH_MAX];
	size_t lens[BATCH_MAX];
	struct engine_in in = { .origin = { .from = hub, .relay_session = SESSION } };
	unsigned n = seal_batch(r, msgs, lens, *now_ms), count = 0;
	struct opener opener;

	if (!n || !opener_is_data(msgs[0], lens[0], &in.receiver) ||
	    engine_in_begin(node, &in, *now_ms, &opener) < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		if (opener_open(&opener, msgs[i], lens[i], &list[count]) < 0)
			in.failed++;
		else
			count++;
	*now_ms += meanwhile * 2000; /* the keys may go before */
	engine_tick(node, *now_ms);
	engine_in_end(node, &in, list, count, *now_ms);
	for (unsigned i = 0; i < count; i++) {
		struct ip_view ip;
		if (!list[i].data)
			continue;
		assert(ip_parse(&ip, list[i].data, list[i].len) && ip.total == list[i].len);
		if (lpm_find(&node->allowed, ip.family, ip.src) == engine_peer_by_ik(node, member->ik_pk))
			assert(is_ours(&ip) || is_visitor(ip.family, ip.dst));
		else
			assert(is_ours(&ip) && is_visitor(ip.family, ip.src));
	}
}

static void step(uint8_t kind, const uint8_t *data, size_t len, uint64_t *now_ms)
{
	static const uint8_t exporter[ENGINE_EXPORTER], control[] = { CONTROL_FIRST_BYTE, CONTROL_OFFER };
	struct reader r = reader_over(data, len);

	switch (kind % KINDS) {
	case FROM_HUB: engine_on_datagram(node, pkt_of(data, len, &hub), *now_ms); break;
	case FROM_PEER: engine_on_datagram(node, pkt_of(data, len, &peer), *now_ms); break;
	case FROM_STRANGER: engine_on_datagram(node, pkt_of(data, len, &stranger), *now_ms); break;
	case TUN: engine_on_tun(node, pkt_of(data, len, &hub), *now_ms); break;
	case HUB_MESSAGE: engine_on_hub_message(node, data, len, *now_ms); break;
	case HUB_DOWN: engine_on_hub_down(node, *now_ms); break;
	case HUB_UP: engine_on_hub_up(node, exporter, &hub, *now_ms); break;
	case SEALED: sealed(control, 0, data, len, *now_ms); break;
	case OFFER: sealed(control, sizeof control, data, len, *now_ms); break;
	case STUN_ANSWER: stun_answer(&r, *now_ms); break;
	case PONG: pong(&r, *now_ms); break;
	case PING: ping(&r, *now_ms); break;
	case OWN_VERDICT: own_verdict(&r); break;
	case BURST: burst(&r, *now_ms); break;
	case BATCH: batch(&r, now_ms); break;
	default: *now_ms += len * 7; engine_tick(node, *now_ms);
	}
	drain(node);
	assert(budget_unanswered(&node->budget, *now_ms) <= BUDGET_TUPLES);
}

/* The member is our gateway for the lower half of all ports, and we are its for the upper. */
static void forward_ports(void)
{
	struct pass_entry entries[] = { { .side = FORWARD_OWNER, .proto = FORWARD_TCP, .first = 1 },
					{ .side = FORWARD_OWNER, .proto = FORWARD_UDP, .first = 1 },
					{ .side = FORWARD_GATEWAY, .proto = FORWARD_TCP, .first = 32768 },
					{ .side = FORWARD_GATEWAY, .proto = FORWARD_UDP, .first = 32768 } };

	for (int i = 0; i < 4; i++) {
		entries[i].count = 32767;
		memcpy(entries[i].peer, member->ik_pk, 32);
	}
	node->pass = pass_create();
	if (!node->pass || pass_set(node->pass, entries, 4))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_over(data, size);
	uint64_t now_ms = START_MS;
	struct engine_wg_peer wg = { .name = "phone", .pk = { 9 }, .endpoint = peer, .keepalive_s = 25 };

	memset(stun_sent, 0, sizeof stun_sent);
	memset(probes_sent, 0, sizeof probes_sent);
	stun_count = probe_count = 0;
	node = new_engine(1, now_ms);
	member = new_engine(2, now_ms);
	meet(&now_ms);
	engine_add_wg(node, &wg, now_ms);
	forward_ports();
	while (r.left >= 3) {
		uint8_t kind = read_u8(&r);
		size_t len = read_le16(&r);
		len = len < r.left ? len : r.left;
		len = len < PKT_DATA_MAX ? len : PKT_DATA_MAX;
		step(kind, read_bytes(&r, len), len, &now_ms);
	}
	pass_destroy(node->pass);
	engine_free(node);
	engine_free(member);
	free(node);
	free(member);
	assert(pool.in_use == 0);
	return 0;
}
