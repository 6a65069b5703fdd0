/* One request to the kernel by netlink and all of its answers, where libnl has no objects that fit: nf_tables, conntrack,
 * policy rules, listening sockets. Linux only. */
#ifndef P2PD_TUN_NETLINK_TALK_H
#define P2PD_TUN_NETLINK_TALK_H

#include <stdint.h>

struct nl_msg;
struct nl_sock;
struct nlmsghdr;

/* `protocol`: NETLINK_ROUTE ... The socket is to be freed with nl_socket_free. 0 or a negative errno. */
int netlink_talk_open(struct nl_sock **out, int protocol);
/* A request with `size` bytes of `header` after netlink's own; attributes are to be put behind. NULL without memory. */
struct nl_msg *netlink_talk_message(int type, int flags, const void *header, unsigned size);
/* The same for nfnetlink: of `subsystem`, with its header. */
struct nl_msg *netlink_talk_filter(unsigned subsystem, unsigned type, int flags, uint8_t family);
/* Sends `msg` and frees it, NULL is -ENOMEM; `each` (or NULL) is called for each answer. 0 or the kernel's negative errno. */
int netlink_talk(struct nl_sock *sock, struct nl_msg *msg, void (*each)(void *arg, struct nlmsghdr *h),
		 void *arg);
/* As netlink_talk, on a socket of its own. */
int netlink_talk_once(int protocol, struct nl_msg *msg, void (*each)(void *arg, struct nlmsghdr *h),
		      void *arg);

#endif
