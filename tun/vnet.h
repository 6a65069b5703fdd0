/* The header before each frame of a TUN device with IFF_VNET_HDR: virtio 1.2 section 5.1.6, 10 bytes.
 * Little-endian: the device does so by TUNSETVNETLE, and on little-endian machines anyway. */
#ifndef P2PD_TUN_VNET_H
#define P2PD_TUN_VNET_H

#include "core/bytes.h"

enum {
	VNET_LEN = 10,
	VNET_NEEDS_CSUM = 1, /* flag: the checksum's field holds the pseudo-header's sum, not complemented */
	VNET_GSO_NONE = 0,
	VNET_GSO_TCP4 = 1,
	VNET_GSO_TCP6 = 4,
	VNET_GSO_UDP = 5,     /* UDP_L4, either family */
	VNET_GSO_ECN = 0x80,  /* beside a TCP type: CWR is set, to be kept on the first segment only */
	VNET_TCP_OFFSET = 16, /* csum_offset: of the checksum in a TCP and in a UDP header */
	VNET_UDP_OFFSET = 6,
};

struct vnet {
	uint8_t flags, gso_type;
	uint16_t
		hdr_len; /* not to be believed on reading: the whole first packet, where a frame was forwarded */
	uint16_t gso_size;		  /* payload bytes of each segment but the last */
	uint16_t csum_start, csum_offset; /* where summing begins, in the packet; the field, from there */
};

static inline struct vnet vnet_load(const uint8_t p[static VNET_LEN])
{
	return (struct vnet) {
		p[0], p[1], load_le16(p + 2), load_le16(p + 4), load_le16(p + 6), load_le16(p + 8)
	};
}

static inline void vnet_store(uint8_t p[static VNET_LEN], const struct vnet *v)
{
	p[0] = v->flags;
	p[1] = v->gso_type;
	store_le16(p + 2, v->hdr_len);
	store_le16(p + 4, v->gso_size);
	store_le16(p + 6, v->csum_start);
	store_le16(p + 8, v->csum_offset);
}

#endif
