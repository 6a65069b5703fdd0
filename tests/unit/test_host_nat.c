/* The kernel's NAT against the real kernel, nft, iptables and ufw, from a visitor to a service. */
#include "nat_net.h"

#include <linux/capability.h>
#include <net/if.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

/* All that a host's network is set up with, but for what vanishes with a TUN device. */
static void footprint(const char *ns, char *out, size_t cap)
{
	sh_out(out, cap,
	       "ip netns exec %s sh -c 'nft -s list ruleset; iptables-save | grep -v ^#; ip rule; ip -6 "
	       "rule; "
	       "ip route show table all; cd /proc/sys/net; grep . ipv4/ip_forward ipv[46]/conf/*/*forwarding "
	       "ipv4/conf/*/rp_filter ipv6/conf/*/accept_ra; conntrack -L 2>/dev/null | grep mark=[1-9]' "
	       "2>/dev/null | "
	       "sed 's/\\[[0-9]*:[0-9]*\\]//; /fe80\\|ff00\\|p2pd0.rp_filter\\|expires/d'",
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

/* --- Limits */

static int visit_code(struct addr to)
{
	int fd, rc = visit_wait("vis", to, NAT_NET_WAIT_MS, &fd);

	if (rc == 0)
		close(fd);
	return rc;
}

struct living {
	int client, server;
};

static uint16_t port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	return addr_from_sockaddr((struct sockaddr *)&ss).port;
}

/* Others may have come before, and gone. */
static struct living open_living(int listener, struct addr public)
{
	struct living l;
	struct addr from;

	assert_int_equal(visit("vis", public, &l.client), 0);
	for (;;) {
		l.server = taken(listener, &from);
		if (from.port == port_of(l.client))
			return l;
		close(l.server);
	}
}

static void close_living(const struct living *l)
{
	close(l->client);
	close(l->server);
}

static struct forward_prefix prefix(const char *ip, unsigned bits)
{
	return (struct forward_prefix) { at(ip, 0), (uint8_t)bits };
}

static void who_is_not_allowed_is_refused_at_either_end(void **state)
{
	static const struct {
		const char *allow;
		unsigned bits;
		int v4, v6;
	} cases[] = {
		{ "203.0.113.0", 24, 0, -ECONNREFUSED },
		{ VIS4, 32, 0, -ECONNREFUSED },
		{ "203.0.113.10", 32, -ECONNREFUSED, -ECONNREFUSED },
		{ "2001:db8::", 32, -ECONNREFUSED, 0 },
		{ "0.0.0.0", 0, 0, -ECONNREFUSED },
		{ "::", 0, -ECONNREFUSED, 0 },
	};
	struct ends *s = *state;
	uint64_t refused = 0;
	int four = bound("lan", SOCK_STREAM, at(LAN4, 5000)), six = bound("lan", SOCK_STREAM, at(LAN6, 5000));

	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	add(s, 1, FORWARD_TCP, true, 80, LAN6, 5000, 1);
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		size_t c = i / 2;
		struct forward_entry *checks = i % 2 ? s->at_gw : s->at_own,
				     *not = i % 2 ? s->at_own : s->at_gw;
		for (size_t k = 0; k < 2; k++) {
			not [k].restricted = false;
			checks[k].restricted = true;
			checks[k].allow_count = 1;
			checks[k].allow[0] = prefix(cases[c].allow, cases[c].bits);
		}
		make(s);
		assert_int_equal(visit_code(at(GW4, 80)), cases[c].v4);
		assert_int_equal(visit_code(at(GW6, 80)), cases[c].v6);
		refused += i % 2 && cases[c].v4;
		refused += i % 2 && cases[c].v6;
	}
	assert_int_equal(stats(s->gw, "gw", 1, 1).rejected[FORWARD_NOT_ALLOWED], refused);
	close(four);
	close(six);
}

static void who_is_not_allowed_any_more_is_cut_off(void **state)
{
	struct ends *s = *state;
	int listener = bound("lan", SOCK_STREAM, at(LAN4, 5000));

	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	s->at_gw[0].restricted = true;
	s->at_gw[0].allow_count = 2;
	s->at_gw[0].allow[0] = prefix(VIS4, 32);
	s->at_gw[0].allow[1] = prefix("198.51.100.0", 24);
	make(s);
	struct living l = open_living(listener, at(GW4, 80));
	s->at_gw[0].allow[0] = prefix("198.51.100.0", 24);
	s->at_gw[0].allow[1] = prefix(VIS4, 32);
	make(s);
	assert_true(says(l.client, l.server)); /* in another order */
	s->at_gw[0].allow_count = 1;
	make(s);
	assert_false(says_within(l.client, l.server, NAT_NET_SHORT_MS));
	assert_true(was_reset(l.client));
	close_living(&l);
	close(listener);
}

