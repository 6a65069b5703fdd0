#include "apps/natcheck/hints.h"

static const char symmetric[] =
	"NAT4, symmetric: hard. Each destination gets another outside port, so nobody can be told\n"
	"beforehand where to reach you. Direct with NAT1 to NAT3, if need be after a search; hardly\n"
	"with NAT4.";

static const char blocked[] = "UDP is blocked, or the servers are down: none answered.\n"
			      "Without UDP p2pd reaches nobody directly: its hub relays all, over TLS.";

static const char *const by_type[] = {
	[NAT_TYPE_UNKNOWN] = "UDP works. What the NAT does cannot be told in full by these servers.",
	[NAT_TYPE_OPEN] = "No NAT and nothing in the way (open): everybody can reach you directly.",
	[NAT_TYPE_FIREWALL] =
		"No NAT, but a firewall that lets in only answers: easy. Direct with nearly everybody.",
	[NAT_TYPE_1] =
		"NAT1, full cone: easy. Whoever knows your outside port gets in; direct with everybody.",
	[NAT_TYPE_2] = "NAT2, address-restricted cone: easy. Direct with everybody, once both have begun.",
	[NAT_TYPE_3] =
		"NAT3, port-restricted cone: easy. Direct with NAT1 to NAT3, with NAT4 after a search.",
	[NAT_TYPE_4] = symmetric,
	[NAT_TYPE_BLOCKED] = blocked,
};

const char *hints_headline(const struct check *c)
{
	const struct check_view *v = check_main_view(c);
	enum nat_type type = verdict_type(&v->nat.verdict);

	if (v->udp == CHECK_UDP_UNKNOWN)
		return "Inconclusive: no STUN server was reached.";
	if (type == NAT_TYPE_UNKNOWN && v->nat.verdict.mapping == MAPPING_NONE)
		return "No NAT: easy. Whether a firewall filters cannot be told by these servers.";
	if (type == NAT_TYPE_UNKNOWN && verdict_is_easy(&v->nat.verdict))
		return "NAT1 to NAT3 (cone): easy. Others can be told where to reach you.";
	return by_type[type];
}

/* --- What to change */

struct list {
	const char **items;
	size_t count;
};

static void say(struct list *l, const char *text)
{
	if (l->count < HINTS_MAX)
		l->items[l->count++] = text;
}

static bool any_map(const struct check_view *v, enum portmap_state state)
{
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		if (v->maps[i].state == state)
			return true;
	}
	return false;
}

static bool map_is_reached(const struct check_view *v)
{
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		if (v->maps[i].inbound == DISCOVER_YES)
			return true;
	}
	return false;
}

static void on_blocked(struct list *l, const struct check *c)
{
	if (c->tcp == DISCOVER_NO)
		say(l,
		    "TCP does not get out either: the network is down, or needs a proxy or a log-in page.");
	say(l, "A firewall drops UDP, or the servers are down: try from another network to see which.");
	say(l, "If it is the firewall: allow outgoing UDP, at least to the servers' ports.");
}

static void on_unknown(struct list *l, const struct check_view *v)
{
	if (v->udp != CHECK_UDP_OK)
		say(l, "Check the servers' names and ports, and that this machine is on the network.");
	else if (v->nat.verdict.mapping == MAPPING_UNKNOWN)
		say(l, "It takes two servers to compare, best at two addresses: --server A,B.");
	else if (v->nat.verdict.filtering == FILTERING_UNKNOWN)
		say(l, "A server with two addresses (RFC 5780), like p2phub with two of --udp, would tell "
		       "more.");
}

static void on_second_nat(struct list *l, const struct check_view *v)
{
	if (v->nat.verdict.cgnat)
		say(l, "There is a second NAT behind your router's, your provider's (carrier NAT) or another "
		       "router\n"
		       "of yours: what your router maps does not reach the internet. Ask the provider for a\n"
		       "public IPv4 address or IPv6; of two routers of your own make one a bridge.");
	else if (check_double_nat(v) == DISCOVER_YES)
		say(l,
		    "Your router's outside address is not the one that the internet sees: there is a second\n"
		    "NAT. Ask the provider for a public IPv4 address, or make one of two routers a bridge.");
}

static void on_mapping(struct list *l, const struct check_view *v)
{
	bool second = v->nat.verdict.cgnat || check_double_nat(v) == DISCOVER_YES;

	if (map_is_reached(v))
		say(l,
		    "The router opens ports on request, and the opened one was reached: p2pd uses that by\n"
		    "itself, and everybody can then reach you directly.");
	else if (second)
		return;
	else if (any_map(v, PORTMAP_WORKING))
		say(l,
		    "The router claims to open ports on request, but what the server sent did not come in.");
	else if (check_maps_unknown(v))
		say(l, "See that UPnP, NAT-PMP or PCP is on in the router, or forward a UDP port to this "
		       "machine:\n"
		       "then everybody can reach you directly.");
	else if (any_map(v, PORTMAP_REFUSED))
		say(l, "The router knows port mapping but refuses it: allow it in the router's settings "
		       "(UPnP, PCP).");
	else if (verdict_type(&v->nat.verdict) != NAT_TYPE_1)
		say(l,
		    "Switch on UPnP, NAT-PMP or PCP in the router, or forward a UDP port to this machine:\n"
		    "then everybody can reach you directly.");
}

static void on_quirks(struct list *l, const struct check *c, const struct check_view *v)
{
	if (v->alg == DISCOVER_YES)
		say(l, "Something on the way rewrites addresses inside packets: switch off SIP and other "
		       "ALGs in the router.");
	if (v->nat.clash_moves_port == DISCOVER_YES)
		say(l,
		    "Your outside port moves when the other side's packet comes first (some Linux routers):\n"
		    "p2pd allows for that; a forwarded or mapped port is spared.");
	if (v->mtu.up && v->mtu.down && v->mtu.up < 1280)
		say(l, "Large packets do not pass: something on the way has an MTU below IPv6's least.");
	if (c->aged && !c->lifetime.unknown && c->lifetime.dead_s && c->lifetime.alive_s < 30)
		say(l,
		    "The NAT forgets idle UDP early: raise its UDP timeout in the router, if there is one.");
}

size_t hints_list(const struct check *c, const char *out[static HINTS_MAX])
{
	const struct check_view *v = check_main_view(c);
	struct list l = { out, 0 };

	if (v->udp == CHECK_UDP_BLOCKED) {
		on_blocked(&l, c);
		return l.count;
	}
	on_unknown(&l, v);
	if (v->udp == CHECK_UDP_OK && check_has_nat(v)) {
		on_second_nat(&l, v);
		on_mapping(&l, v);
	}
	on_quirks(&l, c, v);
	if (v == &c->ip4 && verdict_is_hard(&v->nat.verdict) && c->ip6.udp != CHECK_UDP_OK)
		say(&l, "IPv6 has no NAT: switch it on in the router, or ask the provider for it.");
	return l.count;
}
