#include <errno.h>
#include <malloc.h>

#include "relay_bench.h"

static enum relay_action send_data(struct bench *b, uint32_t session, struct addr from)
{
	uint8_t data[40] = { RELAY_DATA };

	store_le32(data + 4, session);
	return give(b, data, sizeof data, from);
}

static void assert_forwarded(struct bench *b, uint32_t session, struct addr from, struct addr to)
{
	assert_int_equal(send_data(b, session, from), RELAY_FORWARD);
	assert_true(addr_equal(&b->route.node, &to));
}

static void it_forwards_both_ways_between_bound_members(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	assert_forwarded(&b, p.session, address(1), address(2));
	assert_forwarded(&b, p.session, address(2), address(1));
	struct relay_stats s = relay_server_stats(b.r);
	assert_int_equal(s.forwarded, 2);
	assert_int_equal(s.bytes, 80);
	assert_int_equal(s.bound, 2);
	assert_int_equal(relay_slot_take_bytes(b.r, p.a), 40);
	assert_int_equal(relay_slot_take_bytes(b.r, p.a), 0);
	assert_int_equal(relay_slot_take_bytes(b.r, p.b), 40);
	relay_slot_close(b.r, p.b);
	assert_int_equal(relay_slot_take_bytes(b.r, p.b), 0);
	relay_server_destroy(b.r);
}

static void quotas_drop_and_count_what_is_too_much(void **state)
{
	(void)state;
	struct bench b;
	struct quota_user nodes[2] = { 0 }, network = { 0 };
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	relay_slot_charge(b.r, p.a, &nodes[0], &network);
	relay_slot_charge(b.r, p.b, &nodes[1], &network);
	relay_server_set_month(b.r, 24322);
	relay_server_add_used(b.r, &nodes[0], 1000);
	relay_server_set_quota(b.r, &(struct quota_limits) { .node_month = 1080 });
	assert_forwarded(&b, p.session, address(1), address(2));
	assert_forwarded(&b, p.session, address(1), address(2));
	assert_int_equal(send_data(&b, p.session, address(1)), RELAY_DROP);
	assert_forwarded(&b, p.session, address(2), address(1));
	assert_int_equal(relay_server_stats(b.r).over_month, 1);
	relay_server_set_month(b.r, 24323);
	assert_forwarded(&b, p.session, address(1), address(2));

	relay_server_set_quota(b.r, &(struct quota_limits) { .network_rate = 1 });
	for (int i = 0; i < QUOTA_BURST_MIN / 40 + 1; i++)
		assert_forwarded(&b, p.session, address(1), address(2));
	assert_int_equal(send_data(&b, p.session, address(2)), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).over_rate, 1);
	relay_server_set_quota(b.r, &(struct quota_limits) { 0 });
	assert_forwarded(&b, p.session, address(2), address(1));
	assert_int_equal(relay_slot_take_bytes(b.r, p.b), 80);
	relay_server_destroy(b.r);
}

static void each_member_is_answered_from_where_it_is_bound(void **state)
{
	(void)state;
	struct bench b;
	struct addr one = address(1000), other = address(2000);
	bench_start(&b, 8, 8);
	struct pair p = { relay_slot_open(b.r, 1, token_a), relay_slot_open(b.r, 1, token_b), 0 };

	p.session = relay_session_open(b.r, p.a, p.b);
	b.hub = one;
	bind_slot(&b, p.a, token_a, address(1));
	assert_true(addr_equal(&b.route.hub, &one));
	b.hub = other;
	bind_slot(&b, p.b, token_b, address(2));
	assert_forwarded(&b, p.session, address(2), address(1));
	assert_true(addr_equal(&b.route.hub, &one));
	b.hub = one;
	assert_forwarded(&b, p.session, address(1), address(2));
	assert_true(addr_equal(&b.route.hub, &other));
	relay_server_destroy(b.r);
}

