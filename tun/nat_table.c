#include "tun/nat_table.h"

#include <stdlib.h>
#include <string.h>

/* Connections that have been ended are remembered for so long, and no more than so many: 100 bytes of the kernel's each. */
enum { ENDED_S = 900, ENDED_MAX = 65536 };

const struct nat_family nat_families[2] = { { "ip", "ipv4_addr", '4' }, { "ip6", "ipv6_addr", '6' } };
const struct nat_proto nat_protos[2] = { { "tcp", FORWARD_TCP }, { "udp", FORWARD_UDP } };

char nat_table_digit(const struct addr *a)
{
	return a->family == ADDR_V4 ? '4' : '6';
}

/* --- Names */

void nat_table_name(char out[static NAT_TABLE_MAX], const char *tun)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

	snprintf(out, NAT_TABLE_MAX, NAT_TABLE_PREFIX "%s", tun);
	for (char *c = out; *c; c++)
		if (!strchr(plain, *c))
			*c = '_';
}

const char *nat_table_id(const uint8_t id[static FORWARD_ID], char out[static NAT_ID_TEXT])
{
	for (int i = 0; i < FORWARD_ID; i++)
		snprintf(out + i * 2, 3, "%02x", id[i]);
	return out;
}

static bool read_id(const char *text, uint8_t id[static FORWARD_ID])
{
	if (strlen(text) != NAT_ID_TEXT - 1 || strspn(text, "0123456789abcdef") != NAT_ID_TEXT - 1)
		return false;
	for (int i = 0; i < FORWARD_ID; i++) {
		char two[3] = { text[i * 2], text[i * 2 + 1] };
		id[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	return true;
}

bool nat_table_counter(const char *name, uint8_t id[static FORWARD_ID], enum nat_count *what,
		       enum forward_reject *why)
{
	static const char *const plain[] = { "in", "out", "total" };
	size_t len = strlen(name);

	if (len < NAT_ID_TEXT || !read_id(name + len - (NAT_ID_TEXT - 1), id))
		return false;
	len -= NAT_ID_TEXT;
	for (*what = 0; *what < NAT_COUNT_REJECTED; (*what)++)
		if (strlen(plain[*what]) == len && strncmp(name, plain[*what], len) == 0)
			return true;
	for (*why = 0; (int)*why < NAT_REJECTS; (*why)++)
		if (strlen(forward_reject_name(*why)) == len &&
		    strncmp(name, forward_reject_name(*why), len) == 0)
			return true;
	return false;
}

/* The number behind `prefix`; *at is behind it then. */
static bool read_number(const char **at, const char *prefix, unsigned *out)
{
	size_t len = strlen(prefix);
	unsigned long number;
	char *end;

	if (strncmp(*at, prefix, len) != 0)
		return false;
	number = strtoul(*at + len, &end, 10);
	if (end == *at + len || number > UINT32_MAX)
		return false;
	*out = (unsigned)number;
	*at = end;
	return true;
}

bool nat_table_is_mark(const char *name, unsigned *value)
{
	return read_number(&name, "mark_", value);
}

bool nat_table_is_switch(const char *name, struct nat_switch *s)
{
	unsigned what;

	if (!read_number(&name, "was_", &what) || !read_number(&name, "_", &s->ifindex) ||
	    what >= NAT_SWITCHES)
		return false;
	s->what = what;
	return true;
}

/* --- The table */

static void base_sets(FILE *out)
{
	for (size_t i = 0; i < 2; i++) {
		const char *type = nat_families[i].type;
		char d = nat_families[i].digit;
		for (size_t p = 0; p < 2; p++)
			fprintf(out, "map %s%c { type %s . inet_service : verdict; flags interval; }\n",
				nat_protos[p].name, d, type);
		fprintf(out, "map to%c { type %s . inet_proto . inet_service : %s . inet_service; }\n", d,
			type, type);
		fprintf(out, "set owners%c { type %s . inet_proto . inet_service; flags interval; }\n", d,
			type);
		fprintf(out,
			"set inlets%c { type %s . inet_proto . inet_service; flags interval; auto-merge; }\n",
			d, type);
		fprintf(out,
			"set ended%c { type %s . inet_service . %s . inet_service; flags timeout; timeout "
			"%ds; "
			"size %d; }\n",
			d, type, type, ENDED_S, ENDED_MAX);
	}
}

/* At an overlay address only who comes by the tunnel is one who may. */
static void base_inlets(FILE *out, const struct nat_frame *f)
{
	const struct addr *prefixes[] = { &f->prefix4, &f->prefix6 };
	const unsigned bits[] = { f->bits4, f->bits6 };
	char ip[ADDR_TEXT_MAX];

	fprintf(out, "chain inlets {\n");
	for (size_t i = 0; i < 2; i++) {
		if (!prefixes[i]->family)
			continue;
		addr_format_ip(prefixes[i], ip);
		fprintf(out, "iifname \"%s\" %s daddr != %s/%u return\n", f->tun, nat_families[i].ip, ip,
			bits[i]);
		fprintf(out, "iifname != \"%s\" %s daddr %s/%u return\n", f->tun, nat_families[i].ip, ip,
			bits[i]);
	}
	for (size_t i = 0; i < 2; i++)
		fprintf(out,
			"%s daddr . meta l4proto . th dport @inlets%c ct mark set ct mark and %#x or %#x "
			"accept\n",
			nat_families[i].ip, nat_families[i].digit, ~f->mask, f->mark);
	fprintf(out, "}\n");
}

/* Most packets of the host are none of ours, those that carry the tunnel among them: for them two rules must do. */
static void base_dispatch(FILE *out, const struct nat_frame *f, const char *ours, const char *route)
{
	base_inlets(out, f);
	fprintf(out, "chain live {\n");
	for (size_t i = 0; i < 4; i++)
		fprintf(out, "meta l4proto %s ct original %s daddr . ct original proto-dst vmap @%s%c\n",
			nat_protos[i % 2].name, nat_families[i / 2].ip, nat_protos[i % 2].name,
			nat_families[i / 2].digit);
	fprintf(out,
		"}\nchain known { iifname != \"%s\" ct direction reply %s\ngoto live\n}\nchain fresh {\n",
		f->tun, route);
	for (size_t i = 0; i < 4; i++)
		fprintf(out, "%s daddr . %s dport vmap @%s%c\n", nat_families[i / 2].ip,
			nat_protos[i % 2].name, nat_protos[i % 2].name, nat_families[i / 2].digit);
	fprintf(out,
		"jump inlets\n}\n"
		"chain enter { type filter hook prerouting priority mangle - 5; policy accept;\n"
		"%s goto known\nct state new goto fresh\n}\n",
		ours);
}

static void base_forward(FILE *out, const struct nat_frame *f, const char *ours)
{
	fprintf(out, "chain closed { }\nchain refuse_ended { ");
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "%s saddr . th sport . %s daddr . th dport @ended%c goto refuse\n",
			nat_families[i].ip, nat_families[i].ip, nat_families[i].digit);
	fprintf(out, "}\nchain pass {\n"
		     "tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu\naccept\n}\n");
	fprintf(out,
		"chain through { type filter hook forward priority filter - 5; policy accept;\n"
		"%s goto pass\n",
		ours);
	fprintf(out, "meta l4proto tcp jump refuse_ended\n");
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "iifname \"%s\" %s saddr . meta l4proto . th sport @owners%c goto refuse\n",
			f->tun, nat_families[i].ip, nat_families[i].digit);
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "oifname \"%s\" %s daddr . meta l4proto . th dport @owners%c drop\n", f->tun,
			nat_families[i].ip, nat_families[i].digit);
	fprintf(out, "iifname \"%s\" meta l4proto { icmp, icmpv6 } ct state invalid drop\njump closed\n}\n",
		f->tun);
}

