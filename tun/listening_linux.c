#include "tun/listening.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "tun/netlink_talk.h"

struct looking {
	struct addr at;
	unsigned count;
	bool very, all; /* sockets at that very address, at all addresses */
	uint8_t found[LISTENING_BYTES];
};

static bool is_zero(const uint8_t *ip, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (ip[i])
			return false;
	return true;
}

/* An IPv6 socket on all addresses takes IPv4 as well, unless it was told not to. */
static bool takes(const struct looking *l, const struct inet_diag_msg *m, bool v6only)
{
	const uint8_t *ip = (const uint8_t *)m->id.idiag_src;
	bool v4 = m->idiag_family == AF_INET;

	if (l->very && v4 == (l->at.family == ADDR_V4) && memcmp(ip, l->at.ip, v4 ? 4 : 16) == 0)
		return true;
	return l->all && is_zero(ip, v4 ? 4 : 16) && (v4 == (l->at.family == ADDR_V4) || (!v4 && !v6only));
}

static void on_socket(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[INET_DIAG_MAX + 1];
	struct looking *l = arg;

	if (nlmsg_parse(h, sizeof(struct inet_diag_msg), a, INET_DIAG_MAX, NULL) < 0)
		return;
	const struct inet_diag_msg *m = nlmsg_data(h);
	unsigned offset = (unsigned)ntohs(m->id.idiag_sport) - l->at.port;
	bool v6only = a[INET_DIAG_SKV6ONLY] && nla_len(a[INET_DIAG_SKV6ONLY]) > 0 &&
		      nla_get_u8(a[INET_DIAG_SKV6ONLY]);
	/* A UDP socket that has a peer takes nobody else's packets. */
	if (offset < l->count && m->id.idiag_dport == 0 && takes(l, m, v6only))
		l->found[offset / 8] |= (uint8_t)(1 << offset % 8);
}

static int dump(struct looking *l, enum forward_proto proto, uint8_t family)
{
	struct inet_diag_req_v2 req = {
		.sdiag_family = family,
		.sdiag_protocol = (uint8_t)proto,
		.idiag_ext = 1 << (INET_DIAG_SKV6ONLY - 1) & 0xff,
		.idiag_states = 1U << TCP_LISTEN | 1U << TCP_CLOSE, /* UDP without a peer is "closed" */
	};
	struct nl_msg *msg = netlink_talk_message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof req);
	return netlink_talk_once(NETLINK_SOCK_DIAG, msg, on_socket, l);
}

bool listening_on(enum forward_proto proto, const struct addr *at, unsigned count, uint16_t *missing)
{
	struct looking l = { .at = *at, .count = count, .all = true };

	*missing = at->port;
	if (dump(&l, proto, AF_INET6) && at->family == ADDR_V6)
		return false;
	if (at->family == ADDR_V4 && dump(&l, proto, AF_INET))
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (!(l.found[i / 8] & 1 << i % 8)) {
			*missing = (uint16_t)(at->port + i);
			return false;
		}
	}
	return true;
}

bool listening_at(enum forward_proto proto, const struct addr *at, unsigned count)
{
	struct looking l = { .at = *at, .count = count, .very = true };

	if (dump(&l, proto, at->family == ADDR_V4 ? AF_INET : AF_INET6))
		return true; /* it may be */
	return !is_zero(l.found, sizeof l.found);
}

void listening_ports(enum forward_proto proto, const struct addr *at, uint8_t set[static LISTENING_BYTES])
{
	struct looking l = { .at = *at, .count = UINT16_MAX + 1, .very = true, .all = true };

	if (at->family == ADDR_NONE)
		return;
	l.at.port = 0;
	dump(&l, proto, AF_INET6);
	if (at->family == ADDR_V4)
		dump(&l, proto, AF_INET);
	for (unsigned i = 0; i < LISTENING_BYTES; i++)
		set[i] |= l.found[i];
}
