#include "tun/nat_switch.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 96 };

static const struct {
	int family;
	const char *name;
	int off, on;
} settings[NAT_SWITCHES] = {
	[NAT_SWITCH_FORWARD4] = { 4, "forwarding", 0, 1 },
	[NAT_SWITCH_FORWARD6] = { 6, "force_forwarding", 0, 1 },
	[NAT_SWITCH_RA] = { 6, "accept_ra", 1, 2 },
	[NAT_SWITCH_ALL6] = { 6, "forwarding", 0, 1 },
};

static void path_of(char out[static PATH_ROOM], int family, const char *where, const char *name)
{
	snprintf(out, PATH_ROOM, "/proc/sys/net/ipv%d/conf/%s/%s", family, where, name);
}

/* -1: there is no such setting. */
static int get(int family, const char *where, const char *name)
{
	char path[PATH_ROOM], text[16] = "";

	path_of(path, family, where, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	return n > 0 ? (int)strtol(text, NULL, 10) : -1;
}

static int set(int family, const char *where, const char *name, int value)
{
	char path[PATH_ROOM], text[16];
	int len = snprintf(text, sizeof text, "%d\n", value);

	path_of(path, family, where, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = write(fd, text, (size_t)len) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

/* "all" for interface 0; false if there is none of that number. */
static bool where_is(unsigned ifindex, char out[static IF_NAMESIZE])
{
	if (ifindex)
		return if_indextoname(ifindex, out);
	strcpy(out, "all");
	return true;
}

static int value_of(struct nat_switch s)
{
	char where[IF_NAMESIZE];
	return where_is(s.ifindex, where) ? get(settings[s.what].family, where, settings[s.what].name) : -1;
}

static int change(struct nat_switch s, int from, int to)
{
	char where[IF_NAMESIZE];

	if (!where_is(s.ifindex, where) || value_of(s) != from)
		return 0;
	return set(settings[s.what].family, where, settings[s.what].name, to);
}

int nat_switch_on(struct nat_switch s)
{
	return change(s, settings[s.what].off, settings[s.what].on);
}

/* Who switches forwarding on for the whole host sets it for all interfaces: from then on it is theirs. */
static bool overtaken(struct nat_switch s)
{
	if (s.what == NAT_SWITCH_FORWARD4)
		return get(4, "all", "forwarding") == 1;
	return s.what == NAT_SWITCH_FORWARD6 && get(6, "all", "forwarding") == 1;
}

void nat_switch_off(struct nat_switch s)
{
	if (!overtaken(s))
		change(s, settings[s.what].on, settings[s.what].off);
}

bool nat_switch_has(const struct nat_switch_list *l, struct nat_switch s)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->list[i].what == s.what && l->list[i].ifindex == s.ifindex)
			return true;
	return false;
}

static void add(struct nat_switch_list *l, struct nat_switch s)
{
	if (!nat_switch_has(l, s) && l->count < NAT_SWITCH_LIST)
		l->list[l->count++] = s;
}

static void want(struct nat_switch_list *l, enum nat_switch_what what, unsigned ifindex)
{
	struct nat_switch s = { what, ifindex };

	if (value_of(s) == settings[what].off)
		add(l, s);
}

bool nat_switch_forwards(enum addr_family family, unsigned ifindex)
{
	char where[IF_NAMESIZE];

	if (!where_is(ifindex, where))
		return false;
	if (family == ADDR_V4)
		return get(4, where, "forwarding") == 1;
	return get(6, "all", "forwarding") == 1 || get(6, where, "force_forwarding") == 1;
}

/* What is on because of us stays ours, unless somebody else has made the host a router meanwhile. */
static bool keep_ours(struct nat_switch_list *l, const struct nat_switch_list *ours, enum addr_family family,
		      unsigned ifindex)
{
	struct nat_switch one = { family == ADDR_V4 ? NAT_SWITCH_FORWARD4 : NAT_SWITCH_FORWARD6, ifindex };
	struct nat_switch all = { NAT_SWITCH_ALL6, 0 };
	bool kept = nat_switch_has(ours, one) && !overtaken(one) && value_of(one) == settings[one.what].on;

	if (kept)
		add(l, one);
	if (family == ADDR_V4 || !nat_switch_has(ours, all) || value_of(all) != settings[all.what].on)
		return kept;
	for (size_t i = 0; i < ours->count; i++)
		if (ours->list[i].what == NAT_SWITCH_RA || ours->list[i].what == NAT_SWITCH_ALL6)
			add(l, ours->list[i]);
	return true;
}

static void want_all6(struct nat_switch_list *l)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *i = all; i && i->if_index; i++)
		want(l, NAT_SWITCH_RA, i->if_index);
	if_freenameindex(all);
	want(l, NAT_SWITCH_ALL6, 0);
}

void nat_switch_want_forward(struct nat_switch_list *l, const struct nat_switch_list *ours,
			     enum addr_family family, unsigned ifindex)
{
	if (keep_ours(l, ours, family, ifindex) || nat_switch_forwards(family, ifindex))
		return;
	if (family == ADDR_V4)
		want(l, NAT_SWITCH_FORWARD4, ifindex);
	else if (get(6, "all", "force_forwarding") >= 0)
		want(l, NAT_SWITCH_FORWARD6, ifindex);
	else
		want_all6(l);
}

int nat_switch_loosen(unsigned ifindex)
{
	enum {
		STRICT = 1,
		LOOSE = 2
	}; /* ip-sysctl.rst, rp_filter: the larger of the interface's and "all" counts */
	char where[IF_NAMESIZE];

	if (!where_is(ifindex, where))
		return -ENODEV;
	int own = get(4, where, "rp_filter"), all = get(4, "all", "rp_filter");
	return (own > all ? own : all) == STRICT ? set(4, where, "rp_filter", LOOSE) : 0;
}
