/* Leases that this node gives as a gateway: what owners ask for, and what of it could not be carried. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "tun/listening.h"

/* ---- Who asks */

static void refuse(struct lease_ask *q, int error, const char *why)
{
	lease_answer_error(q, error, why, NULL);
}

static bool owner_of(const struct forwarder *f, const struct addr *peer, struct gateway_owner *out)
{
	const struct engine_peer *ep = forwarder_peer_at(f, peer);
	char why[RULE_WHY];

	if (!ep)
		return false;
	*out = (struct gateway_owner) { .ip4 = ep->ip4, .ip6 = ep->ip6 };
	memcpy(out->ik, ep->ik, sizeof out->ik);
	strcpy(out->name, ep->peer.name);
	out->sole = forwarder_peer(f, ep->peer.name, why) == ep &&
		    strcmp(ep->peer.name, f->config.engine->config.name) != 0;
	out->ip4.port = out->ip6.port = 0;
	return true;
}

/* Of what the lease says when it is new, or other than it was. */
static void audit_grant(struct forwarder *f, const struct gateway_owner *owner, const struct lease_request *r,
			const struct lease_grant *g)
{
	char actor[FORWARDER_ACTOR], detail[AUDIT_TEXT_MAX], text[ADDR_TEXT_MAX];
	const struct addr *public = g->public4.family ? &g->public4 : &g->public6;

	snprintf(actor, sizeof actor, "node %s", owner->name);
	snprintf(detail, sizeof detail, "%s port %u%s%s%s", addr_format_ip(public, text), g->ports[0],
		 r->range_count > 1 || r->ranges[0].count > 1 ? " and more" : "", r->tcp ? " tcp" : "",
		 r->udp ? " udp" : "");
	forwarder_audit_peer(f, AUDIT_LEASE_GRANT, AUDIT_OK, r->id, r->name, actor, detail);
}

/* Why nobody gets a lease here now; 0: they do. */
static int closed(struct forwarder *f, const char **why)
{
	if (!f->gate.gateway) {
		*why = "this node is no gateway: start it with `p2pd up --gateway ADDR`";
		return -ENOTSUP;
	}
	if (f->kernel.tried)
		return 0;
	f->refresh_wanted = true;
	forwarder_step(f);
	*why = "the gateway is starting";
	return -EAGAIN;
}

static void grant_later(struct forwarder *f, struct lease_ask *q, const struct lease_request *r,
			const struct lease_grant *grant)
{
	struct forwarder_ask *a = forwarder_answer_later(f, ASK_LEASE, r->id);

	if (!a) {
		refuse(q, -ENOSPC, "out of memory");
		return;
	}
	a->ask = q;
	a->grant = *grant;
}

/* ---- What could not be carried */

static struct forwarder_grant_error *error_of(const struct forwarder *f, const uint8_t *id)
{
	struct forwarder_grant_error *e = f->gate.errors;

	while (e && memcmp(e->id, id, FORWARD_ID))
		e = e->next;
	return e;
}

void forwarder_grant_apply_begins(struct forwarder *f)
{
	for (struct forwarder_grant_error *e = f->gate.errors; e; e = e->next)
		e->still = false;
}

void forwarder_grant_apply_ended(struct forwarder *f)
{
	for (struct forwarder_grant_error **at = &f->gate.errors, *e; (e = *at);) {
		if (e->still) {
			at = &e->next;
			continue;
		}
		*at = e->next;
		free(e);
	}
}

/* Said once, not at each try. */
static void note_error(struct forwarder *f, const uint8_t *id, const char *why)
{
	struct forwarder_grant_error *e = error_of(f, id);

	if (e && !strcmp(e->why, why)) {
		e->still = true;
		return;
	}
	log_warn("forward", "a lease cannot be carried: %s", why);
	if (!e) {
		e = calloc(1, sizeof *e);
		if (!e)
			return;
		e->next = f->gate.errors;
		f->gate.errors = e;
	}
	memcpy(e->id, id, FORWARD_ID);
	snprintf(e->why, sizeof e->why, "%s", why);
	e->still = true;
}

