#include "tun/nat_mark.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stddef.h>
#include <sys/socket.h>

#include "tun/netlink_talk.h"

static const uint8_t families[] = { AF_INET, AF_INET6 };
enum { FAMILIES = sizeof families / sizeof *families };

/* Everything that comes to the table goes into the device. The route vanishes with the device: that it is there says that
 * the value is taken. ifindex 0 with RTM_DELROUTE: whose ever. */
static int route(int type, int flags, uint8_t family, unsigned value, unsigned ifindex)
{
	struct rtmsg header = {
		.rtm_family = family,
		.rtm_table = RT_TABLE_UNSPEC,
		.rtm_protocol = NAT_MARK_PROTOCOL,
		.rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	struct nl_msg *msg = netlink_talk_message(type, flags, &header, sizeof header);

	if (msg) {
		nla_put_u32(msg, RTA_TABLE, NAT_MARK_TABLE + value);
		if (ifindex)
			nla_put_u32(msg, RTA_OIF, ifindex);
	}
	return netlink_talk_once(NETLINK_ROUTE, msg, NULL, NULL);
}

static int rule(int type, int flags, uint8_t family, unsigned value)
{
	struct fib_rule_hdr header = { .family = family, .action = FR_ACT_TO_TBL };
	struct nl_msg *msg = netlink_talk_message(type, flags, &header, sizeof header);

	if (msg) {
		nla_put_u32(msg, FRA_PRIORITY, NAT_MARK_PRIORITY);
		nla_put_u32(msg, FRA_FWMARK, nat_mark_bits(value));
		nla_put_u32(msg, FRA_FWMASK, NAT_MARK_MASK);
		nla_put_u32(msg, FRA_TABLE, NAT_MARK_TABLE + value);
		nla_put_u8(msg, FRA_PROTOCOL, NAT_MARK_PROTOCOL);
	}
	return netlink_talk_once(NETLINK_ROUTE, msg, NULL, NULL);
}

static int add_route(uint8_t family, unsigned value, unsigned ifindex)
{
	return route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, family, value, ifindex);
}

/* Without IPv6, in the kernel or on the device, IPv4 does. */
static int add(unsigned family, unsigned value, unsigned ifindex)
{
	int rc = add_route(families[family], value, ifindex);

	if (rc == 0 || rc == -EEXIST)
		rc = rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, families[family], value);
	return rc == -EEXIST || families[family] == AF_INET6 ? 0 : rc;
}

int nat_mark_keep(unsigned value, unsigned ifindex)
{
	int rc = 0;

	for (unsigned i = 0; i < FAMILIES && !rc; i++)
		rc = add(i, value, ifindex);
	return rc;
}

int nat_mark_take(unsigned ifindex)
{
	for (unsigned value = 1; value <= NAT_MARK_VALUES; value++) {
		int rc = add_route(AF_INET, value, ifindex);
		if (rc == -EEXIST)
			continue;
		if (rc == 0)
			rc = nat_mark_keep(value, ifindex);
		if (rc)
			nat_mark_drop(value);
		return rc ? rc : (int)value;
	}
	return -EBUSY;
}

static void drop_rules(unsigned value)
{
	for (unsigned i = 0; i < FAMILIES; i++)
		rule(RTM_DELRULE, 0, families[i], value);
}

void nat_mark_drop(unsigned value)
{
	drop_rules(value);
	for (unsigned i = 0; i < FAMILIES; i++)
		route(RTM_DELROUTE, 0, families[i], value, 0);
}

/* --- Of those that are no more */

struct living {
	unsigned not ;	 /* the interface that does not count */
	unsigned values; /* a bit for each */
};

static void on_route(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[RTA_MAX + 1];
	struct living *l = arg;

	if (nlmsg_parse(h, sizeof(struct rtmsg), a, RTA_MAX, NULL) < 0 || !a[RTA_TABLE] ||
	    nla_len(a[RTA_TABLE]) < 4 || !a[RTA_OIF] || nla_len(a[RTA_OIF]) < 4)
		return;
	uint32_t value = nla_get_u32(a[RTA_TABLE]) - NAT_MARK_TABLE;
	if (value >= 1 && value <= NAT_MARK_VALUES && nla_get_u32(a[RTA_OIF]) != l->not )
		l->values |= 1U << value;
}

void nat_mark_sweep(unsigned ifindex)
{
	struct rtmsg header = { .rtm_family = AF_INET };
	struct nl_msg *msg = netlink_talk_message(RTM_GETROUTE, NLM_F_DUMP, &header, sizeof header);
	struct living l = { .not = ifindex };

	if (netlink_talk_once(NETLINK_ROUTE, msg, on_route, &l))
		return;
	for (unsigned value = 1; value <= NAT_MARK_VALUES; value++)
		if (!(l.values & 1U << value))
			nat_mark_drop(value);
}
