/* Timers: the start, each probe's turn within the budget's rate, the repeats and refreshes of one-port plans, the end. */
#include "nat/birthday.h"

#include "core/bytes.h"

enum {
	FIRST_REPEAT_MS = 200, /* then twice as long each time: 200, 600, 1400 ms after the first */
	MAX_REPEATS = 6,
	AHEAD_PER_BACK = 3,
};

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* The order is affine modulo the range. A NAT that draws its ports does not know ours, so that every order without
 * repeats finds it equally soon; this one needs no memory, and its multiplier, from the middle half of the range, keeps
 * ports tried one after the other far apart. */
static void shuffle(struct birthday *b)
{
	uint32_t range = b->range;

	b->offset = (uint32_t)(b->plan.seed >> 32) % range;
	b->multiplier = range / 4 + (uint32_t)b->plan.seed % (range / 2 + 1);
	while (gcd(b->multiplier, range) != 1)
		b->multiplier = b->multiplier % range + 1;
}

/* The same, with the step for a multiplier, from the base on. */
static void line_up(struct birthday *b)
{
	uint32_t range = b->range;
	int step = (b->plan.step ? b->plan.step : 1) % (int)range;

	b->multiplier = (uint32_t)(step < 0 ? step + (int)range : step);
	b->offset = (uint32_t)(b->plan.to.port - b->plan.lo);
	range /= gcd(b->multiplier, range);
	if (b->plan.ports > range)
		b->plan.ports = range;
}

static void limit_range(struct birthday_plan *plan)
{
	bool outside = plan->order == BIRTHDAY_OUTWARD &&
		       (plan->to.port < plan->lo || plan->to.port > plan->hi);

	if (plan->hi < BUDGET_MIN_PORT || outside) {
		plan->lo = 0;
		plan->hi = UINT16_MAX;
	}
	if (plan->lo < BUDGET_MIN_PORT)
		plan->lo = BUDGET_MIN_PORT;
	if (plan->lo > plan->hi)
		plan->lo = plan->hi;
	/* A base that no probe may go to: the sequence is about to begin again. */
	if (plan->order == BIRTHDAY_OUTWARD && plan->to.port < plan->lo)
		plan->to.port = plan->lo;
}

/* For plans of many ports. What becomes of one is a plan of one port. */
static void put_in_order(struct birthday *b)
{
	struct birthday_plan *plan = &b->plan;

	limit_range(plan);
	b->range = (uint32_t)(plan->hi - plan->lo) + 1;
	if (plan->ports > b->range)
		plan->ports = b->range;
	if (b->range == 1)
		plan->to.port = plan->lo;
	if (plan->order == BIRTHDAY_SHUFFLED)
		shuffle(b);
	else
		line_up(b);
}

static bool plan_is_usable(const struct birthday_plan *plan)
{
	struct addr to = plan->to;

	if (plan->ports > 1)
		to.port = plan->lo;
	return plan->sockets && plan->ports && !addr_is_unusable(&to);
}

void birthday_start(struct birthday *b, const struct birthday_plan *plan, struct rng *rng, uint64_t now_ms)
{
	*b = (struct birthday) { .state = BIRTHDAY_RUNNING, .plan = *plan };
	rng_fill(rng, b->key, sizeof(b->key));
	if (b->plan.sockets > BIRTHDAY_SOCKETS)
		b->plan.sockets = BIRTHDAY_SOCKETS;
	if (b->plan.repeats > MAX_REPEATS)
		b->plan.repeats = MAX_REPEATS;
	if (b->plan.ports > 1)
		put_in_order(b);
	b->first_ms = b->last_ms = plan->start_ms > now_ms ? plan->start_ms : now_ms;
	if (!plan_is_usable(&b->plan))
		b->state = BIRTHDAY_FAILED;
}

/* Steps from the base of an outward order's i-th port. */
static int outward(uint32_t i)
{
	uint32_t block = AHEAD_PER_BACK + 1;

	if (i == 0)
		return 0;
	uint32_t turn = (i - 1) / block, place = (i - 1) % block;
	return place == AHEAD_PER_BACK ? -(int)(turn + 1) : (int)(turn * AHEAD_PER_BACK + place + 1);
}

static uint16_t port_of(const struct birthday *b, unsigned socket, unsigned i)
{
	const struct birthday_plan *plan = &b->plan;
	uint64_t at;

	if (plan->order == BIRTHDAY_SHUFFLED) {
		at = ((uint64_t)plan->skip + (uint64_t)socket * plan->ports + i) % b->range;
	} else {
		int steps = outward(i);
		at = (uint64_t)((int64_t)b->range * UINT16_MAX + steps) % b->range;
	}
	return (uint16_t)(plan->lo + (at * b->multiplier + b->offset) % b->range);
}

static void make_txid(const struct birthday *b, unsigned socket, const struct addr *to,
		      uint8_t txid[static PROBE_TXID])
{
	uint8_t in[4 + ADDR_WIRE_LEN], hash[16];
	struct writer w = writer_over(in, sizeof(in));

	write_le32(&w, socket);
	addr_write(&w, to);
	crypto_blake2s(hash, sizeof(hash), b->key, sizeof(b->key), &(struct part) { in, w.len }, 1);
	memcpy(txid, hash, PROBE_TXID);
}

