#include "apps/p2pd/forward/forwarder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/forward/forwarder_internal.h"
#include "core/log.h"
#include "tun/nat_change.h"

enum {
	CLOCK_LOOK_MS = 60000, /* the wall clock may be set anew */
	CHANGES_MS = 50,       /* of who is in the network: taken together */
};
_Static_assert(FORWARDER_CHECK_MS < NAT_IDLE_GRACE_S * 1000,
	       "an idle connection is seen before it is forgotten");

uint64_t forwarder_unix_s(void)
{
	return (uint64_t)time(NULL);
}

/* ---- Who is who */

bool forwarder_ready(const struct forwarder *f)
{
	return f->config.engine->joined;
}

bool forwarder_expired(const struct rule *r)
{
	return r->expires_at && r->expires_at <= forwarder_unix_s();
}

struct forwarder_item *forwarder_item(const struct forwarder *f, const uint8_t id[static FORWARD_ID])
{
	struct forwarder_item *it = f->items;

	while (it && memcmp(it->rule.id, id, FORWARD_ID))
		it = it->next;
	return it;
}

/* A name is what its node says: where two say the same, neither is taken for the one that was meant. */
struct engine_peer *forwarder_peer(const struct forwarder *f, const char *name, char why[static RULE_WHY])
{
	const struct engine *e = f->config.engine;
	struct engine_peer *found = NULL;

	for (struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		if (!ep->peer.own_kind || !rule_node_is(name, ep->peer.name, &ep->ip6))
			continue;
		if (found) {
			snprintf(why, RULE_WHY,
				 "two nodes are called '%s': give one of them another --name, or name it by "
				 "its overlay IPv6 address",
				 name);
			return NULL;
		}
		found = ep;
	}
	if (!found && rule_node_is(name, e->config.name, &e->ip6))
		snprintf(why, RULE_WHY, "'%s' is this node itself", name);
	else if (!found)
		snprintf(why, RULE_WHY, "no node is called '%s' so far; `p2pd status` lists them", name);
	return found;
}

struct engine_peer *forwarder_peer_at(const struct forwarder *f, const struct addr *overlay)
{
	struct engine_peer *ep = f->config.engine->peers;

	while (ep &&
	       (!ep->peer.own_kind || !(addr_same_ip(&ep->ip4, overlay) || addr_same_ip(&ep->ip6, overlay))))
		ep = ep->next;
	return ep;
}

struct engine_peer *forwarder_peer_by_key(const struct forwarder *f, const uint8_t ik[static 32])
{
	struct engine_peer *ep = f->config.engine->peers;

	while (ep && (!ep->peer.own_kind || memcmp(ep->ik, ik, sizeof ep->ik)))
		ep = ep->next;
	return crypto_is_zero(ik, sizeof ep->ik) ? NULL : ep;
}

/* ---- One step */

uint64_t forwarder_in_seconds(uint64_t unix_s, uint64_t now_ms)
{
	uint64_t unix_now = forwarder_unix_s();

	if (unix_s == UINT64_MAX)
		return UINT64_MAX;
	/* A second counts when it is over, also for those whose clock is a little ahead. */
	uint64_t ms = unix_s <= unix_now ? 0 : (unix_s - unix_now) * 1000;
	return now_ms + (ms < CLOCK_LOOK_MS ? ms : CLOCK_LOOK_MS);
}

static uint64_t next_expiry(const struct forwarder *f, uint64_t now_ms)
{
	uint64_t least = UINT64_MAX;

	for (const struct forwarder_item *it = f->items; it; it = it->next)
		if (it->rule.expires_at && it->told != FORWARDER_EXPIRED && it->rule.expires_at < least)
			least = it->rule.expires_at;
	return forwarder_in_seconds(least, now_ms);
}

