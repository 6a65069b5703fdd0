#include "apps/natcheck/report_json.h"

#include <math.h>

static const char *const udp_names[] = {
	[CHECK_UDP_UNKNOWN] = "unknown",
	[CHECK_UDP_OK] = "ok",
	[CHECK_UDP_BLOCKED] = "blocked",
};

static const char *const answer_names[] = {
	[CHECK_UNREACHABLE] = "unreachable",
	[CHECK_SILENT] = "none",
	[CHECK_STRANGE] = "strange",
	[CHECK_ANSWERED] = "ok",
};

static const char *const verdict_names[] = {
	[CHECK_EASY] = "easy",
	[CHECK_HARD] = "hard",
	[CHECK_BLOCKED] = "blocked",
	[CHECK_INCONCLUSIVE] = "inconclusive",
};

static json_t *unknown(void)
{
	return json_string("unknown");
}

static json_t *number(bool known, long n)
{
	return known ? json_integer(n) : unknown();
}

static json_t *answer(enum discover_answer a)
{
	return a == DISCOVER_UNKNOWN ? unknown() : json_boolean(a == DISCOVER_YES);
}

static json_t *address(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family == ADDR_NONE ? unknown() : json_string(addr_format(a, text));
}

static json_t *has_nat(const struct check_view *v)
{
	return v->udp == CHECK_UDP_OK ? json_boolean(check_has_nat(v)) : unknown();
}

/* What the mapping was judged by: ports of one server cannot show a mapping that depends on the address. */
static const char *basis(const struct check_view *v)
{
	if (v->nat.verdict.mapping == MAPPING_UNKNOWN || v->nat.verdict.mapping == MAPPING_NONE)
		return "unknown";
	return v->nat.across_addresses ? "addresses" : "ports";
}

/* Null where the ports of new mappings are known to come from no block. */
static json_t *block(const struct verdict *v)
{
	if (v->block_lo)
		return json_pack("{si si}", "lo", v->block_lo, "hi", v->block_hi);
	return v->allocation == ALLOCATION_UNKNOWN ? unknown() : json_null();
}

static json_t *allocation(const struct check_view *v)
{
	const struct verdict *n = &v->nat.verdict;
	bool counts = n->allocation == ALLOCATION_SEQUENTIAL, known = n->allocation != ALLOCATION_UNKNOWN;

	return json_pack("{ss so so ss so so so}", "pattern", nat_allocation_name(n->allocation), "step",
			 number(known, n->step), "noise_per_s",
			 counts ? json_real(n->noise_per_10s / 10.0) : unknown(), "scope",
			 nat_scope_name(n->scope), "block", block(n), "parity",
			 known ? json_boolean(v->nat.keeps_parity) : unknown(), "confidence",
			 number(known, n->confidence));
}

static enum discover_answer pooling(const struct check_view *v)
{
	if (v->nat.verdict.pooling)
		return DISCOVER_YES;
	return v->nat.verdict.allocation != ALLOCATION_UNKNOWN ? DISCOVER_NO : DISCOVER_UNKNOWN;
}

static json_t *portmap(const struct check_view *v)
{
	struct addr external = check_external(v);
	enum discover_answer inbound = DISCOVER_UNKNOWN;

	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		inbound = v->maps[i].inbound > inbound ? v->maps[i].inbound : inbound;
	return json_pack("{ss ss ss so so so}", "upnp", portmap_state_name(v->maps[GATEWAY_UPNP].state),
			 "natpmp", portmap_state_name(v->maps[GATEWAY_NATPMP].state), "pcp",
			 portmap_state_name(v->maps[GATEWAY_PCP].state), "external", address(&external),
			 "inbound", answer(inbound), "double_nat", answer(check_double_nat(v)));
}

static json_t *fragments(const struct mtu_result *m)
{
	return json_pack("{so so}", "up", answer(m->fragments_up), "down", answer(m->fragments_down));
}

/* Both ways, if both are known. */
static json_t *mtu(const struct mtu_result *m)
{
	return number(m->up && m->down, m->up < m->down ? m->up : m->down);
}

/* A host with a global address of its own is behind a firewall, or is not. */
static enum discover_answer inbound_firewall(const struct check_view *v)
{
	if (v->nat.verdict.filtering == FILTERING_UNKNOWN)
		return DISCOVER_UNKNOWN;
	return v->nat.verdict.filtering == FILTERING_ENDPOINT_INDEPENDENT ? DISCOVER_NO : DISCOVER_YES;
}

