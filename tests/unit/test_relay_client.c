/* The client against the server, in virtual time over a link that loses, delays and forges. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "relay/relay_client.h"
#include "relay/relay_server.h"

enum { FLIGHT = 64 };

struct flight {
	uint64_t at;
	bool to_server;
	struct addr from;
	uint8_t msg[RELAY_CLIENT_MESSAGE_MAX];
	size_t len;
};

struct world {
	struct relay_server *r;
	struct relay_client c;
	struct rng rng;
	struct addr server, client;
	uint64_t now;
	uint32_t one_way_ms, loss_percent;
	uint32_t slot, sent;
	struct flight air[FLIGHT];
};

static const uint8_t token[RELAY_TOKEN] = "the token of the slot";

static struct addr address(uint8_t last, uint16_t port)
{
	return addr_from_ip(ADDR_V4, (const uint8_t[]) { 198, 51, 100, last }, port);
}

static void world_start(struct world *w, uint64_t seed, uint32_t one_way_ms, uint32_t loss_percent)
{
	*w = (struct world) { .now = 5000, .one_way_ms = one_way_ms, .loss_percent = loss_percent };
	rng_init_seed(&w->rng, seed);
	w->r = relay_server_create(4, 4, &w->rng);
	w->slot = relay_slot_open(w->r, 1, token);
	w->server = address(1, 3478);
	w->client = address(2, 40000);
	relay_client_start(&w->c, &w->server, w->slot, token, w->now);
}

static void launch(struct world *w, bool to_server, const uint8_t *msg, size_t len)
{
	if (rng_below(&w->rng, 100) < w->loss_percent)
		return;
	for (size_t i = 0; i < FLIGHT; i++) {
		struct flight *f = &w->air[i];
		if (f->at)
			continue;
		*f = (struct flight) {
			w->now + w->one_way_ms, to_server, to_server ? w->client : w->server, { 0 }, len
		};
		memcpy(f->msg, msg, len);
		return;
	}
	fail();
}

static void land(struct world *w, struct flight *f)
{
	uint8_t reply[RELAY_PROVE_LEN];
	size_t reply_len = 0;
	struct relay_route route = { .node = f->from };

	f->at = 0;
	if (!f->to_server) {
		relay_client_on_message(&w->c, f->msg, f->len, &f->from, w->now);
		return;
	}
	if (relay_server_on_datagram(w->r, f->msg, f->len, &route, w->now, reply, &reply_len) ==
		    RELAY_REPLY &&
	    addr_equal(&f->from, &w->client))
		launch(w, false, reply, reply_len);
}

static void run(struct world *w, uint64_t until)
{
	for (; w->now < until; w->now++) {
		uint8_t out[RELAY_CLIENT_MESSAGE_MAX];
		size_t len = relay_client_next(&w->c, w->now, out);
		if (len) {
			w->sent++;
			launch(w, true, out, len);
		}
		for (size_t i = 0; i < FLIGHT; i++)
			if (w->air[i].at && w->air[i].at <= w->now)
				land(w, &w->air[i]);
	}
}

static bool server_has_it(struct world *w)
{
	return relay_server_stats(w->r).bound == 1;
}

static void it_binds_in_two_round_trips(void **state)
{
	(void)state;
	struct world w;

	world_start(&w, 1, 50, 0);
	assert_false(relay_client_bound(&w.c));
	run(&w, 5000 + 202);
	assert_true(relay_client_bound(&w.c));
	assert_int_equal(w.c.state, RELAY_IS_BOUND);
	assert_int_equal(w.sent, 2);
	assert_true(server_has_it(&w));
	relay_server_destroy(w.r);
}

static void it_binds_over_links_slower_than_its_retry(void **state)
{
	(void)state;
	static const uint32_t one_way[] = { 130, 200, 300, 500, 800 };

	for (size_t i = 0; i < sizeof one_way / sizeof *one_way; i++) {
		struct world w;
		world_start(&w, i, one_way[i], 0);
		run(&w, 5000 + 4 * one_way[i] + 2);
		assert_true(relay_client_bound(&w.c));
		relay_server_destroy(w.r);
	}
}

static void it_binds_and_stays_bound_over_a_lossy_link(void **state)
{
	(void)state;

	for (uint64_t seed = 0; seed < 50; seed++) {
		struct world w;
		world_start(&w, seed, 40, 30);
		run(&w, 5000 + 60000);
		assert_true(relay_client_bound(&w.c));
		run(&w, 5000 + 1000000);
		assert_true(server_has_it(&w));
		relay_server_destroy(w.r);
	}
}

static void it_refreshes_each_minute_and_no_more(void **state)
{
	(void)state;
	struct world w;

	world_start(&w, 1, 20, 0);
	run(&w, 5000 + 10 * 60000);
	assert_true(server_has_it(&w));
	assert_in_range(w.sent, 18, 20);
	relay_server_destroy(w.r);
}

static void its_deadline_is_when_it_has_something_to_send(void **state)
{
	(void)state;
	struct world w;
	uint8_t out[RELAY_CLIENT_MESSAGE_MAX];

	world_start(&w, 1, 20, 100);
	for (int i = 0; i < 20; i++) {
		uint64_t due = relay_client_deadline(&w.c);
		assert_int_equal(i ? relay_client_next(&w.c, due - 1, out) : 0, 0);
		assert_int_equal(relay_client_next(&w.c, due, out), RELAY_BIND_LEN);
		assert_in_range(relay_client_deadline(&w.c) - due, RELAY_RETRY_FIRST_MS, RELAY_RETRY_MAX_MS);
	}
	relay_client_stop(&w.c);
	assert_int_equal(relay_client_deadline(&w.c), UINT64_MAX);
	assert_int_equal(relay_client_next(&w.c, w.now + 1000000, out), 0);
	assert_true(crypto_is_zero(&w.c, sizeof w.c));
	relay_server_destroy(w.r);
}

static void an_unbound_makes_it_bind_anew_while_data_goes_on(void **state)
{
	(void)state;
	struct world w;
	const uint8_t unbound[RELAY_UNBOUND_LEN] = { RELAY_CONTROL, RELAY_UNBOUND, 0, 0, 9 };

	world_start(&w, 1, 20, 0);
	run(&w, 6000);
	w.client.port++;
	assert_true(relay_client_on_message(&w.c, unbound, sizeof unbound, &w.server, w.now));
	assert_true(relay_client_bound(&w.c));
	run(&w, 6100);
	assert_int_equal(w.c.state, RELAY_IS_BOUND);
	assert_int_equal(w.sent, 4);
	relay_server_destroy(w.r);
}

static void forged_unbounds_cost_ten_messages_a_second_at_most(void **state)
{
	(void)state;
	struct world w;
	const uint8_t unbound[RELAY_UNBOUND_LEN] = { RELAY_CONTROL, RELAY_UNBOUND };

	world_start(&w, 1, 5, 0);
	run(&w, 6000);
	w.sent = 0;
	for (uint64_t end = w.now + 10000; w.now < end;) {
		relay_client_on_message(&w.c, unbound, sizeof unbound, &w.server, w.now);
		assert_true(relay_client_bound(&w.c));
		run(&w, w.now + 1);
	}
	assert_in_range(w.sent, 2, 100);
	relay_server_destroy(w.r);
}

static void unbounds_during_a_rebind_do_not_start_it_over(void **state)
{
	(void)state;
	struct world w;
	const uint8_t unbound[RELAY_UNBOUND_LEN] = { RELAY_CONTROL, RELAY_UNBOUND };

	world_start(&w, 1, 150, 0);
	run(&w, 6000);
	relay_client_rebind(&w.c, w.now);
	for (uint64_t end = w.now + 602; w.now < end;) {
		relay_client_on_message(&w.c, unbound, sizeof unbound, &w.server, w.now);
		run(&w, w.now + 1);
		if (w.c.state == RELAY_IS_BOUND)
			break;
	}
	assert_int_equal(w.c.state, RELAY_IS_BOUND);
	relay_server_destroy(w.r);
}

static void many_rebinds_are_one_and_are_not_put_off_for_ever(void **state)
{
	(void)state;
	struct world w;

	world_start(&w, 1, 20, 0);
	run(&w, 6000);
	w.sent = 0;
	for (uint64_t end = w.now + 400; w.now < end;) {
		relay_client_rebind(&w.c, w.now);
		run(&w, w.now + 1);
	}
	run(&w, w.now + 100);
	assert_in_range(w.sent, 4, 6);
	assert_int_equal(w.c.state, RELAY_IS_BOUND);
	relay_server_destroy(w.r);
}

static void starting_what_runs_already_lets_data_go_on(void **state)
{
	(void)state;
	struct world w;

	world_start(&w, 1, 20, 0);
	run(&w, 6000);
	relay_client_start(&w.c, &w.server, w.slot, token, w.now);
	assert_true(relay_client_bound(&w.c));
	run(&w, 6100);
	assert_int_equal(w.sent, 4);
	relay_client_start(&w.c, &w.server, w.slot + 1, token, w.now);
	assert_false(relay_client_bound(&w.c));
	relay_server_destroy(w.r);
}

static void a_relay_that_went_silent_is_given_up_and_found_again(void **state)
{
	(void)state;
	struct world w;

	world_start(&w, 1, 20, 0);
	run(&w, 6000);
	w.loss_percent = 100;
	relay_client_rebind(&w.c, w.now);
	run(&w, 6000 + 7700);
	assert_true(relay_client_bound(&w.c));
	run(&w, 6000 + 7800);
	assert_false(relay_client_bound(&w.c));
	w.loss_percent = 0;
	run(&w, 6000 + 7800 + RELAY_RETRY_MAX_MS + 100);
	assert_true(relay_client_bound(&w.c));
	relay_server_destroy(w.r);
}

/* A check asks without a change; what is lost is lost at once, and found again. */
static void a_check_is_answered_and_a_loss_is_taken_at_word(void **state)
{
	(void)state;
	struct world w;
	struct relay_client before;
	uint8_t out[RELAY_CLIENT_MESSAGE_MAX], reply[RELAY_PROVE_LEN];
	size_t n;

	world_start(&w, 1, 20, 0);
	run(&w, 6000);
	before = w.c;
	relay_client_check(&w.c, out);
	struct relay_route route = { .node = w.client };
	assert_int_equal(relay_server_on_datagram(w.r, out, RELAY_BIND_LEN, &route, w.now, reply, &n),
			 RELAY_REPLY);
	assert_true(relay_client_on_message(&w.c, reply, n, &w.server, w.now));
	assert_memory_equal(&before, &w.c, sizeof before);
	relay_client_lose(&w.c, w.now);
	assert_false(relay_client_bound(&w.c));
	run(&w, 6100);
	assert_true(relay_client_bound(&w.c));
	relay_server_destroy(w.r);
}

