/* The simulated world: how far datagrams come, through which NATs, to which socket, and what befalls nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim.h"

static const uint8_t mark[] = "\x7f a datagram that no protocol knows";

static struct sim *s;
static struct sim_node *heard_by;
static struct addr heard_from;

/* Only ours: the nodes talk to the hub meanwhile. */
static void listen(struct sim *world, struct sim_node *to, const struct addr *from, const uint8_t *data,
		   size_t len)
{
	(void)world;
	if (len < sizeof mark || memcmp(data, mark, sizeof mark) != 0)
		return;
	heard_by = to;
	heard_from = *from;
}

static int begin(void **state)
{
	(void)state;
	s = malloc(sizeof *s);
	assert_non_null(s);
	sim_init(s, 1);
	s->tap = listen;
	return 0;
}

static int end(void **state)
{
	(void)state;
	sim_free(s);
	free(s);
	return 0;
}

struct shot {
	uint32_t socket;
	uint8_t ttl;
	size_t len; /* 0: that of the mark */
};

/* Who hears it, NULL for nobody; `heard_from` is whom it seems to come from. */
static struct sim_node *shoot_as(struct sim_node *from, const struct addr *to, struct shot how)
{
	struct pkt *p = pkt_get(&s->pool);

	assert_non_null(p);
	p->addr = *to;
	p->socket = how.socket;
	p->ttl = how.ttl;
	p->len = (uint32_t)(how.len ? how.len : sizeof mark);
	memset(pkt_data(p), 0, p->len);
	memcpy(pkt_data(p), mark, sizeof mark);
	pkt_list_push(&from->engine->udp_out, p);
	heard_by = NULL;
	sim_run(s, 100);
	return heard_by;
}

static struct sim_node *shoot(struct sim_node *from, const struct addr *to)
{
	return shoot_as(from, to, (struct shot) { 0 });
}

/* Its main socket as a public host sees it. */
static struct addr outside_of(struct sim_node *n)
{
	struct sim_node *witness = sim_node(s, NAT_NONE);

	assert_ptr_equal(shoot(n, &witness->inner), witness);
	return heard_from;
}

static void a_packet_comes_as_far_as_its_ttl_says(void **state)
{
	static const struct {
		enum sim_nat_kind kind;
		unsigned carrier_hops;
		uint8_t ttl;
		bool opens_home, opens_carrier, arrives;
	} cases[] = {
		{ NAT_PORT_RESTRICTED, 0, 1, false, false, false },
		{ NAT_PORT_RESTRICTED, 0, 2, true, false, false },
		{ NAT_PORT_RESTRICTED, 0, 4, true, false, false },
		{ NAT_PORT_RESTRICTED, 0, 7, true, false, false },
		{ NAT_PORT_RESTRICTED, 0, 8, true, false, false },
		{ NAT_PORT_RESTRICTED, 0, 9, true, false, true },
		{ NAT_HOME_CARRIER, 1, 2, true, false, false },
		{ NAT_HOME_CARRIER, 1, 3, true, true, false },
		{ NAT_HOME_CARRIER, 2, 3, true, false, false },
		{ NAT_HOME_CARRIER, 2, 4, true, true, false },
		{ NAT_HOME_CARRIER, 2, 0, true, true, true },
	};
	struct sim_node *b = sim_node(s, NAT_FULL_CONE);
	struct addr to = outside_of(b);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sim_node *a = sim_node(s, cases[i].kind);
		struct sim_nat *home = &a->site->nat,
			       *carrier = a->site->parent ? &a->site->parent->nat : NULL;
		if (carrier)
			a->site->parent->hops = cases[i].carrier_hops;
		sim_run(s, 3000);
		uint64_t home_flows = home->opened, carrier_flows = carrier ? carrier->opened : 0;
		uint64_t peer_flows = b->site->nat.opened;
		struct sim_node *by = shoot_as(a, &to, (struct shot) { .ttl = cases[i].ttl });
		assert_int_equal(by == b, cases[i].arrives);
		assert_int_equal(home->opened - home_flows, cases[i].opens_home);
		assert_int_equal(b->site->nat.opened - peer_flows, cases[i].arrives);
		if (carrier)
			assert_int_equal(carrier->opened - carrier_flows, cases[i].opens_carrier);
	}
}

