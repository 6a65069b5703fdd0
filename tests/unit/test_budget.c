#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "nat/budget.h"

enum { START_MS = 5000000, CALLS = 60000, TUPLES = 4096 };

static void ports_below_1024_are_never_probed(void **state)
{
	(void)state;
	struct budget b = { 0 };

	assert_false(budget_take(&b, 0, START_MS));
	assert_false(budget_take(&b, 162, START_MS));
	assert_false(budget_take(&b, 1023, START_MS));
	assert_int_equal(budget_unanswered(&b, START_MS), 0);
	assert_true(budget_take(&b, 1024, START_MS));
	assert_true(budget_take(&b, 65535, START_MS));
	assert_int_equal(b.sent, 2);
	assert_int_equal(b.refused, 3);
}

static void the_rate_is_a_burst_and_250_a_second(void **state)
{
	(void)state;
	struct budget b = { 0 };
	unsigned taken = 0;

	while (budget_take(&b, 5000, START_MS))
		taken++;
	assert_int_equal(taken, BUDGET_BURST);
	assert_int_equal(budget_next_ms(&b, START_MS), START_MS + 4);
	assert_false(budget_take(&b, 5000, START_MS + 3));
	assert_true(budget_take(&b, 5000, START_MS + 4));
	for (uint64_t now = START_MS + 5; now <= START_MS + 1004; now++)
		taken += budget_take(&b, 5000, now);
	assert_int_equal(taken, BUDGET_BURST + BUDGET_PPS);
}

/* Takes all tuples as fast as the rate allows; the time after the last. */
static uint64_t use_up(struct budget *b, uint64_t now_ms)
{
	for (unsigned i = 0; i < BUDGET_TUPLES; i++) {
		now_ms = budget_next_ms(b, now_ms);
		assert_true(budget_take(b, 5000, now_ms));
	}
	return now_ms;
}

static void tuples_come_back_when_the_router_has_forgotten_them(void **state)
{
	(void)state;
	struct budget b = { 0 };
	uint64_t end = use_up(&b, START_MS), next = budget_next_ms(&b, end + 100);

	assert_int_equal(budget_unanswered(&b, end), BUDGET_TUPLES);
	assert_false(budget_take(&b, 5000, end + 100));
	assert_true(next >= START_MS + BUDGET_HOLD_MS && next <= START_MS + BUDGET_HOLD_MS + 1000);
	assert_false(budget_take(&b, 5000, next - 1));
	assert_true(budget_take(&b, 5000, next));
	assert_int_equal(budget_unanswered(&b, end + BUDGET_HOLD_MS + 1000), 1);
}

static void a_tuple_that_answered_makes_room(void **state)
{
	(void)state;
	struct budget b = { 0 };
	uint64_t end = use_up(&b, START_MS);

	budget_answered(&b, end, end + 50);
	assert_int_equal(budget_unanswered(&b, end + 50), BUDGET_TUPLES - 1);
	assert_true(budget_take(&b, 5000, end + 50));
	assert_false(budget_take(&b, 5000, end + 100));
	budget_answered(&b, end + 7000, end + 100); /* nothing was sent then */
	budget_answered(&b, 0, end + 100);
	assert_int_equal(budget_unanswered(&b, end + 100), BUDGET_TUPLES);
}

static void a_repeat_needs_the_rate_alone_and_counts_anew(void **state)
{
	(void)state;
	struct budget b = { 0 };
	uint64_t end = use_up(&b, START_MS), later = START_MS + 20000, after = later + BUDGET_HOLD_MS;

	assert_true(budget_again(&b, START_MS, later));
	assert_int_equal(budget_unanswered(&b, later), BUDGET_TUPLES);
	assert_int_equal(budget_unanswered(&b, after), 1); /* the others have been forgotten */
	for (unsigned i = 1; i < BUDGET_BURST; i++)
		assert_true(budget_again(&b, end, later));
	assert_false(budget_again(&b, end, later));
	/* Who tries many ports waits until there is more than what is left to others. */
	assert_int_equal(budget_again_many_ms(&b, end, later), later + 4 * (1 + BUDGET_LEFT_AT_ONCE));
}

static void a_repeat_to_what_is_forgotten_is_a_new_tuple(void **state)
{
	(void)state;
	struct budget b = { 0 };
	uint64_t later = START_MS + 60000, end;

	assert_true(budget_again(&b, START_MS, later));
	assert_int_equal(budget_unanswered(&b, later), 1);
	b = (struct budget) { 0 };
	end = use_up(&b, later);
	assert_false(budget_again(&b, START_MS, end + 100));
	assert_true(budget_again_many_ms(&b, START_MS, end + 100) > end + BUDGET_HOLD_MS - 10000);
}