void forwarder_grant_on_user_error(struct forwarder *f, const uint8_t id[static FORWARD_ID], int error,
				   const char *why)
{
	note_error(f, id, why);
	for (struct forwarder_ask **at = &f->asks, *a; (a = *at);) {
		if (a->kind != ASK_LEASE || memcmp(a->id, id, FORWARD_ID)) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		lease_answer_error(a->ask, error, why, NULL);
		free(a);
	}
}

void forwarder_grant_on_kernel_error(struct forwarder *f, const uint8_t id[static FORWARD_ID],
				     const char *why)
{
	const struct gateway_owner *owner = f->gate.gateway ? gateway_owner(f->gate.gateway, id) : NULL;

	if (!owner)
		return;
	log_warn("forward", "sockets carry a lease of %s, for the kernel does not take it: %s", owner->name,
		 why);
	gateway_kernel_refused(f->gate.gateway, id, why);
	for (struct forwarder_ask *a = f->asks; a; a = a->next)
		if (a->kind == ASK_LEASE && !memcmp(a->id, id, FORWARD_ID)) {
			gateway_granted(f->gate.gateway, id, &a->grant);
			a->kernel_number = UINT64_MAX; /* the next */
		}
	f->refresh_wanted = true;
}

void forwarder_grant_stop(struct forwarder *f)
{
	forwarder_grant_apply_begins(f);
	forwarder_grant_apply_ended(f);
}

/* ---- Leases */

static int give(struct forwarder *f, const struct gateway_owner *owner, const struct lease_request *r,
		struct lease_grant *grant, uint8_t conflict[static FORWARD_ID], char why[static RULE_WHY])
{
	/* What carries them knows rules and leases by their ids alone. */
	if (forwarder_item(f, r->id)) {
		snprintf(why, RULE_WHY, "this forward_id is that of a rule of the gateway's own");
		return -EACCES;
	}
	return gateway_lease(f->gate.gateway, owner, r, f->kernel.why, forwarder_unix_s(), grant, conflict,
			     why);
}

void forwarder_grant_ask(void *arg, struct lease_ask *q, const struct addr *peer,
			 const struct lease_request *r)
{
	struct forwarder *f = arg;
	struct gateway_owner owner;
	struct lease_grant grant;
	uint8_t conflict[FORWARD_ID] = { 0 };
	char text[RULE_WHY], actor[FORWARDER_ACTOR];
	const char *why = "this node does not know you";
	int ret = closed(f, &why);

	if (ret || !owner_of(f, peer, &owner)) {
		refuse(q, ret ? ret : -EACCES, why);
		return;
	}
	bool known = gateway_owner(f->gate.gateway, r->id) != NULL;
	uint64_t version = gateway_version(f->gate.gateway);
	ret = give(f, &owner, r, &grant, conflict, text);
	if (ret) {
		forwarder_audit_peer(f, AUDIT_LEASE_REFUSE, AUDIT_REFUSED, r->id, r->name,
				     forwarder_actor(f, peer, actor), text);
		lease_answer_error(q, ret, text, conflict);
		return;
	}
	if (!known)
		audit_grant(f, &owner, r, &grant);
	grant_later(f, q, r, &grant);
	/* What could not be carried is tried again; the answer is what comes of it. */
	f->refresh_wanted |= gateway_version(f->gate.gateway) != version || error_of(f, r->id);
	forwarder_step(f);
}

