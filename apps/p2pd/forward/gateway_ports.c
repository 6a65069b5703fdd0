#include "apps/p2pd/forward/gateway_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PORTS_ALL = 65536, UNPRIVILEGED = 1024 };

static uint16_t door_port(const struct gateway_config *config)
{
	return config->door_port ? config->door_port : GATEWAY_DOOR_PORT;
}

static bool allowed(const struct gateway_config *config, unsigned port)
{
	if (port == 0 || port == door_port(config))
		return false;
	if (config->port_count == 0)
		return port >= UNPRIVILEGED || port == 80 || port == 443;
	for (unsigned i = 0; i < config->port_count; i++)
		if (port >= config->ports[i].first && port - config->ports[i].first < config->ports[i].count)
			return true;
	return false;
}

bool gateway_ports_allowed(const struct gateway_config *config, uint16_t first, uint16_t count)
{
	for (unsigned i = 0; i < count; i++)
		if (first + i >= PORTS_ALL || !allowed(config, first + i))
			return false;
	return true;
}

/* Ports by protocol, TCP first: a member may ask for thousands of them, twenty times a second. */
struct port_set {
	uint8_t bits[2][PORTS_ALL / 8];
};

struct choice {
	const struct gateway_ports *v;
	const struct lease_request *r;
	uint16_t *ports;
	struct port_set others, own; /* of other leases, and of the one of this id so far */
};

static const enum forward_proto protos[2] = { FORWARD_TCP, FORWARD_UDP };

static bool uses(const struct lease_request *r, unsigned proto)
{
	return protos[proto] == FORWARD_TCP ? r->tcp : r->udp;
}

static bool in_set(const struct port_set *s, unsigned proto, unsigned port)
{
	return s->bits[proto][port / 8] & 1 << port % 8;
}

static void set_add(struct port_set *s, const struct gateway_given *g)
{
	for (unsigned proto = 0; proto < 2; proto++)
		for (unsigned i = 0; uses(&g->request, proto) && i < g->request.range_count; i++)
			for (unsigned k = 0; k < g->request.ranges[i].count; k++) {
				unsigned port = g->ports[i] + k;
				s->bits[proto][port / 8] |= (uint8_t)(1 << port % 8);
			}
}

static bool same_id(const struct gateway_given *g, const struct lease_request *r)
{
	return !memcmp(g->request.id, r->id, FORWARD_ID);
}

static void choice_init(struct choice *c)
{
	for (size_t i = 0; i < c->v->count; i++)
		set_add(same_id(&c->v->list[i], c->r) ? &c->own : &c->others, &c->v->list[i]);
}

enum verdict { PORT_FREE, PORT_OTHER_RULE, PORT_OTHER_PROGRAM };

static enum verdict look(const struct choice *c, unsigned port)
{
	for (unsigned proto = 0; proto < 2; proto++) {
		if (!uses(c->r, proto))
			continue;
		if (in_set(&c->others, proto, port))
			return PORT_OTHER_RULE;
		if (!in_set(&c->own, proto, port) && c->v->in_use(c->v->arg, protos[proto], (uint16_t)port))
			return PORT_OTHER_PROGRAM;
	}
	return PORT_FREE;
}

/* The lease that has it. */
static void name_holder(const struct choice *c, unsigned port, uint8_t conflict[static FORWARD_ID])
{
	for (size_t n = 0; n < c->v->count; n++) {
		const struct gateway_given *g = &c->v->list[n];
		if (same_id(g, c->r) || !((g->request.tcp && c->r->tcp) || (g->request.udp && c->r->udp)))
			continue;
		for (unsigned i = 0; i < g->request.range_count; i++)
			if (port >= g->ports[i] && port - g->ports[i] < g->request.ranges[i].count)
				memcpy(conflict, g->request.id, FORWARD_ID);
	}
}

