#include "apps/p2pd/forward/rule.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/uuid7.h"

enum { PORT_MAX = 65535, LABEL_MAX = 63 /* RFC 1035 section 2.3.4 */, DAY_S = 86400 };

int rule_refuse(char why[static RULE_WHY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, RULE_WHY, fmt, ap);
	va_end(ap);
	for (; *why; why++)
		if (*why < ' ' || *why > '~')
			*why = '?';
	return -EINVAL;
}

const char *rule_scope_name(enum rule_scope scope)
{
	static const char *const names[] = {
		[RULE_ORG] = "org", [RULE_NODES] = "nodes", [RULE_PUBLIC] = "public"
	};
	return names[scope];
}

const char *rule_source_name(enum rule_source source)
{
	static const char *const names[] = {
		[RULE_KERNEL] = "kernel", [RULE_PROXY_V2] = "proxy-v2", [RULE_NAT] = "nat"
	};
	return names[source];
}

const char *rule_proto_name(const struct rule *r)
{
	return r->tcp && r->udp ? "both" : r->udp ? "udp" : "tcp";
}

void rule_init(struct rule *r)
{
	*r = (struct rule) { .tcp = true,
			     .scope = RULE_ORG,
			     .max_conn = FORWARD_CONN_DEFAULT,
			     .idle_s = FORWARD_IDLE_DEFAULT_S,
			     .source_ip = RULE_KERNEL };
}

uint16_t rule_public_port(const struct rule *r, unsigned i)
{
	if (!r->public_port)
		return r->ranges[i].first;
	return (uint16_t)(r->public_port + r->ranges[i].first - r->ranges[0].first);
}

/* --- Overlaps */

static bool same_place(const struct rule *a, const struct rule *b)
{
	if ((a->scope == RULE_PUBLIC) != (b->scope == RULE_PUBLIC))
		return false;
	return a->scope != RULE_PUBLIC || !strcmp(a->via, b->via);
}

static bool meet(unsigned first_a, unsigned count_a, unsigned first_b, unsigned count_b)
{
	return first_a < first_b + count_b && first_b < first_a + count_a;
}

bool rule_overlap(const struct rule *a, const struct rule *b)
{
	if (!same_place(a, b) || !((a->tcp && b->tcp) || (a->udp && b->udp)))
		return false;
	for (unsigned i = 0; i < a->range_count; i++)
		for (unsigned j = 0; j < b->range_count; j++)
			if (meet(rule_public_port(a, i), a->ranges[i].count, rule_public_port(b, j),
				 b->ranges[j].count))
				return true;
	return false;
}

/* --- What must hold */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool rule_is_reserved(const char *name)
{
	static const char *const words[] = { "apply", "audit", "api-token" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(name, words[i]))
			return true;
	return false;
}

/* It goes into addresses of the local API, pages, metrics and logs: so nothing that has a meaning in one of them. */
static int check_name(const struct rule *r, char *why)
{
	uint8_t id[FORWARD_ID];

	for (const char *c = r->name; *c; c++)
		if (!is_alnum(*c) && (c == r->name || !strchr("-_.", *c)))
			return rule_refuse(
				why,
				"'%.70s' cannot be a name: letters, digits and - _ . make one, and "
				"it begins with a letter or digit",
				r->name);
	if (rule_is_reserved(r->name))
		return rule_refuse(why, "'%s' cannot be a name: it is a word of p2pd's own", r->name);
	if (!rule_id_parse(id, r->name))
		return rule_refuse(why,
				   "a name that looks like an id would be taken for one: choose another");
	return 0;
}

static bool is_host(const struct addr *a)
{
	struct addr with_port = *a;

	with_port.port = 1;
	return addr_is_loopback(a) || !addr_is_unusable(&with_port);
}

static int check_target(const struct rule *r, char *why)
{
	char text[ADDR_TEXT_MAX];

	if (r->local.family == ADDR_NONE || !r->range_count)
		return rule_refuse(why, "where the service is was not said: give local as IP:PORT");
	addr_format_ip(&r->local, text);
	if (!is_host(&r->local))
		return rule_refuse(why, "%s is not the address of a host: name that of the service", text);
	if (addr_is_link_local(&r->local))
		return rule_refuse(why, "%s is link-local: name another address of the service's host", text);
	return 0;
}

