#include "tun/nat_script.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Connections that have been ended are remembered for so long, and no more than so many: 100 bytes of the kernel's each. */
enum { ENDED_S = 900, ENDED_MAX = 65536 };
/* "Never": conntrack's own 5 days for TCP (nf_conntrack-sysctl.rst, tcp_timeout_established). */
enum { IDLE_NEVER_S = 432000 };
/* Handshakes that come to nothing and connections that are over must not fill the cap: nf_conntrack's 120, 60 and 120. */
enum { SYN_S = 20, TIME_WAIT_S = 30 };
/* A burst takes a quarter of a second of the rate, and two superframes at least. */
enum { BURST_MIN = 131072, BURST_PART = 4 };

static const struct {
	const char *ip, *type;
	enum addr_family family;
	char digit;
} families[] = { { "ip", "ipv4_addr", ADDR_V4, '4' }, { "ip6", "ipv6_addr", ADDR_V6, '6' } };
static const struct {
	const char *name;
	enum forward_proto number;
} protos[] = { { "tcp", FORWARD_TCP }, { "udp", FORWARD_UDP } };

/* bad_header cannot happen here. */
static const enum forward_reject REJECTS = FORWARD_BAD_HEADER;

static const char *proto_name(enum forward_proto p)
{
	return p == FORWARD_TCP ? "tcp" : "udp";
}

static char digit_of(const struct addr *a)
{
	return a->family == ADDR_V4 ? '4' : '6';
}

/* --- Names */

void nat_script_table(char out[static NAT_TABLE_MAX], const char *tun)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

	snprintf(out, NAT_TABLE_MAX, "p2pd-%s", tun);
	for (char *c = out; *c; c++)
		if (!strchr(plain, *c))
			*c = '_';
}

const char *nat_script_id(const uint8_t id[static FORWARD_ID], char out[static NAT_ID_TEXT])
{
	for (int i = 0; i < FORWARD_ID; i++)
		snprintf(out + i * 2, 3, "%02x", id[i]);
	return out;
}

