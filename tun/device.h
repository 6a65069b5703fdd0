/* The TUN device: the daemon's end of the virtual network interface. One body per OS; the mock is for tests.
 * It is not persistent: it, its addresses and its routes vanish with the process, however that ends. */
#ifndef P2PD_TUN_DEVICE_H
#define P2PD_TUN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
	TUN_NAME_MAX = 15,
	TUN_QUEUES = 16,
	TUN_VNET = 10, /* bytes of virtio_net_hdr, little-endian: virtio 1.2 section 5.1.6 */
};

/* What a device may use, each with all before it. */
enum tun_offload {
	TUN_PLAIN, /* single packets */
	TUN_TSO, /* a vnet header before each packet, checksums left open, TCP superframes (none that carry CWR) */
	TUN_USO, /* UDP superframes as well: Linux 6.2 */
};

static inline const char *tun_offload_name(enum tun_offload offload)
{
	static const char *const names[] = { "plain", "tso", "uso" };
	return names[offload];
}

/* Each queue may be read and written by a thread of its own. The kernel sends what leaves the host by a flow's queue,
 * the one that the flow's packets were last written to, else by a hash: a flow is read from one queue. */
struct tun_device {
	int queues[TUN_QUEUES]; /* nonblocking */
	unsigned queue_count;	/* 0: closed, as zeroed memory is */
	/* What it got; a write that the kernel turns out not to take makes it less, from whichever thread. */
	_Atomic enum tun_offload offload;
	bool vnet; /* a vnet header is on the wire; goes on when offload became TUN_PLAIN later */
	char name[TUN_NAME_MAX + 1];
	unsigned ifindex;
};

/* `name` is a wish: NULL or "" for the first free p2pd%d. `queues` 1 to TUN_QUEUES. `most`: no more than this; it may get
 * less from an old kernel, or from one that refuses superframes when asked. Returns 0, -EPERM (no rights), -ENODEV (no
 * /dev/net/tun), -EBUSY (name taken) or another negative errno. */
int tun_open(struct tun_device *d, const char *name, unsigned queues, enum tun_offload most);
void tun_close(struct tun_device *d);
/* One frame: `vnet` gets its header (zeros from a device without), `buf` the IP packet, which may be 65,535 bytes long.
 * Its length; -EAGAIN; -EINVAL for a frame that the kernel could not describe, and dropped ("unexpected GSO type" in its
 * log); or another negative errno. */
ssize_t tun_read(struct tun_device *d, unsigned queue, uint8_t vnet[static TUN_VNET], void *buf, size_t cap);
/* iov[0] is the vnet header (zeros for a single packet with its checksums; a device without leaves it out), the rest one
 * packet or superframe. 0 or a negative errno: it is lost. -EINVAL: a superframe that this kernel refuses, which lowers d->offload so that no more are made. */
int tun_write(struct tun_device *d, unsigned queue, const struct iovec *iov, int count);
/* A whole IP packet with its checksums. */
int tun_write_packet(struct tun_device *d, unsigned queue, const void *packet, size_t len);

#endif
