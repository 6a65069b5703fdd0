/* What is to be carried, computed anew and handed on. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/log.h"

enum {
	USER_ROUNDS = 64, /* rules that our sockets cannot carry, found one by one */
	USER_RETRY_MS = 5000,
	MOVES_MAX = 8, /* of a rule's tunnel ports away from those of other programs */
};

/* ---- Items are the book's living rules */

static struct forwarder_item *new_item(struct forwarder *f, const struct rule *r)
{
	struct forwarder_item *it = calloc(1, sizeof *it);

	if (!it)
		return NULL;
	it->f = f;
	it->rule = *r;
	it->lease.due_ms = UINT64_MAX;
	it->told = FORWARDER_PENDING;
	forwarder_counts_restore(it);
	it->next = f->items;
	f->items = it;
	return it;
}

static void drop_item(struct forwarder *f, struct forwarder_item **at)
{
	struct forwarder_item *it = *at;

	forwarder_lease_drop(it);
	forwarder_counts_drop(it);
	*at = it->next;
	free(it);
	(void)f;
}

static void update_item(struct forwarder_item *it, const struct rule *r)
{
	it->stale = false;
	if (bytes_same(&it->rule, r, sizeof *r))
		return;
	if (strcmp(it->rule.via, r->via) || r->scope != RULE_PUBLIC)
		forwarder_lease_drop(it); /* by what it was */
	it->rule = *r;
	it->can_round = 0;
	it->kernel_error[0] = '\0';
	it->moved = 0;
}

static void match_items(struct forwarder *f)
{
	for (struct forwarder_item *it = f->items; it; it = it->next)
		it->stale = true;
	for (size_t i = 0; i < book_count(f->book); i++) {
		const struct rule *r = book_at(f->book, i);
		if (r->removed_at)
			continue;
		struct forwarder_item *it = forwarder_item(f, r->id);
		if (it)
			update_item(it, r);
		else if (!new_item(f, r))
			log_error("forward", "out of memory: rule '%s' is left out", r->name);
	}
	for (struct forwarder_item **at = &f->items; *at;)
		if ((*at)->stale)
			drop_item(f, at);
		else
			at = &(*at)->next;
}

/* ---- Tunnel ports */

static bool wants_tunnel(void *arg, const uint8_t id[static FORWARD_ID])
{
	const struct forwarder_item *it = forwarder_item(arg, id);

	return it && it->rule.scope == RULE_PUBLIC;
}

/* By a rule whose own ports members come to. */
static bool port_taken(void *arg, uint16_t first, unsigned count)
{
	const struct forwarder *f = arg;

	for (const struct forwarder_item *it = f->items; it; it = it->next)
		for (unsigned i = 0; it->rule.scope != RULE_PUBLIC && i < it->rule.range_count; i++) {
			unsigned port = rule_public_port(&it->rule, i);
			if (port < first + count && first < port + it->rule.ranges[i].count)
				return true;
		}
	return false;
}

static uint16_t tunnel_of(struct forwarder_item *it)
{
	struct forwarder *f = it->f;

	if (it->rule.scope != RULE_PUBLIC)
		return 0;
	return tunnel_ports_take(&f->tunnels, it->rule.id, forward_plan_ports(&it->rule), port_taken, f,
				 &f->rng);
}

/* ---- One rule */

static struct forward_node node_of(const struct engine_peer *ep)
{
	struct forward_node n = { .ip4 = ep->ip4, .ip6 = ep->ip6 };

	memcpy(n.ik, ep->ik, sizeof n.ik);
	return n;
}

/* The one that has the lease stays meant by the name, whoever else takes it. */
static const struct engine_peer *gateway_of(struct forwarder_item *it)
{
	const struct engine_peer *ep = forwarder_peer_by_key(it->f, it->lease.gateway.ik);

	if (ep && rule_node_is(it->rule.via, ep->peer.name, &ep->ip6))
		return ep;
	return forwarder_peer(it->f, it->rule.via, it->why);
}

static unsigned members_of(struct forwarder_item *it, struct forward_node out[static RULE_TO_MAX])
{
	char first[RULE_WHY] = "", why[RULE_WHY];
	unsigned count = 0;

	for (unsigned i = 0; i < it->rule.to_count; i++) {
		const struct engine_peer *ep = forwarder_peer(it->f, it->rule.to[i], why);
		if (ep)
			out[count++] = node_of(ep);
		else if (!*first)
			memcpy(first, why, sizeof first);
	}
	memcpy(it->why, first, sizeof it->why);
	return count;
}

/* Whether the kernel could carry all of it, were it asked to. Looks into the host's tables, so not at each change. */
static bool kernel_can(struct forwarder_item *it, struct forward_plan *p)
{
	struct forwarder *f = it->f;
	struct forward_list *l = &f->scratch, none = { 0 };
	char why[HOST_NAT_WHY] = "";

	if (it->can_round == f->can_round)
		return it->can;
	p->kernel = true;
	forward_list_clear(l);
	int ret = forward_plan_entries(&it->rule, p, l, &none);
	forward_list_free(&none);
	for (size_t i = 0; i < l->count && !ret; i++)
		ret = host_nat_can(f->kernel.nat, &l->items[i], why);
	it->can_round = f->can_round;
	it->can = ret == 0;
	snprintf(it->can_why, sizeof it->can_why, "%s", *why || !ret ? why : strerror(-ret));
	return it->can;
}

