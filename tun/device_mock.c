#include "tun/device_mock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOCK_DEVICES_MAX = 16 };

/* The host's ends of each open device; its index is the device's ifindex - 1. */
static struct {
	bool open;
	int fds[TUN_QUEUES];
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

static int open_queues(struct tun_device *d, unsigned slot, unsigned queues)
{
	while (d->queue_count < queues) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
			return -errno;
		hosts[slot].fds[d->queue_count] = pair[1];
		d->queues[d->queue_count++] = pair[0];
	}
	return 0;
}

int tun_open(struct tun_device *d, const char *name, unsigned queues, enum tun_offload most)
{
	unsigned slot = 0;

	*d = (struct tun_device) { 0 };
	while (slot < MOCK_DEVICES_MAX && hosts[slot].open)
		slot++;
	if (slot == MOCK_DEVICES_MAX)
		return -EMFILE;
	if (queues < 1 || queues > TUN_QUEUES)
		return -EINVAL;
	if (name && *name && name_taken(name))
		return -EBUSY;

	d->offload = most;
	d->vnet = most > TUN_PLAIN;
	d->ifindex = slot + 1;
	if (name && *name)
		snprintf(d->name, sizeof d->name, "%s", name);
	else
		snprintf(d->name, sizeof d->name, "p2pd%u", slot);
	hosts[slot].open = true;
	memcpy(hosts[slot].name, d->name, sizeof d->name);
	int rc = open_queues(d, slot, queues);
	if (rc)
		tun_close(d);
	return rc;
}

void tun_close(struct tun_device *d)
{
	for (unsigned i = 0; i < d->queue_count; i++) {
		close(d->queues[i]);
		close(hosts[d->ifindex - 1].fds[i]);
	}
	if (d->ifindex)
		hosts[d->ifindex - 1].open = false;
	*d = (struct tun_device) { 0 };
}

/* Both ends carry the vnet header, so that a device that was lowered, or has none, needs no case of its own. */
static ssize_t take(int fd, uint8_t *vnet, void *buf, size_t cap)
{
	struct iovec iov[] = { { vnet, TUN_VNET }, { buf, cap } };
	ssize_t n = readv(fd, iov, 2);
	return n < 0 ? -errno : n - TUN_VNET;
}

static int give(int fd, const uint8_t *vnet, const struct iovec *slices, int count)
{
	struct iovec iov[UIO_MAXIOV] = { { (void *)vnet, TUN_VNET } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)count + 1 };

	if (count >= UIO_MAXIOV)
		return -EINVAL;
	memcpy(iov + 1, slices, (size_t)count * sizeof *slices);
	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static const uint8_t no_vnet[TUN_VNET];

ssize_t tun_read(struct tun_device *d, unsigned queue, uint8_t vnet[static TUN_VNET], void *buf, size_t cap)
{
	return take(d->queues[queue], vnet, buf, cap);
}

int tun_write(struct tun_device *d, unsigned queue, const struct iovec *iov, int count)
{
	return give(d->queues[queue], d->vnet ? iov[0].iov_base : no_vnet, iov + 1, count - 1);
}

int tun_write_packet(struct tun_device *d, unsigned queue, const void *packet, size_t len)
{
	struct iovec one = { (void *)packet, len };
	return give(d->queues[queue], no_vnet, &one, 1);
}

int tun_mock_inject(const struct tun_device *d, unsigned queue, const uint8_t *vnet, const void *packet,
		    size_t len)
{
	struct iovec one = { (void *)packet, len };
	return give(hosts[d->ifindex - 1].fds[queue], vnet ? vnet : no_vnet, &one, 1);
}

ssize_t tun_mock_take(const struct tun_device *d, unsigned queue, uint8_t *vnet, void *buf, size_t cap)
{
	uint8_t unwanted[TUN_VNET];
	return take(hosts[d->ifindex - 1].fds[queue], vnet ? vnet : unwanted, buf, cap);
}
