#include "nat/budget.h"

enum {
	HOLD_SECONDS = BUDGET_HOLD_MS / 1000,
};

/* A tuple of any moment of second s counts to the end of second s + HOLD_SECONDS: never too short. */
_Static_assert(HOLD_SECONDS + 1 < BUDGET_SLOTS, "each second that counts needs a slot");

static bool counts(uint64_t second, uint64_t now_s)
{
	return second <= now_s && now_s - second <= HOLD_SECONDS;
}

unsigned budget_unanswered(const struct budget *b, uint64_t now_ms)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < BUDGET_SLOTS; i++)
		if (counts(b->slots[i].second, now_ms / 1000))
			sum += b->slots[i].tuples;
	return sum;
}

/* A tuple last probed then is among those that count. */
static bool is_counted(const struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	uint64_t second = last_ms / 1000;
	unsigned i = second % BUDGET_SLOTS;

	return counts(second, now_ms / 1000) && b->slots[i].second == second && b->slots[i].tuples > 0;
}

static void forget(struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	if (is_counted(b, last_ms, now_ms))
		b->slots[last_ms / 1000 % BUDGET_SLOTS].tuples--;
}

static void remember(struct budget *b, uint64_t now_ms)
{
	uint64_t second = now_ms / 1000;
	unsigned i = second % BUDGET_SLOTS;

	if (b->slots[i].second != second) {
		b->slots[i].second = second;
		b->slots[i].tuples = 0;
	}
	b->slots[i].tuples++;
}

static bool refuse(struct budget *b)
{
	b->refused++;
	return false;
}

/* Whether `left` of the tuples are not for this one: then neither is some of the rate. */
static unsigned burst_for(unsigned left)
{
	return left ? BUDGET_BURST - BUDGET_LEFT_AT_ONCE : BUDGET_BURST;
}

static uint64_t rate_allows_ms(const struct budget *b, unsigned left, uint64_t now_ms)
{
	struct bucket rate = b->rate;
	unsigned burst = burst_for(left);

	if (bucket_take(&rate, BUDGET_PPS, burst, now_ms))
		return now_ms;
	return now_ms + (rate.spent + 1000 - burst * 1000 + BUDGET_PPS - 1) / BUDGET_PPS;
}

static bool take(struct budget *b, uint16_t port, unsigned left, uint64_t now_ms)
{
	if (port < BUDGET_MIN_PORT || budget_unanswered(b, now_ms) >= BUDGET_TUPLES - left)
		return refuse(b);
	if (!bucket_take(&b->rate, BUDGET_PPS, burst_for(left), now_ms))
		return refuse(b);
	remember(b, now_ms);
	b->sent++;
	return true;
}

static uint64_t next_ms(const struct budget *b, unsigned left, uint64_t now_ms)
{
	uint64_t rate_ms = rate_allows_ms(b, left, now_ms), oldest = UINT64_MAX;

	if (budget_unanswered(b, now_ms) < BUDGET_TUPLES - left)
		return rate_ms;
	for (unsigned i = 0; i < BUDGET_SLOTS; i++)
		if (b->slots[i].tuples && counts(b->slots[i].second, now_ms / 1000) &&
		    b->slots[i].second < oldest)
			oldest = b->slots[i].second;
	uint64_t free_ms = (oldest + HOLD_SECONDS + 1) * 1000;
	return free_ms > rate_ms ? free_ms : rate_ms;
}

static uint64_t again_ms(const struct budget *b, uint64_t last_ms, unsigned left, uint64_t now_ms)
{
	return is_counted(b, last_ms, now_ms) ? rate_allows_ms(b, left, now_ms) : next_ms(b, left, now_ms);
}

static bool again(struct budget *b, uint64_t last_ms, unsigned left, uint64_t now_ms)
{
	if (!is_counted(b, last_ms, now_ms))
		return take(b, BUDGET_MIN_PORT, left, now_ms);
	if (!bucket_take(&b->rate, BUDGET_PPS, burst_for(left), now_ms))
		return refuse(b);
	forget(b, last_ms, now_ms);
	remember(b, now_ms);
	b->sent++;
	return true;
}

bool budget_take(struct budget *b, uint16_t port, uint64_t now_ms)
{
	return take(b, port, 0, now_ms);
}

bool budget_again(struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	return again(b, last_ms, 0, now_ms);
}

uint64_t budget_next_ms(const struct budget *b, uint64_t now_ms)
{
	return next_ms(b, 0, now_ms);
}

bool budget_take_many(struct budget *b, uint16_t port, uint64_t now_ms)
{
	return take(b, port, BUDGET_LEFT, now_ms);
}

bool budget_again_many(struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	return again(b, last_ms, BUDGET_LEFT, now_ms);
}

uint64_t budget_next_many_ms(const struct budget *b, uint64_t now_ms)
{
	return next_ms(b, BUDGET_LEFT, now_ms);
}

uint64_t budget_again_many_ms(const struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	return again_ms(b, last_ms, BUDGET_LEFT, now_ms);
}

void budget_answered(struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	forget(b, last_ms, now_ms);
}
