#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/fail.h"

struct sample {
	char name[8], word[8];
	long count;
	enum config_flag flag;
	struct addr at;
	struct config_addrs doors;
	char ports[12];
	uint32_t rate;
	uint64_t month, kept;
};

static bool is_word(const char *text)
{
	return !strcmp(text, "one") || !strcmp(text, "two");
}

static bool is_number(const char *text)
{
	return strspn(text, "0123456789") == strlen(text);
}

#define AT(field) .offset = offsetof(struct sample, field)

static const struct config_entry entries[] = {
	{ "name", CONFIG_TEXT, AT(name), "name", "NAME", "a name", .max = 8, .live = true },
	{ "word", CONFIG_TEXT, AT(word), .max = 8, .takes = "one or two", .fits = is_word, .hushed = true },
	{ "count", CONFIG_NUMBER, AT(count), "count", "N", "how many", .min = 2, .max = 10 },
	{ "flag", CONFIG_FLAG, AT(flag) },
	{ "listen.at", CONFIG_ADDR, AT(at), .port = 443 },
	{ "listen.doors", CONFIG_ADDRS, AT(doors), "door", "ADDR:PORT", "where", .port = 3478 },
	{ "limits.deep.rate", CONFIG_RATE, AT(rate), .none = "unlimited", .live = true },
	{ "limits.deep.month", CONFIG_SIZE, AT(month) },
	{ "limits.kept", CONFIG_TIME, AT(kept), .none = "forever" },
	{ "ports", CONFIG_WORDS, AT(ports), "port", "N", "which", .max = 12, .takes = "numbers",
	  .fits = is_number },
	{ "rest", CONFIG_OTHERS },
	{ 0 },
};

static struct config_file f;
static struct sample got;

static int read_text(const char *text)
{
	memset(&got, 0, sizeof got);
	return config_parse(&f, entries, &got, "f.yaml", text, strlen(text));
}

static void each_value_is_read_and_shown_as_what_reads_the_same(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t entry;
		const char *shown;
	} cases[] = {
		{ "name: abcdefg", 0, "abcdefg" },
		{ "name: 'a: b'", 0, "a: b" },
		{ "name: 123", 0, "123" },
		{ "word: two", 1, "two" },
		{ "count: 2", 2, "2" },
		{ "count: 10", 2, "10" },
		{ "flag: yes", 3, "yes" },
		{ "flag: off", 3, "no" },
		{ "listen: {at: 1.2.3.4}", 4, "1.2.3.4:443" },
		{ "listen:\n  at: '[2001:db8::1]:5'", 4, "[2001:db8::1]:5" },
		{ "listen:\n  doors:\n    - 0.0.0.0\n    - 1.2.3.4:5", 5, "0.0.0.0:3478, 1.2.3.4:5" },
		{ "listen: {doors: []}", 5, "" },
		{ "limits: {deep: {rate: 100mbit}}", 6, "100mbit" },
		{ "limits: {deep: {rate: 1500Kbit}}", 6, "1500kbit" },
		{ "limits: {deep: {rate: 2000mbit}}", 6, "2gbit" },
		{ "limits: {deep: {rate: 34gbit}}", 6, "34gbit" },
		{ "limits: {deep: {rate: unlimited}}", 6, "unlimited" },
		{ "limits: {deep: {month: 500GB}}", 7, "500GB" },
		{ "limits: {deep: {month: 3GiB}}", 7, "3GiB" },
		{ "limits: {kept: 90d}", 8, "90d" },
		{ "limits: {kept: 36h}", 8, "36h" },
		{ "limits: {kept: forever}", 8, "forever" },
		{ "ports: 80", 9, "80" },
		{ "ports: 80, 443 ,1", 9, "80,443,1" },
		{ "ports: [80, 443]", 9, "80,443" },
		{ "ports:\n  - 80,443\n  - 9000", 9, "80,443,9000" },
		{ "ports: []", 9, "" },
	};
	char shown[CONFIG_SHOW];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct config_entry *e = &entries[cases[i].entry];
		if (read_text(cases[i].text) != 0)
			fail_msg("'%s': %s", cases[i].text, f.error[0]);
		assert_string_equal(config_show(e, &got, shown), cases[i].shown);
		assert_true(f.at[cases[i].entry].line > 0);
		if (e->kind == CONFIG_ADDRS || !*shown)
			continue;
		struct sample again = { 0 };
		assert_int_equal(config_set(e, &again, shown), 0);
		assert_false(config_differs(entries, e->key, &got, &again));
	}
	assert_int_equal(read_text("limits: {deep: {rate: 8mbit, month: 1kB}, kept: 2min}"), 0);
	assert_int_equal(got.rate, 1000000);
	assert_int_equal(got.month, 1000);
	assert_int_equal(got.kept, 120);
}

