/* The audit of port forwarding: its lines, how long they stay, and what a crash or a flood does to them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>
#include <cmocka.h>

#include "apps/p2pd/forward/audit.h"
#include "core/file.h"

enum { NOW = 1800000000, HOUR = 3600, DAY = 86400 };

static const uint8_t rule_id[FORWARD_ID] = { 1, [6] = 0x70, [8] = 0x80 };
static char folder[64];
static int dir;
static struct audit *audit;

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/audit-XXXXXX");
	assert_non_null(mkdtemp(folder));
	dir = file_open_dir(folder);
	return audit_open(&audit, dir, AUDIT_KEEP_S, NOW);
}

static int tear_down(void **state)
{
	DIR *d = opendir(folder);

	(void)state;
	audit_close(audit);
	for (struct dirent *e; (e = readdir(d));)
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	close(dir);
	return rmdir(folder);
}

static void reopen(uint64_t now)
{
	audit_close(audit);
	assert_int_equal(audit_open(&audit, dir, AUDIT_KEEP_S, now), 0);
}

static void note(enum audit_event event, uint64_t now, const char *detail)
{
	const struct audit_entry e = { .event = event,
				       .outcome = AUDIT_REFUSED,
				       .forward_id = rule_id,
				       .actor = "visitor 203.0.113.5",
				       .detail = detail };

	audit_write(audit, now, &e);
}

static json_t *list(uint64_t since)
{
	json_t *json;

	assert_int_equal(audit_list(audit, since, &json), 0);
	assert_string_equal(json_string_value(json_object_get(json, "schema")), "p2pd.portmap.audit/1");
	json_t *entries = json_incref(json_object_get(json, "entries"));
	json_decref(json);
	return entries;
}

static size_t count(uint64_t since)
{
	json_t *entries = list(since);
	size_t n = json_array_size(entries);

	json_decref(entries);
	return n;
}

static const char *text_at(json_t *entries, size_t i, const char *key)
{
	const char *text = json_string_value(json_object_get(json_array_get(entries, i), key));

	return text ? text : "";
}

static json_int_t number_at(json_t *entries, size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(entries, i), key));
}

static void append_raw(const char *text)
{
	int fd = openat(dir, "audit.jsonl", O_WRONLY | O_APPEND);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* --- */

static void a_line_says_who_did_what_when(void **state)
{
	const struct audit_entry e = {
		.event = AUDIT_RULE_ADD, .forward_id = rule_id, .name = "till-lyon-3306", .actor = "uid 0"
	};

	(void)state;
	audit_write(audit, 1769850300, &e);
	json_t *entries = list(0);
	assert_int_equal(json_array_size(entries), 1);
	char *line = json_dumps(json_array_get(entries, 0), JSON_COMPACT);
	assert_string_equal(line,
			    "{\"time\":\"2026-01-31T09:05:00Z\",\"unix\":1769850300,\"event\":\"rule.add\","
			    "\"outcome\":\"ok\",\"actor\":\"uid 0\",\"forward_id\":"
			    "\"01000000-0000-7000-8000-000000000000\",\"name\":\"till-lyon-3306\"}");
	free(line);
	json_decref(entries);
}

static void a_rule_that_never_was_has_no_id(void **state)
{
	static const uint8_t zeros[FORWARD_ID];
	const struct audit_entry e = { .event = AUDIT_RULE_ADD,
				       .outcome = AUDIT_REFUSED,
				       .forward_id = zeros };

	(void)state;
	audit_write(audit, NOW, &e);
	json_t *entries = list(0);
	assert_null(json_object_get(json_array_get(entries, 0), "forward_id"));
	json_decref(entries);
}

static void each_event_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < AUDIT_EVENTS; i++)
		note((enum audit_event)i, NOW, NULL);
	json_t *entries = list(0);
	assert_int_equal(json_array_size(entries), AUDIT_EVENTS);
	for (size_t i = 0; i < AUDIT_EVENTS; i++) {
		assert_non_null(strchr(text_at(entries, i, "event"), '.'));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(text_at(entries, i, "event"), text_at(entries, j, "event"));
	}
	json_decref(entries);
}

static void what_strangers_say_is_cut_and_made_plain(void **state)
{
	char hostile[2000];

	(void)state;
	memset(hostile, 'A', sizeof hostile - 1);
	hostile[sizeof hostile - 1] = 0;
	memcpy(hostile, "\",\"unix\":1\n\x1b[2J\xff\xc2\x9b", 18);
	note(AUDIT_TOKEN_GUESS, NOW, hostile);
	json_t *entries = list(NOW);
	assert_int_equal(json_array_size(entries), 1);
	assert_int_equal(strlen(text_at(entries, 0, "detail")), AUDIT_TEXT_MAX);
	assert_memory_equal(text_at(entries, 0, "detail"), "\",\"unix\":1??[2J???A", 19);
	json_decref(entries);
}

