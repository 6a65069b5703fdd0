/* A UDP socket on the loop: receives in batches into packets of a pool, sends at once. An error that the network can
 * cause (an ICMP message, a full buffer) is counted and changes nothing else. */
#ifndef P2PD_CORE_UDP_H
#define P2PD_CORE_UDP_H

#include <stdint.h>

#include "core/addr.h"
#include "core/loop.h"
#include "core/pkt.h"

enum {
	UDP_BUFFER = 7 << 20,	     /* asked of the kernel, each direction; it may grant less */
	UDP_BUFFER_SMALL = 64 << 10, /* for sockets that are many and carry little */
	UDP_BATCH = 16,		     /* datagrams a system call */
	UDP_BUDGET = 128,	     /* datagrams a wake-up: others on the loop get their turn */
};

struct udp_stats {
	uint64_t rx, tx;
	uint64_t rx_no_buffer; /* dropped: the pool was empty */
	uint64_t rx_errors;
	uint64_t tx_full;   /* dropped: the kernel's buffer was full */
	uint64_t tx_errors; /* dropped: anything else */
};

struct udp_handler {
	/* The packet is now the callee's: p->addr is the source, p->local see udp_want_local(), p->len may be 0. */
	void (*on_packet)(void *arg, struct pkt *p);
	/* After the datagrams of one wake-up; may be NULL. */
	void (*on_batch)(void *arg);
};

/* Embed by value; zeroed memory is closed. Its place must not change while open. */
struct udp_socket {
	int fd;
	struct addr local; /* with the port that the system gave */
	struct udp_stats stats;
	struct loop_fd *watch; /* NULL while closed */
	struct pkt_pool *pool;
	struct udp_handler handler;
	void *arg;
	bool wants_local, dont_fragment;
};

/* Binds to `local` (port 0: any; an IPv6 socket takes IPv6 only). 0; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES,
 * -EAFNOSUPPORT (no IPv6 here) or another negative errno, and the socket stays closed. */
int udp_open(struct udp_socket *s, struct loop *l, struct pkt_pool *pool, const struct addr *local,
	     const struct udp_handler *handler, void *arg);
/* What the kernel may hold for the socket, in each direction; udp_open asks for UDP_BUFFER. Failing is no error. */
void udp_set_buffer(struct udp_socket *s, int bytes);
/* May be called from the callbacks, on_batch may even release the socket; of a closed socket it does nothing. */
void udp_close(struct udp_socket *s);
bool udp_is_open(const struct udp_socket *s);
/* From now on p->local tells to which of this machine's addresses (and the socket's port) a datagram came: for a socket
 * that is bound to all of them and answers from the one that was asked. 0 or a negative errno. */
int udp_want_local(struct udp_socket *s);
/* Sends p to p->addr with p->ttl, from the IP of p->local if set; the packet stays the caller's. 0, or a negative errno
 * that was counted: -EAGAIN (full), -EAFNOSUPPORT (address of the other family), -ENETUNREACH ..., and -EMSGSIZE: with
 * p->dont_fragment it is larger than its interface's MTU. */
int udp_send(struct udp_socket *s, const struct pkt *p);
/* The same for bytes that are in no packet. */
int udp_send_bytes(struct udp_socket *s, const void *data, size_t len, const struct addr *to);
int udp_send_bytes_from(struct udp_socket *s, const struct addr *local, const void *data, size_t len,
			const struct addr *to);

#endif
