#include "tun/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tun/netlink_talk.h"

/* --- Reading */

static uint32_t be32_of(struct nlattr *a)
{
	return a && nla_len(a) >= 4 ? ntohl(nla_get_u32(a)) : 0;
}

static uint16_t be16_of(struct nlattr *a)
{
	return a && nla_len(a) >= 2 ? ntohs(nla_get_u16(a)) : 0;
}

static struct addr ip_of(struct nlattr *v4, struct nlattr *v6, uint16_t port)
{
	if (v4 && nla_len(v4) == 4)
		return addr_from_ip(ADDR_V4, nla_data(v4), port);
	if (v6 && nla_len(v6) == 16)
		return addr_from_ip(ADDR_V6, nla_data(v6), port);
	return (struct addr) { 0 };
}

static bool read_tuple(struct nlattr *tuple, struct addr *from, struct addr *to, uint8_t *proto)
{
	struct nlattr *t[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1], *l4[CTA_PROTO_MAX + 1];

	if (!tuple || nla_parse_nested(t, CTA_TUPLE_MAX, tuple, NULL) < 0 || !t[CTA_TUPLE_IP] ||
	    !t[CTA_TUPLE_PROTO] || nla_parse_nested(ip, CTA_IP_MAX, t[CTA_TUPLE_IP], NULL) < 0 ||
	    nla_parse_nested(l4, CTA_PROTO_MAX, t[CTA_TUPLE_PROTO], NULL) < 0 || !l4[CTA_PROTO_NUM] ||
	    nla_len(l4[CTA_PROTO_NUM]) < 1)
		return false;
	*proto = nla_get_u8(l4[CTA_PROTO_NUM]);
	*from = ip_of(ip[CTA_IP_V4_SRC], ip[CTA_IP_V6_SRC], be16_of(l4[CTA_PROTO_SRC_PORT]));
	*to = ip_of(ip[CTA_IP_V4_DST], ip[CTA_IP_V6_DST], be16_of(l4[CTA_PROTO_DST_PORT]));
	return from->family && to->family;
}

static uint8_t read_tcp_state(struct nlattr *info)
{
	struct nlattr *p[CTA_PROTOINFO_MAX + 1], *tcp[CTA_PROTOINFO_TCP_MAX + 1];

	if (!info || nla_parse_nested(p, CTA_PROTOINFO_MAX, info, NULL) < 0 || !p[CTA_PROTOINFO_TCP] ||
	    nla_parse_nested(tcp, CTA_PROTOINFO_TCP_MAX, p[CTA_PROTOINFO_TCP], NULL) < 0 ||
	    !tcp[CTA_PROTOINFO_TCP_STATE] || nla_len(tcp[CTA_PROTOINFO_TCP_STATE]) < 1)
		return 0;
	return nla_get_u8(tcp[CTA_PROTOINFO_TCP_STATE]);
}

static bool read_flow(struct nlmsghdr *h, struct conntrack_flow *f)
{
	struct nlattr *a[CTA_MAX + 1];
	uint8_t proto;

	if (nlmsg_parse(h, sizeof(struct nfgenmsg), a, CTA_MAX, NULL) < 0 ||
	    !read_tuple(a[CTA_TUPLE_ORIG], &f->from, &f->to, &f->proto) ||
	    !read_tuple(a[CTA_TUPLE_REPLY], &f->back_from, &f->back_to, &proto))
		return false;
	f->id = be32_of(a[CTA_ID]);
	f->mark = be32_of(a[CTA_MARK]);
	f->timeout_s = be32_of(a[CTA_TIMEOUT]);
	f->answered = be32_of(a[CTA_STATUS]) & IPS_SEEN_REPLY;
	f->tcp_state = read_tcp_state(a[CTA_PROTOINFO]);
	return true;
}

struct reading {
	uint32_t mark, mask;
	void (*each)(void *arg, const struct conntrack_flow *f);
	void *arg;
};

static void on_flow(void *arg, struct nlmsghdr *h)
{
	struct conntrack_flow f = { 0 };
	struct reading *r = arg;

	/* A kernel that does not know the filter sends all. */
	if (read_flow(h, &f) && (f.mark & r->mask) == r->mark)
		r->each(r->arg, &f);
}

int conntrack_each(uint32_t mark, uint32_t mask, void (*each)(void *arg, const struct conntrack_flow *f),
		   void *arg)
{
	struct reading r = { mark, mask, each, arg };
	struct nl_msg *msg = netlink_talk_filter(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, NLM_F_DUMP,
						 AF_UNSPEC);

	if (msg) {
		nla_put_u32(msg, CTA_MARK, htonl(mark));
		nla_put_u32(msg, CTA_MARK_MASK, htonl(mask));
	}
	return netlink_talk_once(NETLINK_NETFILTER, msg, on_flow, &r);
}

/* --- Forgetting */

static void put_tuple(struct nl_msg *msg, const struct conntrack_flow *f)
{
	bool v4 = f->from.family == ADDR_V4;
	struct nlattr *tuple = nla_nest_start(msg, CTA_TUPLE_ORIG | NLA_F_NESTED);
	struct nlattr *ip = nla_nest_start(msg, CTA_TUPLE_IP | NLA_F_NESTED);

	nla_put(msg, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, v4 ? 4 : 16, f->from.ip);
	nla_put(msg, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, v4 ? 4 : 16, f->to.ip);
	nla_nest_end(msg, ip);
	struct nlattr *l4 = nla_nest_start(msg, CTA_TUPLE_PROTO | NLA_F_NESTED);
	nla_put_u8(msg, CTA_PROTO_NUM, f->proto);
	nla_put_u16(msg, CTA_PROTO_SRC_PORT, htons(f->from.port));
	nla_put_u16(msg, CTA_PROTO_DST_PORT, htons(f->to.port));
	nla_nest_end(msg, l4);
	nla_nest_end(msg, tuple);
}

int conntrack_delete(const struct conntrack_flow *flows, size_t count)
{
	struct nl_sock *sock;
	int rc = count ? netlink_talk_open(&sock, NETLINK_NETFILTER) : 0;

	if (rc || !count)
		return rc;
	for (size_t i = 0; i < count && !rc; i++) {
		uint8_t family = flows[i].from.family == ADDR_V4 ? AF_INET : AF_INET6;
		struct nl_msg *msg = netlink_talk_filter(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE, 0,
							 family);
		if (msg) {
			put_tuple(msg, &flows[i]);
			nla_put_u32(msg, CTA_ID, htonl(flows[i].id));
		}
		rc = netlink_talk(sock, msg, NULL, NULL);
		rc = rc == -ENOENT ? 0 : rc;
	}
	nl_socket_free(sock);
	return rc;
}

static void on_marked(void *arg, const struct conntrack_flow *f)
{
	conntrack_list_add(arg, f);
}

int conntrack_delete_marked(uint32_t mark, uint32_t mask)
{
	struct conntrack_list list = { 0 };
	int rc = conntrack_each(mark, mask, on_marked, &list);

	if (rc == 0)
		rc = conntrack_delete(list.flows, list.count);
	conntrack_list_free(&list);
	return rc;
}

void conntrack_list_add(struct conntrack_list *l, const struct conntrack_flow *f)
{
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 16;
		struct conntrack_flow *more = realloc(l->flows, room * sizeof *more);
		if (!more)
			return;
		l->flows = more;
		l->room = room;
	}
	l->flows[l->count++] = *f;
}

void conntrack_list_free(struct conntrack_list *l)
{
	free(l->flows);
	*l = (struct conntrack_list) { 0 };
}
