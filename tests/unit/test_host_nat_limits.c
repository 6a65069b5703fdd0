/* The kernel's NAT against the real kernel and nft: who is let in, how many, how fast, how long. */
#include "host_nat_ends.h"

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

static void no_limit_is_more_than_the_kernel_takes(void **state)
{
	static const uint64_t rates[] = { 1, 14800000000, 125000000000, UINT64_MAX };
	struct ends *s = *state;

	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
		s->at_gw[0].rate = s->at_own[0].rate = rates[i];
		make(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOTH(who_is_not_allowed_is_refused_at_either_end),
		WITH_BOTH(who_is_not_allowed_any_more_is_cut_off),
		WITH_BOTH(above_the_cap_new_ones_are_reset_and_old_ones_live),
		WITH_BOTH(a_cap_that_changes_counts_those_that_live),
		WITH_BOTH(a_pause_stands_still_and_goes_on),
		WITH_BOTH(an_idle_connection_is_ended),
		WITH_BOTH(what_is_over_the_rate_is_dropped_and_counted),
		WITH_BOTH(no_limit_is_more_than_the_kernel_takes),
	};
	return run_or_skip(tests, sizeof tests / sizeof *tests, "tests");
}
