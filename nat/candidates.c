#include "nat/candidates.h"

enum { MAX_HOSTS = 8, HOST_RANKS = 3 };

bool candidates_has(const struct candidate_list *l, const struct addr *addr)
{
	for (size_t i = 0; i < l->count; i++) {
		if (addr_equal(&l->items[i].addr, addr))
			return true;
	}
	return false;
}

bool candidates_add(struct candidate_list *l, enum candidate_kind kind, const struct addr *addr)
{
	if (addr_is_unusable(addr) || candidates_has(l, addr) || l->count == RECORD_MAX_CANDIDATES)
		return false;
	l->items[l->count++] = (struct candidate) { .addr = *addr, .kind = (uint8_t)kind };
	return true;
}

static bool is_in_overlay(const struct addr *a, const struct addr *overlay, const unsigned *bits,
			  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (addr_in_prefix(a, &overlay[i], bits[i]))
			return true;
	}
	return false;
}

/* 0 is tried first: no NAT is in the way of global IPv6, and private IPv6 serves only the LAN. */
static unsigned host_rank(const struct addr *a)
{
	if (a->family == ADDR_V4)
		return 1;
	return addr_is_private(a) ? 2 : 0;
}

void candidates_add_hosts(struct candidate_list *l, const struct addr *addrs, size_t count, uint16_t port,
			  const struct addr *overlay, const unsigned *overlay_bits, size_t overlay_count)
{
	unsigned added = 0;

	for (unsigned rank = 0; rank < HOST_RANKS; rank++) {
		for (size_t i = 0; i < count && added < MAX_HOSTS; i++) {
			struct addr a = addrs[i];

			a.port = port;
			if (host_rank(&a) != rank || (a.family == ADDR_V4 && addr_is_link_local(&a)) ||
			    is_in_overlay(&a, overlay, overlay_bits, overlay_count))
				continue;
			added += candidates_add(l, CANDIDATE_HOST, &a);
		}
	}
}

bool candidates_equal(const struct candidate_list *a, const struct candidate_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (a->items[i].kind != b->items[i].kind || !addr_equal(&a->items[i].addr, &b->items[i].addr))
			return false;
	}
	return true;
}