static void the_list_begins_when_one_wants(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++)
		note(AUDIT_RULE_ADD, NOW + i, NULL);
	assert_int_equal(count(0), 10);
	assert_int_equal(count(NOW + 7), 3);
	assert_int_equal(count(NOW + 10), 0);
}

static void of_too_many_the_newest_are_listed(void **state)
{
	json_t *json;

	(void)state;
	for (unsigned i = 0; i < AUDIT_LIST_MAX + 5; i++)
		note(AUDIT_RULE_SET, NOW + i, NULL);
	assert_int_equal(audit_list(audit, NOW + 2, &json), 0);
	json_t *entries = json_object_get(json, "entries");
	assert_true(json_is_true(json_object_get(json, "more")));
	assert_int_equal(json_array_size(entries), AUDIT_LIST_MAX);
	assert_int_equal(number_at(entries, 0, "unix"), NOW + 5);
	json_decref(json);
	assert_int_equal(audit_list(audit, NOW + 5, &json), 0);
	assert_true(json_is_false(json_object_get(json, "more")));
	json_decref(json);
}

static void lines_stay_for_thirty_days(void **state)
{
	(void)state;
	note(AUDIT_RULE_ADD, NOW, "first");
	note(AUDIT_RULE_SET, NOW + 10 * DAY, "second");
	audit_tick(audit, NOW + 30 * DAY);
	assert_int_equal(count(0), 2);
	audit_tick(audit, NOW + 30 * DAY + AUDIT_PRUNE_EVERY_S);
	json_t *entries = list(0);
	assert_int_equal(json_array_size(entries), 1);
	assert_string_equal(text_at(entries, 0, "detail"), "second");
	json_decref(entries);
	note(AUDIT_RULE_PAUSE, NOW + 31 * DAY, "third");
	assert_int_equal(count(0), 2);
	reopen(NOW + 40 * DAY + 1);
	assert_int_equal(count(0), 1);
	reopen(NOW + 90 * DAY);
	assert_int_equal(count(0), 0);
	note(AUDIT_RULE_ADD, NOW + 90 * DAY, NULL);
	assert_int_equal(count(0), 1);
}

static void another_retention_holds_from_the_next_look_on(void **state)
{
	(void)state;
	note(AUDIT_RULE_ADD, NOW, "first");
	note(AUDIT_RULE_SET, NOW + 20 * DAY, "second");
	audit_tick(audit, NOW + 20 * DAY);
	audit_keep(audit, 0);
	audit_tick(audit, NOW + 900 * DAY);
	assert_int_equal(count(0), 2);
	audit_keep(audit, 890 * DAY);
	audit_tick(audit, NOW + 900 * DAY);
	assert_int_equal(count(0), 1);
}

static void a_file_that_others_cut_is_gone_on_with(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		note(AUDIT_RULE_ADD, NOW, "before");
	int fd = openat(dir, "audit.jsonl", O_WRONLY);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	assert_int_equal(count(0), 0);
	note(AUDIT_RULE_SET, NOW, "after");
	assert_int_equal(count(0), 1);
	audit_tick(audit, NOW + AUDIT_PRUNE_EVERY_S);
	assert_int_equal(count(0), 1);
	reopen(NOW);
	assert_int_equal(count(0), 1);
}

static void a_file_that_others_took_away_is_begun_anew(void **state)
{
	(void)state;
	note(AUDIT_RULE_ADD, NOW, "before");
	assert_int_equal(renameat(dir, "audit.jsonl", dir, "audit.jsonl.1"), 0);
	assert_int_equal(count(0), 0);
	note(AUDIT_RULE_SET, NOW, "after");
	assert_int_equal(count(0), 1);
	reopen(NOW);
	assert_int_equal(count(0), 1);
	assert_int_equal(unlinkat(dir, "audit.jsonl.1", 0), 0);
}

static void a_line_that_a_crash_cut_off_is_taken_away(void **state)
{
	(void)state;
	note(AUDIT_RULE_ADD, NOW, NULL);
	append_raw("{\"time\":\"2027-01-15T08:00:00Z\",\"unix\":18000");
	reopen(NOW);
	assert_int_equal(count(0), 1);
	note(AUDIT_RULE_SET, NOW, NULL);
	assert_int_equal(count(0), 2);
}

static void what_is_no_line_of_ours_does_no_harm(void **state)
{
	(void)state;
	note(AUDIT_RULE_ADD, NOW, NULL);
	append_raw("\n\n{\"unix\":1800000000\n{\"unix\":99999999999999999999999}\nrubbish\n");
	reopen(NOW);
	note(AUDIT_RULE_SET, NOW, NULL);
	json_t *entries = list(NOW);
	assert_string_equal(text_at(entries, 0, "event"), "rule.add");
	assert_string_equal(text_at(entries, json_array_size(entries) - 1, "event"), "rule.set");
	json_decref(entries);
}

