#include "relay/frame_queue.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct frame {
	uint8_t *data;
	uint32_t len, flow;
};

struct frame_list {
	size_t count, bytes;
	struct frame items[FRAME_QUEUE_MESSAGES]; /* the oldest first */
};

static void give_back(struct frame_queue *q, struct frame_pool *pool)
{
	free(q->list);
	q->list = NULL;
	pool->users--;
}

/* Takes `count` messages from place `at` out of the list. */
static void take_out(struct frame_list *l, struct frame_pool *pool, size_t at, size_t count)
{
	for (size_t i = at; i < at + count; i++) {
		l->bytes -= l->items[i].len;
		pool->bytes -= l->items[i].len;
		free(l->items[i].data);
	}
	l->count -= count;
	memmove(&l->items[at], &l->items[at + count], (l->count - at) * sizeof l->items[0]);
}

static size_t bytes_of(const struct frame_list *l, uint32_t flow)
{
	size_t sum = 0;

	for (size_t i = 0; i < l->count; i++)
		sum += l->items[i].flow == flow ? l->items[i].len : 0;
	return sum;
}

/* The place of the oldest message of the flow that has most here. */
static size_t greediest(const struct frame_list *l)
{
	size_t place = 0, most = 0;

	for (size_t i = 0; i < l->count; i++) {
		size_t sum = bytes_of(l, l->items[i].flow);
		if (sum > most) {
			most = sum;
			place = i;
		}
	}
	return place;
}

/* Whoever holds little is not the reason why memory is short. */
static size_t share(const struct frame_pool *pool)
{
	size_t equal = pool->max / (pool->users ? pool->users : 1);

	return equal < FRAME_QUEUE_BYTES ? equal : FRAME_QUEUE_BYTES;
}

static void make_room(struct frame_list *l, struct frame_pool *pool, size_t len)
{
	size_t most = share(pool);

	while (l->count && (l->count == FRAME_QUEUE_MESSAGES || l->bytes + len > most)) {
		take_out(l, pool, greediest(l), 1);
		pool->dropped++;
	}
}

static bool append(struct frame_list *l, struct frame_pool *pool, uint32_t flow, const void *msg, size_t len)
{
	uint8_t *copy = pool->bytes + len <= pool->max ? malloc(len) : NULL;

	if (!copy)
		return false;
	memcpy(copy, msg, len);
	l->items[l->count++] = (struct frame) { copy, (uint32_t)len, flow };
	l->bytes += len;
	pool->bytes += len;
	return true;
}

void frame_queue_push(struct frame_queue *q, struct frame_pool *pool, uint32_t flow, const void *msg,
		      size_t len)
{
	if (!q->list && len <= FRAME_QUEUE_BYTES && (q->list = calloc(1, sizeof *q->list)))
		pool->users++;
	if (!q->list || len > FRAME_QUEUE_BYTES) {
		pool->dropped++;
		return;
	}
	make_room(q->list, pool, len);
	if (!append(q->list, pool, flow, msg, len))
		pool->dropped++;
	if (q->list->count == 0)
		give_back(q, pool);
}

size_t frame_queue_peek(const struct frame_queue *q, struct part out[static FRAME_QUEUE_MESSAGES],
			size_t most)
{
	size_t n = 0, sum = 0;

	for (; q->list && n < q->list->count; n++) {
		const struct frame *f = &q->list->items[n];
		sum += f->len;
		if (n && sum > most)
			break;
		out[n] = (struct part) { f->data, f->len };
	}
	return n;
}

void frame_queue_pop(struct frame_queue *q, struct frame_pool *pool, size_t count)
{
	if (!q->list)
		return;
	take_out(q->list, pool, 0, count);
	if (q->list->count == 0)
		give_back(q, pool);
}

void frame_queue_clear(struct frame_queue *q, struct frame_pool *pool)
{
	if (q->list)
		frame_queue_pop(q, pool, q->list->count);
}
