#include "apps/p2pd/forward/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

enum {
	PROTOCOL_ICMP = 1,
	PROTOCOL_FRAGMENT = 44, /* RFC 8200 section 4.5 */
	PROTOCOL_ICMP6 = 58,
	IP4_HEADER = 20,
	IP6_HEADER = 40,
	FRAGMENT_HEADER = 8,
	ICMP_HEADER = 8,
	L4_MIN = 8, /* UDP's header; of TCP's the ports and the sequence number, which ICMP errors quote */
	TCP_FIRST = 16,	 /* RFC 1858 section 3.2.1: of TCP's header in a first fragment, and */
	TCP_OVERLAP = 8, /* section 3.2.2: what begins here would overwrite its flags */
};

/* Ports first to end - 1. Sorted; those of one owner's side, or of one peer at a gateway, do not overlap. */
struct range {
	uint8_t side, proto;
	uint8_t peer[32];
	uint32_t first, end;
};

/* A datagram whose first fragment passed. */
struct fragment {
	uint32_t id;
	uint8_t family, proto; /* ADDR_NONE: free */
	bool out;
	uint8_t src[16], dst[16];
	uint8_t peer[32];
};

struct pass {
	struct range *ranges;
	size_t count, gateway_from; /* those of the owner's side come first */
	const struct range
		*last; /* found; NULL: none yet. Packets of a stream ask the same, one after the other. */
	struct fragment fragments[PASS_FRAGMENTS];
	unsigned next_fragment;
};

/* What a packet is a part of. For an ICMP error that is what it quotes, the other way round: the error goes to where that
 * came from. */
struct flow {
	uint8_t proto;
	uint16_t src, dst;
	bool quoted_ours;     /* no error, or one about what went to its own source */
	bool fragment, first; /* of several; of them the one with the ports */
	uint32_t id;
};

struct pass *pass_create(void)
{
	return calloc(1, sizeof(struct pass));
}

void pass_destroy(struct pass *p)
{
	if (p)
		free(p->ranges);
	free(p);
}

/* --- What passes */

static int compare_group(const struct range *a, const struct range *b)
{
	if (a->side != b->side)
		return a->side == FORWARD_OWNER ? -1 : 1;
	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	return a->side == FORWARD_GATEWAY ? memcmp(a->peer, b->peer, sizeof a->peer) : 0;
}

static int compare(const void *left, const void *right)
{
	const struct range *a = left, *b = right;
	int order = compare_group(a, b);

	if (order)
		return order;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* Sorted ranges: what touches becomes one. The new count, or -EEXIST. */
static int join(struct range *list, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct range *last = kept ? &list[kept - 1] : NULL;
		bool same_peer = last && !memcmp(last->peer, list[i].peer, sizeof last->peer);
		if (!last || compare_group(last, &list[i]) || list[i].first > last->end ||
		    (list[i].first == last->end && !same_peer))
			list[kept++] = list[i];
		else if (!same_peer)
			return -EEXIST;
		else if (list[i].end > last->end)
			last->end = list[i].end;
	}
	return (int)kept;
}

static int read_entry(struct range *r, const struct pass_entry *e)
{
	*r = (struct range) {
		.side = (uint8_t)e->side, .proto = (uint8_t)e->proto, .first = e->first, .end = e->first
	};
	r->end += e->count;
	memcpy(r->peer, e->peer, sizeof r->peer);
	return r->first && r->end > r->first && r->end <= 65536 ? 0 : -EINVAL;
}

int pass_set(struct pass *p, const struct pass_entry *entries, size_t count)
{
	struct range *list;
	int kept = 0;

	if (count > PASS_MAX)
		return -ENOSPC;
	list = calloc(count ? count : 1, sizeof *list);
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count && !kept; i++)
		kept = read_entry(&list[i], &entries[i]);
	if (!kept) {
		qsort(list, count, sizeof *list, compare);
		kept = join(list, count);
	}
	if (kept < 0) {
		free(list);
		return kept;
	}
	free(p->ranges);
	*p = (struct pass) { .ranges = list, .count = (size_t)kept };
	while (p->gateway_from < p->count && list[p->gateway_from].side == FORWARD_OWNER)
		p->gateway_from++;
	return 0;
}

