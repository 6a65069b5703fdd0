#include "apps/natcheck/mtu.h"

/* Sizes of IP packets: Ethernet, PPPoE, tunnels one in another, and IPv6's least (RFC 8200 section 5). */
static const uint16_t sizes[MTU_SIZES] = { 1500, 1492, 1480, 1460, 1420, 1400, 1360, 1280 };

enum {
	HEADERS_V4 = 28,
	HEADERS_V6 = 48,
	TRIES = 3,
	STUN_FRAGMENTED = STUN_PADDED_MAX, /* more than any of the sizes, once it has headers */
};

/* Where the queries are. */
enum { UP = 0, BOTH = MTU_SIZES, FRAGMENTS_UP = 2 * MTU_SIZES, FRAGMENTS_BOTH };

static unsigned headers(const struct mtu *m)
{
	return m->config.server.family == ADDR_V4 ? HEADERS_V4 : HEADERS_V6;
}

/* How much PADDING makes a request `size` bytes long. */
static uint16_t padding_for(size_t size)
{
	return (uint16_t)(size - STUN_HEADER - 4);
}

static void start(struct mtu *m, unsigned index, unsigned socket, size_t size, struct rng *rng,
		  uint64_t now_ms)
{
	bool answer_in_kind = (index >= BOTH && index < FRAGMENTS_UP) || index == FRAGMENTS_BOTH;
	struct query_plan plan = {
		.to = m->config.server,
		.from = socket,
		.listen = socket,
		.request = { .cls = STUN_REQUEST, .method = STUN_BINDING },
		.rto_ms = m->config.rto_ms,
		.tries = TRIES,
	};

	rng_fill(rng, plan.request.txid, sizeof plan.request.txid);
	if (answer_in_kind)
		plan.request.padding = padding_for(size);
	else
		plan.size = size;
	query_start(&m->queries[index], &plan, now_ms);
}

static void start_size(struct mtu *m, unsigned i, unsigned base, struct rng *rng, uint64_t now_ms)
{
	start(m, base + i, m->config.whole, sizes[i] - headers(m), rng, now_ms);
}

void mtu_start(struct mtu *m, const struct mtu_config *config, struct rng *rng, uint64_t now_ms)
{
	*m = (struct mtu) { .config = *config };
	start_size(m, 0, UP, rng, now_ms);
	start_size(m, 0, BOTH, rng, now_ms);
	start(m, FRAGMENTS_UP, config->fragments, STUN_FRAGMENTED, rng, now_ms);
	start(m, FRAGMENTS_BOTH, config->fragments, STUN_FRAGMENTED, rng, now_ms);
}

static bool passed(const struct query *q)
{
	return q->state == QUERY_ANSWERED;
}

void mtu_go_on(struct mtu *m, struct rng *rng, uint64_t now_ms)
{
	const struct query *up = &m->queries[UP], *both = &m->queries[BOTH];

	if (m->smaller || up->state == QUERY_IDLE || !query_is_over(up) || !query_is_over(both) ||
	    passed(both))
		return;
	m->smaller = true;
	for (unsigned i = 1; i < MTU_SIZES; i++) {
		if (!passed(up))
			start_size(m, i, UP, rng, now_ms);
		start_size(m, i, BOTH, rng, now_ms);
	}
}

/* A server that does not know PADDING answers as to any other request. */
static bool is_padded(const struct query *q)
{
	return passed(q) && q->len > STUN_MAX;
}

static unsigned size_down(const struct mtu *m, const struct query *q)
{
	return q->fragment ? q->fragment : (unsigned)q->len + headers(m);
}

static enum discover_answer fragments_answer(const struct query *q, bool yes, bool reached)
{
	if (yes)
		return DISCOVER_YES;
	return q->state == QUERY_SILENT && reached ? DISCOVER_NO : DISCOVER_UNKNOWN;
}

struct mtu_result mtu_result(const struct mtu *m)
{
	const struct query *fragments = &m->queries[FRAGMENTS_BOTH];
	struct mtu_result r = { 0 };
	bool pads = is_padded(fragments), reached;

	for (unsigned i = 0; i < MTU_SIZES; i++) {
		const struct query *up = &m->queries[UP + i], *both = &m->queries[BOTH + i];
		unsigned down = is_padded(both) ? size_down(m, both) : 0;
		if ((passed(up) || passed(both)) && sizes[i] > r.up)
			r.up = sizes[i];
		r.down = down > r.down ? down : r.down;
		pads |= down > 0;
	}
	reached = r.up > 0;
	r.fragments_up = fragments_answer(&m->queries[FRAGMENTS_UP], passed(&m->queries[FRAGMENTS_UP]),
					  reached);
	/* Only a server that pads, and a request that came through, tell of fragments on the way back. */
	r.fragments_down = fragments_answer(fragments, is_padded(fragments),
					    pads && r.fragments_up == DISCOVER_YES);
	return r;
}
