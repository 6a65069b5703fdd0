/* What netif and route share of libnl: a socket, addresses to and fro, errors as errnos. Linux only. */
#ifndef P2PD_TUN_NETLINK_H
#define P2PD_TUN_NETLINK_H

#include "core/addr.h"

struct nl_addr;
struct nl_sock;

/* A connected rtnetlink socket, to be freed with nl_socket_free. 0 or a negative errno. */
int netlink_open(struct nl_sock **out);
/* A negative errno for the (negative) error of a libnl call. */
int netlink_errno(int nlerr);
/* ip/bits, to be released with nl_addr_put; NULL without memory. */
struct nl_addr *netlink_from_addr(const struct addr *addr, unsigned bits);
/* ADDR_NONE for NULL and for what is not IPv4 or IPv6. The port is 0. */
struct addr netlink_to_addr(const struct nl_addr *na);

#endif