static bool has(const struct range *r, const struct range *key)
{
	return key->first >= r->first && key->first < r->end && !compare_group(r, key);
}

/* The last one that begins at the port or before, among those that sort like `key`; then the port may be in it. */
static const struct range *search(const struct pass *p, const struct range *key)
{
	size_t low = key->side == FORWARD_OWNER ? 0 : p->gateway_from;
	size_t high = key->side == FORWARD_OWNER ? p->gateway_from : p->count;
	const struct range *r;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare(&p->ranges[middle], key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	r = low ? &p->ranges[low - 1] : NULL;
	return r && has(r, key) ? r : NULL;
}

static const struct range *find(struct pass *p, const struct range *key)
{
	const struct range *r;

	if (p->last && has(p->last, key))
		return p->last;
	r = search(p, key);
	if (r)
		p->last = r;
	return r;
}

/* --- What a packet is */

static void read_ports(struct flow *f, const uint8_t *l4)
{
	f->src = load_be16(l4);
	f->dst = load_be16(l4 + 2);
}

static bool has_ports(uint8_t proto)
{
	return proto == FORWARD_TCP || proto == FORWARD_UDP;
}

/* Fills proto, and what a fragment is; *at is where the next header begins. Extension headers pass for nothing. */
static bool read_ip4(struct flow *f, const uint8_t *packet, size_t *at, size_t *offset)
{
	uint16_t fragment = load_be16(packet + 6);

	*at = (size_t)(packet[0] & 15) * 4;
	*offset = (size_t)(fragment & 0x1fff) * 8;
	f->proto = packet[9];
	f->id = load_be16(packet + 4);
	f->fragment = fragment & 0x3fff;
	return *at >= IP4_HEADER;
}

static bool read_ip6(struct flow *f, const uint8_t *packet, size_t len, size_t *at, size_t *offset)
{
	*at = IP6_HEADER;
	*offset = 0;
	f->proto = packet[6];
	if (f->proto != PROTOCOL_FRAGMENT)
		return true;
	if (len < IP6_HEADER + FRAGMENT_HEADER)
		return false;
	f->proto = packet[IP6_HEADER];
	f->id = load_be32(packet + IP6_HEADER + 4);
	f->fragment = true;
	*offset = load_be16(packet + IP6_HEADER + 2) & 0xfff8;
	*at += FRAGMENT_HEADER;
	return true;
}

/* At `quote` is what an error says of a packet from where the error goes to. */
static bool read_quote(struct flow *f, const struct ip_view *ip, const uint8_t *quote, size_t len)
{
	bool v4 = ip->family == ADDR_V4;
	size_t size = v4 ? 4 : 16, at, offset;
	const uint8_t *src = quote + (v4 ? 12 : 8), *dst = src + size;
	struct flow inner = { 0 };

	if (len < (v4 ? IP4_HEADER : IP6_HEADER) || quote[0] >> 4 != (v4 ? 4 : 6))
		return false;
	if (!(v4 ? read_ip4(&inner, quote, &at, &offset) : read_ip6(&inner, quote, len, &at, &offset)))
		return false;
	if (!has_ports(inner.proto) || offset || len < at + L4_MIN || memcmp(src, ip->dst, size) != 0)
		return false;
	read_ports(&inner, quote + at);
	*f = (struct flow) { .proto = inner.proto, .src = inner.dst, .dst = inner.src };
	f->quoted_ours = memcmp(dst, ip->src, size) == 0;
	return true;
}

/* Destination unreachable, time exceeded, parameter problem (RFC 792); of RFC 4443 packet too big, too. No redirects. */
static bool is_error(const struct flow *f, enum addr_family family, uint8_t type)
{
	if (family == ADDR_V4)
		return f->proto == PROTOCOL_ICMP && (type == 3 || type == 11 || type == 12);
	return f->proto == PROTOCOL_ICMP6 && type >= 1 && type <= 4;
}

/* False for what never passes. */
static bool read_flow(struct flow *f, const struct ip_view *ip, const uint8_t *packet)
{
	size_t at, offset, need;

	*f = (struct flow) { 0 };
	if (!(ip->family == ADDR_V4 ? read_ip4(f, packet, &at, &offset)
				    : read_ip6(f, packet, ip->total, &at, &offset)))
		return false;
	if (at + L4_MIN <= ip->total && !f->fragment && is_error(f, ip->family, packet[at]))
		return read_quote(f, ip, packet + at + ICMP_HEADER, ip->total - at - ICMP_HEADER);
	if (!has_ports(f->proto))
		return false;
	f->quoted_ours = true;
	f->first = !offset;
	if (offset)
		return f->proto != FORWARD_TCP || offset != TCP_OVERLAP;
	need = f->fragment && f->proto == FORWARD_TCP ? (size_t)TCP_FIRST : (size_t)L4_MIN;
	if (at + need > ip->total)
		return false;
	read_ports(f, packet + at);
	return true;
}

/* --- Fragments */

static void key_of(struct fragment *key, const struct flow *f, const struct ip_view *ip)
{
	size_t size = ip->family == ADDR_V4 ? 4 : 16;

	*key = (struct fragment) { .id = f->id, .family = (uint8_t)ip->family, .proto = f->proto };
	memcpy(key->src, ip->src, size);
	memcpy(key->dst, ip->dst, size);
}

static bool same_datagram(const struct fragment *a, const struct fragment *b)
{
	return a->id == b->id && a->family == b->family && a->proto == b->proto && a->out == b->out &&
	       !memcmp(a->src, b->src, sizeof a->src) && !memcmp(a->dst, b->dst, sizeof a->dst);
}

static void keep(struct pass *p, const struct fragment *key, const uint8_t *peer)
{
	struct fragment *f = &p->fragments[p->next_fragment++ % PASS_FRAGMENTS];

	*f = *key;
	memcpy(f->peer, peer, sizeof f->peer);
}

/* Of the datagrams that passed last, `peer`'s or, NULL, anybody's. */
static const struct fragment *recall(const struct pass *p, const struct fragment *key, const uint8_t *peer)
{
	for (unsigned i = 1; i <= PASS_FRAGMENTS; i++) {
		const struct fragment *f = &p->fragments[(p->next_fragment - i) % PASS_FRAGMENTS];
		if (same_datagram(f, key) && (!peer || !memcmp(f->peer, peer, sizeof f->peer)))
			return f;
	}
	return NULL;
}

/* --- The questions */

static bool is_to(const struct ip_view *ip, const struct addr *own4, const struct addr *own6)
{
	const struct addr *own = ip->family == ADDR_V4 ? own4 : own6;

	return own->family == ip->family && ip_same(ip->family, own->ip, ip->dst);
}

bool pass_in(struct pass *p, const uint8_t peer[static 32], const struct ip_view *ip, const uint8_t *packet,
	     const struct addr *own4, const struct addr *own6)
{
	bool owner = is_to(ip, own4, own6);
	struct range key = { .side = owner ? FORWARD_OWNER : FORWARD_GATEWAY };
	struct fragment fragment;
	const struct range *r;
	struct flow f;

	if (!p->count || !read_flow(&f, ip, packet) || (!owner && !f.quoted_ours))
		return false;
	if (f.fragment)
		key_of(&fragment, &f, ip);
	if (f.fragment && !f.first)
		return recall(p, &fragment, peer);
	key.proto = f.proto;
	key.first = owner ? f.dst : f.src;
	memcpy(key.peer, peer, sizeof key.peer);
	r = find(p, &key);
	if (!r || memcmp(r->peer, peer, sizeof r->peer) != 0)
		return false;
	if (f.fragment)
		keep(p, &fragment, peer);
	return true;
}

const uint8_t *pass_out(struct pass *p, const struct ip_view *ip, const uint8_t *packet)
{
	struct range key = { .side = FORWARD_OWNER };
	struct fragment fragment;
	const struct range *r;
	struct flow f;

	if (!p->gateway_from || !read_flow(&f, ip, packet) || !f.quoted_ours)
		return NULL;
	if (f.fragment)
		key_of(&fragment, &f, ip);
	fragment.out = true;
	if (f.fragment && !f.first) {
		const struct fragment *known = recall(p, &fragment, NULL);
		return known ? known->peer : NULL;
	}
	key.proto = f.proto;
	key.first = f.src;
	r = find(p, &key);
	if (r && f.fragment)
		keep(p, &fragment, r->peer);
	return r ? r->peer : NULL;
}