static void above_the_cap_new_ones_are_reset_and_old_ones_live(void **state)
{
	struct ends *s = *state;

	for (int side = 0; side < 2; side++) {
		int listener = bound("lan", SOCK_STREAM, at(LAN4, 5000));
		s->count = 0;
		add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 2);
		add(s, 2, FORWARD_TCP, false, 90, LAN4, 5000, 1);
		(side ? s->at_own : s->at_gw)[0].max_conn = 2;
		make(s);
		struct living one = open_living(listener, at(GW4, 80)),
			      two = open_living(listener, at(GW4, 80));
		assert_int_equal(visit_code(at(GW4, 80)), -ECONNREFUSED);
		/* Another id has its own; a change of another changes nothing. */
		struct living other = open_living(listener, at(GW4, 90));
		s->at_gw[1].rate = 1000000;
		s->at_own[1].paused = true;
		make(s);
		assert_int_equal(visit_code(at(GW4, 80)), -ECONNREFUSED);
		assert_true(says(one.client, one.server));
		assert_true(says(two.server, two.client));
		struct forward_stats st = side ? stats(s->own, "own", 1, 1) : stats(s->gw, "gw", 1, 1);
		assert_int_equal(st.rejected[FORWARD_FULL], 2);
		assert_int_equal(st.connections, 2);
		assert_int_equal(st.total, 2);
		close_living(&one);
		close_living(&two);
		close_living(&other);
		close(listener);
		apply(s->gw, "gw", NULL, 0);
		apply(s->own, "own", NULL, 0);
	}
}

