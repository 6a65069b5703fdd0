#include "nat/discover_internal.h"

#include <errno.h>
#include <string.h>

/* The order of the phases is that of what they need: which endpoints answer, then where new mappings come to lie (the
 * first packets of all other sockets wait, else they would be its noise), then what strangers meet.
 * With 50 ms to the server and a second that is silent: 300 + 600 + 170 + 450 + 750 ms, with two answers lost at the worst time.
 *
 * Timers: each ask its own; the end of a phase that is waited for no longer (phase_ms); the end of all (end_ms). */

enum {
	SERVER_TRIES = 7,	 /* 1750 ms, at least, until UDP counts as blocked */
	SERVER_PATIENCE_MS = 50, /* on top of the RTO: what is waited for others once a server has answered */
	END_MS = 2000,		 /* and END_ROUND_TRIPS */
	END_ROUND_TRIPS = 10,
	MAX_RTT_MS = 600,
	EVERY_MS = 100, /* and a round trip */
	PLAIN_TRIES = 4,
	FRESH_GAP_MS = 8, /* 170 ms in all: foreign allocations show */

};

/* ---- asks */

bool discover_answered(const struct discover *d, unsigned i)
{
	return d->asks[i].state == ASK_ANSWERED;
}

bool discover_settled(const struct discover *d, unsigned first, size_t count)
{
	for (size_t i = first; i < first + count; i++)
		if (d->asks[i].state == ASK_WAITING)
			return false;
	return true;
}

void discover_ask_plain(struct discover *d, unsigned ask, unsigned socket, const struct addr *to,
			struct rng *rng, uint64_t at_ms)
{
	struct ask_plan plan = { .socket = (uint8_t)socket,
				 .lands = (uint8_t)socket,
				 .tries = PLAIN_TRIES,
				 .every_ms = d->every_ms,
				 .start_ms = at_ms,
				 .to = *to };

	ask_start(&d->asks[ask], &plan, rng);
}

const struct ask *discover_first_answer(const struct discover *d)
{
	const struct ask *first = NULL;

	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->endpoint_count; i++)
		if (discover_answered(d, i) && (!first || d->asks[i].answered_ms < first->answered_ms))
			first = &d->asks[i];
	return first;
}

/* ---- servers, and what they tell of further endpoints */

static void start_servers(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	for (unsigned i = 0; i < d->config.server_count; i++) {
		discover_ask_plain(d, ASK_ENDPOINT + i, DISCOVER_MAIN, &d->config.servers[i], rng, now_ms);
		d->asks[ASK_ENDPOINT + i].plan.tries = SERVER_TRIES;
	}
	d->endpoint_count = d->config.server_count;
	d->phase_ms = UINT64_MAX;
}

static bool servers_over(const struct discover *d, uint64_t now_ms)
{
	return now_ms >= d->phase_ms || discover_settled(d, ASK_ENDPOINT, d->endpoint_count);
}

const struct ask *discover_find_endpoint(const struct discover *d, const struct addr *a)
{
	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->endpoint_count; i++)
		if (addr_equal(&d->asks[i].plan.to, a))
			return &d->asks[i];
	return NULL;
}

static void learn(struct discover *d, const struct addr *endpoint, struct rng *rng, uint64_t now_ms)
{
	if (discover_find_endpoint(d, endpoint) ||
	    d->endpoint_count == d->config.server_count + DISCOVER_LEARNT)
		return;
	discover_ask_plain(d, (unsigned)(ASK_ENDPOINT + d->endpoint_count), DISCOVER_MAIN, endpoint, rng,
			   now_ms);
	d->endpoint_count++;
}

static void start_endpoints(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->config.server_count; i++) {
		struct addr to = d->asks[i].plan.to, other = d->asks[i].other;
		if (!discover_answered(d, i) || other.family != to.family || !addr_may_name(&to, &other))
			continue;
		to.port = other.port;
		learn(d, &to, rng, now_ms);
		learn(d, &other, rng, now_ms);
	}
}

static bool endpoints_over(const struct discover *d, uint64_t now_ms)
{
	(void)now_ms;
	return discover_settled(d, ASK_ENDPOINT + (unsigned)d->config.server_count,
				d->endpoint_count - d->config.server_count);
}

/* ---- fresh sockets */