bool nat_script_read_id(const char *text, uint8_t id[static FORWARD_ID])
{
	if (strlen(text) != NAT_ID_TEXT - 1 || strspn(text, "0123456789abcdef") != NAT_ID_TEXT - 1)
		return false;
	for (int i = 0; i < FORWARD_ID; i++) {
		char two[3] = { text[i * 2], text[i * 2 + 1] };
		id[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	return true;
}

bool nat_script_counter(const char *name, uint8_t id[static FORWARD_ID], enum nat_count *what,
			enum forward_reject *why)
{
	static const char *const plain[] = { "in", "out", "total" };
	size_t len = strlen(name);

	if (len < NAT_ID_TEXT || !nat_script_read_id(name + len - (NAT_ID_TEXT - 1), id))
		return false;
	len -= NAT_ID_TEXT;
	for (*what = 0; *what < NAT_COUNT_REJECTED; (*what)++)
		if (strlen(plain[*what]) == len && strncmp(name, plain[*what], len) == 0)
			return true;
	for (*why = 0; *why < REJECTS; (*why)++)
		if (strlen(forward_reject_name(*why)) == len &&
		    strncmp(name, forward_reject_name(*why), len) == 0)
			return true;
	return false;
}

bool nat_script_is_mark(const char *name, unsigned *value)
{
	return sscanf(name, "mark_%u", value) == 1;
}

bool nat_script_is_switch(const char *name, struct nat_switch *s)
{
	unsigned what;

	if (sscanf(name, "was_%u_%u", &what, &s->ifindex) != 2 || what >= NAT_SWITCHES)
		return false;
	s->what = what;
	return true;
}

/* --- The table */

static void base_sets(FILE *out)
{
	for (size_t i = 0; i < 2; i++) {
		const char *type = families[i].type;
		char d = families[i].digit;
		for (size_t p = 0; p < 2; p++)
			fprintf(out, "map %s%c { type %s . inet_service : verdict; flags interval; }\n",
				protos[p].name, d, type);
		fprintf(out, "map to%c { type %s . inet_proto . inet_service : %s . inet_service; }\n", d,
			type, type);
		fprintf(out, "set owners%c { type %s . inet_proto . inet_service; flags interval; }\n", d,
			type);
		fprintf(out,
			"set ended%c { type %s . inet_service . %s . inet_service; flags timeout; timeout "
			"%ds; "
			"size %d; }\n",
			d, type, type, ENDED_S, ENDED_MAX);
	}
}

static void base_dispatch(FILE *out, const char *ours)
{
	fprintf(out, "chain live {\n");
	for (size_t i = 0; i < 4; i++)
		fprintf(out, "meta l4proto %s ct original %s daddr . ct original proto-dst vmap @%s%c\n",
			protos[i % 2].name, families[i / 2].ip, protos[i % 2].name, families[i / 2].digit);
	fprintf(out, "}\nchain enter { type filter hook prerouting priority mangle - 5; policy accept;\n");
	fprintf(out, "%s goto live\n", ours);
	for (size_t i = 0; i < 4; i++)
		fprintf(out, "ct state new %s daddr . %s dport vmap @%s%c\n", families[i / 2].ip,
			protos[i % 2].name, protos[i % 2].name, families[i / 2].digit);
	fprintf(out, "}\n");
}

static void base_forward(FILE *out, const struct nat_frame *f, const char *ours)
{
	fprintf(out, "chain closed { }\nchain refuse_ended { ");
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "%s saddr . th sport . %s daddr . th dport @ended%c goto refuse\n",
			families[i].ip, families[i].ip, families[i].digit);
	fprintf(out, "}\nchain through { type filter hook forward priority filter - 5; policy accept;\n");
	fprintf(out, "%s tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu\n%s accept\n", ours,
		ours);
	fprintf(out, "meta l4proto tcp jump refuse_ended\n");
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "iifname \"%s\" %s saddr . meta l4proto . th sport @owners%c goto refuse\n",
			f->tun, families[i].ip, families[i].digit);
	fprintf(out, "iifname \"%s\" meta l4proto { icmp, icmpv6 } ct state invalid drop\njump closed\n}\n",
		f->tun);
}

void nat_script_base(FILE *out, const struct nat_frame *f, unsigned mark_value)
{
	char ours[64], route[128];

	snprintf(ours, sizeof ours, "ct mark and %#x == %#x", f->mask, f->mark);
	snprintf(route, sizeof route, "meta mark set meta mark and %#x or %#x", ~f->mask, f->mark);
	fprintf(out, "table inet %s {\ncounter mark_%u { }\n", f->table, mark_value);
	base_sets(out);
	/* To who comes to a port where nothing is, the kernel answers the same. */
	fprintf(out, "chain refuse { meta l4proto tcp reject with tcp reset\n"
		     "reject with icmpx type port-unreachable\n}\n");
	fprintf(out, "chain answers { iifname != \"%s\" ct direction reply %s %s\n}\n", f->tun, ours, route);
	base_dispatch(out, ours);
	fprintf(out, "chain turn { type nat hook prerouting priority dstnat - 5; policy accept;\n");
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "%s dnat %s to %s daddr . meta l4proto . th dport map @to%c\n", ours,
			families[i].ip, families[i].ip, families[i].digit);
	fprintf(out, "}\n");
	base_forward(out, f, ours);
	/* What we refuse is sent here too, and has neither an id's counts nor its limits. */
	fprintf(out,
		"chain leave { type route hook output priority mangle - 5; policy accept;\n"
		"%s ct direction reply %s\n%s ct state related accept\n%s goto live\nmeta l4proto tcp jump "
		"refuse_ended\n}\n}\n",
		ours, route, ours, ours);
	fprintf(out, "insert rule inet %s enter jump answers\n", f->table);
}

/* --- Switches */

