#include "core/verdict.h"

#include "core/bytes.h"

enum { FLAG_UDP_BLOCKED = 1, FLAG_POOLING = 2, FLAG_CGNAT = 4, MIN_PORT = 1024 };

void verdict_write(struct writer *w, const struct verdict *v)
{
	unsigned flags = (v->udp_blocked ? FLAG_UDP_BLOCKED : 0) | (v->pooling ? FLAG_POOLING : 0) |
			 (v->cgnat ? FLAG_CGNAT : 0);

	write_u8(w, v->mapping);
	write_u8(w, v->filtering);
	write_u8(w, v->allocation);
	write_u8(w, v->scope);
	write_le16(w, (uint16_t)v->step);
	write_le16(w, v->noise_per_10s);
	write_le16(w, v->block_lo);
	write_le16(w, v->block_hi);
	write_u8(w, v->confidence);
	write_u8(w, v->depth);
	write_u8(w, (uint8_t)flags);
	addr_write(w, &v->public_ip);
}

static bool makes_sense(const struct verdict *v)
{
	bool block = v->block_lo || v->block_hi;

	return v->mapping <= MAPPING_ENDPOINT_DEPENDENT &&
	       v->filtering <= FILTERING_ADDRESS_AND_PORT_DEPENDENT && v->allocation <= ALLOCATION_RANDOM &&
	       v->scope <= SCOPE_SOCKET && v->confidence <= 100 &&
	       (!block || (v->block_lo >= MIN_PORT && v->block_lo <= v->block_hi));
}

struct verdict verdict_read(struct reader *r)
{
	struct verdict v = { 0 };

	v.mapping = read_u8(r);
	v.filtering = read_u8(r);
	v.allocation = read_u8(r);
	v.scope = read_u8(r);
	v.step = (int16_t)read_le16(r);
	v.noise_per_10s = read_le16(r);
	v.block_lo = read_le16(r);
	v.block_hi = read_le16(r);
	v.confidence = read_u8(r);
	v.depth = read_u8(r);
	unsigned flags = read_u8(r);
	v.udp_blocked = flags & FLAG_UDP_BLOCKED;
	v.pooling = flags & FLAG_POOLING;
	v.cgnat = flags & FLAG_CGNAT;
	v.public_ip = addr_read(r);
	if (!makes_sense(&v))
		r->bad = true;
	return v;
}

bool verdict_alike(const struct verdict *a, const struct verdict *b)
{
	return a->mapping == b->mapping && a->filtering == b->filtering && a->allocation == b->allocation &&
	       a->step == b->step && a->udp_blocked == b->udp_blocked && a->block_lo == b->block_lo &&
	       a->block_hi == b->block_hi && addr_equal(&a->public_ip, &b->public_ip);
}

bool verdict_is_easy(const struct verdict *v)
{
	return v->mapping == MAPPING_NONE || v->mapping == MAPPING_ENDPOINT_INDEPENDENT;
}

bool verdict_is_hard(const struct verdict *v)
{
	return v->mapping != MAPPING_UNKNOWN && !verdict_is_easy(v);
}

enum nat_type verdict_type(const struct verdict *v)
{
	static const uint8_t by_filtering[] = {
		[FILTERING_UNKNOWN] = NAT_TYPE_UNKNOWN,
		[FILTERING_ENDPOINT_INDEPENDENT] = NAT_TYPE_1,
		[FILTERING_ADDRESS_DEPENDENT] = NAT_TYPE_2,
		[FILTERING_ADDRESS_AND_PORT_DEPENDENT] = NAT_TYPE_3,
	};

	if (v->udp_blocked)
		return NAT_TYPE_BLOCKED;
	if (verdict_is_hard(v))
		return NAT_TYPE_4;
	if (v->mapping == MAPPING_ENDPOINT_INDEPENDENT)
		return by_filtering[v->filtering];
	if (v->mapping == MAPPING_UNKNOWN || v->filtering == FILTERING_UNKNOWN)
		return NAT_TYPE_UNKNOWN;
	return v->filtering == FILTERING_ENDPOINT_INDEPENDENT ? NAT_TYPE_OPEN : NAT_TYPE_FIREWALL;
}

const char *nat_mapping_name(enum nat_mapping mapping)
{
	switch (mapping) {
	case MAPPING_UNKNOWN: break;
	case MAPPING_NONE: return "none";
	case MAPPING_ENDPOINT_INDEPENDENT: return "endpoint-independent";
	case MAPPING_ADDRESS_DEPENDENT: return "address-dependent";
	case MAPPING_ADDRESS_AND_PORT_DEPENDENT: return "address-and-port-dependent";
	case MAPPING_ENDPOINT_DEPENDENT: return "endpoint-dependent";
	}
	return "unknown";
}

const char *nat_filtering_name(enum nat_filtering filtering)
{
	switch (filtering) {
	case FILTERING_UNKNOWN: break;
	case FILTERING_ENDPOINT_INDEPENDENT: return "endpoint-independent";
	case FILTERING_ADDRESS_DEPENDENT: return "address-dependent";
	case FILTERING_ADDRESS_AND_PORT_DEPENDENT: return "address-and-port-dependent";
	}
	return "unknown";
}

const char *nat_allocation_name(enum nat_allocation allocation)
{
	switch (allocation) {
	case ALLOCATION_UNKNOWN: break;
	case ALLOCATION_PRESERVING: return "preserving";
	case ALLOCATION_SEQUENTIAL: return "sequential";
	case ALLOCATION_RANDOM: return "random";
	}
	return "unknown";
}

const char *nat_scope_name(enum nat_scope scope)
{
	switch (scope) {
	case SCOPE_UNKNOWN: break;
	case SCOPE_GLOBAL: return "global";
	case SCOPE_DESTINATION: return "destination";
	case SCOPE_SOCKET: return "socket";
	}
	return "unknown";
}

const char *nat_type_name(enum nat_type type)
{
	switch (type) {
	case NAT_TYPE_UNKNOWN: break;
	case NAT_TYPE_OPEN: return "open";
	case NAT_TYPE_FIREWALL: return "firewall";
	case NAT_TYPE_1: return "nat1";
	case NAT_TYPE_2: return "nat2";
	case NAT_TYPE_3: return "nat3";
	case NAT_TYPE_4: return "nat4";
	case NAT_TYPE_BLOCKED: return "blocked";
	}
	return "unknown";
}
