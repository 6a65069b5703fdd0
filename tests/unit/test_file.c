#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"

struct folder {
	char path[64];
	int fd;
};

static int make_folder(void **state)
{
	struct folder *f = calloc(1, sizeof *f);

	strcpy(f->path, "/tmp/p2pd-file-XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->fd = file_open_dir(f->path);
	*state = f;
	return f->fd < 0;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "key",  ".key.tmp",   "other",	  "lock",
					     "pipe", "key.spoilt", "key.spoilt.2" };
	struct folder *f = *state;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlinkat(f->fd, names[i], 0);
	unlinkat(f->fd, "sub", AT_REMOVEDIR);
	close(f->fd);
	int rc = rmdir(f->path);
	free(f);
	return rc;
}

static void assert_content(const struct folder *f, const char *want)
{
	char got[64] = "";

	assert_int_equal(file_read(f->fd, "key", got, sizeof got), (int)strlen(want));
	assert_string_equal(got, want);
}

static void what_is_written_is_read_back_and_replaced(void **state)
{
	const struct folder *f = *state;
	struct stat st;

	assert_int_equal(file_write(f->fd, "key", "first", 5), 0);
	assert_content(f, "first");
	assert_int_equal(file_write(f->fd, "key", "2nd", 3), 0);
	assert_content(f, "2nd");
	assert_int_equal(fstatat(f->fd, "key", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fstatat(f->fd, ".key.tmp", &st, 0), -1);
	assert_int_equal(file_write(f->fd, "key", "", 0), 0);
	assert_content(f, "");
}

static void a_missing_file_and_one_too_large_say_so(void **state)
{
	const struct folder *f = *state;
	char got[5];

	assert_int_equal(file_read(f->fd, "key", got, sizeof got), -ENOENT);
	assert_int_equal(file_write(f->fd, "key", "123456", 6), 0);
	assert_int_equal(file_read(f->fd, "key", got, sizeof got), -EFBIG);
	assert_int_equal(file_write(f->fd, "key", "12345", 5), 0);
	assert_int_equal(file_read(f->fd, "key", got, sizeof got), 5);
	assert_int_equal(file_remove(f->fd, "key"), 0);
	assert_int_equal(file_remove(f->fd, "key"), -ENOENT);
	assert_int_equal(file_read(f->fd, "key", got, sizeof got), -ENOENT);
}

static void a_name_is_one_path_component(void **state)
{
	const struct folder *f = *state;
	static const char *const bad[] = { "", ".", "..", "a/b", "/etc/passwd", "../x" };
	char longest[200], got[4];

	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
		const char *name = i < sizeof bad / sizeof *bad ? bad[i] : longest;
		assert_int_equal(file_write(f->fd, name, "x", 1), -EINVAL);
		assert_int_equal(file_read(f->fd, name, got, sizeof got), -EINVAL);
		assert_int_equal(file_remove(f->fd, name), -EINVAL);
		assert_int_equal(file_lock(f->fd, name), -EINVAL);
	}
}

/* The size limit makes write fail half way, as a full disk does. */
static void a_write_that_fails_half_way_leaves_the_old_content(void **state)
{
	const struct folder *f = *state;
	static const char large[8192] = "new";
	struct rlimit old, small;
	struct stat st;

	assert_int_equal(file_write(f->fd, "key", "old", 3), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit) { .rlim_cur = 4096, .rlim_max = old.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	int rc = file_write(f->fd, "key", large, sizeof large);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(rc, -EFBIG);
	assert_content(f, "old");
	assert_int_equal(fstatat(f->fd, ".key.tmp", &st, 0), -1);
}

static void a_process_killed_while_writing_leaves_the_old_content(void **state)
{
	const struct folder *f = *state;
	static const char large[8192] = "new";
	struct stat st;
	int status;

	assert_int_equal(file_write(f->fd, "key", "old", 3), 0);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGXFSZ, SIG_DFL);
		setrlimit(RLIMIT_CORE, &(struct rlimit) { 0 });
		setrlimit(RLIMIT_FSIZE, &(struct rlimit) { 4096, 4096 });
		file_write(f->fd, "key", large, sizeof large);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(fstatat(f->fd, ".key.tmp", &st, 0), 0);
	assert_content(f, "old");
	assert_int_equal(file_write(f->fd, "key", "new", 3), 0);
	assert_content(f, "new");
	assert_int_equal(fstatat(f->fd, ".key.tmp", &st, 0), -1);
}

