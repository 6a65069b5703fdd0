#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>

#define T 1795334531007ull /* 2026-11-22T08:02:11.007Z */

static char line[LOG_LINE_MAX + 1];

static const char *format(enum log_format how, uint64_t at, const char *message)
{
	size_t len = log_format_line(line, how, at, LOG_LVL_WARN, "hub", message);

	assert_true(len < LOG_LINE_MAX);
	line[len] = 0;
	return line;
}

static void a_line_has_its_format(void **state)
{
	(void)state;

	assert_string_equal(format(LOG_PLAIN, T, "a b"), "warn hub: a b\n");
	assert_string_equal(format(LOG_TEXT, T, "a b"), "2026-11-22T08:02:11.007Z warn hub: a b\n");
	assert_string_equal(format(LOG_TEXT, 0, "a b"), "warn hub: a b\n");
	assert_string_equal(format(LOG_JSON, T, "a b"),
			    "{\"time\":\"2026-11-22T08:02:11.007Z\",\"level\":\"warn\",\"module\":\"hub\","
			    "\"message\":\"a b\"}\n");
}

static void bytes_of_a_peer_reach_neither_terminal_nor_parser(void **state)
{
	static const struct {
		const char *in, *text, *json;
	} table[] = {
		{ "a\x1b[2J\r\n\t\x7f", "a?[2J????", "a\\u001b[2J\\u000d\\u000a\\u0009\\u007f" },
		{ "say \"no\" \\o/", "say \"no\" \\o/", "say \\\"no\\\" \\\\o/" },
		{ "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xad", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xad",
		  "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xad" },
		{ "\xff|\x80|\xc3", "?|?|?", "\\ufffd|\\ufffd|\\ufffd" },
		{ "\xc0\xaf", "??", "\\ufffd\\ufffd" },				/* overlong */
		{ "\xed\xa0\x80", "???", "\\ufffd\\ufffd\\ufffd" },		/* a surrogate */
		{ "\xe0\x9f\xbf", "???", "\\ufffd\\ufffd\\ufffd" },		/* overlong */
		{ "\xf4\x90\x80\x80", "????", "\\ufffd\\ufffd\\ufffd\\ufffd" }, /* beyond U+10FFFF */
		{ "\xc2\x9b"
		  "2J",
		  "??2J", "\\ufffd\\ufffd2J" },		/* a terminal's CSI */
		{ "\xe2\x82", "??", "\\ufffd\\ufffd" }, /* cut off */
		{ "", "", "" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char expected[256];
		snprintf(expected, sizeof expected, "warn hub: %s\n", table[i].text);
		assert_string_equal(format(LOG_PLAIN, T, table[i].in), expected);
		snprintf(expected, sizeof expected, "\"message\":\"%s\"}\n", table[i].json);
		assert_string_equal(strstr(format(LOG_JSON, T, table[i].in), "\"message\""), expected);
	}
}

static void json_is_json_whatever_is_in_it(void **state)
{
	char message[257];
	(void)state;

	for (int i = 1; i < 256; i++)
		for (int j = 0; j < 4; j++) {
			snprintf(message, sizeof message, "%c%c%.*s", i, (i * 7 + j * 61) & 0xff, j,
				 "\x80\xbf\"");
			json_t *json = json_loads(format(LOG_JSON, T, message), 0, NULL);
			assert_non_null(json);
			assert_int_equal(json_object_size(json), 4);
			json_decref(json);
		}
}

static void a_long_message_is_cut(void **state)
{
	char message[2 * LOG_MESSAGE_MAX];
	(void)state;

	memset(message, 1, sizeof message - 1);
	message[sizeof message - 1] = 0;
	assert_int_equal(strlen(strstr(format(LOG_JSON, T, message), "message\":\"") + 10),
			 6 * LOG_MESSAGE_MAX + 3);
}

static void modules_have_levels_of_their_own(void **state)
{
	(void)state;

	assert_int_equal(log_set_levels("info,path=debug,hub=warn"), 0);
	assert_true(log_enabled("path", LOG_LVL_DEBUG));
	assert_true(log_enabled("hub", LOG_LVL_WARN));
	assert_false(log_enabled("hub", LOG_LVL_INFO));
	assert_true(log_enabled("other", LOG_LVL_INFO));
	assert_false(log_enabled("other", LOG_LVL_DEBUG));
	assert_int_equal(log_set_levels("path=error,path=warn"), 0);
	assert_true(log_enabled("path", LOG_LVL_WARN));
	assert_false(log_enabled("path", LOG_LVL_INFO));
	assert_true(log_enabled("hub", LOG_LVL_INFO));
	log_set_level(LOG_LVL_ERROR);
	assert_false(log_enabled("path", LOG_LVL_WARN));
}

static void levels_that_are_none_change_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"loud",
		"info,",
		",info",
		"hub",
		"hub=",
		"hub=loud",
		"=debug",
		"info,hub=warnx",
		"Hub=warn",
		"a name=warn",
		"hub==warn",
		"abcdefghijklmnop=warn",
		"a=info,b=info,c=info,d=info,e=info,f=info,g=info,h=info,i=info,j=info,k=info,l=info,m=info,"
		"n=info,"
		"o=info,p=info,q=info",
	};
	(void)state;

	assert_int_equal(log_set_levels("error,hub=debug"), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(log_set_levels(bad[i]), -EINVAL);
		assert_true(log_enabled("hub", LOG_LVL_DEBUG));
		assert_false(log_enabled("nat", LOG_LVL_WARN));
	}
	assert_int_equal(log_set_format_by_name("xml"), -EINVAL);
	log_set_level(LOG_LVL_INFO);
}

