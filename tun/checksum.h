/* The Internet checksum (RFC 1071), fast enough to run over every packet. */
#ifndef P2PD_TUN_CHECKSUM_H
#define P2PD_TUN_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The sum of `len` (<= 1 MiB) bytes as big-endian 16-bit words, an odd one at the end padded with zero. At
 * most 0xffff, so that many of them can be added up before a fold. */
uint32_t checksum_sum(const void *data, size_t len);

/* Adds the carries back: the same sum in 16 bits. A checksum is its complement; a sum that includes a
 * right checksum is 0xffff. */
static inline uint16_t checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

#endif