static void what_is_wrong_is_said_with_line_and_column(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "nam: a", "f.yaml:1:1: unknown key 'nam'; expected one of: name, word, count, flag, "
			    "listen, limits, ports, rest" },
		{ "name: a\nlisten:\n  att: b",
		  "f.yaml:3:3: unknown key 'listen.att'; expected one of: at, doors" },
		{ "limits:\n  deep:\n    x: 1",
		  "f.yaml:3:5: unknown key 'limits.deep.x'; expected one of: rate, month" },
		{ "listen.at: 1.2.3.4", "f.yaml:1:1: unknown key 'listen.at'; expected one of: name, word, "
					"count, flag, listen, limits, ports, rest" },
		{ "name: a\nname: b", "f.yaml:2:1: name is given twice, first in line 1" },
		{ "listen: {at: 1.2.3.4}\nlisten: {at: 1.2.3.5}",
		  "f.yaml:2:1: listen is given twice, first in line 1" },
		{ "name: abcdefgh", "f.yaml:1:7: name takes a text of 1 to 7 bytes, not 'abcdefgh'" },
		{ "name: ''", "f.yaml:1:7: name takes a text of 1 to 7 bytes, not '' in quotes" },
		{ "name: \"a\\0b\"", "f.yaml:1:7: name takes a text of 1 to 7 bytes, not 'a' in quotes" },
		{ "name: \"a\\eb\"", "f.yaml:1:7: name takes a text of 1 to 7 bytes, not 'a?b' in quotes" },
		{ "name: [a]", "f.yaml:1:7: name takes a text of 1 to 7 bytes, not a list" },
		{ "name: {a: b}", "f.yaml:1:7: name takes a text of 1 to 7 bytes, not a section" },
		{ "name:\ncount: 3", "f.yaml:1:6: name has no value: it takes a text of 1 to 7 bytes" },
		{ "word: hunter2", "f.yaml:1:7: word takes one or two" },
		{ "count: 1", "f.yaml:1:8: count takes a number from 2 to 10, not '1'" },
		{ "count: 11", "f.yaml:1:8: count takes a number from 2 to 10, not '11'" },
		{ "count: -3", "f.yaml:1:8: count takes a number from 2 to 10, not '-3'" },
		{ "count: 3x", "f.yaml:1:8: count takes a number from 2 to 10, not '3x'" },
		{ "count: '3'", "f.yaml:1:8: count takes a number from 2 to 10, not '3' in quotes" },
		{ "count: 99999999999999999999",
		  "f.yaml:1:8: count takes a number from 2 to 10, not '99999999999999999999'" },
		{ "flag: maybe", "f.yaml:1:7: flag takes yes or no, not 'maybe'" },
		{ "listen:\n  at: nowhere", "f.yaml:2:7: listen.at takes ADDRESS:PORT, not 'nowhere'" },
		{ "listen: here", "f.yaml:1:9: listen is a section: its keys are indented below it" },
		{ "listen:\n  doors: 1.2.3.4",
		  "f.yaml:2:10: listen.doors takes a list of at most 8 ADDRESS:PORT, each after a dash" },
		{ "listen: {doors: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4, 1.1.1.5, 1.1.1.6, 1.1.1.7, 1.1.1.8, "
		  "9.9.9.9]}",
		  "f.yaml:1:90: listen.doors takes a list of at most 8 ADDRESS:PORT, not '9.9.9.9'" },
		{ "limits: {deep: {rate: 100}}",
		  "f.yaml:1:23: limits.deep.rate takes a rate up to 34gbit, such "
		  "as 100mbit, or unlimited, not '100'" },
		{ "limits: {deep: {rate: 35gbit}}",
		  "f.yaml:1:23: limits.deep.rate takes a rate up to 34gbit, such "
		  "as 100mbit, or unlimited, not '35gbit'" },
		{ "limits: {deep: {rate: 0mbit}}",
		  "f.yaml:1:23: limits.deep.rate takes a rate up to 34gbit, such "
		  "as 100mbit, or unlimited, not '0mbit'" },
		{ "limits: {deep: {month: 99999999999TB}}",
		  "f.yaml:1:24: limits.deep.month takes an amount such as 500GB, not '99999999999TB'" },
		{ "limits: {kept: 1 d}",
		  "f.yaml:1:16: limits.kept takes a time such as 90d or 12h, or forever, not '1 d'" },
		{ "ports: [80, x]", "f.yaml:1:13: ports takes numbers, not 'x'" },
		{ "ports: 80,,443", "f.yaml:1:8: ports takes numbers, not '80,,443'" },
		{ "ports: '80,'", "f.yaml:1:8: ports takes numbers, not '80,' in quotes" },
		{ "ports: [80000, 443, 12]", "f.yaml:1:21: ports takes numbers, not '12'" },
		{ "ports: {a: 80}", "f.yaml:1:8: ports takes numbers, not a section" },
		{ "- a", "f.yaml:1:1: settings are expected here, each as KEY: VALUE" },
		{ "just words", "f.yaml:1:1: settings are expected here, each as KEY: VALUE" },
		{ "? [a]\n: b", "f.yaml:1:3: a key is expected here, a word with a colon behind it" },
		{ "name: &x a", "f.yaml:1:7: anchors (&x) are not allowed: write the value out" },
		{ "name: *x", "f.yaml:1:7: aliases (*x) are not allowed: write the value out" },
		{ "name: !!str a", "f.yaml:1:7: tags (tag:yaml.org,2002:str) are not allowed" },
		{ "name: a\n---\nname: b", "f.yaml:2:1: a second document is not allowed" },
		{ "listen: {at: [[[[1]]]]}", "f.yaml:1:14: listen.at takes ADDRESS:PORT, not a list" },
		{ "name: a: b", "f.yaml:1:8: not YAML: mapping values are not allowed in this context" },
		{ "name: \"a\n", "f.yaml:2:1: not YAML: found unexpected end of stream while scanning a "
				 "quoted scalar" },
		{ "name: a\n\tcount: 3", NULL },
		{ "name: \xff", NULL },
		{ "name: [", NULL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(read_text(cases[i].text), -EBADMSG);
		assert_true(f.errors > 0);
		if (cases[i].error)
			assert_string_equal(f.error[0], cases[i].error);
	}
}