void nat_script_switches(FILE *out, const struct nat_frame *f, const struct nat_switch_list *old,
			 const struct nat_switch_list *now)
{
	for (size_t i = 0; i < now->count; i++)
		if (!nat_switch_has(old, now->list[i]))
			fprintf(out, "add counter inet %s was_%u_%u\n", f->table, now->list[i].what,
				now->list[i].ifindex);
	for (size_t i = 0; i < old->count; i++)
		if (!nat_switch_has(now, old->list[i]))
			fprintf(out, "delete counter inet %s was_%u_%u\n", f->table, old->list[i].what,
				old->list[i].ifindex);
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

/* --- Entries of one id, before and after */

struct group {
	const struct forward_entry *first;
	size_t count;
};

struct pair {
	struct group old, now;
};

struct walk {
	struct group old, now; /* what is left */
};

static struct group head_of(const struct group *g)
{
	size_t n = 0;

	while (n < g->count && memcmp(g->first[n].id, g->first->id, FORWARD_ID) == 0)
		n++;
	return (struct group) { g->first, n };
}

static void pass(struct group *g, size_t n)
{
	g->first += n;
	g->count -= n;
}

static bool next(struct walk *w, struct pair *p)
{
	*p = (struct pair) { head_of(&w->old), head_of(&w->now) };
	if (!p->old.count && !p->now.count)
		return false;
	if (p->old.count && p->now.count) {
		int order = memcmp(p->old.first->id, p->now.first->id, FORWARD_ID);
		if (order < 0)
			p->now.count = 0;
		else if (order > 0)
			p->old.count = 0;
	}
	pass(&w->old, p->old.count);
	pass(&w->now, p->now.count);
	return true;
}

static int by_id(const void *a, const void *b)
{
	const struct forward_entry *x = a, *y = b;
	int order = memcmp(x->id, y->id, FORWARD_ID);

	if (order == 0)
		order = (int)x->proto - (int)y->proto;
	return order ? order : addr_compare(&x->listen, &y->listen);
}

void nat_script_sort(struct forward_entry *entries, size_t count)
{
	if (count)
		qsort(entries, count, sizeof *entries, by_id);
}

static bool same_way(const struct forward_entry *a, const struct forward_entry *b)
{
	return a->side == b->side && a->proto == b->proto && a->count == b->count &&
	       addr_equal(&a->listen, &b->listen) && addr_equal(&a->target, &b->target);
}

static bool same_ways(const struct pair *p)
{
	if (p->old.count != p->now.count)
		return false;
	for (size_t i = 0; i < p->now.count; i++)
		if (!same_way(&p->old.first[i], &p->now.first[i]))
			return false;
	return true;
}

static bool same_allowed(const struct forward_entry *a, const struct forward_entry *b)
{
	if (a->allow_count != b->allow_count)
		return false;
	for (unsigned i = 0; i < a->allow_count; i++)
		if (a->allow[i].bits != b->allow[i].bits ||
		    !addr_same_ip(&a->allow[i].prefix, &b->allow[i].prefix))
			return false;
	return true;
}

static bool from_outside(const struct forward_entry *e)
{
	return e->gateway4.family || e->gateway6.family;
}

static bool same_limits(const struct forward_entry *a, const struct forward_entry *b)
{
	return a->side == b->side && a->paused == b->paused && a->restricted == b->restricted &&
	       from_outside(a) == from_outside(b) && !a->max_conn == !b->max_conn && a->idle_s == b->idle_s &&
	       a->rate == b->rate;
}

/* --- Where an entry is found: the maps' elements */

static void range_text(FILE *out, uint16_t first, uint16_t count)
{
	fprintf(out, "%u", first);
	if (count > 1)
		fprintf(out, "-%u", first + count - 1);
}

/* Two entries of an id may lead to one place, whose element there is once. */
static bool led_before(const struct group *g, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (g->first[k].proto == g->first[i].proto && g->first[k].count == g->first[i].count &&
		    addr_equal(&g->first[k].target, &g->first[i].target))
			return true;
	return false;
}

static void elements(FILE *out, const struct nat_frame *f, const char *op, const struct group *g)
{
	char id[NAT_ID_TEXT], listen[ADDR_TEXT_MAX], target[ADDR_TEXT_MAX];

	for (size_t i = 0; i < g->count; i++) {
		const struct forward_entry *e = &g->first[i];
		const char *proto = proto_name(e->proto);
		char d = digit_of(&e->listen);

		nat_script_id(e->id, id);
		addr_format_ip(&e->listen, listen);
		addr_format_ip(&e->target, target);
		fprintf(out, "%s element inet %s %s%c { %s . ", op, f->table, proto, d, listen);
		range_text(out, e->listen.port, e->count);
		fprintf(out, " : goto enter_%s }\n%s element inet %s to%c {", id, op, f->table, d);
		for (unsigned k = 0; k < e->count; k++)
			fprintf(out, "%s%s . %s . %u : %s . %u", k ? ", " : " ", listen, proto,
				e->listen.port + k, target, e->target.port + k);
		fprintf(out, " }\n");
		if (e->side != FORWARD_GATEWAY || led_before(g, i))
			continue;
		fprintf(out, "%s element inet %s owners%c { %s . %s . ", op, f->table, d, target, proto);
		range_text(out, e->target.port, e->count);
		fprintf(out, " }\n");
	}
}

/* --- What belongs to an id */

static void allowed(FILE *out, const struct nat_frame *f, const struct forward_entry *e, bool is_new)
{
	char id[NAT_ID_TEXT], ip[ADDR_TEXT_MAX];

	nat_script_id(e->id, id);
	for (size_t i = 0; i < 2 && !is_new; i++)
		fprintf(out, "flush set inet %s allow%c_%s\n", f->table, families[i].digit, id);
	for (unsigned i = 0; i < e->allow_count; i++)
		fprintf(out, "add element inet %s allow%c_%s { %s/%u }\n", f->table,
			digit_of(&e->allow[i].prefix), id, addr_format_ip(&e->allow[i].prefix, ip),
			e->allow[i].bits);
}

static void cap(FILE *out, const struct nat_frame *f, const struct forward_entry *e)
{
	char id[NAT_ID_TEXT];

	nat_script_id(e->id, id);
	fprintf(out, "flush chain inet %s cap_%s\n", f->table, id);
	if (e->max_conn)
		fprintf(out, "add rule inet %s cap_%s ct count over %u counter name full_%s goto refuse\n",
			f->table, id, e->max_conn, id);
}

static void timeouts(FILE *out, const struct nat_frame *f, const struct forward_entry *e, bool add)
{
	char id[NAT_ID_TEXT];
	unsigned idle = e->idle_s && e->idle_s < IDLE_NEVER_S ? e->idle_s : IDLE_NEVER_S;

	nat_script_id(e->id, id);
	for (size_t i = 0; i < 4; i++) {
		char name[64];
		snprintf(name, sizeof name, "idle_%s%c_%s", protos[i % 2].name, families[i / 2].digit, id);
		if (!add) {
			fprintf(out, "delete ct timeout inet %s %s\n", f->table, name);
			continue;
		}
		fprintf(out, "table inet %s { ct timeout %s { protocol %s; l3proto %s; policy = { ", f->table,
			name, protos[i % 2].name, families[i / 2].ip);
		if (protos[i % 2].number == FORWARD_TCP)
			fprintf(out, "established : %u, syn_sent : %d, syn_recv : %d, time_wait : %d", idle,
				SYN_S, SYN_S, TIME_WAIT_S);
		else
			fprintf(out, "unreplied : %u, replied : %u", idle, idle);
		fprintf(out, " }; }; }\n");
	}
}

/* Who may come here at all. Members come with their overlay addresses; visitors through a gateway with their own, which
 * are none of the overlay's. */
static void origin(FILE *out, const struct nat_frame *f, const struct forward_entry *e)
{
	const struct addr *prefixes[] = { &f->prefix4, &f->prefix6 };
	const unsigned bits[] = { f->bits4, f->bits6 };
	char ip[ADDR_TEXT_MAX];

	if (e->side == FORWARD_GATEWAY) {
		fprintf(out, "iifname { \"%s\", \"lo\" } return\n", f->tun);
		return;
	}
	fprintf(out, "iifname != \"%s\" return\n", f->tun);
	for (size_t i = 0; i < 2; i++)
		if (prefixes[i]->family)
			fprintf(out, "%s saddr %s%s/%u return\n", families[i].ip,
				from_outside(e) ? "" : "!= ", addr_format_ip(prefixes[i], ip), bits[i]);
}

static void fill_enter(FILE *out, const struct nat_frame *f, const struct forward_entry *e, const char *id)
{
	fprintf(out, "chain enter_%s {\nct mark and %#x == %#x goto live_%s\n", id, f->mask, f->mark, id);
	origin(out, f, e);
	/* Also for what is refused: it is sent the way of the answers. */
	fprintf(out, "ct mark set ct mark and %#x or %#x\n", ~f->mask, f->mark);
	if (e->paused)
		fprintf(out, "counter name paused_%s goto refuse\n", id);
	/* Of a connection that has been ended, or of none ever. */
	fprintf(out, "meta l4proto tcp tcp flags & (fin|syn|rst|ack) != syn goto refuse\n");
	for (size_t i = 0; i < 2 && e->restricted; i++)
		fprintf(out, "%s saddr != @allow%c_%s counter name not_allowed_%s goto refuse\n",
			families[i].ip, families[i].digit, id, id);
	fprintf(out, "jump cap_%s\n", id);
	for (size_t i = 0; i < 4; i++)
		fprintf(out, "meta nfproto ipv%c meta l4proto %s ct timeout set \"idle_%s%c_%s\"\n",
			families[i / 2].digit, protos[i % 2].name, protos[i % 2].name, families[i / 2].digit,
			id);
	fprintf(out, "counter name total_%s\ngoto live_%s\n}\n", id, id);
}

static void fill_live(FILE *out, const struct forward_entry *e, const char *id)
{
	static const struct {
		const char *direction, *counter;
	} ways[] = { { "original", "in" }, { "reply", "out" } };
	uint64_t burst = e->rate / BURST_PART > BURST_MIN ? e->rate / BURST_PART : BURST_MIN;

	fprintf(out, "chain live_%s {\n", id);
	if (e->paused)
		fprintf(out, "drop\n");
	for (size_t i = 0; i < 2; i++) {
		if (e->rate)
			fprintf(out,
				"ct direction %s limit rate over %" PRIu64 " bytes/second burst %" PRIu64
				" bytes counter name rate_%s drop\n",
				ways[i].direction, e->rate, burst, id);
		fprintf(out, "ct direction %s counter name %s_%s\n", ways[i].direction, ways[i].counter, id);
	}
	/* What a closed port says to a SYN: RFC 9293 section 3.5.2. */
	fprintf(out,
		"tcp flags & (rst|ack) == (rst|ack) tcp sequence 0 ct direction reply counter name "
		"no_service_%s\n}\n",
		id);
}

static void fill(FILE *out, const struct nat_frame *f, const struct forward_entry *e)
{
	char id[NAT_ID_TEXT];

	nat_script_id(e->id, id);
	fprintf(out, "table inet %s {\n", f->table);
	fill_live(out, e, id);
	fill_enter(out, f, e, id);
	fprintf(out, "}\n");
}

static void empty(FILE *out, const struct nat_frame *f, const struct forward_entry *e)
{
	char id[NAT_ID_TEXT];

	nat_script_id(e->id, id);
	fprintf(out, "flush chain inet %s enter_%s\nflush chain inet %s live_%s\n", f->table, id, f->table,
		id);
}

static void counter(FILE *out, const char *name, const char *id, uint64_t packets, uint64_t bytes)
{
	fprintf(out, "counter %s_%s { packets %" PRIu64 " bytes %" PRIu64 " }\n", name, id, packets, bytes);
}

static void create(FILE *out, const struct nat_frame *f, const struct forward_entry *e,
		   const struct forward_stats *counts)
{
	static const struct forward_stats none;
	const struct forward_stats *s = counts ? counts : &none;
	char id[NAT_ID_TEXT];

	nat_script_id(e->id, id);
	fprintf(out, "table inet %s {\n", f->table);
	counter(out, "in", id, 0, s->bytes_in);
	counter(out, "out", id, 0, s->bytes_out);
	counter(out, "total", id, s->total, 0);
	for (enum forward_reject r = 0; r < REJECTS; r++)
		counter(out, forward_reject_name(r), id, s->rejected[r], 0);
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "set allow%c_%s { type %s; flags interval; auto-merge; }\n", families[i].digit,
			id, families[i].type);
	fprintf(out, "chain cap_%s { }\nchain live_%s { }\nchain enter_%s { }\n}\n", id, id, id);
}

