/* What the commands of `p2pd portmap` ask the daemon for, and how they show what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/played_daemon.h"

static const char refusal_404[] = "{\"error\":{\"code\":\"not-found\",\"message\":\"no rule has it\"}}";

/* --- */

static void add_posts_the_rule_and_prints_it_on_one_line(void **state)
{
	(void)state;
	answer(201, RULE_1);
	assert_int_equal(run("add --local 192.168.50.10:3306 --rate 10mbit"), EXIT_OK);
	expect_call(0, "POST /api/v1/portmap");
	assert_string_equal(played.calls[0].body, "{\"local\":\"192.168.50.10:3306\",\"rate\":1250000}");
	json_t *printed = json_loads(out, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(printed, "forward_id")), ID_1);
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	json_decref(printed);
}

static void wrong_use_asks_nobody(void **state)
{
	static const char *const lines[] = {
		"add",
		"add --local 1.2.3.4:5 --rate 10",
		"add --local 1.2.3.4:5 --public-port 70000",
		"add --local 1.2.3.4:5 --max-conn -1",
		"add 1.2.3.4:5",
		"set " ID_1,
		"set --name x",
		"pause",
		"rm",
		"show",
		"ping",
		"stats",
		"apply",
		"ls a b",
		"token new",
		"token new --id x --for never",
		"token new --id x --uses 0",
		"token new --id x --expires 5",
		"token revoke",
		"token",
		"token give",
		"audit --since yesterday",
		"frobnicate",
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		if (run(lines[i]) != EXIT_USAGE)
			fail_msg("portmap %s", lines[i]);
		assert_string_equal(out, "");
	}
	assert_int_equal(played.call_count, 0);
}

static void each_deed_has_its_path(void **state)
{
	static const struct {
		const char *line, *call;
	} cases[] = {
		{ "pause " ID_1, "POST /api/v1/portmap/" ID_1 "/pause" },
		{ "resume till-lyon-3306", "POST /api/v1/portmap/till-lyon-3306/resume" },
		{ "rm " ID_1, "DELETE /api/v1/portmap/" ID_1 },
		{ "show --json " ID_1, "GET /api/v1/portmap/" ID_1 },
		{ "stats --json " ID_1, "GET /api/v1/portmap/" ID_1 "/stats" },
		{ "ping --json " ID_1, "POST /api/v1/portmap/" ID_1 "/ping" },
		{ "set --idle 5min " ID_1, "PATCH /api/v1/portmap/" ID_1 },
		{ "ls --json", "GET /api/v1/portmap" },
		{ "ls --all --json", "GET /api/v1/portmap?all=1" },
		{ "api-token", "POST /api/v1/portmap/api-token" },
		{ "api-token --revoke", "DELETE /api/v1/portmap/api-token" },
		{ "audit", "GET /api/v1/portmap/audit" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		answer(200, "{}");
		assert_int_equal(run(cases[i].line), EXIT_OK);
		expect_call(i, cases[i].call);
	}
}

static void ids_come_from_stdin_and_one_that_fails_stops_no_other(void **state)
{
	(void)state;
	answer(200, RULE_1);
	answer(404, refusal_404);
	answer(200, RULE_2);
	assert_int_equal(run_with(ID_1 "\n\n  gone\n" ID_2, "pause -"), EXIT_NOT_FOUND);
	expect_call(0, "POST /api/v1/portmap/" ID_1 "/pause");
	expect_call(1, "POST /api/v1/portmap/gone/pause");
	expect_call(2, "POST /api/v1/portmap/" ID_2 "/pause");
	expect_in(err, "gone: no rule has it");
	expect_in(out, ID_2);
}

static void an_answer_that_is_not_json_is_an_error(void **state)
{
	static const char *const lines[] = { "add --local 10.0.0.1:22",
					     "ls",
					     "show x",
					     "stats x",
					     "ping x",
					     "restore x",
					     "token ls",
					     "audit" };

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		answer(200, i % 2 ? "<html>" : "");
		if (run(lines[i]) != EXIT_FAILED)
			fail_msg("%s", lines[i]);
		expect_in(err, "not JSON");
		assert_string_equal(out, "");
	}
}