static uint64_t deadline(const struct forwarder *f, uint64_t now_ms)
{
	uint64_t due[] = {
		f->check_ms,
		f->keep_ms,
		f->retry_ms,
		next_expiry(f, now_ms),
		forwarder_in_seconds(tokens_next_unix_s(f->tokens), now_ms),
		forwarder_lease_deadline(f),
		forwarder_kernel_deadline(f),
		forwarder_gate_deadline(f, now_ms),
		forwarder_wait_deadline(f),
		forwarder_ping_deadline(f),
	};
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < sizeof due / sizeof *due; i++)
		least = due[i] < least ? due[i] : least;
	return least;
}

static void bring_about(struct forwarder *f, uint64_t now_ms)
{
	f->stepping = true;
	if (f->refresh_wanted) {
		f->refresh_wanted = false;
		forwarder_recompute(f);
	}
	forwarder_lease_run(f, now_ms);
	forwarder_kernel_run(f, now_ms);
	forwarder_gate_run(f);
	f->stepping = false;
}

static void set_timer(struct forwarder *f, uint64_t now_ms)
{
	loop_timer_set(f->timer, f->refresh_wanted ? now_ms : deadline(f, now_ms));
}

void forwarder_step(struct forwarder *f)
{
	uint64_t now = loop_now_ms();

	if (f->stepping || f->stopping)
		return;
	bring_about(f, now);
	f->news = true;
	set_timer(f, now);
}

void forwarder_refresh(struct forwarder *f)
{
	f->refresh_wanted = true;
	forwarder_step(f);
}

/* In a large network somebody comes or goes all the time. */
void forwarder_on_change(struct forwarder *f)
{
	uint64_t at = loop_now_ms() + CHANGES_MS;

	for (struct forwarder_item *it = f->items; it; it = it->next)
		forwarder_lease_on_peers(it);
	if (at < f->retry_ms)
		f->retry_ms = at;
	forwarder_step(f);
}

/* ---- Time */

static void keep(struct forwarder *f, uint64_t now_ms)
{
	f->keep_ms = now_ms + FORWARDER_KEEP_MS;
	forwarder_count(f);
	forwarder_counts_keep(f);
	audit_tick(f->audit, forwarder_unix_s());
	book_prune(f->book, forwarder_unix_s());
}

static void on_due(void *arg)
{
	struct forwarder *f = arg;
	uint64_t now = loop_now_ms();

	if (now >= f->keep_ms)
		keep(f, now);
	if (now >= f->check_ms) {
		f->check_ms = now + FORWARDER_CHECK_MS;
		forwarder_kernel_look(f);
		f->can_round++;
		f->refresh_wanted = true;
		if (*f->declared_why)
			forwarder_declare_again(f);
	}
	if (now >= f->retry_ms) {
		f->retry_ms = UINT64_MAX;
		f->refresh_wanted = true;
	}
	if (f->gate.gateway && gateway_tick(f->gate.gateway, forwarder_unix_s()))
		f->refresh_wanted = true;
	if (tokens_tick(f->tokens, forwarder_unix_s()) || now >= next_expiry(f, now))
		f->refresh_wanted = true;
	bring_about(f, now);
	f->news = false;
	forwarder_wait_run(f, now);
	forwarder_ping_run(f, now);
	set_timer(f, now);
}

/* ---- For people */

struct book *forwarder_book(struct forwarder *f)
{
	return f->book;
}

struct tokens *forwarder_tokens(struct forwarder *f)
{
	return f->tokens;
}

const struct forwarder_config *forwarder_config(const struct forwarder *f)
{
	return &f->config;
}

struct audit *forwarder_audit_log(struct forwarder *f)
{
	return f->audit;
}

struct rng *forwarder_rng(struct forwarder *f)
{
	return &f->rng;
}

void forwarder_audit(struct forwarder *f, enum audit_event event, enum audit_outcome outcome,
		     const struct rule *r, const char *actor, const char *detail)
{
	const struct audit_entry e = {
		.event = event,
		.outcome = outcome,
		.forward_id = r ? r->id : NULL,
		.name = r ? r->name : NULL,
		.actor = actor,
		.detail = detail,
	};

	audit_write(f->audit, forwarder_unix_s(), &e);
}