static void remove_all(FILE *out, const struct nat_frame *f, const struct forward_entry *e)
{
	char id[NAT_ID_TEXT];

	nat_script_id(e->id, id);
	fprintf(out, "flush chain inet %s cap_%s\n", f->table, id);
	fprintf(out,
		"delete chain inet %s enter_%s\ndelete chain inet %s live_%s\ndelete chain inet %s cap_%s\n",
		f->table, id, f->table, id, f->table, id);
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "delete set inet %s allow%c_%s\n", f->table, families[i].digit, id);
	fprintf(out,
		"delete counter inet %s in_%s\ndelete counter inet %s out_%s\ndelete counter inet %s "
		"total_%s\n",
		f->table, id, f->table, id, f->table, id);
	for (enum forward_reject r = 0; r < REJECTS; r++)
		fprintf(out, "delete counter inet %s %s_%s\n", f->table, forward_reject_name(r), id);
	timeouts(out, f, e, false);
}

/* --- The change */

/* What has to go must go first: ports may move from an id to another. */
static void take_away(FILE *out, const struct nat_frame *f, const struct pair *p)
{
	const struct forward_entry *old = p->old.first, *now = p->now.first;

	if (!p->old.count)
		return;
	if (!same_ways(p))
		elements(out, f, "delete", &p->old);
	if (!p->now.count) {
		empty(out, f, old);
		remove_all(out, f, old);
	} else if (!same_limits(old, now)) {
		empty(out, f, old);
		if (old->idle_s != now->idle_s)
			timeouts(out, f, old, false);
	}
}

