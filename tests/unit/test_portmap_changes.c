/* Rules changed by `p2pd portmap`: conflicts, force, restore, apply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/played_daemon.h"

static void a_conflict_ends_with_6_and_names_the_rule_in_the_way(void **state)
{
	static const char body[] = "{\"error\":{\"code\":\"conflict\",\"message\":\"port 3306 is taken\","
				   "\"forward_id\":\"" ID_2 "\"}}";

	(void)state;
	answer(409, body);
	assert_int_equal(run("add --local 192.168.50.10:3306"), EXIT_CONFLICT);
	expect_in(err, "port 3306 is taken (forward_id " ID_2 ")");
	json_t *printed = json_loads(out, 0, NULL);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(printed, "error"), "forward_id")), ID_2);
	json_decref(printed);
}

static void an_id_that_the_message_has_is_not_told_twice(void **state)
{
	(void)state;
	answer(409, "{\"error\":{\"code\":\"conflict\",\"message\":\"" ID_2 " has it\",\"forward_id\":\"" ID_2
		    "\"}}");
	assert_int_equal(run("resume " ID_1), EXIT_CONFLICT);
	assert_null(strstr(err, "(forward_id"));
}

#define REMOVED                                                \
	"{\"schema\":\"p2pd.portmap/1\",\"forwards\":[" RULE_1 \
	"," RULE_OF(ID_2, "till-lyon-3306", "removed", "") "]}"

static void restore_takes_the_name_that_a_removed_rule_had(void **state)
{
	(void)state;
	answer(200, REMOVED);
	answer(200, RULE_2);
	assert_int_equal(run("restore till-lyon-3306"), EXIT_OK);
	expect_call(0, "GET /api/v1/portmap?all=1");
	expect_call(1, "POST /api/v1/portmap/" ID_2 "/restore");
	answer(200, RULE_1);
	assert_int_equal(run("restore " ID_1), EXIT_OK);
	expect_call(2, "POST /api/v1/portmap/" ID_1 "/restore");
}

#define NAME_36 "till-lyon-3306-of-the-shop-at-the-qu"
#define SEVERAL                                                                                        \
	"{\"schema\":\"p2pd.portmap/1\",\"forwards\":[" RULE_OF(ID_1, "x", "removed", "") "," RULE_OF( \
		ID_2, "x", "removed", "") "," RULE_OF(ID_2, NAME_36, "removed",                        \
						      "") "," RULE_OF(ID_3, "x", "active", "") "]}"

static void restore_asks_which_of_several_is_meant(void **state)
{
	(void)state;
	answer(200, SEVERAL);
	assert_int_equal(run("restore x"), EXIT_NOT_FOUND);
	assert_int_equal(played.call_count, 1);
	expect_in(err, "2 removed rules were called 'x'");
	expect_in(err, ID_1 ", " ID_2 "\n");
	assert_null(strstr(err, ID_3));
}

static void restore_knows_a_name_as_long_as_an_id(void **state)
{
	(void)state;
	assert_int_equal(strlen(NAME_36), strlen(ID_1));
	answer(200, SEVERAL);
	answer(200, RULE_2);
	assert_int_equal(run("restore " NAME_36), EXIT_OK);
	expect_call(1, "POST /api/v1/portmap/" ID_2 "/restore");
}

static void a_rule_whose_port_another_has_at_the_gateway_ends_with_6(void **state)
{
	static const char *const lines[] = { "add --local 10.0.0.1:22", "set " ID_1 " --public-port 22",
					     "resume " ID_1, "restore " ID_1 };

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		answer(200, RULE_OF(ID_1, "x", "failed",
				    ",\"why\":\"port 22 is another rule's (" ID_2 ")\",\"conflict\":\"" ID_2
				    "\""));
		assert_int_equal(run(lines[i]), EXIT_CONFLICT);
		expect_in(err, "x is failed: port 22 is another rule's (" ID_2 ")");
		json_t *printed = json_loads(out, 0, NULL);
		assert_string_equal(json_string_value(json_object_get(printed, "conflict")), ID_2);
		json_decref(printed);
	}
}

static void set_says_force(void **state)
{
	(void)state;
	answer(200, RULE_1);
	assert_int_equal(run("set " ID_1 " --allow none --force"), EXIT_OK);
	assert_string_equal(played.calls[0].body, "{\"allow\":[],\"force\":true}");
	answer(200, RULE_1);
	assert_int_equal(run("set " ID_1 " --force"), EXIT_OK);
	assert_string_equal(played.calls[1].body, "{\"force\":true}");
}

static void what_keeps_a_new_rule_from_working_is_told_beside_it(void **state)
{
	(void)state;
	answer(201, RULE_OF(ID_1, "x", "failed", ",\"why\":\"the gateway gw refuses: port 22\""));
	assert_int_equal(run("add --local 10.0.0.1:22"), EXIT_OK);
	expect_in(err, "x is failed: the gateway gw refuses: port 22");
	json_t *printed = json_loads(out, 0, NULL);
	assert_non_null(printed);
	json_decref(printed);
}

static void apply_sends_the_file_and_shows_the_difference(void **state)
{
	(void)state;
	answer(200,
	       "{\"changes\":[{\"op\":\"add\",\"name\":\"a\"},{\"op\":\"set\",\"name\":\"b\",\"fields\":["
	       "{\"field\":\"allow\",\"old\":[],\"new\":[\"192.0.2.0/24\",\"token\"]},"
	       "{\"field\":\"max_conn\",\"old\":200,\"new\":50},"
	       "{\"field\":\"rate\",\"old\":0,\"new\":1250000},"
	       "{\"field\":\"idle_s\",\"old\":90,\"new\":0},"
	       "{\"field\":\"expires_at\",\"old\":1893456000,\"new\":0},"
	       "{\"field\":\"via\",\"old\":\"\",\"new\":\"gw\\u001b[2J\"},"
	       "{\"field\":\"paused\",\"old\":false,\"new\":true}]},{\"op\":\"remove\",\"name\":\"c\"},{"
	       "\"op\":\"keep\",\"name\":\"d\"}]}");
	assert_int_equal(run_with("portmap: []\n", "apply -f - --dry-run"), EXIT_OK);
	expect_call(0, "POST /api/v1/portmap/apply");
	assert_string_equal(played.calls[0].body, "{\"policy\":\"portmap: []\\n\",\"dry_run\":true}");
	assert_string_equal(out,
			    "+ a\n~ b: allow [] -> [192.0.2.0/24, token], max_conn 200 -> 50, rate none -> "
			    "10mbit, idle 90 s -> never, expires 2030-01-01 00:00 UTC -> never, via none -> "
			    "gw?[2J, paused no -> yes\n- c\n"
			    "would be: 1 added, 1 changed, 1 removed, 1 as they were\n");
}

/* Writes it to a file; its path. */
static const char *file_with(const char *text, size_t len)
{
	static char path[32];

	strcpy(path, "/tmp/portmap-XXXXXX");
	int fd = mkstemp(path);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
	return path;
}

