#include "tun/offload.h"

#include <errno.h>
#include <string.h>

#include "core/ip.h"
#include "tun/checksum.h"
#include "tun/offload_impl.h"
#include "tun/vnet.h"

_Static_assert((int)OFFLOAD_VNET == (int)VNET_LEN, "one header");

/* --- No GSO: at most a checksum to be finished, of whatever protocol. The pseudo-header is in its field
 * already. */

static int finish_checksum(const struct vnet *v, uint8_t *packet, size_t len, size_t ip_header)
{
	size_t field = (size_t)v->csum_start + v->csum_offset;

	if (v->csum_start < ip_header || field + 2 > len)
		return -EINVAL;
	store_checksum(packet + field, checksum_sum(packet + v->csum_start, len - v->csum_start),
		       v->csum_offset != VNET_UDP_OFFSET);
	return 0;
}

static int begin_whole(struct offload_split *s, const struct vnet *v, size_t len, size_t ip_header)
{
	s->size = len;
	s->payload = len;
	s->count = 1;
	return v->flags & VNET_NEEDS_CSUM ? finish_checksum(v, s->packet, len, ip_header) : 0;
}

/* --- GSO */

/* Whether the type is one that was asked for and the IP header says the same. What follows IPv6 extension
 * headers is believed. */
static bool type_fits(const struct offload_split *s, const struct vnet *v)
{
	uint8_t protocol = s->tcp ? PROTOCOL_TCP : PROTOCOL_UDP;

	switch (v->gso_type) {
	case VNET_GSO_TCP4:
	case VNET_GSO_TCP4 | VNET_GSO_ECN:
		if (!s->ip4)
			return false;
		break;
	case VNET_GSO_TCP6:
	case VNET_GSO_TCP6 | VNET_GSO_ECN:
		if (s->ip4)
			return false;
		break;
	case VNET_GSO_UDP: break;
	default: return false;
	}
	if (s->ip4)
		return s->packet[9] == protocol;
	return s->packet[6] == protocol || s->l4 > IP6_HEADER;
}

/* Finds the transport header and the payload. */
static int find_headers(struct offload_split *s, const struct vnet *v, size_t len, size_t ip_header)
{
	size_t least = s->tcp ? TCP_HEADER : UDP_HEADER;

	s->l4 = v->csum_start;
	if (s->l4 < ip_header || (s->ip4 && s->l4 > ip_header) || s->l4 + least > len)
		return -EINVAL;
	if (v->csum_offset != (s->tcp ? VNET_TCP_OFFSET : VNET_UDP_OFFSET))
		return -EINVAL;
	size_t own = s->tcp ? (size_t)(s->packet[s->l4 + 12] >> 4) * 4 : least;
	s->headers = s->l4 + own;
	return own < least || s->headers > len || s->headers > OFFLOAD_HEADERS_MAX ? -EINVAL : 0;
}

/* The pseudo-header but for the length. Behind extension headers it is the kernel's: the last address of a
 * routing header counts (RFC 8200 section 8.1), not the one in the IP header. */
static uint32_t pseudo_of(const struct offload_split *s)
{
	size_t length = s->headers + s->payload - s->l4;

	if (s->ip4 || s->l4 == IP6_HEADER)
		return pseudo_sum(s->packet, s->ip4, s->tcp ? PROTOCOL_TCP : PROTOCOL_UDP);
	return load_be16(s->packet + s->l4 + (s->tcp ? VNET_TCP_OFFSET : VNET_UDP_OFFSET)) +
	       (uint16_t)~length;
}

static void take_ip_header(struct offload_split *s)
{
	uint8_t *h = s->header;

	if (!s->ip4)
		return;
	s->id = load_be16(h + 4);
	memset(h + 2, 0, 4); /* length, ID */
	memset(h + 10, 0, 2);
	s->ip_sum = checksum_sum(h, s->l4);
}

static void take_l4_header(struct offload_split *s)
{
	uint8_t *h = s->header + s->l4;

	if (s->tcp) {
		s->seq = load_be32(h + 4);
		s->flags = h[TCP_FLAGS];
		memset(h + 4, 0, 4);
		h[TCP_FLAGS] = 0;
		memset(h + VNET_TCP_OFFSET, 0, 2);
	} else {
		memset(h + 4, 0, 4); /* length, checksum */
	}
	s->pseudo = pseudo_of(s);
	s->l4_sum = s->pseudo + checksum_sum(h, s->headers - s->l4);
}

