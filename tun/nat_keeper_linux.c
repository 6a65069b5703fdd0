#include "tun/nat_keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tun/device.h"
#include "tun/nat_sweep.h"

enum { LOCK_WAIT_MS = 5000, LOCK_STEP_MS = 20, LOCK_FD = 1 };
static const char NAME[] = "p2pd-keeper";
static const char DONE = 'd'; /* said when there is nothing left to sweep */

/* --- The keeper itself */

static void wait_for_end(void)
{
	char word;
	ssize_t n;

	do {
		n = read(STDIN_FILENO, &word, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1 && word == DONE)
		_exit(0);
}

/* Who ends the daemon by a signal to all of its group, a terminal or systemd, does not mean the keeper: it ends by itself. */
static void be_keeper(const char *tun)
{
	static const int deaf_to[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE };

	for (size_t i = 0; i < sizeof deaf_to / sizeof *deaf_to; i++)
		signal(deaf_to[i], SIG_IGN);
	setsid();
	wait_for_end();
	nat_sweep(tun);
	_exit(0);
}

/* The C library calls it before main(), with main()'s arguments. */
__attribute__((constructor)) static void keeper_or_main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[0], NAME) == 0)
		be_keeper(argv[1]);
}

/* --- Its parent */

/* A name in the abstract namespace is of the network namespace, as all that is swept, and vanishes with the last who has
 * it. Another user could take it to annoy us: so nobody waits for ever. */
void nat_keeper_lock(struct nat_keeper *k, const char *tun)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int len = snprintf(sa.sun_path + 1, sizeof sa.sun_path - 1, "%s-%s", NAME, tun);

	k->hold = -1;
	k->pid = 0;
	k->lock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (int waited = 0; k->lock >= 0 && waited < LOCK_WAIT_MS; waited += LOCK_STEP_MS) {
		socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
		if (bind(k->lock, (struct sockaddr *)&sa, size) == 0 || errno != EADDRINUSE)
			return;
		poll(NULL, 0, LOCK_STEP_MS);
	}
}

static int spawn(struct nat_keeper *k, const char *tun, int in)
{
	char *const argv[] = { (char *)(uintptr_t)NAME, (char *)(uintptr_t)tun, NULL }, *const env[] = {
		NULL
	};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	if (k->lock >= 0)
		posix_spawn_file_actions_adddup2(&files, k->lock, LOCK_FD);
	posix_spawn_file_actions_addclosefrom_np(&files, k->lock >= 0 ? LOCK_FD + 1 : LOCK_FD);
	int rc = posix_spawn(&k->pid, "/proc/self/exe", &files, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -rc;
}

int nat_keeper_start(struct nat_keeper *k, const char *tun)
{
	int ends[2];

	/* Not a pipe: MSG_NOSIGNAL is for sockets. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	int rc = spawn(k, tun, ends[0]);
	close(ends[0]);
	k->hold = ends[1];
	if (rc) {
		close(ends[1]);
		k->hold = -1;
	}
	return rc;
}

bool nat_keeper_lives(struct nat_keeper *k)
{
	if (k->hold < 0)
		return false;
	if (waitpid(k->pid, NULL, WNOHANG) == 0)
		return true;
	close(k->hold);
	k->hold = -1;
	return false;
}

void nat_keeper_end(struct nat_keeper *k)
{
	if (!nat_keeper_lives(k))
		return;
	send(k->hold, &DONE, 1, MSG_NOSIGNAL);
	close(k->hold);
	k->hold = -1;
	while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void nat_keeper_unlock(struct nat_keeper *k)
{
	if (k->lock >= 0)
		close(k->lock);
	k->lock = -1;
}