static void what_could_not_be_a_name_is_not_sent(void **state)
{
	static const char *const ids[] = { "../peers", "a/b",	"a?all=1", "a%2f",     "",
					   "\xc3\xa4", "apply", "audit",   "api-token" };
	char line[64];

	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		snprintf(line, sizeof line, "rm %s", ids[i]);
		assert_int_equal(run(line), EXIT_NOT_FOUND);
	}
	assert_int_equal(played.call_count, 0);
}

static void no_daemon_is_told_once(void **state)
{
	(void)state;
	unlink(played.path);
	assert_int_equal(run_with("a b c\nd e f\n", "rm -"), EXIT_NO_DAEMON);
	assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
	expect_in(err, "p2pd up");
}

static void a_denial_ends_with_7(void **state)
{
	(void)state;
	answer(403, "{\"error\":{\"code\":\"denied\",\"message\":\"gw1 does not give port 22\"}}");
	assert_int_equal(run("add --local 10.0.0.1:22 --scope public --via gw1 --allow 192.0.2.0/24"),
			 EXIT_DENIED);
	expect_in(err, "gw1 does not give port 22");
}

static void ls_aligns_its_columns_and_says_why(void **state)
{
	(void)state;
	answer(200, LIST);
	assert_int_equal(run("ls"), EXIT_OK);
	assert_string_equal(out, "NAME            STATE    SCOPE           SERVICE                 REACHED "
				 "AT                       "
				 "FORWARD_ID\n"
				 "till-lyon-3306  active   public via gw1  192.168.50.10:3306 tcp  "
				 "203.0.113.5:3306/tcp and 1 more  " ID_1 "\n"
				 "nas-home-8080   pending  public via gw1  192.168.50.10:3306 tcp  "
				 "203.0.113.5:3306/tcp and 1 more  " ID_2 "\n"
				 "  gw1 is ?2Joffline?[2J\n");
}

static void ls_keeps_to_a_pattern(void **state)
{
	(void)state;
	answer(200, LIST);
	answer(200, LIST);
	answer(200, LIST);
	assert_int_equal(run("ls -q till-*"), EXIT_OK);
	assert_string_equal(out, ID_1 "\n");
	assert_int_equal(run("ls -q --json nas-*"), EXIT_OK);
	assert_null(strstr(out, ID_1));
	expect_in(out, ID_2);
	assert_int_equal(run("ls printer-*"), EXIT_OK);
	expect_in(out, "no rule has a name like printer-*");
}

static void show_tells_the_mode_and_its_reason(void **state)
{
	(void)state;
	answer(200, RULE_1);
	assert_int_equal(run("show till-lyon-3306"), EXIT_OK);
	expect_in(out, "till-lyon-3306  active\n");
	expect_in(out, "forward_id  " ID_1);
	expect_in(out, "p2pd itself: no nft here");
	expect_in(out, "203.0.113.5:3306/tcp\n");
	expect_in(out, "[2001:db8::5]:3306/tcp\n");
	expect_in(out,
		  "200 connections, idle ones end after 90 s, 10mbit each way, until 2030-01-01 00:00 UTC");
	expect_in(out, "the gateway gw1; only 198.51.100.0/24");
}

static void ping_ends_with_1_at_what_does_not_work(void **state)
{
	(void)state;
	answer(200, "{\"checks\":[{\"what\":\"gateway\",\"ok\":true,\"detail\":\"reached\"},"
		    "{\"what\":\"service\",\"ok\":false,\"detail\":\"refused: nothing listens there\"}]}");
	assert_int_equal(run("ping till"), EXIT_FAILED);
	expect_in(out, "gateway   ok      reached");
	expect_in(out, "service   FAILED  refused");
	expect_in(err, "till: service: refused: nothing listens there");
}

static void stats_tell_the_reasons_of_refusals(void **state)
{
	(void)state;
	answer(200, "{\"bytes_in\":1536,\"bytes_out\":0,\"connections\":3,\"total\":12,\"rejected\":"
		    "{\"not_allowed\":10,\"full\":2,\"rate\":0},\"last_visitor\":\"198.51.100.7\"}");
	assert_int_equal(run("stats till"), EXIT_OK);
	expect_in(out, "3 now, 12 in all");
	expect_in(out, "1.5 KiB from visitors, 0 B to them");
	expect_in(out, "12: not allowed 10, full 2\n");
	expect_in(out, "198.51.100.7");
}

#define TOKEN(id) "{\"token_id\":\"" id "\",\"uses\":1,\"used\":0,\"for_s\":43200,\"state\":\"live\"}"

