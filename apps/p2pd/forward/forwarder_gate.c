/* What peers ask of this node: leases where it is a gateway (forwarder_grant.c), admissions where it is an owner; and the
 * gateway's door. Answers go out when what was asked for is in effect. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

const char *forwarder_actor(const struct forwarder *f, const struct addr *peer,
			    char out[static FORWARDER_ACTOR])
{
	const struct engine_peer *ep = forwarder_peer_at(f, peer);
	char text[ADDR_TEXT_MAX];

	if (ep)
		snprintf(out, FORWARDER_ACTOR, "node %s", ep->peer.name);
	else
		snprintf(out, FORWARDER_ACTOR, "%s", addr_format_ip(peer, text));
	return out;
}

void forwarder_audit_peer(struct forwarder *f, enum audit_event event, enum audit_outcome outcome,
			  const uint8_t *id, const char *name, const char *actor, const char *detail)
{
	const struct audit_entry e = { event, outcome, id, name, actor, detail };

	audit_write(f->audit, forwarder_unix_s(), &e);
}

/* ---- Answers to come */

struct forwarder_ask *forwarder_answer_later(struct forwarder *f, enum forwarder_ask_kind kind,
					     const uint8_t id[static FORWARD_ID])
{
	struct forwarder_ask *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->f = f;
	a->kind = kind;
	memcpy(a->id, id, FORWARD_ID);
	a->next = f->asks;
	f->asks = a;
	/* The refresh that follows may make another list. */
	a->kernel_number = UINT64_MAX;
	return a;
}

/* What was promised meanwhile cannot be: asked again, it is told how it can. */
static void answer_lease(const struct forwarder *f, struct forwarder_ask *a)
{
	if (a->grant.kernel && *f->kernel.why)
		lease_answer_error(a->ask, -EAGAIN, f->kernel.why, NULL);
	else
		lease_answer_grant(a->ask, &a->grant);
}

static void answer(struct forwarder *f, struct forwarder_ask *a)
{
	struct forward_stats s;

	switch (a->kind) {
	case ASK_LEASE: answer_lease(f, a); break;
	case ASK_ADMIT: lease_answer_admit(a->ask, &a->admit); break;
	case ASK_VISIT: door_answer(a->visit, a->error, &a->admit); break;
	case ASK_STATS:
		if (forwarder_stats_of(f, a->id, &s))
			lease_answer_stats(a->ask, &s);
		else
			lease_answer_error(a->ask, -ENOENT, "nothing of it is carried", NULL);
		break;
	}
}

static bool is_due(const struct forwarder *f, const struct forwarder_ask *a)
{
	if (a->asking || a->error || a->look || (a->kind == ASK_VISIT && a->admit.full))
		return !a->asking;
	if (a->kind == ASK_STATS)
		return !f->kernel.running && f->kernel.looks >= a->kernel_number;
	return !f->refresh_wanted && forwarder_kernel_done(f, a->kernel_number);
}

/* After a refresh, and when the kernel's job is done. */
void forwarder_gate_run(struct forwarder *f)
{
	for (struct forwarder_ask **at = &f->asks, *a; (a = *at);) {
		if (a->kind != ASK_STATS && a->kernel_number == UINT64_MAX && !f->refresh_wanted)
			a->kernel_number = f->kernel.wanted_number;
		if (!is_due(f, a)) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		answer(f, a);
		free(a);
	}
}

/* ---- Admissions, as an owner */

static void refuse(struct lease_ask *q, int error, const char *why)
{
	lease_answer_error(q, error, why, NULL);
}

/* Only from the gateway that the rule names may visitors come. */
static struct forwarder_item *item_for(struct forwarder *f, const struct addr *peer, const uint8_t *id)
{
	struct forwarder_item *it = forwarder_item(f, id);
	const struct engine_peer *ep = forwarder_peer_at(f, peer);

