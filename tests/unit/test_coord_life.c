#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/roster.h"
#include "tests/unit/coord_bench.h"

/* ---- relay sessions */

static uint32_t session_heard(const struct hub *h, uint64_t conn)
{
	const Link__ToNode *m = heard(h, conn, LINK__TO_NODE__BODY_RELAY_SESSION);
	assert_non_null(m);
	return m->relay_session->session;
}

static void both_ends_get_the_same_relay_session(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 9, &eve);
	relay_open(&h, 1, &bob);
	uint32_t session = session_heard(&h, 1);
	assert_int_not_equal(session, 0);
	assert_int_equal(session_heard(&h, 2), session);
	relay_open(&h, 2, &ann);
	assert_int_equal(session_heard(&h, 1), session);
	relay_open(&h, 1, &eve);
	assert_int_equal(session_heard(&h, 1), 0);
	assert_int_equal(h.count, 1);
	relay_open(&h, 1, &cid);
	assert_int_equal(session_heard(&h, 1), 0);
	relay_open(&h, 1, &ann);
	assert_int_equal(session_heard(&h, 1), 0);
	hub_stop(&h);
}

static void a_link_that_flaps_keeps_its_slot_for_a_minute(void **state)
{
	(void)state;
	struct hub h;
	uint8_t token[RELAY_TOKEN];

	hub_start(&h);
	const Link__Welcome *w = join(&h, 1, &ann);
	uint32_t slot = w->bind_slot;
	memcpy(token, w->bind_token.data, sizeof token);
	join(&h, 2, &bob);
	relay_open(&h, 1, &bob);
	uint32_t session = session_heard(&h, 1);
	leave(&h, 1);
	pass_time(&h, 20000);
	relay_open(&h, 2, &ann);
	assert_int_equal(session_heard(&h, 2), session);
	w = join(&h, 3, &ann);
	assert_int_equal(w->bind_slot, slot);
	assert_memory_equal(w->bind_token.data, token, sizeof token);
	leave(&h, 3);
	pass_time(&h, 60000);
	assert_int_equal(relay_server_stats(h.relay).slots, 1);
	w = join(&h, 4, &ann);
	assert_int_not_equal(w->bind_slot, slot);
	assert_memory_not_equal(w->bind_token.data, token, sizeof token);
	hub_stop(&h);
}

static void a_hub_without_relay_still_introduces(void **state)
{
	(void)state;
	struct hub h;

	hub_start_with(&h, false);
	const Link__Welcome *w = join(&h, 1, &ann);
	assert_int_equal(w->bind_slot, 0);
	assert_int_equal(w->bind_token.len, RELAY_TOKEN);
	join(&h, 2, &bob);
	relay_open(&h, 1, &bob);
	assert_int_equal(session_heard(&h, 1), 0);
	introduce(&h, 1, &bob);
	assert_int_equal(coord_stats(h.c).introductions, 1);
	hub_stop(&h);
}

/* ---- life and limits */

static void links_are_pinged_and_silent_ones_closed(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	assert_non_null(heard(&h, 1, LINK__TO_NODE__BODY_PING));
	pass_time(&h, COORD_PING_MS);
	const Link__ToNode *m = heard(&h, 1, LINK__TO_NODE__BODY_PING);
	assert_non_null(m);
	pong(&h, 1, m->ping->t);
	pass_time(&h, COORD_SILENT_MS - 1);
	assert_false(closed(&h, 1));
	pass_time(&h, 1);
	assert_true(closed(&h, 1));
	hub_stop(&h);
}

static void the_more_nodes_the_slower_they_are_to_come_back(void **state)
{
	(void)state;
	static const struct {
		uint32_t online, want;
	} table[] = { { 0, 0 },		{ 1, 0 },	  { 249, 0 },	      { 250, 500 },
		      { 20000, 40000 }, { 30000, 60000 }, { 1000000, 60000 }, { UINT32_MAX, 60000 } };

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		assert_int_equal(roster_spread_ms(table[i].online), table[i].want);
}

static void a_nodes_ping_is_answered(void **state)
{
	(void)state;
	struct hub h;
	Link__Ping ping = LINK__PING__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	hub_start(&h);
	join(&h, 1, &ann);
	ping.t = 0x1122334455667788;
	m.body_case = LINK__TO_HUB__BODY_PING;
	m.ping = &ping;
	say(&h, 1, &m);
	assert_true(heard(&h, 1, LINK__TO_NODE__BODY_PONG)->pong->t == ping.t);
	hub_stop(&h);
}

