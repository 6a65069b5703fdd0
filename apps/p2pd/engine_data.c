/* Data in bulk: the engine's part of what a lane does with a superframe. */
#include "apps/p2pd/engine_internal.h"

#include <errno.h>
#include <string.h>

#include "core/control.h"
#include "core/ip.h"
#include "core/session_index.h"

/* ---- out */

/* A path that has been quiet too long is not trusted with data: the relay takes over until the next pong. */
static void check_path(struct engine_peer *ep, uint64_t now_ms)
{
	if (ep->peer.best && !path_usable(ep->peer.best, now_ms))
		peer_choose_path(&ep->peer, now_ms);
}

void engine_want(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	check_path(ep, now_ms);
	bool was_quiet = !ep->peer.last_tx_ms || now_ms - ep->peer.last_tx_ms >= ENGINE_HOT_MS;
	if (!ep->peer.own_kind || ep->peer.best)
		ep->wanted_ms = 0;
	else if (was_quiet || !ep->wanted_ms)
		ep->wanted_ms = now_ms;
	ep->peer.last_tx_ms = now_ms;
	if (ep->peer.own_kind && !ep->peer.best)
		engine_connect(e, ep, now_ms);
}

static bool fits(const struct engine_peer *ep, size_t largest)
{
	unsigned mtu = ep->peer.best ? path_mtu(ep->peer.best) : 0;

	return !mtu || largest <= mtu;
}

bool engine_aim(struct engine *e, struct engine_peer *ep, struct engine_target *to, uint64_t now_ms)
{
	struct path *best = ep->peer.best;

	*to = (struct engine_target) { 0 };
	switch (engine_way(ep, e)) {
	case ENGINE_WAY_RELAY:
		if (engine_away_is_used(ep)) {
			to->addr = ep->away.at;
			to->relay_session = ep->away.session;
			ep->away.relay->used_ms = now_ms;
			return true;
		}
		to->addr = e->by_link ? e->hub_link : e->relay.server;
		to->relay_session = ep->relay_session;
		to->by_link = e->by_link;
		if (!e->by_link)
			engine_relay_used(e, now_ms);
		return true;
	case ENGINE_WAY_DIRECT:
		to->addr = best ? best->addr : ep->peer.endpoint;
		to->socket = best ? best->socket : 0;
		if (best)
			path_on_sent(best, now_ms);
		return true;
	case ENGINE_WAY_NONE: break;
	}
	return false;
}

struct gaps_choice *engine_gaps(struct engine_peer *ep)
{
	return ep->peer.best ? &ep->peer.best->gaps : &ep->relay_gaps;
}

void engine_count_sent(struct engine *e, struct engine_peer *ep, unsigned packets, size_t bytes)
{
	enum engine_kind kind = engine_kind(ep, e);

	ep->peer.tx_bytes += bytes;
	if (kind == ENGINE_KINDS)
		return;
	e->counts.out[kind].packets += packets;
	e->counts.out[kind].bytes += bytes;
}

int engine_out_begin(struct engine *e, const struct engine_burst *b, uint64_t now_ms, struct engine_out *out)
{
	struct engine_peer *ep = lpm_find(&e->allowed, b->ip->family, b->ip->dst);

	if (!ep && e->pass && !b->one_flow)
		return -EXDEV;
	if (!ep)
		ep = engine_pass_out(e, b->ip, b->packet);
	if (!ep) {
		e->drops.no_route += b->count;
		return -EHOSTUNREACH;
	}
	engine_want(e, ep, now_ms);
	if (!fits(ep, b->largest) || engine_way(ep, e) == ENGINE_WAY_NONE ||
	    session_seal_begin(&ep->peer.session, b->count, ENGINE_MTU, now_ms, &out->sealer) < 0)
		return -EAGAIN;
	engine_aim(e, ep, &out->to, now_ms);
	if (!out->to.by_link)
		out->to.singly = gaps_on_sent(engine_gaps(ep), b->count, ep->peer.name, now_ms);
	engine_count_sent(e, ep, b->count, b->bytes);
	engine_run_session(e, ep, now_ms);
	engine_touch(e, ep, now_ms);
	return 0;
}

/* ---- in */

/* Where authenticated messages come from says how to reach a stock peer. The relay's session id is not authenticated:
 * it is taken only as long as the hub has told us none. */
void engine_learn_origin(const struct engine *e, struct engine_peer *ep, const struct engine_origin *origin)
{
	if (ep->peer.own_kind && origin->relay_session && !ep->relay_session &&
	    !engine_away_at(e, &origin->from))
		ep->relay_session = origin->relay_session;
	if (!ep->peer.own_kind && !origin->relay_session)
		ep->peer.endpoint = origin->from;
}

/* What came by the relay though we go directly may say that the peer has lost that path. */
static void hear(struct engine *e, struct engine_peer *ep, const struct engine_origin *origin,
		 uint64_t now_ms)
{
	struct path *path = ep->peer.watched;

	if (origin->relay_session && !engine_away_at(e, &origin->from))
		engine_relay_on_data(e, origin->by_link, now_ms);
	if (path && origin->relay_session)
		path_on_doubt(path, now_ms);
	else if (path && path->socket == origin->socket && addr_equal(&path->addr, &origin->from))
		path_on_heard(path, now_ms);
}

