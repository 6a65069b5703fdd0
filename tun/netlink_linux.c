#include "tun/netlink.h"

#include <errno.h>
#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

int netlink_errno(int nlerr)
{
	static const struct {
		int nle, e;
	} known[] = {
		{ NLE_EXIST, EEXIST },
		{ NLE_PERM, EPERM },
		{ NLE_NOACCESS, EACCES },
		{ NLE_NOMEM, ENOMEM },
		{ NLE_INVAL, EINVAL },
		{ NLE_NODEV, ENODEV },
		{ NLE_BUSY, EBUSY },
		{ NLE_RANGE, ERANGE },
		{ NLE_OBJ_NOTFOUND, ENOENT },
		{ NLE_NOADDR, EADDRNOTAVAIL },
		{ NLE_AF_NOSUPPORT, EAFNOSUPPORT },
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (known[i].nle == -nlerr)
			return -known[i].e;
	}
	return -EIO;
}

int netlink_open(struct nl_sock **out)
{
	*out = nl_socket_alloc();
	if (!*out)
		return -ENOMEM;
	int rc = nl_connect(*out, NETLINK_ROUTE);
	if (rc < 0) {
		nl_socket_free(*out);
		*out = NULL;
		return netlink_errno(rc);
	}
	return 0;
}

struct nl_addr *netlink_from_addr(const struct addr *addr, unsigned bits)
{
	bool v4 = addr->family == ADDR_V4;
	struct nl_addr *na = nl_addr_build(v4 ? AF_INET : AF_INET6, addr->ip, v4 ? 4 : 16);
	if (na)
		nl_addr_set_prefixlen(na, (int)bits);
	return na;
}

struct addr netlink_to_addr(const struct nl_addr *na)
{
	unsigned want = na && nl_addr_get_family(na) == AF_INET ? 4 : 16;
	int family = na ? nl_addr_get_family(na) : AF_UNSPEC;

	if ((family != AF_INET && family != AF_INET6) || nl_addr_get_len(na) != want)
		return (struct addr) { 0 };
	return addr_from_ip(family == AF_INET ? ADDR_V4 : ADDR_V6, nl_addr_get_binary_addr(na), 0);
}
