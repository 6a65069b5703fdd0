#include "apps/p2pd/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fail.h"

/* The child's byte, or its end. Ctrl-C reaches it, too: it cleans up and ends, and so do we. */
static int wait_for(pid_t child, int pipe_end)
{
	char byte;
	int status;

	signal(SIGINT, SIG_IGN);
	ssize_t n = read(pipe_end, &byte, 1);
	if (n == 1)
		return EXIT_OK;
	if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
		return fail_with(EXIT_FAILED,
				 "the daemon ended unexpectedly; `p2pd up --foreground` shows its log");
	return WEXITSTATUS(status);
}

static int redirect_log(struct daemonize *d, const char *log_path)
{
	int fd = open(log_path ? log_path : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail_with(EXIT_FAILED, "cannot write the log %s: %s", log_path, strerror(errno));
	d->console = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	fail_to(d->console);
	dup2(fd, STDERR_FILENO);
	close(fd);
	return 0;
}

int daemonize_start(struct daemonize *d, const char *log_path)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return fail_with(EXIT_FAILED, "cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t child = fork();
	if (child < 0)
		return fail_with(EXIT_FAILED, "cannot start the daemon: %s", strerror(errno));
	if (child) {
		close(ends[1]);
		exit(wait_for(child, ends[0]));
	}
	close(ends[0]);
	d->waiting = ends[1];
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* until released, the node is part of the command */
	return redirect_log(d, log_path);
}

void daemonize_release(struct daemonize *d, const char *text)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	printf("%s\n", text);
	fflush(stdout);
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	if (chdir("/"))
		fail_with(EXIT_FAILED, "cannot leave the folder: %s", strerror(errno));
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	close(null);
	fail_to(STDERR_FILENO);
	close(d->console);
	if (write(d->waiting, "", 1) != 1)
		fail_with(EXIT_FAILED, "the command that started this daemon is gone");
	close(d->waiting);
}
