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

bool budget_take(struct budget *b, uint16_t port, uint64_t now_ms)
{
	if (port < BUDGET_MIN_PORT || budget_unanswered(b, now_ms) >= BUDGET_TUPLES)
		return refuse(b);
	if (!bucket_take(&b->rate, BUDGET_PPS, BUDGET_BURST, now_ms))
		return refuse(b);
	remember(b, now_ms);
	b->sent++;
	return true;
}

static uint64_t rate_allows_ms(const struct budget *b, uint64_t now_ms)
{
	struct bucket rate = b->rate;

	if (bucket_take(&rate, BUDGET_PPS, BUDGET_BURST, now_ms))
		return now_ms;
	return now_ms + (rate.spent + 1000 - BUDGET_BURST * 1000 + BUDGET_PPS - 1) / BUDGET_PPS;
}

uint64_t budget_next_ms(const struct budget *b, uint64_t now_ms)
{
	uint64_t rate_ms = rate_allows_ms(b, now_ms), oldest = UINT64_MAX;

	if (budget_unanswered(b, now_ms) < BUDGET_TUPLES)
		return rate_ms;
	for (unsigned i = 0; i < BUDGET_SLOTS; i++)
		if (b->slots[i].tuples && counts(b->slots[i].second, now_ms / 1000) &&
		    b->slots[i].second < oldest)
			oldest = b->slots[i].second;
	uint64_t free_ms = (oldest + HOLD_SECONDS + 1) * 1000;
	return free_ms > rate_ms ? free_ms : rate_ms;
}

uint64_t budget_again_ms(const struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	return is_counted(b, last_ms, now_ms) ? rate_allows_ms(b, now_ms) : budget_next_ms(b, now_ms);
}

bool budget_again(struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	if (budget_again_ms(b, last_ms, now_ms) > now_ms)
		return refuse(b);
	forget(b, last_ms, now_ms);
	return budget_take(b, BUDGET_MIN_PORT, now_ms);
}

void budget_answered(struct budget *b, uint64_t last_ms, uint64_t now_ms)
{
	forget(b, last_ms, now_ms);
}
