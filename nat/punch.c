#include "nat/punch.h"

/* Each remote candidate that can be sent to is a target with a time line of its own:
 *
 *	start        bursts_ms                               last burst             end
 *	  opener ------- burst - burst - ... ------------------- burst ------- patience |
 *
 * The state changes in four places: punch_start (to RUNNING), punch_stop (to IDLE), punch_on_reply (to HIT) and
 * punch_next (from RUNNING to FAILED). */

enum {
	BURST_LEAD_MS = 30, /* for an inexact start: the peer's opener must be out when our burst arrives */
	PATIENCE_MS = 1500,
	BURSTS = 6,
	PRIVATE_BURSTS = 2,
	AFTER_HIT = 3,
};

enum { STEP_OPENER, STEP_BURSTS };

static const uint16_t burst_at_ms[BURSTS] = { 0, 20, 60, 140, 300, 600 };

/* By round. High enough to leave our NATs, too low to reach the peer's, where an unexpected packet can take the very
 * mapping that the peer is about to need. Later rounds have none: some NATs drop a mapping when its packet dies. */
static const uint8_t opener_ttl[] = { PUNCH_OPENER_TTL, 7 };

uint8_t punch_opener_ttl(unsigned round, uint8_t depth)
{
	if (round >= sizeof opener_ttl)
		return 0;
	return round == 0 && depth ? depth + 1 : opener_ttl[round];
}

static bool has_opener(const struct punch_plan *plan)
{
	return plan->round < sizeof opener_ttl;
}

static uint64_t planned_bursts_ms(const struct punch_plan *plan)
{
	return plan->start_ms + plan->one_way_ms + BURST_LEAD_MS;
}

static bool can_send_to(const struct punch_plan *plan, const struct addr *a)
{
	if (addr_is_unusable(a))
		return false;
	if (a->family == ADDR_V4)
		return plan->have_ip4;
	return plan->have_ip6 && (a->scope || !addr_is_link_local(a));
}

static unsigned bursts_for(const struct candidate *c)
{
	return c->kind == CANDIDATE_HOST && addr_is_private(&c->addr) ? PRIVATE_BURSTS : BURSTS;
}

/* Gives the last of plan.remote its time line. */
static void add_target(struct punch *p, unsigned first_step, uint64_t bursts_ms)
{
	size_t i = p->plan.remote.count - 1;
	unsigned steps = STEP_BURSTS + bursts_for(&p->plan.remote.items[i]);

	p->targets[i] = (struct punch_target) { bursts_ms, (uint8_t)first_step, (uint8_t)steps };
}

static void add_to_plan(struct punch *p, enum candidate_kind kind, const struct addr *addr)
{
	if (can_send_to(&p->plan, addr) && candidates_add(&p->plan.remote, kind, addr))
		add_target(p, has_opener(&p->plan) ? STEP_OPENER : STEP_BURSTS, planned_bursts_ms(&p->plan));
}

static uint64_t end_after_bursts(const struct punch *p, uint64_t bursts_ms)
{
	return bursts_ms + burst_at_ms[BURSTS - 1] + PATIENCE_MS + 2 * p->plan.one_way_ms;
}

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
	return v < low ? low : v > high ? high : v;
}

void punch_start(struct punch *p, const struct punch_plan *plan, uint64_t now_ms)
{
	*p = (struct punch) { .state = PUNCH_RUNNING, .plan = *plan };
	p->plan.start_ms = clamp(plan->start_ms, now_ms, now_ms + PUNCH_MAX_WAIT_MS);
	p->plan.one_way_ms = (uint32_t)clamp(plan->one_way_ms, 0, PUNCH_MAX_ONE_WAY_MS);
	p->plan.remote.count = 0;
	for (size_t i = 0; i < plan->remote.count; i++)
		add_to_plan(p, plan->remote.items[i].kind, &plan->remote.items[i].addr);
	p->end_ms = end_after_bursts(p, planned_bursts_ms(&p->plan));
}

void punch_stop(struct punch *p)
{
	p->state = PUNCH_IDLE;
}

void punch_add_remote(struct punch *p, enum candidate_kind kind, const struct addr *addr, uint64_t now_ms)
{
	struct candidate_list *l = &p->plan.remote;

	if (p->state != PUNCH_RUNNING || !can_send_to(&p->plan, addr) || candidates_has(l, addr))
		return;
	/* What the peer is using now beats what it listed last. */
	if (l->count == RECORD_MAX_CANDIDATES)
		l->count--;
	if (now_ms < p->plan.start_ms) {
		add_to_plan(p, kind, addr);
		return;
	}
	candidates_add(l, kind, addr);
	add_target(p, STEP_BURSTS, now_ms);
	p->end_ms = clamp(p->end_ms, end_after_bursts(p, now_ms), UINT64_MAX);
}

void punch_on_reply(struct punch *p, const struct addr *from, uint64_t now_ms)
{
	if (p->state != PUNCH_RUNNING && p->state != PUNCH_FAILED)
		return;
	p->state = PUNCH_HIT;
	p->hit = *from;
	p->hit_ms = now_ms;
}

static uint64_t step_due_ms(const struct punch *p, const struct punch_target *t, unsigned step)
{
	if (step == t->steps)
		return UINT64_MAX;
	return step == STEP_OPENER ? p->plan.start_ms : t->bursts_ms + burst_at_ms[step - STEP_BURSTS];
}

/* When the next target is due, UINT64_MAX for never. Some of the budget is kept for after the hit. */
static uint64_t next_target(const struct punch *p, size_t *which)
{
	uint64_t first = UINT64_MAX;

	if (p->sent >= PUNCH_BUDGET - AFTER_HIT)
		return UINT64_MAX;
	for (size_t i = 0; i < p->plan.remote.count; i++) {
		uint64_t due = step_due_ms(p, &p->targets[i], p->targets[i].step);
		if (due >= first)
			continue;
		first = due;
		*which = i;
	}
	return first;
}

static bool next_after_hit(struct punch *p, uint64_t now_ms, struct punch_probe *out)
{
	if (now_ms < punch_deadline(p))
		return false;
	p->hit_probes++;
	p->sent++;
	*out = (struct punch_probe) { .to = p->hit };
	return true;
}

static bool next_while_running(struct punch *p, uint64_t now_ms, struct punch_probe *out)
{
	size_t i;

	if (next_target(p, &i) > now_ms)
		return false;
	struct punch_target *t = &p->targets[i];
	while (step_due_ms(p, t, t->step + 1U) <= now_ms)
		t->step++;
	*out = (struct punch_probe) { .to = p->plan.remote.items[i].addr };
	if (t->step == STEP_OPENER)
		out->ttl = punch_opener_ttl(p->plan.round, p->plan.depth);
	t->step++;
	p->sent++;
	return true;
}

bool punch_next(struct punch *p, uint64_t now_ms, struct punch_probe *out)
{
	if (p->state == PUNCH_HIT)
		return next_after_hit(p, now_ms, out);
	if (p->state != PUNCH_RUNNING)
		return false;
	if (now_ms >= p->end_ms) {
		p->state = PUNCH_FAILED;
		return false;
	}
	return next_while_running(p, now_ms, out);
}

uint64_t punch_deadline(const struct punch *p)
{
	size_t i;

	if (p->state == PUNCH_HIT && p->hit_probes < AFTER_HIT)
		return p->hit_ms + burst_at_ms[p->hit_probes];
	if (p->state != PUNCH_RUNNING)
		return UINT64_MAX;
	uint64_t due = next_target(p, &i);
	return due < p->end_ms ? due : p->end_ms;
}
