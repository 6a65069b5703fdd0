#include "apps/p2pd/advice.h"

#include <stdarg.h>
#include <stdio.h>

/* One end, as far as it is known here. */
struct end {
	bool here;
	const char *side;    /* "here" */
	const char *machine; /* "this machine" */
	const struct verdict *nat;
	uint16_t port;		/* of its UDP socket; 0: unknown */
	const struct addr *ext; /* what its router says that it forwards from; NULL: nothing */
	bool has_ip6;
};

struct list {
	struct advice *items;
	unsigned count;
};

__attribute__((format(printf, 4, 5))) static void add(struct list *l, const char *side, const char *code,
						      const char *format, ...)
{
	va_list args;

	if (l->count == ADVICE_MAX)
		return;
	l->items[l->count] = (struct advice) { .side = side, .code = code };
	va_start(args, format);
	vsnprintf(l->items[l->count++].text, ADVICE_TEXT, format, args);
	va_end(args);
}

/* ---- the two ends */

static void add_candidates(struct end *end, const struct candidate_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct candidate *c = &l->items[i];
		if (c->kind == CANDIDATE_HOST && !end->port)
			end->port = c->addr.port;
		if (c->kind == CANDIDATE_MAPPED && c->addr.family == ADDR_V4)
			end->ext = &c->addr;
		end->has_ip6 |= c->kind == CANDIDATE_HOST && c->addr.family == ADDR_V6 &&
				!addr_is_private(&c->addr);
	}
}

static struct end end_here(const struct engine *e)
{
	struct end end = { .here = true, .side = "here", .machine = "this machine", .nat = &e->verdict };

	end.port = e->config.udp_port;
	add_candidates(&end, &e->candidates);
	return end;
}

static struct end end_there(const struct engine_peer *ep)
{
	struct end end = { .side = "there", .machine = "that machine", .nat = &ep->nat };

	add_candidates(&end, &ep->remote);
	return end;
}

/* ---- one end's part */

static bool is_behind_another(const struct end *end)
{
	return end->nat->cgnat || (end->ext && portmap_double_nat(end->ext, &end->nat->public_ip));
}

/* How to have the router forward a port, by what it said when it was asked. */
static const char *how_to_map(const struct engine *e, const struct end *end)
{
	if (!end->here)
		return "switch on UPnP, NAT-PMP or PCP";
	if (!e->portmap.enabled)
		return "switch on UPnP, NAT-PMP or PCP and restart p2pd with --portmap";
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		if (e->portmap.state[i] == PORTMAP_REFUSED)
			return "allow it to forward ports by UPnP, NAT-PMP or PCP, which it refuses";
	return "switch on UPnP, NAT-PMP or PCP";
}

static void advise_end(struct list *l, const struct engine *e, const struct end *end)
{
	char port[sizeof "65535"] = "";

	if (end->port)
		snprintf(port, sizeof port, "%u", (unsigned)end->port);
	if (verdict_type(end->nat) == NAT_TYPE_FIREWALL)
		add(l, end->side, "firewall", "in the firewall %s, let UDP%s%s in to %s", end->side,
		    *port ? " port " : "", port, end->machine);
	if (end->nat->mapping == MAPPING_NONE || end->nat->mapping == MAPPING_UNKNOWN)
		return;
	if (is_behind_another(end)) {
		add(l, end->side, "provider",
		    "ask the provider %s for a public IPv4 address or for IPv6: the router is behind another "
		    "NAT",
		    end->side);
		return;
	}
	if (!end->ext)
		add(l, end->side, "port-mapping", "on the router %s, %s, or forward %s%s to %s", end->side,
		    how_to_map(e, end), *port ? "UDP port " : "a UDP port", port, end->machine);
}

/* ---- what takes both */

static void advise_ip6(struct list *l, const struct end *here, const struct end *there)
{
	if (here->has_ip6 && there->has_ip6)
		add(l, "both", "ipv6",
		    "both have IPv6, but it does not pass: in the firewall of one of the two, let UDP in");
	else if (!here->has_ip6 && !there->has_ip6)
		add(l, "both", "ipv6", "have IPv6 on both sides; neither has it");
	else
		add(l, here->has_ip6 ? "there" : "here", "ipv6",
		    "have IPv6 %s, too: the other side has it already", here->has_ip6 ? "there" : "here");
}

/* Whether many probes for a small chance would be tried if only both ends allowed it. */
static void advise_hard(struct list *l, const struct engine *e, const struct engine_peer *ep)
{
	struct technique_side ours = { e->verdict, TECHNIQUE_MAX_SOCKETS, true };
	struct technique_side theirs = { ep->nat, TECHNIQUE_MAX_SOCKETS, true };

	if (technique_choose(&ours, &theirs, 0).technique != TECHNIQUE_HARD_BIRTHDAY)
		return;
	if (!e->config.hard_nat)
		add(l, "here", "hard-nat", "allow many probes for a small chance: `p2pd up --hard-nat` here");
	if (ep->forbids_hard)
		add(l, "there", "hard-nat",
		    "allow many probes for a small chance: `p2pd up --hard-nat` there");
}

static void advise_blocked(struct list *l, const struct end *end)
{
	if (end->nat->udp_blocked)
		add(l, end->side, "udp", "UDP does not get out %s: allow it in the router or firewall %s",
		    end->side, end->side);
}

static void advise_nats(struct list *l, const struct engine *e, const struct engine_peer *ep)
{
	struct end here = end_here(e), there = end_there(ep);

	advise_blocked(l, &here);
	advise_blocked(l, &there);
	if (l->count)
		return;
	advise_end(l, e, &here);
	advise_end(l, e, &there);
	advise_ip6(l, &here, &there);
	advise_hard(l, e, ep);
}

unsigned advice_list(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms,
		     struct advice out[static ADVICE_MAX])
{
	struct list l = { .items = out };

	if (engine_way(ep, e) == ENGINE_WAY_DIRECT)
		return 0;
	if (!ep->peer.own_kind)
		add(&l, "both", "call", "let the peer call, or tell its address: `p2pd wg add --help`");
	else if (!e->welcomed)
		add(&l, "here", "hub", "see that the hub runs and can be reached from here (`p2pd status`)");
	else if (!ep->online)
		add(&l, "there", "online", "start p2pd on %s, and see that it reaches the hub",
		    ep->peer.name);
	else if (engine_last_failed(ep) || e->verdict.udp_blocked || ep->nat.udp_blocked)
		advise_nats(&l, e, ep);
	else if (engine_next_attempt(e, ep, now_ms).wait == ENGINE_WAIT_TRAFFIC)
		add(&l, "here", "traffic", "send something: `p2pd ping %s --until-direct`", ep->peer.name);
	return l.count;
}