/* Of connections that came by the tunnel: those that a gateway refuses are answered where they came from. What we refuse is
 * sent here too, and has neither an id's counts nor its limits. */
static void base_leave(FILE *out, const struct nat_frame *f, const char *ours, const char *route)
{
	const struct addr *prefixes[] = { &f->prefix4, &f->prefix6 };
	const unsigned bits[] = { f->bits4, f->bits6 };
	char ip[ADDR_TEXT_MAX];

	fprintf(out, "chain answer {\n");
	for (size_t i = 0; i < 2; i++)
		if (prefixes[i]->family)
			fprintf(out, "ct direction reply ct original %s daddr %s/%u %s\n", nat_families[i].ip,
				addr_format_ip(prefixes[i], ip), bits[i], route);
	fprintf(out,
		"ct state related accept\ngoto live\n}\n"
		"chain leave { type route hook output priority mangle - 5; policy accept;\n"
		"%s goto answer\nmeta l4proto tcp jump refuse_ended\n}\n}\n",
		ours);
}

void nat_table_base(FILE *out, const struct nat_frame *f, unsigned mark_value)
{
	char ours[64], route[128];

	snprintf(ours, sizeof ours, "ct mark and %#x == %#x", f->mask, f->mark);
	snprintf(route, sizeof route, "meta mark set meta mark and %#x or %#x", ~f->mask, f->mark);
	fprintf(out, "table inet %s {\ncounter mark_%u { }\n", f->table, mark_value);
	base_sets(out);
	/* To who comes to a port where nothing is, the kernel answers the same. */
	fprintf(out, "chain refuse { meta l4proto tcp reject with tcp reset\n"
		     "reject with icmpx type port-unreachable\n}\n");
	base_dispatch(out, f, ours, route);
	fprintf(out, "chain turn { type nat hook prerouting priority dstnat - 5; policy accept;\n");
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "%s dnat %s to %s daddr . meta l4proto . th dport map @to%c\n", ours,
			nat_families[i].ip, nat_families[i].ip, nat_families[i].digit);
	fprintf(out, "}\n");
	base_forward(out, f, ours);
	base_leave(out, f, ours, route);
}

