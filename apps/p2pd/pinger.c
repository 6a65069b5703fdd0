#include "apps/p2pd/pinger.h"

void pinger_start(struct pinger *p, uint32_t count, uint32_t wait_ms, uint64_t now_ms)
{
	*p = (struct pinger) { .count = count, .wait_ms = wait_ms, .next_ms = now_ms };
}

/* The answer came, or will not: when the next ping goes out. */
static void settle(struct pinger *p, uint64_t now_ms)
{
	uint64_t next = p->sent_ms + (p->direct ? PINGER_STEADY_MS : PINGER_SEARCH_MS);

	p->waiting = false;
	p->next_ms = next > now_ms ? next : now_ms;
}

static bool all_sent(const struct pinger *p)
{
	return p->count && p->sent >= p->count;
}

enum pinger_due pinger_next(struct pinger *p, uint64_t fresh_id, uint64_t now_ms)
{
	if (p->waiting && now_ms < p->sent_ms + p->wait_ms)
		return PINGER_NOTHING;
	if (p->waiting) {
		p->direct = false;
		settle(p, now_ms);
		return PINGER_TIMEOUT;
	}
	if (all_sent(p))
		return PINGER_OVER;
	if (now_ms < p->next_ms)
		return PINGER_NOTHING;
	p->id = fresh_id;
	p->sent_ms = now_ms;
	p->waiting = true;
	p->sent++;
	return PINGER_SEND;
}

bool pinger_on_pong(struct pinger *p, uint64_t id, bool direct, uint64_t now_ms)
{
	if (!p->waiting || id != p->id)
		return false;
	p->direct = direct;
	settle(p, now_ms);
	return true;
}

uint64_t pinger_deadline(const struct pinger *p)
{
	if (p->waiting)
		return p->sent_ms + p->wait_ms;
	return all_sent(p) ? 0 : p->next_ms;
}