	if (!it || !ep || it->rule.scope != RULE_PUBLIC || !it->rule.allow_token ||
	    forwarder_expired(&it->rule))
		return NULL;
	return memcmp(it->lease.gateway.ik, ep->ik, sizeof ep->ik) ? NULL : it;
}

static void audit_visit(struct forwarder *f, enum audit_event event, enum audit_outcome outcome,
			const struct rule *r, const struct addr *visitor, const char *detail)
{
	char actor[FORWARDER_ACTOR], text[ADDR_TEXT_MAX];

	snprintf(actor, sizeof actor, "visitor %s", addr_format_ip(visitor, text));
	forwarder_audit(f, event, outcome, r, actor, detail);
}

static void answer_full(struct forwarder *f, struct lease_ask *q, const struct forwarder_item *it,
			const struct admit_request *r, uint64_t until)
{
	struct admit_grant g = { .full = true, .until = until };

	memcpy(g.name, it->rule.name, sizeof g.name);
	audit_visit(f, AUDIT_TOKEN_USE, AUDIT_REFUSED, &it->rule, &r->visitor,
		    "as many visitors as it can have are in");
	lease_answer_admit(q, &g);
}

static void on_admit(void *arg, struct lease_ask *q, const struct addr *peer, const struct admit_request *r)
{
	struct forwarder *f = arg;
	struct forwarder_item *it = item_for(f, peer, r->id);
	struct token_visit visit = { 0 };
	struct token token = { 0 };
	uint64_t now = forwarder_unix_s();
	unsigned room = it ? FORWARD_PREFIXES_MAX - it->rule.allow_count : 0;
	int ret = -EACCES;

	if (it)
		ret = r->look ? tokens_look(f->tokens, r->id, r->token, &r->visitor, room, now, &token)
			      : tokens_admit(f->tokens, r->id, r->token, &r->visitor, room, now, &visit,
					     &token);
	if (ret == -EUSERS) {
		answer_full(f, q, it, r, tokens_full_until(f->tokens, r->id, &r->visitor, room, now));
		return;
	}
	if (ret) {
		bool guess = ret == -EACCES;
		audit_visit(f, guess ? AUDIT_TOKEN_GUESS : AUDIT_TOKEN_USE,
			    guess ? AUDIT_REFUSED : AUDIT_FAILED, it ? &it->rule : NULL, &r->visitor,
			    guess ? NULL : strerror(-ret));
		refuse(q, ret, guess ? "the token is not good" : "the visit cannot be kept");
		return;
	}
	struct admit_grant g = { .until = visit.until, .for_s = token.for_s };
	memcpy(g.name, it->rule.name, sizeof g.name);
	if (r->look) {
		lease_answer_admit(q, &g);
		return;
	}
	audit_visit(f, AUDIT_TOKEN_USE, AUDIT_OK, &it->rule, &r->visitor, token.token_id);
	struct forwarder_ask *a = forwarder_answer_later(f, ASK_ADMIT, r->id);
	if (a) {
		a->ask = q;
		a->admit = g;
	}
	forwarder_refresh(f);
	if (!a)
		lease_answer_admit(q, &g);
}

/* ---- The door */

static void on_admitted(void *arg, const struct lease_reply *reply)
{
	struct forwarder_ask *a = arg;
	struct forwarder *f = a->f;

	a->asking = false;
	a->error = reply->error;
	if (!a->error)
		a->admit = reply->admit;
	if (!a->error && !a->look && !a->admit.full)
		a->error = f->gate.gateway
				   ? gateway_admit(f->gate.gateway, a->id, &a->visitor, reply->admit.until)
				   : -ENOENT;
	forwarder_refresh(f);
}

