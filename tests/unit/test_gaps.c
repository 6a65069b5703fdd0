#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/control.h"
#include "core/gaps.h"

enum { T0 = 5000, SECOND = 1000 };

/* ---- the meter */

/* What has come by `at_ms`, and what is then reported of it; expected 0: nothing is. */
struct step {
	uint64_t at_ms, next, accepted;
	struct gaps_report want;
};

static void measures(const struct step *steps, size_t count)
{
	struct gaps_meter m = { 0 };

	for (size_t i = 0; i < count; i++) {
		const struct step *s = &steps[i];
		struct gaps_report got = { 0 };
		bool reports = gaps_measure(&m, s->next, s->accepted, s->at_ms, &got);
		assert_int_equal(reports, s->want.expected != 0);
		if (!reports)
			continue;
		assert_int_equal(got.expected, s->want.expected);
		assert_int_equal(got.missing, s->want.missing);
		assert_int_equal(got.ms, s->want.ms);
	}
}

#define MEASURES(...)                                                                     \
	do {                                                                              \
		static const struct step steps_[] = { { T0, 0, 0, { 0 } }, __VA_ARGS__ }; \
		measures(steps_, sizeof steps_ / sizeof *steps_);                         \
	} while (0)

static void more_than_a_sixteenth_of_512_is_reported_and_a_sixteenth_is_not(void **state)
{
	(void)state;
	MEASURES({ T0 + 1000, 512, 480, { 0 } });
	MEASURES({ T0 + 1000, 512, 479, { 512, 33, 1000 } });
	MEASURES({ T0 + 1000, 100000, 93750, { 0 } });
	MEASURES({ T0 + 1000, 100000, 93749, { 100000, 6251, 1000 } });
}

static void few_messages_say_nothing_unless_most_are_missing(void **state)
{
	(void)state;
	MEASURES({ T0 + 9000, 40, 8, { 0 } });
	MEASURES({ T0 + 9000, 41, 8, { 41, 33, 9000 } });
	/* They are counted on until there are enough. */
	MEASURES({ T0 + 1000, 300, 275, { 0 } }, { T0 + 2000, 600, 550, { 600, 50, 2000 } });
}

static void no_report_comes_within_a_second_of_the_last(void **state)
{
	(void)state;
	MEASURES({ T0 + 999, 5000, 50, { 0 } }, { T0 + 1000, 5001, 50, { 5001, 4951, 1000 } },
		 { T0 + 1999, 10000, 100, { 0 } }, { T0 + 2001, 10001, 100, { 5000, 4950, 1001 } });
}

static void a_measurement_begins_where_the_last_one_ended(void **state)
{
	(void)state;
	MEASURES({ T0 + 1000, 1000, 1000, { 0 } }, { T0 + 2500, 2000, 1900, { 1000, 100, 1500 } });
}

static void late_messages_fill_their_holes(void **state)
{
	(void)state;
	MEASURES({ T0 + 900, 1000, 500, { 0 } }, { T0 + 1000, 1000, 1000, { 0 } });
	/* Those of the measurement before make up for what is missing now; never for more than all. */
	MEASURES({ T0 + 1000, 1000, 900, { 1000, 100, 1000 } }, { T0 + 2000, 2000, 1980, { 1000, 0, 1000 } },
		 { T0 + 3000, 3000, 3000, { 1000, 0, 1000 } });
}

static void after_loss_eight_measurements_are_reported_whatever_they_say(void **state)
{
	(void)state;
	struct gaps_meter m = { 0 };
	struct gaps_report r;
	uint64_t now = T0, next = 1000, accepted = 500;

	assert_false(gaps_measure(&m, 0, 0, now, &r));
	assert_true(gaps_measure(&m, next, accepted, now += SECOND, &r));
	for (int i = 0; i < GAPS_FOLLOW_UPS; i++) {
		assert_true(gaps_measure(&m, next += 600, accepted += 600, now += SECOND, &r));
		assert_int_equal(r.missing, 0);
	}
	assert_false(gaps_measure(&m, next += 600, accepted += 600, now += SECOND, &r));
}

