/* A UDP socket on the loop: receives and sends trains, datagrams of one size from or to one address, as Linux's UDP GRO
 * and GSO have them (udp(7)); where the kernel has neither, each train that comes is one datagram. An error that the
 * network can cause (an ICMP message, a full buffer) is counted and changes nothing else. */
#ifndef P2PD_CORE_UDP_H
#define P2PD_CORE_UDP_H

#include <stdint.h>

#include "core/addr.h"
#include "core/loop.h"
#include "core/pkt.h"

enum {
	/* Asked of the kernel, each direction; it may grant less. A stream fills whatever is there, and all others wait
	 * behind it: 7 MiB, as dataplane.md has it, cost 6-8 ms at the 95th percentile under load, 512 KiB a quarter of 16
	 * streams' rate. */
	UDP_BUFFER = 768 << 10,
	/* So that a fast receiver does not run dry while it waits for its turn, the buffer follows what comes in: it holds
	 * that much time of it. At 7 Gb/s that is 1.1 MiB and 7 % more throughput, and a third more delay under load;
	 * 1.5 MiB brought delay only. */
	UDP_BUFFER_US = 1300,
	UDP_BUFFER_MAX = 7 << 20,
	UDP_BUFFER_LOOK = 64 << 20,  /* bytes between two looks at how fast they come */
	UDP_BUFFER_SMALL = 64 << 10, /* for sockets that are many and carry little */
	UDP_SLOTS = 32,		     /* trains a system call at most, in */
	UDP_SLOT = 65536,	     /* bytes of a train, in: more than the kernel puts together */
	UDP_TRAIN_SEGMENTS = 64,     /* datagrams of a train, out: UDP_MAX_SEGMENTS of Linux before 6.9 */
	/* Of a train, out: a little more and it is over 64 KB with its headers, which no device takes whole. */
	UDP_TRAIN_BYTES = 65400,
	/* A wake-up takes no more after so many trains or bytes: others on the loop get their turn. */
	UDP_BUDGET = 128,
	UDP_BUDGET_BYTES = 256 << 10,
	UDP_NARROW = 8,	       /* destinations that are remembered to take no trains ... */
	UDP_NARROW_MS = 60000, /* ... and for how long: routes change */
};

/* What may be used of the kernel, each with all before it. */
enum udp_offload { UDP_OFFLOAD_NONE, UDP_OFFLOAD_GSO, UDP_OFFLOAD_GRO };

/* In, it may be more datagrams than UDP_TRAIN_SEGMENTS, up to one a byte: between machines without a wire in between it
 * is what the sender's kernel took. */
struct udp_train {
	uint8_t *data;
	size_t len;	  /* of all datagrams together; 0: one empty datagram */
	size_t stride;	  /* of each datagram but the last, which may be shorter; 0 only if len is 0 */
	struct addr addr; /* where it came from, or goes */
	/* In: our own address that it came to, see udp_want_local(). Out: ours that it goes from; ADDR_NONE: the
	 * system chooses. */
	struct addr local;
	uint8_t ttl;	    /* out: IP TTL or hop limit; 0 for the system's default */
	bool dont_fragment; /* out: lost rather than split on the way */
};

struct udp_stats {
	uint64_t rx, tx;	       /* datagrams */
	uint64_t rx_trains, tx_trains; /* the same as the kernel took and gave them: fewer with GRO and GSO */
	uint64_t rx_errors;
	uint64_t tx_full;   /* how often the kernel had no room */
	uint64_t tx_errors; /* datagrams dropped for any other reason */
};

/* Each may close the socket, and release it. */
struct udp_handler {
	/* The memory of t->data may be written to; it is used again after on_batch. */
	void (*on_train)(void *arg, const struct udp_train *t);
	/* After the trains of one system call, also of a wake-up that brought none, unless the socket was closed by then;
	 * may be NULL. */
	void (*on_batch)(void *arg);
	/* See udp_want_writable(); NULL where that is not called. */
	void (*on_writable)(void *arg);
};

/* Where the sockets of one loop receive into. Memory is taken when it is first used: little by small datagrams. */
struct udp_slab;
struct udp_slab *udp_slab_create(void); /* NULL without memory */
/* After all of its sockets are closed, and not within a callback. NULL is allowed. */
void udp_slab_destroy(struct udp_slab *slab);

