#include "tun/nat_reach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "tun/listening.h"
#include "tun/netif.h"
#include "tun/route.h"

enum { ADDRS_MAX = 256 };

struct own {
	struct netif_addr list[ADDRS_MAX];
	int count;
};

static void read_own(struct own *own)
{
	int count = netif_list(own->list, ADDRS_MAX, 0);
	own->count = count < 0 ? 0 : count;
}

static bool is_own(const struct own *own, const struct addr *a)
{
	for (int i = 0; i < own->count; i++)
		if (addr_same_ip(&own->list[i].addr, a))
			return true;
	return false;
}

/* The address of ours that a program which listens on all of them answers visitors from: with UDP the one that its routes
 * choose, with TCP any that it was asked at. */
static struct addr answers_from(const struct nat_reach *r, const struct forward_entry *e)
{
	struct addr a = e->listen.family == ADDR_V4 ? r->ip4 : r->ip6;
	struct lan lan;

	if (e->proto == FORWARD_UDP && (e->gateway4.family || e->gateway6.family) &&
	    route_default(e->listen.family, r->ifindex, &lan) == 0)
		a = lan.local;
	a.port = e->target.port;
	return a;
}

/* An answer from another address than the one that was asked would not be changed back. */
static bool answers_from_elsewhere(const struct forward_entry *e, const struct addr *a)
{
	struct own own;

	if (e->proto != FORWARD_UDP || e->side != FORWARD_OWNER || addr_same_ip(a, &e->target))
		return false;
	read_own(&own);
	return is_own(&own, &e->target) && !listening_at(e->proto, &e->target, e->count) &&
	       !listening_at(e->proto, a, e->count);
}

/* A program that listens on all addresses of the host hears of a port of one at any other. */
struct addr nat_reach_target(const struct nat_reach *r, const struct forward_entry *e)
{
	struct addr a = answers_from(r, e);

	return addr_is_loopback(&e->target) || answers_from_elsewhere(e, &a) ? a : e->target;
}

/* --- Whether it can be */

__attribute__((format(printf, 3, 4))) static int cannot(char *why, size_t cap, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, cap, fmt, args);
	va_end(args);
	return -ENOTSUP;
}

static int can_loopback(const struct nat_reach *r, const struct forward_entry *e, char *why, size_t cap)
{
	char text[ADDR_TEXT_MAX];
	struct addr at = nat_reach_target(r, e);
	uint16_t missing;

	if (listening_on(e->proto, &at, e->count, &missing))
		return 0;
	return cannot(why, cap, "%s is loopback, and no program listens on port %u of all addresses",
		      addr_format_ip(&e->target, text), missing);
}

static int can_lan(const struct nat_reach *r, const struct forward_entry *e, char *why, size_t cap)
{
	char text[ADDR_TEXT_MAX];
	unsigned ifindex;
	struct lan lan;
	int rc = route_towards(&e->target, &ifindex);

	addr_format_ip(&e->target, text);
	if (rc)
		return cannot(why, cap, "there is no route to %s", text);
	if (ifindex == r->ifindex)
		return cannot(why, cap, "%s is in the overlay itself", text);
	if (!nat_switch_forwards(e->target.family, ifindex))
		return cannot(why, cap,
			      "this host is no router: answers of %s would not come back through it", text);
	/* Then it has the same way out as we, and that is not us. */
	if (route_default(e->target.family, r->ifindex, &lan) == 0 && lan.ifindex == ifindex)
		return cannot(why, cap, "this host is not the router of %s: its answers would go another way",
			      text);
	return 0;
}

int nat_reach_can(const struct nat_reach *r, const struct forward_entry *e, char *why, size_t cap)
{
	bool v4 = e->listen.family == ADDR_V4;
	struct own own;

	if (e->listen.family != e->target.family)
		return cannot(why, cap, "visitors come by IPv%d, but the service is at an IPv%d address",
			      v4 ? 4 : 6, v4 ? 6 : 4);
	read_own(&own);
	if (e->side == FORWARD_GATEWAY)
		return is_own(&own, &e->target) ? cannot(why, cap, "the service is on the gateway itself")
						: 0;
	if (addr_is_loopback(&e->target))
		return can_loopback(r, e, why, cap);
	return is_own(&own, &e->target) ? 0 : can_lan(r, e, why, cap);
}

/* --- What it needs */

/* Visitors come by the interface that has the address, or by the one that leads to the internet. */
static void want_for_visitors(const struct nat_reach *r, const struct own *own, const struct forward_entry *e,
			      const struct nat_switch_list *ours, struct nat_switch_list *want)
{
	enum addr_family family = e->listen.family;
	struct lan lan;

	for (int i = 0; i < own->count; i++)
		if (addr_same_ip(&own->list[i].addr, &e->listen))
			nat_switch_want_forward(want, ours, family, own->list[i].ifindex);
	if (route_default(family, r->ifindex, &lan) == 0)
		nat_switch_want_forward(want, ours, family, lan.ifindex);
}

/* One look at the host for all entries that are alike in this. */
static bool seen_before(const struct forward_entry *entries, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (entries[k].side == FORWARD_GATEWAY &&
		    addr_same_ip(&entries[k].listen, &entries[i].listen))
			return true;
	return false;
}

void nat_reach_switches(const struct nat_reach *r, const struct forward_entry *entries, size_t count,
			const struct nat_switch_list *ours, struct nat_switch_list *want)
{
	struct own own;
	bool by_tunnel[ADDR_V6 + 1] = { false };

	want->count = 0;
	read_own(&own);
	for (size_t i = 0; i < count; i++) {
		const struct forward_entry *e = &entries[i];
		bool gateway = e->side == FORWARD_GATEWAY;
		if (gateway && !seen_before(entries, i))
			want_for_visitors(r, &own, e, ours, want);
		by_tunnel[e->listen.family] |= gateway || !is_own(&own, &e->target);
	}
	for (unsigned family = ADDR_V4; family <= ADDR_V6; family += ADDR_V6 - ADDR_V4)
		if (by_tunnel[family])
			nat_switch_want_forward(want, ours, family, r->ifindex);
}