void forwarder_grant_release(void *arg, struct lease_ask *q, const struct addr *peer,
			     const uint8_t id[static FORWARD_ID])
{
	struct forwarder *f = arg;
	struct gateway_owner owner;
	char actor[FORWARDER_ACTOR];
	int ret = -ENOENT;

	if (f->gate.gateway && owner_of(f, peer, &owner))
		ret = gateway_release(f->gate.gateway, owner.ik, id);
	if (ret) {
		refuse(q, ret, "you have no such lease here");
		return;
	}
	forwarder_audit_peer(f, AUDIT_LEASE_RELEASE, AUDIT_OK, id, NULL, forwarder_actor(f, peer, actor),
			     NULL);
	forwarder_refresh(f);
	lease_answer_released(q);
}

void forwarder_grant_stats(void *arg, struct lease_ask *q, const struct addr *peer,
			   const uint8_t id[static FORWARD_ID])
{
	struct forwarder *f = arg;
	const struct gateway_owner *owner = f->gate.gateway ? gateway_owner(f->gate.gateway, id) : NULL;
	struct forwarder_ask *a;

	if (!owner || !(addr_same_ip(peer, &owner->ip4) || addr_same_ip(peer, &owner->ip6))) {
		refuse(q, -ENOENT, "you have no such lease here");
		return;
	}
	a = forwarder_answer_later(f, ASK_STATS, id);
	if (!a) {
		refuse(q, -ENOSPC, "out of memory");
		return;
	}
	a->ask = q;
	a->kernel_number = forwarder_kernel_look(f);
	forwarder_step(f);
}

/* ---- Ports of this machine */

static bool is_ours(const struct forwarder *f, enum forward_proto proto, uint16_t port)
{
	for (size_t i = 0; i < f->user.count; i++) {
		const struct forward_entry *e = &f->user.items[i];
		if (e->side == FORWARD_GATEWAY && e->proto == proto && port >= e->listen.port &&
		    port - e->listen.port < e->count)
			return true;
	}
	return false;
}

/* Whether nobody else could be reached at that port. */
static bool can_bind(const struct addr *a, enum forward_proto proto, uint16_t port)
{
	struct addr at = *a;
	struct sockaddr_storage sa;
	int on = 1, ret = 0;

	if (a->family == ADDR_NONE)
		return true;
	at.port = port;
	unsigned len = addr_to_sockaddr(&at, &sa);
	int fd = socket(sa.ss_family, (proto == FORWARD_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true;
	if (proto == FORWARD_TCP) /* what only lingers is no obstacle */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&sa, len))
		ret = errno;
	close(fd);
	return ret != EADDRINUSE;
}

static bool port_in_use(void *arg, enum forward_proto proto, uint16_t port)
{
	const struct forwarder *f = arg;
	const struct gateway_config *c = &f->gate.config;

	return !is_ours(f, proto, port) &&
	       !(can_bind(&c->public4, proto, port) && can_bind(&c->public6, proto, port));
}

static void ports_taken(void *arg, enum forward_proto proto, uint8_t set[static GATEWAY_PORT_BYTES])
{
	const struct forwarder *f = arg;
	const struct gateway_config *c = &f->gate.config;
	uint8_t found[GATEWAY_PORT_BYTES] = { 0 };

	listening_ports(proto, &c->public4, found);
	listening_ports(proto, &c->public6, found);
	for (size_t i = 0; i < f->user.count; i++) {
		const struct forward_entry *e = &f->user.items[i];
		for (unsigned k = 0; e->side == FORWARD_GATEWAY && e->proto == proto && k < e->count; k++)
			found[(e->listen.port + k) / 8] &= (uint8_t) ~(1 << (e->listen.port + k) % 8);
	}
	for (unsigned i = 0; i < GATEWAY_PORT_BYTES; i++)
		set[i] |= found[i];
}

static void on_ended(void *arg, const struct lease_request *r, const char *why)
{
	forwarder_audit_peer(arg, AUDIT_LEASE_RELEASE, AUDIT_OK, r->id, r->name, "p2pd", why);
}

struct gateway_host forwarder_grant_host(struct forwarder *f)
{
	return (struct gateway_host) { ports_taken, port_in_use, on_ended, f };
}
