/* The kernel's NAT against the real kernel and nft, from a visitor to a service: visits, and changes. */
#include "host_nat_ends.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOTH(the_service_sees_the_visitor),
		WITH_BOTH(a_thousand_ports_keep_their_order),
		WITH_BOTH(members_reach_the_owner_and_visitors_do_not),
		WITH_BOTH(visits_are_counted),
		WITH_BOTH(what_is_removed_is_reset_and_the_rest_lives),
		WITH_BOTH(a_port_that_is_taken_changes_nothing),
		WITH_BOTH(what_others_undo_is_put_right),
		WITH_BOTH(the_gateway_is_no_router_for_others),
	};
	return run_or_skip(tests, sizeof tests / sizeof *tests, "tests");
}
