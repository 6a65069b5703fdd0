/* Descriptors: some of the process's are left to others, and the low ones, too: libminiupnpc and libnatpmp wait by
 * select(2), which cannot name any above 1023 and ends the process that tries. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

#include "apps/p2pd/forward/carry_impl.h"
#include "core/log.h"

enum { OTHERS = 256, ROOM_FOR_HIGH = 2 * FD_SETSIZE };

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

	if (limit >= ROOM_FOR_HIGH)
		c->fds_from = FD_SETSIZE;
	rlim_t others = c->fds_from ? FD_SETSIZE : limit < 2 * OTHERS ? limit / 2 : OTHERS;
	c->fds_max = limit - others;
}

int carry_fd_keep(struct carry *c, int fd)
{
	if (fd < 0)
		return -errno;
	c->fds++;
	if (fd >= c->fds_from)
		return fd;
	int high = fcntl(fd, F_DUPFD_CLOEXEC, c->fds_from);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

void carry_fd_close(struct carry *c, int fd)
{
	close(fd);
	c->fds--;
}

bool carry_fd_room(const struct carry *c, size_t count)
{
	return c->fds + count <= c->fds_max;
}
