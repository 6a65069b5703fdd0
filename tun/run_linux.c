#include "tun/run.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HOLD_FD = 3 };

bool run_find(const char *program, char path[static RUN_PATH_MAX])
{
	static const char *const where[] = { "/usr/sbin", "/sbin",	     "/usr/bin",
					     "/bin",	  "/usr/local/sbin", "/run/current-system/sw/bin" };

	for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
		int len = snprintf(path, RUN_PATH_MAX, "%s/%s", where[i], program);
		if (len < RUN_PATH_MAX && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* Files in memory take any amount, so that nobody waits for whom. */
static int memory_file(const char *name, const char *text, size_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < len) {
		ssize_t n = write(fd, text + done, len - done);
		if (n < 0) {
			int error = -errno;
			close(fd);
			return error;
		}
		done += (size_t)n;
	}
	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* The first line that is not empty. */
static void first_words(int fd, char *said, size_t cap)
{
	ssize_t n = cap ? pread(fd, said, cap - 1, 0) : 0;

	if (!cap)
		return;
	said[n > 0 ? n : 0] = 0;
	said[strcspn(said, "\n")] = 0;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

static int start(pid_t *pid, const char *path, const char *const argv[], int in, int out, int hold)
{
	static char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
	if (hold >= 0)
		posix_spawn_file_actions_adddup2(&files, hold, HOLD_FD);
	posix_spawn_file_actions_addclosefrom_np(&files, hold >= 0 ? HOLD_FD + 1 : HOLD_FD);
	int rc = posix_spawn(pid, path, &files, &attr, (char *const *)(uintptr_t)argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -rc;
}

int run_program(const char *const argv[], const char *input, size_t len, int hold, char *said, size_t cap)
{
	char path[RUN_PATH_MAX];
	int in = -1, out = -1;
	pid_t pid;

	if (!run_find(argv[0], path))
		return -ENOENT;
	in = memory_file("p2pd-input", input, len);
	out = memory_file("p2pd-output", NULL, 0);
	int rc = in < 0 ? in : out < 0 ? out : start(&pid, path, argv, in, out, hold);
	if (rc == 0) {
		rc = wait_for(pid);
		first_words(out, said, cap);
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return rc;
}
