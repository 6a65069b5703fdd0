/* The TUN device: the daemon's end of the virtual network interface. One body per OS; the mock is for tests.
 * It is not persistent: it, its addresses and its routes vanish with the process, however that ends. */
#ifndef P2PD_TUN_DEVICE_H
#define P2PD_TUN_DEVICE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TUN_NAME_MAX = 15 };

struct tun_device {
	int fd; /* nonblocking; -1 when closed */
	char name[TUN_NAME_MAX + 1];
	unsigned ifindex;
};

/* `name` is a wish: NULL or "" for the first free p2pd%d. Returns 0, -EPERM (no rights), -ENODEV (no /dev/net/tun),
 * -EBUSY (name taken) or another negative errno. */
int tun_open(struct tun_device *d, const char *name);
void tun_close(struct tun_device *d);
/* One IP packet. The length, -EAGAIN, or a negative errno. */
ssize_t tun_read(struct tun_device *d, void *buf, size_t cap);
int tun_write(struct tun_device *d, const void *packet, size_t len);

#endif
