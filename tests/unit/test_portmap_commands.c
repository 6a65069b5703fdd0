/* The commands of `p2pd portmap` against a daemon that is played: what they ask, print and end with. */
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "apps/p2pd/commands.h"
#include "core/fail.h"

enum { CALLS_MAX = 16, TEXT_MAX = 65536, ARGS_MAX = 32 };

#define ID_1 "0198c0de-0000-7000-8000-000000000001"
#define ID_2 "0198c0de-0000-7000-8000-000000000002"

/* --- The daemon: one call after the other gets the answers in their order */

struct call {
	char line[512]; /* "POST /api/v1/portmap" */
	char *body;
};

static struct {
	char path[64];
	int fd;
	pthread_t thread;
	struct {
		int status;
		const char *body;
	} answers[CALLS_MAX];
	struct call calls[CALLS_MAX];
	unsigned answer_count, call_count;
} played;

static char *header(char *text, const char *name)
{
	char *at = strcasestr(text, name);

	return at ? at + strlen(name) : NULL;
}

static void read_call(int fd, struct call *c)
{
	char text[TEXT_MAX];
	size_t len = 0;
	char *body = NULL, *length = NULL;

	do {
		ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		text[len] = 0;
		body = strstr(text, "\r\n\r\n");
		length = header(text, "content-length:");
	} while (!body || len < (size_t)(body + 4 - text) + (length ? strtoul(length, NULL, 10) : 0));
	snprintf(c->line, sizeof c->line, "%.*s", (int)(strstr(text, " HTTP/1.1") - text), text);
	c->body = strdup(body ? body + 4 : "");
}

static void *play(void *arg)
{
	int fd;

	while ((fd = accept(played.fd, NULL, NULL)) >= 0) {
		unsigned i = played.call_count;
		if (i < CALLS_MAX && i < played.answer_count) {
			read_call(fd, &played.calls[i]);
			played.call_count++;
			dprintf(fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s",
				played.answers[i].status, strlen(played.answers[i].body),
				played.answers[i].body);
		}
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	return arg;
}

static int start(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	memset(&played, 0, sizeof played);
	snprintf(played.path, sizeof played.path, "/tmp/portmap-%d.sock", (int)getpid());
	strcpy(sa.sun_path, played.path);
	unlink(played.path);
	played.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(played.fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(played.fd, 8), 0);
	return pthread_create(&played.thread, NULL, play, NULL);
}

static int stop(void **state)
{
	(void)state;
	shutdown(played.fd, SHUT_RDWR);
	pthread_join(played.thread, NULL);
	close(played.fd);
	unlink(played.path);
	for (unsigned i = 0; i < played.call_count; i++)
		free(played.calls[i].body);
	return 0;
}

static void answer(int status, const char *body)
{
	unsigned i = played.answer_count++;

	assert_true(i < CALLS_MAX);
	played.answers[i].status = status;
	played.answers[i].body = body;
}

/* --- The person */

static char out[TEXT_MAX], err[TEXT_MAX];

static void read_back(FILE *f, char *text)
{
	rewind(f);
	text[fread(text, 1, TEXT_MAX - 1, f)] = 0;
	fclose(f);
}

/* Runs `portmap LINE --socket ...` with `input` on stdin; the exit code, `out` and `err`. */
static int run_with(const char *input, const char *line)
{
	FILE *in_file = tmpfile(), *out_file = tmpfile(), *err_file = tmpfile();
	char *argv[ARGS_MAX] = { "portmap" }, *words = strdup(line), *rest = words, *word;
	int argc = 1, code, real_out = dup(STDOUT_FILENO), real_in = dup(STDIN_FILENO);

	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc++] = "--socket";
	argv[argc++] = played.path;
	fputs(input, in_file);
	rewind(in_file);
	fflush(stdout);
	dup2(fileno(in_file), STDIN_FILENO);
	dup2(fileno(out_file), STDOUT_FILENO);
	fail_to(fileno(err_file));
	__fpurge(stdin); /* what the test before did not read */
	clearerr(stdin);
	code = cmd_portmap(argc, argv);
	fflush(stdout);
	fail_to(STDERR_FILENO);
	dup2(real_out, STDOUT_FILENO);
	dup2(real_in, STDIN_FILENO);
	close(real_out);
	close(real_in);
	fclose(in_file);
	read_back(out_file, out);
	read_back(err_file, err);
	free(words);
	return code;
}

static int run(const char *line)
{
	return run_with("", line);
}

static void expect_call(unsigned i, const char *line)
{
	assert_true(i < played.call_count);
	assert_string_equal(played.calls[i].line, line);
}

static void expect_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in:\n%s", part, text);
}

