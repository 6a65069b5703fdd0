#include "relay/coord_out.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relay/proto/link.pb-c.h"

enum { QUEUE_FIRST_CAP = 16 };

/* Makes room for `extra` items besides the reserved closes. */
static int make_room(struct coord_queue *q, size_t extra)
{
	size_t want = q->count + q->closes + extra, cap = q->cap ? q->cap : QUEUE_FIRST_CAP;

	if (want <= q->cap)
		return 0;
	while (cap < want)
		cap *= 2;
	struct coord_out *items = malloc(cap * sizeof *items);
	if (!items)
		return -ENOMEM;
	assert(q->cap || !q->count);
	for (size_t i = 0; i < q->count; i++)
		items[i] = q->items[(q->head + i) & (q->cap - 1)];
	free(q->items);
	q->items = items;
	q->head = 0;
	q->cap = cap;
	return 0;
}

static void append(struct coord_queue *q, struct coord_out item)
{
	q->items[(q->head + q->count++) & (q->cap - 1)] = item;
}

/* msg is NULL when there is no memory. */
static struct coord_out encode(uint64_t conn, const struct Link__ToNode *msg)
{
	struct coord_out item = { .conn = conn, .len = link__to_node__get_packed_size(msg) };

	item.msg = malloc(item.len ? item.len : 1);
	if (item.msg)
		link__to_node__pack(msg, item.msg);
	return item;
}

int coord_queue_reserve(struct coord_queue *q)
{
	int rc = make_room(q, 1);

	if (rc == 0)
		q->closes++;
	return rc;
}

void coord_queue_end(struct coord_queue *q, uint64_t conn, bool closed)
{
	size_t kept = 0;

	q->closes -= !closed;
	for (size_t i = 0; i < q->count; i++) {
		struct coord_out item = q->items[(q->head + i) & (q->cap - 1)];
		if (item.conn == conn)
			free(item.msg);
		else
			q->items[(q->head + kept++) & (q->cap - 1)] = item;
	}
	q->count = kept;
}

int coord_queue_message(struct coord_queue *q, uint64_t conn, const struct Link__ToNode *msg)
{
	struct coord_out item;

	if (make_room(q, 1))
		return -ENOMEM;
	item = encode(conn, msg);
	if (!item.msg)
		return -ENOMEM;
	append(q, item);
	return 0;
}

void coord_queue_close(struct coord_queue *q, uint64_t conn, const struct Link__ToNode *last)
{
	struct coord_out item = { .conn = conn };

	if (last)
		item = encode(conn, last);
	if (!item.msg)
		item.len = 0;
	item.close = true;
	q->closes--;
	append(q, item);
}

bool coord_queue_next(struct coord_queue *q, struct coord_out *out)
{
	if (!q->count)
		return false;
	*out = q->items[q->head];
	q->head = (q->head + 1) & (q->cap - 1);
	q->count--;
	return true;
}

void coord_queue_free(struct coord_queue *q)
{
	struct coord_out out;

	while (coord_queue_next(q, &out))
		free(out.msg);
	free(q->items);
	*q = (struct coord_queue) { 0 };
}