/* --- Switches */

void nat_table_switches(FILE *out, const struct nat_frame *f, const struct nat_switch_list *old,
			const struct nat_switch_list *now)
{
	for (size_t i = 0; i < now->count; i++)
		if (!nat_switch_has(old, now->list[i]))
			fprintf(out, "add counter inet %s was_%u_%u\n", f->table, (unsigned)now->list[i].what,
				now->list[i].ifindex);
	for (size_t i = 0; i < old->count; i++)
		if (!nat_switch_has(now, old->list[i]))
			fprintf(out, "delete counter inet %s was_%u_%u\n", f->table,
				(unsigned)old->list[i].what, old->list[i].ifindex);
	fprintf(out, "flush chain inet %s closed\n", f->table);
	for (size_t i = 0; i < now->count; i++) {
		const struct nat_switch *s = &now->list[i];
		if (s->what == NAT_SWITCH_ALL6)
			fprintf(out, "add rule inet %s closed meta nfproto ipv6 drop\n", f->table);
		else if (s->what != NAT_SWITCH_RA)
			fprintf(out, "add rule inet %s closed meta nfproto %s meta iif %u drop\n", f->table,
				s->what == NAT_SWITCH_FORWARD4 ? "ipv4" : "ipv6", s->ifindex);
	}
}

/* --- Inlets */

void nat_table_inlets(FILE *out, const struct nat_frame *f, const struct forward_inlet *inlets, size_t count)
{
	char ip[ADDR_TEXT_MAX];

	for (size_t i = 0; i < 2; i++)
		fprintf(out, "flush set inet %s inlets%c\n", f->table, nat_families[i].digit);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "add element inet %s inlets%c { %s . %s . %u-%d }\n", f->table,
			nat_table_digit(&inlets[i].at), addr_format_ip(&inlets[i].at, ip),
			inlets[i].proto == FORWARD_TCP ? "tcp" : "udp", inlets[i].at.port,
			inlets[i].at.port + inlets[i].count - 1);
}

/* --- Connections that have been ended */

void nat_table_ended(FILE *out, const struct nat_frame *f, const struct conntrack_flow *flows, size_t count)
{
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		const struct conntrack_flow *c = &flows[i];
		if (c->proto == FORWARD_TCP)
			fprintf(out, "add element inet %s ended%c { %s . %u . %s . %u }\n", f->table,
				nat_table_digit(&c->back_from), addr_format_ip(&c->back_from, from),
				c->back_from.port, addr_format_ip(&c->back_to, to), c->back_to.port);
	}
}
