#include "tun/nat_change.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tun/nat_table.h"

/* "Never": conntrack's own 5 days for TCP (nf_conntrack-sysctl.rst, tcp_timeout_established). */
enum { IDLE_NEVER_S = 432000 };
/* Handshakes that come to nothing and connections that are over must not fill the cap: nf_conntrack's 120, 60 and 120. */
enum { SYN_S = 20, TIME_WAIT_S = 30 };
/* A burst takes a quarter of a second of the rate, and two superframes at least. */
enum { BURST_MIN = 131072, BURST_PART = 4 };
/* The kernel counts what a limit has left in nanoseconds: 1e9 * (rate + burst) must be less than 2^64 (nft_limit_init). */
#define RATE_MAX 12500000000ull /* bytes a second: 100 Gbit/s */
/* A datagram that nobody answers, as a spoofed one, must not fill the cap for long: nf_conntrack's own 30 s. UDP never says
 * that it ends, so there is no "never": 5 minutes, RFC 4787 REQ-5. */
enum { UDP_UNREPLIED_S = 30, UDP_FOREVER_S = 300 };

static const char *proto_name(enum forward_proto p)
{
	return p == FORWARD_TCP ? "tcp" : "udp";
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

void nat_change_sort(struct forward_entry *entries, size_t count)
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
	       from_outside(a) == from_outside(b) && a->idle_s == b->idle_s && a->rate == b->rate;
}

/* --- Where an entry is found: the maps' elements */

static void range_text(FILE *out, uint16_t first, uint16_t count)
{
	fprintf(out, "%u", first);
	if (count > 1)
		fprintf(out, "-%d", first + count - 1);
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
		char d = nat_table_digit(&e->listen);

		nat_table_id(e->id, id);
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

	nat_table_id(e->id, id);
	for (size_t i = 0; i < 2 && !is_new; i++)
		fprintf(out, "flush set inet %s allow%c_%s\n", f->table, nat_families[i].digit, id);
	for (unsigned i = 0; i < e->allow_count; i++)
		fprintf(out, "add element inet %s allow%c_%s { %s/%u }\n", f->table,
			nat_table_digit(&e->allow[i].prefix), id, addr_format_ip(&e->allow[i].prefix, ip),
			e->allow[i].bits);
}

void nat_change_cap(FILE *out, const struct nat_frame *f, const struct forward_entry *e, uint32_t uncounted)
{
	uint32_t room = e->max_conn > uncounted ? e->max_conn - uncounted : 0;
	char id[NAT_ID_TEXT];

	nat_table_id(e->id, id);
	fprintf(out, "flush chain inet %s cap_%s\n", f->table, id);
	if (e->max_conn)
		fprintf(out, "add rule inet %s cap_%s ct count over %u counter name full_%s goto refuse\n",
			f->table, id, room, id);
}

static void policy(FILE *out, enum forward_proto proto, uint32_t idle_s, unsigned grace)
{
	unsigned idle = idle_s && idle_s < IDLE_NEVER_S ? idle_s : IDLE_NEVER_S;

	if (proto == FORWARD_TCP) {
		fprintf(out, "established : %u, syn_sent : %d, syn_recv : %d, time_wait : %d", idle + grace,
			SYN_S, SYN_S, TIME_WAIT_S);
		return;
	}
	if (!idle_s)
		idle = UDP_FOREVER_S;
	fprintf(out, "unreplied : %u, replied : %u", idle < UDP_UNREPLIED_S ? idle : UDP_UNREPLIED_S, idle);
}