static void on_visit(void *arg, struct door_visit *door, const char *token, const struct addr *visitor,
		     bool look)
{
	struct forwarder *f = arg;
	struct admit_request r = { .visitor = *visitor, .look = look };
	const struct gateway_owner *owner = NULL;
	struct forwarder_ask *a;

	r.visitor.port = 0;
	if (strlen(token) < sizeof r.token && !tokens_forward_id(r.id, token) && f->gate.gateway)
		owner = gateway_owner(f->gate.gateway, r.id);
	a = owner ? forwarder_answer_later(f, ASK_VISIT, r.id) : NULL;
	if (!a) {
		door_answer(door, owner ? -ENOMEM : -ENOENT, NULL);
		return;
	}
	a->visit = door;
	a->visitor = r.visitor;
	a->look = look;
	a->asking = true;
	strcpy(r.token, token);
	int ret = lease_link_admit(f->link, owner->ip4.family ? &owner->ip4 : &owner->ip6, &r, on_admitted, a,
				   NULL);
	crypto_wipe(&r, sizeof r);
	if (!ret)
		return;
	a->asking = false;
	a->error = ret;
	forwarder_step(f);
}

static void on_door_event(void *arg, enum door_event event, const struct addr *visitor, const char *name)
{
	static const struct {
		enum audit_event event;
		enum audit_outcome outcome;
		const char *detail;
	} lines[] = {
		[DOOR_LOOKED] = { AUDIT_TOKEN_USE, AUDIT_OK, "looked at the page" },
		[DOOR_ADMITTED] = { AUDIT_TOKEN_USE, AUDIT_OK, "admitted" },
		[DOOR_FULL] = { AUDIT_TOKEN_USE, AUDIT_REFUSED, "as many visitors as it can have are in" },
		[DOOR_WRONG] = { AUDIT_TOKEN_GUESS, AUDIT_REFUSED, "a token that is not good" },
		[DOOR_LIMITED] = { AUDIT_TOKEN_GUESS, AUDIT_REFUSED, "too many tries from there" },
		[DOOR_FAILED] = { AUDIT_TOKEN_USE, AUDIT_FAILED, "the owner could not be asked" },
	};
	struct forwarder *f = arg;
	char actor[FORWARDER_ACTOR], text[ADDR_TEXT_MAX];

	snprintf(actor, sizeof actor, "visitor %s", addr_format_ip(visitor, text));
	forwarder_audit_peer(f, lines[event].event, lines[event].outcome, NULL, *name ? name : NULL, actor,
			     lines[event].detail);
}

bool forwarder_gate_door(const struct forwarder *f, struct addr *at4, struct addr *at6)
{
	const struct gateway_config *c = &f->gate.config;

	*at4 = c->public4;
	*at6 = c->public6;
	at4->port = at6->port = c->door_port ? c->door_port : GATEWAY_DOOR_PORT;
	return f->gate.door;
}

static void open_door(struct forwarder *f)
{
	const struct gateway_config *c = &f->gate.config;
	struct door_config config = {
		.loop = f->config.loop,
		.dir = f->config.state_dir,
		.handler = { on_visit, on_door_event },
		.arg = f,
	};
	char why[RULE_WHY];

	forwarder_gate_door(f, &config.at4, &config.at6);
	strcpy(config.cert, c->door_cert);
	strcpy(config.key, c->door_key);
	int ret = door_open(&f->gate.door, &config, why);
	if (!ret || !strcmp(why, f->gate.door_why))
		return;
	memcpy(f->gate.door_why, why, sizeof why);
	log_error("forward", "no tokens are taken: %s", why);
}

static void see_to_door(struct forwarder *f)
{
	bool wanted = f->gate.gateway && gateway_takes_tokens(f->gate.gateway);

	if (wanted && !f->gate.door)
		open_door(f);
	if (wanted || !f->gate.door)
		return;
	door_close(f->gate.door);
	f->gate.door = NULL;
}

/* ---- What is to be carried */

