#include "relay/coord_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relay/coord_internal.h"

/* The least `cap` of all that are offered, sorted by a key of 32 bytes. */
struct page {
	const void *item[COORD_LIST_MAX];
	const uint8_t *key[COORD_LIST_MAX];
	size_t count, cap;
	const uint8_t *after; /* only those that come after it; may be NULL */
};

static size_t page_place(const struct page *p, const uint8_t *key)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (memcmp(p->key[middle], key, 32) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void page_offer(struct page *p, const uint8_t *key, const void *item)
{
	if (p->after && memcmp(key, p->after, 32) <= 0)
		return;
	size_t at = page_place(p, key);
	if (at == p->cap)
		return;
	size_t behind = p->count - at - (p->count == p->cap);
	memmove(&p->item[at + 1], &p->item[at], behind * sizeof *p->item);
	memmove(&p->key[at + 1], &p->key[at], behind * sizeof *p->key);
	p->item[at] = item;
	p->key[at] = key;
	p->count += p->count < p->cap;
}

static struct page page_make(const uint8_t *after, size_t cap)
{
	return (struct page) { .after = after, .cap = cap < COORD_LIST_MAX ? cap : COORD_LIST_MAX };
}

static struct coord_network network_view(const struct roster_network *n)
{
	struct coord_network view = { .online = n->online };

	memcpy(view.netid, n->netid, 32);
	for (const struct member *m = n->members; m; m = m->next)
		view.members++;
	return view;
}

static uint32_t rtt_view(const struct conn *k)
{
	size_t n = k->rtt_count < RTT_SAMPLES ? k->rtt_count : RTT_SAMPLES;
	uint32_t least = n ? COORD_RTT_MAX_MS : 0;

	for (size_t i = 0; i < n; i++)
		least = k->rtt_ms[i] < least ? k->rtt_ms[i] : least;
	return n && !least ? 1 : least;
}

static struct coord_node node_view(const struct member *m)
{
	struct coord_node view = { .online = m->link, .slot = m->slot };

	memcpy(view.netid, m->key.netid, 32);
	memcpy(view.ik, m->key.ik, 32);
	if (m->link)
		view.rtt_ms = rtt_view(m->link);
	if (m->record) {
		view.seq = m->seq;
		view.record_len = m->record_len;
	}
	return view;
}

size_t coord_list_networks(const struct coord *c, const uint8_t *after, struct coord_network *out, size_t cap)
{
	struct page page = page_make(after, cap);

	for (struct roster_network **n = NULL; (n = map_walk(&c->roster.networks, n));)
		page_offer(&page, (*n)->netid, *n);
	for (size_t i = 0; i < page.count; i++)
		out[i] = network_view(page.item[i]);
	return page.count;
}

int coord_find_network(const struct coord *c, const uint8_t netid[static 32], struct coord_network *out)
{
	struct roster_network **n = map_find(&c->roster.networks, netid);

	if (!n)
		return -ENOENT;
	*out = network_view(*n);
	return 0;
}

size_t coord_list_nodes(const struct coord *c, const uint8_t netid[static 32], const uint8_t *after,
			struct coord_node *out, size_t cap)
{
	struct roster_network **n = map_find(&c->roster.networks, netid);
	struct page page = page_make(after, cap);

	for (const struct member *m = n ? (*n)->members : NULL; m; m = m->next)
		page_offer(&page, m->key.ik, m);
	for (size_t i = 0; i < page.count; i++)
		out[i] = node_view(page.item[i]);
	return page.count;
}

size_t coord_find_node(const struct coord *c, const uint8_t ik[static 32], struct coord_node *out, size_t cap)
{
	struct page page = page_make(NULL, cap);

	for (struct member **m = NULL; (m = map_walk(&c->roster.members, m));)
		if (!memcmp((*m)->key.ik, ik, 32))
			page_offer(&page, (*m)->key.netid, *m);
	for (size_t i = 0; i < page.count; i++)
		out[i] = node_view(page.item[i]);
	return page.count;
}

int coord_owner_compare(const void *a, const void *b)
{
	uint32_t x = ((const struct coord_owner *)a)->slot, y = ((const struct coord_owner *)b)->slot;

	return (x > y) - (x < y);
}

void coord_find_owners(const struct coord *c, struct coord_owner *owners, size_t count)
{
	for (struct member **m = NULL; count && (m = map_walk(&c->roster.members, m));) {
		struct coord_owner key = { .slot = (*m)->slot };
		struct coord_owner *o =
			key.slot ? bsearch(&key, owners, count, sizeof key, coord_owner_compare) : NULL;
		if (!o)
			continue;
		o->known = true;
		memcpy(o->netid, (*m)->key.netid, 32);
		memcpy(o->ik, (*m)->key.ik, 32);
	}
}
