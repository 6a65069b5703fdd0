/* The kernel's NAT against the real kernel, nft, iptables and ufw, from a visitor to a service. */
#include "nat_net.h"

#include <net/if.h>
#include <signal.h>
#include <sys/wait.h>

#include "tun/host_nat.h"

enum { EXIT_SKIPPED = 77 };

static struct host_nat *open_at(const char *ns)
{
	bool gw = strcmp(ns, "gw") == 0;
	char why[HOST_NAT_WHY] = "";
	struct host_nat *n;

	enter(ns);
	struct host_nat_config c = {
		.tun = "p2pd0",
		.ifindex = if_nametoindex("p2pd0"),
		.ip4 = at(gw ? GW_OVERLAY4 : OWN_OVERLAY4, 0),
		.ip6 = at(gw ? GW_OVERLAY6 : OWN_OVERLAY6, 0),
		.prefix4 = at("100.64.0.0", 0),
		.bits4 = 10,
		.prefix6 = at("fd00:77::", 0),
		.bits6 = 64,
	};
	if (host_nat_open(&n, &c, why))
		fail_msg("host_nat_open: %s", why);
	return n;
}

static struct forward_entry entry(uint8_t id, enum forward_side side, enum forward_proto proto,
				  const char *listen, unsigned port, const char *target, unsigned target_port,
				  unsigned count)
{
	struct forward_entry e = {
		.id = { 1, 2, 3, [15] = id },
		.side = side,
		.proto = proto,
		.listen = at(listen, port),
		.target = at(target, target_port),
		.count = (uint16_t)count,
		.max_conn = 2000,
		.idle_s = 90,
	};
	if (side == FORWARD_OWNER) {
		e.gateway4 = at(GW_OVERLAY4, 0);
		e.gateway6 = at(GW_OVERLAY6, 0);
	}
	return e;
}

static void apply(struct host_nat *n, const char *ns, const struct forward_entry *e, size_t count)
{
	char why[HOST_NAT_WHY] = "";

	enter(ns);
	int rc = host_nat_apply(n, e, count, why);
	if (rc)
		fail_msg("host_nat_apply at %s: %d %s", ns, rc, why);
}

static struct forward_stats stats(struct host_nat *n, const char *ns, uint8_t id, uint64_t now_ms)
{
	struct forward_stats s;

	enter(ns);
	assert_int_equal(host_nat_look(n, now_ms), 0);
	assert_true(host_nat_stats(n, (uint8_t[FORWARD_ID]) { 1, 2, 3, [15] = id }, &s));
	return s;
}

/* Both ends of the tunnel. */
struct ends {
	struct host_nat *gw, *own;
	struct forward_entry at_gw[8], at_own[8];
	size_t count;
};

static void add(struct ends *s, uint8_t id, enum forward_proto proto, bool v6, unsigned port,
		const char *target, unsigned target_port, unsigned count)
{
	unsigned tunnel = 10000 + port;
	const char *public = v6 ? GW6 : GW4, *overlay = v6 ? OWN_OVERLAY6 : OWN_OVERLAY4;

	s->at_gw[s->count] = entry(id, FORWARD_GATEWAY, proto, public, port, overlay, tunnel, count);
	s->at_own[s->count++] = entry(id, FORWARD_OWNER, proto, overlay, tunnel, target, target_port, count);
}

static void make(struct ends *s)
{
	apply(s->gw, "gw", s->at_gw, s->count);
	apply(s->own, "own", s->at_own, s->count);
}

static void footprint(const char *ns, char *out, size_t cap)
{
	sh_out(out, cap,
	       "ip netns exec %s sh -c 'nft list ruleset; iptables-save | grep -v ^#; ip rule; ip -6 rule; "
	       "ip route show table all; sysctl -a 2>/dev/null | grep -E "
	       "\"forwarding|ip_forward|rp_filter|accept_ra \"; "
	       "conntrack -L 2>/dev/null | grep mark=[1-9]' | sed 's/\\[[0-9]*:[0-9]*\\]//; s/packets [0-9]* "
	       "bytes [0-9]*//; "
	       "/fe80\\|ff00\\|p2pd0.rp_filter\\|expires/d'",
	       ns);
}

