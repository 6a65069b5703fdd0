#include "core/ip.h"

#include <errno.h>
#include <string.h>

enum {
	IP4_HEADER = 20,
	IP6_HEADER = 40,
	ICMP_HEADER = 8,
	IP4_DF = 0x4000, /* RFC 791 section 3.1: flags and fragment offset */
	IP4_MF = 0x2000,
	IP4_OFFSET = 0x1fff,
	IP4_ERROR_MAX = 576,  /* RFC 1812 section 4.3.2.3 */
	IP6_ERROR_MAX = 1280, /* RFC 4443 section 3.2: the least MTU */
	IP4_MTU_MIN = 68,     /* RFC 791 section 3.2: the longest header and one unit of data */
	PROTOCOL_ICMP = 1,
	PROTOCOL_ICMP6 = 58,
	TTL = 64,
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_COPIED = 0x80,
};

static uint32_t sum(uint32_t start, const uint8_t *p, size_t len)
{
	for (; len > 1; p += 2, len -= 2)
		start += load_be16(p);
	return len ? start + ((uint32_t)p[0] << 8) : start;
}

static uint16_t fold(uint32_t value)
{
	while (value >> 16)
		value = (value & 0xffff) + (value >> 16);
	return (uint16_t)~value;
}

static void set_header_checksum(uint8_t *header, size_t len)
{
	store_be16(header + 10, 0);
	store_be16(header + 10, fold(sum(0, header, len)));
}

/* --- Too big */

/* RFC 1122 section 3.2.2: of what no error is reported. */
static bool answerable4(const uint8_t *p, const struct ip_view *v)
{
	static const uint16_t error_types = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 11 | 1 << 12;
	size_t header = (size_t)(p[0] & 15) * 4;
	uint16_t fragment = load_be16(p + 6);
	bool icmp = p[9] == PROTOCOL_ICMP;

	if (!(fragment & IP4_DF) || fragment & IP4_OFFSET)
		return false;
	if (v->src[0] == 0 || v->src[0] >= 224 || v->dst[0] == 0 || v->dst[0] >= 224)
		return false;
	return !icmp || (v->total > header && !(p[header] < 16 && error_types >> p[header] & 1));
}

static size_t too_big4(const uint8_t *p, const struct ip_view *v, size_t mtu, uint8_t *out)
{
	uint8_t *icmp = out + IP4_HEADER;
	size_t quote = v->total;

	if (!answerable4(p, v))
		return 0;
	if (quote > IP4_ERROR_MAX - IP4_HEADER - ICMP_HEADER)
		quote = IP4_ERROR_MAX - IP4_HEADER - ICMP_HEADER;
	size_t total = IP4_HEADER + ICMP_HEADER + quote;
	memset(out, 0, IP4_HEADER + ICMP_HEADER);
	out[0] = 0x45;
	store_be16(out + 2, (uint16_t)total);
	store_be16(out + 6, IP4_DF);
	out[8] = TTL;
	out[9] = PROTOCOL_ICMP;
	memcpy(out + 12, v->dst, 4);
	memcpy(out + 16, v->src, 4);
	set_header_checksum(out, IP4_HEADER);
	icmp[0] = 3; /* destination unreachable: fragmentation needed, RFC 792; the MTU is RFC 1191's */
	icmp[1] = 4;
	store_be16(icmp + 6, (uint16_t)mtu);
	memcpy(icmp + ICMP_HEADER, p, quote);
	store_be16(icmp + 2, fold(sum(0, icmp, ICMP_HEADER + quote)));
	return total;
}

static bool is_extension(uint8_t next)
{
	return next == 0 || next == 43 || next == 60; /* hop-by-hop, routing, destination options */
}

/* Whether it is an ICMPv6 error or a redirect (RFC 4443 section 2.4 e). */
static bool is_error6(const uint8_t *p, size_t total)
{
	uint8_t next = p[6];
	size_t at = IP6_HEADER;

	while (is_extension(next) && at + 8 <= total) {
		next = p[at];
		at += ((size_t)p[at + 1] + 1) * 8;
	}
	return next == PROTOCOL_ICMP6 && (at >= total || p[at] < 128 || p[at] == 137);
}

