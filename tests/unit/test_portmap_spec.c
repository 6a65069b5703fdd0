/* What is typed behind `p2pd portmap add` and `set`, as the body of a request. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/p2pd/portmap_spec.h"

enum { NOW = 1000000, WORDS_MAX = 2 * OPTIONS_LIST_MAX };

/* The body for a line of options, NULL with *why when it is refused. */
static json_t *body_of(const char *line, char why[static PORTMAP_SPEC_WHY])
{
	struct portmap_spec spec;
	struct options_entry entries[PORTMAP_SPEC_OPTIONS + 1];
	const struct options options = { .usage = "p2pd portmap add", .about = "", .entries = entries };
	char *argv[WORDS_MAX] = { "add" }, *words = strdup(line), *rest = words, *word;
	struct options_list args;
	int argc = 1, code;

	entries[portmap_spec_options(&spec, entries)] = (struct options_entry) { 0 };
	while ((word = strsep(&rest, " ")) && argc < WORDS_MAX)
		if (*word)
			argv[argc++] = word;
	assert_true(options_parse(&options, argc, argv, &args, &code));
	json_t *body = portmap_spec_json(&spec, NOW, why);
	free(words);
	return body;
}

static void each_option_becomes_its_key(void **state)
{
	static const struct {
		const char *line, *body;
	} cases[] = {
		{ "", "{}" },
		{ "--local 192.168.50.10:3306", "{\"local\":\"192.168.50.10:3306\"}" },
		{ "--local [2001:db8::1]:80,443,9000-9099",
		  "{\"local\":\"[2001:db8::1]:80,443,9000-9099\"}" },
		{ "--proto both", "{\"proto\":\"both\"}" },
		{ "--name till-lyon-3306", "{\"name\":\"till-lyon-3306\"}" },
		{ "--scope org", "{\"scope\":\"org\",\"to\":[],\"via\":\"\",\"domain\":\"\"}" },
		{ "--to office", "{\"scope\":\"nodes\",\"to\":[\"office\"],\"via\":\"\",\"domain\":\"\"}" },
		{ "--scope nodes --to a,b --to c",
		  "{\"scope\":\"nodes\",\"to\":[\"a\",\"b\",\"c\"],\"via\":\"\",\"domain\":\"\"}" },
		{ "--scope org --to all", "{\"scope\":\"org\",\"to\":[],\"via\":\"\",\"domain\":\"\"}" },
		{ "--scope public --via gw1", "{\"scope\":\"public\",\"to\":[],\"via\":\"gw1\"}" },
		{ "--via gw2", "{\"via\":\"gw2\"}" },
		{ "--public-port 8443", "{\"public_port\":8443}" },
		{ "--public-port 0", "{\"public_port\":0}" },
		{ "--domain shop.example.org", "{\"domain\":\"shop.example.org\"}" },
		{ "--domain none", "{\"domain\":\"\"}" },
		{ "--allow 198.51.100.0/24,token --allow 2001:db8::/32",
		  "{\"allow\":[\"198.51.100.0/24\",\"token\",\"2001:db8::/32\"]}" },
		{ "--allow none", "{\"allow\":[]}" },
		{ "--max-conn 5000", "{\"max_conn\":5000}" },
		{ "--max-conn 0", "{\"max_conn\":0}" },
		{ "--idle 90s", "{\"idle_s\":90}" },
		{ "--idle 15min", "{\"idle_s\":900}" },
		{ "--idle 15m", "{\"idle_s\":900}" },
		{ "--idle never", "{\"idle_s\":0}" },
		{ "--rate 10mbit", "{\"rate\":1250000}" },
		{ "--rate 500kbit", "{\"rate\":62500}" },
		{ "--rate none", "{\"rate\":0}" },
		{ "--expires 7d", "{\"expires_at\":1604800}" },
		{ "--expires 12h", "{\"expires_at\":1043200}" },
		{ "--expires 2027-01-31", "{\"expires_at\":1801353600}" },
		{ "--expires 2027-01-31T18:00:00Z", "{\"expires_at\":1801418400}" },
		{ "--expires never", "{\"expires_at\":0}" },
		{ "--source-ip proxy-v2", "{\"source_ip\":\"proxy-v2\"}" },
		{ "--force", "{\"force\":true}" },
	};
	char why[PORTMAP_SPEC_WHY];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *body = body_of(cases[i].line, why), *expected = json_loads(cases[i].body, 0, NULL);
		assert_non_null(expected);
		if (!body || !json_equal(body, expected))
			fail_msg("'%s' gave %s", cases[i].line, body ? json_dumps(body, 0) : why);
		json_decref(body);
		json_decref(expected);
	}
}