static void same(const char *before, const char *after)
{
	size_t i = 0;

	while (before[i] && before[i] == after[i])
		i++;
	if (before[i] || after[i])
		fail_msg("before: %.200s\nafter: %.200s", before + i, after + i);
}

static char before_gw[65536], before_own[65536];

static int open_both(void **state)
{
	struct ends *s = calloc(1, sizeof *s);

	footprint("gw", before_gw, sizeof before_gw);
	footprint("own", before_own, sizeof before_own);
	s->gw = open_at("gw");
	s->own = open_at("own");
	*state = s;
	return 0;
}

/* Nothing is left, whatever a test did. */
static int close_both(void **state)
{
	static char after[65536];
	struct ends *s = *state;

	enter("gw");
	host_nat_close(s->gw);
	footprint("gw", after, sizeof after);
	same(before_gw, after);
	enter("own");
	host_nat_close(s->own);
	footprint("own", after, sizeof after);
	same(before_own, after);
	free(s);
	return 0;
}

static void expect_tcp(const char *service, struct addr at_service, struct addr public, const char *visitor)
{
	struct addr from;
	int client, server, listener = bound(service, SOCK_STREAM, at_service);

	assert_int_equal(visit("vis", public, &client), 0);
	server = taken(listener, &from);
	struct addr want = at(visitor, 0);
	assert_true(addr_same_ip(&from, &want));
	assert_true(says(client, server));
	assert_true(says(server, client));
	close(client);
	close(server);
	close(listener);
}

static void expect_udp(const char *service, struct addr at_service, struct addr public, const char *visitor)
{
	struct sockaddr_storage to, ss;
	socklen_t len = sizeof ss;
	char word[8] = "";
	int server = bound(service, SOCK_DGRAM, at_service);
	int client = bound("vis", SOCK_DGRAM, at(visitor, 0));

	unsigned to_len = addr_to_sockaddr(&public, &to);
	assert_int_equal(connect(client, (struct sockaddr *)&to, to_len), 0);
	assert_int_equal(send(client, "ask", 3, 0), 3);
	assert_true(ready(server, POLLIN, NAT_NET_WAIT_MS));
	assert_int_equal(recvfrom(server, word, sizeof word, 0, (struct sockaddr *)&ss, &len), 3);
	struct addr from = addr_from_sockaddr((struct sockaddr *)&ss), want = at(visitor, 0);
	assert_true(addr_same_ip(&from, &want));
	assert_int_equal(sendto(server, "answer", 6, 0, (struct sockaddr *)&ss, len), 6);
	assert_true(ready(client, POLLIN, NAT_NET_WAIT_MS));
	assert_int_equal(recv(client, word, sizeof word, 0), 6);
	close(client);
	close(server);
}

static void the_service_sees_the_visitor(void **state)
{
	static const struct {
		const char *ns, *ip, *any;
		bool v6;
	} cases[] = {
		{ "own", OWN4, OWN4, false },
		{ "own", OWN6, OWN6, true },
		{ "lan", LAN4, LAN4, false },
		{ "lan", LAN6, LAN6, true },
		{ "own", "127.0.0.1", "0.0.0.0", false },
		{ "own", "::1", "::", true },
	};
	struct ends *s = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool v6 = cases[i].v6;
		s->count = 0;
		add(s, 1, FORWARD_TCP, v6, 80, cases[i].ip, 8080, 1);
		add(s, 1, FORWARD_UDP, v6, 53, cases[i].ip, 5353, 1);
		make(s);
		expect_tcp(cases[i].ns, at(cases[i].any, 8080), at(v6 ? GW6 : GW4, 80), v6 ? VIS6 : VIS4);
		expect_udp(cases[i].ns, at(cases[i].any, 5353), at(v6 ? GW6 : GW4, 53), v6 ? VIS6 : VIS4);
	}
}

