#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/coord_bench.h"

/* ---- login */

static void the_login_matrix(void **state)
{
	(void)state;
	const struct wrong cases[] = {
		{ "nothing", -1 },
		{ "version", LINK__REFUSED_REASON__REFUSED_VERSION, .version = 2 },
		{ "signature", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .flip_sig = 40 },
		{ "exporter", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .exporter_of = 9 },
		{ "nonce", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .nonce_of = 2 },
		{ "identity", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .ik_of = &bob },
		{ "network id", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .netid_of = &net_b },
		{ "network id and root", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .netid_of = &net_b,
		  .root_of = &net_b },
		{ "root", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .root_of = &net_b },
		{ "pass", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .flip_pass = 7 },
		{ "pass of another network", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .pass_of = &net_b },
		{ "expired", LINK__REFUSED_REASON__REFUSED_EXPIRED, .expires_in = -100000 },
		{ "lengths", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .short_by = 1 },
		{ "emptiness", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .short_by = 32 },
		{ "name tag", LINK__REFUSED_REASON__REFUSED_BAD_LOGIN, .name_tag = 65536 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct hub h;
		hub_start(&h);
		open_conn(&h, 2);
		open_conn(&h, 1);
		login_wrong(&h, 1, &ann, &cases[i]);
		if (refused_with(&h, 1) != cases[i].want)
			fail_msg("wrong %s: %d", cases[i].what, refused_with(&h, 1));
		assert_int_equal(closed(&h, 1), cases[i].want >= 0);
		assert_int_equal(coord_stats(h.c).online, cases[i].want < 0);
		assert_int_equal(heard(&h, 1, LINK__TO_NODE__BODY_WELCOME) != NULL, cases[i].want < 0);
		hub_stop(&h);
	}
}

/* Nobody can talk a login down: each kind of hub takes its kind only. */
static void a_login_is_bound_to_what_the_hub_says(void **state)
{
	(void)state;
	static const char front[] = "https://vpn.example/hub";
	static const struct {
		const char *hub, *login;
		bool in;
	} cases[] = {
		{ "", NULL, true },
		{ "", front, false },
		{ front, NULL, false },
		{ front, front, true },
		{ front, "https://vpn.example/other", false },
		{ front, "https://vpn.example/hub#sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		  false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct hub h;
		hub_start_as(&h, true, cases[i].hub);
		open_conn(&h, 1);
		assert_string_equal(heard(&h, 1, LINK__TO_NODE__BODY_CHALLENGE)->challenge->front,
				    cases[i].hub);
		login_wrong(&h, 1, &ann, &(struct wrong) { .front = cases[i].login });
		assert_int_equal(heard(&h, 1, LINK__TO_NODE__BODY_WELCOME) != NULL, cases[i].in);
		assert_int_equal(closed(&h, 1), !cases[i].in);
		hub_stop(&h);
	}
}

static void a_replayed_login_is_refused_on_another_connection(void **state)
{
	(void)state;
	struct hub h;
	struct login_bytes b;
	Link__ToHub m = LINK__TO_HUB__INIT;

	hub_start(&h);
	open_conn(&h, 1);
	open_conn(&h, 2);
	make_login(&h, &b, 1, &ann, &(struct wrong) { 0 });
	m.body_case = LINK__TO_HUB__BODY_LOGIN;
	m.login = &b.login;
	say(&h, 1, &m);
	assert_non_null(heard(&h, 1, LINK__TO_NODE__BODY_WELCOME));
	say(&h, 2, &m);
	assert_int_equal(refused_with(&h, 2), LINK__REFUSED_REASON__REFUSED_BAD_LOGIN);
	assert_int_equal(coord_stats(h.c).online, 1);
	hub_stop(&h);
}

static void nothing_but_a_login_is_heard_before_it_and_none_after_it(void **state)
{
	(void)state;
	struct hub h;
	Link__ToHub none = LINK__TO_HUB__INIT;

	hub_start(&h);
	for (uint64_t conn = 1; conn <= 5; conn++)
		open_conn(&h, conn);
	publish(&h, 1, 1, "r", 1);
	assert_true(closed(&h, 1));
	introduce(&h, 2, &bob);
	assert_true(closed(&h, 2));
	relay_open(&h, 3, &bob);
	assert_true(closed(&h, 3));
	say(&h, 4, &none);
	assert_true(closed(&h, 4));
	login_wrong(&h, 5, &ann, &(struct wrong) { 0 });
	say(&h, 5, &none);
	assert_false(closed(&h, 5));
	login_wrong(&h, 5, &ann, &(struct wrong) { 0 });
	assert_true(closed(&h, 5));
	assert_int_equal(coord_stats(h.c).malformed, 5);
	hub_stop(&h);
}

static void who_does_not_log_in_is_closed_after_ten_seconds(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	open_conn(&h, 1);
	join(&h, 2, &ann);
	pass_time(&h, COORD_LOGIN_TIMEOUT_MS - 1);
	assert_false(closed(&h, 1));
	pass_time(&h, 1);
	assert_true(closed(&h, 1));
	assert_false(closed(&h, 2));
	login_wrong(&h, 1, &bob, &(struct wrong) { 0 });
	assert_int_equal(h.count, 0);
	leave(&h, 1);
	assert_int_equal(coord_stats(h.c).connections, 1);
	hub_stop(&h);
}

static void a_welcome_says_what_a_node_needs(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	const Link__Welcome *w = join(&h, 1, &ann);
	assert_int_equal(w->n_udp, 2);
	assert_int_equal(w->udp[0]->ip.len, 0);
	assert_int_equal(w->udp[0]->port, 3478);
	assert_int_equal(w->udp[1]->ip.len, 4);
	assert_int_not_equal(w->bind_slot, 0);
	assert_int_equal(w->bind_token.len, RELAY_TOKEN);
	assert_false(crypto_is_zero(w->bind_token.data, RELAY_TOKEN));
	assert_int_equal(w->members, 0);
	assert_false(w->same_name_elsewhere);
	assert_int_equal(join(&h, 2, &bob)->members, 1);
	w = join(&h, 3, &eve);
	assert_int_equal(w->members, 0);
	assert_true(w->same_name_elsewhere);
	leave(&h, 1);
	leave(&h, 2);
	leave(&h, 3);
	assert_false(join(&h, 4, &eve)->same_name_elsewhere);
	hub_stop(&h);
}

static void a_second_login_replaces_the_first(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 3, &ann);
	assert_int_equal(refused_with(&h, 1), LINK__REFUSED_REASON__REFUSED_REPLACED);
	assert_true(closed(&h, 1));
	assert_null(heard_of(&h, 2, &ann));
	leave(&h, 1);
	assert_null(heard_of(&h, 2, &ann));
	assert_int_equal(coord_stats(h.c).online, 2);
	publish(&h, 3, 1, "new", 3);
	assert_non_null(heard_of(&h, 2, &ann));
	hub_stop(&h);
}

/* ---- presence and records */

static void members_hear_of_each_other_and_of_nobody_else(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 9, &eve);
	join(&h, 2, &bob);
	assert_true(heard_of(&h, 1, &bob)->online);
	assert_true(heard_of(&h, 2, &ann)->online);
	assert_null(heard_of(&h, 2, &eve));
	assert_null(heard_of(&h, 9, &bob));
	publish(&h, 2, 5, "bob's", 5);
	assert_memory_equal(heard_of(&h, 1, &bob)->record.data, "bob's", 5);
	assert_null(heard_of(&h, 2, &bob));
	assert_null(heard_of(&h, 9, &bob));
	leave(&h, 2);
	assert_false(heard_of(&h, 1, &bob)->online);
	assert_int_equal(heard_of(&h, 1, &bob)->record.len, 0);
	assert_null(heard_of(&h, 9, &bob));
	hub_stop(&h);
}

