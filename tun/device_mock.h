/* A TUN device without a kernel behind it: what the test injects is what the daemon reads, and the other way round.
 * The descriptors are real (ends of socket pairs), so they can be polled. It gets all the offload it is opened for. A test
 * that includes this header is linked with the mock in place of the device. */
#ifndef P2PD_TUN_DEVICE_MOCK_H
#define P2PD_TUN_DEVICE_MOCK_H

#include "tun/device.h"

/* A frame for tun_read to return. `vnet` NULL: zeros, a single packet. 0 or a negative errno. */
int tun_mock_inject(const struct tun_device *d, unsigned queue, const uint8_t *vnet, const void *packet,
		    size_t len);
/* The oldest frame that was written to the queue; `vnet` may be NULL. Its length, -EAGAIN when there is none, or a
 * negative errno. */
ssize_t tun_mock_take(const struct tun_device *d, unsigned queue, uint8_t *vnet, void *buf, size_t cap);

#endif