static void what_is_no_text_is_not_applied(void **state)
{
	static char large[(1 << 20) + 1];
	static const struct {
		const char *text;
		size_t len;
		int code;
		const char *word;
	} cases[] = {
		{ "portmap:\n  - \0name: a\n", 22, EXIT_USAGE, ":2:5: a byte of value 0" },
		{ "\0", 1, EXIT_USAGE, ":1:1: a byte of value 0" },
		{ "portmap: []\n\0", 13, EXIT_USAGE, ":2:1: a byte of value 0" },
		{ "portmap: [caf\xe9]\n", 16, EXIT_USAGE, "no text in UTF-8" },
		{ large, sizeof large, EXIT_FAILED, "too large" },
	};
	char line[96];

	(void)state;
	memset(large, '#', sizeof large);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *path = file_with(cases[i].text, cases[i].len);
		snprintf(line, sizeof line, "apply -f %s", path);
		int code = run(line);
		unlink(path);
		if (code != cases[i].code || !strstr(err, cases[i].word) || !strstr(err, path))
			fail_msg("%zu: %d %s", i, code, err);
	}
	assert_int_equal(played.call_count, 0);
}

static void an_error_in_the_file_is_told_with_line_and_column(void **state)
{
	(void)state;
	answer(400, "{\"error\":{\"code\":\"usage\",\"message\":\"port 70000\",\"line\":12,\"column\":5}}");
	assert_int_equal(run_with("x", "apply -f -"), EXIT_USAGE);
	expect_in(err, "stdin:12:5: port 70000");
	assert_int_equal(run("apply -f /nowhere/policy.yaml"), EXIT_FAILED);
	expect_in(err, "/nowhere/policy.yaml");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_conflict_ends_with_6_and_names_the_rule_in_the_way, start,
						stop),
		cmocka_unit_test_setup_teardown(an_id_that_the_message_has_is_not_told_twice, start, stop),
		cmocka_unit_test_setup_teardown(restore_takes_the_name_that_a_removed_rule_had, start, stop),
		cmocka_unit_test_setup_teardown(what_keeps_a_new_rule_from_working_is_told_beside_it, start,
						stop),
		cmocka_unit_test_setup_teardown(restore_asks_which_of_several_is_meant, start, stop),
		cmocka_unit_test_setup_teardown(restore_knows_a_name_as_long_as_an_id, start, stop),
		cmocka_unit_test_setup_teardown(a_rule_whose_port_another_has_at_the_gateway_ends_with_6,
						start, stop),
		cmocka_unit_test_setup_teardown(set_says_force, start, stop),
		cmocka_unit_test_setup_teardown(what_is_no_text_is_not_applied, start, stop),
		cmocka_unit_test_setup_teardown(apply_sends_the_file_and_shows_the_difference, start, stop),
		cmocka_unit_test_setup_teardown(an_error_in_the_file_is_told_with_line_and_column, start,
						stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
