#include "apps/natcheck/report_text.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "apps/natcheck/hints.h"

/* "  Mapping      endpoint-independent: ..." */
static void __attribute__((format(printf, 3, 4))) line(FILE *out, const char *what, const char *fmt, ...)
{
	va_list ap;

	fprintf(out, "  %-10s ", what);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fputc('\n', out);
}

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

static const char *filtering_in_words(enum nat_filtering filtering)
{
	switch (filtering) {
	case FILTERING_UNKNOWN: return "these servers cannot tell";
	case FILTERING_ENDPOINT_INDEPENDENT: return "everybody gets in";
	case FILTERING_ADDRESS_DEPENDENT: return "only addresses that you have sent to get in";
	case FILTERING_ADDRESS_AND_PORT_DEPENDENT:
		return "only addresses and ports that you have sent to get in";
	}
	return "";
}

static void print_ports(FILE *out, const struct check_view *v)
{
	const struct verdict *n = &v->nat.verdict;
	char block[48] = "", noise[48] = "";

	if (n->block_lo)
		snprintf(block, sizeof block, ", of %u to %u", n->block_lo, n->block_hi);
	if (n->noise_per_10s)
		snprintf(noise, sizeof noise, ", others take %.1f a second", n->noise_per_10s / 10.0);
	switch (n->allocation) {
	case ALLOCATION_PRESERVING:
		line(out, "Ports", "kept: the outside port is the local one, if it is free");
		break;
	case ALLOCATION_SEQUENTIAL:
		line(out, "Ports", "in a row, step %+d%s%s", n->step, noise, block);
		break;
	case ALLOCATION_RANDOM: line(out, "Ports", "at random%s", block); break;
	default: line(out, "Ports", "unknown: too few answers to tell how they are chosen");
	}
}

static const char *yes_no(enum discover_answer a, const char *yes, const char *no)
{
	return a == DISCOVER_YES ? yes : a == DISCOVER_NO ? no : "unknown";
}

static void print_maps(FILE *out, const struct check_view *v)
{
	static const char *const names[] = {
		[GATEWAY_PCP] = "PCP", [GATEWAY_NATPMP] = "NAT-PMP", [GATEWAY_UPNP] = "UPnP"
	};
	struct addr external = check_external(v);
	char text[160] = "", address[ADDR_TEXT_MAX];
	size_t len = 0;

	if (check_maps_unknown(v)) {
		line(out, "Mapped", "unknown: PCP, NAT-PMP and UPnP were not tried, or not in time");
		return;
	}
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %s", i ? ", " : "", names[i],
					portmap_state_name(v->maps[i].state));
	if (external.family != ADDR_NONE)
		line(out, "Mapped", "%s; at %s%s", text, addr_format(&external, address),
		     check_double_nat(v) == DISCOVER_YES ? ", which is not what the internet sees" : "");
	else
		line(out, "Mapped", "%s", text);
}

static void print_depth(FILE *out, const struct check_view *v)
{
	const struct verdict *n = &v->nat.verdict;

	if (v->depth_known != DISCOVER_YES)
		line(out, "Depth", "unknown: the routers do not answer");
	else
		line(out, "Depth", "%u router%s up to the internet%s", n->depth, n->depth == 1 ? "" : "s",
		     n->cgnat ? "; a second NAT is among them, a carrier's or another router's" : "");
}

static void print_mtu(FILE *out, const struct check_view *v)
{
	const struct mtu_result *m = &v->mtu;
	char up[16] = "unknown", down[16] = "unknown";

	if (!m->up && !m->down)
		return;
	if (m->up)
		snprintf(up, sizeof up, "%u", m->up);
	if (m->down)
		snprintf(down, sizeof down, "%u", m->down);
	line(out, "Packets", "up to %s bytes out, %s in; fragments out %s, in %s", up, down,
	     yes_no(m->fragments_up, "pass", "do not pass"),
	     yes_no(m->fragments_down, "pass", "do not pass"));
}

static void print_lifetime(FILE *out, const struct check *c)
{
	const struct lifetime *l = &c->lifetime;

	if (!c->aged)
		line(out, "Lifetime", "not measured (--lifetime; it takes minutes)");
	else if (l->unknown)
		line(out, "Lifetime", "unknown: the server cannot tell");
	else if (!l->dead_s)
		line(out, "Lifetime", "%u s without traffic, or more", l->alive_s);
	else
		line(out, "Lifetime", "%u s without traffic, gone after %u s", l->alive_s, l->dead_s);
}

/* What matters only where there is a NAT. */
static void print_nat(FILE *out, const struct check *c, const struct check_view *v)
{
	print_ports(out, v);
	if (v->nat.verdict.pooling)
		line(out, "Addresses",
		     "several: your outside address changes from one connection to the next");
	line(out, "Hairpin", "%s",
	     yes_no(v->nat.hairpin, "yes: machines behind this NAT can meet by its outside address",
		    "no: machines behind this NAT meet by their local addresses only"));
	line(out, "Clash", "%s",
	     yes_no(v->nat.clash_moves_port, "your port moves when the other side's packet comes first",
		    "your port stays when the other side's packet comes first"));
	print_depth(out, v);
	print_maps(out, v);
	print_lifetime(out, c);
}