static void who_says_too_much_is_closed(void **state)
{
	(void)state;
	struct hub h;
	int said = 0;

	hub_start(&h);
	join(&h, 1, &ann);
	do
		introduce(&h, 1, &bob);
	while (!closed(&h, 1) && ++said < 5000);
	assert_int_equal(said, COORD_MESSAGES_BURST - 1); /* the login was one */
	join(&h, 2, &bob);
	for (said = 0; said < 5000 && !closed(&h, 2); said++)
		publish(&h, 2, (uint64_t)said + 1, "r", 1);
	assert_int_equal(said, COORD_PUBLISHES_BURST + 1);
	hub_stop(&h);
}

static void garbage_and_oversize_close_the_link(void **state)
{
	(void)state;
	static const uint8_t big[COORD_MESSAGE_MAX + 1];
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	coord_on_message(h.c, 1, (const uint8_t *)"\x0a\xff", 2, h.now, UNIX_S);
	coord_on_message(h.c, 2, big, sizeof big, h.now, UNIX_S);
	coord_on_message(h.c, 33, big, 1, h.now, UNIX_S);
	listen_to(&h);
	assert_true(closed(&h, 1));
	assert_true(closed(&h, 2));
	assert_int_equal(coord_stats(h.c).malformed, 2);
	hub_stop(&h);
}

static void a_full_hub_forgets_the_gone_and_refuses_when_all_are_here(void **state)
{
	(void)state;
	struct hub h;
	struct node n;

	hub_start(&h);
	join(&h, 1, &ann);
	publish(&h, 1, 1, "ann", 3);
	leave(&h, 1);
	for (uint64_t i = 0; i < MAX_NODES; i++) {
		nobody(&n, &net_a, 1000 + i);
		join(&h, 10 + i, &n);
	}
	assert_int_equal(coord_stats(h.c).records, 0);
	open_conn(&h, 1);
	login_wrong(&h, 1, &ann, &(struct wrong) { 0 });
	assert_int_equal(refused_with(&h, 1), LINK__REFUSED_REASON__REFUSED_LIMIT);
	assert_int_equal(coord_stats(h.c).online, MAX_NODES);
	hub_stop(&h);
}

static void connections_are_limited_and_ids_are_unique(void **state)
{
	(void)state;
	struct hub h;
	const uint8_t exporter[32] = { 0 };

	hub_start(&h);
	assert_int_equal(coord_on_open(h.c, 0, exporter, h.now), -EINVAL);
	for (uint64_t i = 1; i <= 2 * MAX_NODES; i++)
		open_conn(&h, i);
	assert_int_equal(coord_on_open(h.c, 1, exporter, h.now), -EINVAL);
	assert_int_equal(coord_on_open(h.c, 50, exporter, h.now), -ENOSPC);
	hub_stop(&h);
}

static void nothing_is_said_to_a_connection_that_ended(void **state)
{
	(void)state;
	struct hub h;
	const uint8_t exporter[32] = { 0 };

	hub_start(&h);
	assert_int_equal(coord_on_open(h.c, 1, exporter, h.now), 0);
	assert_int_equal(coord_on_open(h.c, 2, exporter, h.now), 0);
	coord_on_close(h.c, 1, h.now);
	coord_on_close(h.c, 1, h.now);
	listen_to(&h);
	assert_int_equal(h.count, 1);
	assert_int_equal(h.said[0].conn, 2);
	hub_stop(&h);
}

static void a_restarted_hub_gets_everything_back(void **state)
{
	(void)state;
	struct hub h;

	for (int life = 0; life < 2; life++) {
		hub_start(&h);
		join(&h, 1, &ann);
		publish(&h, 1, 5, "ann", 3);
		join(&h, 2, &bob);
		assert_memory_equal(heard_of(&h, 2, &ann)->record.data, "ann", 3);
		publish(&h, 2, 7, "bob", 3);
		assert_memory_equal(heard_of(&h, 1, &bob)->record.data, "bob", 3);
		relay_open(&h, 1, &bob);
		assert_int_not_equal(session_heard(&h, 2), 0);
		introduce(&h, 1, &bob);
		assert_non_null(heard(&h, 2, LINK__TO_NODE__BODY_INTRODUCTION));
		hub_stop(&h);
	}
}

