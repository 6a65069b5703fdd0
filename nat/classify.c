#include "nat/classify.h"

/* What comparing servers two by two brought to light: did the mapping stay, did it change, when only the port of the
 * destination was another, and when its address was? */
struct evidence {
	bool port_same, port_changed, address_same, address_changed;
};

static void compare(struct evidence *e, const struct classify_sample *a, const struct classify_sample *b)
{
	bool same = addr_equal(&a->mapped, &b->mapped);

	if (addr_equal(&a->server, &b->server))
		return;
	if (addr_same_ip(&a->server, &b->server))
		*(same ? &e->port_same : &e->port_changed) = true;
	else
		*(same ? &e->address_same : &e->address_changed) = true;
}

static enum nat_mapping judge(const struct evidence *e)
{
	if (e->port_changed)
		return MAPPING_ADDRESS_AND_PORT_DEPENDENT;
	if (e->address_changed)
		return e->port_same ? MAPPING_ADDRESS_DEPENDENT : MAPPING_ENDPOINT_DEPENDENT;
	return e->address_same || e->port_same ? MAPPING_ENDPOINT_INDEPENDENT : MAPPING_UNKNOWN;
}

struct classify_result classify(const struct classify_sample *samples, size_t count)
{
	struct classify_result result = { .keeps_port = count > 0 };
	struct evidence evidence = { 0 };
	bool translated = count == 0;

	for (size_t i = 0; i < count; i++) {
		const struct classify_sample *s = &samples[i];

		translated |= !addr_equal(&s->mapped, &s->local);
		result.keeps_port &= s->mapped.port == s->local.port;
		for (size_t j = 0; j < i; j++)
			compare(&evidence, s, &samples[j]);
	}
	result.mapping = translated ? judge(&evidence) : MAPPING_NONE;
	result.across_addresses = evidence.address_same || evidence.address_changed;
	return result;
}
