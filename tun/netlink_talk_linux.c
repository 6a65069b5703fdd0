#include "tun/netlink_talk.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tun/netlink.h"

int netlink_talk_open(struct nl_sock **out, int protocol)
{
	*out = nl_socket_alloc();
	if (!*out)
		return -ENOMEM;
	int rc = nl_connect(*out, protocol);
	if (rc < 0) {
		nl_socket_free(*out);
		*out = NULL;
		return netlink_errno(rc);
	}
	return 0;
}

struct nl_msg *netlink_talk_message(int type, int flags, const void *header, unsigned size)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	if (msg && nlmsg_append(msg, (void *)(uintptr_t)header, size, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

struct nl_msg *netlink_talk_filter(unsigned subsystem, unsigned type, int flags, uint8_t family)
{
	struct nfgenmsg header = { .nfgen_family = family, .version = NFNETLINK_V0 };
	return netlink_talk_message((int)(subsystem << 8 | type), flags, &header, sizeof header);
}

/* One datagram. 1 when it held the end, 0 when more is to come, or the kernel's negative errno. */
static int take(unsigned char *buf, int len, unsigned seq, void (*each)(void *arg, struct nlmsghdr *h),
		void *arg)
{
	for (struct nlmsghdr *h = (struct nlmsghdr *)buf; nlmsg_ok(h, len); h = nlmsg_next(h, &len)) {
		if (h->nlmsg_seq != seq)
			continue;
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR && nlmsg_datalen(h) >= (int)sizeof(struct nlmsgerr)) {
			int e = ((struct nlmsgerr *)nlmsg_data(h))->error;
			return e ? e : 1;
		}
		if (h->nlmsg_type >= NLMSG_MIN_TYPE && each)
			each(arg, h);
	}
	return 0;
}

int netlink_talk(struct nl_sock *sock, struct nl_msg *msg, void (*each)(void *arg, struct nlmsghdr *h),
		 void *arg)
{
	int rc = msg ? nl_send_auto(sock, msg) : -NLE_NOMEM;
	unsigned seq = msg ? nlmsg_hdr(msg)->nlmsg_seq : 0;

	nlmsg_free(msg);
	if (rc < 0)
		return netlink_errno(rc);
	do {
		struct sockaddr_nl from;
		unsigned char *buf = NULL;
		int len = nl_recv(sock, &from, &buf, NULL);
		if (len <= 0)
			return len ? netlink_errno(len) : -EIO;
		rc = take(buf, len, seq, each, arg);
		free(buf);
	} while (rc == 0);
	return rc < 0 ? rc : 0;
}

int netlink_talk_once(int protocol, struct nl_msg *msg, void (*each)(void *arg, struct nlmsghdr *h),
		      void *arg)
{
	struct nl_sock *sock;
	int rc = netlink_talk_open(&sock, protocol);

	if (rc) {
		nlmsg_free(msg);
		return rc;
	}
	rc = netlink_talk(sock, msg, each, arg);
	nl_socket_free(sock);
	return rc;
}