/* Nothing but the true "bound" from the true address makes it bound. */
static void forged_messages_do_not_bind(void **state)
{
	(void)state;
	struct world w;
	uint8_t out[RELAY_CLIENT_MESSAGE_MAX], reply[RELAY_PROVE_LEN], bad[RELAY_BOUND_LEN + 1] = { 0 };
	struct addr thief = address(3, 3478);
	size_t n;

	world_start(&w, 1, 0, 0);
	struct relay_route route = { .node = w.client };
	relay_server_on_datagram(w.r, out, relay_client_next(&w.c, w.now, out), &route, w.now, reply, &n);
	assert_false(relay_client_on_message(&w.c, reply, n, &thief, w.now));
	assert_true(relay_client_on_message(&w.c, reply, n, &w.server, w.now));
	assert_int_equal(relay_client_next(&w.c, w.now, out), RELAY_PROVE_LEN);
	relay_server_on_datagram(w.r, out, RELAY_PROVE_LEN, &route, w.now, reply, &n);
	for (size_t bit = 0; bit < RELAY_BOUND_LEN * 8; bit++) {
		memcpy(bad, reply, n);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		relay_client_on_message(&w.c, bad, n, &w.server, w.now);
		assert_false(relay_client_bound(&w.c));
	}
	memcpy(bad, reply, n);
	for (size_t len = 0; len <= n + 1; len++)
		assert_true(len == n || !relay_client_on_message(&w.c, bad, len, &w.server, w.now));
	assert_false(relay_client_on_message(&w.c, reply, n, &thief, w.now));
	assert_true(relay_client_on_message(&w.c, reply, n, &w.server, w.now));
	assert_true(relay_client_bound(&w.c));
	/* ... and only once: an old answer does not stand for a refresh. */
	relay_client_rebind(&w.c, w.now + 1000);
	assert_false(relay_client_on_message(&w.c, reply, n, &w.server, w.now + 1000));
	relay_server_destroy(w.r);
}