static void timeouts(FILE *out, const struct nat_frame *f, const struct forward_entry *e, bool add)
{
	char id[NAT_ID_TEXT];
	unsigned grace = e->side == FORWARD_OWNER ? NAT_IDLE_GRACE_S : 0;

	nat_table_id(e->id, id);
	for (size_t i = 0; i < 4; i++) {
		char name[64];
		snprintf(name, sizeof name, "idle_%s%c_%s", nat_protos[i % 2].name, nat_families[i / 2].digit,
			 id);
		if (!add) {
			fprintf(out, "delete ct timeout inet %s %s\n", f->table, name);
			continue;
		}
		fprintf(out, "table inet %s { ct timeout %s { protocol %s; l3proto %s; policy = { ", f->table,
			name, nat_protos[i % 2].name, nat_families[i / 2].ip);
		policy(out, nat_protos[i % 2].number, e->idle_s, grace);
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
			fprintf(out, "%s saddr %s%s/%u return\n", nat_families[i].ip,
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
			nat_families[i].ip, nat_families[i].digit, id, id);
	fprintf(out, "jump cap_%s\n", id);
	for (size_t i = 0; i < 4; i++)
		fprintf(out, "meta nfproto ipv%c meta l4proto %s ct timeout set \"idle_%s%c_%s\"\n",
			nat_families[i / 2].digit, nat_protos[i % 2].name, nat_protos[i % 2].name,
			nat_families[i / 2].digit, id);
	fprintf(out, "counter name total_%s\ngoto live_%s\n}\n", id, id);
}

static void fill_live(FILE *out, const struct forward_entry *e, const char *id)
{
	static const struct {
		const char *direction, *counter;
	} ways[] = { { "original", "in" }, { "reply", "out" } };
	uint64_t rate = e->rate < RATE_MAX ? e->rate : RATE_MAX;
	uint64_t burst = rate / BURST_PART > BURST_MIN ? rate / BURST_PART : BURST_MIN;

	fprintf(out, "chain live_%s {\n", id);
	if (e->paused)
		fprintf(out, "drop\n");
	for (size_t i = 0; i < 2; i++) {
		if (rate)
			fprintf(out,
				"ct direction %s limit rate over %" PRIu64 " bytes/second burst %" PRIu64
				" bytes counter name rate_%s drop\n",
				ways[i].direction, rate, burst, id);
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

	nat_table_id(e->id, id);
	fprintf(out, "table inet %s {\n", f->table);
	fill_live(out, e, id);
	fill_enter(out, f, e, id);
	fprintf(out, "}\n");
}

static void empty(FILE *out, const struct nat_frame *f, const struct forward_entry *e)
{
	char id[NAT_ID_TEXT];

	nat_table_id(e->id, id);
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

	nat_table_id(e->id, id);
	fprintf(out, "table inet %s {\n", f->table);
	counter(out, "in", id, 0, s->bytes_in);
	counter(out, "out", id, 0, s->bytes_out);
	counter(out, "total", id, s->total, 0);
	for (int r = 0; r < NAT_REJECTS; r++)
		counter(out, forward_reject_name(r), id, s->rejected[r], 0);
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "set allow%c_%s { type %s; flags interval; auto-merge; }\n",
			nat_families[i].digit, id, nat_families[i].type);
	fprintf(out, "chain cap_%s { }\nchain live_%s { }\nchain enter_%s { }\n}\n", id, id, id);
}

static void remove_all(FILE *out, const struct nat_frame *f, const struct forward_entry *e)
{
	char id[NAT_ID_TEXT];

	nat_table_id(e->id, id);
	fprintf(out, "flush chain inet %s cap_%s\n", f->table, id);
	fprintf(out,
		"delete chain inet %s enter_%s\ndelete chain inet %s live_%s\ndelete chain inet %s cap_%s\n",
		f->table, id, f->table, id, f->table, id);
	for (size_t i = 0; i < 2; i++)
		fprintf(out, "delete set inet %s allow%c_%s\n", f->table, nat_families[i].digit, id);
	fprintf(out,
		"delete counter inet %s in_%s\ndelete counter inet %s out_%s\ndelete counter inet %s "
		"total_%s\n",
		f->table, id, f->table, id, f->table, id);
	for (int r = 0; r < NAT_REJECTS; r++)
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
		nat_change_cap(out, f, now, 0);
	if (is_new || !same_limits(old, now))
		fill(out, f, now);
	if (is_new || !same_allowed(old, now))
		allowed(out, f, now, is_new);
	if (!same_ways(p))
		elements(out, f, "add", &p->now);
}

void nat_change(FILE *out, const struct nat_frame *f, const struct forward_entry *old, size_t old_count,
		const struct forward_entry *now, size_t now_count,
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
