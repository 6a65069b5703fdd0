/* The UDP sockets that natcheck asks from. */
#ifndef P2PD_APPS_NATCHECK_SOCK_H
#define P2PD_APPS_NATCHECK_SOCK_H

#include <sys/types.h>

#include "core/addr.h"

enum sock_kind {
	SOCK_ORDINARY,
	SOCK_WHOLE,	/* its datagrams must not be fragmented, and no path MTU that is known limits them */
	SOCK_FRAGMENTS, /* may be fragmented anywhere */
};

struct sock_datagram {
	struct addr from;
	size_t len;
	unsigned fragment; /* size of the largest fragment; 0: in one piece */
};

/* A descriptor, or a negative errno: -EAFNOSUPPORT where the machine has no such family. `bind_to` may have port 0. */
int sock_open(const struct addr *bind_to, enum sock_kind kind);
/* The address that it is bound to; ADDR_NONE if there is none. */
struct addr sock_local(int fd);
/* The address that the system would send from, port 0; ADDR_NONE: no way there. */
struct addr sock_towards(const struct addr *server);
/* 0 or a negative errno; -EMSGSIZE: larger than what may be sent in one piece. */
int sock_send(int fd, const struct addr *to, const void *data, size_t len);
/* The next datagram, cut to `cap`. False when there is none now. */
bool sock_receive(int fd, void *data, size_t cap, struct sock_datagram *out);

#endif
