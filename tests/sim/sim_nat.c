#include "tests/sim/sim_nat.h"

#include <string.h>

static bool live(const struct sim_nat *n, const struct sim_mapping *m, uint64_t now_ms)
{
	return m->outer_port && now_ms - m->used_ms < n->timeout_ms;
}

static bool port_taken(const struct sim_nat *n, uint16_t port, uint64_t now_ms)
{
	for (int i = 0; i < SIM_NAT_MAPPINGS; i++)
		if (live(n, &n->mappings[i], now_ms) && n->mappings[i].outer_port == port)
			return true;
	return false;
}

static struct sim_mapping *find(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				uint64_t now_ms)
{
	for (int i = 0; i < SIM_NAT_MAPPINGS; i++) {
		struct sim_mapping *m = &n->mappings[i];
		if (!live(n, m, now_ms) || !addr_equal(&m->inner, inner))
			continue;
		if (n->kind != NAT_SYMMETRIC || addr_equal(&m->remote, remote))
			return m;
	}
	return NULL;
}

static struct sim_mapping *make(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				uint64_t now_ms, struct rng *rng)
{
	for (int i = 0; i < SIM_NAT_MAPPINGS; i++) {
		struct sim_mapping *m = &n->mappings[i];
		if (live(n, m, now_ms))
			continue;
		uint16_t port = n->kind == NAT_SYMMETRIC ? 0 : inner->port;
		while (!port || port_taken(n, port, now_ms))
			port = (uint16_t)(1024 + rng_below(rng, 64512));
		*m = (struct sim_mapping) { .inner = *inner, .remote = *remote, .outer_port = port };
		return m;
	}
	return NULL;
}

bool sim_nat_out(struct sim_nat *n, const struct addr *inner, const struct addr *remote, uint64_t now_ms,
		 struct rng *rng, struct addr *outer)
{
	struct sim_mapping *m = find(n, inner, remote, now_ms);
	unsigned i = 0;

	if (!m)
		m = make(n, inner, remote, now_ms, rng);
	if (!m)
		return false;
	m->used_ms = now_ms;
	while (i < m->contact_count && !addr_equal(&m->contacts[i], remote))
		i++;
	if (i == m->contact_count && i < SIM_NAT_CONTACTS)
		m->contacts[m->contact_count++] = *remote;
	*outer = n->public_ip;
	outer->port = m->outer_port;
	return true;
}

static bool passes(const struct sim_nat *n, const struct sim_mapping *m, const struct addr *remote)
{
	if (n->kind == NAT_FULL_CONE)
		return true;
	for (unsigned i = 0; i < m->contact_count; i++)
		if (addr_same_ip(&m->contacts[i], remote) &&
		    (n->kind == NAT_ADDRESS_RESTRICTED || m->contacts[i].port == remote->port))
			return true;
	return false;
}

bool sim_nat_in(struct sim_nat *n, const struct addr *outer, const struct addr *remote, uint64_t now_ms,
		struct addr *inner)
{
	for (int i = 0; i < SIM_NAT_MAPPINGS; i++) {
		struct sim_mapping *m = &n->mappings[i];
		if (!live(n, m, now_ms) || m->outer_port != outer->port)
			continue;
		if (!passes(n, m, remote))
			return false;
		m->used_ms = now_ms;
		*inner = m->inner;
		return true;
	}
	return false;
}

void sim_nat_flush(struct sim_nat *n)
{
	memset(n->mappings, 0, sizeof n->mappings);
}
