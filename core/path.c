#include "core/path.h"

#include <string.h>

#include "core/log.h"

static const char *const state_names[] = { "new", "probing", "up", "dead" };

void path_init(struct path *p, const struct addr *addr, uint32_t socket)
{
	*p = (struct path) { .addr = *addr, .socket = socket };
	pmtu_init(&p->pmtu, PATH_BASE_SIZE, PATH_FULL_SIZE);
}

static enum path_state next_state(const struct path *p, enum path_event ev)
{
	switch (p->state) {
	case PATH_NEW: return ev == PATH_EV_PONG ? PATH_UP : PATH_PROBING;
	case PATH_PROBING:
		if (ev == PATH_EV_PONG)
			return PATH_UP;
		return ev == PATH_EV_TIMEOUT ? PATH_DEAD : PATH_PROBING;
	case PATH_UP: return ev == PATH_EV_TIMEOUT ? PATH_DEAD : PATH_UP;
	case PATH_DEAD: return ev == PATH_EV_PONG ? PATH_UP : PATH_DEAD;
	}
	return p->state;
}

static void set_state(struct path *p, enum path_event ev, const char *name)
{
	enum path_state next = next_state(p, ev);
	char text[ADDR_TEXT_MAX];

	if (next == p->state)
		return;
	log_debug("path", "%s %s: %s -> %s", name, addr_format(&p->addr, text), state_names[p->state],
		  state_names[next]);
	p->state = next;
}

static const struct path_ping *last_ping(const struct path *p)
{
	return &p->inflight[(p->next_inflight + PATH_INFLIGHT - 1) % PATH_INFLIGHT];
}

/* The one before was not answered in time. */
static void give_up_last(struct path *p, uint64_t now_ms)
{
	const struct path_ping *last = last_ping(p);

	if (p->unanswered && last->size >= PATH_BASE_SIZE)
		pmtu_on_timeout(&p->pmtu, last->size, now_ms);
}

void path_ping(struct path *p, struct rng *rng, size_t size, uint64_t now_ms, uint8_t txid[static PROBE_TXID])
{
	struct path_ping *ping = &p->inflight[p->next_inflight % PATH_INFLIGHT];

	give_up_last(p, now_ms);
	p->next_inflight = (p->next_inflight + 1) % PATH_INFLIGHT;
	ping->size = (uint16_t)size;

	rng_fill(rng, ping->txid, PROBE_TXID);
	memcpy(txid, ping->txid, PROBE_TXID);
	ping->sent_ms = (uint32_t)now_ms;
	p->last_ping_ms = now_ms;
	if (p->unanswered < UINT8_MAX)
		p->unanswered++;
	if (p->state == PATH_NEW)
		p->state = next_state(p, PATH_EV_PROBE_SENT);
}

static struct path_ping *find_ping(struct path *p, const uint8_t txid[static PROBE_TXID])
{
	for (int i = 0; i < PATH_INFLIGHT; i++)
		if (p->inflight[i].size && crypto_equal(p->inflight[i].txid, txid, PROBE_TXID))
			return &p->inflight[i];
	return NULL;
}

bool path_on_pong(struct path *p, const uint8_t txid[static PROBE_TXID], const char *name, uint64_t now_ms)
{
	struct path_ping *ping = find_ping(p, txid);

	if (!ping)
		return false;
	uint32_t rtt = (uint32_t)now_ms - ping->sent_ms;
	uint16_t size = ping->size;
	ping->size = 0;
	if (p->wants_size && size < PATH_BASE_SIZE)
		return false;
	if (size >= PATH_BASE_SIZE)
		pmtu_on_pong(&p->pmtu, size, now_ms);
	p->rtt_ms = p->state == PATH_UP ? (p->rtt_ms * 7 + rtt) / 8 : rtt;
	path_on_proof(p, name, now_ms);
	return true;
}

void path_on_proof(struct path *p, const char *name, uint64_t now_ms)
{
	p->last_pong_ms = now_ms;
	p->unanswered = 0;
	p->wants_size = false;
	path_on_heard(p, now_ms);
	if (p->state != PATH_UP)
		p->up_since_ms = now_ms;
	set_state(p, PATH_EV_PONG, name);
}

void path_on_sent(struct path *p, uint64_t now_ms)
{
	if (!p->first_sent_ms)
		p->first_sent_ms = now_ms;
}