static void a_cap_that_changes_counts_those_that_live(void **state)
{
	struct ends *s = *state;
	struct living l[6];
	int listener = bound("lan", SOCK_STREAM, at(LAN4, 5000));

	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	make(s);
	for (int i = 0; i < 4; i++)
		l[i] = open_living(listener, at(GW4, 80));
	s->at_gw[0].max_conn = 5;
	make(s);
	l[4] = open_living(listener, at(GW4, 80));
	assert_int_equal(visit_code(at(GW4, 80)), -ECONNREFUSED);
	assert_int_equal(stats(s->gw, "gw", 1, 1).connections, 5);
	s->at_gw[0].max_conn = 3;
	make(s);
	assert_int_equal(visit_code(at(GW4, 80)), -ECONNREFUSED);
	for (int i = 0; i < 5; i++)
		assert_true(says(l[i].client, l[i].server));
	/* Where enough are gone, others may come. */
	for (int i = 0; i < 4; i++) {
		struct linger reset = { .l_onoff = 1 };
		setsockopt(l[i].client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close_living(&l[i]);
	}
	assert_int_equal(stats(s->gw, "gw", 1, 2).connections, 1);
	l[0] = open_living(listener, at(GW4, 80));
	l[1] = open_living(listener, at(GW4, 80));
	assert_int_equal(visit_code(at(GW4, 80)), -ECONNREFUSED);
	close_living(&l[0]);
	close_living(&l[1]);
	close_living(&l[4]);
	close(listener);
}

static void a_pause_stands_still_and_goes_on(void **state)
{
	struct ends *s = *state;
	int listener = bound("lan", SOCK_STREAM, at(LAN4, 5000));

	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	make(s);
	for (int side = 0; side < 2; side++) {
		struct living l = open_living(listener, at(GW4, 80));
		struct forward_entry *e = side ? s->at_own : s->at_gw;
		e->paused = true;
		make(s);
		assert_false(says_within(l.client, l.server, NAT_NET_SHORT_MS));
		assert_int_equal(visit_code(at(GW4, 80)), -ECONNREFUSED);
		struct forward_stats st = side ? stats(s->own, "own", 1, 1) : stats(s->gw, "gw", 1, 1);
		assert_int_equal(st.rejected[FORWARD_PAUSED], 1);
		assert_int_equal(st.connections, 1);
		e->paused = false;
		make(s);
		assert_true(ready(l.server, POLLIN, NAT_NET_WAIT_MS)); /* what was said before */
		close_living(&l);
	}
	close(listener);
}

static void an_idle_connection_is_ended(void **state)
{
	struct ends *s = *state;
	int listener = bound("own", SOCK_STREAM, at(OWN4, 5000));
	struct forward_stats gw, own;

	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	s->at_gw[0].idle_s = s->at_own[0].idle_s = 1;
	make(s);
	struct living l = open_living(listener, at(GW4, 80)), busy = open_living(listener, at(GW4, 80));
	assert_int_equal(stats(s->own, "own", 1, 1).connections, 2);
	for (int tries = 0; tries < 50; tries++) {
		assert_true(says(busy.client, busy.server));
		poll(NULL, 0, 100);
		gw = stats(s->gw, "gw", 1, 1);
		own = stats(s->own, "own", 1, 1);
		if (gw.connections == 1 && own.connections == 1)
			break;
	}
	assert_int_equal(gw.connections, 1);
	assert_int_equal(own.connections, 1);
	/* Both ends hear of it when they say something. */
	assert_int_equal(send(l.server, "x", 1, MSG_NOSIGNAL), 1);
	assert_true(was_reset(l.server));
	assert_int_equal(send(l.client, "x", 1, MSG_NOSIGNAL), 1);
	assert_true(was_reset(l.client));
	assert_true(says(busy.client, busy.server));
	close_living(&l);
	close_living(&busy);
	close(listener);
}

static void what_is_over_the_rate_is_dropped_and_counted(void **state)
{
	struct ends *s = *state;
	static char big[1300];
	struct sockaddr_storage to;
	struct addr public = at(GW4, 53);
	unsigned len = addr_to_sockaddr(&public, &to);

	for (int side = 0; side < 2; side++) {
		int server = bound("lan", SOCK_DGRAM, at(LAN4, 5353)),
		    client = bound("vis", SOCK_DGRAM, at(VIS4, 0));
		s->count = 0;
		add(s, 1, FORWARD_UDP, false, 53, LAN4, 5353, 1);
		(side ? s->at_own : s->at_gw)[0].rate = 10000;
		make(s);
		for (int i = 0; i < 200; i++)
			assert_int_equal(sendto(client, big, sizeof big, 0, (struct sockaddr *)&to, len),
					 sizeof big);
		struct forward_stats st = side ? stats(s->own, "own", 1, 1) : stats(s->gw, "gw", 1, 1);
		assert_in_range(st.rejected[FORWARD_RATE], 50, 120); /* of 260,000 bytes, 131,072 at once */
		assert_in_range(st.bytes_in, 100000, 160000);
		close(server);
		close(client);
		apply(s->gw, "gw", NULL, 0);
		apply(s->own, "own", NULL, 0);
	}
}

/* --- Changes */

static void what_is_removed_is_reset_and_the_rest_lives(void **state)
{
	static const struct {
		const char *ns, *ip;
	} cases[] = { { "own", OWN4 }, { "lan", LAN4 } };
	struct ends *s = *state;

	for (size_t i = 0; i < 2; i++) {
		int listener = bound(cases[i].ns, SOCK_STREAM, at(cases[i].ip, 5000));
		s->count = 0;
		add(s, 1, FORWARD_TCP, false, 80, cases[i].ip, 5000, 1);
		add(s, 2, FORWARD_TCP, false, 90, cases[i].ip, 5000, 1);
		make(s);
		struct living gone = open_living(listener, at(GW4, 80)),
			      stays = open_living(listener, at(GW4, 90));
		struct living silent = open_living(listener, at(GW4, 80));
		apply(s->own, "own", &s->at_own[1], 1);
		assert_int_equal(send(gone.server, "x", 1, MSG_NOSIGNAL), 1);
		assert_true(was_reset(gone.server));
		apply(s->gw, "gw", &s->at_gw[1], 1);
		assert_int_equal(send(gone.client, "x", 1, MSG_NOSIGNAL), 1);
		assert_true(was_reset(gone.client));
		assert_int_equal(send(silent.client, "x", 1, MSG_NOSIGNAL), 1);
		assert_true(was_reset(silent.client));
		assert_true(says(stays.client, stays.server));
		assert_int_equal(visit_code(at(GW4, 80)), -ECONNREFUSED);
		close_living(&gone);
		close_living(&silent);
		close_living(&stays);
		close(listener);
		apply(s->gw, "gw", NULL, 0);
		apply(s->own, "own", NULL, 0);
	}
}

static void a_port_that_is_taken_changes_nothing(void **state)
{
	struct ends *s = *state;
	char why[HOST_NAT_WHY] = "";
	int listener = bound("lan", SOCK_STREAM, at(LAN4, 5000));

	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 10);
	make(s);
	struct living l = open_living(listener, at(GW4, 80));
	add(s, 2, FORWARD_TCP, false, 85, LAN4, 6000, 1);
	s->at_gw[0].rate = 1000;
	enter("gw");
	assert_true(host_nat_apply(s->gw, s->at_gw, 2, why) < 0);
	assert_true(strlen(why) > 0);
	assert_true(says(l.client, l.server));
	assert_false(host_nat_stats(s->gw, s->at_gw[1].id, &(struct forward_stats) { 0 }));
	/* Ports may go from one to the other at once. */
	s->at_gw[0].count = 5;
	s->at_own[0].count = 5;
	make(s);
	assert_true(says(l.client, l.server));
	close_living(&l);
	close(listener);
}

