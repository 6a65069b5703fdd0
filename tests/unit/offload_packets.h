/* Inner packets for the tests of tun/offload, built and judged without its code. */
#ifndef P2PD_TEST_OFFLOAD_PACKETS_H
#define P2PD_TEST_OFFLOAD_PACKETS_H

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/ip.h"
#include "tun/offload.h"
#include "tun/vnet.h"

enum {
	PACKET_MAX = 65600,
	ACK = 0x10,
	PSH = 0x08,
	FIN = 0x01,
	CWR = 0x80,
};

struct made_packet {
	bool ip6, udp;
	uint8_t host; /* last byte of the source address */
	uint16_t port, id, window;
	bool df, zero_checksum;
	uint32_t seq;
	uint8_t flags, options,
		extension; /* the latter two: bytes of TCP options, of an IPv6 destination option */
	size_t data;
	unsigned fill; /* of the payload */
};

static inline uint32_t slow_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline size_t l4_of(const uint8_t *p)
{
	if (p[0] >> 4 == 4)
		return (size_t)(p[0] & 15) * 4;
	return p[6] == 60 ? 40 + ((size_t)p[41] + 1) * 8 : 40;
}

static inline uint8_t protocol_of(const uint8_t *p)
{
	if (p[0] >> 4 == 4)
		return p[9];
	return p[6] == 60 ? p[40] : p[6];
}

static inline size_t checksum_at(const uint8_t *p)
{
	return l4_of(p) + (protocol_of(p) == 6 ? 16 : 6);
}

static inline uint32_t slow_pseudo(const uint8_t *p, size_t len)
{
	uint32_t sum = (uint32_t)(len - l4_of(p)) + protocol_of(p);

	return p[0] >> 4 == 4 ? slow_sum(sum, p + 12, 8) : slow_sum(sum, p + 8, 32);
}

/* The vnet header's "checksum to be finished". */
static inline void seed_checksum(uint8_t *p, size_t len)
{
	store_be16(p + checksum_at(p), (uint16_t)slow_pseudo(p, len));
}

static inline void fix_ip_checksum(uint8_t *p)
{
	if (p[0] >> 4 != 4)
		return;
	store_be16(p + 10, 0);
	store_be16(p + 10, (uint16_t)~slow_sum(0, p, (size_t)(p[0] & 15) * 4));
}

static inline void fix_checksums(uint8_t *p, size_t len)
{
	size_t l4 = l4_of(p), field = checksum_at(p);

	fix_ip_checksum(p);
	store_be16(p + field, 0);
	uint16_t checksum = (uint16_t)~slow_sum(slow_pseudo(p, len), p + l4, len - l4);
	store_be16(p + field, checksum || protocol_of(p) == 6 ? checksum : 0xffff);
}

static inline bool checksums_right(const uint8_t *p, size_t len)
{
	size_t l4 = l4_of(p);

	if (p[0] >> 4 == 4 && slow_sum(0, p, l4) != 0xffff)
		return false;
	return slow_sum(slow_pseudo(p, len), p + l4, len - l4) == 0xffff;
}

static inline void make_ip(const struct made_packet *k, uint8_t *p, size_t total)
{
	uint8_t protocol = k->udp ? 17 : 6;

	if (!k->ip6) {
		static const uint8_t head[20] = { 0x45, 0x02, 0,  0, 0, 0, 0,  0, 64, 0,
						  0,	0,    10, 0, 0, 0, 10, 0, 0,  1 };
		memcpy(p, head, 20);
		store_be16(p + 2, (uint16_t)total);
		store_be16(p + 4, k->id);
		p[6] = k->df ? 0x40 : 0;
		p[9] = protocol;
		p[15] = k->host;
		return;
	}
	memset(p, 0, 40);
	p[0] = 0x60;
	p[3] = 7;
	store_be16(p + 4, (uint16_t)(total - 40));
	p[6] = k->extension ? 60 : protocol;
	p[7] = 64;
	memset(p + 8, 0xfd, 32);
	p[23] = k->host;
	if (!k->extension)
		return;
	memset(p + 40, 0, k->extension);
	p[40] = protocol;
	p[41] = (uint8_t)(k->extension / 8 - 1);
	p[42] = 1; /* PadN */
	p[43] = (uint8_t)(k->extension - 4);
}

static inline size_t headers_of(const struct made_packet *k)
{
	return (k->ip6 ? 40u + k->extension : 20u) + (k->udp ? 8u : 20u + k->options);
}

/* Payload bytes of one made packet go on where those of another stop if `fill` does. */
static inline uint8_t payload_byte(size_t at)
{
	return (uint8_t)((at * 2654435761u) >> 13);
}

/* Its length. */
static inline size_t make_packet(const struct made_packet *k, uint8_t *p)
{
	size_t headers = headers_of(k), total = headers + k->data;
	uint8_t *l4 = p + (k->ip6 ? 40 + k->extension : 20);

	make_ip(k, p, total);
	memset(l4, 0, headers - (size_t)(l4 - p));
	store_be16(l4, k->port);
	store_be16(l4 + 2, 443);
	if (k->udp) {
		store_be16(l4 + 4, (uint16_t)(8 + k->data));
	} else {
		store_be32(l4 + 4, k->seq);
		store_be32(l4 + 8, 0x01020304);
		l4[12] = (uint8_t)((20 + k->options) / 4 << 4);
		l4[13] = k->flags;
		store_be16(l4 + 14, k->window);
		memset(l4 + 20, 1, k->options); /* NOP */
	}
	for (size_t i = 0; i < k->data; i++)
		p[headers + i] = payload_byte(k->fill + i);
	fix_checksums(p, total);
	if (k->zero_checksum)
		store_be16(p + checksum_at(p), 0);
	return total;
}

#endif
