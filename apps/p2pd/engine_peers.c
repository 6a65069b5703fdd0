/* Who is in the network: peers learnt from records, stock peers set by hand, the claims to addresses. */
#include "apps/p2pd/engine_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

enum { IP6_HOST_BITS = 128, IP4_HOST_BITS = 32, IP4_ATTEMPTS = 64 };

static struct engine_peer *look_up(const struct map *m, const uint8_t *key)
{
	struct engine_peer *const *found = map_find(m, key);

	return found ? *found : NULL;
}

struct engine_peer *engine_peer_by_ik(struct engine *e, const uint8_t ik[static 32])
{
	return look_up(&e->by_ik, ik);
}

struct engine_peer *engine_peer_by_wk(struct engine *e, const uint8_t wk[static 32])
{
	return look_up(&e->by_wk, wk);
}

struct engine_peer *engine_peer_by_tag(struct engine *e, const uint8_t tag[static PROBE_TAG])
{
	return look_up(&e->by_tag, tag);
}

/* An address is never taken for a name: a node may be named like another's address. */
struct engine_peer *engine_find_peer(struct engine *e, const char *name_or_address)
{
	struct addr a;
	bool is_address = addr_parse(&a, name_or_address, 0) == 0;

	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		if (is_address ? addr_same_ip(&a, &ep->ip4) || addr_same_ip(&a, &ep->ip6)
			       : !strcmp(ep->peer.name, name_or_address))
			return ep;
	}
	return NULL;
}

/* ---- our own certificate and address */

int engine_issue_cert(struct engine *e, uint64_t now_ms)
{
	struct cert *c = &e->cert;
	uint64_t unix_s = engine_unix_s(e, now_ms);
	int len;

	*c = (struct cert) { .not_before = e->config.cert_not_before, .ip4 = e->ip4, .ip6 = e->ip6 };
	if (!c->not_before)
		c->not_before = e->config.cert_not_before = unix_s;
	/* The clock was ahead when the claim was made, or is behind now: a certificate of the future is worth nothing. */
	if (c->not_before > unix_s)
		c->not_before = unix_s;
	c->not_after = unix_s + ENGINE_CERT_DAYS * 86400ULL;
	memcpy(c->ik, e->ik_pk, 32);
	memcpy(c->wk, e->local.pk, 32);
	strcpy(c->name, e->config.name);
	rng_fill(&e->rng, c->serial, sizeof c->serial);
	len = cert_issue(c, &e->config.net, e->cert_bytes);
	if (len < 0)
		return len;
	e->cert_len = (size_t)len;
	e->publish_due = true;
	engine_due(e, now_ms);
	return 0;
}

static bool ip4_taken(const struct engine *e, const struct addr *ip4)
{
	for (const struct engine_peer *ep = e->peers; ep; ep = ep->next)
		if (addr_same_ip(&ep->cert.ip4, ip4))
			return true;
	return false;
}

/* Another node has the older claim to our IPv4 address: take the next that is free. */
static void move_ip4(struct engine *e, const char *winner, uint64_t now_ms)
{
	struct engine_event ev = { .kind = ENGINE_EV_ADDRESS };
	char before[ADDR_TEXT_MAX], after[ADDR_TEXT_MAX];

	addr_format_ip(&e->ip4, before);
	for (int i = 0; i < IP4_ATTEMPTS && ip4_taken(e, &e->ip4); i++)
		network_ip4(e->local.pk, &e->config.ip4_prefix, e->config.ip4_bits, ++e->ip4_attempt,
			    &e->ip4);
	log_warn("engine", "%s has the older claim to %s: this node is now %s", winner, before,
		 addr_format_ip(&e->ip4, after));
	engine_issue_cert(e, now_ms);
	e->roster++;
	engine_event(e, &ev);
}

/* ---- peers by record */

static struct engine_peer *new_peer(struct engine *e, const uint8_t wk[static 32])
{
	struct engine_peer *ep = e->peer_count < ENGINE_MAX_PEERS ? calloc(1, sizeof *ep) : NULL;

	if (!ep)
		return NULL;
	memcpy(ep->peer.wk, wk, 32);
	return ep;
}

static int start_session(struct engine *e, struct engine_peer *ep, const uint8_t *psk, uint16_t keepalive_s)
{
	struct session_config config = {
		.local = &e->local,
		.index = e->index,
		.clock = &e->clock,
		.rng = &e->rng,
		.owner = ep,
		.peer_pk = ep->peer.wk,
		.psk = psk,
		.own_kind = ep->peer.own_kind,
		.aegis = e->config.aegis,
		.keepalive_s = keepalive_s,
	};
	int rc = session_init(&ep->peer.session, &config);

	for (size_t i = 0; rc == 0 && i < e->timestamp_count; i++)
		if (!memcmp(e->timestamps[i].wk, ep->peer.wk, 32))
			session_restore_peer_timestamp(&ep->peer.session, e->timestamps[i].ts);
	return rc;
}

static void link_peer(struct engine *e, struct engine_peer *ep)
{
	ep->next = e->peers;
	e->peers = ep;
	e->peer_count++;
	ep->number = ++e->last_number;
}

