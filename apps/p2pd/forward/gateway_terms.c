#include "apps/p2pd/forward/gateway_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- Whether. */

static bool is_named(const struct gateway_config *config, const struct gateway_owner *owner, const char *name)
{
	for (unsigned i = 0; i < config->owner_count; i++)
		if (rule_node_is(config->owners[i], name, &owner->ip6))
			return true;
	return false;
}

/* A name is what a node says of itself: where two say the same, neither is taken for the one that was meant. */
bool gateway_owner_allowed(const struct gateway_config *config, const struct gateway_owner *owner)
{
	return config->owner_count == 0 || is_named(config, owner, owner->sole ? owner->name : "");
}

bool gateway_has_address(const struct gateway_config *config)
{
	return config->public4.family != ADDR_NONE || config->public6.family != ADDR_NONE;
}

__attribute__((format(printf, 3, 4))) static int refuse(int error, char why[static RULE_WHY], const char *fmt,
							...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, RULE_WHY, fmt, ap);
	va_end(ap);
	return error;
}

static uint32_t ports_of(const struct lease_request *r)
{
	uint32_t ports = 0;

	for (unsigned i = 0; i < r->range_count; i++)
		ports += r->ranges[i].count;
	return ports;
}

static int check_owner(const struct gateway *g, const struct gateway_given *old,
		       const struct gateway_owner *owner, const struct lease_request *r, uint64_t unix_s,
		       char why[static RULE_WHY])
{
	if (!gateway_has_address(&g->config))
		return refuse(-EACCES, why, "the gateway has no public address");
	if (!gateway_owner_allowed(&g->config, owner) && is_named(&g->config, owner, owner->name))
		return refuse(
			-EACCES, why,
			"two nodes are called '%s': give one of them another --name, or have the gateway's "
			"owners: name this one by its overlay IPv6 address",
			owner->name);
	if (!gateway_owner_allowed(&g->config, owner))
		return refuse(-EACCES, why, "the gateway's administrator does not let this node have ports");
	if (owner->ip4.family == ADDR_NONE && owner->ip6.family == ADDR_NONE)
		return refuse(-EACCES, why, "this node has no overlay address yet");
	if (old && memcmp(old->owner.ik, owner->ik, sizeof owner->ik) != 0)
		return refuse(-EACCES, why, "this forward_id is another node's");
	if (r->expires_at && r->expires_at <= unix_s)
		return refuse(-EACCES, why, "the rule has expired, by the gateway's clock");
	return 0;
}

static bool share_proto(const struct lease_request *a, const struct lease_request *b)
{
	return (a->tcp && b->tcp) || (a->udp && b->udp);
}

static bool tunnels_meet(const struct lease_request *a, const struct lease_request *b)
{
	for (unsigned i = 0; i < a->range_count; i++)
		for (unsigned k = 0; k < b->range_count; k++) {
			const struct lease_range *x = &a->ranges[i], *y = &b->ranges[k];
			if (x->tunnel < y->tunnel + y->count && y->tunnel < x->tunnel + x->count)
				return true;
		}
	return false;
}

/* What comes to one of its ports can be of one lease only. */
static int check_tunnels(const struct gateway *g, const struct gateway_owner *owner,
			 const struct lease_request *r, uint8_t conflict[static FORWARD_ID],
			 char why[static RULE_WHY])
{
	for (size_t i = 0; i < g->count; i++) {
		const struct gateway_given *o = &g->list[i];
		if (memcmp(o->owner.ik, owner->ik, sizeof owner->ik) != 0 ||
		    !memcmp(o->request.id, r->id, FORWARD_ID) || !share_proto(&o->request, r) ||
		    !tunnels_meet(&o->request, r))
			continue;
		memcpy(conflict, o->request.id, FORWARD_ID);
		return refuse(-EADDRINUSE, why, "the node uses the same tunnel ports for another rule");
	}
	return 0;
}

static int check_quota(const struct gateway *g, const struct gateway_given *old,
		       const struct gateway_owner *owner, const struct lease_request *r,
		       char why[static RULE_WHY])
{
	uint32_t most = g->config.max_ports ? g->config.max_ports : GATEWAY_PORTS_DEFAULT;
	uint32_t ports = ports_of(r), leases = 1;

	for (size_t i = 0; i < g->count; i++) {
		const struct gateway_given *o = &g->list[i];
		if (memcmp(o->owner.ik, owner->ik, sizeof owner->ik) != 0 ||
		    !memcmp(o->request.id, r->id, FORWARD_ID))
			continue;
		ports += ports_of(&o->request);
		leases++;
	}
	if (ports > most)
		return refuse(-ENOSPC, why, "the gateway gives a node at most %u ports, all rules together",
			      most);
	if (leases > GATEWAY_OWNER_MAX)
		return refuse(-ENOSPC, why, "the gateway takes at most %d rules of a node",
			      GATEWAY_OWNER_MAX);
	if (g->count >= GATEWAY_LEASES_MAX && !old)
		return refuse(-ENOSPC, why, "the gateway has %d rules and takes no more", GATEWAY_LEASES_MAX);
	return 0;
}

