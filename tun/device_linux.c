#include "tun/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The kernel says a missing driver and a missing node in several ways; to the caller they are one. */
static int open_errno(int e)
{
	if (e == ENOENT || e == ENXIO)
		return -ENODEV;
	return e == EACCES ? -EPERM : -e;
}

static int attach(struct tun_device *d, const char *name)
{
	/* TUN_EXCL: without it the kernel would hand us a persistent device that somebody else prepared, and what
	 * we put on it would outlive us. */
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI | (short)IFF_TUN_EXCL };

	strcpy(ifr.ifr_name, name);
	if (ioctl(d->fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	memcpy(d->name, ifr.ifr_name, sizeof d->name);
	d->ifindex = if_nametoindex(d->name);
	return d->ifindex ? 0 : -errno;
}

int tun_open(struct tun_device *d, const char *name)
{
	*d = (struct tun_device) { .fd = -1 };
	if (!name || !*name)
		name = "p2pd%d";
	if (strlen(name) > TUN_NAME_MAX)
		return -ENAMETOOLONG;
	d->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (d->fd < 0)
		return open_errno(errno);

	int rc = attach(d, name);
	if (rc)
		tun_close(d);
	return rc;
}

void tun_close(struct tun_device *d)
{
	if (d->fd >= 0)
		close(d->fd);
	*d = (struct tun_device) { .fd = -1 };
}

ssize_t tun_read(struct tun_device *d, void *buf, size_t cap)
{
	ssize_t n = read(d->fd, buf, cap);
	return n < 0 ? -errno : n;
}

int tun_write(struct tun_device *d, const void *packet, size_t len)
{
	return write(d->fd, packet, len) < 0 ? -errno : 0;
}