/* What log_write() writes to stderr. */
static const char *written(void)
{
	static char text[1024];
	FILE *f = tmpfile();
	int keep = dup(STDERR_FILENO);

	dup2(fileno(f), STDERR_FILENO);
	struct stat st;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	if (getenv("JOURNAL_STREAM")) {
		snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
		setenv("JOURNAL_STREAM", *getenv("JOURNAL_STREAM") == 'x' ? "1:1" : text, 1);
	}
	log_warn("hub", "%d", 42);
	log_debug("hub", "not this");
	dup2(keep, STDERR_FILENO);
	close(keep);
	rewind(f);
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	return text;
}

static void the_journal_has_its_own_time(void **state)
{
	(void)state;

	unsetenv("JOURNAL_STREAM");
	assert_string_equal(written(), "warn hub: 42\n");
	assert_int_equal(log_set_format_by_name("text"), 0);
	assert_string_equal(written() + strlen("2026-11-22T08:02:11.007Z"), " warn hub: 42\n");
	setenv("JOURNAL_STREAM", "this file", 1);
	assert_string_equal(written(), "warn hub: 42\n");
	setenv("JOURNAL_STREAM", "x: another's", 1);
	assert_string_equal(written() + strlen("2026-11-22T08:02:11.007Z"), " warn hub: 42\n");
	unsetenv("JOURNAL_STREAM");
	assert_int_equal(log_set_format_by_name("json"), 0);
	assert_non_null(strstr(written(), "\"message\":\"42\"}\n"));
	log_set_format(LOG_PLAIN);
}

static void limited_lines_come_once_a_second(void **state)
{
	uint64_t last = 0;
	(void)state;

	log_limited(&last, 5000, "hub", "not enabled");
	assert_int_equal(last, 0);
	assert_int_equal(log_set_levels("path=debug"), 0);
	log_limited(&last, 5000, "hub", "another module is");
	assert_int_equal(last, 0);
	log_limited(&last, 5000, "path", "first");
	assert_int_equal(last, 5000);
	log_limited(&last, 5999, "path", "too soon");
	assert_int_equal(last, 5000);
	log_limited(&last, 6000, "path", "second");
	assert_int_equal(last, 6000);
	log_set_level(LOG_LVL_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_its_format),
		cmocka_unit_test(bytes_of_a_peer_reach_neither_terminal_nor_parser),
		cmocka_unit_test(json_is_json_whatever_is_in_it),
		cmocka_unit_test(a_long_message_is_cut),
		cmocka_unit_test(modules_have_levels_of_their_own),
		cmocka_unit_test(levels_that_are_none_change_nothing),
		cmocka_unit_test(the_journal_has_its_own_time),
		cmocka_unit_test(limited_lines_come_once_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
