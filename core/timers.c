#include "core/timers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum { ROOM_FIRST = 16 };

int timers_reserve(struct timers *t, size_t count)
{
	size_t room = t->room ? t->room : ROOM_FIRST;
	struct timers_entry **more;

	while (room < count)
		room *= 2;
	if (room == t->room)
		return 0;
	more = realloc(t->heap, (room + 1) * sizeof(struct timers_entry *));
	if (!more)
		return -ENOMEM;
	t->heap = more;
	t->room = room;
	return 0;
}

void timers_free(struct timers *t)
{
	free(t->heap);
	*t = (struct timers) { 0 };
}

static bool earlier(const struct timers_entry *a, const struct timers_entry *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void put(struct timers *t, size_t place, struct timers_entry *entry)
{
	t->heap[place] = entry;
	entry->place = place;
}

/* Moves an entry from where it stands to where it belongs. */
static void settle(struct timers *t, struct timers_entry *entry)
{
	size_t at = entry->place, child;

	for (; at > 1 && earlier(entry, t->heap[at / 2]); at /= 2)
		put(t, at, t->heap[at / 2]);
	for (; (child = at * 2) <= t->count; at = child) {
		if (child < t->count && earlier(t->heap[child + 1], t->heap[child]))
			child++;
		if (!earlier(t->heap[child], entry))
			break;
		put(t, at, t->heap[child]);
	}
	put(t, at, entry);
}

void timers_set_ordered(struct timers *t, struct timers_entry *entry, uint64_t at_ms, uint64_t order)
{
	entry->at_ms = at_ms;
	entry->order = order;
	if (!entry->place)
		put(t, ++t->count, entry);
	settle(t, entry);
}

void timers_set(struct timers *t, struct timers_entry *entry, uint64_t at_ms)
{
	timers_set_ordered(t, entry, at_ms, ++t->last_order);
}

void timers_remove(struct timers *t, struct timers_entry *entry)
{
	size_t place = entry->place;

	if (!place)
		return;
	entry->place = 0;
	struct timers_entry *last = t->heap[t->count--];
	if (last == entry)
		return;
	put(t, place, last);
	settle(t, last);
}

struct timers_entry *timers_first(const struct timers *t)
{
	return t->count ? t->heap[1] : NULL;
}