static void print_view(FILE *out, const char *family, const struct check *c, const struct check_view *v)
{
	const struct verdict *n = &v->nat.verdict;
	char local[ADDR_TEXT_MAX], mapped[ADDR_TEXT_MAX];

	if (!v->tried)
		return;
	if (v->udp != CHECK_UDP_OK) {
		fprintf(out, "\n%s: %s\n", family,
			v->udp == CHECK_UDP_BLOCKED ? "UDP blocked, no server answered" : "unknown");
		return;
	}
	fprintf(out, "\n%s: %s here, %s outside\n", family, addr_format(&v->local, local),
		addr_format(&v->mapped, mapped));
	line(out, "Mapping", "%s: %s", nat_mapping_name(n->mapping), mapping_in_words(n->mapping));
	line(out, "Filtering", "%s: %s", nat_filtering_name(n->filtering), filtering_in_words(n->filtering));
	if (check_has_nat(v))
		print_nat(out, c, v);
	print_mtu(out, v);
	if (v->alg == DISCOVER_YES)
		line(out, "Tampering", "addresses inside packets are rewritten on the way");
	if (v == &c->ip6 && c->nat64.found == DISCOVER_YES)
		line(out, "NAT64", "IPv4 servers are reached by IPv6, at %s",
		     addr_format(&c->nat64.prefix, local));
}

static void print_servers(FILE *out, const struct check *c)
{
	static const char *const words[] = {
		[CHECK_UNREACHABLE] = "no way there from this machine",
		[CHECK_SILENT] = "no answer",
		[CHECK_STRANGE] = "no answer that makes sense",
	};
	char text[ADDR_TEXT_MAX];
	const char *gap = "\n";

	for (size_t i = 0; i < c->count; i++) {
		const struct check_server *s = &c->servers[i];
		if (s->answer == CHECK_ANSWERED)
			continue;
		fprintf(out, "%s%s: %s\n", gap, addr_format(&s->addr, text), words[s->answer]);
		gap = "";
	}
	if (c->tcp != DISCOVER_UNKNOWN)
		fprintf(out, "%sTCP connections %s\n", gap,
			c->tcp == DISCOVER_YES ? "work" : "do not come about");
}

/* --- To whom it will connect */

/* A computed chance leaves out what can go wrong besides. */
static const double MOST_SURE = 0.999;

static const char *in_words(enum technique t)
{
	switch (t) {
	case TECHNIQUE_SIMULTANEOUS_OPEN: return "both send at the same time";
	case TECHNIQUE_BIRTHDAY: return "one opens many ports, the other tries them";
	case TECHNIQUE_SEQUENTIAL: return "the next ports in a row are tried";
	case TECHNIQUE_RENDEZVOUS: return "both meet at a port further along";
	case TECHNIQUE_HARD_BIRTHDAY: return "both try many ports";
	case TECHNIQUE_NONE: break;
	}
	return "the relay carries";
}

/* Tenths of a second, rounded up: nothing takes no time. */
static double seconds(uint32_t ms)
{
	return ceil(ms / 100.0) / 10;
}

static void print_prediction(FILE *out, const struct verdict *ours, const struct against *theirs)
{
	struct technique_plan p = against_plan(ours, theirs);

	if (p.technique == TECHNIQUE_NONE)
		line(out, theirs->name, "relayed: %s", p.why ? p.why : "");
	else if (p.success <= 0)
		line(out, theirs->name, "unknown: %s", p.why ? p.why : "");
	else
		line(out, theirs->name, "direct, %.1f %%, %.1f s (%.1f s at worst): %s",
		     fmin(p.success, MOST_SURE) * 100, seconds(p.mean_ms), seconds(p.worst_ms),
		     in_words(p.technique));
}

static void print_predictions(FILE *out, const struct check_view *v, const struct against *others,
			      size_t count)
{
	if (v->udp != CHECK_UDP_OK || v->nat.verdict.mapping == MAPPING_UNKNOWN)
		return;
	fprintf(out, "\nTo expect at the first try, and how long the search takes (computed), against\n");
	for (size_t i = 0; i < count; i++)
		print_prediction(out, &v->nat.verdict, &others[i]);
}

static void print_advice(FILE *out, const struct check *c)
{
	const char *items[HINTS_MAX];
	size_t count = hints_list(c, items);

	if (count)
		fprintf(out, "\nWhat helps\n");
	for (size_t i = 0; i < count; i++) {
		const char *rest = items[i], *end;
		for (const char *mark = "- "; (end = strchr(rest, '\n')); rest = end + 1, mark = "  ")
			fprintf(out, "  %s%.*s\n", mark, (int)(end - rest), rest);
		fprintf(out, "  %s%s\n", rest == items[i] ? "- " : "  ", rest);
	}
}

void report_text(const struct check *c, const struct against *others, size_t count, FILE *out)
{
	fprintf(out, "%s\n", hints_headline(c));
	print_view(out, "IPv4", c, &c->ip4);
	print_view(out, "IPv6", c, &c->ip6);
	print_servers(out, c);
	print_predictions(out, check_main_view(c), others, count);
	print_advice(out, c);
}