/* False: it is not known yet. */
static bool choose_mode(struct forwarder_item *it, struct forward_plan *p)
{
	struct forwarder *f = it->f;

	p->kernel = false;
	it->mode_why[0] = '\0';
	if (!forward_plan_wants_kernel(&it->rule)) {
		snprintf(it->mode_why, sizeof it->mode_why, "source_ip is %s",
			 it->rule.source_ip == RULE_NAT ? "nat" : "proxy-v2");
		return true;
	}
	f->kernel.needed = true;
	if (!f->kernel.tried)
		return false;
	if (*f->kernel.why) {
		snprintf(it->mode_why, sizeof it->mode_why, "%s", f->kernel.why);
		return true;
	}
	p->kernel = kernel_can(it, p) && !*it->kernel_error;
	snprintf(it->mode_why, sizeof it->mode_why, "%s",
		 it->can && !p->kernel ? it->kernel_error : it->can_why);
	return true;
}

/* The kernel needs both ends. */
static void heed_gateway(struct forwarder_item *it, struct forward_plan *p)
{
	const struct forwarder_lease *l = &it->lease;

	if (it->rule.scope != RULE_PUBLIC || !p->kernel || !l->no_kernel)
		return;
	p->kernel = false;
	snprintf(it->mode_why, sizeof it->mode_why, "the gateway %s: %s", it->rule.via, l->grant.mode_why);
}

struct planning {
	struct forward_list *kernel, *user;
	struct pass_entry *passes;
	size_t pass_count;
};

static bool passes_fit(const struct forwarder_item *it, const struct planning *out)
{
	return out->pass_count + it->rule.range_count * 2 <= PASS_OWNER_MAX;
}

static void plan_public(struct forwarder_item *it, struct forward_plan *p, struct planning *out)
{
	const struct engine_peer *gateway = gateway_of(it);
	struct lease_request want;

	if (!gateway) {
		forwarder_lease_drop(it);
		return;
	}
	p->gateway = node_of(gateway);
	forwarder_lease_secret(it, gateway, p->secret);
	if (!choose_mode(it, p))
		return;
	if (p->kernel && !passes_fit(it, out)) {
		p->kernel = false;
		snprintf(it->mode_why, sizeof it->mode_why, "the kernel carries as many ports as it may");
	}
	forward_plan_lease(&it->rule, p, &want);
	forwarder_lease_want(it, gateway, &want);
	crypto_wipe(want.secret, sizeof want.secret);
	heed_gateway(it, p);
	it->planned = forward_plan_entries(&it->rule, p, out->kernel, out->user) == 0;
	out->pass_count += forward_plan_passes(&it->rule, p, out->passes + out->pass_count);
}

static void plan_item(struct forwarder_item *it, struct planning *out)
{
	struct forwarder *f = it->f;
	const struct engine *e = f->config.engine;
	struct forward_node members[RULE_TO_MAX];
	struct forward_prefix admitted[FORWARD_PREFIXES_MAX];
	struct forward_plan p = {
		.ip4 = e->ip4,
		.ip6 = e->ip6,
		.members = members,
		.admitted = admitted,
		.tunnel = tunnel_of(it),
	};

	it->planned = false;
	it->why[0] = '\0';
	it->kernel = false;
	if (forwarder_expired(&it->rule)) {
		forwarder_lease_drop(it);
		return;
	}
	p.ip4.port = p.ip6.port = 0;
	tokens_allow(f->tokens, it->rule.id, forwarder_unix_s(), admitted, &p.admitted_count,
		     FORWARD_PREFIXES_MAX - it->rule.allow_count);
	if (it->rule.scope == RULE_PUBLIC && !p.tunnel)
		snprintf(it->why, sizeof it->why, "all tunnel ports are in use: remove other public rules");
	else if (it->rule.scope == RULE_PUBLIC)
		plan_public(it, &p, out);
	else {
		p.member_count = members_of(it, members);
		it->planned = choose_mode(it, &p) &&
			      forward_plan_entries(&it->rule, &p, out->kernel, out->user) == 0;
	}
	it->kernel = it->planned && p.kernel;
}

/* ---- Handed on */

static void drop_id(struct forward_list *l, const uint8_t id[static FORWARD_ID])
{
	size_t kept = 0;

	for (size_t i = 0; i < l->count; i++)
		if (memcmp(l->items[i].id, id, FORWARD_ID))
			l->items[kept++] = l->items[i];
	l->count = kept;
}