static int check_range(const struct rule *r, unsigned i, char *why)
{
	const struct rule_range *at = &r->ranges[i];
	unsigned last = (unsigned)at->first + at->count - 1;

	if (!at->first || !at->count || last > PORT_MAX)
		return rule_refuse(why, "ports are numbers from 1 to %d", PORT_MAX);
	for (unsigned j = 0; j < i; j++)
		if (meet(at->first, at->count, r->ranges[j].first, r->ranges[j].count))
			return rule_refuse(why, "ports %u-%u and %u-%u overlap: name each port once",
					   r->ranges[j].first, r->ranges[j].first + r->ranges[j].count - 1,
					   at->first, last);
	return 0;
}

/* The ports that visitors use, which keep the distances of the local ones. */
static int check_public_range(const struct rule *r, unsigned i, char *why)
{
	int first = r->public_port ? r->public_port + r->ranges[i].first - r->ranges[0].first
				   : r->ranges[i].first;
	int last = first + r->ranges[i].count - 1;

	if (first < 1 || last > PORT_MAX)
		return rule_refuse(
			why,
			"with public_port %u the ports from %u on would be %d to %d, and ports are "
			"numbers from 1 to %d",
			r->public_port, r->ranges[i].first, first, last, PORT_MAX);
	if (r->scope != RULE_PUBLIC && r->tcp && first <= RULE_OWN_PORT && last >= RULE_OWN_PORT)
		return rule_refuse(why, "port %d is p2pd's own on this node: choose another by public_port",
				   RULE_OWN_PORT);
	return 0;
}

static int check_ports(const struct rule *r, char *why)
{
	unsigned total = 0;

	if (!r->tcp && !r->udp)
		return rule_refuse(why, "proto is one of tcp, udp, both");
	if (r->range_count > RULE_RANGES_MAX)
		return rule_refuse(why, "more than %d ports and ranges: make several rules", RULE_RANGES_MAX);
	for (unsigned i = 0; i < r->range_count; i++) {
		int rc = check_range(r, i, why);
		if (!rc)
			rc = check_public_range(r, i, why);
		if (rc)
			return rc;
		total += r->ranges[i].count;
	}
	if (total > RULE_PORTS_MAX)
		return rule_refuse(why, "%u ports in one rule, at most %d can be: make several rules", total,
				   RULE_PORTS_MAX);
	return 0;
}

/* No name has a colon in it. */
static bool is_address(struct addr *out, const char *text)
{
	return addr_parse(out, text, 0) == 0 && out->family == ADDR_V6 && out->port == 0 && out->scope == 0;
}

bool rule_is_node(const char *text)
{
	char name[CERT_NAME_MAX + 1];
	struct addr a;

	cert_name_from(name, text);
	return !strcmp(name, text) || is_address(&a, text);
}

bool rule_node_is(const char *text, const char *name, const struct addr *ip6)
{
	struct addr a;

	return is_address(&a, text) ? addr_same_ip(&a, ip6) : !strcmp(text, name);
}

static int check_to(const struct rule *r, char *why)
{
	if (r->scope != RULE_NODES)
		return r->to_count ? rule_refuse(why, "to names members for scope nodes, and scope is %s",
						 rule_scope_name(r->scope))
				   : 0;
	if (r->to_count == 0 || r->to_count > RULE_TO_MAX)
		return rule_refuse(why, "scope nodes wants 1 to %d members in to", RULE_TO_MAX);
	for (unsigned i = 0; i < r->to_count; i++)
		if (!rule_is_node(r->to[i]))
			return rule_refuse(why,
					   "'%.64s' in to is not the name of a member, nor an overlay IPv6 "
					   "address",
					   r->to[i]);
	return 0;
}

static int check_via(const struct rule *r, char *why)
{
	if (r->scope != RULE_PUBLIC)
		return *r->via ? rule_refuse(why, "via names the gateway of scope public, and scope is %s",
					     rule_scope_name(r->scope))
			       : 0;
	if (!*r->via)
		return rule_refuse(why, "scope public wants a gateway: name in via a member that was started "
					"with --gateway");
	if (!rule_is_node(r->via))
		return rule_refuse(why,
				   "'%.64s' in via is not the name of a member, nor an overlay IPv6 address",
				   r->via);
	return 0;
}

/* RFC 1123 section 2.1. */
static bool is_domain(const char *text)
{
	size_t label = 0;

	for (const char *c = text;; c++) {
		if (*c && *c != '.') {
			if ((!is_alnum(*c) && (*c != '-' || !label)) || ++label > LABEL_MAX)
				return false;
			continue;
		}
		if (!label || c[-1] == '-')
			return false;
		label = 0;
		if (!*c)
			return true;
	}
}