/* ---- connections that take no more */

static size_t times_heard_of(const struct hub *h, uint64_t conn, const struct node *n)
{
	size_t times = 0;

	for (size_t i = 0; i < h->count; i++) {
		const struct said *s = &h->said[i];
		times += s->conn == conn && s->msg && s->msg->body_case == LINK__TO_NODE__BODY_PEER &&
			 !memcmp(s->msg->peer->ik.data, n->pk, 32);
	}
	return times;
}

static void resume(struct hub *h, uint64_t conn)
{
	coord_resume(h->c, conn);
	listen_to(h);
}

static void who_takes_no_more_hears_of_each_member_once_when_it_does(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	publish(&h, 2, 1, "bob", 3);
	coord_pause(h.c, 1);
	join(&h, 3, &cid);
	assert_null(heard_of(&h, 1, &cid));
	for (uint64_t seq = 1; seq < 10; seq++)
		publish(&h, 3, seq, seq < 9 ? "old" : "new", 3);
	assert_null(heard_of(&h, 1, &cid));
	assert_non_null(heard_of(&h, 2, &cid));
	/* What has nothing to do with it still goes through. */
	introduce(&h, 2, &ann);
	assert_non_null(heard(&h, 1, LINK__TO_NODE__BODY_INTRODUCTION));
	resume(&h, 1);
	assert_int_equal(times_heard_of(&h, 1, &cid), 1);
	assert_memory_equal(heard_of(&h, 1, &cid)->record.data, "new", 3);
	assert_int_equal(times_heard_of(&h, 1, &bob), 0);
	resume(&h, 1);
	assert_int_equal(h.count, 0);
	hub_stop(&h);
}

/* The record changed, then the link: the one message for both must hold the record. */
static void a_record_that_was_missed_comes_with_later_news(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 3, &cid);
	coord_pause(h.c, 1);
	publish(&h, 2, 1, "bob", 3);
	publish(&h, 3, 1, "cid", 3);
	leave(&h, 2);
	resume(&h, 1);
	const Link__Peer *news = heard_of(&h, 1, &bob);
	assert_non_null(news);
	assert_false(news->online);
	assert_memory_equal(news->record.data, "bob", 3);
	join(&h, 2, &bob);
	assert_true(heard_of(&h, 1, &bob)->online);
	assert_int_equal(heard_of(&h, 1, &bob)->record.len, 0);
	hub_stop(&h);
}

static void a_paused_connection_may_end_and_another_go_on(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	coord_pause(h.c, 1);
	coord_pause(h.c, 77);
	join(&h, 2, &bob);
	leave(&h, 1);
	resume(&h, 1);
	resume(&h, 77);
	assert_int_equal(h.count, 0);
	join(&h, 3, &ann);
	assert_non_null(heard_of(&h, 3, &bob));
	hub_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_get_the_same_relay_session),
		cmocka_unit_test(a_link_that_flaps_keeps_its_slot_for_a_minute),
		cmocka_unit_test(a_hub_without_relay_still_introduces),
		cmocka_unit_test(links_are_pinged_and_silent_ones_closed),
		cmocka_unit_test(the_more_nodes_the_slower_they_are_to_come_back),
		cmocka_unit_test(a_nodes_ping_is_answered),
		cmocka_unit_test(who_says_too_much_is_closed),
		cmocka_unit_test(garbage_and_oversize_close_the_link),
		cmocka_unit_test(a_full_hub_forgets_the_gone_and_refuses_when_all_are_here),
		cmocka_unit_test(connections_are_limited_and_ids_are_unique),
		cmocka_unit_test(nothing_is_said_to_a_connection_that_ended),
		cmocka_unit_test(a_restarted_hub_gets_everything_back),
		cmocka_unit_test(who_takes_no_more_hears_of_each_member_once_when_it_does),
		cmocka_unit_test(a_record_that_was_missed_comes_with_later_news),
		cmocka_unit_test(a_paused_connection_may_end_and_another_go_on),
	};
	return cmocka_run_group_tests(tests, bench_setup, NULL);
}