static void after_loss_few_messages_make_a_measurement(void **state)
{
	(void)state;
	MEASURES({ T0 + 1000, 1000, 500, { 1000, 500, 1000 } }, { T0 + 2000, 1127, 615, { 0 } },
		 { T0 + 2100, 1128, 616, { 128, 12, 1100 } });
}

static void a_counter_that_leaps_is_a_report_within_bounds(void **state)
{
	(void)state;
	MEASURES({ T0 + 1000, UINT64_MAX - 8192, 1, { GAPS_MAX, GAPS_MAX, 1000 } });
}

/* ---- the choice */

static const struct gaps_report broken = { 1000, 900, 1000 }, lossy = { 1000, 100, 1000 },
				healthy = { 1000, 10, 1000 };

/* As it is after loss has been reported twice: trying since T0. */
static struct gaps_choice trying(const struct gaps_report *with_trains)
{
	struct gaps_choice c = { 0 };

	gaps_on_report(&c, with_trains, "peer", T0 - SECOND);
	gaps_on_report(&c, with_trains, "peer", T0);
	assert_int_equal(c.state, GAPS_TRYING_SINGLY);
	return c;
}

static void loss_that_persists_begins_a_trial(void **state)
{
	(void)state;
	static const struct {
		struct gaps_report first, second;
		uint64_t between_ms;
		enum gaps_state want;
	} cases[] = {
		{ broken, broken, 1000, GAPS_TRYING_SINGLY },
		{ lossy, lossy, 1000, GAPS_TRYING_SINGLY },
		{ broken, broken, GAPS_PERSIST_MS, GAPS_TRYING_SINGLY },
		{ broken, broken, GAPS_PERSIST_MS + 1, GAPS_TRAINS },
		{ broken, broken, 0, GAPS_TRAINS },
		{ broken, healthy, 1000, GAPS_TRAINS },
		{ healthy, broken, 1000, GAPS_TRAINS },
		{ healthy, healthy, 1000, GAPS_TRAINS },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct gaps_choice c = { 0 };
		gaps_on_report(&c, &cases[i].first, "peer", T0);
		gaps_on_report(&c, &cases[i].second, "peer", T0 + cases[i].between_ms);
		assert_int_equal(c.state, cases[i].want);
		assert_int_equal(gaps_on_sent(&c, 64, "peer", T0 + cases[i].between_ms),
				 cases[i].want != GAPS_TRAINS);
	}
}

static void a_trial_helps_if_most_of_the_loss_is_gone_and_more_arrives(void **state)
{
	(void)state;
	static const struct {
		struct gaps_report before, then;
		enum gaps_state want;
	} cases[] = {
		{ broken, { 5000, 0, 1000 }, GAPS_SINGLY },
		{ broken, { 5000, 1120, 1000 }, GAPS_SINGLY },
		{ broken, { 5000, 1125, 1000 }, GAPS_TRAINS }, /* exactly a quarter of 90 % */
		{ lossy, { 2000, 49, 1000 }, GAPS_SINGLY },
		{ lossy, { 2000, 50, 1000 }, GAPS_TRAINS },
		{ lossy, { 1000, 100, 1000 }, GAPS_TRAINS },
		/* Nothing is lost any more because we are too slow to fill the network. */
		{ { 2000, 1000, 1000 }, { 900, 0, 1000 }, GAPS_TRAINS },
		{ { 2000, 1000, 1000 }, { 1250, 0, 1000 }, GAPS_TRAINS },
		{ { 2000, 1000, 1000 }, { 1251, 0, 1000 }, GAPS_SINGLY },
		{ { 2000, 1000, 1000 }, { 2500, 0, 2000 }, GAPS_TRAINS },
		{ { 2000, 1000, 1000 }, { 2501, 0, 2000 }, GAPS_SINGLY },
		{ { GAPS_MAX, GAPS_MAX, 1 }, { GAPS_MAX, 0, GAPS_MAX }, GAPS_SINGLY },
		{ { GAPS_MAX, GAPS_MAX, GAPS_MAX }, { GAPS_MAX, GAPS_MAX, 1 }, GAPS_TRAINS },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct gaps_choice c = trying(&cases[i].before);
		gaps_on_report(&c, &cases[i].then, "peer", T0 + GAPS_SETTLE_MS);
		assert_int_equal(c.state, cases[i].want);
	}
}