static void all_errors_are_said_and_those_beyond_the_limit_counted(void **state)
{
	(void)state;
	char text[2048] = "";

	assert_int_equal(read_text("count: 1\nflag: x\nlisten: {at: y, z: 1}\nlimits: {kept: 1}"), -EBADMSG);
	assert_int_equal(f.errors, 5);
	assert_non_null(strstr(f.error[4], ":4:16: "));
	for (int i = 0; i < CONFIG_ERRORS_MAX + 5; i++)
		sprintf(text + strlen(text), "unknown%d: 1\n", i);
	assert_int_equal(read_text(text), -EBADMSG);
	assert_int_equal(f.errors, CONFIG_ERRORS_MAX + 5);
	FILE *out = tmpfile();
	config_print_errors(&f, out);
	rewind(out);
	unsigned lines = 0;
	while (fgets(text, sizeof text, out))
		lines++;
	fclose(out);
	assert_int_equal(lines, CONFIG_ERRORS_MAX + 1);
	assert_string_equal(text, "f.yaml: and 5 more errors\n");
}

static void what_is_not_said_stays_as_it_was(void **state)
{
	(void)state;
	static const char *const nothing[] = { "", "# a comment\n", "---\n", "~",
					       "listen:\nlimits:\n  deep:\n" };

	for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
		struct sample s = { .name = "as was", .count = 7 };
		assert_int_equal(config_parse(&f, entries, &s, "f", nothing[i], strlen(nothing[i])), 0);
		assert_string_equal(s.name, "as was");
		assert_int_equal(s.count, 7);
		assert_int_equal(f.at[0].line, 0);
	}
}