/* When a socket of a one-port plan is to send next; UINT64_MAX: never again. */
static uint64_t socket_due(const struct birthday *b, unsigned socket)
{
	unsigned sent = b->socket_sent[socket];
	uint64_t last_ms = b->first_ms + b->socket_ms[socket];

	if (sent == 0)
		return b->first_ms;
	if (sent <= b->plan.repeats)
		return last_ms + ((uint64_t)FIRST_REPEAT_MS << (sent - 1));
	return b->plan.end_ms ? last_ms + BIRTHDAY_REFRESH_MS : UINT64_MAX;
}

static unsigned next_socket(const struct birthday *b)
{
	unsigned best = 0;

	for (unsigned i = 1; i < b->plan.sockets; i++)
		if (socket_due(b, i) < socket_due(b, best))
			best = i;
	return best;
}

/* When the next probe is due, the budget left out; UINT64_MAX: none. */
static uint64_t next_due(const struct birthday *b)
{
	if (b->plan.ports == 1)
		return socket_due(b, next_socket(b));
	return b->sent < b->plan.sockets * b->plan.ports ? b->first_ms : UINT64_MAX;
}

static uint64_t end_of_round(const struct birthday *b)
{
	if (b->plan.end_ms)
		return b->plan.end_ms;
	return b->last_ms + BIRTHDAY_PATIENCE_MS + 2 * (uint64_t)b->plan.one_way_ms;
}

static bool take_one_port(struct birthday *b, struct budget *budget, uint64_t now_ms,
			  struct birthday_probe *out)
{
	unsigned socket = next_socket(b);
	uint64_t last_ms = b->first_ms + b->socket_ms[socket];

	if (!(b->socket_sent[socket] ? budget_again_many(budget, last_ms, now_ms)
				     : budget_take_many(budget, b->plan.to.port, now_ms)))
		return false;
	b->socket_ms[socket] = (uint32_t)(now_ms - b->first_ms);
	if (b->socket_sent[socket] <= MAX_REPEATS)
		b->socket_sent[socket]++;
	*out = (struct birthday_probe) { .socket = socket, .to = b->plan.to };
	if (b->socket_sent[socket] == 1)
		out->ttl = b->plan.opener_ttl;
	return true;
}

static bool take_many_ports(struct birthday *b, struct budget *budget, uint64_t now_ms,
			    struct birthday_probe *out)
{
	unsigned socket = b->sent % b->plan.sockets;
	uint16_t port = port_of(b, socket, b->sent / b->plan.sockets);

	if (!budget_take_many(budget, port, now_ms))
		return false;
	*out = (struct birthday_probe) { .socket = socket, .to = b->plan.to };
	out->to.port = port;
	return true;
}

static bool take(struct birthday *b, struct budget *budget, uint64_t now_ms, struct birthday_probe *out)
{
	return b->plan.ports == 1 ? take_one_port(b, budget, now_ms, out)
				  : take_many_ports(b, budget, now_ms, out);
}

bool birthday_next(struct birthday *b, struct budget *budget, uint64_t now_ms, struct birthday_probe *out)
{
	if (b->state != BIRTHDAY_RUNNING)
		return false;
	bool over = b->plan.end_ms && now_ms >= b->plan.end_ms;
	if (!over && next_due(b) <= now_ms && take(b, budget, now_ms, out)) {
		make_txid(b, out->socket, &out->to, out->txid);
		b->sent++;
		b->last_ms = now_ms;
		return true;
	}
	if (now_ms >= end_of_round(b))
		b->state = BIRTHDAY_FAILED;
	return false;
}

bool birthday_on_pong(struct birthday *b, struct budget *budget, unsigned socket, const struct addr *from,
		      const uint8_t txid[static PROBE_TXID], uint64_t now_ms)
{
	uint8_t expected[PROBE_TXID];

	if (b->state == BIRTHDAY_IDLE || socket >= b->plan.sockets)
		return false;
	make_txid(b, socket, from, expected);
	if (!crypto_equal(txid, expected, PROBE_TXID))
		return false;
	/* With many ports the time of each probe is not kept. The first's frees a tuple too late, never too early. */
	budget_answered(budget, b->first_ms + (b->plan.ports == 1 ? b->socket_ms[socket] : 0), now_ms);
	if (b->state != BIRTHDAY_HIT) {
		b->state = BIRTHDAY_HIT;
		b->hit_socket = socket;
		b->hit = *from;
	}
	return true;
}

uint64_t birthday_deadline(const struct birthday *b, const struct budget *budget, uint64_t now_ms)
{
	if (b->state != BIRTHDAY_RUNNING)
		return UINT64_MAX;
	uint64_t due = next_due(b), end = end_of_round(b), allowed;
	if (due != UINT64_MAX) {
		unsigned socket = next_socket(b);
		bool again = b->plan.ports == 1 && b->socket_sent[socket] > 0;
		allowed = again ? budget_again_many_ms(budget, b->first_ms + b->socket_ms[socket], now_ms)
				: budget_next_many_ms(budget, now_ms);
		due = due > allowed ? due : allowed;
	}
	return due < end ? due : end;
}