static int add_all(struct forwarder *f, struct forward_list *to,
		   size_t (*entries)(const struct gateway *g, struct forward_entry *out, size_t cap))
{
	size_t count = entries(f->gate.gateway, NULL, 0);
	struct forward_entry *list = count ? calloc(count, sizeof *list) : NULL;
	int ret = count && !list ? -ENOMEM : 0;

	if (list)
		entries(f->gate.gateway, list, count);
	for (size_t i = 0; i < count && !ret; i++)
		ret = forward_list_add(to, &list[i]);
	free(list);
	return ret;
}

int forwarder_gate_plan(struct forwarder *f, struct forward_list *kernel, struct forward_list *user)
{
	int ret;

	see_to_door(f);
	if (!f->gate.gateway)
		return 0;
	f->kernel.needed = true;
	ret = add_all(f, user, gateway_user_entries);
	/* While it cannot, the owners are told so when they renew. */
	if (!ret && !*f->kernel.why)
		ret = add_all(f, kernel, gateway_entries);
	return ret;
}

size_t forwarder_gate_passes(struct forwarder *f, struct pass_entry *out, size_t cap)
{
	size_t count = f->gate.gateway ? gateway_passes(f->gate.gateway, out, cap) : 0;

	return count < cap ? count : cap;
}

uint64_t forwarder_gate_deadline(const struct forwarder *f, uint64_t now_ms)
{
	uint64_t at = f->gate.gateway ? gateway_next_unix_s(f->gate.gateway) : UINT64_MAX;

	return forwarder_in_seconds(at, now_ms);
}

/* ---- Life */

static const uint8_t *key_of(void *arg, const struct addr *peer)
{
	const struct engine_peer *ep = forwarder_peer_at(arg, peer);

	return ep ? ep->ik : NULL;
}

static void on_refused(void *arg, const struct addr *peer, const char *why)
{
	char actor[FORWARDER_ACTOR];

	forwarder_audit_peer(arg, AUDIT_LEASE_REFUSE, AUDIT_REFUSED, NULL, NULL,
			     forwarder_actor(arg, peer, actor), why);
}

struct lease_link_handler forwarder_gate_handler(void)
{
	return (struct lease_link_handler) {
		.on_lease = forwarder_grant_ask,
		.on_release = forwarder_grant_release,
		.on_stats = forwarder_grant_stats,
		.on_admit = on_admit,
		.key_of = key_of,
		.on_refused = on_refused,
	};
}

static void open_gateway(struct forwarder *f, const struct gateway_config *config)
{
	char why[FILE_WHY];

	f->gate.config = *config;
	const struct gateway_host host = forwarder_grant_host(f);
	int ret = gateway_open(&f->gate.gateway, f->config.state_dir, config, &host);
	if (ret)
		log_error("forward", "this node cannot be a gateway until the next reload or start: %s",
			  file_why(f->config.state_dir, GATEWAY_FILE, ret, why));
}

void forwarder_gate_start(struct forwarder *f)
{
	if (f->config.gateway)
		open_gateway(f, f->config.gateway);
}

void forwarder_set_gateway(struct forwarder *f, const struct gateway_config *gateway)
{
	door_close(f->gate.door);
	f->gate.door = NULL;
	f->gate.door_why[0] = '\0';
	if (!gateway) {
		gateway_close(f->gate.gateway);
		f->gate.gateway = NULL;
	} else if (!f->gate.gateway) {
		open_gateway(f, gateway);
	} else {
		f->gate.config = *gateway;
		gateway_configure(f->gate.gateway, gateway);
	}
	forwarder_refresh(f);
}

void forwarder_gate_stop(struct forwarder *f)
{
	for (struct forwarder_ask *a = f->asks, *next; a; a = next) {
		next = a->next;
		if (a->kind == ASK_VISIT)
			door_answer(a->visit, -ECANCELED, NULL);
		else
			lease_answer_error(a->ask, -EAGAIN, "the node ends", NULL);
		free(a);
	}
	f->asks = NULL;
	forwarder_grant_stop(f);
	door_close(f->gate.door);
	gateway_close(f->gate.gateway);
}