int offload_split_begin(struct offload_split *s, const uint8_t vnet[static OFFLOAD_VNET], uint8_t *packet,
			size_t len)
{
	struct vnet v = vnet_load(vnet);
	struct ip_view ip;

	if (!ip_parse(&ip, packet, len))
		return -EINVAL;
	s->packet = packet;
	s->ip4 = ip.family == ADDR_V4;
	s->l4 = s->headers = 0;
	s->next = 0;
	s->sums_left = false;
	size_t ip_header = s->ip4 ? (size_t)(packet[0] & 15) * 4 : IP6_HEADER;
	if (v.gso_type == VNET_GSO_NONE)
		return begin_whole(s, &v, ip.total, ip_header);

	s->tcp = v.gso_type != VNET_GSO_UDP;
	if (v.gso_size == 0 || !(v.flags & VNET_NEEDS_CSUM) || find_headers(s, &v, ip.total, ip_header) ||
	    !type_fits(s, &v))
		return -EINVAL;
	s->size = v.gso_size;
	s->payload = ip.total - s->headers;
	s->count = s->payload ? (unsigned)((s->payload + s->size - 1) / s->size) : 1;
	memcpy(s->header, packet, s->headers);
	take_ip_header(s);
	take_l4_header(s);
	return 0;
}

unsigned offload_split_count(const struct offload_split *s)
{
	return s->count;
}

size_t offload_split_largest(const struct offload_split *s)
{
	return s->headers + (s->payload < s->size ? s->payload : s->size);
}

bool offload_split_leave_sums(struct offload_split *s)
{
	if (!s->headers)
		return false;
	s->sums_left = s->ip4 ? !(load_be16(s->header + 6) & IP4_FRAGMENT) : s->l4 == IP6_HEADER;
	return s->sums_left;
}

static void finish_ip(const struct offload_split *s, uint8_t *p, size_t len, unsigned i)
{
	uint16_t id = (uint16_t)(s->id + i);

	if (!s->ip4) {
		store_be16(p + 4, (uint16_t)(len - IP6_HEADER));
		return;
	}
	store_be16(p + 2, (uint16_t)len);
	store_be16(p + 4, id);
	store_be16(p + 10, (uint16_t)~checksum_fold(s->ip_sum + (uint32_t)len + id));
}

/* FIN and PSH are the last segment's, CWR the first one's (RFC 3168 section 6.1.2). */
static uint8_t flags_of(const struct offload_split *s, unsigned i)
{
	uint8_t flags = s->flags;

	if (i > 0)
		flags &= (uint8_t)~TCP_CWR;
	if (i + 1 < s->count)
		flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	return flags;
}

/* The place of the checksum gets it, or what offload_split_leave_sums() says. `sum`: of all but the data. */
static void finish_sum(const struct offload_split *s, uint8_t *field, size_t length, uint32_t sum,
		       const uint8_t *payload, size_t data)
{
	if (s->sums_left)
		store_be16(field, checksum_fold(s->pseudo + (uint32_t)length));
	else
		store_checksum(field, sum + checksum_sum(payload, data), s->tcp);
}

static void finish_tcp(const struct offload_split *s, uint8_t *tcp, size_t data, unsigned i)
{
	uint32_t seq = s->seq + (uint32_t)(i * s->size);
	uint8_t flags = flags_of(s, i);
	size_t header = s->headers - s->l4;

	store_be32(tcp + 4, seq);
	tcp[TCP_FLAGS] = flags;
	finish_sum(s, tcp + VNET_TCP_OFFSET, header + data,
		   s->l4_sum + (seq >> 16) + (seq & 0xffff) + flags + (uint32_t)(header + data), tcp + header,
		   data);
}

static void finish_udp(const struct offload_split *s, uint8_t *udp, size_t data)
{
	uint32_t length = (uint32_t)(UDP_HEADER + data);

	store_be16(udp + 4, (uint16_t)length);
	/* The length is in the pseudo-header, too. */
	finish_sum(s, udp + VNET_UDP_OFFSET, length, s->l4_sum + 2 * length, udp + UDP_HEADER, data);
}

uint8_t *offload_split_next(struct offload_split *s, size_t *len)
{
	if (s->next == s->count)
		return NULL;
	unsigned i = s->next++;
	size_t at = i * s->size, data = s->payload - at < s->size ? s->payload - at : s->size;
	uint8_t *p = s->packet + at;
	*len = s->headers + data;
	if (!s->headers)
		return p;
	memcpy(p, s->header, s->headers);
	finish_ip(s, p, *len, i);
	if (s->tcp)
		finish_tcp(s, p + s->l4, data, i);
	else
		finish_udp(s, p + s->l4, data);
	return p;
}