static size_t too_big6(const uint8_t *p, const struct ip_view *v, size_t mtu, uint8_t *out)
{
	uint8_t *icmp = out + IP6_HEADER;
	size_t quote = v->total;
	static const uint8_t none[16];

	if (is_error6(p, v->total) || v->src[0] == 0xff || v->dst[0] == 0xff || !memcmp(v->src, none, 16))
		return 0;
	if (quote > IP6_ERROR_MAX - IP6_HEADER - ICMP_HEADER)
		quote = IP6_ERROR_MAX - IP6_HEADER - ICMP_HEADER;
	size_t payload = ICMP_HEADER + quote;
	memset(out, 0, IP6_HEADER + ICMP_HEADER);
	out[0] = 0x60;
	store_be16(out + 4, (uint16_t)payload);
	out[6] = PROTOCOL_ICMP6;
	out[7] = TTL;
	memcpy(out + 8, v->dst, 16);
	memcpy(out + 24, v->src, 16);
	icmp[0] = 2; /* packet too big, RFC 4443 section 3.2 */
	store_be32(icmp + 4, (uint32_t)mtu);
	memcpy(icmp + ICMP_HEADER, p, quote);
	/* The pseudo-header's addresses, length and next header, RFC 8200 section 8.1. */
	uint32_t pseudo = sum((uint32_t)payload + PROTOCOL_ICMP6, out + 8, 32);
	store_be16(icmp + 2, fold(sum(pseudo, icmp, payload)));
	return IP6_HEADER + payload;
}

size_t ip_too_big(const uint8_t *packet, size_t len, size_t mtu, uint8_t out[static IP_TOO_BIG_MAX])
{
	struct ip_view v;

	if (!ip_parse(&v, packet, len))
		return 0;
	return v.family == ADDR_V4 ? too_big4(packet, &v, mtu, out) : too_big6(packet, &v, mtu, out);
}

/* --- Fragments */

/* The header of all fragments but the first: of the options only those that say so are copied. Its length, or -EINVAL
 * for options that run out of the header. */
static int later_header(uint8_t *out, const uint8_t *packet, size_t header)
{
	size_t used = IP4_HEADER, len;

	memcpy(out, packet, IP4_HEADER);
	for (size_t at = IP4_HEADER; at < header && packet[at] != OPTION_END; at += len) {
		len = packet[at] == OPTION_NOP ? 1 : at + 1 < header ? packet[at + 1] : 0;
		if (len > header - at || len < (packet[at] == OPTION_NOP ? 1 : 2))
			return -EINVAL;
		if (!(packet[at] & OPTION_COPIED))
			continue;
		memcpy(out + used, packet + at, len);
		used += len;
	}
	while (used % 4)
		out[used++] = OPTION_END;
	out[0] = (uint8_t)(0x40 | used / 4);
	return (int)used;
}

int ip_fragments_begin(struct ip_fragments *f, const uint8_t *packet, size_t len, size_t mtu)
{
	struct ip_view v;

	if (!ip_parse(&v, packet, len) || v.family != ADDR_V4)
		return -EINVAL;
	if (load_be16(packet + 6) & IP4_DF || mtu < IP4_MTU_MIN)
		return -EMSGSIZE;
	size_t header = (size_t)(packet[0] & 15) * 4;
	*f = (struct ip_fragments) { .packet = packet, .total = v.total, .at = header, .mtu = mtu };
	int later = later_header(f->later, packet, header);
	f->later_len = later < 0 ? 0 : (uint8_t)later;
	return later < 0 ? later : 0;
}

size_t ip_fragments_next(struct ip_fragments *f, uint8_t *out)
{
	size_t header = (size_t)(f->packet[0] & 15) * 4;
	bool first = f->at == header;
	size_t own = first ? header : f->later_len, left = f->total - f->at;
	size_t data = left <= f->mtu - own ? left : (f->mtu - own) / 8 * 8;
	uint16_t before = load_be16(f->packet + 6);

	if (!left)
		return 0;
	memcpy(out, first ? f->packet : f->later, own);
	memcpy(out + own, f->packet + f->at, data);
	uint16_t offset = (uint16_t)((before & IP4_OFFSET) + (f->at - header) / 8);
	store_be16(out + 2, (uint16_t)(own + data));
	/* What was a fragment itself has more behind it, as before. */
	store_be16(out + 6,
		   (uint16_t)((offset & IP4_OFFSET) | (before & IP4_MF) | (data < left ? IP4_MF : 0)));
	set_header_checksum(out, own);
	f->at += data;
	return own + data;
}