static void free_peer(struct engine *e, struct engine_peer *ep)
{
	engine_round_drop(e, ep);
	timers_remove(&e->peers_due, &ep->due);
	lpm_remove_owner(&e->allowed, ep);
	map_remove(&e->by_wk, ep->peer.wk);
	if (ep->peer.own_kind) {
		map_remove(&e->by_ik, ep->ik);
		map_remove(&e->by_tag, ep->peer.probe.tag_rx);
	}
	pkt_list_clear(&ep->peer.staged, e->config.pool);
	session_close(&ep->peer.session);
	crypto_wipe(ep, sizeof *ep);
	free(ep);
}

void engine_peers_free(struct engine *e)
{
	struct engine_peer *next;

	lpm_clear(&e->allowed);
	for (struct engine_peer *ep = e->peers; ep; ep = next) {
		next = ep->next;
		free_peer(e, ep);
	}
	e->peers = NULL;
	e->peer_count = 0;
	map_clear(&e->by_ik);
	map_clear(&e->by_wk);
	map_clear(&e->by_tag);
}

static int index_member(struct engine *e, struct engine_peer *ep)
{
	int rc = map_put(&e->by_wk, ep->peer.wk, &ep);

	if (rc == 0)
		rc = map_put(&e->by_ik, ep->ik, &ep);
	if (rc == 0)
		rc = map_put(&e->by_tag, ep->peer.probe.tag_rx, &ep);
	return rc;
}

static struct engine_peer *add_member(struct engine *e, const struct cert *c)
{
	const struct network *net = &e->config.net;
	struct engine_peer *ep = new_peer(e, c->wk);
	uint8_t psk[32];

	if (!ep)
		return NULL;
	ep->peer.own_kind = true;
	memcpy(ep->ik, c->ik, 32);
	network_psk(net, e->local.pk, c->wk, psk);
	if (probe_keys_init(&ep->peer.probe, net, e->local.sk, e->local.pk, c->wk) < 0 ||
	    start_session(e, ep, psk, 0) < 0) {
		crypto_wipe(psk, sizeof psk);
		free(ep);
		return NULL;
	}
	crypto_wipe(psk, sizeof psk);
	if (index_member(e, ep) < 0) {
		free_peer(e, ep);
		return NULL;
	}
	link_peer(e, ep);
	return ep;
}

static struct engine_peer *other_claim(struct engine *e, const struct engine_peer *ep, const struct addr *ip4)
{
	struct engine_peer *other = ip4->family == ADDR_V4 ? lpm_find(&e->allowed, ADDR_V4, ip4->ip) : NULL;

	/* Who only has the prefix around it has no claim to this one. */
	return other && other != ep && addr_same_ip(&other->ip4, ip4) ? other : NULL;
}

/* Of two claims to an IPv4 address the older wins; one outside our prefix is none. */
static void settle_ip4(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	const struct addr *ip4 = &ep->cert.ip4;
	struct engine_peer *other = other_claim(e, ep, ip4);

	if (!addr_in_prefix(ip4, &e->config.ip4_prefix, e->config.ip4_bits))
		return;
	if (addr_same_ip(ip4, &e->ip4)) {
		if (!cert_wins_ip4(&ep->cert, &e->cert))
			return;
		move_ip4(e, ep->peer.name, now_ms);
	}
	if (other && !cert_wins_ip4(&ep->cert, &other->cert))
		return;
	if (other) {
		lpm_remove(&e->allowed, ip4, IP4_HOST_BITS, other);
		other->ip4 = (struct addr) { 0 };
	}
	if (lpm_insert(&e->allowed, ip4, IP4_HOST_BITS, ep) == 0)
		ep->ip4 = *ip4;
}

static void set_addresses(struct engine *e, struct engine_peer *ep, const struct cert *c, uint64_t now_ms)
{
	lpm_remove(&e->allowed, &ep->ip6, IP6_HOST_BITS, ep);
	lpm_remove(&e->allowed, &ep->ip4, IP4_HOST_BITS, ep);
	ep->ip4 = (struct addr) { 0 };
	ep->cert = *c;
	ep->ip6 = c->ip6;
	strcpy(ep->peer.name, c->name);
	lpm_insert(&e->allowed, &c->ip6, IP6_HOST_BITS, ep);
	settle_ip4(e, ep, now_ms);
}

/* A new boot: its side of the session and of all paths is gone. The news may come later than its first handshake: then
 * the session given up here is the new one, and the peer would take 15 s to find out. So another is made at once. */
static void on_boot(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	bool had_keys = session_has_keys(&ep->peer.session);

	session_reset(&ep->peer.session);
	peer_distrust_paths(&ep->peer);
	peer_choose_path(&ep->peer, now_ms);
	ep->their_attempt = 0;
	engine_round_drop(e, ep);
	engine_try_anew(ep, 0);
	if (ep->peer.last_tx_ms && now_ms - ep->peer.last_tx_ms < ENGINE_HOT_MS)
		engine_connect(e, ep, now_ms);
	if (had_keys || ep->peer.staged.count)
		session_want(&ep->peer.session, now_ms);
}