/* Another address than `than`'s, else another port of it, else none. */
const struct ask *discover_other_answer(const struct discover *d, const struct ask *than)
{
	const struct ask *port = NULL;

	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->endpoint_count; i++) {
		const struct ask *a = &d->asks[i];
		if (!discover_answered(d, i) || a == than)
			continue;
		if (!addr_same_ip(&a->plan.to, &than->plan.to))
			return a;
		port = port ? port : a;
	}
	return port;
}

static void start_fresh(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	const struct ask *first = discover_first_answer(d), *other;

	if (!first || d->result.verdict.mapping == MAPPING_NONE)
		return;
	other = discover_other_answer(d, first);
	for (unsigned i = 0; i < (other ? DISCOVER_FRESH_ASKS : PREDICT_FRESH_SOCKETS); i++) {
		bool again = i >= PREDICT_FRESH_SOCKETS, to_other = other && i % 2 != again;
		discover_ask_plain(d, ASK_FRESH + i, DISCOVER_FRESH + i % PREDICT_FRESH_SOCKETS,
				   &(to_other ? other : first)->plan.to, rng,
				   now_ms + (uint64_t)i * FRESH_GAP_MS);
	}
}

/* The first requests are out. */
static bool fresh_over(const struct discover *d, uint64_t now_ms)
{
	(void)now_ms;
	for (unsigned i = ASK_FRESH; i < ASK_FRESH + DISCOVER_FRESH_ASKS; i++)
		if (d->asks[i].state == ASK_WAITING && !d->asks[i].sent)
			return false;
	return true;
}

/* ---- phases */

static bool strangers_over(const struct discover *d, uint64_t now_ms)
{
	(void)now_ms;
	return discover_settled(d, ASK_FRESH, DISCOVER_ASKS - ASK_FRESH);
}

static const struct {
	void (*start)(struct discover *d, struct rng *rng, uint64_t now_ms);
	bool (*over)(const struct discover *d, uint64_t now_ms);
} phases[DISCOVER_DONE] = {
	[DISCOVER_ASK_SERVERS] = { start_servers, servers_over },
	[DISCOVER_ASK_ENDPOINTS] = { start_endpoints, endpoints_over },
	[DISCOVER_ASK_FRESH] = { start_fresh, fresh_over },
	[DISCOVER_ASK_STRANGERS] = { discover_start_strangers, strangers_over },
};

static void finish(struct discover *d)
{
	discover_judge(d);
	d->phase = DISCOVER_DONE;
	d->running = false;
}

/* A server that answered in whatever way is reached by UDP. */
static bool is_blocked(const struct discover *d)
{
	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->endpoint_count; i++)
		if (d->asks[i].state == ASK_ANSWERED || d->asks[i].state == ASK_REFUSED)
			return false;
	return true;
}

static void next_phase(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	if (d->phase == DISCOVER_ASK_SERVERS)
		d->result.verdict.udp_blocked = is_blocked(d);
	d->phase_ms = UINT64_MAX;
	d->phase++;
	if (d->phase == DISCOVER_DONE)
		finish(d);
	else
		phases[d->phase].start(d, rng, now_ms);
}

static void advance(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	d->wake_ms = UINT64_MAX;
	discover_run_strangers(d, rng, now_ms);
	while (d->running && phases[d->phase].over(d, now_ms))
		next_phase(d, rng, now_ms);
	if (d->running && now_ms >= d->end_ms)
		finish(d);
}

/* ---- the machine */

static bool is_asked(const struct discover_config *c)
{
	for (size_t i = 0; i < c->server_count; i++)
		if (c->servers[i].family == ADDR_NONE || c->servers[i].family != c->servers[0].family)
			return false;
	return c->server_count > 0 && c->server_count <= DISCOVER_SERVERS;
}

int discover_start(struct discover *d, const struct discover_config *config, struct rng *rng, uint64_t now_ms)
{
	uint32_t rto = config->rto_ms > DISCOVER_RTO_MS ? config->rto_ms : DISCOVER_RTO_MS;

	*d = (struct discover) { .config = *config, .start_ms = now_ms, .wake_ms = UINT64_MAX };
	if (!is_asked(config))
		return -EINVAL;
	d->running = true;
	d->every_ms = rto;
	d->end_ms = now_ms + (uint64_t)rto * SERVER_TRIES + END_MS;
	d->local[DISCOVER_MAIN] = config->local;
	start_servers(d, rng, now_ms);
	return 0;
}

void discover_stop(struct discover *d)
{
	d->running = false;
}