#define RULE_OF(id, name, state, more)                                                                   \
	"{\"forward_id\":\"" id "\",\"name\":\"" name                                                    \
	"\",\"local\":\"192.168.50.10:3306\",\"proto\":\"tcp\",\"scope\":\"public\",\"to\":[],"          \
	"\"via\":\"gw1\",\"allow\":[\"198.51.100.0/24\"],\"max_conn\":200,\"idle_s\":90,\"rate\":"       \
	"1250000,\"expires_at\":1893456000,\"source_ip\":\"kernel\",\"state\":\"" state "\",\"mode\":"   \
	"\"user\",\"mode_why\":\"no nft here\",\"addresses\":[\"203.0.113.5:3306/tcp\",\"[2001:db8::5]:" \
	"3306/tcp\"],\"created_at\":1700000000,\"changed_at\":1700000060" more "}"
#define RULE_1 RULE_OF(ID_1, "till-lyon-3306", "active", "")
#define RULE_2 RULE_OF(ID_2, "nas-home-8080", "pending", ",\"why\":\"gw1 is \\u009b2Joffline\\u001b[2J\"")
#define LIST   "{\"schema\":\"p2pd.portmap/1\",\"forwards\":[" RULE_1 "," RULE_2 "]}"

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

static void what_could_not_be_a_name_is_not_sent(void **state)
{
	static const char *const ids[] = { "../peers", "a/b", "a?all=1", "a%2f", "", "\xc3\xa4" };
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

static void apply_sends_the_file_and_shows_the_difference(void **state)
{
	(void)state;
	answer(200,
	       "{\"changes\":[{\"op\":\"add\",\"name\":\"a\"},{\"op\":\"set\",\"name\":\"b\",\"fields\":"
	       "[\"allow\",\"rate\"]},{\"op\":\"remove\",\"name\":\"c\"},{\"op\":\"keep\",\"name\":\"d\"}]}");
	assert_int_equal(run_with("forwards: []\n", "apply -f - --dry-run"), EXIT_OK);
	expect_call(0, "POST /api/v1/portmap/apply");
	assert_string_equal(played.calls[0].body, "{\"policy\":\"forwards: []\\n\",\"dry_run\":true}");
	assert_string_equal(out, "+ a\n~ b: allow, rate\n- c\n"
				 "would be: 1 added, 1 changed, 1 removed, 1 as they were\n");
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
		cmocka_unit_test_setup_teardown(a_conflict_ends_with_6_and_names_the_rule_in_the_way, start,
						stop),
		cmocka_unit_test_setup_teardown(an_id_that_the_message_has_is_not_told_twice, start, stop),
		cmocka_unit_test_setup_teardown(wrong_use_asks_nobody, start, stop),
		cmocka_unit_test_setup_teardown(each_deed_has_its_path, start, stop),
		cmocka_unit_test_setup_teardown(ids_come_from_stdin_and_one_that_fails_stops_no_other, start,
						stop),
		cmocka_unit_test_setup_teardown(restore_takes_the_name_that_a_removed_rule_had, start, stop),
		cmocka_unit_test_setup_teardown(what_keeps_a_new_rule_from_working_is_told_beside_it, start,
						stop),
		cmocka_unit_test_setup_teardown(what_could_not_be_a_name_is_not_sent, start, stop),
		cmocka_unit_test_setup_teardown(no_daemon_is_told_once, start, stop),
		cmocka_unit_test_setup_teardown(a_denial_ends_with_7, start, stop),
		cmocka_unit_test_setup_teardown(ls_aligns_its_columns_and_says_why, start, stop),
		cmocka_unit_test_setup_teardown(ls_keeps_to_a_pattern, start, stop),
		cmocka_unit_test_setup_teardown(show_tells_the_mode_and_its_reason, start, stop),
		cmocka_unit_test_setup_teardown(ping_ends_with_1_at_what_does_not_work, start, stop),
		cmocka_unit_test_setup_teardown(stats_tell_the_reasons_of_refusals, start, stop),
		cmocka_unit_test_setup_teardown(apply_sends_the_file_and_shows_the_difference, start, stop),
		cmocka_unit_test_setup_teardown(an_error_in_the_file_is_told_with_line_and_column, start,
						stop),
		cmocka_unit_test_setup_teardown(a_token_is_printed_as_its_link_alone, start, stop),
		cmocka_unit_test_setup_teardown(a_token_is_found_by_its_id_alone, start, stop),
		cmocka_unit_test_setup_teardown(tokens_are_listed_with_the_names_of_their_rules, start, stop),
		cmocka_unit_test_setup_teardown(the_audit_is_one_object_a_line, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