static int take_wanted(struct choice *c, unsigned i, uint8_t conflict[static FORWARD_ID],
		       char why[static RULE_WHY])
{
	const struct lease_range *g = &c->r->ranges[i];

	for (unsigned port = g->wanted; port < (unsigned)g->wanted + g->count; port++) {
		if (!allowed(c->v->config, port)) {
			snprintf(why, RULE_WHY, "the gateway does not give out port %u", port);
			return -EACCES;
		}
		enum verdict verdict = look(c, port);
		if (verdict == PORT_FREE)
			continue;
		if (verdict == PORT_OTHER_RULE)
			name_holder(c, port, conflict);
		snprintf(why, RULE_WHY, "port %u of the gateway is %s", port,
			 verdict == PORT_OTHER_RULE ? "another rule's" : "in use by another program there");
		return -EADDRINUSE;
	}
	c->ports[i] = g->wanted;
	return 0;
}

/* Not only of other leases: the ranges of one must not meet either. */
static bool is_free(const struct choice *c, unsigned port)
{
	for (unsigned i = 0; i < c->r->range_count; i++)
		if (c->ports[i] && port >= c->ports[i] && port - c->ports[i] < c->r->ranges[i].count)
			return false;
	return allowed(c->v->config, port) && look(c, port) == PORT_FREE;
}

static uint32_t place_of(const uint8_t id[static FORWARD_ID])
{
	uint32_t place;

	memcpy(&place, id + FORWARD_ID - sizeof place, sizeof place); /* random bits: RFC 9562 section 5.7 */
	return place;
}

/* The first run of free ports from a place of the id's own on: so a rule that comes back is likely to get the same. */
static int find_free(struct choice *c, unsigned i, char why[static RULE_WHY])
{
	const unsigned span = PORTS_ALL - UNPRIVILEGED, count = c->r->ranges[i].count;
	unsigned run = 0, start = place_of(c->r->id) % span;

	for (unsigned n = 0; n < span + count; n++) {
		unsigned port = UNPRIVILEGED + (start + n) % span;
		if (port == UNPRIVILEGED)
			run = 0;
		run = is_free(c, port) ? run + 1 : 0;
		if (run < count)
			continue;
		c->ports[i] = (uint16_t)(port - count + 1);
		return 0;
	}
	snprintf(why, RULE_WHY, "the gateway has no %u free ports in a row", count);
	return -ENOSPC;
}

static const struct gateway_given *given_before(const struct choice *c)
{
	for (size_t i = 0; i < c->v->count; i++)
		if (same_id(&c->v->list[i], c->r))
			return &c->v->list[i];
	return NULL;
}

/* The ports that the lease has already, where none are asked for and their number is still right. */
static void keep_chosen(struct choice *c)
{
	const struct gateway_given *old = given_before(c);

	for (unsigned i = 0; old && i < c->r->range_count && i < old->request.range_count; i++) {
		const struct lease_range *g = &c->r->ranges[i];
		bool still = g->wanted == 0 && g->count == old->request.ranges[i].count;
		for (unsigned k = 0; still && k < g->count; k++)
			still = is_free(c, old->ports[i] + k);
		if (still)
			c->ports[i] = old->ports[i];
	}
}

int gateway_ports_choose(const struct gateway_ports *v, const struct lease_request *r,
			 uint16_t ports[static RULE_RANGES_MAX], uint8_t conflict[static FORWARD_ID],
			 char why[static RULE_WHY])
{
	struct choice c = { .v = v, .r = r, .ports = ports };
	int rc = 0;

	memset(ports, 0, RULE_RANGES_MAX * sizeof *ports);
	memset(conflict, 0, FORWARD_ID);
	choice_init(&c);
	for (unsigned i = 0; rc == 0 && i < r->range_count; i++)
		if (r->ranges[i].wanted)
			rc = take_wanted(&c, i, conflict, why);
	if (rc == 0)
		keep_chosen(&c);
	for (unsigned i = 0; rc == 0 && i < r->range_count; i++)
		if (!ports[i])
			rc = find_free(&c, i, why);
	return rc;
}