static void a_flood_is_counted_and_not_written(void **state)
{
	json_t *entries;

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		note(AUDIT_TOKEN_GUESS, NOW + i % HOUR / 2, NULL);
	note(AUDIT_RULE_ADD, NOW, NULL); /* what a person does is always written */
	assert_int_equal(count(0), AUDIT_HOURLY_MAX + 1);
	for (unsigned i = 0; i < 5000; i++)
		note(AUDIT_TOKEN_USE, NOW, NULL);
	assert_int_equal(count(0), AUDIT_HOURLY_MAX + 1 + AUDIT_HOURLY_SOME);
	note(AUDIT_TOKEN_GUESS, NOW + HOUR, NULL);
	entries = list(NOW + HOUR);
	assert_int_equal(json_array_size(entries), 1);
	assert_int_equal(number_at(entries, 0, "left_out"), 5000 - AUDIT_HOURLY_MAX);
	json_decref(entries);
}

static void the_end_of_a_flood_is_told_by_itself(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 300; i++)
		note(AUDIT_LEASE_REFUSE, NOW, NULL);
	audit_tick(audit, NOW + HOUR - 1);
	assert_int_equal(count(NOW + 1), 0);
	audit_tick(audit, NOW + HOUR);
	audit_tick(audit, NOW + HOUR);
	json_t *entries = list(NOW + HOUR);
	assert_int_equal(json_array_size(entries), 1);
	assert_int_equal(number_at(entries, 0, "left_out"), 200);
	assert_string_equal(text_at(entries, 0, "event"), "lease.refuse");
	json_decref(entries);
}

static void a_full_disk_leaves_whole_lines(void **state)
{
	struct rlimit before, small = { .rlim_cur = 1000 };

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	for (unsigned i = 0; i < 50; i++)
		note(AUDIT_RULE_SET, NOW, "something to say");
	setrlimit(RLIMIT_FSIZE, &before);
	size_t written = count(0);
	assert_in_range(written, 1, 10);
	note(AUDIT_RULE_SET, NOW, NULL);
	assert_int_equal(count(0), written + 1);
}

static void a_file_that_is_too_long_loses_its_oldest(void **state)
{
	static char text[AUDIT_TEXT_MAX + 1];
	struct stat st;

	(void)state;
	memset(text, 'x', AUDIT_TEXT_MAX);
	/* As a file of before; this many lines one by one would take the test too long. */
	int fd = openat(dir, "audit.jsonl", O_WRONLY | O_APPEND);
	FILE *f = fdopen(fd, "a");
	for (unsigned i = 0; ftell(f) < AUDIT_FILE_MAX + 100000; i++)
		fprintf(f, "{\"time\":\"2027-01-15T08:00:00Z\",\"unix\":%u,\"detail\":\"%s\"}\n", NOW + i,
			text);
	fclose(f);
	reopen(NOW);
	fstatat(dir, "audit.jsonl", &st, 0);
	assert_in_range(st.st_size, AUDIT_FILE_MAX - 1000, AUDIT_FILE_MAX);
	for (unsigned i = 0; i < 5; i++)
		note(AUDIT_RULE_SET, NOW + 100, text);
	fstatat(dir, "audit.jsonl", &st, 0);
	assert_in_range(st.st_size, AUDIT_FILE_MAX / 2, AUDIT_FILE_MAX / 4 * 3 + 4000);
	assert_int_equal(st.st_mode & 0777, 0600);
	json_t *entries = list(0);
	assert_string_equal(text_at(entries, json_array_size(entries) - 1, "event"), "rule.set");
	json_decref(entries);
}

static void without_an_audit_nothing_is_written(void **state)
{
	(void)state;
	json_t *json;

	audit_write(NULL, NOW, &(struct audit_entry) { .event = AUDIT_RULE_ADD });
	audit_tick(NULL, NOW + HOUR);
	audit_keep(NULL, DAY);
	assert_int_equal(audit_list(NULL, 0, &json), -ENOENT);
	audit_close(NULL);
}

static void a_link_in_its_place_is_refused(void **state)
{
	struct audit *other;

	(void)state;
	audit_close(audit);
	audit = NULL;
	unlinkat(dir, "audit.jsonl", 0);
	assert_int_equal(symlinkat("/etc/passwd", dir, "audit.jsonl"), 0);
	assert_int_equal(audit_open(&other, dir, AUDIT_KEEP_S, NOW), -ELOOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_says_who_did_what_when, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_rule_that_never_was_has_no_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_event_has_a_name_of_its_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_strangers_say_is_cut_and_made_plain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_list_begins_when_one_wants, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_too_many_the_newest_are_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lines_stay_for_thirty_days, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_retention_holds_from_the_next_look_on, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_others_cut_is_gone_on_with, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_others_took_away_is_begun_anew, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_line_that_a_crash_cut_off_is_taken_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_line_of_ours_does_no_harm, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_flood_is_counted_and_not_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_of_a_flood_is_told_by_itself, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_disk_leaves_whole_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_is_too_long_loses_its_oldest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_an_audit_nothing_is_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_link_in_its_place_is_refused, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