static void the_same_pair_has_one_session(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	assert_int_equal(relay_session_open(b.r, p.b, p.a), p.session);
	assert_int_equal(relay_server_stats(b.r).sessions, 1);
	relay_server_destroy(b.r);
}

static void sessions_join_one_network_only(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	uint32_t a = relay_slot_open(b.r, 1, token_a), c = relay_slot_open(b.r, 2, token_c);

	assert_int_equal(relay_session_open(b.r, a, c), 0);
	assert_int_equal(relay_session_open(b.r, a, a), 0);
	assert_int_equal(relay_session_open(b.r, a, 0), 0);
	assert_int_equal(relay_session_open(b.r, a, c + 1), 0);
	relay_server_destroy(b.r);
}

static void strangers_and_other_members_cannot_use_a_session(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);
	uint32_t c = relay_slot_open(b.r, 1, token_c);
	bind_slot(&b, c, token_c, address(3));

	assert_int_equal(send_data(&b, p.session, address(3)), RELAY_REPLY);
	assert_int_equal(b.reply_len, RELAY_UNBOUND_LEN);
	assert_int_equal(b.reply[1], RELAY_UNBOUND);
	assert_int_equal(load_le32(b.reply + 4), p.session);
	assert_int_equal(send_data(&b, p.session, address(4)), RELAY_REPLY);
	struct addr other_port = address(1);
	other_port.port += 100;
	assert_int_equal(send_data(&b, p.session, other_port), RELAY_REPLY);
	assert_int_equal(relay_server_stats(b.r).forwarded, 0);
	assert_int_equal(relay_server_stats(b.r).unbound, 3);
	relay_server_destroy(b.r);
}

/* All ids but the right one, from a bound member: never forwarded. */
static void guessing_sessions_finds_nothing(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);
	uint32_t c = relay_slot_open(b.r, 1, token_c), forwarded = 0;
	bind_slot(&b, c, token_c, address(3));

	for (uint32_t i = 0; i < 200000; i++) {
		forwarded += send_data(&b, rng_u32(&b.rng), address(3)) == RELAY_FORWARD;
		forwarded += send_data(&b, p.session + i, address(3)) == RELAY_FORWARD;
	}
	assert_int_equal(forwarded, 0);
	relay_server_destroy(b.r);
}

static void unbound_replies_are_limited(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	int replies = 0;

	for (uint32_t i = 0; i < 5000; i++)
		replies += send_data(&b, i, address(i)) == RELAY_REPLY;
	assert_int_equal(replies, RELAY_UNBOUND_PER_S);
	b.now += 100;
	for (uint32_t i = 0; i < 5000; i++)
		replies += send_data(&b, i, address(i)) == RELAY_REPLY;
	assert_int_equal(replies, RELAY_UNBOUND_PER_S * 11 / 10);
	relay_server_destroy(b.r);
}

static void data_for_an_unbound_end_is_dropped(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	uint32_t a = relay_slot_open(b.r, 1, token_a), c = relay_slot_open(b.r, 1, token_b);
	uint32_t session = relay_session_open(b.r, a, c);
	bind_slot(&b, a, token_a, address(1));

	assert_int_equal(send_data(&b, session, address(1)), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).undeliverable, 1);
	relay_server_destroy(b.r);
}

static void a_proof_is_good_for_its_address_slot_token_and_time(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	uint32_t a = relay_slot_open(b.r, 1, token_a), c = relay_slot_open(b.r, 1, token_b);
	uint8_t prove[RELAY_PROVE_LEN], other[RELAY_PROVE_LEN];

	get_proof(&b, prove, a, token_a, address(1));
	assert_int_equal(give(&b, prove, sizeof prove, address(2)), RELAY_DROP);
	prove_message(other, a, prove + 8, token_b);
	assert_int_equal(give(&b, other, sizeof other, address(1)), RELAY_DROP);
	prove_message(other, c, prove + 8, token_b);
	assert_int_equal(give(&b, other, sizeof other, address(1)), RELAY_DROP);
	b.now += 2 * RELAY_EPOCH_MS;
	assert_int_equal(give(&b, prove, sizeof prove, address(1)), RELAY_DROP);
	assert_int_equal(relay_server_stats(b.r).bad_proof, 4);
	assert_int_equal(relay_server_stats(b.r).bound, 0);
	b.now -= RELAY_EPOCH_MS;
	assert_int_equal(give(&b, prove, sizeof prove, address(1)), RELAY_REPLY);
	relay_server_destroy(b.r);
}

