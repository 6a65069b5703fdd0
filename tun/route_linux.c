#include "tun/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "tun/netlink.h"

/* A route as this module looks at it. */
struct entry {
	struct addr prefix;
	unsigned bits, ifindex, table;
};

static struct rtnl_route *build(unsigned ifindex, const struct addr *prefix, unsigned bits)
{
	struct rtnl_route *route = rtnl_route_alloc();
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_addr *dst = netlink_from_addr(prefix, bits);

	if (!route || !hop || !dst || rtnl_route_set_dst(route, dst) < 0) {
		if (hop)
			rtnl_route_nh_free(hop);
		rtnl_route_put(route);
		nl_addr_put(dst);
		return NULL;
	}
	rtnl_route_nh_set_ifindex(hop, (int)ifindex);
	rtnl_route_add_nexthop(route, hop);
	rtnl_route_set_table(route, RT_TABLE_MAIN);
	rtnl_route_set_protocol(route, RTPROT_STATIC);
	rtnl_route_set_scope(route, prefix->family == ADDR_V4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
	nl_addr_put(dst);
	return route;
}

/* ifindex 0 for a route that leads to no one interface, such as an unreachable one. */
static struct entry entry_of(struct rtnl_route *route)
{
	struct nl_addr *dst = rtnl_route_get_dst(route);
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);

	return (struct entry) {
		.prefix = netlink_to_addr(dst),
		.bits = nl_addr_get_prefixlen(dst),
		.ifindex = hop ? (unsigned)rtnl_route_nh_get_ifindex(hop) : 0,
		.table = rtnl_route_get_table(route),
	};
}

/* All routes of the prefix's family. */
static int dump(struct nl_sock *sock, const struct addr *prefix, struct nl_cache **out)
{
	int rc = rtnl_route_alloc_cache(sock, prefix->family == ADDR_V4 ? AF_INET : AF_INET6, 0, out);
	return rc < 0 ? netlink_errno(rc) : 0;
}

/* The address we gave our device brings the kernel's own route to its prefix. 1 if it is that, 0, or an error. */
static int already_ours(struct nl_sock *sock, unsigned ifindex, const struct addr *prefix, unsigned bits)
{
	struct nl_cache *routes;
	int found = dump(sock, prefix, &routes);

	if (found)
		return found;
	for (struct nl_object *o = nl_cache_get_first(routes); o && !found; o = nl_cache_get_next(o)) {
		struct entry e = entry_of((struct rtnl_route *)o);
		found = e.table == RT_TABLE_MAIN && e.ifindex == ifindex && e.bits == bits &&
			addr_same_ip(&e.prefix, prefix);
	}
	nl_cache_free(routes);
	return found;
}

int route_add(unsigned ifindex, const struct addr *prefix, unsigned bits)
{
	struct rtnl_route *route = build(ifindex, prefix, bits);
	struct nl_sock *sock = NULL;
	int rc = route ? netlink_open(&sock) : -ENOMEM;

	if (rc == 0) {
		rc = rtnl_route_add(sock, route, NLM_F_EXCL);
		rc = rc < 0 ? netlink_errno(rc) : 0;
	}
	if (rc == -EEXIST && already_ours(sock, ifindex, prefix, bits) == 1)
		rc = 0;
	nl_socket_free(sock);
	rtnl_route_put(route);
	return rc;
}

int route_del(unsigned ifindex, const struct addr *prefix, unsigned bits)
{
	struct rtnl_route *route = build(ifindex, prefix, bits);
	struct nl_sock *sock = NULL;
	int rc = route ? netlink_open(&sock) : -ENOMEM;

	if (rc == 0) {
		/* The kernel compares what a request names: ours and its own route differ in protocol and scope. */
		rtnl_route_set_protocol(route, RTPROT_UNSPEC);
		rtnl_route_set_scope(route, RT_SCOPE_NOWHERE);
		rc = rtnl_route_delete(sock, route, 0);
		rc = rc < 0 ? netlink_errno(rc) : 0;
	}
	nl_socket_free(sock);
	rtnl_route_put(route);
	return rc;
}

static bool clashes(const struct entry *e, const struct addr *prefix, unsigned bits, unsigned own,
		    unsigned loopback)
{
	if (e->ifindex == 0 || e->ifindex == own || e->bits == 0 || e->bits < bits)
		return false;
	if (e->table == RT_TABLE_LOCAL && e->ifindex == loopback)
		return false;
	return addr_in_prefix(&e->prefix, prefix, bits);
}

/* The widest of the clashing routes: the network somebody set up, not one of the host routes it brought along. */
static int widest_clash(struct nl_cache *routes, const struct addr *prefix, unsigned bits, unsigned own,
			struct route_clash *clash)
{
	unsigned loopback = if_nametoindex("lo");
	int found = 0;

	for (struct nl_object *o = nl_cache_get_first(routes); o; o = nl_cache_get_next(o)) {
		struct entry e = entry_of((struct rtnl_route *)o);
		if (!clashes(&e, prefix, bits, own, loopback) || (found && e.bits >= clash->bits))
			continue;
		*clash = (struct route_clash) { .prefix = e.prefix, .bits = e.bits };
		if_indextoname(e.ifindex, clash->ifname);
		found = 1;
	}
	return found;
}

int route_find_clash(const struct addr *prefix, unsigned bits, unsigned own_ifindex,
		     struct route_clash *clash)
{
	struct nl_cache *routes;
	struct nl_sock *sock;
	int rc = netlink_open(&sock);

	if (rc)
		return rc;
	rc = dump(sock, prefix, &routes);
	if (rc == 0) {
		rc = widest_clash(routes, prefix, bits, own_ifindex, clash);
		nl_cache_free(routes);
	}
	nl_socket_free(sock);
	return rc;
}