/* ---- Life */

static int open_files(struct forwarder *f, char why[static FILE_WHY])
{
	int dir = f->config.state_dir, ret = book_open(&f->book, dir);

	if (ret == -EBADMSG)
		ret = book_open(&f->book, dir);
	if (ret) {
		file_why(dir, BOOK_FILE, ret, why);
		return ret;
	}
	ret = tokens_open(&f->tokens, dir);
	if (ret && ret != -EBADMSG) {
		file_why(dir, TOKENS_FILE, ret, why);
		return ret;
	}
	ret = audit_open(&f->audit, dir, f->config.audit_keep_s, forwarder_unix_s());
	if (ret)
		log_error("forward", "no audit is written until the next start: %s",
			  file_why(dir, AUDIT_FILE, ret, why));
	tunnel_ports_load(&f->tunnels, dir);
	return 0;
}

void forwarder_set_audit_keep(struct forwarder *f, uint64_t keep_s)
{
	audit_keep(f->audit, keep_s);
}

static int start_link(struct forwarder *f)
{
	struct lease_link_config config = {
		.loop = f->config.loop,
		.ik_sk = f->config.engine->ik_sk,
		.handler = forwarder_gate_handler(),
		.arg = f,
	};

	strcpy(config.device, f->config.tun->name);
	return lease_link_start(&f->link, &config);
}

static bool may_visit(void *arg, const struct addr *visitor)
{
	const struct forwarder *f = arg;

	return engine_is_outside(f->config.engine, visitor);
}

int forwarder_start(struct forwarder **out, const struct forwarder_config *config, char why[static FILE_WHY])
{
	struct forwarder *f = calloc(1, sizeof *f);
	uint64_t now = loop_now_ms();

	snprintf(why, FILE_WHY, "out of memory");
	if (!f)
		return -ENOMEM;
	f->config = *config;
	f->check_ms = now + FORWARDER_CHECK_MS;
	f->keep_ms = now + FORWARDER_KEEP_MS;
	f->retry_ms = f->kernel.retry_ms = UINT64_MAX;
	f->can_round = 1;
	rng_init_system(&f->rng);
	f->timer = loop_timer_create(config->loop, on_due, f);
	f->carry = carry_create(config->loop, config->tun->name);
	if (f->carry)
		carry_visitors(f->carry, may_visit, f);
	int ret = f->timer && f->carry ? open_files(f, why) : -ENOMEM;
	if (!ret && (ret = start_link(f)))
		snprintf(why, FILE_WHY, "the link to other nodes: %s", strerror(-ret));
	if (ret) {
		forwarder_stop(f);
		return ret;
	}
	forwarder_gate_start(f);
	forwarder_lease_restore(f);
	*out = f;
	forwarder_refresh(f);
	return 0;
}

void forwarder_cancel(struct forwarder *f)
{
	if (f)
		f->stopping = true;
}

void forwarder_stop(struct forwarder *f)
{
	if (!f)
		return;
	f->stopping = true;
	if (f->book) {
		forwarder_kernel_last_look(f);
		forwarder_count(f);
		forwarder_counts_save(f);
	}
	forwarder_lease_stop(f);
	forwarder_gate_stop(f);
	lease_link_stop(f->link);
	carry_destroy(f->carry);
	forwarder_kernel_stop(f);
	for (struct forwarder_item *it = f->items, *next; it; it = next) {
		next = it->next;
		crypto_wipe(&it->lease, sizeof it->lease);
		free(it);
	}
	forward_list_free(&f->user);
	forward_list_free(&f->scratch);
	audit_close(f->audit);
	tokens_close(f->tokens);
	if (f->book)
		book_close(f->book);
	loop_timer_destroy(f->timer);
	crypto_wipe(&f->rng, sizeof f->rng);
	free(f);
}
