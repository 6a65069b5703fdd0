/* IP headers as the data path needs them. */
#ifndef P2PD_CORE_IP_H
#define P2PD_CORE_IP_H

#include "core/addr.h"
#include "core/bytes.h"

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

#endif
