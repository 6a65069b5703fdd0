#include "apps/natcheck/report.h"

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

/* Without a test of the filtering, nat1 to nat3 and open or firewall cannot be told apart. */
static const char *type_name(const struct check_view *v)
{
	if (v->udp == CHECK_UDP_BLOCKED)
		return "blocked";
	return verdict_is_hard(&(struct verdict) { .mapping = v->nat.mapping }) ? "nat4" : "unknown";
}

static bool has_nat(const struct check_view *v)
{
	return v->nat.mapping != MAPPING_NONE;
}

/* --- For a person. */

static const char *mapping_in_words(enum nat_mapping mapping)
{
	switch (mapping) {
	case MAPPING_UNKNOWN: return "it takes two servers to compare";
	case MAPPING_NONE: return "your address is what the others see";
	case MAPPING_ENDPOINT_INDEPENDENT: return "the same outside port for every destination";
	case MAPPING_ADDRESS_DEPENDENT: return "another outside port for each destination address";
	case MAPPING_ADDRESS_AND_PORT_DEPENDENT: return "another outside port for each destination";
	case MAPPING_ENDPOINT_DEPENDENT: return "the outside port depends on the destination";
	}
	return "";
}

static void print_view(const char *family, const struct check_view *v, FILE *out)
{
	char local[ADDR_TEXT_MAX], mapped[ADDR_TEXT_MAX];

	if (!v->tried)
		return;
	if (v->udp != CHECK_UDP_OK) {
		fprintf(out, "%s  UDP       %s\n", family,
			v->udp == CHECK_UDP_BLOCKED ? "blocked: no server answered" : "unknown");
		return;
	}
	fprintf(out, "%s  UDP       works\n", family);
	fprintf(out, "      Address   %s here, %s from outside\n", addr_format(&v->local, local),
		addr_format(&v->mapped, mapped));
	fprintf(out, "      NAT       %s\n", has_nat(v) ? "yes" : "no");
	fprintf(out, "      Mapping   %s: %s\n", nat_mapping_name(v->nat.mapping),
		mapping_in_words(v->nat.mapping));
	fprintf(out, "      Ports     %s\n", v->nat.keeps_port ? "kept" : "changed");
	fprintf(out, "      Filtering unknown: not tested\n");
}

static void print_servers(const struct check *c, FILE *out)
{
	static const char *const words[] = {
		[CHECK_UNREACHABLE] = "no way there from this machine",
		[CHECK_SILENT] = "no answer",
		[CHECK_STRANGE] = "no answer that makes sense",
	};
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < c->count; i++) {
		const struct check_server *s = &c->servers[i];
		if (s->answer != CHECK_ANSWERED)
			fprintf(out, "%s: %s\n", addr_format(&s->client.server, text), words[s->answer]);
	}
}

static const char *advice(const struct check *c)
{
	const struct check_view *v = check_main_view(c);

	switch (check_verdict(c)) {
	case CHECK_EASY:
		if (v->nat.mapping == MAPPING_NONE)
			return "Easy. Direct connections work if no firewall forbids them; there is nothing "
			       "to "
			       "change.";
		if (v->nat.across_addresses)
			return "Easy. Others can be told where to reach you, so most connections will be "
			       "direct. "
			       "There is nothing to change.";
		return "Easy, as far as one server address can tell. A second server at another address "
		       "would "
		       "make sure.";
	case CHECK_HARD:
		return "Hard. Your router uses another port for each destination (a \"symmetric\" NAT), so "
		       "nobody "
		       "can be\ntold beforehand where to reach you; connections to others like you go "
		       "through "
		       "the relay.\nWhat helps, best first: IPv6; UPnP, NAT-PMP or PCP switched on in the "
		       "router; a UDP "
		       "port forwarded to\nthis machine; a router setting named \"full cone\" or "
		       "\"endpoint-independent NAT\".";
	case CHECK_BLOCKED:
		return "Blocked. No server answered by UDP: a firewall drops it, or the servers are down. "
		       "Try from another\nnetwork to see which; if it is the firewall, allow outgoing UDP to "
		       "the servers' ports. Without UDP\nall traffic goes through the relay over TLS, which "
		       "works "
		       "but is slower.";
	case CHECK_INCONCLUSIVE: break;
	}
	if (v->udp == CHECK_UDP_OK)
		return "Inconclusive. UDP works, but it takes two servers to tell what the NAT does: "
		       "--server A,B, best at\ntwo addresses.";
	return "Inconclusive. No STUN server was reached: check the servers' names and ports, and the "
	       "network.";
}

