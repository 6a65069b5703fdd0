#include "core/replay.h"

static uint64_t *word_of(struct replay *r, uint64_t counter)
{
	return &r->words[counter / 64 % REPLAY_WORDS];
}

/* Empties the words between the one of the greatest counter so far and the one of `counter`. */
static void advance(struct replay *r, uint64_t counter)
{
	uint64_t from = r->next ? (r->next - 1) / 64 : 0, steps = counter / 64 - from;

	if (steps > REPLAY_WORDS)
		steps = REPLAY_WORDS;
	for (uint64_t i = 1; i <= steps; i++)
		*word_of(r, (from + i) * 64) = 0;
	r->next = counter + 1;
}

bool replay_accept(struct replay *r, uint64_t counter, uint64_t limit)
{
	if (counter >= limit)
		return false;
	if (r->next > REPLAY_WINDOW && counter < r->next - 1 - REPLAY_WINDOW)
		return false;
	if (counter >= r->next)
		advance(r, counter);
	uint64_t bit = UINT64_C(1) << counter % 64, *word = word_of(r, counter);
	if (*word & bit)
		return false;
	*word |= bit;
	return true;
}
