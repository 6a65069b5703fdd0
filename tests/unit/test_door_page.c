#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "apps/p2pd/forward/door_limit.h"
#include "apps/p2pd/forward/door_page.h"
#include "lease_made.h"

enum { NOW = 1000000, MINUTE = 60000, EVERY = DOOR_WRONG_EVERY_S * 1000 };

/* --- Limits. */

struct limited {
	struct door_limit limit;
	bool tell;
};

static void limit_begin(struct limited *l)
{
	struct rng rng;

	rng_init_seed(&rng, 1);
	door_limit_init(&l->limit, &rng);
}

static bool knock(struct limited *l, const char *who, uint64_t now_ms)
{
	struct addr a = made_ip(who);

	return door_limit_knock(&l->limit, &a, now_ms, &l->tell);
}

static bool come(struct limited *l, const char *who, uint64_t now_ms)
{
	struct addr a = made_ip(who);

	return door_limit_come(&l->limit, &a, now_ms, &l->tell);
}

static void wrong(struct limited *l, const char *who, uint64_t now_ms)
{
	struct addr a = made_ip(who);

	door_limit_wrong(&l->limit, &a, now_ms);
}

static void who_guesses_waits_for_each(void **state)
{
	(void)state;
	struct limited l;

	limit_begin(&l);
	for (int i = 0; i < DOOR_WRONG_BURST; i++) {
		assert_true(knock(&l, "198.51.100.7", NOW));
		wrong(&l, "198.51.100.7", NOW);
	}
	assert_false(knock(&l, "198.51.100.7", NOW));
	assert_true(knock(&l, "198.51.100.8", NOW));
	assert_false(knock(&l, "198.51.100.7", NOW + EVERY - 1000));
	assert_true(knock(&l, "198.51.100.7", NOW + EVERY + 1000));
	wrong(&l, "198.51.100.7", NOW + EVERY + 1000);
	assert_false(knock(&l, "198.51.100.7", NOW + EVERY + 3000));
	door_limit_free(&l.limit);
}

static void all_addresses_of_a_network_are_one_source(void **state)
{
	(void)state;
	struct limited l;

	limit_begin(&l);
	for (int i = 0; i < DOOR_WRONG_BURST; i++)
		wrong(&l, "2001:db8:0:1::1", NOW);
	assert_false(knock(&l, "2001:db8:0:1:ffff::2", NOW));
	assert_true(knock(&l, "2001:db8:0:2::1", NOW));
	door_limit_free(&l.limit);
}

static void being_turned_away_is_told_once_a_minute(void **state)
{
	(void)state;
	struct limited l;

	limit_begin(&l);
	for (int i = 0; i < DOOR_KNOCKS_BURST; i++)
		assert_true(knock(&l, "198.51.100.7", NOW));
	assert_false(knock(&l, "198.51.100.7", NOW));
	assert_true(l.tell);
	assert_false(knock(&l, "198.51.100.7", NOW));
	assert_false(l.tell);
	assert_true(knock(&l, "198.51.100.7", NOW + 1000));
	assert_false(knock(&l, "198.51.100.7", NOW + 1000));
	assert_false(l.tell);
	for (int i = 0; i < 2 * DOOR_KNOCKS_BURST; i++)
		knock(&l, "198.51.100.7", NOW + MINUTE);
	assert_false(knock(&l, "198.51.100.7", NOW + MINUTE));
	door_limit_free(&l.limit);
}

static void all_together_are_limited_too(void **state)
{
	(void)state;
	struct limited l;
	char who[32];
	unsigned let_in = 0;

	limit_begin(&l);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(who, sizeof who, "198.51.%u.%u", i / 250, i % 250);
		let_in += knock(&l, who, NOW);
	}
	assert_int_equal(let_in, DOOR_ALL_BURST);
	assert_true(knock(&l, "203.0.113.1", NOW + 1000));
	door_limit_free(&l.limit);
}

/* Whoever has a /48 has 65,536 sources: others are heard all the same, and he fills no more places than he has turns. */
static void one_network_does_not_use_up_what_is_for_all(void **state)
{
	(void)state;
	struct limited l;
	char who[40];
	unsigned let_in = 0;

	limit_begin(&l);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(who, sizeof who, "2001:db8:1:%x::1", i);
		let_in += knock(&l, who, NOW);
	}
	assert_int_equal(let_in, DOOR_NET_BURST);
	assert_true(l.limit.sources.count <= DOOR_NET_BURST + 1);
	assert_true(knock(&l, "2001:db8:2::1", NOW));
	assert_true(knock(&l, "203.0.113.1", NOW));
	assert_true(knock(&l, "2001:db8:1:ffff::1", NOW + 1000));
	door_limit_free(&l.limit);
}

static void all_of_ipv6_do_not_use_up_what_is_for_ipv4(void **state)
{
	(void)state;
	struct limited l;
	char who[40];

	limit_begin(&l);
	for (unsigned i = 0; i < 2 * DOOR_ALL_BURST; i++) {
		snprintf(who, sizeof who, "2001:db8:%x::1", i);
		assert_int_equal(knock(&l, who, NOW), i < DOOR_ALL_BURST);
	}
	assert_true(knock(&l, "203.0.113.1", NOW));
	door_limit_free(&l.limit);
}