void report_text(const struct check *c, FILE *out)
{
	print_view("IPv4", &c->ip4, out);
	print_view("IPv6", &c->ip6, out);
	print_servers(c, out);
	fprintf(out, "\n%s\n", advice(c));
}

/* --- For a program. */

static json_t *unknown(void)
{
	return json_string("unknown");
}

static json_t *json_addr(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family == ADDR_NONE ? unknown() : json_string(addr_format(a, text));
}

static json_t *json_nat(const struct check_view *v)
{
	return v->udp == CHECK_UDP_OK ? json_boolean(has_nat(v)) : unknown();
}

static json_t *json_ipv6(const struct check_view *v)
{
	if (!v->tried)
		return unknown();
	return json_pack("{s:s s:o s:o s:o s:s}", "udp", udp_names[v->udp], "local", json_addr(&v->local),
			 "mapped", json_addr(&v->mapped), "nat", json_nat(v), "mapping",
			 nat_mapping_name(v->nat.mapping));
}

/* What the mapping was judged by: ports of one server cannot show a mapping that depends on the address. */
static const char *basis_name(const struct check_view *v)
{
	if (v->nat.mapping == MAPPING_UNKNOWN || v->nat.mapping == MAPPING_NONE)
		return "unknown";
	return v->nat.across_addresses ? "addresses" : "ports";
}

static json_t *json_allocation(const struct check_view *v)
{
	bool kept = v->udp == CHECK_UDP_OK && v->nat.keeps_port;

	return json_pack("{s:s s:s s:s s:s s:s}", "pattern", kept ? "preserving" : "unknown", "step",
			 "unknown", "noise_per_s", "unknown", "scope", "unknown", "block", "unknown");
}

static json_t *json_servers(const struct check *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->count; i++) {
		const struct check_server *s = &c->servers[i];
		json_array_append_new(
			list,
			json_pack("{s:o s:s s:o s:o}", "server", json_addr(&s->client.server), "answer",
				  answer_names[s->answer], "mapped", json_addr(&s->client.mapped), "rtt_ms",
				  s->client.rtt_ms ? json_integer(s->client.rtt_ms) : unknown()));
	}
	return list;
}

/* Keys whose tests are yet to come. */
static void add_untested(json_t *report)
{
	static const char *const keys[] = { "filtering", "pooling", "hairpin", "lifetime_s",	  "portmap",
					    "depth",	 "cgnat",   "mtu",     "clash_moves_port" };

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		json_object_set_new(report, keys[i], unknown());
	json_object_set_new(report, "predict", json_array());
}

json_t *report_json(const struct check *c)
{
	const struct check_view *v = check_main_view(c);
	json_t *report = json_pack(
		"{s:s s:s s:s s:o s:o s:o s:s s:s s:s s:o s:o s:o}", "schema", "natcheck/1", "verdict",
		verdict_names[check_verdict(c)], "udp", udp_names[v->udp], "local", json_addr(&v->local),
		"mapped", json_addr(&v->mapped), "nat", json_nat(v), "mapping",
		nat_mapping_name(v->nat.mapping), "mapping_basis", basis_name(v), "type", type_name(v),
		"allocation", json_allocation(v), "ipv6", json_ipv6(&c->ip6), "servers", json_servers(c));

	if (report)
		add_untested(report);
	return report;
}
