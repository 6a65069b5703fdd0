/* Packets: buffers with headroom from a fixed pool, so that headers are written in front of the data and nothing
 * is copied between rooms. A packet has one owner at a time; lists hand ownership on. */
#ifndef P2PD_CORE_PKT_H
#define P2PD_CORE_PKT_H

#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"

enum {
	PKT_HEADROOM = 64,    /* relay header 8 + WireGuard header 16, and room to grow */
	PKT_TAILROOM = 64,    /* padding 15 + tag 32 */
	PKT_DATA_MAX = 65535, /* the largest IP packet and the largest datagram */
};

struct pkt {
	struct pkt *next;
	struct addr addr; /* datagrams: where it came from, or goes */
	/* Datagrams of a socket with udp_want_local(): our own address that it came to, and goes from; ADDR_NONE: the
	 * system chooses. */
	struct addr local;
	uint8_t ttl; /* datagrams out: IP TTL or hop limit; 0 for the system's default */
	/* Datagrams out: lost rather than split on the way: pings that measure a path's MTU, and what was cut to it. */
	bool dont_fragment;
	/* Which of the node's UDP sockets it came in by or goes out by: 0 the main one of the family, else an extra
	 * IPv4 socket's id. */
	uint32_t socket;
	uint32_t off; /* of the first byte in `buf` */
	uint32_t len;
	uint8_t buf[PKT_HEADROOM + PKT_DATA_MAX + PKT_TAILROOM];
};

struct pkt_list {
	struct pkt *head, **tail; /* zeroed memory is an empty list */
	size_t count;
};

/* Last in, first out: a quiet program touches few buffers. */
struct pkt_pool {
	struct pkt *free;
	struct pkt *all;
	size_t fresh; /* packets of `all` from here on were never used */
	size_t count, in_use;
};

static inline uint8_t *pkt_data(struct pkt *p)
{
	return p->buf + p->off;
}

/* 0 or -ENOMEM. */
int pkt_pool_init(struct pkt_pool *pool, size_t count);
void pkt_pool_free(struct pkt_pool *pool);
/* An empty packet at PKT_HEADROOM, or NULL when all are in use. */
struct pkt *pkt_get(struct pkt_pool *pool);
/* NULL is allowed. */
void pkt_put(struct pkt_pool *pool, struct pkt *p);

void pkt_list_push(struct pkt_list *list, struct pkt *p);
/* The oldest, or NULL. */
struct pkt *pkt_list_pop(struct pkt_list *list);
void pkt_list_clear(struct pkt_list *list, struct pkt_pool *pool);

#endif