static void connections_are_limited_before_they_cost_anything(void **state)
{
	(void)state;
	struct limited l;
	char who[40];
	unsigned let_in = 0;

	limit_begin(&l);
	for (unsigned i = 0; i < 2 * DOOR_COMES_BURST; i++)
		let_in += come(&l, "198.51.100.7", NOW);
	assert_int_equal(let_in, DOOR_COMES_BURST);
	assert_true(come(&l, "198.51.100.7", NOW + 1000));
	assert_true(knock(&l, "198.51.100.7", NOW + 1000)); /* one that it still has may go on */
	for (unsigned i = let_in = 0; i < 1000; i++) {
		snprintf(who, sizeof who, "2001:db8:1:%x::1", i);
		let_in += come(&l, who, NOW);
	}
	assert_int_equal(let_in, DOOR_NET_COMES_BURST);
	for (unsigned i = let_in = 0; i < 1000; i++) {
		snprintf(who, sizeof who, "2001:db9:%x::1", i);
		let_in += come(&l, who, NOW);
	}
	assert_int_equal(let_in, DOOR_ALL_COMES_BURST - DOOR_NET_COMES_BURST);
	door_limit_free(&l.limit);
}

static void a_flood_of_sources_takes_bounded_memory(void **state)
{
	(void)state;
	struct limited l;
	char who[40];

	limit_begin(&l);
	for (unsigned i = 0; i < 3 * DOOR_SOURCES_MAX; i++) {
		snprintf(who, sizeof who, "2001:db8:%x::1", i);
		knock(&l, who, NOW);
		assert_true(l.limit.sources.count <= DOOR_SOURCES_MAX + 2);
	}
	assert_false(knock(&l, "2001:dba::1", NOW + 100));
	assert_true(knock(&l, "203.0.113.1", NOW + 100));
	assert_true(knock(&l, "2001:dba::1", NOW + 10000)); /* the quiet ones have made way */
	door_limit_free(&l.limit);
}

/* --- Pages. */

static void spans_are_said_in_two_units_at_most(void **state)
{
	(void)state;
	static const struct {
		uint32_t s;
		const char *text;
	} cases[] = {
		{ 0, "0 seconds" },
		{ 1, "1 second" },
		{ 59, "59 seconds" },
		{ 60, "1 minute" },
		{ 90, "1 minute and 30 seconds" },
		{ 43200, "12 hours" },
		{ 86400, "1 day" },
		{ 90000, "1 day and 1 hour" },
		{ 86460, "1 day" },
		{ 172800, "2 days" },
		{ UINT32_MAX, "49710 days and 6 hours" },
	};
	char out[DOOR_SPAN];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(door_page_span(cases[i].s, out), cases[i].text);
}

static void a_page_says_what_will_happen(void **state)
{
	(void)state;
	struct door_page_facts f = { .nonce = "abc",
				     .visitor = made_ip("2001:db8::7"),
				     .grant.for_s = 43200 };

	strcpy(f.grant.name, "<i>&\"'");
	char *text = door_page_text(DOOR_PAGE_ASK, &f);
	assert_non_null(strstr(text, "<b>2001:db8::7</b>"));
	assert_non_null(strstr(text, "<b>12 hours</b>"));
	assert_non_null(strstr(text, "&#60;i&#62;&#38;&#34;&#39;"));
	assert_null(strstr(text, "<i>"));
	assert_non_null(strstr(text, "<form method=\"post\">"));
	assert_non_null(strstr(text, "<style nonce=\"abc\">"));
	assert_non_null(strstr(text, "</html>"));
	free(text);
	f.grant.until = 1800000000;
	text = door_page_text(DOOR_PAGE_ADMITTED, &f);
	assert_non_null(strstr(text, "2027-01-15 08:00 UTC"));
	assert_null(strstr(text, "<form"));
	free(text);
	for (enum door_page p = 0; p < DOOR_PAGES; p++) {
		text = door_page_text(p, &f);
		assert_non_null(strstr(text, "</body></html>"));
		assert_null(strstr(text, "http"));
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_guesses_waits_for_each),
		cmocka_unit_test(all_addresses_of_a_network_are_one_source),
		cmocka_unit_test(being_turned_away_is_told_once_a_minute),
		cmocka_unit_test(all_together_are_limited_too),
		cmocka_unit_test(one_network_does_not_use_up_what_is_for_all),
		cmocka_unit_test(all_of_ipv6_do_not_use_up_what_is_for_ipv4),
		cmocka_unit_test(connections_are_limited_before_they_cost_anything),
		cmocka_unit_test(a_flood_of_sources_takes_bounded_memory),
		cmocka_unit_test(spans_are_said_in_two_units_at_most),
		cmocka_unit_test(a_page_says_what_will_happen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