/* A destination with an MTU smaller than the datagrams of a train: the kernel splits single datagrams only. */
struct udp_narrow {
	struct addr addr;
	size_t stride; /* the smallest that was too large */
	uint64_t until_ms;
};

/* Embed by value; zeroed memory is closed. Its place must not change while open. */
struct udp_socket {
	int fd;
	struct addr local; /* with the port that the system gave */
	struct udp_stats stats;
	bool gso, gro;	       /* in use */
	bool full;	       /* the last system call brought as many trains as it could */
	struct loop_fd *watch; /* NULL while closed */
	struct udp_slab *slab;
	int buffer, buffer_least; /* what was asked of the kernel for what comes in */
	size_t came;		  /* bytes since then */
	uint64_t came_since_ms;
	struct udp_handler handler;
	void *arg;
	bool wants_local, dont_fragment;
	unsigned narrow_count, narrow_next;
	struct udp_narrow narrow[UDP_NARROW];
};

/* Binds to `local` (port 0: any; an IPv6 socket takes IPv6 only). 0; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES,
 * -EAFNOSUPPORT (no IPv6 here) or another negative errno, and the socket stays closed. */
int udp_open(struct udp_socket *s, struct loop *l, struct udp_slab *slab, enum udp_offload most,
	     const struct addr *local, const struct udp_handler *handler, void *arg);
/* The same at the port of `first`, which is open and may belong to another loop that does not run yet: the system then
 * spreads the senders over them, all datagrams of one sender to one socket. Nobody else gets the port: only sockets of
 * this user that are opened this way do. */
int udp_open_beside(struct udp_socket *s, struct loop *l, struct udp_slab *slab, enum udp_offload most,
		    const struct udp_socket *first, const struct udp_handler *handler, void *arg);
/* `first` is the first of 1 + `others` sockets of its port. From now on data messages (core/sealer.h), also relayed ones,
 * go to the others, those of a session to one of them, by the lowest byte of their receiver index; all else to `first`.
 * 0 or a negative errno. */
int udp_steer(struct udp_socket *first, unsigned others);
/* What the kernel may hold for the socket, in each direction, at least: see UDP_BUFFER_US; udp_open asks for UDP_BUFFER.
 * Failing is no error. */
void udp_set_buffer(struct udp_socket *s, int bytes);
/* May be called from the callbacks; of a closed socket it does nothing. */
void udp_close(struct udp_socket *s);
bool udp_is_open(const struct udp_socket *s);
/* From now on t->local tells to which of this machine's addresses (and the socket's port) a train came: for a socket
 * that is bound to all of them and answers from the one that was asked. 0 or a negative errno. */
int udp_want_local(struct udp_socket *s);

/* Whether trains wait in it: on_batch comes at the loop's next turn then. */
bool udp_has_more(const struct udp_socket *s);

/* Sends trains in order, each of at most UDP_TRAIN_SEGMENTS datagrams and UDP_TRAIN_BYTES, with as few system calls as
 * there can be. What fails for a reason of its own is counted and skipped. Returns how many trains are done with: fewer
 * than `count` when the kernel's buffer is full. The next one may be sent in part: its data and len are what is left.
 * The caller drops the rest, or sends it when on_writable came. */
unsigned udp_send_trains(struct udp_socket *s, struct udp_train *t, unsigned count);
/* Calls on_writable, once, when the kernel's buffer has room again. 0 or a negative errno. */
int udp_want_writable(struct udp_socket *s);
/* Sends p to p->addr with p->ttl, from the IP of p->local if set; the packet stays the caller's. 0, or a negative errno
 * that was counted: -EAGAIN (full), -EAFNOSUPPORT (address of the other family), -ENETUNREACH ..., and -EMSGSIZE: with
 * p->dont_fragment it is larger than its interface's MTU. */
int udp_send(struct udp_socket *s, const struct pkt *p);
/* The same for bytes that are in no packet. */
int udp_send_bytes(struct udp_socket *s, const void *data, size_t len, const struct addr *to);
int udp_send_bytes_from(struct udp_socket *s, const struct addr *local, const void *data, size_t len,
			const struct addr *to);

#endif
