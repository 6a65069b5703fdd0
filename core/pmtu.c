#include "core/pmtu.h"

enum { STEP = 16 }; /* sealed packets are padded to it: finer sizes make no difference */

/* What to ask for next: the maximum first, as most paths carry it, then halves between what is carried and what is
 * not, then what was found, again and again. */
static uint16_t target(const struct pmtu *p)
{
	if (!p->bad)
		return p->max;
	if (!p->good)
		return p->base;
	uint16_t half = (uint16_t)((p->good + p->bad) / 2 / STEP * STEP);
	return half > p->good ? half : p->good;
}

/* After whatever changed `good` or `bad`: aims anew. */
static void aim(struct pmtu *p, uint64_t now_ms)
{
	uint16_t size = target(p);
	bool found = p->bad && (size == p->good || p->bad <= p->base);

	if (size != p->probing) {
		p->probing = size;
		p->tries = 0;
		p->less_answered = false;
	}
	if (!found)
		p->due_ms = 0;
	else if (!p->due_ms)
		p->due_ms = now_ms + PMTU_RAISE_MS;
}

void pmtu_init(struct pmtu *p, uint16_t base, uint16_t max)
{
	*p = (struct pmtu) { .base = base, .max = max, .probing = max };
}

uint16_t pmtu_next_size(struct pmtu *p, uint64_t now_ms)
{
	if (p->due_ms && now_ms >= p->due_ms) {
		p->bad = 0;
		aim(p, now_ms);
	}
	return p->ask_base ? p->base : p->probing;
}

void pmtu_on_too_big(struct pmtu *p, uint16_t size, uint64_t now_ms)
{
	if (!p->bad || size < p->bad)
		p->bad = size;
	if (p->good >= p->bad)
		p->good = p->base < p->bad ? p->base : 0;
	aim(p, now_ms);
}

/* Lost pings tell of a size only when a smaller one got through meanwhile: else the path is down or lossy. */
static void judge(struct pmtu *p, uint64_t now_ms)
{
	if (p->tries >= PMTU_PROBES && p->less_answered)
		pmtu_on_too_big(p, p->probing, now_ms);
}

void pmtu_on_pong(struct pmtu *p, uint16_t size, uint64_t now_ms)
{
	if (size < p->base)
		return;
	p->ask_base = false;
	if (size > p->good)
		p->good = size;
	if (size >= p->bad)
		p->bad = 0;
	if (size >= p->probing)
		p->tries = 0;
	p->less_answered = p->tries > 0;
	aim(p, now_ms);
	judge(p, now_ms);
}

void pmtu_on_timeout(struct pmtu *p, uint16_t size, uint64_t now_ms)
{
	p->ask_base |= size >= p->base;
	if (size != p->probing || size == p->base)
		return;
	if (p->tries < PMTU_PROBES)
		p->tries++;
	judge(p, now_ms);
}

bool pmtu_in_doubt(const struct pmtu *p)
{
	return p->tries > 0 && p->probing <= p->good;
}

uint16_t pmtu_size(const struct pmtu *p)
{
	return p->good;
}