static void any_bit_flip_or_cut_of_a_proof_changes_nothing(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	uint32_t a = relay_slot_open(b.r, 1, token_a);
	uint8_t prove[RELAY_PROVE_LEN + 1] = { 0 }, bad[RELAY_PROVE_LEN];

	get_proof(&b, prove, a, token_a, address(1));
	for (size_t bit = 0; bit < sizeof bad * 8; bit++) {
		memcpy(bad, prove, sizeof bad);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		give(&b, bad, sizeof bad, address(1));
		assert_int_equal(relay_server_stats(b.r).bound, 0);
	}
	for (size_t len = 0; len <= RELAY_PROVE_LEN + 1; len++) {
		give(&b, prove, len, address(1));
		assert_int_equal(relay_server_stats(b.r).bound, len >= RELAY_PROVE_LEN);
		if (len == RELAY_PROVE_LEN)
			assert_int_equal(b.reply[1], RELAY_BOUND);
	}
	relay_server_destroy(b.r);
}

static void no_reply_is_longer_than_its_request(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);
	uint8_t msg[64];

	for (int i = 0; i < 200000; i++) {
		size_t len = rng_below(&b.rng, sizeof msg);
		rng_fill(&b.rng, msg, sizeof msg);
		msg[0] = RELAY_DATA + (msg[0] & 1);
		msg[1] &= 7;
		msg[2] = msg[3] = 0;
		if (i % 2)
			store_le32(msg + 4, i % 4 == 1 ? p.a : p.session);
		b.now += i % 16 == 0;
		give(&b, msg, len, address(rng_below(&b.rng, 4)));
		assert_true(b.reply_len <= len);
	}
	relay_server_destroy(b.r);
}

static void a_member_that_moved_is_reached_at_its_new_address_only(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	bind_slot(&b, p.a, token_a, address(9));
	assert_forwarded(&b, p.session, address(2), address(9));
	assert_forwarded(&b, p.session, address(9), address(2));
	assert_int_equal(send_data(&b, p.session, address(1)), RELAY_REPLY);
	relay_server_destroy(b.r);
}

static void a_silent_binding_is_forgotten_and_data_keeps_one(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);

	b.now += RELAY_IDLE_MS - 1;
	assert_forwarded(&b, p.session, address(1), address(2));
	b.now += 1;
	assert_int_equal(send_data(&b, p.session, address(1)), RELAY_DROP);
	assert_int_equal(send_data(&b, p.session, address(2)), RELAY_REPLY);
	assert_int_equal(relay_server_stats(b.r).bound, 1);
	relay_server_destroy(b.r);
}

static void a_closed_slot_takes_its_sessions_along(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 8, 8);
	struct pair p = bound_pair(&b);
	uint32_t c = relay_slot_open(b.r, 1, token_c), ac = relay_session_open(b.r, p.a, c);
	uint32_t bc = relay_session_open(b.r, p.b, c);
	bind_slot(&b, c, token_c, address(3));

	relay_slot_close(b.r, p.a);
	relay_slot_close(b.r, p.a);
	assert_int_equal(relay_server_stats(b.r).sessions, 1);
	assert_int_equal(send_data(&b, p.session, address(2)), RELAY_REPLY);
	assert_int_equal(send_data(&b, ac, address(3)), RELAY_REPLY);
	assert_forwarded(&b, bc, address(3), address(2));
	relay_server_destroy(b.r);
}

