/* The host's interfaces: addresses to gather candidates from, and the set-up of our own device, by rtnetlink. */
#ifndef P2PD_TUN_NETIF_H
#define P2PD_TUN_NETIF_H

#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"

struct netif_addr {
	struct addr addr; /* port 0 */
	unsigned bits;
	unsigned ifindex;
};

/* Addresses of all interfaces that are up, except `skip_ifindex` (0: none). Count or negative errno; at most `cap`. */
int netif_list(struct netif_addr *out, size_t cap, unsigned skip_ifindex);
/* Adds an address to our device. */
int netif_add_addr(unsigned ifindex, const struct addr *addr, unsigned bits);
/* Takes it away again; -EADDRNOTAVAIL when it is not there. */
int netif_del_addr(unsigned ifindex, const struct addr *addr, unsigned bits);
/* Sets the MTU and brings it up. It gets no link-local address by itself. */
int netif_up(unsigned ifindex, unsigned mtu);
/* How many packets or superframes wait in our device for each queue of the daemon's, before more are dropped. */
int netif_set_queue(unsigned ifindex, unsigned packets);
/* The host's superframes on our device stay below `bytes` (1 to 65,536), by about 300 for TCP, which reckons with headers of
 * lower layers; larger ones that it forwards or gets of UDP sockets are split up before they reach us. */
int netif_set_gso_max(unsigned ifindex, unsigned bytes);
/* How often the interface has lost or got its carrier; 0 where that is not known. */
uint32_t netif_carrier_changes(unsigned ifindex);

/* A socket whose readability says that addresses, links or routes of the host changed. Read it empty with
 * netif_watch_drain. A descriptor (nonblocking) or a negative errno. */
int netif_watch_open(void);
void netif_watch_drain(int fd);

#endif