static void what_others_undo_is_put_right(void **state)
{
	struct ends *s = *state;
	int listener = bound("lan", SOCK_STREAM, at(LAN4, 5000));
	struct forward_stats st;

	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	make(s);
	struct living l = open_living(listener, at(GW4, 80));
	uint64_t total = stats(s->gw, "gw", 1, 1).total;
	sh("ip netns exec gw nft flush ruleset && ip netns exec own nft flush ruleset");
	sh("ip -n own rule del priority 78 && ip -n own -6 rule del priority 78 && "
	   "ip -n own route flush table 77811");
	sh("ip netns exec gw sysctl -qw net.ipv4.conf.eth0.forwarding=0");
	assert_true(visit_code(at(GW4, 80)) != 0);
	stats(s->own, "own", 1, 2);
	st = stats(s->gw, "gw", 1, 2);
	assert_int_equal(st.total, total);
	assert_true(says(l.client, l.server));
	struct living again = open_living(listener, at(GW4, 80));
	assert_int_equal(stats(s->gw, "gw", 1, 3).total, total + 1);
	close_living(&l);
	close_living(&again);
	close(listener);
}

/* --- Nobody else comes through */

static void the_gateway_is_no_router_for_others(void **state)
{
	struct ends *s = *state;
	int listener = bound("own", SOCK_STREAM, at("0.0.0.0", 10080)),
	    own = bound("own", SOCK_STREAM, at(OWN4, 5000));
	int vis = bound("vis", SOCK_STREAM, at(VIS4, 7000)), fd;

	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	make(s);
	assert_int_equal(visit_code(at(GW4, 80)), 0);
	/* A visitor who knows the overlay's addresses does not get into it, not to the tunnel's port either. */
	sh("ip -n vis route add 100.64.0.0/10 via " GW4);
	assert_int_equal(visit_wait("vis", at(OWN_OVERLAY4, 22), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	assert_int_equal(visit_wait("vis", at(OWN_OVERLAY4, 10080), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	/* An owner does not get out of it. */
	sh("ip -n own route add " VIS4 " dev p2pd0");
	assert_true(visit_wait("own", at(VIS4, 7000), NAT_NET_SHORT_MS, &fd) != 0);
	sh("ip netns exec gw sysctl -qw net.ipv4.ip_forward=1");
	stats(s->gw, "gw", 1, 1); /* the host is a router by now, and its own rules are in force */
	assert_int_equal(visit_wait("own", at(VIS4, 7000), NAT_NET_WAIT_MS, &fd), 0);
	close(fd);
	enter("own");
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	struct addr tunnel = at(OWN_OVERLAY4, 10080), to = at(VIS4, 7000);
	close(listener);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, addr_to_sockaddr(&tunnel, &ss)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, addr_to_sockaddr(&to, &ss)), -1);
	assert_int_equal(errno, ECONNREFUSED); /* from a tunnel's port only answers come */
	close(fd);
	sh("ip netns exec gw sysctl -qw net.ipv4.ip_forward=0");
	sh("ip -n own route del " VIS4 " dev p2pd0 && ip -n vis route del 100.64.0.0/10 via " GW4);
	close(own);
	close(vis);
}

/* --- Firewalls of others */

/* What Docker makes at start and for a container with a published port. */
#define DOCKER                                                                                               \
	"iptables -P FORWARD DROP && ip6tables -P FORWARD DROP && for c in DOCKER DOCKER-USER "              \
	"DOCKER-ISOLATION-STAGE-1 "                                                                          \
	"DOCKER-ISOLATION-STAGE-2; do iptables -N $c && ip6tables -N $c; done && iptables -t nat -N DOCKER " \
	"&& "                                                                                                \
	"iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER && "                           \
	"iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE && "                     \
	"iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80 " \
	"&& "                                                                                                \
	"iptables -A FORWARD -j DOCKER-USER && iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1 && "          \
	"iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && "            \
	"iptables -A FORWARD -o docker0 -j DOCKER && iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT " \
	"&& "                                                                                                \
	"iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT && "        \
	"iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2 && "       \
	"iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP"

static const struct firewall {
	const char *name, *up, *down;
} firewalls[] = {
	{ "ufw",
	  "ufw --force reset >/dev/null && ufw allow 22/tcp >/dev/null && ufw --force enable >/dev/null",
	  "ufw --force disable >/dev/null" },
	{ "docker", DOCKER, "true" },
	{ "iptables with a last word",
	  "for t in iptables ip6tables; do for c in INPUT FORWARD; do $t -A $c -p icmp -j ACCEPT && $t -A $c "
	  "-j REJECT; "
	  "done; done",
	  "true" },
	{ "nft",
	  "nft 'table inet fw { chain in { type filter hook input priority 0; policy drop; ct state "
	  "established "
	  "accept; }; chain over { type filter hook forward priority 10; policy accept; tcp dport 22 accept; "
	  "counter "
	  "reject with icmpx admin-prohibited; }; }'",
	  "true" },
};

/* ufw keeps its settings in /etc: of a copy. */
static void own_ufw(void)
{
	sh("cp -a /etc/ufw /run/ufw-etc && cp /etc/default/ufw /run/ufw-default && sed -i "
	   "'s/^IPV6=.*/IPV6=yes/' "
	   "/run/ufw-default && mount --bind /run/ufw-etc /etc/ufw && mount --bind /run/ufw-default "
	   "/etc/default/ufw");
}

static void run_in(const char *ns, const char *script)
{
	setenv("SCRIPT", script, 1);
	sh("ip netns exec %s sh -c \"$SCRIPT\"", ns);
}

static void it_works_beside(struct ends *s, const struct firewall *fw)
{
	static char before[2][65536], after[65536];
	static const char *const ns[] = { "gw", "own" };

	print_message("beside %s\n", fw->name);
	for (int i = 0; i < 2; i++) {
		run_in(ns[i], fw->up);
		footprint(ns[i], before[i], sizeof before[i]);
	}
	s->count = 0;
	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	add(s, 1, FORWARD_UDP, false, 80, OWN4, 5000, 1);
	add(s, 2, FORWARD_TCP, false, 90, LAN4, 5000, 1);
	add(s, 2, FORWARD_TCP, true, 90, LAN6, 5000, 1);
	add(s, 3, FORWARD_TCP, true, 80, OWN6, 5000, 1);
	add(s, 3, FORWARD_UDP, true, 90, LAN6, 5000, 1);
	make(s);
	expect_tcp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	expect_udp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	expect_tcp("lan", at(LAN4, 5000), at(GW4, 90), VIS4);
	expect_tcp("lan", at(LAN6, 5000), at(GW6, 90), VIS6);
	expect_tcp("own", at(OWN6, 5000), at(GW6, 80), VIS6);
	expect_udp("lan", at(LAN6, 5000), at(GW6, 90), VIS6);
	/* Once is enough, and their program can read it. */
	make(s);
	stats(s->gw, "gw", 1, 1);
	char count[16];
	sh_out(count, sizeof count,
	       "ip netns exec gw nft list chain ip filter FORWARD 2>/dev/null | grep -c p2pd-p2pd0");
	assert_true(strcmp(count, "0") == 0 || strcmp(count, "1") == 0);
	for (int i = 0; i < 2; i++) {
		sh("ip netns exec %s iptables -S >/dev/null && ip netns exec %s ip6tables -S >/dev/null",
		   ns[i], ns[i]);
		apply(i ? s->own : s->gw, ns[i], NULL, 0);
		footprint(ns[i], after, sizeof after);
		same(before[i], after);
		run_in(ns[i], fw->down);
		run_in(ns[i], "nft flush ruleset");
	}
}

static void it_works_beside_other_firewalls(void **state)
{
	struct ends *s = *state;

	own_ufw();
	for (size_t i = 0; i < sizeof firewalls / sizeof *firewalls; i++)
		it_works_beside(s, &firewalls[i]);
}

static void a_firewall_that_comes_later_is_noticed(void **state)
{
	struct ends *s = *state;

	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	make(s);
	for (int i = 0; i < 2; i++)
		run_in(i ? "own" : "gw", firewalls[2].up);
	stats(s->gw, "gw", 1, 1);
	stats(s->own, "own", 1, 1);
	expect_tcp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	apply(s->gw, "gw", NULL, 0);
	apply(s->own, "own", NULL, 0);
	sh("ip netns exec gw nft flush ruleset && ip netns exec own nft flush ruleset");
}

static void set_inlets(struct host_nat *n, const struct forward_inlet *inlets, size_t count)
{
	enter("gw");
	assert_int_equal(host_nat_inlets(n, inlets, count), 0);
	apply(n, "gw", NULL, 0);
}

static void our_own_sockets_are_reached_behind_a_firewall(void **state)
{
	struct ends *s = *state;
	const struct forward_inlet inlets[] = {
		{ FORWARD_TCP, at(GW4, 7200), 10 },	   { FORWARD_TCP, at(GW6, 7200), 10 },
		{ FORWARD_TCP, at(GW_OVERLAY4, 7781), 1 }, { FORWARD_TCP, at(GW_OVERLAY6, 7781), 1 },
		{ FORWARD_UDP, at(GW4, 53), 1 },
	};
	int four = bound("gw", SOCK_STREAM, at("0.0.0.0", 7205)),
	    six = bound("gw", SOCK_STREAM, at("::", 7781));
	int fd, other = bound("gw", SOCK_STREAM, at("0.0.0.0", 7210));
	static char now[65536];

	set_inlets(s->gw, inlets, sizeof inlets / sizeof *inlets);
	footprint("gw", now, sizeof now);
	same(before_gw, now); /* without a firewall there is nothing to do */
	run_in("gw", firewalls[0].up);
	assert_int_equal(visit_wait("vis", at(GW4, 7205), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	enter("gw");
	assert_int_equal(host_nat_look(s->gw, 1), 0);
	assert_int_equal(visit_code(at(GW4, 7205)), 0);
	assert_int_equal(visit_wait("vis", at(GW4, 7210), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	expect_udp("gw", at(GW4, 53), at(GW4, 53), VIS4);
	struct living l = open_living(four, at(GW4, 7205));
	assert_int_equal(visit("own", at(GW_OVERLAY4, 7781), &fd), 0);
	close(fd);
	assert_int_equal(visit("own", at(GW_OVERLAY6, 7781), &fd), 0);
	close(fd);
	/* At the overlay's address, but not by the tunnel. */
	sh("ip -n vis route add " GW_OVERLAY4 " via " GW4);
	assert_int_equal(visit_wait("vis", at(GW_OVERLAY4, 7781), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	sh("ip -n vis route del " GW_OVERLAY4 " via " GW4);
	/* With entries, and without. */
	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	make(s);
	make(s);
	expect_tcp("lan", at(LAN4, 5000), at(GW4, 80), VIS4);
	apply(s->gw, "gw", NULL, 0);
	assert_true(says(l.client, l.server));
	assert_int_equal(visit_code(at(GW4, 7205)), 0);
	set_inlets(s->gw, inlets, 0);
	assert_int_equal(visit_wait("vis", at(GW4, 7205), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	set_inlets(s->gw, inlets, 1);
	assert_int_equal(visit_code(at(GW4, 7205)), 0);
	run_in("gw", firewalls[0].down);
	run_in("gw", "nft flush ruleset");
	enter("gw");
	assert_int_equal(host_nat_look(s->gw, 1), 0);
	footprint("gw", now, sizeof now);
	same(before_gw, now);
	close_living(&l);
	close(four);
	close(six);
	close(other);
}

/* --- Ends without warning */

enum { CRASHES = 12 };

/* Its children hold no descriptor of ours, or the keeper would wait for us. */
static pid_t a_daemon(const char *ns, unsigned seed, int *told)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct ends s = { .count = 0 };
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		s.gw = open_at(ns);
		add(&s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 100);
		add(&s, 2, FORWARD_UDP, true, 80, LAN6, 5000, 100);
		(void)!write(ends[1], "o", 1);
		for (unsigned i = seed;; i++)
			apply(s.gw, ns, strcmp(ns, "gw") == 0 ? s.at_gw : s.at_own, i % 3);
	}
	close(ends[1]);
	*told = ends[0];
	return pid;
}

static bool is_as_before(const char *ns, const char *before)
{
	static char after[65536];

	for (int tries = 0; tries < 100; tries++) {
		footprint(ns, after, sizeof after);
		if (strcmp(before, after) == 0)
			return true;
		poll(NULL, 0, 50);
	}
	same(before, after);
	return false;
}

static void nothing_is_left_of_a_daemon_that_was_killed(void **state)
{
	const char *many = getenv("NAT_CRASHES");
	int crashes = many ? atoi(many) : CRASHES;
	struct ends *s = *state;

	enter("gw");
	host_nat_close(s->gw);
	enter("own");
	host_nat_close(s->own);
	s->gw = s->own = NULL;
	srandom(1);
	for (int i = 0; i < crashes; i++) {
		const char *ns = i % 2 ? "gw" : "own";
		int told;
		pid_t pid = a_daemon(ns, (unsigned)i, &told);
		assert_true(ready(told, POLLIN, NAT_NET_WAIT_MS));
		poll(NULL, 0, (int)(random() % 150));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(told);
		assert_true(is_as_before(ns, i % 2 ? before_gw : before_own));
	}
	s->gw = open_at("gw");
	s->own = open_at("own");
}

static void what_even_the_keeper_left_is_removed_at_the_next_start(void **state)
{
	struct ends *s = *state;
	int told;

	enter("gw");
	host_nat_close(s->gw);
	s->gw = NULL;
	pid_t pid = a_daemon("gw", 1, &told);
	assert_true(ready(told, POLLIN, NAT_NET_WAIT_MS));
	char keepers[256] = "";
	for (int tries = 0; tries < 50 && !keepers[0]; tries++) {
		poll(NULL, 0, 20);
		sh_out(keepers, sizeof keepers, "cat /proc/%d/task/%d/children", pid, pid);
	}
	kill(pid, SIGSTOP);
	sh_out(keepers, sizeof keepers,
	       "grep -lz p2pd-keeper $(for p in $(cat /proc/%d/task/%d/children); do echo "
	       "/proc/$p/cmdline; done) /dev/null | cut -d/ -f3",
	       pid, pid);
	if (keepers[0])
		kill((pid_t)atoi(keepers), SIGKILL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(told);
	s->gw = open_at("gw");
	assert_true(is_as_before("gw", before_gw));
}

/* --- What can be */

static void what_cannot_be_is_said_with_its_reason(void **state)
{
	struct ends *s = *state;
	char why[HOST_NAT_WHY];
	int any = bound("own", SOCK_STREAM, at("::", 6000)),
	    v4 = bound("own", SOCK_DGRAM, at("0.0.0.0", 6001));
	int loop = bound("own", SOCK_STREAM, at("127.0.0.1", 6002)),
	    range = bound("own", SOCK_STREAM, at("::", 6003));
	const struct {
		enum forward_proto proto;
		const char *listen, *target;
		unsigned port, count;
		int rc;
		const char *why;
	} cases[] = {
		{ FORWARD_TCP, OWN_OVERLAY4, OWN4, 1, 1, 0, "" },
		{ FORWARD_TCP, OWN_OVERLAY6, OWN6, 1, 1, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY4, LAN4, 1, 1000, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY6, LAN6, 1, 1, 0, "" },
		{ FORWARD_TCP, OWN_OVERLAY4, OWN6, 1, 1, -ENOTSUP, "IPv4" },
		{ FORWARD_TCP, OWN_OVERLAY6, LAN4, 1, 1, -ENOTSUP, "IPv6" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6000, 1, 0, "" },
		{ FORWARD_TCP, OWN_OVERLAY6, "::1", 6000, 1, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY4, "127.0.0.1", 6001, 1, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY6, "::1", 6001, 1, -ENOTSUP, "6001" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6001, 1, -ENOTSUP, "6001" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6002, 1, -ENOTSUP, "6002" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6003, 2, -ENOTSUP, "6004" },
		{ FORWARD_TCP, OWN_OVERLAY4, "192.168.1.77", 1, 1, -ENOTSUP, "not the router" },
		{ FORWARD_TCP, OWN_OVERLAY4, "100.64.0.9", 1, 1, -ENOTSUP, "overlay" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct forward_entry e = entry(1, FORWARD_OWNER, cases[i].proto, cases[i].listen, 10000,
					       cases[i].target, cases[i].port, cases[i].count);
		why[0] = 0;
		enter("own");
		assert_int_equal(host_nat_can(s->own, &e, why), cases[i].rc);
		assert_non_null(strstr(why, cases[i].why));
	}
	sh("ip netns exec own sysctl -qw net.ipv4.ip_forward=0");
	struct forward_entry e = entry(1, FORWARD_OWNER, FORWARD_TCP, OWN_OVERLAY4, 10000, LAN4, 1, 1);
	assert_int_equal(host_nat_can(s->own, &e, why), -ENOTSUP);
	assert_non_null(strstr(why, "no router"));
	sh("ip netns exec own sysctl -qw net.ipv4.ip_forward=1");
	close(any);
	close(v4);
	close(loop);
	close(range);
}

/* Before Linux 6.17 IPv6 is forwarded by all interfaces or by none, and a router takes no default route from its own. */
static void an_older_kernel_forwards_ip6_and_keeps_its_route(void **state)
{
	struct ends *s = *state;
	char got[64];

	enter("gw");
	sh("touch /run/nothing && mount --bind /run/nothing /proc/sys/net/ipv6/conf/all/force_forwarding");
	sh("sysctl -qw net.ipv6.conf.lo.accept_ra=0");
	add(s, 1, FORWARD_TCP, true, 80, LAN6, 5000, 1);
	add(s, 2, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	make(s);
	expect_tcp("lan", at(LAN6, 5000), at(GW6, 80), VIS6);
	enter("gw");
	sh_out(got, sizeof got,
	       "cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra lo/accept_ra | tr '\\n' ' '");
	assert_string_equal(got, "1 2 0 ");
	/* Nobody else profits. */
	sh("ip -n vis route add fd00:77::/64 via " GW6);
	int fd;
	assert_int_equal(visit_wait("vis", at(OWN_OVERLAY6, 22), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	sh("ip -n vis route del fd00:77::/64 via " GW6);
	apply(s->gw, "gw", &s->at_gw[1], 1);
	sh_out(got, sizeof got,
	       "cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra lo/accept_ra | tr '\\n' ' '");
	assert_string_equal(got, "0 1 0 ");
	make(s);
	apply(s->gw, "gw", NULL, 0);
	sh_out(got, sizeof got,
	       "cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra lo/accept_ra | tr '\\n' ' '");
	assert_string_equal(got, "0 1 0 ");
	sh("sysctl -qw net.ipv6.conf.lo.accept_ra=1 && umount /proc/sys/net/ipv6/conf/all/force_forwarding");
}

/* As the systemd unit runs it: root, but with one capability. */
static void keep_net_admin_only(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };

	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (c != CAP_NET_ADMIN)
			prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	caps[0].effective = caps[0].permitted = caps[0].inheritable = 1U << CAP_NET_ADMIN;
	syscall(SYS_capset, &head, caps);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void one_capability_is_enough(void **state)
{
	struct ends *s = *state;
	int status;

	run_in("gw", firewalls[2].up);
	enter("gw");
	host_nat_close(s->gw);
	s->gw = NULL;
	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	apply(s->own, "own", s->at_own, 1);
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	enter("gw"); /* that is a right, too */
	pid_t pid = fork();
	if (pid == 0) {
		char why[HOST_NAT_WHY] = "";
		struct host_nat *n;
		struct host_nat_config c = { .tun = "p2pd0",
					     .ifindex = if_nametoindex("p2pd0"),
					     .ip4 = at(GW_OVERLAY4, 0) };
		keep_net_admin_only();
		int rc = host_nat_open(&n, &c, why);
		rc = rc ? rc : host_nat_apply(n, s->at_gw, 1, why);
		if (rc)
			print_message("%s\n", why);
		(void)!write(fds[1], "r", 1);
		while (getppid() != 1 && !rc && access("/run/one-capability-done", F_OK) != 0)
			poll(NULL, 0, 20);
		host_nat_close(n);
		_exit(rc != 0);
	}
	assert_true(ready(fds[0], POLLIN, NAT_NET_WAIT_MS));
	expect_tcp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	sh("touch /run/one-capability-done");
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	run_in("gw", "nft flush ruleset");
	s->gw = open_at("gw");
	close(fds[0]);
	close(fds[1]);
}

static void without_rights_it_says_so(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		struct host_nat_config c = { .tun = "p2pd0" };
		char why[HOST_NAT_WHY] = "";
		struct host_nat *n;
		if (setuid(65534) != 0)
			_exit(1);
		_exit(host_nat_open(&n, &c, why) == -EPERM && !n && strstr(why, "CAP_NET_ADMIN") ? 0 : 2);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_service_sees_the_visitor, open_both, close_both),
		cmocka_unit_test_setup_teardown(a_thousand_ports_keep_their_order, open_both, close_both),
		cmocka_unit_test_setup_teardown(members_reach_the_owner_and_visitors_do_not, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(visits_are_counted, open_both, close_both),
		cmocka_unit_test_setup_teardown(who_is_not_allowed_is_refused_at_either_end, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(who_is_not_allowed_any_more_is_cut_off, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(above_the_cap_new_ones_are_reset_and_old_ones_live, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(a_cap_that_changes_counts_those_that_live, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(a_pause_stands_still_and_goes_on, open_both, close_both),
		cmocka_unit_test_setup_teardown(an_idle_connection_is_ended, open_both, close_both),
		cmocka_unit_test_setup_teardown(what_is_over_the_rate_is_dropped_and_counted, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(what_is_removed_is_reset_and_the_rest_lives, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(a_port_that_is_taken_changes_nothing, open_both, close_both),
		cmocka_unit_test_setup_teardown(what_others_undo_is_put_right, open_both, close_both),
		cmocka_unit_test_setup_teardown(the_gateway_is_no_router_for_others, open_both, close_both),
		cmocka_unit_test_setup_teardown(it_works_beside_other_firewalls, open_both, close_both),
		cmocka_unit_test_setup_teardown(a_firewall_that_comes_later_is_noticed, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(our_own_sockets_are_reached_behind_a_firewall, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(nothing_is_left_of_a_daemon_that_was_killed, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(what_even_the_keeper_left_is_removed_at_the_next_start,
						open_both, close_both),
		cmocka_unit_test_setup_teardown(what_cannot_be_is_said_with_its_reason, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(an_older_kernel_forwards_ip6_and_keeps_its_route, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(one_capability_is_enough, open_both, close_both),
		cmocka_unit_test(without_rights_it_says_so),
	};
	if (!nat_net_make()) {
		print_message("no right to make network namespaces: skipped\n");
		return EXIT_SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