static void a_forged_challenge_delays_but_does_not_prevent(void **state)
{
	(void)state;
	struct world w;
	uint8_t forged[RELAY_CHALLENGE_LEN] = { RELAY_CONTROL, RELAY_CHALLENGE };

	world_start(&w, 1, 30, 0);
	store_le32(forged + 4, w.slot);
	run(&w, 5010);
	assert_true(relay_client_on_message(&w.c, forged, sizeof forged, &w.server, w.now));
	run(&w, 5700);
	assert_false(server_has_it(&w));
	run(&w, 8000);
	assert_true(relay_client_bound(&w.c));
	assert_true(server_has_it(&w));
	relay_server_destroy(w.r);
}

static void the_wrong_token_never_binds(void **state)
{
	(void)state;
	struct world w;
	const uint8_t wrong[RELAY_TOKEN] = "wrong";

	world_start(&w, 1, 20, 0);
	relay_client_start(&w.c, &w.server, w.slot, wrong, w.now);
	run(&w, 60000);
	assert_false(relay_client_bound(&w.c));
	assert_false(server_has_it(&w));
	assert_true(relay_server_stats(w.r).bad_proof > 0);
	relay_server_destroy(w.r);
}

static void a_header_names_the_session(void **state)
{
	(void)state;
	const uint8_t want[RELAY_HEADER] = { 0x81, 0, 0, 0, 0x44, 0x33, 0x22, 0x11 };
	uint8_t got[RELAY_HEADER];

	relay_client_header(got, 0x11223344);
	assert_memory_equal(got, want, sizeof want);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_binds_in_two_round_trips),
		cmocka_unit_test(it_binds_over_links_slower_than_its_retry),
		cmocka_unit_test(it_binds_and_stays_bound_over_a_lossy_link),
		cmocka_unit_test(it_refreshes_each_minute_and_no_more),
		cmocka_unit_test(its_deadline_is_when_it_has_something_to_send),
		cmocka_unit_test(an_unbound_makes_it_bind_anew_while_data_goes_on),
		cmocka_unit_test(forged_unbounds_cost_ten_messages_a_second_at_most),
		cmocka_unit_test(unbounds_during_a_rebind_do_not_start_it_over),
		cmocka_unit_test(many_rebinds_are_one_and_are_not_put_off_for_ever),
		cmocka_unit_test(starting_what_runs_already_lets_data_go_on),
		cmocka_unit_test(a_relay_that_went_silent_is_given_up_and_found_again),
		cmocka_unit_test(a_check_is_answered_and_a_loss_is_taken_at_word),
		cmocka_unit_test(forged_messages_do_not_bind),
		cmocka_unit_test(a_forged_challenge_delays_but_does_not_prevent),
		cmocka_unit_test(the_wrong_token_never_binds),
		cmocka_unit_test(a_header_names_the_session),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