/* The peer is no more where our path leads to, or may not be. */
static void doubt_path(struct engine *e, struct engine_peer *ep, const struct candidate_list *before,
		       uint64_t now_ms)
{
	struct path *path = ep->peer.watched;

	if (!path)
		return;
	path_on_doubt(path, now_ms);
	if (!candidates_has(before, &path->addr) || candidates_has(&ep->remote, &path->addr))
		return;
	engine_send_ping(e, ep, path, 0, now_ms);
	path_on_suspicion(path, now_ms);
	peer_choose_path(&ep->peer, now_ms);
}

static void take_candidates(struct engine_peer *ep, const struct record *r)
{
	ep->remote = (struct candidate_list) { 0 };
	ep->home = (struct addr) { 0 };
	for (size_t i = 0; i < r->candidate_count; i++)
		if (r->candidates[i].kind == CANDIDATE_RELAY)
			ep->home = r->candidates[i].addr;
		else
			ep->remote.items[ep->remote.count++] = r->candidates[i];
}

static void set_candidates(struct engine *e, struct engine_peer *ep, const struct record *r, uint64_t now_ms)
{
	struct candidate_list before = ep->remote;

	take_candidates(ep, r);
	engine_away_of_peer(e, ep, now_ms);
	bool same_nat = verdict_alike(&ep->nat, &r->nat);
	ep->nat = r->nat;
	if (candidates_equal(&before, &ep->remote) && same_nat)
		return;
	engine_try_anew(ep, now_ms);
	doubt_path(e, ep, &before, now_ms);
	ep->round_at_ms = engine_rounds_from(e, ep, now_ms);
	for (size_t i = 0; i < ep->remote.count; i++)
		punch_add_remote(&ep->punch, ep->remote.items[i].kind, &ep->remote.items[i].addr, now_ms);
}

struct engine_peer *engine_peer_learn(struct engine *e, const struct record *r, uint64_t now_ms)
{
	struct engine_peer *ep = engine_peer_by_ik(e, r->cert.ik);

	if (ep && (r->seq <= ep->record_seq || memcmp(ep->peer.wk, r->cert.wk, 32)))
		return ep;
	if (!ep && engine_peer_by_wk(e, r->cert.wk))
		return NULL;
	if (!ep)
		ep = add_member(e, &r->cert);
	if (!ep)
		return NULL;
	if (ep->boot && ep->boot != r->boot)
		on_boot(e, ep, now_ms);
	if (!ep->record_seq)
		log_info("engine", "learnt of %s", r->cert.name);
	ep->boot = r->boot;
	ep->record_seq = r->seq;
	set_addresses(e, ep, &r->cert, now_ms);
	set_candidates(e, ep, r, now_ms);
	engine_touch(e, ep, now_ms);
	return ep;
}

/* ---- stock peers */

int engine_add_wg(struct engine *e, const struct engine_wg_peer *wg, uint64_t now_ms)
{
	struct engine_peer *ep;
	int rc;

	if (engine_peer_by_wk(e, wg->pk) || engine_find_peer(e, wg->name))
		return -EEXIST;
	ep = new_peer(e, wg->pk);
	if (!ep)
		return -ENOSPC;
	rc = start_session(e, ep, wg->has_psk ? wg->psk : NULL, wg->keepalive_s);
	if (rc < 0) {
		free(ep);
		return rc;
	}
	strcpy(ep->peer.name, wg->name);
	ep->peer.endpoint = wg->endpoint;
	rc = map_put(&e->by_wk, ep->peer.wk, &ep);
	for (unsigned i = 0; rc == 0 && i < wg->allowed_count; i++) {
		const struct addr *prefix = &wg->allowed[i].prefix;
		rc = lpm_insert(&e->allowed, prefix, wg->allowed[i].bits, ep);
		if (prefix->family == ADDR_V4 && !ep->ip4.family)
			ep->ip4 = *prefix;
		if (prefix->family == ADDR_V6 && !ep->ip6.family)
			ep->ip6 = *prefix;
	}
	if (rc < 0) {
		free_peer(e, ep);
		return rc;
	}
	link_peer(e, ep);
	engine_touch(e, ep, now_ms);
	return 0;
}

int engine_remove_wg(struct engine *e, const char *name)
{
	for (struct engine_peer **at = &e->peers; *at; at = &(*at)->next) {
		struct engine_peer *ep = *at;
		if (ep->peer.own_kind || strcmp(ep->peer.name, name))
			continue;
		*at = ep->next;
		e->peer_count--;
		free_peer(e, ep);
		return 0;
	}
	return -ENOENT;
}

int engine_restore_timestamp(struct engine *e, const uint8_t wk[static 32],
			     const uint8_t ts[static NOISE_TIMESTAMP_LEN])
{
	struct engine_timestamp *t = &e->timestamps[e->timestamp_count];

	if (e->timestamp_count == ENGINE_TIMESTAMPS)
		return -ENOSPC;
	memcpy(t->wk, wk, 32);
	memcpy(t->ts, ts, NOISE_TIMESTAMP_LEN);
	e->timestamp_count++;
	return 0;
}
