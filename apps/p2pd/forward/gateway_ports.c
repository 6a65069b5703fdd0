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

/* A member may ask for thousands of ports, many times a second: so all is looked up in sets of bits, and the machine is
 * asked of so many single ports at most, for what listens is in a set, too. */
enum { PROBES_MAX = 512 };

struct choice {
	const struct gateway_ports *v;
	const struct lease_request *r;
	uint16_t *ports;
	/* By protocol, TCP first: of other leases, of the one of this id so far, of other programs (once `looked`). */
	uint8_t others[2][GATEWAY_PORT_BYTES], own[2][GATEWAY_PORT_BYTES], programs[2][GATEWAY_PORT_BYTES];
	bool looked[2];
	unsigned probes;
};

static const enum forward_proto protos[2] = { FORWARD_TCP, FORWARD_UDP };

static bool uses(const struct lease_request *r, unsigned proto)
{
	return protos[proto] == FORWARD_TCP ? r->tcp : r->udp;
}

static bool in_set(const uint8_t *set, unsigned port)
{
	return set[port / 8] & 1 << port % 8;
}

static void set_add(uint8_t *set, unsigned first, unsigned count)
{
	for (unsigned port = first; port < first + count; port++)
		set[port / 8] |= (uint8_t)(1 << port % 8);
}

static void add_lease(uint8_t sets[2][GATEWAY_PORT_BYTES], const struct gateway_given *g)
{
	for (unsigned proto = 0; proto < 2; proto++)
		for (unsigned i = 0; uses(&g->request, proto) && i < g->request.range_count; i++)
			set_add(sets[proto], g->ports[i], g->request.ranges[i].count);
}

static bool same_id(const struct gateway_given *g, const struct lease_request *r)
{
	return !memcmp(g->request.id, r->id, FORWARD_ID);
}

static void choice_init(struct choice *c)
{
	for (size_t i = 0; i < c->v->count; i++)
		add_lease(same_id(&c->v->list[i], c->r) ? c->own : c->others, &c->v->list[i]);
}

static const uint8_t *programs(struct choice *c, unsigned proto)
{
	if (!c->looked[proto])
		c->v->host->ports_taken(c->v->host->arg, protos[proto], c->programs[proto]);
	c->looked[proto] = true;
	return c->programs[proto];
}

/* Of a port that is about to be given: what does not listen may have it, too. */
static bool is_used(struct choice *c, unsigned proto, unsigned port)
{
	if (in_set(c->own[proto], port))
		return false;
	if (in_set(programs(c, proto), port))
		return true;
	return c->probes++ < PROBES_MAX &&
	       c->v->host->port_in_use(c->v->host->arg, protos[proto], (uint16_t)port);
}

enum verdict { PORT_FREE, PORT_OTHER_RULE, PORT_OTHER_PROGRAM };

static enum verdict look(struct choice *c, unsigned port)
{
	for (unsigned proto = 0; proto < 2; proto++) {
		if (!uses(c->r, proto))
			continue;
		if (in_set(c->others[proto], port))
			return PORT_OTHER_RULE;
		if (is_used(c, proto, port))
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

/* Which ports cannot be chosen, be it that this lease has them already. */
static void fill_blocked(struct choice *c, uint8_t blocked[static GATEWAY_PORT_BYTES])
{
	memset(blocked, 0, GATEWAY_PORT_BYTES);
	for (unsigned proto = 0; proto < 2; proto++) {
		if (!uses(c->r, proto))
			continue;
		const uint8_t *listened = programs(c, proto);
		for (unsigned i = 0; i < GATEWAY_PORT_BYTES; i++)
			blocked[i] |= (uint8_t)(c->others[proto][i] | (listened[i] & ~c->own[proto][i]));
	}
	for (unsigned port = 0; port < PORTS_ALL; port++)
		if (!allowed(c->v->config, port))
			set_add(blocked, port, 1);
	for (unsigned i = 0; i < c->r->range_count; i++)
		if (c->ports[i])
			set_add(blocked, c->ports[i], c->r->ranges[i].count);
}

/* The first of them, or PORTS_ALL. */
static unsigned first_used(struct choice *c, unsigned first, unsigned count)
{
	for (unsigned port = first; port < first + count; port++)
		for (unsigned proto = 0; proto < 2; proto++)
			if (uses(c->r, proto) && is_used(c, proto, port))
				return port;
	return PORTS_ALL;
}

static uint32_t place_of(const uint8_t id[static FORWARD_ID])
{
	uint32_t place;

	memcpy(&place, id + FORWARD_ID - sizeof place, sizeof place); /* random bits: RFC 9562 section 5.7 */
	return place;
}

/* The first run of free ports from a place of the id's own on: so a rule that comes back is likely to get the same. */
static int find_free(struct choice *c, unsigned i, uint8_t blocked[static GATEWAY_PORT_BYTES],
		     char why[static RULE_WHY])
{
	const unsigned span = PORTS_ALL - UNPRIVILEGED, count = c->r->ranges[i].count;
	unsigned run = 0, start = place_of(c->r->id) % span;

	for (unsigned n = 0; n < span + count; n++) {
		unsigned port = UNPRIVILEGED + (start + n) % span;
		if (port == UNPRIVILEGED)
			run = 0;
		run = in_set(blocked, port) ? 0 : run + 1;
		if (run < count)
			continue;
		unsigned used = first_used(c, port - count + 1, count);
		if (used == PORTS_ALL) {
			c->ports[i] = (uint16_t)(port - count + 1);
			set_add(blocked, c->ports[i], count);
			return 0;
		}
		set_add(blocked, used, 1);
		run = port - used;
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

/* Not only of other leases: the ranges of one must not meet either. */
static bool is_free(struct choice *c, unsigned port)
{
	for (unsigned i = 0; i < c->r->range_count; i++)
		if (c->ports[i] && port >= c->ports[i] && port - c->ports[i] < c->r->ranges[i].count)
			return false;
	return allowed(c->v->config, port) && look(c, port) == PORT_FREE;
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

static bool wants_more(const struct choice *c)
{
	for (unsigned i = 0; i < c->r->range_count; i++)
		if (!c->ports[i])
			return true;
	return false;
}

static int choose_rest(struct choice *c, char why[static RULE_WHY])
{
	uint8_t blocked[GATEWAY_PORT_BYTES];
	int rc = 0;

	keep_chosen(c);
	if (!wants_more(c))
		return 0;
	fill_blocked(c, blocked);
	for (unsigned i = 0; rc == 0 && i < c->r->range_count; i++)
		if (!c->ports[i])
			rc = find_free(c, i, blocked, why);
	return rc;
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
	return rc ? rc : choose_rest(&c, why);
}