int gateway_check(const struct gateway *g, const struct gateway_given *old, const struct gateway_owner *owner,
		  const struct lease_request *r, uint64_t unix_s, uint8_t conflict[static FORWARD_ID],
		  char why[static RULE_WHY])
{
	int rc = check_owner(g, old, owner, r, unix_s, why);

	if (rc == 0)
		rc = check_quota(g, old, owner, r, why);
	return rc ? rc : check_tunnels(g, owner, r, conflict, why);
}

/* --- How it is carried. */

static const struct addr *public_of(const struct gateway *g, enum addr_family family)
{
	return family == ADDR_V4 ? &g->config.public4 : &g->config.public6;
}

static const struct addr *overlay_of(const struct gateway_owner *o, enum addr_family family)
{
	return family == ADDR_V4 ? &o->ip4 : &o->ip6;
}

static size_t passes_of(const struct lease_request *r)
{
	return r->range_count * ((size_t)r->tcp + r->udp);
}

/* Whether the tunnel lets all of it through beside what the kernel carries already. */
static bool passes_fit(const struct gateway *g, const struct gateway_given *n)
{
	size_t passes = passes_of(&n->request);

	for (size_t i = 0; i < g->count; i++)
		if (g->list[i].kernel && memcmp(g->list[i].request.id, n->request.id, FORWARD_ID) != 0)
			passes += passes_of(&g->list[i].request);
	return passes <= PASS_GATEWAY_MAX;
}

void gateway_choose_mode(const struct gateway *g, const struct gateway_given *old, struct gateway_given *n,
			 const char *kernel_why)
{
	enum addr_family family = n->request.family;
	int version = family == ADDR_V4 ? 4 : 6;

	n->kernel = false;
	if (!n->request.kernel)
		return; /* the owner knows why */
	if (old && *old->kernel_error && gateway_given_asked_same(old, n)) {
		memcpy(n->kernel_error, old->kernel_error, sizeof n->kernel_error);
		kernel_why = n->kernel_error;
	}
	if (*kernel_why)
		snprintf(n->mode_why, sizeof n->mode_why, "gateway: %s", kernel_why);
	else if (public_of(g, family)->family == ADDR_NONE)
		snprintf(n->mode_why, sizeof n->mode_why,
			 "the service is on IPv%d, and the gateway has no public IPv%d address", version,
			 version);
	else if (overlay_of(&n->owner, family)->family == ADDR_NONE)
		snprintf(n->mode_why, sizeof n->mode_why, "this node has no overlay IPv%d address", version);
	else if (!passes_fit(g, n))
		snprintf(n->mode_why, sizeof n->mode_why,
			 "gateway: its kernel carries as many port ranges as it may");
	else
		n->kernel = true;
}

uint64_t gateway_least(uint64_t asked, uint64_t most)
{
	return most && (asked == 0 || asked > most) ? most : asked;
}

static void door_url(const struct gateway *g, char *out, size_t cap)
{
	struct addr at = g->config.public4.family ? g->config.public4 : g->config.public6;
	uint16_t port = g->config.door_port ? g->config.door_port : GATEWAY_DOOR_PORT;
	char text[ADDR_TEXT_MAX];

	at.port = port;
	if (*g->config.door_name)
		snprintf(out, cap, "https://%s:%u", g->config.door_name, port);
	else
		snprintf(out, cap, "https://%s", addr_format(&at, text));
}

void gateway_grant(const struct gateway *g, const struct gateway_given *n, struct lease_grant *grant)
{
	*grant = (struct lease_grant) { .public4 = g->config.public4,
					.public6 = g->config.public6,
					.kernel = n->kernel,
					.rate = gateway_least(n->request.rate, g->config.max_rate),
					.max_conn = (uint32_t)gateway_least(n->request.max_conn,
									    g->config.max_conn) };
	grant->public4.port = grant->public6.port = 0;
	memcpy(grant->ports, n->ports, sizeof grant->ports);
	memcpy(grant->mode_why, n->mode_why, sizeof grant->mode_why);
	if (n->request.tokens)
		door_url(g, grant->door, sizeof grant->door);
}