static void a_token_is_printed_as_its_link_alone(void **state)
{
	(void)state;
	answer(201, "{\"token_id\":\"00c0ffee\",\"link\":\"https://203.0.113.5:7443/t/x\",\"uses\":1,"
		    "\"for_s\":43200,\"expires_at\":0}");
	assert_int_equal(run("token new --id till --expires 7d"), EXIT_OK);
	expect_call(0, "POST /api/v1/portmap/till/tokens");
	assert_string_equal(played.calls[0].body, "{\"uses\":1,\"expires_s\":604800,\"for_s\":43200}");
	assert_string_equal(out, "https://203.0.113.5:7443/t/x\n");
}

static void a_token_is_found_by_its_id_alone(void **state)
{
	(void)state;
	answer(200, LIST);
	answer(200, "{\"tokens\":[" TOKEN("00000001") "]}");
	answer(200, "{\"tokens\":[" TOKEN("00000002") "," TOKEN("00000003") "]}");
	answer(200, "{}");
	assert_int_equal(run("token revoke 00000003"), EXIT_OK);
	expect_call(1, "GET /api/v1/portmap/" ID_1 "/tokens");
	expect_call(3, "DELETE /api/v1/portmap/" ID_2 "/tokens/00000003");
	answer(200, "{\"tokens\":[]}");
	assert_int_equal(run("token rotate --id till 00000009"), EXIT_NOT_FOUND);
	expect_in(err, "there is no token '00000009'");
}

static void tokens_are_listed_with_the_names_of_their_rules(void **state)
{
	(void)state;
	answer(200, LIST);
	answer(200, "{\"tokens\":[" TOKEN("00000001") "]}");
	answer(200, "{\"tokens\":[]}");
	assert_int_equal(run("token ls"), EXIT_OK);
	assert_string_equal(out,
			    "00000001  till-lyon-3306  live     0 of 1 used, never ends, lets in for 12 h\n");
}

static void the_audit_is_one_object_a_line(void **state)
{
	(void)state;
	answer(200, "{\"entries\":[{\"event\":\"rule.add\"},{\"event\":\"rule.remove\"}]}");
	assert_int_equal(run("audit"), EXIT_OK);
	assert_string_equal(out, "{\"event\":\"rule.add\"}\n{\"event\":\"rule.remove\"}\n");
	answer(200, "{\"entries\":[]}");
	assert_int_equal(run("audit --since 7d"), EXIT_OK);
	assert_memory_equal(played.calls[1].line, "GET /api/v1/portmap/audit?since=1", 33);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(add_posts_the_rule_and_prints_it_on_one_line, start, stop),
		cmocka_unit_test_setup_teardown(wrong_use_asks_nobody, start, stop),
		cmocka_unit_test_setup_teardown(each_deed_has_its_path, start, stop),
		cmocka_unit_test_setup_teardown(ids_come_from_stdin_and_one_that_fails_stops_no_other, start,
						stop),
		cmocka_unit_test_setup_teardown(an_answer_that_is_not_json_is_an_error, start, stop),
		cmocka_unit_test_setup_teardown(what_could_not_be_a_name_is_not_sent, start, stop),
		cmocka_unit_test_setup_teardown(no_daemon_is_told_once, start, stop),
		cmocka_unit_test_setup_teardown(a_denial_ends_with_7, start, stop),
		cmocka_unit_test_setup_teardown(ls_aligns_its_columns_and_says_why, start, stop),
		cmocka_unit_test_setup_teardown(ls_keeps_to_a_pattern, start, stop),
		cmocka_unit_test_setup_teardown(show_tells_the_mode_and_its_reason, start, stop),
		cmocka_unit_test_setup_teardown(ping_ends_with_1_at_what_does_not_work, start, stop),
		cmocka_unit_test_setup_teardown(stats_tell_the_reasons_of_refusals, start, stop),
		cmocka_unit_test_setup_teardown(a_token_is_printed_as_its_link_alone, start, stop),
		cmocka_unit_test_setup_teardown(a_token_is_found_by_its_id_alone, start, stop),
		cmocka_unit_test_setup_teardown(tokens_are_listed_with_the_names_of_their_rules, start, stop),
		cmocka_unit_test_setup_teardown(the_audit_is_one_object_a_line, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
