#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "apps/p2pd/secret.h"
#include "core/crypto.h"

static char path[] = "/tmp/p2pd-test-secret-XXXXXX";

static void write_file(const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static int from_file(struct secret *s)
{
	char spec[64], why[SECRET_WHY];

	snprintf(spec, sizeof spec, "file:%s", path);
	return secret_read(s, spec, "secret", why);
}

static void a_file_gives_its_content_without_the_line_end(void **state)
{
	(void)state;
	static const struct {
		const char *content, *secret;
	} cases[] = { { "abc", "abc" }, { "abc\n", "abc" }, { "abc\r\n", "abc" }, { " a b ", " a b " } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct secret s;
		write_file(cases[i].content, strlen(cases[i].content));
		assert_int_equal(from_file(&s), 0);
		assert_string_equal(s.text, cases[i].secret);
		assert_int_equal(s.len, strlen(cases[i].secret));
	}
}

static void an_empty_or_too_long_file_is_refused(void **state)
{
	(void)state;
	struct secret s;
	char big[SECRET_MAX + 1];

	write_file("\n\n", 2);
	assert_int_equal(from_file(&s), -EINVAL);
	memset(big, 'x', sizeof big);
	write_file(big, SECRET_MAX);
	assert_int_equal(from_file(&s), 0);
	write_file(big, SECRET_MAX + 1);
	assert_int_equal(from_file(&s), -EINVAL);
	assert_true(crypto_is_zero(&s, sizeof s));
}

static void the_environment_gives_its_variable(void **state)
{
	(void)state;
	struct secret s;
	char why[SECRET_WHY];

	setenv("P2PD_TEST_SECRET", "hush", 1);
	assert_int_equal(secret_read(&s, "env:P2PD_TEST_SECRET", "secret", why), 0);
	assert_string_equal(s.text, "hush");
	unsetenv("P2PD_TEST_SECRET");
	assert_int_equal(secret_read(&s, "env:P2PD_TEST_SECRET", "secret", why), -ENOENT);
	assert_non_null(strstr(why, "P2PD_TEST_SECRET"));
}

static void a_bare_secret_is_refused_and_not_repeated(void **state)
{
	(void)state;
	struct secret s;
	char why[SECRET_WHY];

	assert_int_equal(secret_read(&s, "correct-horse-battery", "secret", why), -EINVAL);
	assert_non_null(strstr(why, "file:PATH"));
	assert_null(strstr(why, "horse"));
}

static void a_file_that_is_not_there_is_named(void **state)
{
	(void)state;
	struct secret s;
	char why[SECRET_WHY];

	assert_int_equal(secret_read(&s, "file:/nonexistent/x", "secret", why), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent/x"));
}

/* The person's end of a terminal, and the program's. */
static void open_terminal(int *person, int *program)
{
	*person = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(*person >= 0);
	assert_int_equal(grantpt(*person), 0);
	assert_int_equal(unlockpt(*person), 0);
	*program = open(ptsname(*person), O_RDWR | O_NOCTTY);
	assert_true(*program >= 0);
}

/* What was typed ahead is flushed by the prompt, so the person types when asked: in a process of its own. */
static int prompt_with(const char *typed, struct secret *s, struct termios *after)
{
	int person, program;
	char seen[64] = "";

	open_terminal(&person, &program);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		ssize_t n = read(person, seen, 8); /* "secret: " */
		while (n > 0 && n < 8)
			n += read(person, seen + n, (size_t)(8 - n));
		struct termios t;
		do
			tcgetattr(program, &t);
		while (t.c_lflag & ECHO);
		n = write(person, typed, strlen(typed));
		_exit(n > 0 ? 0 : 1);
	}
	int ret = secret_prompt(s, program, "secret");
	tcgetattr(program, after);
	close(person);
	close(program);
	return ret;
}

static void a_prompt_reads_a_line_and_leaves_the_terminal_as_it_was(void **state)
{
	(void)state;
	struct secret s;
	struct termios after;

	assert_int_equal(prompt_with("hush now\n", &s, &after), 0);
	assert_string_equal(s.text, "hush now");
	assert_true(after.c_lflag & ECHO);
	assert_true(after.c_lflag & ISIG);
}

static void ctrl_c_at_the_prompt_gives_up_and_leaves_the_terminal_as_it_was(void **state)
{
	(void)state;
	struct secret s;
	struct termios after;

	assert_int_equal(prompt_with("hu\x03\n", &s, &after), -EINTR);
	assert_true(after.c_lflag & ECHO);
}

static int setup(void **state)
{
	(void)state;
	int fd = mkstemp(path);

	if (fd < 0)
		return -1;
	close(fd);
	return crypto_init();
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_gives_its_content_without_the_line_end),
		cmocka_unit_test(an_empty_or_too_long_file_is_refused),
		cmocka_unit_test(the_environment_gives_its_variable),
		cmocka_unit_test(a_bare_secret_is_refused_and_not_repeated),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
		cmocka_unit_test(a_prompt_reads_a_line_and_leaves_the_terminal_as_it_was),
		cmocka_unit_test(ctrl_c_at_the_prompt_gives_up_and_leaves_the_terminal_as_it_was),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