static void what_is_wrong_is_told_with_what_is_right(void **state)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ "--proto sctp", "--proto takes tcp, udp or both, not 'sctp'" },
		{ "--scope world", "--scope takes org, nodes or public, not 'world'" },
		{ "--source-ip masquerade", "--source-ip takes kernel, proxy-v2 or nat, not 'masquerade'" },
		{ "--idle 90", "--idle takes a time such as 90s or 15min, or never, not '90'" },
		{ "--idle -5s", "--idle takes a time such as 90s or 15min, or never, not '-5s'" },
		{ "--idle 0s", "--idle takes a time such as 90s or 15min, or never, not '0s'" },
		{ "--idle 99999999d", "--idle takes a time such as 90s or 15min, or never, not '99999999d'" },
		{ "--rate 10", "--rate takes a rate such as 500kbit or 10mbit, or none, not '10'" },
		{ "--rate 10MB", "--rate takes a rate such as 500kbit or 10mbit, or none, not '10MB'" },
		{ "--expires tomorrow",
		  "--expires takes a time such as 12h, 7d or 2027-01-31, or never, not 'tomorrow'" },
		{ "--expires 106751991167300d",
		  "--expires takes a time such as 12h, 7d or 2027-01-31, or never, not '106751991167300d'" },
		{ "--expires 2027-02-30",
		  "--expires takes a time such as 12h, 7d or 2027-01-31, or never, not '2027-02-30'" },
		{ "--expires 2027-13-01",
		  "--expires takes a time such as 12h, 7d or 2027-01-31, or never, not '2027-13-01'" },
		{ "--expires 2027-01-31T25:00:00Z",
		  "--expires takes a time such as 12h, 7d or 2027-01-31, or "
		  "never, not '2027-01-31T25:00:00Z'" },
		{ "--expires 1970-01-02", "--expires: 1970-01-02 is over already" },
		{ "--allow 10.0.0.0/8,,10.0.0.1", "--allow takes a list with commas between, not "
						  "'10.0.0.0/8,,10.0.0.1'" },
		{ "--to office,", "--to takes a list with commas between, not 'office,'" },
		{ "--name caf\xe9", "'name' is no text in UTF-8" },
	};
	char why[PORTMAP_SPEC_WHY];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *body = body_of(cases[i].line, why);
		assert_null(body);
		assert_string_equal(why, cases[i].why);
	}
}

static void the_first_wrong_thing_is_told(void **state)
{
	char why[PORTMAP_SPEC_WHY];

	(void)state;
	assert_null(body_of("--proto a --scope b --rate c", why));
	assert_non_null(strstr(why, "--proto"));
}

static void forty_prefixes_go_through(void **state)
{
	char line[40 * 24] = "", why[PORTMAP_SPEC_WHY];

	(void)state;
	for (int i = 0; i < 40; i++)
		sprintf(line + strlen(line), "--allow 10.0.%d.0/24 ", i);
	json_t *body = body_of(line, why);
	assert_int_equal(json_array_size(json_object_get(body, "allow")), 40);
	json_decref(body);
}

static void seconds_need_a_unit(void **state)
{
	uint64_t s = 7;

	(void)state;
	assert_int_equal(portmap_seconds(&s, "24h", NULL), 0);
	assert_int_equal(s, 86400);
	assert_int_equal(portmap_seconds(&s, "never", "never"), 0);
	assert_int_equal(s, 0);
	assert_int_not_equal(portmap_seconds(&s, "never", NULL), 0);
	assert_int_not_equal(portmap_seconds(&s, "24", NULL), 0);
	assert_int_not_equal(portmap_seconds(&s, "", NULL), 0);
	assert_int_not_equal(portmap_seconds(&s, "1h30m", NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_option_becomes_its_key),
		cmocka_unit_test(what_is_wrong_is_told_with_what_is_right),
		cmocka_unit_test(the_first_wrong_thing_is_told),
		cmocka_unit_test(forty_prefixes_go_through),
		cmocka_unit_test(seconds_need_a_unit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
