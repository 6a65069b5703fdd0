#include "tun/offload.h"

#include <string.h>

#include "tun/checksum.h"
#include "tun/offload_impl.h"
#include "tun/vnet.h"

enum {
	IP4_DF = 0x4000,
	PORTS = 4,
};

void offload_merge_reset(struct offload_merge *m, bool merge_tcp, bool merge_udp)
{
	m->tcp = merge_tcp;
	m->udp = merge_udp;
	m->count = 0;
	memset(m->bucket, 0, sizeof m->bucket);
}

/* --- One packet by itself */

static bool tcp_mergeable(const struct offload_item *it)
{
	const uint8_t *tcp = it->packet + it->l4;
	size_t header = (size_t)(tcp[12] >> 4) * 4;

	/* ACK or ACK and PSH, no other flag and no reserved bit. */
	return header >= TCP_HEADER && it->l4 + header < it->len && !(tcp[12] & 15) &&
	       (tcp[TCP_FLAGS] & ~TCP_PSH) == TCP_ACK;
}

static bool udp_mergeable(const struct offload_item *it)
{
	const uint8_t *udp = it->packet + it->l4;

	return it->len > (uint32_t)it->l4 + UDP_HEADER && load_be16(udp + 4) == it->len - it->l4 &&
	       load_be16(udp + VNET_UDP_OFFSET) != 0;
}

/* Where the ports are, or 0. */
static size_t find_ports(const uint8_t *p, size_t len, bool ip4)
{
	size_t l4 = ip4 ? (size_t)(p[0] & 15) * 4 : IP6_HEADER;
	uint8_t protocol = p[ip4 ? 9 : 6];

	if ((protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) || l4 + PORTS > len)
		return 0;
	return ip4 && load_be16(p + 6) & IP4_FRAGMENT ? 0 : l4;
}

static void inspect(struct offload_item *it, const struct offload_merge *m, uint8_t *p, size_t len)
{
	bool ip4 = p[0] >> 4 == 4, tcp = p[ip4 ? 9 : 6] == PROTOCOL_TCP;
	size_t total = ip4 ? load_be16(p + 2) : (size_t)load_be16(p + 4) + IP6_HEADER;
	size_t l4 = find_ports(p, len, ip4), least = l4 + (size_t)(tcp ? TCP_HEADER : UDP_HEADER);

	it->packet = p;
	it->len = (uint32_t)len;
	it->ip4 = ip4;
	it->l4 = it->headers = (uint8_t)l4;
	it->protocol = l4 ? p[ip4 ? 9 : 6] : 0;
	it->mergeable = it->summed = it->unsummed = false;
	if (!l4 || !(tcp ? m->tcp : m->udp) || total != len || least > len || (ip4 && l4 != IP4_HEADER))
		return;
	it->mergeable = tcp ? tcp_mergeable(it) : udp_mergeable(it);
	it->headers = (uint8_t)(l4 + (tcp ? (size_t)(p[l4 + 12] >> 4) * 4 : UDP_HEADER));
}

/* A frame is written with "the checksum is to be made": a wrong one among its packets would be made right.
 * So would that of an IPv4 header be, of a packet that was changed on its way to our peer. */
static bool intact(struct offload_item *it)
{
	if (it->summed || !it->mergeable)
		return it->mergeable;
	/* The addresses of the pseudo-header stand right before the transport header: one run over both. */
	uint32_t length = it->len - it->l4, addresses = it->ip4 ? 8 : 32;
	uint32_t sum = checksum_sum(it->packet + it->l4 - addresses, length + addresses);
	it->summed = true;
	it->mergeable = checksum_fold(sum + length + it->protocol) == 0xffff &&
			(!it->ip4 || checksum_sum(it->packet, IP4_HEADER) == 0xffff);
	return it->mergeable;
}

void offload_make_sum(uint8_t *p, size_t len)
{
	bool ip4 = p[0] >> 4 == 4, tcp = p[ip4 ? 9 : 6] == PROTOCOL_TCP;
	size_t l4 = find_ports(p, len, ip4), least = l4 + (size_t)(tcp ? TCP_HEADER : UDP_HEADER);

	if (!l4 || least > len)
		return;
	uint8_t *field = p + l4 + (tcp ? VNET_TCP_OFFSET : VNET_UDP_OFFSET);
	store_be16(field, 0);
	store_checksum(field,
		       pseudo_sum(p, ip4, tcp ? PROTOCOL_TCP : PROTOCOL_UDP) + (uint32_t)(len - l4) +
			       checksum_sum(p + l4, len - l4),
		       tcp);
}