void path_on_heard(struct path *p, uint64_t now_ms)
{
	p->heard_ms = now_ms;
	p->first_sent_ms = 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* As if all but the last ping had been lost. */
void path_on_suspicion(struct path *p, uint64_t now_ms)
{
	if (p->state == PATH_UP && now_ms - p->last_pong_ms > PATH_MARGIN_MS)
		p->unanswered = PATH_MAX_TRIES;
}

/* How long an answer is waited for. A pong that a sleeping peer held back is no measure of the path. */
static uint32_t patience_ms(const struct path *p)
{
	uint32_t rtt = p->rtt_ms < PATH_RTT_CAP_MS ? p->rtt_ms : PATH_RTT_CAP_MS;

	return PATH_MARGIN_MS + rtt * 5 / 4;
}

/* When a lost ping is repeated. */
static uint64_t retry_ms(const struct path *p)
{
	bool heard = p->heard_ms > p->last_ping_ms;

	return p->last_ping_ms + (heard ? PATH_QUEUED_MS : patience_ms(p));
}

void path_on_doubt(struct path *p, uint64_t now_ms)
{
	if (!p->first_sent_ms)
		p->first_sent_ms = later(now_ms - patience_ms(p), 1);
}

/* Data goes out: is it answered, and are large packets? */
static uint64_t active_ms(const struct path *p)
{
	uint32_t patience = patience_ms(p);
	uint64_t due = p->last_ping_ms + PATH_ACTIVE_PING_MS;

	if (!p->pmtu.good || pmtu_in_doubt(&p->pmtu))
		due = p->last_ping_ms + patience;
	if (p->first_sent_ms)
		due = earlier(due, later(p->first_sent_ms, p->last_ping_ms) + patience);
	return due;
}

uint64_t path_deadline(const struct path *p, uint64_t last_data_ms, uint64_t now_ms)
{
	uint64_t quiet = last_data_ms ? now_ms - last_data_ms : UINT64_MAX;

	if (p->state != PATH_UP || quiet >= PATH_WARM_MS)
		return UINT64_MAX;
	if (p->unanswered)
		return retry_ms(p);
	return quiet < PATH_ACTIVE_MS ? active_ms(p) : p->last_ping_ms + PATH_WARM_PING_MS;
}

size_t path_ping_size(struct path *p, uint64_t last_data_ms, uint64_t now_ms)
{
	bool active = last_data_ms && now_ms - last_data_ms < PATH_ACTIVE_MS;

	if (p->state != PATH_UP)
		return p->wants_size ? PATH_BASE_SIZE : PROBE_MIN;
	return active || p->unanswered ? pmtu_next_size(&p->pmtu, now_ms) : PROBE_MIN;
}

unsigned path_mtu(const struct path *p)
{
	unsigned size = pmtu_size(&p->pmtu);

	return size ? (size - PATH_OVERHEAD) / PATH_PADDING * PATH_PADDING : 0;
}

bool path_next(struct path *p, uint64_t last_data_ms, const char *name, uint64_t now_ms)
{
	if (path_deadline(p, last_data_ms, now_ms) > now_ms)
		return false;
	if (p->unanswered >= PATH_MAX_TRIES) {
		p->wants_size = last_ping(p)->size >= PATH_BASE_SIZE;
		set_state(p, PATH_EV_TIMEOUT, name);
		return false;
	}
	return true;
}

bool path_usable(const struct path *p, uint64_t now_ms)
{
	return p->addr.family && p->state == PATH_UP && p->unanswered < PATH_MAX_TRIES &&
	       now_ms - p->last_pong_ms < PATH_TRUST_MS;
}

void path_distrust(struct path *p, const char *name)
{
	p->unanswered = 0;
	set_state(p, PATH_EV_TIMEOUT, name);
}

/* +1 if a is clearly faster, -1 if b is, 0 when too close to tell. */
static int faster(const struct path *a, const struct path *b)
{
	uint32_t lo = a->rtt_ms < b->rtt_ms ? a->rtt_ms : b->rtt_ms;
	uint32_t hi = a->rtt_ms < b->rtt_ms ? b->rtt_ms : a->rtt_ms;

	if (hi - lo <= 5 || hi - lo <= hi / 4)
		return 0;
	return a->rtt_ms == lo ? 1 : -1;
}

static int rank(const struct path *p)
{
	return (addr_is_private(&p->addr) ? 2 : 0) + (p->addr.family == ADDR_V6 ? 1 : 0);
}

bool path_better(const struct path *a, const struct path *b, const struct path *current, uint64_t now_ms)
{
	bool ua = path_usable(a, now_ms), ub = path_usable(b, now_ms);
	int speed = faster(a, b);

	if (ua != ub)
		return ua;
	if (speed)
		return speed > 0;
	if (a == current || b == current)
		return a == current;
	if (rank(a) != rank(b))
		return rank(a) > rank(b);
	return a->up_since_ms < b->up_since_ms;
}
