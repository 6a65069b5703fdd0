#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/fail.h"
#include "core/options.h"

struct parsed {
	const char *hub;
	bool fresh;
	long port, count;
	struct options_list udp, args;
	int code;
};

/* What the line said that the parser complained with. */
static char said[1024];

static bool parse(struct parsed *p, const char *line)
{
	const struct options_entry entries[] = {
		{ "hub", "URL", "the hub", .text = &p->hub },
		{ "new", NULL, "found it", .flag = &p->fresh },
		{ "port", "N", "UDP port", .number = &p->port, .min = 1, .max = 65535 },
		{ "c", "N", "how many", .number = &p->count, .min = 1, .max = 10 },
		{ "udp", "ADDR", "may be repeated", .list = &p->udp },
		{ 0 },
	};
	const struct options o = { "p2pd up PEER", "About.", entries, "More.\n", .max_args = 2 };
	static char words[256];
	char *argv[16] = { "up" };
	int argc = 1, pipe_ends[2];

	*p = (struct parsed) { .port = 7 };
	snprintf(words, sizeof words, "%s", line);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	assert_int_equal(pipe(pipe_ends), 0);
	fail_to(pipe_ends[1]);
	bool go_on = options_parse(&o, argc, argv, &p->args, &p->code);
	close(pipe_ends[1]);
	fail_to(STDERR_FILENO);
	ssize_t n = read(pipe_ends[0], said, sizeof said - 1);
	said[n > 0 ? n : 0] = 0;
	close(pipe_ends[0]);
	return go_on;
}

static void all_forms_are_read(void **state)
{
	(void)state;
	struct parsed p;

	assert_true(parse(&p, "--hub https://a --port=80 -c 3 --new peer"));
	assert_string_equal(p.hub, "https://a");
	assert_true(p.fresh);
	assert_int_equal(p.port, 80);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.args.count, 1);
	assert_string_equal(p.args.items[0], "peer");
}

static void what_is_not_given_keeps_its_default(void **state)
{
	(void)state;
	struct parsed p;

	assert_true(parse(&p, ""));
	assert_null(p.hub);
	assert_false(p.fresh);
	assert_int_equal(p.port, 7);
}

static void a_list_takes_each_value_in_order(void **state)
{
	(void)state;
	struct parsed p;

	assert_true(parse(&p, "--udp a --udp=b"));
	assert_int_equal(p.udp.count, 2);
	assert_string_equal(p.udp.items[0], "a");
	assert_string_equal(p.udp.items[1], "b");
}

static void all_behind_two_dashes_are_arguments(void **state)
{
	(void)state;
	struct parsed p;

	assert_true(parse(&p, "-- --new -c"));
	assert_false(p.fresh);
	assert_int_equal(p.args.count, 2);
	assert_string_equal(p.args.items[1], "-c");
}

static void a_wrong_line_is_a_usage_error_that_says_what_is_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "--nwe", "unknown option --nwe; see `p2pd up --help`" },
		{ "--hu x", "unknown option --hu" },
		{ "-new", "unknown option -new" },
		{ "--c 3", "unknown option --c" },
		{ "--hub", "a value is missing after --hub" },
		{ "--new=yes", "takes no value" },
		{ "--port 0", "a number from 1 to 65535, not '0'" },
		{ "--port 65536", "not '65536'" },
		{ "--port 1x", "not '1x'" },
		{ "--port=", "not ''" },
		{ "--port 99999999999999999999", "a number" },
		{ "a b c", "do not know what to do with c" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct parsed p;
		assert_false(parse(&p, cases[i].line));
		assert_int_equal(p.code, EXIT_USAGE);
		if (!strstr(said, cases[i].says))
			fail_msg("'%s' says: %s", cases[i].line, said);
	}
}

static void too_many_values_of_a_list_are_refused(void **state)
{
	(void)state;
	struct parsed p;
	char *argv[OPTIONS_LIST_MAX + 3] = { "x" };
	const struct options_entry entries[] = { { "u", "A", "", .list = &p.udp }, { 0 } };
	const struct options o = { "x", "", entries };

	p = (struct parsed) { 0 };
	for (int i = 1; i < OPTIONS_LIST_MAX + 2; i++)
		argv[i] = "-u=1";
	fail_to(open("/dev/null", O_WRONLY));
	assert_true(options_parse(&o, OPTIONS_LIST_MAX + 1, argv, &p.args, &p.code));
	p.udp.count = 0;
	assert_false(options_parse(&o, OPTIONS_LIST_MAX + 2, argv, &p.args, &p.code));
	fail_to(STDERR_FILENO);
	assert_int_equal(p.code, EXIT_USAGE);
}

static void words_and_exit_codes_are_one_to_one(void **state)
{
	(void)state;

	for (int code = EXIT_OK; code <= EXIT_TIMED_OUT; code++)
		assert_int_equal(fail_code(fail_word(code)), code);
	assert_int_equal(fail_code("whatever"), EXIT_FAILED);
}

static void control_characters_reach_no_terminal(void **state)
{
	(void)state;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	fail_to(ends[1]);
	assert_int_equal(fail_with(EXIT_DENIED, "a\x1b[2Jb\n"), EXIT_DENIED);
	fail_to(STDERR_FILENO);
	ssize_t n = read(ends[0], said, sizeof said - 1);
	assert_true(n > 0);
	said[n] = 0;
	assert_non_null(strstr(said, "a?[2Jb?\n"));
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_forms_are_read),
		cmocka_unit_test(what_is_not_given_keeps_its_default),
		cmocka_unit_test(a_list_takes_each_value_in_order),
		cmocka_unit_test(all_behind_two_dashes_are_arguments),
		cmocka_unit_test(a_wrong_line_is_a_usage_error_that_says_what_is_wrong),
		cmocka_unit_test(too_many_values_of_a_list_are_refused),
		cmocka_unit_test(words_and_exit_codes_are_one_to_one),
		cmocka_unit_test(control_characters_reach_no_terminal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