static void a_report_of_what_went_before_the_trial_decides_nothing(void **state)
{
	(void)state;
	struct gaps_choice c = trying(&broken);

	gaps_on_report(&c, &broken, "peer", T0 + GAPS_SETTLE_MS - 1);
	assert_int_equal(c.state, GAPS_TRYING_SINGLY);
}

static void a_trial_without_reports_helps_once_enough_was_sent(void **state)
{
	(void)state;
	static const struct {
		uint64_t after_ms;
		unsigned sent;
		enum gaps_state want;
	} cases[] = {
		{ GAPS_TRIAL_MS, GAPS_TRIAL_SENT, GAPS_SINGLY },
		{ GAPS_TRIAL_MS - 1, GAPS_TRIAL_SENT, GAPS_TRYING_SINGLY },
		{ GAPS_TRIAL_MS, GAPS_TRIAL_SENT - 1, GAPS_TRYING_SINGLY },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct gaps_choice c = trying(&broken);
		assert_true(gaps_on_sent(&c, cases[i].sent, "peer", T0 + 1));
		assert_true(gaps_on_sent(&c, 1, "peer", T0 + cases[i].after_ms));
		assert_int_equal(c.state, cases[i].want);
	}
}

/* From the moment at which a trial has begun: it helps, and trains are tried again after `ms`. */
static uint64_t helps_for(struct gaps_choice *c, uint64_t trial, uint64_t ms)
{
	uint64_t since = trial + GAPS_SETTLE_MS, end = since + ms;

	gaps_on_report(c, &(struct gaps_report) { 5000, 0, 1000 }, "peer", since);
	gaps_on_report(c, &broken, "peer", since + 1);
	gaps_on_report(c, &broken, "peer", since + 1000);
	assert_true(gaps_singly(c, end - 1));
	assert_true(gaps_on_sent(c, 1, "peer", end - 1));
	assert_false(gaps_singly(c, end));
	assert_false(gaps_on_sent(c, 1, "peer", end));
	return end;
}

static void breaks_again(struct gaps_choice *c, uint64_t now_ms)
{
	gaps_on_report(c, &broken, "peer", now_ms - 1000);
	assert_false(gaps_singly(c, now_ms - 1000));
	gaps_on_report(c, &broken, "peer", now_ms);
	assert_true(gaps_singly(c, now_ms));
}

static void trains_are_tried_again_after_a_minute_and_then_after_ten(void **state)
{
	(void)state;
	struct gaps_choice c = trying(&broken);
	uint64_t end = helps_for(&c, T0, GAPS_SINGLY_FIRST_MS);

	breaks_again(&c, end + 1001);
	end = helps_for(&c, end + 1001, GAPS_SINGLY_MS);
	breaks_again(&c, end + 1001);
	end = helps_for(&c, end + 1001, GAPS_SINGLY_MS);
	/* They went well for a minute: who knows whether it is trains again. */
	breaks_again(&c, end + GAPS_SINGLY_FIRST_MS);
	helps_for(&c, end + GAPS_SINGLY_FIRST_MS, GAPS_SINGLY_FIRST_MS);
}