static void the_greatest_seq_is_kept(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	publish(&h, 1, 5, "five", 4);
	publish(&h, 1, 5, "same", 4);
	assert_int_equal(h.count, 0);
	publish(&h, 1, 4, "less", 4);
	assert_int_equal(h.count, 0);
	join(&h, 3, &cid);
	assert_memory_equal(heard_of(&h, 3, &ann)->record.data, "five", 4);
	publish(&h, 1, 6, "more", 4);
	assert_memory_equal(heard_of(&h, 2, &ann)->record.data, "more", 4);
	assert_memory_equal(heard_of(&h, 3, &ann)->record.data, "more", 4);
	hub_stop(&h);
}

static void records_have_a_size(void **state)
{
	(void)state;
	static const char big[COORD_RECORD_MAX + 1];
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	publish(&h, 1, 1, big, COORD_RECORD_MAX);
	assert_int_equal(heard_of(&h, 2, &ann)->record.len, COORD_RECORD_MAX);
	publish(&h, 1, 2, big, COORD_RECORD_MAX + 1);
	assert_true(closed(&h, 1));
	publish(&h, 2, 1, big, 0);
	assert_true(closed(&h, 2));
	hub_stop(&h);
}

static void a_record_outlives_its_node_by_an_hour(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	publish(&h, 1, 1, "ann", 3);
	leave(&h, 1);
	pass_time(&h, 3600000 - 1);
	join(&h, 2, &bob);
	assert_false(heard_of(&h, 2, &ann)->online);
	assert_memory_equal(heard_of(&h, 2, &ann)->record.data, "ann", 3);
	leave(&h, 2);
	pass_time(&h, 1);
	join(&h, 3, &cid);
	assert_null(heard_of(&h, 3, &ann));
	assert_int_equal(coord_stats(h.c).records, 0);
	hub_stop(&h);
}

