#include "apps/p2phub/endpoints.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

enum { ALTERNATES = 2 }; /* addresses of a family that are used: RFC 5780 knows one and the other */

static bool is_public(const struct ifaddrs *i, struct addr *a)
{
	if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
		return false;
	*a = addr_from_sockaddr(i->ifa_addr);
	return a->family != ADDR_NONE && !addr_is_loopback(a) && !addr_is_private(a);
}

size_t endpoints_local(struct addr *out, size_t cap)
{
	struct ifaddrs *all;
	size_t n = 0;

	if (getifaddrs(&all) != 0)
		return 0;
	for (struct ifaddrs *i = all; i && n < cap; i = i->ifa_next)
		n += is_public(i, &out[n]);
	freeifaddrs(all);
	return n;
}

/* The first two of `local` that are of the family, or fewer. */
static size_t choose(struct addr *out, uint8_t family, const struct addr *local, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count && n < ALTERNATES; i++)
		if (local[i].family == family && !(n && addr_same_ip(&out[0], &local[i])))
			out[n++] = local[i];
	return n;
}

size_t endpoints_of(const struct addr *bound, size_t bound_count, const struct addr *local,
		    size_t local_count, struct addr *out, size_t cap)
{
	struct addr chosen[ALTERNATES];
	size_t n = 0;

	for (size_t i = 0; i < bound_count; i++) {
		if (!addr_is_any(&bound[i]) ||
		    choose(chosen, bound[i].family, local, local_count) < ALTERNATES)
			continue;
		for (size_t k = 0; k < ALTERNATES && n < cap; k++) {
			out[n] = chosen[k];
			out[n++].port = bound[i].port;
		}
	}
	for (size_t i = 0; i < bound_count && n < cap; i++)
		out[n++] = bound[i];
	return n;
}
