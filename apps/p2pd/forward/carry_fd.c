/* Descriptors: some of the process's are left to others, and half of the low ones, too: libminiupnpc and libnatpmp wait by
 * select(2), which cannot name any above 1023 and ends the process that tries. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

#include "apps/p2pd/forward/carry_impl.h"

enum { OTHERS = FD_SETSIZE / 2, LOW_OURS = FD_SETSIZE - OTHERS };

static rlim_t raise_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return FD_SETSIZE;
	rlim_t before = files.rlim_cur;
	files.rlim_cur = files.rlim_max;
	if (before == files.rlim_max || setrlimit(RLIMIT_NOFILE, &files) == 0)
		return files.rlim_max;
	return before;
}

void carry_fd_begin(struct carry *c)
{
	rlim_t limit = raise_limit();

	c->fds_max = limit - (limit < 2 * OTHERS ? limit / 2 : OTHERS);
}

int carry_fd_keep(struct carry *c, int fd)
{
	if (fd < 0)
		return -errno;
	c->fds++;
	if (fd < FD_SETSIZE && c->fds_low >= LOW_OURS) {
		int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_SETSIZE);
		if (high >= 0) {
			close(fd);
			return high;
		}
	}
	c->fds_low += fd < FD_SETSIZE;
	return fd;
}

void carry_fd_close(struct carry *c, int fd)
{
	close(fd);
	c->fds--;
	c->fds_low -= fd < FD_SETSIZE;
}

bool carry_fd_room(const struct carry *c, size_t count)
{
	return c->fds + count <= c->fds_max;
}
