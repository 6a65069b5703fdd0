#include "tun/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/log.h"

/* Newer than the kernel headers of the distributions we build on: linux/if_tun.h, linux/virtio_net.h of Linux 6.2. */
enum {
	FEATURES_TSO = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
	FEATURES_USO = 0x20 | 0x40, /* TUN_F_USO4, TUN_F_USO6 */
	GSO_UDP_L4 = 5,		    /* VIRTIO_NET_HDR_GSO_UDP_L4 */
};

/* Of virtio_net_hdr. */
enum { VNET_GSO_TYPE = 1 };

/* The kernel says a missing driver and a missing node in several ways; to the caller they are one. */
static int open_errno(int e)
{
	if (e == ENOENT || e == ENXIO)
		return -ENODEV;
	return e == EACCES ? -EPERM : -e;
}

static int open_queue(struct tun_device *d, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return open_errno(errno);
	d->queues[d->queue_count++] = fd;
	memcpy(ifr.ifr_name, d->name, sizeof d->name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	memcpy(d->name, ifr.ifr_name, sizeof d->name);
	return 0;
}

static int open_queues(struct tun_device *d, const char *name, unsigned queues, bool vnet)
{
	int flags = IFF_TUN | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0) | (queues > 1 ? IFF_MULTI_QUEUE : 0);

	*d = (struct tun_device) { .vnet = vnet };
	strcpy(d->name, name);
	/* TUN_EXCL: without it the kernel would hand us a persistent device that somebody else prepared, and what
	 * we put on it would outlive us. */
	int rc = open_queue(d, flags | IFF_TUN_EXCL);
	while (rc == 0 && d->queue_count < queues)
		rc = open_queue(d, flags);
	if (rc)
		return rc;
	d->ifindex = if_nametoindex(d->name);
	return d->ifindex ? 0 : -errno;
}

/* Whether the kernel takes a superframe of two segments, the second one short: some releases (6.6.44 among them) announce
 * offloads and then refuse that. A device that is down says EINVAL to a bad header, else EIO, and lets nothing in. */
static bool takes(const struct tun_device *d, uint8_t gso_type, bool v6)
{
	enum { GSO_SIZE = 100, LEN = 2 * GSO_SIZE + 8 };
	uint8_t frame[TUN_VNET + LEN] = { VIRTIO_NET_HDR_F_NEEDS_CSUM, gso_type }, *ip = frame + TUN_VNET;
	bool udp = gso_type == GSO_UDP_L4;
	uint16_t start = v6 ? 40 : 20;

	store_le16(frame + 2, start + (udp ? 8 : 20));
	store_le16(frame + 4, GSO_SIZE);
	store_le16(frame + 6, start);
	store_le16(frame + 8, udp ? 6 : 16);
	ip[0] = v6 ? 0x60 : 0x45;
	ip[v6 ? 6 : 9] = udp ? IPPROTO_UDP : IPPROTO_TCP;
	if (v6)
		store_be16(ip + 4, LEN - 40);
	else
		store_be16(ip + 2, LEN);
	if (udp)
		store_be16(ip + start + 4, LEN - start);
	else
		ip[start + 12] = 5 << 4;
	return write(d->queues[0], frame, sizeof frame) >= 0 || errno != EINVAL;
}

static bool set_features(const struct tun_device *d, unsigned features)
{
	return ioctl(d->queues[0], TUNSETOFFLOAD, (unsigned long)features) == 0;
}

/* All of it holds for the device, not for the queue it is said to. */
static enum tun_offload negotiate(const struct tun_device *d, enum tun_offload most)
{
	int size = TUN_VNET, one = 1;

	if (ioctl(d->queues[0], TUNSETVNETHDRSZ, &size) < 0)
		return TUN_PLAIN;
	/* Before Linux 4.0 the header was in the machine's own order. */
	if (ioctl(d->queues[0], TUNSETVNETLE, &one) < 0 && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return TUN_PLAIN;
	if (!set_features(d, FEATURES_TSO) || !takes(d, VIRTIO_NET_HDR_GSO_TCPV4, false) ||
	    !takes(d, VIRTIO_NET_HDR_GSO_TCPV6, true))
		return TUN_PLAIN;
	if (most < TUN_USO || !set_features(d, FEATURES_TSO | FEATURES_USO))
		return TUN_TSO;
	if (takes(d, GSO_UDP_L4, false) && takes(d, GSO_UDP_L4, true))
		return TUN_USO;
	set_features(d, FEATURES_TSO);
	return TUN_TSO;
}

int tun_open(struct tun_device *d, const char *name, unsigned queues, enum tun_offload most)
{
	*d = (struct tun_device) { 0 };
	if (!name || !*name)
		name = "p2pd%d";
	if (strlen(name) > TUN_NAME_MAX)
		return -ENAMETOOLONG;
	if (queues < 1 || queues > TUN_QUEUES)
		return -EINVAL;

	int rc = open_queues(d, name, queues, most > TUN_PLAIN);
	if (rc == 0 && most > TUN_PLAIN) {
		d->offload = negotiate(d, most);
		if (d->offload == TUN_PLAIN) {
			tun_close(d);
			rc = open_queues(d, name, queues, false);
		}
	}
	if (rc)
		tun_close(d);
	return rc;
}

void tun_close(struct tun_device *d)
{
	for (unsigned i = 0; i < d->queue_count; i++)
		close(d->queues[i]);
	*d = (struct tun_device) { 0 };
}

ssize_t tun_read(struct tun_device *d, unsigned queue, uint8_t vnet[static TUN_VNET], void *buf, size_t cap)
{
	struct iovec iov[] = { { vnet, TUN_VNET }, { buf, cap } };
	ssize_t n;

	if (!d->vnet) {
		memset(vnet, 0, TUN_VNET);
		n = read(d->queues[queue], buf, cap);
		return n < 0 ? -errno : n;
	}
	n = readv(d->queues[queue], iov, 2);
	if (n < 0)
		return -errno;
	return n < TUN_VNET ? -EIO : n - TUN_VNET;
}

/* What is refused once will be refused again. */
static void lower(struct tun_device *d, uint8_t gso_type)
{
	enum tun_offload to = gso_type == GSO_UDP_L4 ? TUN_TSO : TUN_PLAIN, had = d->offload;

	while (had > to && !atomic_compare_exchange_weak(&d->offload, &had, to))
		;
	if (had > to)
		log_warn("tun", "this kernel refuses %s superframes on %s: going on with %s",
			 gso_type == GSO_UDP_L4 ? "UDP" : "TCP", d->name, tun_offload_name(to));
}

int tun_write(struct tun_device *d, unsigned queue, const struct iovec *iov, int count)
{
	const uint8_t *vnet = iov[0].iov_base;

	if (!d->vnet) {
		iov++;
		count--;
	}
	if (writev(d->queues[queue], iov, count) >= 0)
		return 0;
	int rc = -errno;
	if (rc == -EINVAL && d->vnet && vnet[VNET_GSO_TYPE] != VIRTIO_NET_HDR_GSO_NONE)
		lower(d, vnet[VNET_GSO_TYPE]);
	return rc;
}

int tun_write_packet(struct tun_device *d, unsigned queue, const void *packet, size_t len)
{
	uint8_t none[TUN_VNET] = { 0 };
	const struct iovec iov[] = { { none, TUN_VNET }, { (void *)packet, len } };

	return tun_write(d, queue, iov, 2);
}