static void after_congestion_there_is_no_trial_for_ten_minutes(void **state)
{
	(void)state;
	struct gaps_choice c = trying(&lossy);
	uint64_t end = T0 + GAPS_SETTLE_MS + GAPS_NO_TRIAL_MS;

	gaps_on_report(&c, &lossy, "peer", T0 + GAPS_SETTLE_MS);
	for (uint64_t now = T0 + GAPS_SETTLE_MS; now < end; now += SECOND) {
		gaps_on_report(&c, &lossy, "peer", now);
		assert_false(gaps_singly(&c, now));
	}
	gaps_on_report(&c, &lossy, "peer", end);
	assert_true(gaps_singly(&c, end));
}

/* ---- the message */

static void a_report_that_makes_no_sense_is_none(void **state)
{
	(void)state;
	static const struct {
		struct gaps_report report;
		bool want;
	} cases[] = {
		{ { 1000, 900, 1000 }, true },	      { { 0, 0, 0 }, true },
		{ { GAPS_MAX, GAPS_MAX, 1 }, true },  { { GAPS_MAX + 1, 0, 1 }, false },
		{ { 1000, 1001, 1000 }, false },      { { 0, UINT32_MAX, 1000 }, false },
		{ { UINT32_MAX, 900, 1000 }, false }, { { 1000, 900, UINT32_MAX }, true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t msg[CONTROL_GAPS_LEN];
		struct gaps_report got;
		control_write_gaps(msg, &cases[i].report);
		assert_int_equal(control_read_gaps(&got, msg, sizeof msg), cases[i].want);
		assert_false(control_read_gaps(&got, msg, sizeof msg - 1));
		if (cases[i].want)
			assert_memory_equal(&got, &cases[i].report, sizeof got);
		msg[1] = CONTROL_CIPHER;
		assert_false(control_read_gaps(&got, msg, sizeof msg));
	}
}

/* ---- both together */

static unsigned lost_of(bool singly, unsigned count)
{
	return !singly ? count - count / 45 : 0;
}

static void a_card_that_breaks_trains_is_found_within_seconds_and_costs_little(void **state)
{
	(void)state;
	struct gaps_choice c = { 0 };
	struct gaps_meter m = { 0 };
	struct gaps_report r;
	uint64_t now = T0, next = 0, accepted = 0;
	unsigned lost = 0;

	for (int i = 0; i < 60000; i++, now += 10) {
		bool singly = gaps_on_sent(&c, 450, "peer", now);
		unsigned gone = lost_of(singly, 450);
		next += 450;
		accepted += 450 - gone;
		lost += gone;
		if (gaps_measure(&m, next, accepted, now, &r))
			gaps_on_report(&c, &r, "peer", now);
	}
	assert_int_equal(c.state, GAPS_SINGLY);
	/* 10 minutes, of which the first two seconds were bad, and the first two after the first minute. */
	assert_in_range(lost, 1, 420 * 450);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_a_sixteenth_of_512_is_reported_and_a_sixteenth_is_not),
		cmocka_unit_test(few_messages_say_nothing_unless_most_are_missing),
		cmocka_unit_test(no_report_comes_within_a_second_of_the_last),
		cmocka_unit_test(a_measurement_begins_where_the_last_one_ended),
		cmocka_unit_test(late_messages_fill_their_holes),
		cmocka_unit_test(after_loss_eight_measurements_are_reported_whatever_they_say),
		cmocka_unit_test(after_loss_few_messages_make_a_measurement),
		cmocka_unit_test(a_counter_that_leaps_is_a_report_within_bounds),
		cmocka_unit_test(loss_that_persists_begins_a_trial),
		cmocka_unit_test(a_trial_helps_if_most_of_the_loss_is_gone_and_more_arrives),
		cmocka_unit_test(a_report_of_what_went_before_the_trial_decides_nothing),
		cmocka_unit_test(a_trial_without_reports_helps_once_enough_was_sent),
		cmocka_unit_test(trains_are_tried_again_after_a_minute_and_then_after_ten),
		cmocka_unit_test(after_congestion_there_is_no_trial_for_ten_minutes),
		cmocka_unit_test(a_report_that_makes_no_sense_is_none),
		cmocka_unit_test(a_card_that_breaks_trains_is_found_within_seconds_and_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