int engine_in_begin(struct engine *e, const struct engine_in *in, uint64_t now_ms, struct opener *out)
{
	struct engine_peer *ep;
	int rc;

	if (in->origin.by_link ? !e->welcomed
			       : in->origin.relay_session && !engine_is_relay(e, &in->origin.from)) {
		e->drops.malformed++;
		return -EINVAL;
	}
	ep = session_index_find(e->index, in->receiver);
	if (!ep) {
		e->drops.unknown_peer++;
		return -ENOENT;
	}
	rc = session_open_begin(&ep->peer.session, in->receiver, now_ms, out);
	e->drops.bad_auth += rc < 0;
	return rc;
}

/* What was found out about the packets before. */
struct known {
	bool expired; /* the peer owns nothing */
	struct engine_seen source, outside;
};

static bool owns(const struct engine *e, const struct engine_peer *ep, const struct ip_view *ip,
		 struct known *known)
{
	struct engine_seen *last = &known->source;

	if (!engine_is_seen(last, ip->family, ip->src))
		engine_see(last, ip->family, ip->src, lpm_find(&e->allowed, ip->family, ip->src) == ep);
	return last->yes;
}

static bool is_to_us(const struct engine *e, const struct ip_view *ip)
{
	return ip_same(ip->family, ip->dst, ip->family == ADDR_V4 ? e->ip4.ip : e->ip6.ip);
}

/* From an address of the peer's to one of ours. Only a stock peer, set by hand, may send elsewhere: this host routes
 * for it as it does for others. */
static bool may_enter(struct engine *e, const struct engine_peer *ep, const struct ip_view *ip,
		      const uint8_t *packet, struct known *known)
{
	bool owned = !known->expired && owns(e, ep, ip, known);

	if (owned && (!ep->peer.own_kind || is_to_us(e, ip)))
		return true;
	if (!known->expired && e->pass && engine_pass_in(e, ep, ip, packet, owned, &known->outside))
		return true;
	if (owned)
		e->drops.bad_destination++;
	else
		e->drops.bad_source++;
	return false;
}

static void count_received(struct engine *e, const struct engine_origin *origin, size_t bytes)
{
	struct engine_traffic *in = &e->counts.in[engine_kind_of_origin(origin)];

	in->packets++;
	in->bytes += bytes;
}

/* True for what is for the TUN device: a whole IP packet that may enter. The engine takes control messages. */
static bool is_for_tun(struct engine *e, struct engine_peer *ep, struct opened *o,
		       const struct engine_origin *origin, struct known *known, uint64_t now_ms)
{
	struct ip_view ip;

	if (!o->len)
		return false;
	count_received(e, origin, o->len);
	if (o->data[0] == CONTROL_FIRST_BYTE) {
		engine_on_control(e, ep, o->data, o->len, origin, now_ms);
		return false;
	}
	if (!ip_parse(&ip, o->data, o->len)) {
		e->drops.malformed++;
		return false;
	}
	if (!may_enter(e, ep, &ip, o->data, known))
		return false;
	o->len = (uint32_t)ip.total;
	ep->peer.rx_bytes += o->len;
	return true;
}

static void refuse(struct opened *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		list[i].data = NULL;
}

/* A peer whose certificate has run out owns nothing any more. */
static bool has_expired(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	return ep->peer.own_kind && ep->cert.not_after < engine_unix_s(e, now_ms);
}

static void report_gaps(struct engine *e, struct engine_peer *ep, uint32_t receiver, uint64_t now_ms)
{
	uint8_t msg[CONTROL_GAPS_LEN];
	struct gaps_report report;

	if (!ep->peer.own_kind || !session_gaps(&ep->peer.session, receiver, now_ms, &report))
		return;
	control_write_gaps(msg, &report);
	engine_send_control(e, ep, msg, sizeof msg, now_ms);
}

void engine_in_end(struct engine *e, const struct engine_in *in, struct opened *list, unsigned count,
		   uint64_t now_ms)
{
	struct engine_peer *ep = session_index_find(e->index, in->receiver);
	struct known known = { 0 };
	bool confirmed = false;
	int replayed;

	e->drops.bad_auth += in->failed;
	replayed = ep ? session_open_end(&ep->peer.session, in->receiver, list, count, now_ms, &confirmed)
		      : -ENOENT;
	if (replayed < 0) {
		refuse(list, count);
		return;
	}
	e->drops.replayed += (unsigned)replayed;
	if ((unsigned)replayed == count)
		return;
	engine_learn_origin(e, ep, &in->origin);
	hear(e, ep, &in->origin, now_ms);
	if (confirmed)
		engine_flush_staged(e, ep, now_ms);
	/* What a link had no room for is no train that a card broke. */
	if (!in->origin.by_link)
		report_gaps(e, ep, in->receiver, now_ms);
	known.expired = has_expired(e, ep, now_ms);
	for (unsigned i = 0; i < count; i++)
		if (list[i].data && !is_for_tun(e, ep, &list[i], &in->origin, &known, now_ms))
			list[i].data = NULL;
	engine_touch(e, ep, now_ms);
}
