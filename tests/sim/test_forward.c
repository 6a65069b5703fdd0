/* A port forwarded by the kernel, as the two engines see it: a visitor's packets from the gateway to the owner, its
 * answers back, and nothing else from or to outside the overlay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/forward/pass.h"
#include "core/log.h"
#include "tests/sim/sim.h"

enum { PORT = 12000, PORTS = 10, VISITORS_PORT = 50000, SIZE = 100 };

struct world {
	struct sim sim;
	struct sim_node *owner, *gateway, *member;
	struct addr visitor;
};

/* The last packet that came out of a TUN, and where. */
static struct came {
	const struct sim_node *at;
	uint8_t packet[SIZE];
	size_t len;
	unsigned count;
} came;

static void note(struct sim *s, struct sim_node *at, const uint8_t *packet, size_t len)
{
	(void)s;
	came.at = at;
	came.len = len;
	came.count++;
	memcpy(came.packet, packet, len < SIZE ? len : SIZE);
}

static void set_pass(struct sim_node *n, const struct sim_node *peer, enum forward_side side)
{
	struct pass_entry e = { .side = side, .proto = FORWARD_TCP, .first = PORT, .count = PORTS };

	memcpy(e.peer, peer->engine->ik_pk, 32);
	assert_non_null(n->engine->pass);
	assert_int_equal(pass_set(n->engine->pass, &e, 1), 0);
}

static int begin(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	sim_init(&w->sim, 3);
	w->sim.tun = note;
	w->owner = sim_node(&w->sim, NAT_PORT_RESTRICTED);
	w->gateway = sim_node(&w->sim, NAT_NONE);
	w->member = sim_node(&w->sim, NAT_PORT_RESTRICTED);
	assert_int_equal(addr_parse(&w->visitor, "198.18.7.7", 0), 0);
	assert_true(sim_run_joined(&w->sim, 3000));
	sim_run(&w->sim, 1000);
	for (size_t i = 0; i < w->sim.node_count; i++) {
		w->sim.nodes[i].engine->pass = pass_create();
		sim_send(&w->sim, &w->sim.nodes[i], &w->sim.nodes[(i + 1) % 3]);
		sim_send(&w->sim, &w->sim.nodes[i], &w->sim.nodes[(i + 2) % 3]);
	}
	set_pass(w->owner, w->gateway, FORWARD_OWNER);
	set_pass(w->gateway, w->owner, FORWARD_GATEWAY);
	sim_run(&w->sim, 3000);
	memset(&came, 0, sizeof came);
	*state = w;
	return 0;
}

static int end(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < w->sim.node_count; i++)
		pass_destroy(w->sim.nodes[i].engine->pass);
	sim_free(&w->sim);
	free(w);
	return 0;
}

static void write_flow(uint8_t *p, const struct addr *src, uint16_t sport, const struct addr *dst,
		       uint16_t dport)
{
	memset(p, 0, SIZE);
	p[0] = 0x45;
	store_be16(p + 2, SIZE);
	p[9] = FORWARD_TCP;
	memcpy(p + 12, src->ip, 4);
	memcpy(p + 16, dst->ip, 4);
	store_be16(p + 20, sport);
	store_be16(p + 22, dport);
}

/* Whether what `from` has in its TUN comes out at `to`, as it was, and nowhere else. */
static bool arrives(struct world *w, struct sim_node *from, const struct sim_node *to, const uint8_t *packet)
{
	came.count = 0;
	sim_send_packet(&w->sim, from, packet, SIZE);
	sim_run(&w->sim, 500);
	assert_in_range(came.count, 0, 1);
	return came.count && came.at == to && came.len == SIZE && !memcmp(came.packet, packet, SIZE);
}

static void a_visitor_reaches_the_port_and_is_answered(void **state)
{
	struct world *w = *state;
	const struct addr *own = &w->owner->engine->ip4;
	uint8_t there[SIZE], back[SIZE];

	for (uint16_t port = PORT; port < PORT + PORTS; port++) {
		write_flow(there, &w->visitor, VISITORS_PORT, own, port);
		write_flow(back, own, port, &w->visitor, VISITORS_PORT);
		assert_true(arrives(w, w->gateway, w->owner, there));
		assert_true(arrives(w, w->owner, w->gateway, back));
	}
}

