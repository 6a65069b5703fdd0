#include "tun/device_mock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOCK_DEVICES_MAX = 16 };

/* The host's end of each open device; its index is the device's ifindex - 1. */
static struct {
	bool open;
	int fd;
	char name[TUN_NAME_MAX + 1];
} hosts[MOCK_DEVICES_MAX];

static bool name_taken(const char *name)
{
	for (size_t i = 0; i < MOCK_DEVICES_MAX; i++) {
		if (hosts[i].open && strcmp(hosts[i].name, name) == 0)
			return true;
	}
	return false;
}

int tun_open(struct tun_device *d, const char *name)
{
	unsigned slot = 0;
	int pair[2];

	*d = (struct tun_device) { .fd = -1 };
	while (slot < MOCK_DEVICES_MAX && hosts[slot].open)
		slot++;
	if (slot == MOCK_DEVICES_MAX)
		return -EMFILE;
	if (name && *name && name_taken(name))
		return -EBUSY;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	d->fd = pair[0];
	d->ifindex = slot + 1;
	if (name && *name)
		snprintf(d->name, sizeof d->name, "%s", name);
	else
		snprintf(d->name, sizeof d->name, "p2pd%u", slot);
	hosts[slot].open = true;
	hosts[slot].fd = pair[1];
	memcpy(hosts[slot].name, d->name, sizeof d->name);
	return 0;
}

void tun_close(struct tun_device *d)
{
	if (d->fd >= 0) {
		close(d->fd);
		close(hosts[d->ifindex - 1].fd);
		hosts[d->ifindex - 1].open = false;
	}
	*d = (struct tun_device) { .fd = -1 };
}

static ssize_t take(int fd, void *buf, size_t cap)
{
	ssize_t n = recv(fd, buf, cap, 0);
	return n < 0 ? -errno : n;
}

static int give(int fd, const void *packet, size_t len)
{
	return send(fd, packet, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t tun_read(struct tun_device *d, void *buf, size_t cap)
{
	return take(d->fd, buf, cap);
}

int tun_write(struct tun_device *d, const void *packet, size_t len)
{
	return give(d->fd, packet, len);
}

int tun_mock_inject(const struct tun_device *d, const void *packet, size_t len)
{
	return give(hosts[d->ifindex - 1].fd, packet, len);
}

ssize_t tun_mock_take(const struct tun_device *d, void *buf, size_t cap)
{
	return take(hosts[d->ifindex - 1].fd, buf, cap);
}
