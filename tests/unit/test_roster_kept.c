/* What a hub remembers of its members across a restart: what coord hands out, given back to a new one. */
#include "tests/unit/coord_bench.h"

static struct roster_change change;
static uint8_t record[COORD_RECORD_MAX];

static bool next_change(struct hub *h)
{
	if (!roster_next_change(coord_roster(h->c), &change))
		return false;
	if (change.record)
		memcpy(record, change.record, change.record_len);
	return true;
}

static bool is_of(const struct node *n)
{
	return !memcmp(change.key.ik, n->pk, 32) && !memcmp(change.key.netid, n->net->netid, 32);
}

static void coming_publishing_and_going_are_each_told_once(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	assert_false(next_change(&h));
	join(&h, 1, &ann);
	assert_true(next_change(&h));
	assert_true(is_of(&ann) && change.online && !change.record);
	assert_false(next_change(&h));
	publish(&h, 1, 7, "seven", 5);
	publish(&h, 1, 8, "eight", 5);
	publish(&h, 1, 6, "sixth", 5);
	assert_true(next_change(&h));
	assert_true(change.online && change.seq == 8 && change.record_len == 5);
	assert_memory_equal(record, "eight", 5);
	assert_false(next_change(&h));
	coord_on_close(h.c, 1, h.now);
	assert_true(next_change(&h));
	assert_true(!change.online && !change.record);
	assert_false(next_change(&h));
	hub_stop(&h);
}

static void a_member_that_is_forgotten_is_not_told_of(void **state)
{
	(void)state;
	struct hub h;

	hub_start(&h);
	join(&h, 1, &ann);
	coord_on_close(h.c, 1, h.now);
	pass_time(&h, ROSTER_SLOT_KEEP_MS + 1);
	assert_false(next_change(&h));
	hub_stop(&h);
}

static struct roster_change kept_of(const struct node *n, uint64_t seq, const char *text)
{
	struct roster_change was = { .seq = seq,
				     .record = (const uint8_t *)text,
				     .record_len = strlen(text) };

	memcpy(was.key.netid, n->net->netid, 32);
	memcpy(was.key.ik, n->pk, 32);
	return was;
}

static void members_hear_of_records_from_before_the_restart(void **state)
{
	(void)state;
	struct hub h;
	struct roster_change was = kept_of(&bob, 9, "bob's"), other = kept_of(&eve, 9, "eve's");

	hub_start(&h);
	assert_int_equal(roster_restore(coord_roster(h.c), &other, 60000, h.now), 0);
	assert_int_equal(roster_restore(coord_roster(h.c), &was, 1000, h.now), 0);
	assert_int_equal(roster_restore(coord_roster(h.c), &was, 1000, h.now), -EALREADY);
	assert_false(next_change(&h)); /* the store has it */
	assert_int_equal(coord_stats(h.c).records, 2);
	assert_int_equal(join(&h, 1, &ann)->members, 0);
	const Link__Peer *p = heard_of(&h, 1, &bob);
	assert_non_null(p);
	assert_false(p->online);
	assert_int_equal(p->record.len, 5);
	assert_memory_equal(p->record.data, "bob's", 5);
	assert_null(heard_of(&h, 1, &eve));
	/* When it comes back, an older record of it is none. */
	join(&h, 2, &bob);
	publish(&h, 2, 8, "older", 5);
	assert_null(heard_of(&h, 1, &bob));
	publish(&h, 2, 10, "newer", 5);
	assert_memory_equal(heard_of(&h, 1, &bob)->record.data, "newer", 5);
	hub_stop(&h);
}

static void the_hour_after_going_runs_on_across_the_restart(void **state)
{
	(void)state;
	struct hub h;
	struct roster_change old = kept_of(&ann, 1, "a"), was = kept_of(&bob, 1, "b");

	hub_start(&h);
	h.now = 5000; /* the machine has just begun, too */
	assert_int_equal(roster_restore(coord_roster(h.c), &old, ROSTER_RECORD_KEEP_MS, h.now), -ESTALE);
	assert_int_equal(roster_restore(coord_roster(h.c), &was, ROSTER_RECORD_KEEP_MS - 1000, h.now), 0);
	pass_time(&h, 999);
	assert_int_equal(coord_stats(h.c).records, 1);
	pass_time(&h, 2);
	assert_int_equal(coord_stats(h.c).records, 0);
	hub_stop(&h);
}

static void a_full_roster_restores_no_more_and_makes_room_for_who_comes(void **state)
{
	(void)state;
	struct hub h;
	struct roster_change was = kept_of(&bob, 1, "b");

	hub_start(&h);
	for (int i = 0; i < MAX_NODES; i++) {
		was.key.ik[0] = (uint8_t)i;
		assert_int_equal(roster_restore(coord_roster(h.c), &was, 1000, h.now), 0);
	}
	was.key.ik[0] = MAX_NODES;
	assert_int_equal(roster_restore(coord_roster(h.c), &was, 1000, h.now), -ENOSPC);
	join(&h, 1, &ann);
	assert_int_equal(coord_stats(h.c).records, MAX_NODES - 1);
	hub_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coming_publishing_and_going_are_each_told_once),
		cmocka_unit_test(a_member_that_is_forgotten_is_not_told_of),
		cmocka_unit_test(members_hear_of_records_from_before_the_restart),
		cmocka_unit_test(the_hour_after_going_runs_on_across_the_restart),
		cmocka_unit_test(a_full_roster_restores_no_more_and_makes_room_for_who_comes),
	};
	return cmocka_run_group_tests(tests, bench_setup, NULL);
}
