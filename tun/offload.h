/* Segmentation and merging of what a TUN device with IFF_VNET_HDR hands over: TCP (TSO) and UDP (USO)
 * superframes, IPv4 and IPv6. Pure; checksums included. The vnet header: tun/vnet.h.
 *
 * Split (offload_split.c): each segment is made in place, its headers written before its payload, over the
 * end of the segment before: so take them one after the other. hdr_len of the vnet header is not believed.
 * Merge (offload_merge.c): packets stay where they are until written; frames are lists of slices. Written
 * and split again a frame gives the same packets, byte for byte; only IPv4 IDs that stay the same, which
 * they may where DF is set (RFC 6864: they mean nothing there), are counted up instead. */
#ifndef P2PD_TUN_OFFLOAD_H
#define P2PD_TUN_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	OFFLOAD_VNET = 10,	   /* bytes of the vnet header */
	OFFLOAD_SEGMENTS = 64,	   /* of a frame that is written: UDP_MAX_SEGMENTS of Linux before 6.9 */
	OFFLOAD_FRAME_MAX = 65535, /* bytes of one that is written, by the IP header's length */
	OFFLOAD_FRAMES = 64,	   /* of one merge */
	OFFLOAD_BUCKETS = 64,
	OFFLOAD_HEADERS_MAX =
		256, /* IP and TCP, of a frame to be split: IPv6 extension headers have no limit of their own */
};

/* Filled in by offload_split_begin. */
struct offload_split {
	uint8_t *packet;
	size_t l4, headers;   /* where the transport header and where the payload begin */
	size_t payload, size; /* of all segments, of each but the last */
	unsigned next, count;
	bool ip4, tcp;
	uint8_t header
		[OFFLOAD_HEADERS_MAX]; /* of all segments, what differs between them and checksums zeroed */
	uint32_t pseudo;	       /* the sum of the pseudo-header but for the length */
	uint32_t ip_sum, l4_sum;       /* of `header`, the latter with `pseudo` */
	uint16_t id;		       /* of the first segment */
	uint32_t seq;
	uint8_t flags; /* of TCP */
	bool sums_left;
};
/* `vnet`: as read; `packet`: the IP packet after it, writable. Afterwards count() and largest() hold. Returns 0;
 * -EINVAL for what is no such frame (offsets beyond the packet, unknown gso type, gso_size 0 ...). A frame
 * without GSO is one segment, whose checksum is finished if the vnet header asks for that. Bytes behind
 * the packet's end by its IP header are no part of it. */
int offload_split_begin(struct offload_split *s, const uint8_t vnet[static OFFLOAD_VNET], uint8_t *packet,
			size_t len);
/* Segments in all, and the length of each but the last, which is no longer. There can be as many as bytes
 * of payload, if gso_size says so. */
unsigned offload_split_count(const struct offload_split *s);
size_t offload_split_largest(const struct offload_split *s);
/* From now on segments have the sum of their pseudo-header in the place of the TCP or UDP checksum, which is left to
 * offload_merge_add() or offload_make_sum() at the other end. False, and nothing changes, where these could not: no GSO,
 * IPv6 extension headers, or a fragment. */
bool offload_split_leave_sums(struct offload_split *s);
/* The next segment: a whole IP packet; its bytes may be overwritten once the one after it has been asked
 * for, and its last bytes are by that: be done with it before. NULL after the last. */
uint8_t *offload_split_next(struct offload_split *s, size_t *len);

/* A packet as merging looks at it. */
struct offload_item {
	uint8_t *packet;
	uint32_t len;
	uint8_t l4, headers; /* where the transport header and where the payload begin */
	uint8_t protocol;    /* 0: not known to be TCP or UDP with ports to be read */
	bool ip4;
	bool mergeable; /* by itself: it may begin or join a frame */
	bool summed;	/* its checksums were verified, else it is not mergeable any more */
	bool unsummed;	/* it is left to be made; only of what is mergeable */
};

/* One frame to be written: iov[0] is the vnet header, the rest slices of packets in order. */
struct offload_frame {
	struct offload_item first;
	uint32_t total;	  /* bytes, by the IP header to be */
	uint32_t size;	  /* payload bytes of the first, and so of all but the last */
	uint8_t segments; /* OFFLOAD_SEGMENTS at most */
	uint8_t older;	  /* the next frame of the same bucket, + 1 */
	bool open;	  /* more may join */
	bool push;	  /* the last has PSH */
	bool same_id;	  /* IPv4 IDs do not count up */
	uint8_t vnet[OFFLOAD_VNET];
	struct iovec iov[1 + OFFLOAD_SEGMENTS];
};

/* A batch: reset it, add packets in order of arrival, write the frames in order, reset. */
struct offload_merge {
	bool tcp, udp;
	unsigned count;
	uint8_t bucket[OFFLOAD_BUCKETS]; /* of the hash of a flow: the newest frame, + 1 */
	struct offload_frame frames[OFFLOAD_FRAMES];
};
/* `merge_tcp`, `merge_udp`: what the device takes (TUN_TSO..., TUN_USO: tun/device.h). Packets (whole
 * valid IP packets, checked by ip_parse before; writable) must stay until the frames were written. False
 * when there is no room: write, reset, and add again.
 *
 * Packets of one TCP or UDP flow leave in the order in which they came; so do IP fragments and whatever
 * else has no ports, among all packets between the same addresses. A packet is merged only if its
 * checksums are right, or with `unsummed`: then its checksum was left out by offload_split_leave_sums().
 * One that is not merged leaves as it came (but with its checksum made, if that was left out), and without
 * a word of ours about its checksum. UDP with the checksum zero (IPv4) is never merged: it would get one.
 * IPv4 IDs have to count up by one, or, where DF is set, to stay the same. Both as in Linux' own GRO. */
void offload_merge_reset(struct offload_merge *m, bool merge_tcp, bool merge_udp);
bool offload_merge_add(struct offload_merge *m, uint8_t *packet, size_t len, bool unsummed);
unsigned offload_merge_count(const struct offload_merge *m);
/* Finishes frame i (checksum seed, lengths, vnet header): its slices, valid until reset. Call once each. */
const struct iovec *offload_merge_frame(struct offload_merge *m, unsigned i, int *iov_count);
/* Makes the checksum that offload_split_leave_sums() left out of a whole valid IP packet; what cannot be
 * such a packet stays as it is. */
void offload_make_sum(uint8_t *packet, size_t len);

#endif