static uint64_t min_ms(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t asks_due(const struct discover *d)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < DISCOVER_ASKS; i++)
		due = min_ms(due, ask_deadline(&d->asks[i]));
	return due;
}

uint64_t discover_deadline(const struct discover *d)
{
	if (!d->running)
		return UINT64_MAX;
	return min_ms(min_ms(asks_due(d), d->wake_ms), min_ms(d->phase_ms, d->end_ms));
}

static bool send_due(struct discover *d, uint64_t now_ms, struct ask_out *out)
{
	for (unsigned i = 0; i < DISCOVER_ASKS; i++)
		if (ask_next(&d->asks[i], now_ms, out))
			return true;
	return false;
}

bool discover_next(struct discover *d, struct rng *rng, uint64_t now_ms, struct ask_out *out)
{
	while (d->running) {
		if (send_due(d, now_ms, out))
			return true;
		advance(d, rng, now_ms);
		if (asks_due(d) > now_ms)
			return false;
	}
	return false;
}

static void note_local(struct discover *d, unsigned socket, const struct addr *local)
{
	struct addr any = { .family = local->family };

	if (local->family && (!addr_same_ip(local, &any) || d->local[socket].family == ADDR_NONE))
		d->local[socket] = *local;
}

/* The longest round trip sets the pace. One that was measured by a repeated request is no more than a guess at it
 * (RFC 6298, Karn's algorithm). */
static void note_rtt(struct discover *d, const struct ask *a)
{
	uint64_t rtt = a->answered_ms - (a->next_ms - a->plan.every_ms);

	if (rtt > MAX_RTT_MS)
		rtt = MAX_RTT_MS;
	if (a->sent == 1 && !d->result.rtt_ms)
		d->result.rtt_ms = rtt ? (uint32_t)rtt : 1;
	if (rtt > d->rtt_ms)
		d->rtt_ms = (uint32_t)rtt;
	d->every_ms = d->rtt_ms + EVERY_MS;
	d->end_ms = d->start_ms + END_MS + (uint64_t)END_ROUND_TRIPS * d->rtt_ms;
}

static void on_endpoint(struct discover *d, const struct ask *a)
{
	uint64_t patience = (uint64_t)a->plan.every_ms + SERVER_PATIENCE_MS;

	if (a->state != ASK_ANSWERED)
		return;
	note_rtt(d, a);
	if (d->phase == DISCOVER_ASK_SERVERS)
		d->phase_ms = min_ms(d->phase_ms, a->answered_ms + patience);
}

/* Our own request, come back to us from outside. */
static bool on_hairpin(struct discover *d, unsigned socket, const struct addr *from, const struct stun_msg *m)
{
	struct ask *there = &d->asks[ASK_HAIRPIN], *back = &d->asks[ASK_HAIRPIN_OPENER];
	const struct ask *sent = socket == DISCOVER_MAIN ? there : back;

	if (m->cls != STUN_REQUEST || (socket != DISCOVER_MAIN && socket != DISCOVER_HAIRPIN) ||
	    sent->state == ASK_IDLE || memcmp(m->txid, sent->txid, sizeof m->txid) != 0)
		return false;
	d->result.hairpin = DISCOVER_YES;
	d->result.hairpin_source = *from;
	there->state = back->state = ASK_ANSWERED;
	return true;
}

static bool on_answer(struct discover *d, unsigned socket, const struct addr *from, const struct stun_msg *m,
		      uint64_t now_ms)
{
	for (unsigned i = 0; i < DISCOVER_ASKS; i++) {
		if (!ask_on_message(&d->asks[i], socket, from, m, now_ms))
			continue;
		if (i < ASK_ENDPOINT + DISCOVER_ENDPOINTS)
			on_endpoint(d, &d->asks[i]);
		return true;
	}
	return false;
}

bool discover_on_message(struct discover *d, unsigned socket, const struct addr *local,
			 const struct addr *from, const uint8_t *msg, size_t len, uint64_t now_ms)
{
	struct stun_msg m;

	if (!d->running || socket >= DISCOVER_SOCKETS || stun_decode(&m, msg, len))
		return false;
	if (!on_hairpin(d, socket, from, &m) && !on_answer(d, socket, from, &m, now_ms))
		return false;
	note_local(d, socket, local);
	discover_judge(d);
	d->wake_ms = now_ms;
	return true;
}