/* What is merged leaves its checksum to the kernel anyway. */
static void take_unsummed(struct offload_item *it)
{
	it->summed = it->unsummed = it->mergeable;
	if (!it->unsummed)
		offload_make_sum(it->packet, it->len);
}

/* --- Two packets */

static bool same_addresses(const struct offload_item *a, const struct offload_item *b)
{
	if (a->ip4 != b->ip4)
		return false;
	return a->ip4 ? !memcmp(a->packet + 12, b->packet + 12, 8)
		      : !memcmp(a->packet + 8, b->packet + 8, 32);
}

static bool same_flow(const struct offload_item *a, const struct offload_item *b)
{
	return a->protocol == b->protocol && !memcmp(a->packet + a->l4, b->packet + b->l4, PORTS) &&
	       same_addresses(a, b);
}

/* IDs count up by one, as they will when the frame is split. With DF they may also stay the same, as those
 * of systems do that send zero where the ID means nothing (RFC 6864 section 4.1): the second packet
 * decides. */
static bool id_follows(const struct offload_frame *f, const uint8_t *a, const uint8_t *b)
{
	uint16_t first = load_be16(a + 4), id = load_be16(b + 4);
	bool may_stay = load_be16(b + 6) & IP4_DF && (f->segments == 1 || f->same_id);

	if (may_stay && id == first)
		return true;
	return !f->same_id && id == (uint16_t)(first + f->segments);
}

/* TOS, flags, TTL, ID; traffic class, flow label, hop limit. */
static bool ip_follows(const struct offload_frame *f, const struct offload_item *it)
{
	const uint8_t *a = f->first.packet, *b = it->packet;

	if (!it->ip4)
		return !memcmp(a, b, 4) && a[7] == b[7];
	return a[1] == b[1] && a[8] == b[8] && !memcmp(a + 6, b + 6, 2) && id_follows(f, a, b);
}

static bool tcp_follows(const struct offload_frame *f, const struct offload_item *it)
{
	const uint8_t *a = f->first.packet + f->first.l4, *b = it->packet + it->l4;
	size_t options = it->headers - it->l4 - (size_t)TCP_HEADER;

	return load_be32(b + 4) == load_be32(a + 4) + f->segments * f->size &&
	       !memcmp(a + 8, b + 8, 4) &&		 /* acknowledged */
	       !memcmp(a + 14, b + 14, 2) &&		 /* window */
	       load_be16(a + 18) == load_be16(b + 18) && /* urgent pointer */
	       !memcmp(a + TCP_HEADER, b + TCP_HEADER, options);
}

/* Whether it can be the next segment of an open frame of its flow, checksums aside. */
static bool follows(const struct offload_frame *f, const struct offload_item *it)
{
	uint32_t data = it->len - it->headers;

	if (!it->mergeable || it->headers != f->first.headers || data > f->size ||
	    f->total + data > OFFLOAD_FRAME_MAX || !ip_follows(f, it))
		return false;
	return it->protocol == PROTOCOL_UDP || tcp_follows(f, it);
}

/* --- Frames */

static unsigned bucket_of(const struct offload_item *it)
{
	const uint8_t *p = it->packet;
	uint64_t key = load_le32(p + it->l4) + (uint64_t)it->protocol;

	if (it->ip4)
		key += load_le64(p + 12) * 3;
	else
		key += load_le64(p + 8) + load_le64(p + 16) * 3 + load_le64(p + 24) * 5 +
		       load_le64(p + 32) * 7;
	key = (key ^ key >> 32) * 0x9e3779b97f4a7c15; /* 2^64 / golden ratio */
	return (unsigned)(key >> 58);
}

/* The open frame of its flow, or NULL. */
static struct offload_frame *find(struct offload_merge *m, const struct offload_item *it, unsigned bucket)
{
	for (unsigned i = m->bucket[bucket]; i; i = m->frames[i - 1].older)
		if (m->frames[i - 1].open && same_flow(&m->frames[i - 1].first, it))
			return &m->frames[i - 1];
	return NULL;
}

static bool has_push(const struct offload_item *it)
{
	return it->protocol == PROTOCOL_TCP && it->packet[it->l4 + TCP_FLAGS] & TCP_PSH;
}

static void append(struct offload_frame *f, const struct offload_item *it)
{
	uint32_t data = it->len - it->headers;

	f->segments++;
	f->iov[f->segments] = (struct iovec) { it->packet + it->headers, data };
	f->total += data;
	f->push = has_push(it);
	f->same_id = it->ip4 && load_be16(it->packet + 4) == load_be16(f->first.packet + 4);
	f->open = data == f->size && !f->push && f->segments < OFFLOAD_SEGMENTS;
}

