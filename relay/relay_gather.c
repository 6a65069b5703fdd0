#include "relay/relay_gather.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "relay/relay_wire.h"

/* Where to look for the last train of a session. Two that share a place begin a new train at each turn, no more. */
enum { PLACES = 8192, NONE = RELAY_GATHER_DATAGRAMS };

struct datagram {
	uint32_t at; /* in `bytes` */
	uint16_t len;
	uint16_t next; /* of its train; NONE */
};

struct train {
	struct relay_route route;
	uint8_t header[RELAY_HEADER];
	uint16_t first, last, count, stride;
	uint32_t len;
	bool ended; /* by a datagram that is shorter than those before */
};

struct relay_gather {
	unsigned datagrams, trains;
	unsigned taken;		/* trains */
	size_t in, out;		/* bytes */
	uint16_t place[PLACES]; /* a train; right only if that one says so */
	struct datagram datagram[RELAY_GATHER_DATAGRAMS];
	struct train train[RELAY_GATHER_DATAGRAMS];
	uint8_t bytes[RELAY_GATHER_BYTES], lined_up[RELAY_GATHER_BYTES];
};

struct relay_gather *relay_gather_create(void)
{
	return calloc(1, sizeof(struct relay_gather));
}

void relay_gather_destroy(struct relay_gather *g)
{
	free(g);
}

bool relay_gather_is_empty(const struct relay_gather *g)
{
	return g->datagrams == 0;
}

/* Sessions have numbers one after the other (relay_pool.h); each has a place for each of its ends. */
static unsigned place_of(const uint8_t *msg, const struct relay_route *route)
{
	return (load_le32(msg + 4) * 2 + route->second) % PLACES;
}

bool relay_gather_may_hold(const struct relay_gather *g, const uint8_t *msg, const struct relay_route *route)
{
	return g->place[place_of(msg, route)] < g->trains;
}

static bool may_join(const struct train *t, const uint8_t *msg, size_t len, const struct relay_route *route)
{
	return !t->ended && len <= t->stride && t->count < RELAY_GATHER_TRAIN &&
	       t->len + len <= RELAY_GATHER_TRAIN_BYTES && memcmp(t->header, msg, RELAY_HEADER) == 0 &&
	       addr_equal(&t->route.node, &route->node) && addr_equal(&t->route.hub, &route->hub);
}

static struct train *begin_train(struct relay_gather *g, const uint8_t *msg, size_t len,
				 const struct relay_route *route)
{
	struct train *t = &g->train[g->trains++];

	*t = (struct train) { .route = *route, .first = NONE, .stride = (uint16_t)len };
	memcpy(t->header, msg, RELAY_HEADER);
	return t;
}

static struct train *train_for(struct relay_gather *g, const uint8_t *msg, size_t len,
			       const struct relay_route *route)
{
	uint16_t *place = &g->place[place_of(msg, route)];

	if (*place < g->trains && may_join(&g->train[*place], msg, len, route))
		return &g->train[*place];
	*place = (uint16_t)g->trains;
	return begin_train(g, msg, len, route);
}

bool relay_gather_add(struct relay_gather *g, const uint8_t *msg, size_t len, const struct relay_route *route)
{
	if (g->datagrams == RELAY_GATHER_DATAGRAMS || len > RELAY_GATHER_BYTES - g->in || g->taken ||
	    len > UINT16_MAX)
		return false;
	struct train *t = train_for(g, msg, len, route);
	uint16_t i = (uint16_t)g->datagrams++;
	g->datagram[i] = (struct datagram) { (uint32_t)g->in, (uint16_t)len, NONE };
	memcpy(g->bytes + g->in, msg, len);
	g->in += len;
	if (t->count++)
		g->datagram[t->last].next = i;
	else
		t->first = i;
	t->last = i;
	t->len += (uint32_t)len;
	t->ended = len < t->stride;
	return true;
}

/* The datagrams of a train one behind the other, `to` is room for them. */
static void line_up(const struct relay_gather *g, const struct train *t, uint8_t *to)
{
	for (unsigned i = t->first; i != NONE; i = g->datagram[i].next) {
		memcpy(to, g->bytes + g->datagram[i].at, g->datagram[i].len);
		to += g->datagram[i].len;
	}
}

bool relay_gather_next(struct relay_gather *g, struct relay_train *out)
{
	if (g->taken == g->trains) {
		g->datagrams = g->trains = g->taken = 0;
		g->in = g->out = 0;
		return false;
	}
	const struct train *t = &g->train[g->taken++];
	*out = (struct relay_train) {
		.data = g->lined_up + g->out, .len = t->len, .stride = t->stride, .route = t->route
	};
	line_up(g, t, out->data);
	g->out += t->len;
	return true;
}
