#include "relay/due.h"

void due_end(struct due_list *l, struct due *d)
{
	if (!d->at_ms)
		return;
	*(d->prev ? &d->prev->next : &l->first) = d->next;
	*(d->next ? &d->next->prev : &l->last) = d->prev;
	*d = (struct due) { 0 };
}

void due_arm(struct due_list *l, struct due *d, uint64_t now_ms)
{
	due_end(l, d);
	*d = (struct due) { .prev = l->last, .at_ms = now_ms + l->delay_ms };
	*(l->last ? &l->last->next : &l->first) = d;
	l->last = d;
}

struct due *due_take(struct due_list *l, uint64_t now_ms)
{
	struct due *d = l->first;

	if (!d || d->at_ms > now_ms)
		return NULL;
	due_end(l, d);
	return d;
}

uint64_t due_next(const struct due_list *l)
{
	return l->first ? l->first->at_ms : UINT64_MAX;
}
