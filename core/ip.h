/* IP headers as the data path needs them, and what becomes of packets that are too big for it. Pure. */
#ifndef P2PD_CORE_IP_H
#define P2PD_CORE_IP_H

#include <string.h>

#include "core/addr.h"
#include "core/bytes.h"

enum {
	IP_TOO_BIG_MAX = 1280, /* RFC 4443 section 3.2: no error exceeds the least IPv6 MTU */
	IP4_HEADER_MAX = 60,
};

struct ip_view {
	enum addr_family family;
	const uint8_t *src, *dst; /* 4 or 16 bytes, in the packet */
	size_t total;		  /* length by the header, <= the bytes given */
};

/* False for anything that is not a whole IPv4 or IPv6 packet within `len` bytes. */
static inline bool ip_parse(struct ip_view *v, const uint8_t *p, size_t len)
{
	if (len >= 20 && p[0] >> 4 == 4) {
		*v = (struct ip_view) { ADDR_V4, p + 12, p + 16, load_be16(p + 2) };
		size_t header = (size_t)(p[0] & 15) * 4;
		return header >= 20 && v->total >= header && v->total <= len;
	}
	if (len >= 40 && p[0] >> 4 == 6) {
		*v = (struct ip_view) { ADDR_V6, p + 8, p + 24, (size_t)load_be16(p + 4) + 40 };
		return v->total <= len;
	}
	return false;
}

/* Whether two addresses of a family are the same. The lengths are constants: no call, for each packet. */
static inline bool ip_same(enum addr_family family, const uint8_t *a, const uint8_t *b)
{
	return family == ADDR_V4 ? memcmp(a, b, 4) == 0 : memcmp(a, b, 16) == 0;
}

/* Answers a packet that is larger than `mtu`: ICMP "fragmentation needed" (RFC 792, RFC 1191) or ICMPv6 "packet too big"
 * (RFC 4443), with a part of the packet quoted, from its destination, so that its sender takes it. Returns the length; 0
 * where no answer is due: IPv4 that may be fragmented or is a later fragment, an ICMP error, to or from no single
 * host, not a packet. */
size_t ip_too_big(const uint8_t *packet, size_t len, size_t mtu, uint8_t out[static IP_TOO_BIG_MAX]);

/* Splits an IPv4 packet (RFC 791 section 3.2). The packet must stay until the last fragment was taken. */
struct ip_fragments {
	const uint8_t *packet;
	size_t total, at, mtu;
	uint8_t later[IP4_HEADER_MAX]; /* the header of all but the first */
	uint8_t later_len;
};
/* 0; -EINVAL for what is no IPv4 packet or has broken options; -EMSGSIZE: it must not be split, or not to less than 68. */
int ip_fragments_begin(struct ip_fragments *f, const uint8_t *packet, size_t len, size_t mtu);
/* Writes the next fragment, at most `mtu` bytes. Its length, 0 after the last. */
size_t ip_fragments_next(struct ip_fragments *f, uint8_t *out);

#endif
