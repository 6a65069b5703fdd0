#include "nat/lifetime.h"

/* One measurement after the other: open, stream, confirm, leave alone, query. What the query brings decides for how long
 * the mapping is left alone next.
 *
 * Timers: those of the asks; until_ms, the end of a wait. */

enum {
	OPEN_TRIES = 4,
	QUERY_TRIES = 3,
	EVERY_MS = 600,
	STREAM_MS = 2500, /* nf_conntrack_proto_udp.c: a stream after 2 s */
	LATE_MS = 2000,	  /* who wakes up later than this has slept, and measured something else */
	FAILURES = 3,	  /* in a row */
	AGAIN_MS = 2000,
	KEEPALIVE_MIN_MS = 10000, /* B7 of the traversal notes */
	KEEPALIVE_MAX_MS = 110000,
};

static const uint32_t steps_s[] = { 20, 30, 45, 60, 90, 120, 160, 240, 400, LIFETIME_MAX_S };

static uint32_t min_s(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint64_t min_ms(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void ask(struct lifetime *l, struct ask *a, uint8_t socket, uint8_t tries, struct rng *rng,
		uint64_t at_ms)
{
	struct ask_plan plan = { .socket = socket,
				 .lands = socket,
				 .tries = tries,
				 .every_ms = EVERY_MS,
				 .start_ms = at_ms,
				 .to = l->config.server };

	ask_start(a, &plan, rng);
}

static void open_mapping(struct lifetime *l, enum lifetime_phase phase, struct rng *rng, uint64_t at_ms)
{
	l->phase = phase;
	ask(l, &l->open, LIFETIME_SUBJECT, OPEN_TRIES, rng, at_ms);
}

static void leave_alone(struct lifetime *l, uint64_t since_ms)
{
	l->phase = LIFETIME_LEFT_ALONE;
	l->until_ms = since_ms + (uint64_t)l->wait_s * 1000;
}

/* The control starts with the last try. */
static void query(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	l->phase = LIFETIME_QUERYING;
	ask(l, &l->query, LIFETIME_ASKER, QUERY_TRIES, rng, now_ms);
	l->query.plan.lands = LIFETIME_SUBJECT;
	l->query.plan.response_port = l->open.mapped.port;
	ask(l, &l->control, LIFETIME_ASKER, QUERY_TRIES, rng,
	    now_ms + (uint64_t)(QUERY_TRIES - 1) * EVERY_MS);
}

static void give_up(struct lifetime *l)
{
	l->unknown = true;
	l->running = false;
}

/* Nothing can be concluded from this measurement. */
static void fail(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	if (++l->failures == FAILURES) {
		give_up(l);
		return;
	}
	if (l->goal == LIFETIME_INBOUND_TOO)
		l->goal = LIFETIME_INBOUND;
	open_mapping(l, LIFETIME_OPENING, rng, now_ms + AGAIN_MS);
}

/* ---- the search */

/* For how long to leave the mapping alone next; 0 when enough is known. */
static uint32_t next_wait_s(const struct lifetime *l)
{
	const uint32_t precision = l->config.precision_s ? l->config.precision_s : 1;
	size_t i = 0;

	if (l->dead_s)
		return l->dead_s <= LIFETIME_MIN_S || l->dead_s - l->alive_s <= precision
			       ? 0
			       : (l->alive_s + l->dead_s) / 2;
	if (l->alive_s >= l->config.max_s)
		return 0;
	while (steps_s[i] <= l->alive_s)
		i++;
	return min_s(steps_s[i], l->config.max_s);
}

/* Twice this is more than the mapping lives, once is less; 0 when that is not known. */
static uint32_t inbound_wait_s(const struct lifetime *l)
{
	uint32_t wait = (l->alive_s + l->dead_s / 2) / 2;

	return l->config.inbound && wait < l->alive_s && 2 * wait > l->dead_s ? wait : 0;
}

static void search_on(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	l->goal = LIFETIME_SEARCHING;
	l->wait_s = next_wait_s(l);
	if (!l->wait_s) {
		l->goal = LIFETIME_INBOUND;
		l->wait_s = inbound_wait_s(l);
	}
	if (!l->wait_s)
		l->running = false;
	else
		open_mapping(l, LIFETIME_OPENING, rng, now_ms);
}

static void on_alive(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	l->failures = 0;
	switch (l->goal) {
	case LIFETIME_SEARCHING: l->alive_s = l->wait_s;
	/* fallthrough */
	case LIFETIME_PROVING: search_on(l, rng, now_ms); break;
	case LIFETIME_INBOUND:
		l->goal = LIFETIME_INBOUND_TOO;
		leave_alone(l, l->query.answered_ms);
		break;
	case LIFETIME_INBOUND_TOO:
		l->inbound = LIFETIME_INBOUND_REFRESHES;
		l->running = false;
		break;
	}
}

static void on_dead(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	switch (l->goal) {
	case LIFETIME_PROVING: give_up(l); break;
	case LIFETIME_SEARCHING:
		l->failures = 0;
		l->dead_s = l->wait_s;
		search_on(l, rng, now_ms);
		break;
	case LIFETIME_INBOUND: l->running = false; break; /* not as it was found before: nothing is told */
	case LIFETIME_INBOUND_TOO:
		l->inbound = LIFETIME_INBOUND_DOES_NOT;
		l->running = false;
		break;
	}
}

/* The port of a mapping that is gone may be another socket's by now, so an answer that went astray means gone, too. But
 * all of it must have gone to the address where the subject is seen. */
static void on_queried(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	bool controlled = l->control.state == ASK_ANSWERED &&
			  addr_same_ip(&l->control.mapped, &l->open.mapped);

	if (l->query.state == ASK_ANSWERED)
		on_alive(l, rng, now_ms);
	else if (l->query.state == ASK_REFUSED && l->goal == LIFETIME_PROVING)
		give_up(l);
	else if (l->control.state == ASK_WAITING)
		return;
	else if (controlled)
		on_dead(l, rng, now_ms);
	else
		fail(l, rng, now_ms);
}

/* ---- a measurement */

static void on_opened(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	if (l->open.state == ASK_WAITING)
		return;
	if (l->open.state != ASK_ANSWERED) {
		fail(l, rng, now_ms);
	} else if (l->phase == LIFETIME_OPENING && l->goal != LIFETIME_PROVING) {
		l->phase = LIFETIME_STREAMING;
		l->until_ms = l->open.answered_ms + STREAM_MS;
	} else {
		leave_alone(l, l->open.answered_ms);
	}
}

static void on_waited(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	if (now_ms < l->until_ms)
		return;
	if (now_ms - l->until_ms > LATE_MS)
		open_mapping(l, LIFETIME_OPENING, rng, now_ms);
	else if (l->phase == LIFETIME_STREAMING)
		open_mapping(l, LIFETIME_CONFIRMING, rng, now_ms);
	else
		query(l, rng, now_ms);
}

static void advance(struct lifetime *l, struct rng *rng, uint64_t now_ms)
{
	l->wake_ms = UINT64_MAX;
	switch (l->phase) {
	case LIFETIME_OPENING:
	case LIFETIME_CONFIRMING: on_opened(l, rng, now_ms); break;
	case LIFETIME_STREAMING:
	case LIFETIME_LEFT_ALONE: on_waited(l, rng, now_ms); break;
	case LIFETIME_QUERYING: on_queried(l, rng, now_ms); break;
	}
}

/* ---- the machine */

void lifetime_start(struct lifetime *l, const struct lifetime_config *config, struct rng *rng,
		    uint64_t now_ms)
{
	*l = (struct lifetime) { .running = true, .config = *config, .wake_ms = UINT64_MAX };
	if (!l->config.max_s || l->config.max_s > LIFETIME_MAX_S)
		l->config.max_s = LIFETIME_MAX_S;
	open_mapping(l, LIFETIME_OPENING, rng, now_ms);
}

void lifetime_stop(struct lifetime *l)
{
	l->running = false;
}

static bool is_waiting(const struct lifetime *l)
{
	return l->phase == LIFETIME_STREAMING || l->phase == LIFETIME_LEFT_ALONE;
}

/* The asks of this phase. */
static struct ask *asks_of(struct lifetime *l, unsigned i)
{
	if (l->phase == LIFETIME_QUERYING)
		return i == 0 ? &l->query : i == 1 ? &l->control : NULL;
	return i == 0 && !is_waiting(l) ? &l->open : NULL;
}

uint64_t lifetime_deadline(const struct lifetime *l)
{
	if (!l->running)
		return UINT64_MAX;
	if (is_waiting(l))
		return min_ms(l->wake_ms, l->until_ms);
	if (l->phase == LIFETIME_QUERYING)
		return min_ms(l->wake_ms, min_ms(ask_deadline(&l->query), ask_deadline(&l->control)));
	return min_ms(l->wake_ms, ask_deadline(&l->open));
}

static bool send_due(struct lifetime *l, uint64_t now_ms, struct ask_out *out)
{
	struct ask *a;

	for (unsigned i = 0; (a = asks_of(l, i)); i++)
		if (ask_next(a, now_ms, out))
			return true;
	return false;
}

bool lifetime_next(struct lifetime *l, struct rng *rng, uint64_t now_ms, struct ask_out *out)
{
	while (l->running) {
		if (send_due(l, now_ms, out))
			return true;
		advance(l, rng, now_ms);
		if (lifetime_deadline(l) > now_ms)
			return false;
	}
	return false;
}

bool lifetime_on_message(struct lifetime *l, unsigned socket, const struct addr *from, const uint8_t *msg,
			 size_t len, uint64_t now_ms)
{
	struct stun_msg m;
	struct ask *a;

	if (!l->running || stun_decode(&m, msg, len))
		return false;
	for (unsigned i = 0; (a = asks_of(l, i)); i++) {
		if (!ask_on_message(a, socket, from, &m, now_ms))
			continue;
		l->wake_ms = now_ms;
		return true;
	}
	return false;
}

uint32_t lifetime_keepalive_ms(const struct lifetime *l, uint32_t fallback_ms)
{
	uint64_t ms = (uint64_t)l->alive_s * 700;

	if (!l->alive_s && !l->dead_s)
		return fallback_ms;
	if (ms < KEEPALIVE_MIN_MS)
		return KEEPALIVE_MIN_MS;
	return ms < KEEPALIVE_MAX_MS ? (uint32_t)ms : KEEPALIVE_MAX_MS;
}
