#include "core/pkt.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Mapped, not allocated: pages that no packet has used yet take no memory. */
int pkt_pool_init(struct pkt_pool *pool, size_t count)
{
	void *all = mmap(NULL, count * sizeof(struct pkt), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED)
		return -ENOMEM;
	*pool = (struct pkt_pool) { .all = all, .count = count };
	return 0;
}

void pkt_pool_free(struct pkt_pool *pool)
{
	if (pool->all)
		munmap(pool->all, pool->count * sizeof(struct pkt));
	*pool = (struct pkt_pool) { 0 };
}

struct pkt *pkt_get(struct pkt_pool *pool)
{
	struct pkt *p = pool->free;

	if (p)
		pool->free = p->next;
	else if (pool->fresh < pool->count)
		p = &pool->all[pool->fresh++];
	else
		return NULL;
	pool->in_use++;
	p->next = NULL;
	p->addr = (struct addr) { 0 };
	p->local = (struct addr) { 0 };
	p->ttl = 0;
	p->dont_fragment = false;
	p->socket = 0;
	p->off = PKT_HEADROOM;
	p->len = 0;
	return p;
}

void pkt_put(struct pkt_pool *pool, struct pkt *p)
{
	if (!p)
		return;
	p->next = pool->free;
	pool->free = p;
	pool->in_use--;
}

void pkt_list_push(struct pkt_list *list, struct pkt *p)
{
	p->next = NULL;
	if (!list->head)
		list->tail = &list->head;
	*list->tail = p;
	list->tail = &p->next;
	list->count++;
}

struct pkt *pkt_list_pop(struct pkt_list *list)
{
	struct pkt *p = list->head;

	if (!p)
		return NULL;
	list->head = p->next;
	list->count--;
	p->next = NULL;
	return p;
}

void pkt_list_clear(struct pkt_list *list, struct pkt_pool *pool)
{
	struct pkt *p;

	while ((p = pkt_list_pop(list)))
		pkt_put(pool, p);
}
