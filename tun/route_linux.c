#include "tun/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tun/netif.h"
#include "tun/netlink.h"
#include "tun/netlink_talk.h"

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

/* --- The way out */

/* The gateway of a default route of the main table, or ADDR_NONE. */
static struct addr gateway_of(struct rtnl_route *route, unsigned skip, unsigned *ifindex)
{
	struct entry e = entry_of(route);
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);
	struct addr gateway = { 0 };

	if (!hop || e.bits || e.table != RT_TABLE_MAIN || rtnl_route_get_type(route) != RTN_UNICAST ||
	    e.ifindex == skip)
		return gateway;
	gateway = netlink_to_addr(rtnl_route_nh_get_gateway(hop));
	if (addr_is_link_local(&gateway) && gateway.family == ADDR_V6)
		gateway.scope = e.ifindex;
	*ifindex = e.ifindex;
	return gateway;
}

static void find_gateway(struct nl_cache *routes, unsigned skip, struct lan *out)
{
	uint32_t least = UINT32_MAX;

	for (struct nl_object *o = nl_cache_get_first(routes); o; o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;
		unsigned ifindex = 0;
		struct addr gateway = gateway_of(route, skip, &ifindex);
		if (!gateway.family || (out->gateway.family && rtnl_route_get_priority(route) >= least))
			continue;
		least = rtnl_route_get_priority(route);
		out->gateway = gateway;
		out->ifindex = ifindex;
	}
}

/* The address that the kernel chooses as the source; nothing is sent. */
static int source_towards(const struct addr *to, struct addr *out)
{
	struct sockaddr_storage ss;
	unsigned size = addr_to_sockaddr(to, &ss);
	socklen_t got = sizeof ss;
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	int rc = connect(fd, (struct sockaddr *)&ss, size);
	if (rc == 0)
		rc = getsockname(fd, (struct sockaddr *)&ss, &got);
	rc = rc < 0 ? -errno : 0;
	close(fd);
	*out = rc ? (struct addr) { 0 } : addr_from_sockaddr((struct sockaddr *)&ss);
	out->port = 0;
	return rc;
}

static int find_local(struct lan *out)
{
	enum { LISTED = 256 };
	static const uint8_t anywhere[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	struct netif_addr listed[LISTED];
	struct addr to = out->gateway;
	int n = netif_list(listed, LISTED, 0);

	/* Towards an IPv6 gateway's link-local address it would be a link-local one. */
	if (to.family == ADDR_V6)
		to = addr_from_ip(ADDR_V6, anywhere, 0);
	to.port = 9;
	int rc = source_towards(&to, &out->local);
	for (int i = 0; i < n && !rc; i++)
		if (listed[i].ifindex == out->ifindex && addr_same_ip(&listed[i].addr, &out->local)) {
			out->bits = listed[i].bits;
			return 0;
		}
	return rc ? rc : -ENOENT;
}

int route_default(enum addr_family family, unsigned skip_ifindex, struct lan *out)
{
	struct nl_cache *routes;
	struct nl_sock *sock;
	int rc = netlink_open(&sock);

	*out = (struct lan) { 0 };
	if (rc)
		return rc;
	rc = dump(sock, &(struct addr) { .family = (uint8_t)family }, &routes);
	nl_socket_free(sock);
	if (rc)
		return rc;
	find_gateway(routes, skip_ifindex, out);
	nl_cache_free(routes);
	rc = out->gateway.family ? find_local(out) : -ENOENT;
	if (rc)
		*out = (struct lan) { 0 };
	return rc;
}

static void on_towards(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[RTA_MAX + 1];

	if (nlmsg_parse(h, sizeof(struct rtmsg), a, RTA_MAX, NULL) >= 0 && a[RTA_OIF] &&
	    nla_len(a[RTA_OIF]) >= 4)
		*(unsigned *)arg = nla_get_u32(a[RTA_OIF]);
}

int route_towards(const struct addr *to, unsigned *ifindex)
{
	bool v4 = to->family == ADDR_V4;
	struct rtmsg header = { .rtm_family = v4 ? AF_INET : AF_INET6, .rtm_dst_len = v4 ? 32 : 128 };
	struct nl_msg *msg = netlink_talk_message(RTM_GETROUTE, 0, &header, sizeof header);

	*ifindex = 0;
	if (msg)
		nla_put(msg, RTA_DST, v4 ? 4 : 16, to->ip);
	int rc = netlink_talk_once(NETLINK_ROUTE, msg, on_towards, ifindex);
	return rc || *ifindex ? rc : -ENETUNREACH;
}