static void an_old_id_never_names_a_new_owner(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 2, 1);
	uint32_t keep = relay_slot_open(b.r, 1, token_b), last_slot = 0, last_session = 0;

	for (int i = 0; i < 1000; i++) {
		uint32_t slot = relay_slot_open(b.r, 1, token_a),
			 session = relay_session_open(b.r, keep, slot);
		assert_int_not_equal(slot, 0);
		assert_int_not_equal(session, 0);
		assert_int_not_equal(slot, last_slot);
		assert_int_not_equal(session, last_session);
		relay_slot_close(b.r, last_slot);
		assert_int_equal(relay_server_stats(b.r).slots, 2);
		relay_slot_close(b.r, slot);
		last_slot = slot;
		last_session = session;
	}
	relay_server_destroy(b.r);
}

static void full_tables_say_so(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 40, 100);
	uint32_t slots[41], opened = 0;

	for (int i = 0; i < 41; i++)
		slots[i] = relay_slot_open(b.r, 1, token_a);
	assert_int_not_equal(slots[39], 0);
	assert_int_equal(slots[40], 0);
	for (int i = 0; i < 40; i++)
		for (int j = 0; j < i; j++)
			opened += relay_session_open(b.r, slots[i], slots[j]) != 0;
	assert_int_equal(opened, 100);
	for (int i = 0; i < 40; i++)
		relay_slot_close(b.r, slots[i]);
	assert_int_equal(relay_server_stats(b.r).slots, 0);
	assert_int_equal(relay_server_stats(b.r).sessions, 0);
	relay_server_destroy(b.r);
}

static void a_million_spoofed_sources_leave_no_state(void **state)
{
	(void)state;
	struct bench b;
	bench_start(&b, 1000, 1000);
	struct pair p = bound_pair(&b);
	uint8_t bind[RELAY_BIND_LEN], prove[RELAY_PROVE_LEN];
	struct relay_stats before = relay_server_stats(b.r);
	size_t heap = mallinfo2().uordblks;

	bind_message(bind, p.a);
	prove_message(prove, p.a, bind + 8, token_c);
	for (uint32_t i = 1000; i < 1001000; i++) {
		switch (i % 3) {
		case 0: give(&b, bind, sizeof bind, address(i)); break;
		case 1: give(&b, prove, sizeof prove, address(i)); break;
		case 2: send_data(&b, p.session, address(i)); break;
		}
	}
	struct relay_stats after = relay_server_stats(b.r);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(after.sessions, before.sessions);
	assert_int_equal(after.bound, before.bound);
	assert_int_equal(after.forwarded, before.forwarded);
	assert_int_equal(mallinfo2().uordblks, heap);
	assert_forwarded(&b, p.session, address(1), address(2));
	relay_server_destroy(b.r);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_forwards_both_ways_between_bound_members),
		cmocka_unit_test(quotas_drop_and_count_what_is_too_much),
		cmocka_unit_test(each_member_is_answered_from_where_it_is_bound),
		cmocka_unit_test(the_same_pair_has_one_session),
		cmocka_unit_test(sessions_join_one_network_only),
		cmocka_unit_test(strangers_and_other_members_cannot_use_a_session),
		cmocka_unit_test(guessing_sessions_finds_nothing),
		cmocka_unit_test(unbound_replies_are_limited),
		cmocka_unit_test(data_for_an_unbound_end_is_dropped),
		cmocka_unit_test(a_proof_is_good_for_its_address_slot_token_and_time),
		cmocka_unit_test(any_bit_flip_or_cut_of_a_proof_changes_nothing),
		cmocka_unit_test(no_reply_is_longer_than_its_request),
		cmocka_unit_test(a_member_that_moved_is_reached_at_its_new_address_only),
		cmocka_unit_test(a_silent_binding_is_forgotten_and_data_keeps_one),
		cmocka_unit_test(a_closed_slot_takes_its_sessions_along),
		cmocka_unit_test(an_old_id_never_names_a_new_owner),
		cmocka_unit_test(full_tables_say_so),
		cmocka_unit_test(a_million_spoofed_sources_leave_no_state),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