/* ---- introductions */

static void both_ends_of_an_introduction_start_together(void **state)
{
	(void)state;
	static const struct {
		uint32_t rtt_a, rtt_b, in_a, in_b, one_way;
	} cases[] = {
		{ 50, 50, 20, 20, 25 }, { 100, 20, 20, 60, 30 },    { 20, 300, 160, 20, 80 },
		{ 0, 0, 20, 20, 0 },	{ 9000, 0, 20, 1020, 500 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct hub h;
		hub_start(&h);
		join_with_rtt(&h, 1, &ann, cases[i].rtt_a);
		join_with_rtt(&h, 2, &bob, cases[i].rtt_b);
		introduce(&h, 1, &bob);
		const Link__Introduction *a = heard(&h, 1, LINK__TO_NODE__BODY_INTRODUCTION)->introduction;
		const Link__Introduction *b = heard(&h, 2, LINK__TO_NODE__BODY_INTRODUCTION)->introduction;
		assert_memory_equal(a->ik.data, bob.pk, 32);
		assert_memory_equal(b->ik.data, ann.pk, 32);
		assert_int_equal(a->in_ms, cases[i].in_a);
		assert_int_equal(b->in_ms, cases[i].in_b);
		assert_int_equal(a->one_way_ms, cases[i].one_way);
		assert_int_equal(b->one_way_ms, cases[i].one_way);
		hub_stop(&h);
	}
}

static void introductions_stay_in_the_network_and_among_those_online(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 9, &eve);
	leave(&h, 2);
	introduce(&h, 1, &eve);
	assert_int_equal(h.count, 0);
	introduce(&h, 1, &bob);
	assert_int_equal(h.count, 0);
	introduce(&h, 1, &ann);
	assert_int_equal(h.count, 0);
	assert_int_equal(coord_stats(h.c).introductions, 0);
	hub_stop(&h);
}

static void a_pair_is_introduced_twice_a_second_at_most(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 3, &cid);
	for (int i = 0; i < 100; i++, h.now += 10) {
		introduce(&h, 1, &bob);
		introduce(&h, 2, &ann);
	}
	assert_int_equal(coord_stats(h.c).introductions, 2);
	introduce(&h, 1, &cid);
	assert_int_equal(coord_stats(h.c).introductions, 3);
	hub_stop(&h);
}

static void a_pair_is_remembered_for_the_whole_gap(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	join(&h, 2, &bob);
	join(&h, 3, &cid);
	introduce(&h, 2, &cid);
	h.now += COORD_INTRODUCE_GAP_MS - 100;
	introduce(&h, 1, &bob);
	h.now += 200;
	introduce(&h, 2, &cid);
	assert_int_equal(coord_stats(h.c).introductions, 3);
	h.now += COORD_INTRODUCE_GAP_MS - 201;
	introduce(&h, 2, &ann);
	assert_int_equal(coord_stats(h.c).introductions, 3);
	h.now += 1;
	introduce(&h, 2, &ann);
	assert_int_equal(coord_stats(h.c).introductions, 4);
	hub_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_login_matrix),
		cmocka_unit_test(a_login_is_bound_to_what_the_hub_says),
		cmocka_unit_test(a_replayed_login_is_refused_on_another_connection),
		cmocka_unit_test(nothing_but_a_login_is_heard_before_it_and_none_after_it),
		cmocka_unit_test(who_does_not_log_in_is_closed_after_ten_seconds),
		cmocka_unit_test(a_welcome_says_what_a_node_needs),
		cmocka_unit_test(a_second_login_replaces_the_first),
		cmocka_unit_test(members_hear_of_each_other_and_of_nobody_else),
		cmocka_unit_test(the_greatest_seq_is_kept),
		cmocka_unit_test(records_have_a_size),
		cmocka_unit_test(a_record_outlives_its_node_by_an_hour),
		cmocka_unit_test(both_ends_of_an_introduction_start_together),
		cmocka_unit_test(introductions_stay_in_the_network_and_among_those_online),
		cmocka_unit_test(a_pair_is_introduced_twice_a_second_at_most),
		cmocka_unit_test(a_pair_is_remembered_for_the_whole_gap),
	};
	return cmocka_run_group_tests(tests, bench_setup, NULL);
}