/* What really was sent, by tuple: the model that the budget has to agree with. */
struct model {
	uint64_t last_ms[TUPLES]; /* 0: never, or answered */
	uint64_t sent_ms[CALLS];
	size_t sent;
};

static unsigned unanswered(const struct model *m, uint64_t now_ms)
{
	unsigned count = 0;

	for (unsigned i = 0; i < TUPLES; i++)
		count += m->last_ms[i] && now_ms - m->last_ms[i] < BUDGET_HOLD_MS;
	return count;
}

static void check_rate(const struct model *m)
{
	for (size_t i = 0; i < m->sent; i++) {
		size_t j = i + BUDGET_BURST + BUDGET_PPS;
		if (j < m->sent) /* one more than what a second and the burst allow */
			assert_true(m->sent_ms[j] - m->sent_ms[i] >= 1000);
	}
}

static void act(struct budget *b, struct model *m, struct rng *rng, uint64_t now_ms)
{
	unsigned tuple = rng_below(rng, TUPLES), what = rng_below(rng, 100);
	uint64_t last_ms = m->last_ms[tuple];
	bool sent = false;

	if (what == 0 && last_ms) {
		budget_answered(b, last_ms, now_ms);
		m->last_ms[tuple] = 0;
	} else if (last_ms) {
		sent = budget_again(b, last_ms, now_ms);
	} else {
		sent = budget_take(b, (uint16_t)(1024 + tuple), now_ms);
	}
	if (!sent)
		return;
	m->last_ms[tuple] = now_ms;
	m->sent_ms[m->sent++] = now_ms;
}

static void no_order_of_calls_gets_more_than_the_budget(void **state)
{
	(void)state;
	static struct model m;
	struct rng rng;

	for (unsigned seed = 1; seed <= 5; seed++) {
		struct budget b = { 0 };
		uint64_t now = START_MS;
		unsigned most = 0;

		memset(&m, 0, sizeof(m));
		rng_init_seed(&rng, seed);
		for (unsigned i = 0; i < CALLS; i++) {
			act(&b, &m, &rng, now);
			now += rng_below(&rng, 4 * seed) == 0 ? rng_below(&rng, 30) : 0;
			if (i % 64)
				continue;
			unsigned count = unanswered(&m, now);
			assert_true(count <= BUDGET_TUPLES);
			assert_true(budget_unanswered(&b, now) >= count);
			most = count > most ? count : most;
		}
		assert_true(most > BUDGET_TUPLES / 2); /* the limit was near */
		check_rate(&m);
	}
}

static void who_tries_many_leaves_some_to_who_tries_few(void **state)
{
	(void)state;
	struct budget b = { 0 };
	uint64_t now_ms = START_MS;
	unsigned taken = 0;

	while (budget_take_many(&b, 5000, now_ms))
		taken++;
	assert_int_equal(taken, BUDGET_BURST - BUDGET_LEFT_AT_ONCE);
	assert_true(budget_next_many_ms(&b, now_ms) > now_ms);
	assert_int_equal(budget_next_ms(&b, now_ms), now_ms);
	assert_true(budget_take(&b, 5000, now_ms));
	while ((now_ms = budget_next_many_ms(&b, now_ms)) < START_MS + BUDGET_HOLD_MS)
		assert_true(budget_take_many(&b, 5000, now_ms));
	now_ms = START_MS + 10000;
	assert_int_equal(budget_unanswered(&b, now_ms), BUDGET_TUPLES - BUDGET_LEFT);
	assert_false(budget_take_many(&b, 5000, now_ms));
	/* A repeat takes no tuple, and does not lose its own either. */
	assert_int_equal(budget_again_many_ms(&b, START_MS, now_ms), now_ms);
	assert_true(budget_again_many(&b, START_MS, now_ms));
	assert_int_equal(budget_unanswered(&b, now_ms), BUDGET_TUPLES - BUDGET_LEFT);
	for (unsigned i = 0; i < BUDGET_LEFT; i++)
		assert_true(budget_take(&b, 5000, now_ms));
	assert_false(budget_take(&b, 5000, now_ms));
	/* Also beyond what is theirs. */
	assert_true(budget_again_many(&b, START_MS, now_ms));
	assert_int_equal(budget_unanswered(&b, now_ms), BUDGET_TUPLES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_below_1024_are_never_probed),
		cmocka_unit_test(the_rate_is_a_burst_and_250_a_second),
		cmocka_unit_test(tuples_come_back_when_the_router_has_forgotten_them),
		cmocka_unit_test(a_tuple_that_answered_makes_room),
		cmocka_unit_test(a_repeat_needs_the_rate_alone_and_counts_anew),
		cmocka_unit_test(a_repeat_to_what_is_forgotten_is_a_new_tuple),
		cmocka_unit_test(who_tries_many_leaves_some_to_who_tries_few),
		cmocka_unit_test(no_order_of_calls_gets_more_than_the_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