static void a_thousand_ports_keep_their_order(void **state)
{
	static const unsigned offsets[] = { 0, 1, 7, 500, 999 };
	struct ends *s = *state;

	add(s, 1, FORWARD_TCP, false, 2000, LAN4, 5000, 1000);
	add(s, 1, FORWARD_UDP, false, 2000, LAN4, 5000, 1000);
	add(s, 2, FORWARD_TCP, true, 2000, OWN6, 7000, 1000);
	make(s);
	for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		unsigned o = offsets[i];
		expect_tcp("lan", at(LAN4, 5000 + o), at(GW4, 2000 + o), VIS4);
		expect_udp("lan", at(LAN4, 5000 + o), at(GW4, 2000 + o), VIS4);
		expect_tcp("own", at(OWN6, 7000 + o), at(GW6, 2000 + o), VIS6);
	}
}

static void members_reach_the_owner_and_visitors_do_not(void **state)
{
	struct ends *s = *state;
	struct addr from;
	int client, listener = bound("lan", SOCK_STREAM, at(LAN4, 3306));

	s->at_own[0] = entry(3, FORWARD_OWNER, FORWARD_TCP, OWN_OVERLAY4, 3306, LAN4, 3306, 1);
	s->at_own[0].gateway4 = s->at_own[0].gateway6 = (struct addr) { 0 };
	apply(s->own, "own", s->at_own, 1);
	assert_int_equal(visit("gw", at(OWN_OVERLAY4, 3306), &client), 0);
	int server = taken(listener, &from);
	struct addr want = at(GW_OVERLAY4, 0);
	assert_true(addr_same_ip(&from, &want));
	assert_true(says(server, client));
	close(server);
	close(client);
	/* A public entry at the same host does not take members, nor their own the visitors. */
	s->at_own[0].gateway4 = at(GW_OVERLAY4, 0);
	apply(s->own, "own", s->at_own, 1);
	assert_int_equal(visit("gw", at(OWN_OVERLAY4, 3306), &client), -ECONNREFUSED);
	close(listener);
}

static void visits_are_counted(void **state)
{
	struct ends *s = *state;
	struct addr from, visitor = at(VIS4, 0);
	int client, listener = bound("lan", SOCK_STREAM, at(LAN4, 5000));

	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	add(s, 2, FORWARD_TCP, false, 81, LAN4, 5001, 1);
	make(s);
	assert_int_equal(visit("vis", at(GW4, 80), &client), 0);
	int server = taken(listener, &from);
	assert_true(says(client, server));
	for (int side = 0; side < 2; side++) {
		struct forward_stats one = stats(side ? s->own : s->gw, side ? "own" : "gw", 1, 1000);
		assert_int_equal(one.connections, 1);
		assert_int_equal(one.total, 1);
		assert_in_range(one.bytes_in, 3 * 52, 500);
		assert_in_range(one.bytes_out, 2 * 52, 500);
		assert_true(addr_same_ip(&one.last_visitor, &visitor));
		assert_int_equal(one.last_ms, 1000);
	}
	/* What was seen is no new visitor; another id's counts are its own, and stay when this one goes. */
	assert_int_equal(stats(s->gw, "gw", 1, 2000).last_ms, 1000);
	assert_int_equal(visit("vis", at(GW4, 81), &(int) { 0 }), -ECONNREFUSED);
	struct forward_stats two = stats(s->gw, "gw", 2, 3000);
	assert_int_equal(two.rejected[FORWARD_NO_SERVICE], 1);
	assert_int_equal(two.total, 1);
	assert_int_equal(two.connections, 0);
	apply(s->gw, "gw", &s->at_gw[1], 1);
	two = stats(s->gw, "gw", 2, 4000);
	assert_int_equal(two.total, 1);
	assert_false(host_nat_stats(s->gw, s->at_gw[0].id, &two));
	close(client);
	close(server);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_service_sees_the_visitor, open_both, close_both),
		cmocka_unit_test_setup_teardown(a_thousand_ports_keep_their_order, open_both, close_both),
		cmocka_unit_test_setup_teardown(members_reach_the_owner_and_visitors_do_not, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(visits_are_counted, open_both, close_both),
	};
	if (!nat_net_make()) {
		print_message("no right to make network namespaces: skipped\n");
		return EXIT_SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