/* The tunnel port is in use by another program here: others will do. */
static bool move_tunnel(struct forwarder_item *it, int error)
{
	if (error != -EADDRINUSE || it->rule.scope != RULE_PUBLIC || it->moved >= MOVES_MAX)
		return false;
	it->moved++;
	tunnel_ports_drop(&it->f->tunnels, it->rule.id);
	it->f->refresh_wanted = true;
	return true;
}

static void retry(struct forwarder *f)
{
	uint64_t at = loop_now_ms() + USER_RETRY_MS;

	f->retry_ms = at < f->retry_ms ? at : f->retry_ms;
}

static void on_user_error(struct forwarder *f, const struct forward_entry *e, int error, const char *why)
{
	struct forwarder_item *it = forwarder_item(f, e->id);

	retry(f);
	if (e->side == FORWARD_GATEWAY) {
		forwarder_grant_on_user_error(f, e->id, error, why);
		return;
	}
	if (!it || move_tunnel(it, error))
		return;
	it->user_error = error;
	snprintf(it->user_why, sizeof it->user_why, "%s", why);
}

/* carry_apply() tells of the first that it cannot carry: without that rule there may be others. */
static void apply_rounds(struct forwarder *f)
{
	char why[CARRY_WHY];
	size_t failed;

	for (int i = 0; i < USER_ROUNDS; i++) {
		int ret = carry_apply(f->carry, f->user.items, f->user.count, &failed, why);
		if (!ret)
			return;
		if (failed >= f->user.count) {
			log_error("forward", "sockets: %s", why);
			return;
		}
		struct forward_entry e = f->user.items[failed];
		on_user_error(f, &e, ret, why);
		drop_id(&f->user, e.id);
	}
}

static void apply_user(struct forwarder *f)
{
	for (struct forwarder_item *it = f->items; it; it = it->next)
		it->user_error = 0;
	forwarder_grant_apply_begins(f);
	apply_rounds(f);
	forwarder_grant_apply_ended(f);
}

static void set_kernel(struct forwarder *f, struct forward_list *next)
{
	struct forward_list *now_wanted = &f->kernel.wanted;
	bool same = next->count == now_wanted->count &&
		    (!next->count ||
		     !memcmp(next->items, now_wanted->items, next->count * sizeof *next->items));

	if (same) {
		forward_list_free(next);
		return;
	}
	forward_list_free(now_wanted);
	*now_wanted = *next;
	f->kernel.wanted_number++;
}

static void listen_link(struct forwarder *f)
{
	const struct engine *e = f->config.engine;

	if (!forwarder_ready(f) || (addr_equal(&f->listen4, &e->ip4) && addr_equal(&f->listen6, &e->ip6)))
		return;
	int ret = lease_link_listen(f->link, &e->ip4, &e->ip6);
	if (ret) {
		log_warn("forward", "cannot listen for other nodes' requests at port %d: %s", LEASE_PORT,
			 strerror(-ret));
		retry(f);
		return;
	}
	f->listen4 = e->ip4;
	f->listen6 = e->ip6;
}

static void tell_changes(struct forwarder *f)
{
	struct forwarder_view v;

	for (struct forwarder_item *it = f->items; it; it = it->next) {
		if (!forwarder_look(f, it->rule.id, &v) || v.state == it->told)
			continue;
		it->told = v.state;
		if (v.state == FORWARDER_FAILED)
			forwarder_audit(f, AUDIT_RULE_FAIL, AUDIT_FAILED, &it->rule, "p2pd", v.why);
		if (v.state == FORWARDER_EXPIRED)
			forwarder_audit(f, AUDIT_RULE_EXPIRE, AUDIT_OK, &it->rule, "p2pd", NULL);
	}
}

static void set_passes(struct forwarder *f, const struct pass_entry *entries, size_t count)
{
	int ret = f->config.engine->pass ? pass_set(f->config.engine->pass, entries, count) : 0;

	if (ret)
		log_error("forward", "packets of visitors are not let through: %s", strerror(-ret));
}

void forwarder_recompute(struct forwarder *f)
{
	struct pass_entry *passes = calloc(PASS_MAX + RULE_RANGES_MAX * 2, sizeof *passes);
	struct forward_list kernel = { 0 };
	struct planning out = { &kernel, &f->user, passes, 0 };

	match_items(f);
	tunnel_ports_keep(&f->tunnels, wants_tunnel, f);
	listen_link(f);
	forward_list_clear(&f->user);
	f->kernel.needed = false;
	if (passes && forwarder_ready(f)) {
		for (struct forwarder_item *it = f->items; it; it = it->next)
			plan_item(it, &out);
		forwarder_gate_plan(f, &kernel, &f->user);
		out.pass_count += forwarder_gate_passes(f, passes + out.pass_count,
							PASS_MAX - out.pass_count);
	}
	int ret = tunnel_ports_save(&f->tunnels, f->config.state_dir);
	if (ret)
		log_error("forward", "the tunnel ports cannot be kept: %s", strerror(-ret));
	if (passes)
		set_passes(f, passes, out.pass_count);
	free(passes);
	apply_user(f);
	set_kernel(f, &kernel);
	forwarder_kernel_set_inlets(f);
	tell_changes(f);
}