static void put_there(FILE *out, const struct nat_frame *f, const struct pair *p,
		      const struct forward_stats *counts)
{
	const struct forward_entry *old = p->old.first, *now = p->now.first;
	bool is_new = !p->old.count;

	if (!p->now.count)
		return;
	if (is_new)
		create(out, f, now, counts);
	if (is_new || old->idle_s != now->idle_s)
		timeouts(out, f, now, true);
	if (is_new || old->max_conn != now->max_conn)
		cap(out, f, now);
	if (is_new || !same_limits(old, now))
		fill(out, f, now);
	if (is_new || !same_allowed(old, now))
		allowed(out, f, now, is_new);
	if (!same_ways(p))
		elements(out, f, "add", &p->now);
}

void nat_script_change(FILE *out, const struct nat_frame *f, const struct forward_entry *old,
		       size_t old_count, const struct forward_entry *now, size_t now_count,
		       const struct forward_stats *(*counted)(void *arg, const uint8_t *id), void *arg)
{
	struct walk w = { { old, old_count }, { now, now_count } };
	struct pair p;

	while (next(&w, &p))
		take_away(out, f, &p);
	w = (struct walk) { { old, old_count }, { now, now_count } };
	while (next(&w, &p))
		put_there(out, f, &p, counted && p.now.count ? counted(arg, p.now.first->id) : NULL);
}

void nat_script_ended(FILE *out, const struct nat_frame *f, const struct conntrack_flow *flows, size_t count)
{
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		const struct conntrack_flow *c = &flows[i];
		if (c->proto == FORWARD_TCP)
			fprintf(out, "add element inet %s ended%c { %s . %u . %s . %u }\n", f->table,
				digit_of(&c->back_from), addr_format_ip(&c->back_from, from),
				c->back_from.port, addr_format_ip(&c->back_to, to), c->back_to.port);
	}
}
