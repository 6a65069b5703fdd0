#include "core/gaps.h"

#include "core/log.h"

/* ---- the receiver */

bool gaps_is_loss(const struct gaps_report *r)
{
	return (uint64_t)r->missing * GAPS_SHARE > r->expected;
}

static uint32_t cap(uint64_t n)
{
	return n < GAPS_MAX ? (uint32_t)n : GAPS_MAX;
}

static struct gaps_report compare(const struct gaps_meter *m, uint64_t next, uint64_t accepted,
				  uint64_t now_ms)
{
	uint64_t expected = next - m->next, came = accepted - m->accepted;

	return (struct gaps_report) {
		.expected = cap(expected),
		.missing = came < expected ? cap(expected - came) : 0,
		.ms = cap(now_ms - m->since_ms),
	};
}

/* Where trains break TCP hardly sends any more: it would take long to count to GAPS_EXPECTED. So the loss counts that would
 * be too much of them all. */
static bool says_something(const struct gaps_meter *m, const struct gaps_report *r)
{
	if (r->expected >= (m->follow_ups ? GAPS_FEW : GAPS_EXPECTED))
		return true;
	return r->missing > GAPS_EXPECTED / GAPS_SHARE && gaps_is_loss(r);
}

bool gaps_measure(struct gaps_meter *m, uint64_t next, uint64_t accepted, uint64_t now_ms,
		  struct gaps_report *out)
{
	bool follows;

	if (!m->since_ms)
		m->since_ms = now_ms;
	if (now_ms - m->since_ms < GAPS_REPORT_MS)
		return false;
	*out = compare(m, next, accepted, now_ms);
	if (!says_something(m, out))
		return false;
	follows = m->follow_ups > 0;
	m->follow_ups -= follows;
	if (gaps_is_loss(out))
		m->follow_ups = GAPS_FOLLOW_UPS;
	m->next = next;
	m->accepted = accepted;
	m->since_ms = now_ms;
	return follows || gaps_is_loss(out);
}

/* ---- the sender */

static enum gaps_state next_state(enum gaps_state state, enum gaps_event ev)
{
	switch (state) {
	case GAPS_TRAINS: return ev == GAPS_EV_LOSS ? GAPS_TRYING_SINGLY : GAPS_TRAINS;
	case GAPS_TRYING_SINGLY:
		if (ev == GAPS_EV_HELPED)
			return GAPS_SINGLY;
		return ev == GAPS_EV_CONGESTION ? GAPS_TRAINS : GAPS_TRYING_SINGLY;
	case GAPS_SINGLY: return ev == GAPS_EV_TIME ? GAPS_TRAINS : GAPS_SINGLY;
	}
	return state;
}

static const char *reason(enum gaps_event ev)
{
	switch (ev) {
	case GAPS_EV_LOSS: return "the peer misses packets: is it that the network card damages trains?";
	case GAPS_EV_HELPED:
		return "that helped, so they go one by one for a while; a newer kernel may cure it";
	case GAPS_EV_CONGESTION: return "that did not help: the network is full, or lossy";
	case GAPS_EV_TIME: return "tried again";
	case GAPS_EV_NONE: break;
	}
	return "";
}

static uint64_t how_long_singly(const struct gaps_choice *c, uint64_t now_ms)
{
	bool soon = c->again_ms && now_ms - c->again_ms <= GAPS_SINGLY_FIRST_MS;

	return soon ? GAPS_SINGLY_MS : GAPS_SINGLY_FIRST_MS;
}

static void set_state(struct gaps_choice *c, enum gaps_event ev, const char *name, uint64_t now_ms)
{
	static const char *const names[] = { "trains", "trying singly", "singly" };
	enum gaps_state next = next_state(c->state, ev);

	if (next == c->state)
		return;
	log_info("gaps", "%s: %s -> %s: %s", name, names[c->state], names[next], reason(ev));
	c->state = next;
	c->since_ms = now_ms;
	c->loss_ms = c->sent = 0;
	if (ev == GAPS_EV_CONGESTION)
		c->no_trial_ms = now_ms + GAPS_NO_TRIAL_MS;
	else if (ev == GAPS_EV_HELPED)
		c->singly_ms = how_long_singly(c, now_ms);
	else if (ev == GAPS_EV_TIME)
		c->again_ms = now_ms;
}

static enum gaps_event judge_trains(const struct gaps_choice *c, const struct gaps_report *r, uint64_t now_ms)
{
	bool persists = c->loss_ms && now_ms > c->loss_ms && now_ms - c->loss_ms <= GAPS_PERSIST_MS;

	return gaps_is_loss(r) && persists && now_ms >= c->no_trial_ms ? GAPS_EV_LOSS : GAPS_EV_NONE;
}

static uint64_t came(const struct gaps_report *r)
{
	return r->expected - r->missing;
}

/* Less is lost because less was sent: sending singly costs us more, so it is slower where we are what is slow. Only what
 * makes much more arrive has helped; a little more is a load that has grown meanwhile. */
static enum gaps_event judge_trial(const struct gaps_choice *c, const struct gaps_report *r, uint64_t now_ms)
{
	const struct gaps_report *b = &c->before;
	bool less = (uint64_t)r->missing * b->expected * GAPS_HELPS < (uint64_t)b->missing * r->expected;
	bool more = came(r) * b->ms * 4 > came(b) * r->ms * GAPS_MORE;

	if (now_ms - c->since_ms < GAPS_SETTLE_MS)
		return GAPS_EV_NONE;
	return less && more ? GAPS_EV_HELPED : GAPS_EV_CONGESTION;
}

void gaps_on_report(struct gaps_choice *c, const struct gaps_report *r, const char *name, uint64_t now_ms)
{
	enum gaps_event ev = GAPS_EV_NONE;

	if (c->state == GAPS_TRYING_SINGLY) {
		ev = judge_trial(c, r, now_ms);
	} else if (c->state == GAPS_TRAINS) {
		ev = judge_trains(c, r, now_ms);
		c->loss_ms = gaps_is_loss(r) ? now_ms : 0;
		c->before = *r;
	}
	set_state(c, ev, name, now_ms);
}

/* What time alone decides. */
static enum gaps_event elapsed(const struct gaps_choice *c, uint64_t now_ms)
{
	uint64_t spent = now_ms - c->since_ms;

	if (c->state == GAPS_TRYING_SINGLY && spent >= GAPS_TRIAL_MS && c->sent >= GAPS_TRIAL_SENT)
		return GAPS_EV_HELPED;
	return c->state == GAPS_SINGLY && spent >= c->singly_ms ? GAPS_EV_TIME : GAPS_EV_NONE;
}

bool gaps_on_sent(struct gaps_choice *c, unsigned count, const char *name, uint64_t now_ms)
{
	set_state(c, elapsed(c, now_ms), name, now_ms);
	if (c->state == GAPS_TRYING_SINGLY && c->sent < GAPS_TRIAL_SENT)
		c->sent += count;
	return c->state != GAPS_TRAINS;
}

bool gaps_singly(const struct gaps_choice *c, uint64_t now_ms)
{
	return next_state(c->state, elapsed(c, now_ms)) != GAPS_TRAINS;
}