static void neighbours_meet_by_their_public_address_if_the_nat_hairpins(void **state)
{
	struct sim_node *a = sim_node(s, NAT_FULL_CONE), *b = sim_node_at(s, a->site);
	struct addr to = outside_of(b), seen_from = outside_of(a);

	(void)state;
	assert_ptr_equal(shoot(a, &to), b);
	assert_true(addr_equal(&heard_from, &seen_from));
	a->site->nat.rules.hairpin = false;
	assert_null(shoot(a, &to));
	assert_ptr_equal(shoot(a, &b->inner), b);
}

static void customers_of_one_carrier_have_two_nats_each(void **state)
{
	struct sim_node *a = sim_node(s, NAT_HOME_CARRIER);
	struct sim_site *carrier = a->site->parent;
	struct sim_node *b = sim_node_at(s, sim_site_behind(s, carrier, NAT_FULL_CONE));
	struct addr to = outside_of(b), shared = b->site->nat.public_ip;

	(void)state;
	assert_true(addr_same_ip(&to, &carrier->nat.public_ip));
	assert_true(addr_is_private(&shared));
	/* The carrier's filter, then its hairpin; inside the carrier's network only the homes' NATs matter. */
	assert_null(shoot(a, &to));
	carrier->nat.rules.filtering = SIM_ENDPOINT_INDEPENDENT;
	assert_ptr_equal(shoot(a, &to), b);
	assert_true(addr_same_ip(&heard_from, &carrier->nat.public_ip));
	carrier->nat.rules.hairpin = false;
	assert_null(shoot(a, &to));
	shared.port = b->inner.port;
	assert_ptr_equal(shoot(a, &shared), b);
	assert_true(addr_same_ip(&heard_from, &a->site->nat.public_ip));
	struct addr back = heard_from;
	assert_ptr_equal(shoot(b, &back), a);
}

static void a_carrier_may_be_harder_than_the_home(void **state)
{
	struct sim_node *a = sim_node(s, NAT_HOME_CARRIER_SYMMETRIC);
	struct addr first = outside_of(a), second = outside_of(a);

	(void)state;
	assert_true(addr_same_ip(&first, &second));
	assert_int_not_equal(first.port, second.port);
}

static void each_socket_has_a_port_of_its_own(void **state)
{
	enum { SOCKETS = 300 };
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED), *b = sim_node(s, NAT_NONE);
	struct addr seen[SOCKETS], never;

	(void)state;
	sim_hub_kill(s); /* without it nodes open no sockets of their own */
	for (uint32_t i = 0; i < SOCKETS; i++) {
		/* The second half would have the same ports as the first, were they not taken. */
		uint32_t id = i < SOCKETS / 2 ? i : i - SOCKETS / 2 + 15000 * 1000;
		assert_ptr_equal(shoot_as(a, &b->inner, (struct shot) { .socket = id }), b);
		seen[i] = heard_from;
		for (uint32_t k = 0; k < i; k++)
			assert_false(addr_equal(&seen[k], &seen[i]));
	}
	for (uint32_t i = 1; i < SOCKETS; i++) {
		uint32_t id = i < SOCKETS / 2 ? i : i - SOCKETS / 2 + 15000 * 1000;
		assert_ptr_equal(shoot(b, &seen[i]), a);
		assert_int_equal(a->last_socket, id);
	}
	assert_ptr_equal(shoot_as(a, &b->inner, (struct shot) { .socket = 7 }), b);
	assert_true(addr_equal(&heard_from, &seen[7]));
	never = b->inner;
	never.port = 50001;
	assert_null(shoot(a, &never));
}

static void a_socket_that_the_engine_gave_up_hears_nothing(void **state)
{
	struct sim_node *a = sim_node(s, NAT_FULL_CONE), *b = sim_node(s, NAT_NONE);
	struct addr kept, closed;

	(void)state;
	assert_ptr_equal(shoot_as(a, &b->inner, (struct shot) { .socket = 1 }), b);
	kept = heard_from;
	assert_ptr_equal(shoot_as(a, &b->inner, (struct shot) { .socket = 2 }), b);
	closed = heard_from;
	a->engine->sockets[0] = 1;
	a->engine->sockets_changed = true;
	assert_ptr_equal(shoot(b, &kept), a);
	assert_null(shoot(b, &closed));
	assert_false(a->engine->sockets_changed);
	a->engine->sockets[0] = 0;
}

