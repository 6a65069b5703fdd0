#include "apps/natcheck/check.h"

const struct check_view *check_main_view(const struct check *c)
{
	if (c->ip4.udp == CHECK_UDP_OK)
		return &c->ip4;
	return c->ip6.udp == CHECK_UDP_OK || !c->ip4.tried ? &c->ip6 : &c->ip4;
}

struct check_view *check_view_of(struct check *c, enum addr_family family)
{
	return family == ADDR_V4 ? &c->ip4 : &c->ip6;
}

enum check_verdict check_verdict(const struct check *c)
{
	const struct check_view *view = check_main_view(c);

	if (view->udp == CHECK_UDP_BLOCKED)
		return CHECK_BLOCKED;
	if (verdict_is_easy(&view->nat.verdict))
		return CHECK_EASY;
	return verdict_is_hard(&view->nat.verdict) ? CHECK_HARD : CHECK_INCONCLUSIVE;
}

bool check_has_nat(const struct check_view *v)
{
	return v->nat.verdict.mapping != MAPPING_NONE;
}

bool check_maps_unknown(const struct check_view *v)
{
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		if (v->maps[i].state != PORTMAP_UNKNOWN)
			return false;
	}
	return true;
}

enum discover_answer check_double_nat(const struct check_view *v)
{
	struct addr external = check_external(v);

	if (external.family == ADDR_NONE || v->mapped.family == ADDR_NONE)
		return DISCOVER_UNKNOWN;
	return portmap_double_nat(&external, &v->mapped) ? DISCOVER_YES : DISCOVER_NO;
}

struct addr check_external(const struct check_view *v)
{
	struct addr found = { 0 };

	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		const struct check_map *m = &v->maps[i];
		if (m->state != PORTMAP_WORKING)
			continue;
		if (found.family == ADDR_NONE || m->inbound == DISCOVER_YES)
			found = m->external;
		if (m->inbound == DISCOVER_YES)
			break;
	}
	return found;
}