static json_t *ipv6(const struct check *c)
{
	const struct check_view *v = &c->ip6;
	const struct verdict *n = &v->nat.verdict;

	if (!v->tried)
		return unknown();
	return json_pack("{ss so so so ss ss ss so so so so so so so so so}", "udp", udp_names[v->udp],
			 "local", address(&v->local), "mapped", address(&v->mapped), "nat", has_nat(v),
			 "mapping", nat_mapping_name(n->mapping), "filtering",
			 nat_filtering_name(n->filtering), "type", nat_type_name(verdict_type(n)),
			 "allocation", allocation(v), "inbound_firewall", answer(inbound_firewall(v)),
			 "portmap", portmap(v), "mtu", mtu(&v->mtu), "mtu_up", number(v->mtu.up, v->mtu.up),
			 "mtu_down", number(v->mtu.down, v->mtu.down), "fragments", fragments(&v->mtu),
			 "nat64", answer(c->nat64.found), "nat64_prefix", address(&c->nat64.prefix));
}

static json_t *servers(const struct check *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->count; i++) {
		const struct check_server *s = &c->servers[i];
		json_array_append_new(list, json_pack("{so ss so so}", "server", address(&s->addr), "answer",
						      answer_names[s->answer], "mapped", address(&s->mapped),
						      "rtt_ms", number(s->rtt_ms, s->rtt_ms)));
	}
	return list;
}

static json_t *prediction(const struct verdict *ours, const struct against *theirs)
{
	struct technique_plan p = against_plan(ours, theirs);
	bool any = p.technique != TECHNIQUE_NONE, known = !any || p.success > 0;

	return json_pack("{ss ss so so so si si ss}", "against", theirs->name, "technique",
			 technique_name(p.technique), "success",
			 known ? json_real(round(p.success * 10000) / 10000) : unknown(), "mean_ms",
			 any ? json_integer(p.mean_ms) : json_null(), "worst_ms",
			 any ? json_integer(p.worst_ms) : json_null(), "sockets", (int)p.sockets, "ports",
			 (int)p.ports, "why", p.why ? p.why : "");
}

static json_t *predictions(const struct check_view *v, const struct against *others, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count && v->udp != CHECK_UDP_UNKNOWN; i++)
		json_array_append_new(list, prediction(&v->nat.verdict, &others[i]));
	return list;
}

static json_t *lifetime(const struct check *c)
{
	return number(c->aged && !c->lifetime.unknown && c->lifetime.alive_s, c->lifetime.alive_s);
}

static void add(json_t *report, const struct check *c, const struct check_view *v)
{
	bool deep = v->depth_known == DISCOVER_YES;

	json_object_set_new(report, "pooling", answer(pooling(v)));
	json_object_set_new(report, "hairpin", answer(v->nat.hairpin));
	json_object_set_new(report, "hairpin_source", address(&v->nat.hairpin_source));
	json_object_set_new(report, "lifetime_s", lifetime(c));
	json_object_set_new(report, "portmap", portmap(v));
	json_object_set_new(report, "depth", number(deep, v->nat.verdict.depth));
	json_object_set_new(report, "cgnat", deep ? json_boolean(v->nat.verdict.cgnat) : unknown());
	json_object_set_new(report, "mtu", mtu(&v->mtu));
	json_object_set_new(report, "mtu_up", number(v->mtu.up, v->mtu.up));
	json_object_set_new(report, "mtu_down", number(v->mtu.down, v->mtu.down));
	json_object_set_new(report, "fragments", fragments(&v->mtu));
	json_object_set_new(report, "alg", answer(v->alg));
	json_object_set_new(report, "tcp", answer(c->tcp));
	json_object_set_new(report, "clash_moves_port", answer(v->nat.clash_moves_port));
}

json_t *report_json(const struct check *c, const struct against *others, size_t count)
{
	const struct check_view *v = check_main_view(c);
	const struct verdict *n = &v->nat.verdict;
	json_t *report = json_pack("{ss ss ss so so so ss ss ss ss so so so so}", "schema", "natcheck/1",
				   "verdict", verdict_names[check_verdict(c)], "udp", udp_names[v->udp],
				   "local", address(&v->local), "mapped", address(&v->mapped), "nat",
				   has_nat(v), "mapping", nat_mapping_name(n->mapping), "mapping_basis",
				   basis(v), "filtering", nat_filtering_name(n->filtering), "type",
				   nat_type_name(verdict_type(n)), "allocation", allocation(v), "ipv6",
				   ipv6(c), "servers", servers(c), "predict", predictions(v, others, count));

	if (report)
		add(report, c, v);
	return report;
}