static void the_hub_answers_at_two_addresses(void **state)
{
	struct sim_node *a = sim_node(s, NAT_SYMMETRIC);

	(void)state;
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	assert_int_equal(a->engine->hub_udp_count, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(a->engine->reflexive[i].family, ADDR_V4);
	assert_false(addr_same_ip(&a->engine->hub_udp[0], &a->engine->hub_udp[2]));
}

static void a_moved_node_is_reached_where_it_is_now(void **state)
{
	struct sim_node *a = sim_node(s, NAT_PORT_RESTRICTED), *b = sim_node(s, NAT_NONE);
	struct sim_site *other = sim_site(s, NAT_SYMMETRIC);
	struct addr old = outside_of(a);

	(void)state;
	assert_true(sim_run_joined(s, 3000));
	assert_ptr_equal(shoot(a, &b->inner), b);
	assert_ptr_equal(shoot(b, &old), a);
	sim_move(s, a, other);
	assert_null(shoot(b, &old));
	assert_ptr_equal(shoot(a, &b->inner), b);
	assert_true(addr_same_ip(&heard_from, &other->nat.public_ip));
	sim_run(s, 5000);
	sim_send(s, b, a);
	sim_run(s, 2000);
	assert_int_equal(a->received, 1);
}

static void a_sleeper_hears_nothing_and_comes_back(void **state)
{
	static const uint64_t lengths_ms[] = { 10000,
					       600000 }; /* the hub ends the link after 50 s of silence */
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE);

	(void)state;
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	for (int i = 0; i < 2; i++) {
		uint64_t conn = a->conn, before = a->received;
		sim_sleep(s, a, lengths_ms[i]);
		assert_null(shoot(b, &a->inner));
		sim_run(s, lengths_ms[i] - 200);
		assert_null(shoot(b, &a->inner));
		sim_run(s, 5000);
		assert_ptr_equal(shoot(b, &a->inner), a);
		assert_int_equal(a->conn == conn, i == 0);
		sim_send(s, b, a);
		sim_run(s, 5000);
		assert_int_equal(a->received, before + 1);
	}
}

static void long_packets_vanish_where_the_mtu_is_small(void **state)
{
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE);
	struct shot fits = { .len = 1252 }, longer = { .len = 1253 };

	(void)state;
	a->site->mtu = 1280;
	assert_ptr_equal(shoot_as(a, &b->inner, fits), b);
	assert_ptr_equal(shoot_as(b, &a->inner, fits), a);
	assert_null(shoot_as(a, &b->inner, longer));
	assert_null(shoot_as(b, &a->inner, longer));
}

static void a_cut_is_for_one_direction(void **state)
{
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE), *c = sim_node(s, NAT_NONE);

	(void)state;
	sim_cut(s, a, b, true);
	assert_null(shoot(a, &b->inner));
	assert_ptr_equal(shoot(b, &a->inner), a);
	assert_ptr_equal(shoot(a, &c->inner), c);
	sim_cut(s, a, b, false);
	assert_ptr_equal(shoot(a, &b->inner), b);
}

static void mixed_networks_connect_through_every_kind(void **state)
{
	struct sim_node *n[SIM_NAT_KINDS];
	size_t count = 0;

	(void)state;
	for (int kind = 0; kind < SIM_NAT_KINDS; kind++)
		if (kind != NAT_UDP_BLOCKED) /* has no way to the relay yet */
			n[count++] = sim_node(s, (enum sim_nat_kind)kind);
	assert_true(sim_run_joined(s, 5000));
	sim_run(s, 500);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < count; j++)
			if (i != j)
				sim_send(s, n[i], n[j]);
	sim_run(s, 10000);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(n[i]->received, count - 1);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(getenv("SIM_LOG") ? LOG_LVL_DEBUG : LOG_LVL_ERROR);
	return crypto_init();
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_WORLD(a_packet_comes_as_far_as_its_ttl_says),
		IN_A_WORLD(neighbours_meet_by_their_public_address_if_the_nat_hairpins),
		IN_A_WORLD(customers_of_one_carrier_have_two_nats_each),
		IN_A_WORLD(a_carrier_may_be_harder_than_the_home),
		IN_A_WORLD(each_socket_has_a_port_of_its_own),
		IN_A_WORLD(a_socket_that_the_engine_gave_up_hears_nothing),
		IN_A_WORLD(the_hub_answers_at_two_addresses),
		IN_A_WORLD(a_moved_node_is_reached_where_it_is_now),
		IN_A_WORLD(a_sleeper_hears_nothing_and_comes_back),
		IN_A_WORLD(long_packets_vanish_where_the_mtu_is_small),
		IN_A_WORLD(a_cut_is_for_one_direction),
		IN_A_WORLD(mixed_networks_connect_through_every_kind),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
