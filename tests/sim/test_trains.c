/* Two whole nodes, and bursts of data between them as a lane makes them: what goes as a train by a network card that breaks
 * trains, and what a network loses anyway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "tests/sim/sim.h"

enum { STEP_MS = 10, BURST = 20, PACKET = 1000, SECOND = 1000 };

struct world {
	struct sim sim;
	struct sim_node *a, *b;
	bool breaks_trains;
	uint32_t loss_percent;
	/* of the last run */
	unsigned sent, singly;
	uint64_t received;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct sim *s = w ? &w->sim : NULL;

	if (!w)
		return -1;
	sim_init(s, 7);
	w->a = sim_node(s, NAT_NONE);
	w->b = sim_node(s, NAT_NONE);
	if (!sim_run_joined(s, 10 * SECOND))
		return -1;
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	sim_free(&w->sim);
	free(w);
	return 0;
}

static void write_packet(const struct world *w, uint8_t *ip)
{
	memset(ip, 0, PACKET);
	ip[0] = 0x45;
	store_be16(ip + 2, PACKET);
	memcpy(ip + 12, w->a->engine->ip4.ip, 4);
	memcpy(ip + 16, w->b->engine->ip4.ip, 4);
}

/* What only the first of a train survives. */
static void fly(struct world *w, const struct engine_target *to, const uint8_t *msg, size_t len, bool first)
{
	const struct addr *from = to->relay_session ? &to->addr : &w->a->inner;

	w->sent++;
	w->singly += to->singly;
	if (w->breaks_trains && !to->singly && !first)
		return;
	if (rng_below(&w->sim.rng, 100) >= w->loss_percent)
		sim_inject(&w->sim, w->b, from, msg, len);
}

/* As a lane does it. */
static void burst(struct world *w)
{
	struct ip_view ip;
	struct engine_burst b = { .ip = &ip, .count = BURST };
	uint8_t packet[PACKET], msg[RELAY_HEADER + PACKET + SEALER_OVERHEAD_MAX + SEALER_PADDING];
	struct engine_out out;

	b.largest = PACKET;
	b.bytes = BURST * PACKET;
	write_packet(w, packet);
	assert_true(ip_parse(&ip, packet, PACKET));
	b.packet = packet;
	assert_int_equal(engine_out_begin(w->a->engine, &b, w->sim.now_ms, &out), 0);
	size_t header = out.to.relay_session ? RELAY_HEADER : 0;
	if (header)
		relay_client_header(msg, sim_peer(w->b, w->a)->relay_session);
	for (int i = 0; i < BURST; i++) {
		size_t len = sealer_seal(&out.sealer, msg + header, packet, PACKET);
		fly(w, &out.to, msg, header + len, i == 0);
	}
}

static void run(struct world *w, uint64_t ms)
{
	uint64_t end = w->sim.now_ms + ms, before = w->b->received;

	w->sent = w->singly = 0;
	while (w->sim.now_ms < end) {
		burst(w);
		sim_run(&w->sim, STEP_MS);
	}
	w->received = w->b->received - before;
}

/* Until data goes this way. */
static void go(struct world *w, enum engine_way way)
{
	w->sim.cut_direct = way == ENGINE_WAY_RELAY;
	for (int i = 0; i < 100 && sim_way(w->a, w->b) != way; i++) {
		sim_send(&w->sim, w->a, w->b);
		sim_run(&w->sim, 100);
	}
	sim_send(&w->sim, w->b, w->a);
	sim_run(&w->sim, SECOND);
	assert_int_equal(sim_way(w->a, w->b), way);
}

static bool uses_trains(const struct world *w)
{
	return engine_uses_trains(sim_peer(w->a, w->b), w->sim.now_ms);
}

static void a_card_that_breaks_trains_is_worked_around(struct world *w)
{
	w->breaks_trains = true;
	run(w, SECOND);
	assert_in_range(w->received, 1, w->sent / 4);
	run(w, 3 * SECOND);
	run(w, SECOND);
	assert_int_equal(w->singly, w->sent);
	assert_int_equal(w->received, w->sent);
	assert_false(uses_trains(w));
}

static void it_is_worked_around_on_a_direct_path(void **state)
{
	go(*state, ENGINE_WAY_DIRECT);
	a_card_that_breaks_trains_is_worked_around(*state);
}

static void it_is_worked_around_on_the_way_to_the_relay(void **state)
{
	go(*state, ENGINE_WAY_RELAY);
	a_card_that_breaks_trains_is_worked_around(*state);
}

static void each_way_has_trains_of_its_own(void **state)
{
	struct world *w = *state;

	go(w, ENGINE_WAY_DIRECT);
	a_card_that_breaks_trains_is_worked_around(w);
	w->breaks_trains = false;
	go(w, ENGINE_WAY_RELAY);
	assert_true(uses_trains(w));
	go(w, ENGINE_WAY_DIRECT);
	assert_false(uses_trains(w));
}

static void a_network_that_loses_a_tenth_gets_its_trains_back(void **state)
{
	struct world *w = *state;

	go(w, ENGINE_WAY_DIRECT);
	w->loss_percent = 10;
	run(w, 10 * SECOND);
	assert_in_range(w->singly, 1, w->sent / 2);
	run(w, 60 * SECOND);
	assert_int_equal(w->singly, 0);
	assert_true(uses_trains(w));
}

static void a_healthy_path_keeps_its_trains(void **state)
{
	struct world *w = *state;

	go(w, ENGINE_WAY_DIRECT);
	w->loss_percent = 2;
	run(w, 200 * SECOND); /* keys change meanwhile */
	assert_int_equal(w->singly, 0);
}

int main(void)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WORLD(it_is_worked_around_on_a_direct_path),
		WORLD(it_is_worked_around_on_the_way_to_the_relay),
		WORLD(each_way_has_trains_of_its_own),
		WORLD(a_network_that_loses_a_tenth_gets_its_trains_back),
		WORLD(a_healthy_path_keeps_its_trains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
