/* Links that admit a visitor, and above all: a link for one use is used once, whatever ends the process. */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "token_bench.h"

#include "apps/p2pd/forward/read_token.h"

/* --- */

static void a_link_for_one_use_admits_one_visitor(void **state)
{
	char text[TOKEN_TEXT];

	(void)state;
	make(rule_a, 1, 0, text);
	assert_int_equal(strlen(text), TOKEN_TEXT - 1);
	assert_true(tokens_live(tokens, rule_a, NOW));
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	assert_int_equal(admit(rule_a, text, "198.51.100.8"), -EACCES);
	assert_false(tokens_live(tokens, rule_a, NOW));
	assert_int_equal(allowed(rule_a, NOW), 1);
	assert_int_equal(allowed(rule_b, NOW), 0);
}

static void who_is_admitted_may_load_the_page_again(void **state)
{
	char text[TOKEN_TEXT];
	struct addr visitor = from("2001:db8::7");
	struct token_visit first, again;
	struct token token;

	(void)state;
	make(rule_a, 1, 0, text);
	assert_int_equal(tokens_admit(tokens, rule_a, text, &visitor, ROOM, NOW, &first, &token), 0);
	assert_int_equal(tokens_admit(tokens, rule_a, text, &visitor, ROOM, NOW + HOUR, &again, &token), 0);
	assert_int_equal(again.until, first.until);
	assert_int_equal(token.used, 1);
	assert_int_equal(allowed(rule_a, NOW), 1);
	assert_int_equal(admit_at(rule_a, text, "2001:db8::7", first.until), -EACCES);
}

static void a_look_burns_nothing(void **state)
{
	char text[TOKEN_TEXT];
	struct addr first = from("198.51.100.7"), second = from("198.51.100.8");
	struct token token;

	(void)state;
	make(rule_a, 1, 0, text);
	for (int i = 0; i < 3; i++)
		assert_int_equal(tokens_look(tokens, rule_a, text, &first, ROOM, NOW, &token), 0);
	assert_int_equal(token.for_s, 12 * HOUR);
	assert_int_equal(token.used, 0);
	assert_int_equal(allowed(rule_a, NOW), 0);
	assert_int_equal(tokens_look(tokens, rule_b, text, &first, ROOM, NOW, &token), -EACCES);
	assert_int_equal(tokens_look(tokens, rule_a, "", &first, ROOM, NOW, &token), -EACCES);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	assert_int_equal(tokens_look(tokens, rule_a, text, &first, ROOM, NOW, &token), 0);
	assert_int_equal(tokens_look(tokens, rule_a, text, &second, ROOM, NOW, &token), -EACCES);
}

static void a_visit_ends_when_its_time_is_over(void **state)
{
	char text[TOKEN_TEXT];
	struct forward_prefix list[2];
	unsigned count = 0;

	(void)state;
	make(rule_a, 2, 0, text);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	assert_int_equal(admit_at(rule_a, text, "2001:db8::7", NOW + HOUR), 0);
	tokens_allow(tokens, rule_a, NOW + HOUR, list, &count, 2);
	assert_int_equal(list[0].bits, 128);
	assert_int_equal(list[1].bits, 32);
	assert_int_equal(tokens_next_unix_s(tokens), NOW + 12 * HOUR);
	assert_false(tokens_tick(tokens, NOW + 12 * HOUR - 1));
	assert_true(tokens_tick(tokens, NOW + 12 * HOUR));
	assert_int_equal(allowed(rule_a, NOW + 12 * HOUR), 1);
	assert_true(tokens_tick(tokens, NOW + 13 * HOUR));
	assert_int_equal(allowed(rule_a, NOW + 13 * HOUR), 0);
}

