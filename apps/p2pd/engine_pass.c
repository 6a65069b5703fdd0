/* Packets from and to addresses outside the overlay, where a port is forwarded by the kernel: struct pass says which ports
 * and between whom, we that the outside is outside. */
#include "apps/p2pd/engine_internal.h"

#include <string.h>

#include "apps/p2pd/forward/pass.h"

void engine_see(struct engine_seen *s, enum addr_family family, const uint8_t *ip, bool yes)
{
	s->family = (uint8_t)family;
	s->yes = yes;
	memcpy(s->ip, ip, family == ADDR_V4 ? 4 : 16);
}

static bool is_host(const struct engine *e, const struct addr *a)
{
	for (size_t i = 0; i < e->host_count; i++)
		if (addr_same_ip(&e->hosts[i], a))
			return true;
	return false;
}

bool engine_is_outside(const struct engine *e, const struct addr *visitor)
{
	struct addr a = *visitor;

	a.port = 1; /* without one no address is usable */
	return !addr_is_unusable(&a) && !addr_is_link_local(&a) && !engine_in_overlay(e, &a) &&
	       !lpm_find(&e->allowed, a.family, a.ip) && !is_host(e, &a);
}

static bool is_outside(const struct engine *e, enum addr_family family, const uint8_t *ip)
{
	struct addr a = addr_from_ip(family, ip, 1);

	return a.family == family && engine_is_outside(e, &a);
}

static bool is_ours(const struct engine *e, enum addr_family family, const uint8_t *ip)
{
	return ip_same(family, ip, family == ADDR_V4 ? e->ip4.ip : e->ip6.ip);
}

struct engine_peer *engine_pass_out(struct engine *e, const struct ip_view *ip, const uint8_t *packet)
{
	const uint8_t *gateway;

	if (!e->pass || !is_ours(e, ip->family, ip->src))
		return NULL;
	gateway = pass_out(e->pass, ip, packet);
	return gateway && is_outside(e, ip->family, ip->dst) ? engine_peer_by_ik(e, gateway) : NULL;
}

bool engine_pass_in(struct engine *e, const struct engine_peer *ep, const struct ip_view *ip,
		    const uint8_t *packet, bool owned, struct engine_seen *outside)
{
	const uint8_t *other = owned ? ip->dst : ip->src;

	if (!ep->peer.own_kind || owned == is_ours(e, ip->family, ip->dst))
		return false;
	if (!engine_is_seen(outside, ip->family, other))
		engine_see(outside, ip->family, other, is_outside(e, ip->family, other));
	return outside->yes && pass_in(e->pass, ep->ik, ip, packet, &e->ip4, &e->ip6);
}