static struct offload_frame *create(struct offload_merge *m, const struct offload_item *it)
{
	if (m->count == OFFLOAD_FRAMES)
		return NULL;
	struct offload_frame *f = &m->frames[m->count++];
	f->first = *it;
	f->total = it->len;
	f->size = it->len - it->headers;
	f->segments = 1;
	f->iov[1] = (struct iovec) { it->packet, it->len };
	f->push = false;
	f->same_id = false;
	f->open = it->mergeable && !has_push(it);
	return f;
}

/* No room for it, or the frame is in its bucket if more may join it. */
static bool add_frame(struct offload_merge *m, const struct offload_item *it, unsigned bucket)
{
	struct offload_frame *f = create(m, it);

	if (f && f->open) {
		f->older = m->bucket[bucket];
		m->bucket[bucket] = (uint8_t)m->count;
	}
	return f != NULL;
}

/* It may belong to any flow between its addresses: none of them may go on in a frame that is written
 * before it. */
static bool add_unknown(struct offload_merge *m, const struct offload_item *it)
{
	for (unsigned i = 0; i < m->count; i++)
		if (m->frames[i].open && same_addresses(&m->frames[i].first, it))
			m->frames[i].open = false;
	return create(m, it) != NULL;
}

bool offload_merge_add(struct offload_merge *m, uint8_t *packet, size_t len, bool unsummed)
{
	struct offload_item it;

	inspect(&it, m, packet, len);
	if (unsummed)
		take_unsummed(&it);
	if (!it.protocol)
		return add_unknown(m, &it);
	unsigned bucket = bucket_of(&it);
	struct offload_frame *f = find(m, &it, bucket);
	if (f && follows(f, &it) && intact(&f->first) && intact(&it)) {
		append(f, &it);
		return true;
	}
	/* Order within a flow: nothing joins what stands before this one. */
	if (f)
		f->open = false;
	return add_frame(m, &it, bucket);
}

unsigned offload_merge_count(const struct offload_merge *m)
{
	return m->count;
}

/* --- Writing */

static void finish_ip(const struct offload_frame *f)
{
	uint8_t *p = f->first.packet;

	if (!f->first.ip4) {
		store_be16(p + 4, (uint16_t)(f->total - IP6_HEADER));
		return;
	}
	store_be16(p + 2, (uint16_t)f->total);
	store_be16(p + 10, 0);
	store_be16(p + 10, (uint16_t)~checksum_sum(p, IP4_HEADER));
}

/* The rest of the checksum is the kernel's, or its card's: the field is given the sum of the pseudo-
 * header. */
static void finish_l4(const struct offload_frame *f)
{
	const struct offload_item *it = &f->first;
	uint8_t *l4 = it->packet + it->l4;
	uint32_t length = f->total - it->l4;
	uint16_t seed = checksum_fold(pseudo_sum(it->packet, it->ip4, it->protocol) + length);

	if (it->protocol == PROTOCOL_UDP) {
		store_be16(l4 + 4, (uint16_t)length);
		store_be16(l4 + VNET_UDP_OFFSET, seed);
		return;
	}
	if (f->push)
		l4[TCP_FLAGS] |= TCP_PSH;
	store_be16(l4 + VNET_TCP_OFFSET, seed);
}

static struct vnet vnet_of(const struct offload_frame *f)
{
	const struct offload_item *it = &f->first;
	bool tcp = it->protocol == PROTOCOL_TCP;

	if (f->segments == 1)
		return (struct vnet) { 0 };
	return (struct vnet) {
		.flags = VNET_NEEDS_CSUM,
		.gso_type = !tcp      ? VNET_GSO_UDP
			    : it->ip4 ? VNET_GSO_TCP4
				      : VNET_GSO_TCP6,
		.hdr_len = it->headers,
		.gso_size = (uint16_t)f->size,
		.csum_start = it->l4,
		.csum_offset = tcp ? VNET_TCP_OFFSET : VNET_UDP_OFFSET,
	};
}

const struct iovec *offload_merge_frame(struct offload_merge *m, unsigned i, int *iov_count)
{
	struct offload_frame *f = &m->frames[i];
	struct vnet v = vnet_of(f);

	if (f->segments > 1) {
		finish_ip(f);
		finish_l4(f);
	} else if (f->first.unsummed) {
		offload_make_sum(f->first.packet, f->first.len);
	}
	vnet_store(f->vnet, &v);
	f->iov[0] = (struct iovec) { f->vnet, sizeof f->vnet };
	*iov_count = f->segments + 1;
	return f->iov;
}