static void what_is_no_valid_token_is_refused_in_one_way(void **state)
{
	char good[TOKEN_TEXT], late[TOKEN_TEXT], gone[TOKEN_TEXT], changed[TOKEN_TEXT];
	static const char *const others[] = { "", "x",
					      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
					      "//////////////////////////////////////////////////////",
					      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" };

	(void)state;
	make(rule_a, 1, 0, good);
	make(rule_a, 1, NOW + HOUR, late);
	struct token revoked = make(rule_a, 1, 0, gone);
	assert_int_equal(tokens_revoke(tokens, rule_a, revoked.token_id), 0);
	assert_int_equal(admit(rule_b, good, "198.51.100.7"), -EACCES);
	assert_int_equal(admit_at(rule_a, late, "198.51.100.7", NOW + HOUR), -EACCES);
	assert_int_equal(admit(rule_a, gone, "198.51.100.7"), -EACCES);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_int_equal(admit(rule_a, others[i], "198.51.100.7"), -EACCES);
	for (size_t i = 0; i < TOKEN_TEXT - 1; i++) {
		strcpy(changed, good);
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		assert_int_equal(admit(rule_a, changed, "198.51.100.7"), -EACCES);
	}
	assert_int_equal(allowed(rule_a, NOW), 0);
	assert_int_equal(admit(rule_a, good, "198.51.100.7"), 0);
}

static void a_text_tells_its_rule_to_who_knows_no_more(void **state)
{
	char text[TOKEN_TEXT];
	uint8_t id[FORWARD_ID];

	(void)state;
	make(rule_b, 1, 0, text);
	assert_int_equal(tokens_forward_id(id, text), 0);
	assert_memory_equal(id, rule_b, FORWARD_ID);
	assert_int_equal(tokens_forward_id(id, "../../etc/passwd"), -EINVAL);
	assert_int_equal(tokens_forward_id(id, ""), -EINVAL);
}

static void all_of_it_outlives_a_restart(void **state)
{
	char text[TOKEN_TEXT], spent[TOKEN_TEXT];

	(void)state;
	struct token made = make(rule_a, 3, NOW + 24 * HOUR, text);
	make(rule_a, 1, 0, spent);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	assert_int_equal(admit(rule_a, spent, "2001:db8::8"), 0);
	reopen();
	assert_int_equal(tokens_count(tokens), 2);
	const struct token *t = tokens_at(tokens, 0);
	assert_string_equal(t->token_id, made.token_id);
	assert_int_equal(t->uses, 3);
	assert_int_equal(t->used, 1);
	assert_int_equal(t->created_at, NOW);
	assert_int_equal(t->expires_at, NOW + 24 * HOUR);
	assert_int_equal(t->for_s, 12 * HOUR);
	assert_int_equal(t->used_at, NOW);
	struct addr visitor = from("198.51.100.7");
	assert_true(addr_same_ip(&t->last_visitor, &visitor));
	assert_int_equal(allowed(rule_a, NOW), 2);
	assert_int_equal(admit(rule_a, spent, "198.51.100.9"), -EACCES);
	assert_int_equal(admit(rule_a, text, "198.51.100.9"), 0);
}

static void the_file_has_no_secret_and_is_private(void **state)
{
	char text[TOKEN_TEXT], file[4096];
	struct stat st;

	(void)state;
	make(rule_a, 1, 0, text);
	ssize_t n = file_read(dir, "tokens.json", file, sizeof file - 1);
	assert_true(n > 0);
	file[n] = 0;
	/* The first 16 bytes are the rule's id: the secret begins at most a character after 21 of base64. */
	assert_null(strstr(file, text + 22));
	assert_int_equal(fstatat(dir, "tokens.json", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void rotate_makes_the_old_link_worth_nothing(void **state)
{
	char old[TOKEN_TEXT], new[TOKEN_TEXT];
	struct token token;

	(void)state;
	struct token made = make(rule_a, 1, NOW + HOUR, old);
	assert_int_equal(admit(rule_a, old, "198.51.100.7"), 0);
	assert_int_equal(tokens_rotate(tokens, rule_b, made.token_id, &token, new, NOW, &rng), -ENOENT);
	assert_int_equal(tokens_rotate(tokens, rule_a, made.token_id, &token, new, NOW + 5 * HOUR, &rng), 0);
	assert_string_equal(token.token_id, made.token_id);
	assert_int_equal(token.expires_at, NOW + 6 * HOUR);
	assert_int_equal(allowed(rule_a, NOW + 5 * HOUR), 1);
	assert_int_equal(admit_at(rule_a, old, "198.51.100.8", NOW + 5 * HOUR), -EACCES);
	assert_int_equal(admit_at(rule_a, new, "198.51.100.8", NOW + 5 * HOUR), 0);
}

static void revoke_ends_the_visits_too(void **state)
{
	char text[TOKEN_TEXT], other[TOKEN_TEXT];

	(void)state;
	struct token made = make(rule_a, 5, 0, text);
	make(rule_a, 5, 0, other);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	assert_int_equal(admit(rule_a, other, "198.51.100.8"), 0);
	assert_int_equal(tokens_revoke(tokens, rule_b, made.token_id), -ENOENT);
	assert_int_equal(tokens_revoke(tokens, rule_a, made.token_id), 0);
	assert_int_equal(tokens_revoke(tokens, rule_a, made.token_id), -ENOENT);
	assert_int_equal(allowed(rule_a, NOW), 1);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), -EACCES);
}

static void a_rule_that_is_gone_takes_all_along(void **state)
{
	char text[TOKEN_TEXT], other[TOKEN_TEXT];

	(void)state;
	make(rule_a, 5, 0, text);
	make(rule_b, 5, 0, other);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	assert_int_equal(tokens_forget(tokens, rule_a), 0);
	reopen();
	assert_int_equal(tokens_count(tokens), 1);
	assert_int_equal(allowed(rule_a, NOW), 0);
	assert_int_equal(admit(rule_b, other, "198.51.100.7"), 0);
}

static void terms_that_make_no_sense_are_refused(void **state)
{
	static const struct token cases[] = {
		{ .uses = 0, .for_s = 1 },
		{ .uses = TOKENS_USES_MAX + 1, .for_s = 1 },
		{ .uses = 1, .for_s = 0 },
		{ .uses = 1, .for_s = TOKENS_FOR_MAX_S + 1 },
		{ .uses = 1, .for_s = 1, .expires_at = NOW },
	};
	char text[TOKEN_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct token t = cases[i];
		assert_int_equal(tokens_new(tokens, &t, text, NOW, &rng), -EINVAL);
	}
	assert_int_equal(tokens_count(tokens), 0);
}

static void what_is_worth_nothing_gives_way(void **state)
{
	struct token t = { .uses = 1, .for_s = 1 };
	char text[TOKEN_TEXT], short_lived[TOKEN_TEXT];

	(void)state;
	memcpy(t.id, rule_a, FORWARD_ID);
	make(rule_b, 1, 0, text);
	make(rule_a, 1, NOW + 1, short_lived);
	for (int i = 2; i < TOKENS_MAX; i++)
		make(rule_a, 1, 0, text);
	assert_int_equal(tokens_new(tokens, &t, text, NOW, &rng), -ENOSPC);
	assert_int_equal(tokens_new(tokens, &t, text, NOW + 1, &rng), 0);
	assert_int_equal(tokens_count(tokens), TOKENS_MAX);
	assert_int_equal(admit(rule_a, short_lived, "198.51.100.7"), -EACCES);
	reopen();
	assert_int_equal(tokens_count(tokens), TOKENS_MAX);
}

static void what_ran_out_is_forgotten_a_week_later(void **state)
{
	char text[TOKEN_TEXT];

	(void)state;
	make(rule_a, 1, NOW + HOUR, text);
	make(rule_b, 2, 0, text);
	assert_int_equal(tokens_next_unix_s(tokens), NOW + HOUR + TOKENS_KEEP_S);
	assert_false(tokens_tick(tokens, NOW + HOUR + TOKENS_KEEP_S - 1));
	assert_int_equal(tokens_count(tokens), 2);
	assert_false(tokens_tick(tokens, NOW + HOUR + TOKENS_KEEP_S));
	assert_int_equal(tokens_count(tokens), 1);
	assert_memory_equal(tokens_at(tokens, 0)->id, rule_b, FORWARD_ID);
	assert_true(tokens_next_unix_s(tokens) == UINT64_MAX);
}

static void a_disk_that_takes_nothing_admits_nobody(void **state)
{
	char text[TOKEN_TEXT];

	(void)state;
	make(rule_a, 1, 0, text);
	/* A folder in the temporary file's place: it cannot be written. */
	assert_int_equal(mkdirat(dir, ".tokens.json.tmp", 0700), 0);
	int ret = admit(rule_a, text, "198.51.100.7");
	unlinkat(dir, ".tokens.json.tmp", AT_REMOVEDIR);
	assert_true(ret < 0 && ret != -EACCES);
	assert_int_equal(allowed(rule_a, NOW), 0);
	assert_int_equal(admit(rule_a, text, "198.51.100.8"), 0);
}

static void a_spoilt_file_is_put_aside_and_admits_nobody(void **state)
{
	static const char *const files[] = {
		"",
		"{",
		"[]",
		"{\"tokens\":[]}",
		"{\"tokens\":[{}],\"visits\":[]}",
		"{\"tokens\":[],\"visits\":[{\"token_id\":\"00000000\",\"forward_id\":\"x\",\"visitor\":null,"
		"\"until\":1}]}"
	};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		tokens_close(tokens);
		assert_int_equal(file_write(dir, "tokens.json", files[i], strlen(files[i])), 0);
		assert_int_equal(tokens_open(&tokens, dir), -EBADMSG);
		assert_int_equal(tokens_count(tokens), 0);
		assert_int_equal(faccessat(dir, "tokens.json.spoilt", F_OK, 0), 0);
	}
	reopen();
}

static void whatever_byte_is_spoilt_is_survived(void **state)
{
	char text[TOKEN_TEXT], file[2048];
	unsigned spoilt = 0;

	(void)state;
	make(rule_a, 2, NOW + HOUR, text);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	ssize_t n = file_read(dir, "tokens.json", file, sizeof file);
	assert_true(n > 0);
	for (ssize_t i = 0; i < n; i++) {
		char was = file[i];
		file[i] = (char)rng_u32(&rng);
		tokens_close(tokens);
		assert_int_equal(file_write(dir, "tokens.json", file, (size_t)n), 0);
		int ret = tokens_open(&tokens, dir);
		assert_true(ret == 0 || ret == -EBADMSG);
		assert_true(tokens_count(tokens) <= 1);
		spoilt += ret != 0;
		file[i] = was;
	}
	assert_true(spoilt > (unsigned)n / 2);
}

static void as_json_it_tells_all_but_the_secret(void **state)
{
	char text[TOKEN_TEXT];

	(void)state;
	struct token made = make(rule_a, 1, NOW + HOUR, text);
	json_t *json = tokens_json(&made, NOW);
	assert_string_equal(json_string_value(json_object_get(json, "state")), "live");
	assert_true(json_is_null(json_object_get(json, "last_visitor")));
	json_decref(json);
	json = tokens_json(&made, NOW + HOUR);
	assert_string_equal(json_string_value(json_object_get(json, "state")), "expired");
	json_decref(json);
	assert_int_equal(admit(rule_a, text, "198.51.100.7"), 0);
	json = tokens_json(tokens_at(tokens, 0), NOW);
	assert_string_equal(json_string_value(json_object_get(json, "state")), "used-up");
	assert_string_equal(json_string_value(json_object_get(json, "last_visitor")), "198.51.100.7");
	json_decref(json);
}

/* --- kill -9 */

enum { STOPS_MAX = 2000 };

/* Admits a visitor, and says so when it has. */
static void admit_traced(int to, const char *text)
{
	struct addr visitor = from("198.51.100.7");
	struct token_visit visit;
	struct token token;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(77);
	raise(SIGSTOP);
	int ret = tokens_admit(tokens, rule_a, text, &visitor, ROOM, NOW, &visit, &token);
	_exit(write(to, "", 1) == 1 ? ret : 1);
}

/* Kills that at the nth entry into or return from a system call. False: it came to its end before; *admitted: it had said
 * so. */
static bool killed_at(unsigned n, const char *text, bool *admitted)
{
	int ends[2], status;
	char byte;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		admit_traced(ends[1], text);
	close(ends[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	for (; n && WIFSTOPPED(status); n--) {
		ptrace(PTRACE_SYSCALL, child, NULL, NULL);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	bool stopped = WIFSTOPPED(status);
	if (!stopped && WEXITSTATUS(status) == 77)
		skip(); /* nobody may trace here */
	if (stopped) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	}
	*admitted = read(ends[0], &byte, 1) == 1;
	close(ends[0]);
	return stopped;
}

static void a_use_that_was_granted_outlives_kill_9_at_any_system_call(void **state)
{
	char text[TOKEN_TEXT];
	bool stopped = true, admitted;
	unsigned n, before = 0, after = 0;

	(void)state;
	for (n = 0; stopped; n++) {
		assert_true(n < STOPS_MAX);
		assert_int_equal(tokens_forget(tokens, rule_a), 0);
		make(rule_a, 1, 0, text);
		stopped = killed_at(n, text, &admitted);
		reopen(); /* whole each time */
		assert_int_equal(tokens_count(tokens), 1);
		bool used = tokens_at(tokens, 0)->used;
		assert_int_equal(allowed(rule_a, NOW), used);
		assert_false(admitted && !used);
		assert_int_equal(admit(rule_a, text, "203.0.113.77"), used ? -EACCES : 0);
		before += !used;
		after += used;
	}
	assert_true(before > 5 && after > 2);
}

/* --- The token for reading */

static void the_reading_token_is_one_at_a_time(void **state)
{
	char first[API_TOKEN_LEN + 1], second[API_TOKEN_LEN + 1], header[API_TOKEN_LEN + 16];

	(void)state;
	assert_false(read_token_fits(dir, "Bearer p2p_x"));
	assert_int_equal(read_token_make(dir, first, &rng), 0);
	snprintf(header, sizeof header, "Bearer %s", first);
	assert_true(read_token_fits(dir, header));
	assert_false(read_token_fits(dir, first));
	assert_false(read_token_fits(dir, NULL));
	assert_false(read_token_fits(dir, ""));
	assert_int_equal(read_token_make(dir, second, &rng), 0);
	assert_false(read_token_fits(dir, header));
	snprintf(header, sizeof header, "Bearer %s", second);
	assert_true(read_token_fits(dir, header));
	assert_int_equal(read_token_remove(dir), 0);
	assert_int_equal(read_token_remove(dir), 0);
	assert_false(read_token_fits(dir, header));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_link_for_one_use_admits_one_visitor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_is_admitted_may_load_the_page_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_look_burns_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_visit_ends_when_its_time_is_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_valid_token_is_refused_in_one_way, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_text_tells_its_rule_to_who_knows_no_more, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(all_of_it_outlives_a_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_file_has_no_secret_and_is_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rotate_makes_the_old_link_worth_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(revoke_ends_the_visits_too, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_rule_that_is_gone_takes_all_along, set_up, tear_down),
		cmocka_unit_test_setup_teardown(terms_that_make_no_sense_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_worth_nothing_gives_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_ran_out_is_forgotten_a_week_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_disk_that_takes_nothing_admits_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_spoilt_file_is_put_aside_and_admits_nobody, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(whatever_byte_is_spoilt_is_survived, set_up, tear_down),
		cmocka_unit_test_setup_teardown(as_json_it_tells_all_but_the_secret, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_use_that_was_granted_outlives_kill_9_at_any_system_call,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_reading_token_is_one_at_a_time, set_up, tear_down),
	};
	crypto_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
