/* The PROXY protocol, version 2 (HAProxy's proxy-protocol.txt, section 2.2): who the visitor is, told ahead of what he
 * sends by whoever carries it on. Pure. */
#ifndef P2PD_CORE_PROXY_HEADER_H
#define P2PD_CORE_PROXY_HEADER_H

#include "core/forward.h"

enum {
	/* Of one that is written: the fixed part, two IPv6 addresses with ports, and a secret. */
	PROXY_HEADER_MAX = 16 + 36 + 3 + FORWARD_SECRET,
	/* Of one that is read, its TLVs among it: a header comes in one piece, so it fits the smallest segment that any
	 * TCP must take (section 2: 536 bytes). */
	PROXY_HEADER_READ_MAX = 536,
};

struct proxy_header {
	enum forward_proto proto;
	struct addr from, to; /* the visitor, and what he came to; of one family */
	/* What shows that whoever tells it may: in a TLV of our own (section 2.2.8, PP2_TYPE_MIN_CUSTOM). */
	bool has_secret;
	uint8_t secret[FORWARD_SECRET];
};

/* Its length; 0: the families differ, or are none. */
size_t proxy_header_write(uint8_t out[static PROXY_HEADER_MAX], const struct proxy_header *h);
/* The length of the header that `data` begins with. -EAGAIN: so far it is one, the rest is missing; never with
 * PROXY_HEADER_READ_MAX bytes or more. -EBADMSG: it is none, or one that names no visitor (LOCAL, UNSPEC, Unix sockets),
 * or an IPv4-mapped IPv6 address, which would pass an IPv6 allow-list as what it is not. Other TLVs are skipped. */
int proxy_header_read(struct proxy_header *h, const uint8_t *data, size_t len);

#endif
