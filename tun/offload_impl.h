/* What split and merge share: the fields of the headers that they write. */
#ifndef P2PD_TUN_OFFLOAD_IMPL_H
#define P2PD_TUN_OFFLOAD_IMPL_H

#include "core/bytes.h"
#include "tun/checksum.h"

enum {
	IP4_HEADER = 20,
	IP4_FRAGMENT = 0x3fff, /* more fragments, or an offset: RFC 791 section 3.1 */
	IP6_HEADER = 40,
	TCP_HEADER = 20,
	UDP_HEADER = 8,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	TCP_FLAGS = 13, /* the flags' place in the header, RFC 9293 section 3.1 */
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_CWR = 0x80,
};

/* The pseudo-header but for the length: RFC 793 section 3.1, RFC 8200 section 8.1. */
static inline uint32_t pseudo_sum(const uint8_t *packet, bool ip4, uint8_t protocol)
{
	return protocol + (ip4 ? checksum_sum(packet + 12, 8) : checksum_sum(packet + 8, 32));
}

static inline void store_checksum(uint8_t *field, uint32_t sum, bool tcp)
{
	uint16_t checksum = (uint16_t)~checksum_fold(sum);

	/* Zero is no checksum in UDP (RFC 768); its other form stands for it. */
	store_be16(field, checksum || tcp ? checksum : 0xffff);
}

#endif
