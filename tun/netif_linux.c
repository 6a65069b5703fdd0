#include "tun/netif.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tun/netlink.h"

static bool link_is_up(struct nl_cache *links, int ifindex)
{
	struct rtnl_link *link = rtnl_link_get(links, ifindex);
	bool up = link && rtnl_link_get_flags(link) & IFF_UP;

	if (link)
		rtnl_link_put(link);
	return up;
}

/* ADDR_NONE for an address that nothing can be sent from: duplicate, or not yet known to be none. */
static struct netif_addr entry_of(struct rtnl_addr *ra)
{
	struct nl_addr *local = rtnl_addr_get_local(ra);
	struct netif_addr e = { .addr = netlink_to_addr(local),
				.ifindex = (unsigned)rtnl_addr_get_ifindex(ra) };

	if (rtnl_addr_get_flags(ra) & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
		e.addr.family = ADDR_NONE;
	if (e.addr.family == ADDR_V6 && addr_is_link_local(&e.addr))
		e.addr.scope = e.ifindex;
	e.bits = (unsigned)rtnl_addr_get_prefixlen(ra);
	return e;
}

static int collect(struct nl_cache *addrs, struct nl_cache *links, struct netif_addr *out, size_t cap,
		   unsigned skip)
{
	size_t n = 0;

	for (struct nl_object *o = nl_cache_get_first(addrs); o && n < cap; o = nl_cache_get_next(o)) {
		struct netif_addr e = entry_of((struct rtnl_addr *)o);
		if (e.addr.family != ADDR_NONE && e.ifindex != skip && link_is_up(links, (int)e.ifindex))
			out[n++] = e;
	}
	return (int)n;
}

int netif_list(struct netif_addr *out, size_t cap, unsigned skip_ifindex)
{
	struct nl_cache *links = NULL, *addrs = NULL;
	struct nl_sock *sock;
	int rc = netlink_open(&sock);

	if (rc)
		return rc;
	rc = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);
	if (rc == 0)
		rc = rtnl_addr_alloc_cache(sock, &addrs);
	rc = rc < 0 ? netlink_errno(rc) : collect(addrs, links, out, cap, skip_ifindex);
	nl_cache_free(addrs);
	nl_cache_free(links);
	nl_socket_free(sock);
	return rc;
}

static int change_addr(unsigned ifindex, const struct addr *addr, unsigned bits, bool add)
{
	struct rtnl_addr *ra = rtnl_addr_alloc();
	struct nl_addr *local = netlink_from_addr(addr, bits);
	struct nl_sock *sock = NULL;
	int rc = ra && local ? netlink_open(&sock) : -ENOMEM;

	if (rc)
		goto out;
	rtnl_addr_set_ifindex(ra, (int)ifindex);
	/* Nobody else is on our device to have the same address; without this it could not be used at once. */
	if (addr->family == ADDR_V6)
		rtnl_addr_set_flags(ra, IFA_F_NODAD);
	rc = rtnl_addr_set_local(ra, local);
	if (rc == 0)
		rc = add ? rtnl_addr_add(sock, ra, 0) : rtnl_addr_delete(sock, ra, 0);
	rc = rc < 0 ? netlink_errno(rc) : 0;
out:
	nl_socket_free(sock);
	nl_addr_put(local);
	rtnl_addr_put(ra);
	return rc;
}

int netif_add_addr(unsigned ifindex, const struct addr *addr, unsigned bits)
{
	return change_addr(ifindex, addr, bits, true);
}

int netif_del_addr(unsigned ifindex, const struct addr *addr, unsigned bits)
{
	return change_addr(ifindex, addr, bits, false);
}

static int change_link(struct nl_sock *sock, unsigned ifindex, struct rtnl_link *change)
{
	struct rtnl_link *device = rtnl_link_alloc();
	int rc = -NLE_NOMEM;

	if (device) {
		rtnl_link_set_ifindex(device, (int)ifindex);
		rc = rtnl_link_change(sock, device, change, 0);
	}
	rtnl_link_put(device);
	return rc < 0 ? netlink_errno(rc) : 0;
}

/* No link-local address, and so no router solicitations and multicast reports into the overlay. Asked for before the
 * device is up; a host without IPv6 refuses, and needs it not. */
static void without_link_local(struct nl_sock *sock, unsigned ifindex)
{
	struct rtnl_link *change = rtnl_link_alloc();

	if (change && rtnl_link_inet6_set_addr_gen_mode(change, IN6_ADDR_GEN_MODE_NONE) == 0)
		change_link(sock, ifindex, change);
	rtnl_link_put(change);
}

int netif_up(unsigned ifindex, unsigned mtu)
{
	struct rtnl_link *change = rtnl_link_alloc();
	struct nl_sock *sock = NULL;
	int rc = change ? netlink_open(&sock) : -ENOMEM;

	if (rc)
		goto out;
	without_link_local(sock, ifindex);
	rtnl_link_set_mtu(change, mtu);
	rtnl_link_set_flags(change, IFF_UP);
	rc = change_link(sock, ifindex, change);
out:
	nl_socket_free(sock);
	rtnl_link_put(change);
	return rc;
}

int netif_set_queue(unsigned ifindex, unsigned packets)
{
	struct rtnl_link *change = rtnl_link_alloc();
	struct nl_sock *sock = NULL;
	int rc = change ? netlink_open(&sock) : -ENOMEM;

	if (rc == 0) {
		rtnl_link_set_txqlen(change, packets);
		rc = change_link(sock, ifindex, change);
	}
	nl_socket_free(sock);
	rtnl_link_put(change);
	return rc;
}

/* libnl can read this but not set it. It goes for IPv6, and up to 65,536 for IPv4, too: above that, IPv4 has an attribute
 * of its own since Linux 6.3. */
int netif_set_gso_max(unsigned ifindex, unsigned bytes)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, 0);
	struct nl_sock *sock = NULL;
	int rc = msg ? netlink_open(&sock) : -ENOMEM;

	if (rc)
		goto out;
	rc = nlmsg_append(msg, &info, sizeof info, NLMSG_ALIGNTO);
	if (rc == 0)
		rc = nla_put_u32(msg, IFLA_GSO_MAX_SIZE, bytes);
	if (rc == 0) {
		rc = nl_send_sync(sock, msg);
		msg = NULL; /* it was released */
	}
	rc = rc < 0 ? netlink_errno(rc) : 0;
out:
	nlmsg_free(msg);
	nl_socket_free(sock);
	return rc;
}

uint32_t netif_carrier_changes(unsigned ifindex)
{
	struct rtnl_link *link = NULL;
	struct nl_sock *sock;
	uint32_t count = 0;

	if (netlink_open(&sock))
		return 0;
	if (rtnl_link_get_kernel(sock, (int)ifindex, NULL, &link) == 0) {
		rtnl_link_get_carrier_changes(link, &count);
		rtnl_link_put(link);
	}
	nl_socket_free(sock);
	return count;
}

int netif_watch_open(void)
{
	struct sockaddr_nl groups = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
			     RTMGRP_IPV6_ROUTE,
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&groups, sizeof groups) < 0) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

void netif_watch_drain(int fd)
{
	char buf[1]; /* what changed is of no interest: the caller lists anew */

	/* ENOBUFS: more changed than the socket could hold; it says so once and goes on. */
	while (recv(fd, buf, sizeof buf, 0) >= 0 || errno == ENOBUFS || errno == EINTR)
		;
}