static void nothing_else_comes_from_outside(void **state)
{
	struct world *w = *state;
	const struct addr *own = &w->owner->engine->ip4;
	uint64_t *drops = &w->owner->engine->drops.bad_source, before = *drops;
	struct addr bad[6];
	uint8_t packet[SIZE];
	unsigned expected = 0;

	/* Other ports; another member, who is no gateway of this one. */
	write_flow(packet, &w->visitor, VISITORS_PORT, own, PORT - 1);
	assert_false(arrives(w, w->gateway, w->owner, packet));
	write_flow(packet, &w->visitor, PORT, own, PORT + PORTS);
	assert_false(arrives(w, w->gateway, w->owner, packet));
	write_flow(packet, &w->visitor, VISITORS_PORT, own, PORT);
	assert_false(arrives(w, w->member, w->owner, packet));
	expected += 3;
	/* Addresses that a gateway could gain by: members', an unknown member's, ours, this host's, loopback, the link's. */
	bad[0] = w->member->engine->ip4;
	bad[1] = *own;
	bad[2] = *own;
	bad[2].ip[3] ^= 1;
	bad[3] = w->owner->engine->hosts[0];
	assert_int_equal(addr_parse(&bad[4], "127.0.0.1", 0), 0);
	assert_int_equal(addr_parse(&bad[5], "169.254.1.1", 0), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++, expected++) {
		write_flow(packet, &bad[i], VISITORS_PORT, own, PORT);
		if (arrives(w, w->gateway, w->owner, packet))
			fail_msg("address %zu", i);
	}
	assert_int_equal(*drops - before, expected);
	write_flow(packet, &w->gateway->engine->ip4, VISITORS_PORT, own, PORT);
	assert_true(arrives(w, w->gateway, w->owner, packet));
}

static void nothing_else_goes_outside_by_a_gateway(void **state)
{
	struct world *w = *state;
	const struct addr *own = &w->owner->engine->ip4;
	struct engine_drops *at_owner = &w->owner->engine->drops, *at_gateway = &w->gateway->engine->drops;
	uint64_t no_route = at_owner->no_route, refused = at_gateway->bad_destination;
	struct addr strange = w->gateway->engine->hosts[0];
	uint8_t packet[SIZE];

	/* What the owner does not even send: from another port, from another address than its own. */
	write_flow(packet, own, PORT - 1, &w->visitor, VISITORS_PORT);
	assert_false(arrives(w, w->owner, w->gateway, packet));
	write_flow(packet, &strange, PORT, &w->visitor, VISITORS_PORT);
	assert_false(arrives(w, w->owner, w->gateway, packet));
	assert_int_equal(at_owner->no_route - no_route, 2);
	/* What the gateway does not take: to an address of its host, by a port that it leases no more. */
	write_flow(packet, own, PORT, &strange, VISITORS_PORT);
	assert_false(arrives(w, w->owner, w->gateway, packet));
	assert_int_equal(at_gateway->bad_destination - refused, 1);
	assert_int_equal(pass_set(w->gateway->engine->pass, NULL, 0), 0);
	write_flow(packet, own, PORT, &w->visitor, VISITORS_PORT);
	assert_false(arrives(w, w->owner, w->gateway, packet));
	assert_int_equal(at_gateway->bad_destination - refused, 2);
}

/* What a member's TUN would never send to us: its addresses say that another address is ours. */
static void a_member_reaches_no_other_address_through_us(void **state)
{
	struct world *w = *state;
	struct engine *e = w->owner->engine;
	const struct addr *elsewhere[] = { &e->hosts[0], &w->visitor, &w->gateway->engine->ip4 };
	struct engine_peer *ep = sim_peer(w->member, w->owner);
	uint64_t before = e->drops.bad_destination;
	uint8_t packet[SIZE];

	for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
		struct lpm *allowed = &w->member->engine->allowed;
		assert_int_equal(lpm_insert(allowed, elsewhere[i], 32, ep), 0);
		write_flow(packet, &w->member->engine->ip4, PORT, elsewhere[i], PORT);
		assert_false(arrives(w, w->member, w->owner, packet));
		assert_int_equal(came.count, 0);
		assert_int_equal(e->drops.bad_destination - before, i + 1);
	}
}

static void a_gateway_whose_certificate_ran_out_brings_nobody(void **state)
{
	struct world *w = *state;
	uint64_t unix_s = w->sim.unix_base_s + w->sim.now_ms / 1000 + (ENGINE_CERT_DAYS + 1) * 86400ull;
	uint8_t packet[SIZE];

	write_flow(packet, &w->visitor, VISITORS_PORT, &w->owner->engine->ip4, PORT);
	assert_true(arrives(w, w->gateway, w->owner, packet));
	engine_set_wall(w->owner->engine, w->sim.now_ms, unix_s * 1000000000);
	assert_false(arrives(w, w->gateway, w->owner, packet));
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_visitor_reaches_the_port_and_is_answered, begin, end),
		cmocka_unit_test_setup_teardown(nothing_else_comes_from_outside, begin, end),
		cmocka_unit_test_setup_teardown(nothing_else_goes_outside_by_a_gateway, begin, end),
		cmocka_unit_test_setup_teardown(a_member_reaches_no_other_address_through_us, begin, end),
		cmocka_unit_test_setup_teardown(a_gateway_whose_certificate_ran_out_brings_nobody, begin,
						end),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