/* rename refuses: the step after the temporary is complete. */
static void a_rename_that_fails_leaves_no_temporary(void **state)
{
	const struct folder *f = *state;
	struct stat st;

	assert_int_equal(mkdirat(f->fd, "key", 0700), 0);
	assert_int_equal(file_write(f->fd, "key", "new", 3), -EISDIR);
	assert_int_equal(fstatat(f->fd, ".key.tmp", &st, 0), -1);
	assert_int_equal(unlinkat(f->fd, "key", AT_REMOVEDIR), 0);
}

static void a_link_planted_as_the_temporary_is_not_followed(void **state)
{
	const struct folder *f = *state;
	char got[8] = "";

	assert_int_equal(file_write(f->fd, "other", "safe", 4), 0);
	assert_int_equal(symlinkat("other", f->fd, ".key.tmp"), 0);
	assert_int_equal(file_write(f->fd, "key", "new", 3), 0);
	assert_int_equal(file_read(f->fd, "other", got, sizeof got), 4);
	assert_string_equal(got, "safe");
	assert_content(f, "new");
}

static void a_file_that_others_may_open_is_refused(void **state)
{
	const struct folder *f = *state;
	static const struct {
		mode_t mode;
		int want;
	} cases[] = { { 0600, 3 },	{ 0400, 3 },	  { 0700, 3 },	    { 0640, -EPERM },
		      { 0620, -EPERM }, { 0610, -EPERM }, { 0604, -EPERM }, { 0602, -EPERM } };
	char got[8];

	assert_int_equal(file_write(f->fd, "key", "old", 3), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(fchmodat(f->fd, "key", cases[i].mode, 0), 0);
		assert_int_equal(file_read(f->fd, "key", got, sizeof got), cases[i].want);
	}
}

static void a_file_of_another_owner_is_refused(void **state)
{
	const struct folder *f = *state;
	char got[8];

	if (geteuid() != 0)
		skip();
	assert_int_equal(file_write(f->fd, "key", "old", 3), 0);
	assert_int_equal(fchownat(f->fd, "key", 65534, 65534, 0), 0);
	assert_int_equal(file_read(f->fd, "key", got, sizeof got), -EPERM);
}

static void what_is_no_plain_file_is_refused(void **state)
{
	const struct folder *f = *state;
	char got[8];

	assert_int_equal(file_write(f->fd, "other", "old", 3), 0);
	assert_int_equal(symlinkat("other", f->fd, "key"), 0);
	assert_int_equal(file_read(f->fd, "key", got, sizeof got), -ELOOP);
	assert_int_equal(mkfifoat(f->fd, "pipe", 0600), 0);
	assert_int_equal(file_read(f->fd, "pipe", got, sizeof got), -EPERM);
	assert_int_equal(mkdirat(f->fd, "sub", 0700), 0);
	assert_int_equal(file_read(f->fd, "sub", got, sizeof got), -EPERM);
}

static void a_folder_is_made_private_and_must_not_be_open_to_others(void **state)
{
	const struct folder *f = *state;
	char path[80], file[80];
	struct stat st;

	snprintf(path, sizeof path, "%s/sub", f->path);
	int dir = file_open_dir(path);
	assert_true(dir >= 0);
	assert_int_equal(fstat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	close(dir);
	chmod(path, 0755);
	dir = file_open_dir(path);
	assert_true(dir >= 0);
	close(dir);
	chmod(path, 0770);
	assert_int_equal(file_open_dir(path), -EPERM);
	chmod(path, 01777);
	assert_int_equal(file_open_dir(path), -EPERM);
	chmod(path, 0700);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 65534, 65534), 0);
		assert_int_equal(file_open_dir(path), -EPERM);
	}
	assert_int_equal(file_write(f->fd, "key", "x", 1), 0);
	snprintf(file, sizeof file, "%s/key", f->path);
	assert_int_equal(file_open_dir(file), -ENOTDIR);
	snprintf(file, sizeof file, "%s/no/where", f->path);
	assert_int_equal(file_open_dir(file), -ENOENT);
}

static int lock_in_another_process(const struct folder *f)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		int dir = file_open_dir(f->path);
		_exit(file_lock(dir, "lock") == -EBUSY ? 1 : 0);
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void a_lock_keeps_a_second_process_out(void **state)
{
	const struct folder *f = *state;
	int fd = file_lock(f->fd, "lock");

	assert_true(fd >= 0);
	assert_int_equal(lock_in_another_process(f), 1);
	assert_int_equal(file_lock(f->fd, "lock"), -EBUSY);
	close(fd);
	assert_int_equal(lock_in_another_process(f), 0);
}

