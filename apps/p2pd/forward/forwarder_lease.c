/* The owner's leases: asked of gateways, renewed, given back. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

enum {
	RETRY_FIRST_MS = 1000, /* after no answer, doubled each time */
	RETRY_MAX_MS = 30000,
	REFUSED_MS = 60000, /* after a refusal: the gateway's administrator may have changed his mind */
};

static uint64_t backoff_ms(unsigned failures)
{
	uint64_t ms = RETRY_FIRST_MS;

	while (failures-- > 1 && ms < RETRY_MAX_MS)
		ms *= 2;
	return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

/* The overlay address that a peer is asked at. */
static const struct addr *address_of(const struct forward_node *n)
{
	return n->ip4.family ? &n->ip4 : &n->ip6;
}

/* ---- Given back */

static void free_release(struct forwarder_release *rel)
{
	struct forwarder_release **at = &rel->f->releases;

	while (*at != rel)
		at = &(*at)->next;
	*at = rel->next;
	lease_call_cancel(rel->call);
	free(rel);
}

/* What had the port of another rule is gone. */
static void ask_again(struct forwarder *f, const uint8_t gateway[static 32])
{
	for (struct forwarder_item *it = f->items; it; it = it->next)
		if ((it->lease.error == -EADDRINUSE || it->lease.error == -EAGAIN) && !it->lease.call &&
		    !memcmp(it->lease.gateway.ik, gateway, sizeof it->lease.gateway.ik))
			it->lease.due_ms = 0;
}

static void on_released(void *arg, const struct lease_reply *reply)
{
	struct forwarder_release *rel = arg;
	struct forwarder *f = rel->f;

	rel->call = NULL;
	if (reply->error == 0 || reply->error == -ENOENT) {
		ask_again(f, rel->gateway);
		free_release(rel);
	} else {
		rel->due_ms = loop_now_ms() + backoff_ms(rel->failures);
	}
	forwarder_step(f);
}

/* The key may be NULL: then the gateway is found by its name. */
static void add_release(struct forwarder *f, const struct rule *r, const uint8_t *key)
{
	struct forwarder_release *rel = calloc(1, sizeof *rel);

	if (!rel) {
		log_error("forward", "out of memory: a gateway keeps a rule for %d s more", LEASE_TTL_S);
		return;
	}
	rel->f = f;
	memcpy(rel->id, r->id, FORWARD_ID);
	memcpy(rel->name, r->via, sizeof rel->name);
	if (key)
		memcpy(rel->gateway, key, sizeof rel->gateway);
	rel->until_ms = loop_now_ms() + LEASE_TTL_S * 1000ull;
	rel->next = f->releases;
	f->releases = rel;
}

static const struct engine_peer *gateway_of(const struct forwarder_release *rel)
{
	char why[RULE_WHY];

	return crypto_is_zero(rel->gateway, sizeof rel->gateway)
		       ? forwarder_peer(rel->f, rel->name, why)
		       : forwarder_peer_by_key(rel->f, rel->gateway);
}

static void run_release(struct forwarder_release *rel, uint64_t now_ms)
{
	struct forwarder *f = rel->f;
	const struct engine_peer *ep = gateway_of(rel);

	if (now_ms >= rel->until_ms) {
		free_release(rel);
		return;
	}
	rel->due_ms = now_ms + backoff_ms(++rel->failures);
	if (!ep)
		return;
	memcpy(rel->gateway, ep->ik, sizeof rel->gateway);
	const struct addr *to = ep->ip4.family ? &ep->ip4 : &ep->ip6;
	lease_link_delete(f->link, to, rel->id, on_released, rel, &rel->call);
}

/* A port may go from one rule to another: what is given back is so first. Not for long: the gateway may be away. */
static bool is_giving_back(const struct forwarder *f, const uint8_t gateway[static 32])
{
	for (const struct forwarder_release *rel = f->releases; rel; rel = rel->next)
		if (rel->call && rel->failures <= 1 && !memcmp(rel->gateway, gateway, sizeof rel->gateway))
			return true;
	return false;
}

/* One of our own that was removed, and that the gateway has not heard of yet: it does now. */
static bool is_given_back_first(struct forwarder *f, const uint8_t id[static FORWARD_ID])
{
	for (struct forwarder_release *rel = f->releases; rel; rel = rel->next)
		if (!memcmp(rel->id, id, FORWARD_ID)) {
			rel->due_ms = rel->failures = 0;
			return true;
		}
	return false;
}

/* The rule comes back to the same gateway. What is under way is waited for. */
static void forget_release(struct forwarder *f, const uint8_t id[static FORWARD_ID],
			   const uint8_t gateway[static 32])
{
	for (struct forwarder_release *rel = f->releases, *next; rel; rel = next) {
		next = rel->next;
		bool unknown = crypto_is_zero(rel->gateway, sizeof rel->gateway);
		if (!rel->call && !memcmp(rel->id, id, FORWARD_ID) &&
		    (unknown || !memcmp(rel->gateway, gateway, sizeof rel->gateway)))
			free_release(rel);
	}
}

/* Before a restart: the gateway that the rule names now is the one that it had, most likely. */
void forwarder_lease_restore(struct forwarder *f)
{
	uint64_t now = forwarder_unix_s();

	for (size_t i = 0; i < book_count(f->book); i++) {
		const struct rule *r = book_at(f->book, i);
		if (r->removed_at && r->scope == RULE_PUBLIC && r->removed_at + LEASE_TTL_S >= now)
			add_release(f, r, NULL);
	}
}

/* ---- Asked for */

void forwarder_lease_drop(struct forwarder_item *it)
{
	struct forwarder_lease *l = &it->lease;

	lease_call_cancel(l->call);
	lease_call_cancel(l->stats);
	if (l->sent)
		add_release(it->f, &it->rule, l->gateway.ik);
	crypto_wipe(l, sizeof *l);
	l->due_ms = UINT64_MAX;
}

static bool answered(int error)
{
	switch (error) {
	case 0:
	case -EINVAL:
	case -EACCES:
	case -ENOENT:
	case -EADDRINUSE:
	case -EEXIST:
	case -ENOSPC:
	case -ENOTSUP: return true;
	default: return false;
	}
}

/* What people call it. */
static const char *label(const struct forwarder_item *it, char id[static RULE_ID_TEXT])
{
	return *it->rule.name ? it->rule.name : rule_id_text(it->rule.id, id);
}

static void on_stats(void *arg, const struct lease_reply *reply)
{
	struct forwarder_item *it = arg;

	it->lease.stats = NULL;
	if (!reply->error)
		forwarder_count_gateway(it, &reply->stats);
}

/* Whom the gateway has turned away: we hear of it when we renew, and when somebody asks for counts. */
static void ask_stats(struct forwarder_item *it)
{
	struct forwarder_lease *l = &it->lease;

	if (!l->stats)
		lease_link_stats(it->f->link, address_of(&l->gateway), it->rule.id, on_stats, it, &l->stats);
}

static void on_grant(struct forwarder_item *it, const struct lease_reply *reply)
{
	struct forwarder_lease *l = &it->lease;
	bool no_kernel = l->asked.kernel && !reply->grant.kernel;
	char id[RULE_ID_TEXT];

	if (l->held)
		ask_stats(it);
	else
		log_info("forward", "%s: %s takes visitors", label(it, id), it->rule.via);
	l->held = true;
	l->grant = reply->grant;
	if (no_kernel != l->no_kernel)
		it->f->refresh_wanted = true;
	l->no_kernel = no_kernel;
	l->due_ms = loop_now_ms() + LEASE_RENEW_S * 1000;
}

static void on_refusal(struct forwarder_item *it, const struct lease_reply *reply)
{
	struct forwarder_lease *l = &it->lease;
	char id[RULE_ID_TEXT];

	log_warn("forward", "%s: %s refuses: %s", label(it, id), it->rule.via, reply->why);
	l->held = false;
	l->due_ms = loop_now_ms() + REFUSED_MS;
}

static void on_reply(void *arg, const struct lease_reply *reply)
{
	struct forwarder_item *it = arg;
	struct forwarder_lease *l = &it->lease;

	bool waits = reply->error == -EADDRINUSE && is_given_back_first(it->f, reply->conflict);

	l->call = NULL;
	l->error = waits ? -EAGAIN : reply->error;
	snprintf(l->why, sizeof l->why, "%s",
		 waits ? "a removed rule gives its port back first" : reply->why);
	memcpy(l->conflict, reply->conflict, sizeof l->conflict);
	l->failures = answered(l->error) ? 0 : l->failures + 1;
	if (l->error == 0)
		on_grant(it, reply);
	else if (answered(l->error))
		on_refusal(it, reply);
	else
		l->due_ms = loop_now_ms() + backoff_ms(l->failures);
	if (l->outdated)
		l->due_ms = 0;
	forwarder_step(it->f);
}

static void ask(struct forwarder_item *it, uint64_t now_ms)
{
	struct forwarder_lease *l = &it->lease;
	int ret = lease_link_put(it->f->link, address_of(&l->gateway), &l->asked, on_reply, it, &l->call);

	l->outdated = false;
	if (!ret) {
		l->sent = true;
		l->due_ms = UINT64_MAX;
		return;
	}
	l->failures++;
	l->error = ret;
	snprintf(l->why, sizeof l->why, "the gateway cannot be asked now: %s", strerror(-ret));
	l->due_ms = now_ms + backoff_ms(l->failures);
}

static bool same_node(const struct forward_node *a, const struct engine_peer *b)
{
	return !memcmp(a->ik, b->ik, sizeof a->ik) && addr_same_ip(&a->ip4, &b->ip4) &&
	       addr_same_ip(&a->ip6, &b->ip6);
}

static bool is_of(const struct forwarder_lease *l, const struct engine_peer *gateway)
{
	return !memcmp(l->gateway.ik, gateway->ik, sizeof l->gateway.ik);
}

void forwarder_lease_secret(struct forwarder_item *it, const struct engine_peer *gateway,
			    uint8_t out[static FORWARD_SECRET])
{
	struct lease_request *asked = &it->lease.asked;

	if (is_of(&it->lease, gateway) && !crypto_is_zero(asked->secret, sizeof asked->secret))
		memcpy(out, asked->secret, FORWARD_SECRET);
	else
		rng_fill(&it->f->rng, out, FORWARD_SECRET);
}

void forwarder_lease_want(struct forwarder_item *it, const struct engine_peer *gateway,
			  const struct lease_request *r)
{
	struct forwarder_lease *l = &it->lease;
	bool first = crypto_is_zero(l->gateway.ik, sizeof l->gateway.ik);

	if (!first && !is_of(l, gateway))
		forwarder_lease_drop(it);
	if (!first && same_node(&l->gateway, gateway) && forward_plan_same_lease(&l->asked, r))
		return;
	forget_release(it->f, r->id, gateway->ik);
	memcpy(l->gateway.ik, gateway->ik, sizeof l->gateway.ik);
	l->gateway.ip4 = gateway->ip4;
	l->gateway.ip6 = gateway->ip6;
	l->boot = gateway->boot;
	l->online = gateway->online;
	l->asked = *r;
	l->outdated = true;
	l->failures = 0;
	l->error = 0;
	l->due_ms = 0;
}

/* A gateway that comes, or comes back, is asked at once: it may have missed something. */
void forwarder_lease_on_peers(struct forwarder_item *it)
{
	struct forwarder_lease *l = &it->lease;
	const struct engine_peer *ep = forwarder_peer_by_key(it->f, l->gateway.ik);

	if (!ep || !ep->online)
		l->online = false;
	else if (!l->online || l->boot != ep->boot) {
		l->online = true;
		l->boot = ep->boot;
		l->due_ms = 0;
		l->outdated = true;
		l->failures = 0;
	}
}

/* ---- Run */

static bool is_due(const struct forwarder_item *it, uint64_t now_ms)
{
	const struct forwarder_lease *l = &it->lease;

	return !l->call && l->due_ms <= now_ms && l->asked.range_count &&
	       !is_giving_back(it->f, l->gateway.ik);
}

void forwarder_lease_run(struct forwarder *f, uint64_t now_ms)
{
	for (struct forwarder_release *rel = f->releases, *next; rel; rel = next) {
		next = rel->next;
		if (!rel->call && rel->due_ms <= now_ms)
			run_release(rel, now_ms);
	}
	for (struct forwarder_item *it = f->items; it; it = it->next)
		if (is_due(it, now_ms))
			ask(it, now_ms);
}

uint64_t forwarder_lease_deadline(const struct forwarder *f)
{
	uint64_t least = UINT64_MAX;

	for (const struct forwarder_item *it = f->items; it; it = it->next)
		if (is_due(it, UINT64_MAX) && it->lease.due_ms < least)
			least = it->lease.due_ms;
	for (const struct forwarder_release *rel = f->releases; rel; rel = rel->next)
		if (!rel->call && rel->due_ms < least)
			least = rel->due_ms;
	return least;
}

void forwarder_lease_stop(struct forwarder *f)
{
	for (struct forwarder_item *it = f->items; it; it = it->next) {
		lease_call_cancel(it->lease.call);
		lease_call_cancel(it->lease.stats);
		it->lease.call = it->lease.stats = NULL;
	}
	while (f->releases)
		free_release(f->releases);
}