static int check_domain(const struct rule *r, char *why)
{
	if (!*r->domain)
		return 0;
	if (r->scope != RULE_PUBLIC)
		return rule_refuse(why, "domain is for scope public, and scope is %s",
				   rule_scope_name(r->scope));
	if (!is_domain(r->domain))
		return rule_refuse(why, "'%.80s' is not a domain name", r->domain);
	return 0;
}

static int check_prefix(const struct forward_prefix *p, char *why)
{
	char text[RULE_PREFIX];

	rule_prefix_text(p, text);
	bool whole = p->prefix.ip[0] == 0; /* 0.0.0.0/0, ::/0 and the like */
	if (addr_is_loopback(&p->prefix) || (!whole && !is_host(&p->prefix)))
		return rule_refuse(why, "no visitor comes from %s: it cannot be in allow", text);
	return 0;
}

static int check_allow(const struct rule *r, char *why)
{
	if (r->scope != RULE_PUBLIC && r->allow_token)
		return rule_refuse(why, "tokens are for scope public, and scope is %s",
				   rule_scope_name(r->scope));
	if (r->allow_count > RULE_ALLOW_MAX)
		return rule_refuse(why, "more than %d prefixes in allow", RULE_ALLOW_MAX);
	for (unsigned i = 0; i < r->allow_count; i++) {
		int rc = check_prefix(&r->allow[i], why);
		if (rc)
			return rc;
	}
	return 0;
}

int rule_check_limits(const struct rule *r, char why[static RULE_WHY])
{
	*why = 0;
	if (r->max_conn > RULE_CONN_MAX)
		return rule_refuse(why, "max_conn is at most %d, or 0 for no limit", RULE_CONN_MAX);
	if (r->idle_s > RULE_IDLE_MAX_S)
		return rule_refuse(why, "idle is at most %d days, or never", RULE_IDLE_MAX_S / DAY_S);
	if (r->rate && (r->rate < RULE_RATE_MIN || r->rate > RULE_RATE_MAX))
		return rule_refuse(why, "rate is from %d to %llu bytes a second, or none", RULE_RATE_MIN,
				   RULE_RATE_MAX);
	return 0;
}

int rule_check(const struct rule *r, char why[static RULE_WHY])
{
	static int (*const checks[])(const struct rule *, char *) = {
		check_name,  check_target, check_to,	check_via,
		check_ports, check_domain, check_allow, rule_check_limits,
	};

	*why = 0;
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		int rc = checks[i](r, why);
		if (rc)
			return rc;
	}
	return 0;
}

int rule_check_open(const struct rule *r, char why[static RULE_WHY])
{
	bool open = r->scope == RULE_PUBLIC && !rule_restricted(r);

	*why = 0;
	for (unsigned i = 0; i < r->allow_count && r->scope == RULE_PUBLIC; i++)
		open = open || r->allow[i].bits == 0;
	if (!open)
		return 0;
	rule_refuse(why,
		    "anybody on the internet could reach the service: say who may by allow, with 'token' for "
		    "those who come with a link of yours, or force it");
	return -EPERM;
}

static bool in_links(const struct rule_place *place, const struct addr *a)
{
	for (unsigned i = 0; i < place->link_count; i++)
		if (addr_in_prefix(a, &place->links[i].prefix, place->links[i].bits))
			return true;
	return false;
}

int rule_check_place(const struct rule *r, const struct rule_place *place, char why[static RULE_WHY])
{
	char text[ADDR_TEXT_MAX];

	*why = 0;
	addr_format_ip(&r->local, text);
	if (r->scope == RULE_PUBLIC && place->name && rule_node_is(r->via, place->name, &place->ip6))
		return rule_refuse(why,
				   "%s is this node itself: name in via another member, one that was started "
				   "with --gateway",
				   r->via);
	if (addr_in_prefix(&r->local, &place->prefix4, place->bits4) ||
	    addr_in_prefix(&r->local, &place->prefix6, place->bits6))
		return rule_refuse(
			why,
			"%s is in the overlay, whose members reach each other without a rule: name "
			"an address of the service outside it",
			text);
	if (!addr_is_loopback(&r->local) && !addr_is_private(&r->local) && !in_links(place, &r->local))
		return rule_refuse(
			why, "%s is in no network of this host: a rule does not lead to the internet", text);
	return 0;
}

/* --- Ids */

const char *rule_id_text(const uint8_t id[static FORWARD_ID], char out[static RULE_ID_TEXT])
{
	return uuid7_format(id, out);
}

int rule_id_parse(uint8_t id[static FORWARD_ID], const char *text)
{
	return uuid7_parse(id, text);
}