static void a_lock_ends_with_its_process(void **state)
{
	const struct folder *f = *state;
	int locked[2];
	char byte;

	assert_int_equal(pipe(locked), 0);
	pid_t child = fork();
	if (child == 0) {
		int rc = file_lock(f->fd, "lock");
		if (rc >= 0 && write(locked[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(locked[1]);
	assert_int_equal(read(locked[0], &byte, 1), 1);
	assert_int_equal(file_lock(f->fd, "lock"), -EBUSY);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	int fd = file_lock(f->fd, "lock");
	assert_true(fd >= 0);
	close(fd);
	close(locked[0]);
}

static void why_a_file_is_refused_is_said_with_the_remedy(void **state)
{
	struct folder *f = *state;
	char why[FILE_WHY], wanted[FILE_WHY], content[8];

	assert_int_equal(file_write(f->fd, "key", "x", 1), 0);
	assert_int_equal(fchmodat(f->fd, "key", 0640, 0), 0);
	snprintf(wanted, sizeof wanted,
		 "%s/key has mode 0640, and others must not get at it: `chmod 600 %s/key`", f->path, f->path);
	int error = (int)file_read(f->fd, "key", content, sizeof content);
	assert_string_equal(file_why(f->fd, "key", error, why), wanted);
	assert_int_equal(fchmodat(f->fd, "key", 0600, 0), 0);
	assert_int_equal(fchownat(f->fd, "key", 77, 77, 0), 0);
	error = (int)file_read(f->fd, "key", content, sizeof content);
	assert_non_null(strstr(file_why(f->fd, "key", error, why), "belongs to uid 77"));
	unlinkat(f->fd, "key", 0);
	assert_int_equal(symlinkat("other", f->fd, "key"), 0);
	error = (int)file_read(f->fd, "key", content, sizeof content);
	assert_non_null(strstr(file_why(f->fd, "key", error, why), "no plain file"));
	snprintf(wanted, sizeof wanted, "%s/none: No such file or directory", f->path);
	assert_string_equal(file_why(f->fd, "none", -ENOENT, why), wanted);
}

static void no_spoilt_file_takes_the_place_of_another(void **state)
{
	struct folder *f = *state;
	char aside[FILE_NAME_CAP], content[8];

	for (int i = 1; i <= 2; i++) {
		assert_int_equal(file_write(f->fd, "key", i == 1 ? "one" : "two", 3), 0);
		assert_int_equal(file_put_aside(f->fd, "key", aside), 0);
		assert_string_equal(aside, i == 1 ? "key.spoilt" : "key.spoilt.2");
	}
	assert_int_equal(file_put_aside(f->fd, "key", aside), -ENOENT);
	assert_int_equal(file_read(f->fd, "key.spoilt", content, sizeof content), 3);
	assert_memory_equal(content, "one", 3);
}

static void of_very_many_spoilt_files_the_last_gives_way(void **state)
{
	struct folder *f = *state;
	char aside[FILE_NAME_CAP], name[64];

	for (int i = 0; i < FILE_ASIDE_MAX + 3; i++) {
		assert_int_equal(file_write(f->fd, "key", "x", 1), 0);
		assert_int_equal(file_put_aside(f->fd, "key", aside), 0);
	}
	assert_string_equal(aside, "key.spoilt.99");
	for (int i = 3; i <= FILE_ASIDE_MAX; i++) {
		snprintf(name, sizeof name, "key.spoilt.%d", i);
		assert_int_equal(unlinkat(f->fd, name, 0), 0);
	}
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(what_is_written_is_read_back_and_replaced),
		FILE_TEST(a_missing_file_and_one_too_large_say_so),
		FILE_TEST(a_name_is_one_path_component),
		FILE_TEST(a_write_that_fails_half_way_leaves_the_old_content),
		FILE_TEST(a_process_killed_while_writing_leaves_the_old_content),
		FILE_TEST(a_rename_that_fails_leaves_no_temporary),
		FILE_TEST(a_link_planted_as_the_temporary_is_not_followed),
		FILE_TEST(a_file_that_others_may_open_is_refused),
		FILE_TEST(a_file_of_another_owner_is_refused),
		FILE_TEST(what_is_no_plain_file_is_refused),
		FILE_TEST(a_folder_is_made_private_and_must_not_be_open_to_others),
		FILE_TEST(why_a_file_is_refused_is_said_with_the_remedy),
		FILE_TEST(no_spoilt_file_takes_the_place_of_another),
		FILE_TEST(of_very_many_spoilt_files_the_last_gives_way),
		FILE_TEST(a_lock_keeps_a_second_process_out),
		FILE_TEST(a_lock_ends_with_its_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