static void what_another_reads_is_passed_over(void **state)
{
	(void)state;
	static const char *const texts[] = { "rest: 7\ncount: 3", "rest:\ncount: 3",
					     "rest: [{a: b, c: [d]}, e]\ncount: 3",
					     "count: 3\nrest: {a: {}}" };
	char shown[CONFIG_SHOW];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		assert_int_equal(read_text(texts[i]), 0);
		assert_int_equal(got.count, 3);
	}
	assert_int_equal(read_text("rest: [[[[[]]]]]"), -EBADMSG);
	assert_int_equal(read_text("rest: 1\nrest: 2"), -EBADMSG);
	for (const struct config_entry *e = entries; e->key; e++)
		if (e->kind == CONFIG_OTHERS)
			assert_string_equal(config_show(e, &got, shown), "");
}

static void hostile_files_end_soon(void **state)
{
	(void)state;
	char *text = malloc(CONFIG_FILE_MAX + 2);
	static const char *const fillers[] = { "[", "{", "- ", "? ", "a: [", "&a ", "\"", "|\n " };

	for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++) {
		size_t len = strlen(fillers[i]);
		for (size_t at = 0; at + len <= CONFIG_FILE_MAX; at += len)
			memcpy(text + at, fillers[i], len + 1);
		assert_int_equal(config_parse(&f, entries, &got, "f", text, strlen(text)), -EBADMSG);
	}
	memset(text, '#', CONFIG_FILE_MAX + 1);
	assert_int_equal(config_parse(&f, entries, &got, "f", text, CONFIG_FILE_MAX), 0);
	assert_int_equal(config_parse(&f, entries, &got, "f", text, CONFIG_FILE_MAX + 1), -EBADMSG);
	free(text);
}

static void a_file_that_cannot_be_read_is_an_error_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(config_read(&f, entries, &got, "/nowhere/f.yaml"), -ENOENT);
	assert_string_equal(f.error[0], "/nowhere/f.yaml: cannot be read: No such file or directory");
	assert_int_equal(config_read(&f, entries, &got, "/tmp"), -EISDIR);
}

static void what_was_typed_wins_over_the_file(void **state)
{
	(void)state;
	struct config_typed typed = { 0 };
	struct options_entry options[CONFIG_ENTRIES_MAX + 1] = { 0 };
	const struct options o = { "p run", "About.", options, .max_args = 0 };
	char *argv[] = { "run",	   "--count=5", "--door",    "1.1.1.1:1",
			 "--door", "2.2.2.2:2", "--port=80", "--port=443,9" };
	struct options_list args;
	char shown[CONFIG_SHOW];
	int code;

	assert_int_equal(config_options(entries, &typed, options), 4);
	assert_true(options_parse(&o, 8, argv, &args, &code));
	assert_int_equal(read_text("name: a\ncount: 3\nlisten: {doors: [9.9.9.9:9]}\nports: [1]"), 0);
	assert_int_equal(config_set_typed(entries, &typed, &got), EXIT_OK);
	assert_int_equal(got.count, 5);
	assert_string_equal(got.name, "a");
	assert_string_equal(config_show(&entries[5], &got, shown), "1.1.1.1:1, 2.2.2.2:2");
	assert_string_equal(got.ports, "80,443,9");
	typed.values[2].items[0] = "50";
	fail_to(open("/dev/null", O_WRONLY));
	assert_int_equal(config_set_typed(entries, &typed, &got), EXIT_USAGE);
	fail_to(STDERR_FILENO);
}

static void only_what_can_change_at_run_time_does(void **state)
{
	(void)state;
	struct sample now = { .name = "old", .count = 3, .rate = 125 },
		      next = { .name = "new", .count = 4, .rate = 250 };

	assert_int_equal(config_log_changes("test", entries, &now, &next), 3);
	config_take_live(entries, &now, &next);
	assert_string_equal(now.name, "new");
	assert_int_equal(now.rate, 250);
	assert_int_equal(now.count, 3);
	assert_int_equal(config_log_changes("test", entries, &now, &next), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_value_is_read_and_shown_as_what_reads_the_same),
		cmocka_unit_test(what_is_wrong_is_said_with_line_and_column),
		cmocka_unit_test(all_errors_are_said_and_those_beyond_the_limit_counted),
		cmocka_unit_test(what_is_not_said_stays_as_it_was),
		cmocka_unit_test(what_another_reads_is_passed_over),
		cmocka_unit_test(hostile_files_end_soon),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error_of_its_own),
		cmocka_unit_test(what_was_typed_wins_over_the_file),
		cmocka_unit_test(only_what_can_change_at_run_time_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
