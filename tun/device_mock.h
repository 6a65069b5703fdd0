/* A TUN device without a kernel behind it: what the test injects is what the daemon reads, and the other way round.
 * The descriptor is real (one end of a socket pair), so it can be polled. A test that includes this header is linked
 * with the mock in place of the device. */
#ifndef P2PD_TUN_DEVICE_MOCK_H
#define P2PD_TUN_DEVICE_MOCK_H

#include "tun/device.h"

/* A packet for tun_read to return. 0 or a negative errno. */
int tun_mock_inject(const struct tun_device *d, const void *packet, size_t len);
/* The oldest packet that tun_write was given. Its length, -EAGAIN when there is none, or a negative errno. */
ssize_t tun_mock_take(const struct tun_device *d, void *buf, size_t cap);

#endif
