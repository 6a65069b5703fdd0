/* What a node holds, sends and believes has an end, whatever others do or fail to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/control.h"
#include "core/log.h"
#include "relay/proto/link.pb-c.h"
#include "tests/sim/sim.h"

static struct sim *world(uint64_t seed)
{
	struct sim *s = malloc(sizeof *s);

	assert_non_null(s);
	sim_init(s, seed);
	return s;
}

static void end(struct sim *s)
{
	sim_free(s);
	free(s);
}

static void peers_that_are_away_do_not_take_all_buffers(void **state)
{
	(void)state;
	enum { AWAY = 16, POOL = 512 /* as in the daemon */ };
	struct sim *s = world(1);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE), *away[AWAY];

	for (int i = 0; i < AWAY; i++)
		away[i] = sim_node(s, NAT_NONE);
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	sim_hub_kill(s);
	for (int i = 0; i < AWAY; i++)
		sim_node_kill(s, away[i]);
	sim_hub_start(s);
	sim_run(s, 3000);
	s->pool.count = POOL;
	for (int i = 0; i < AWAY; i++)
		for (int k = 0; k < PEER_STAGED; k++)
			sim_ping(s, a, away[i]);
	for (int i = 0; i < 10; i++) {
		sim_send(s, a, b);
		sim_run(s, 100);
	}
	assert_in_range(b->received, 9, 10);
	/* Nobody came for them. */
	sim_run(s, SESSION_REKEY_ATTEMPT_MS);
	assert_int_equal(s->pool.in_use, 0);
	end(s);
}

static void keys_are_wiped_also_when_there_is_no_way(void **state)
{
	(void)state;
	struct sim *s = world(2);
	struct sim_node *a = sim_node(s, NAT_SYMMETRIC), *b = sim_node(s, NAT_SYMMETRIC);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	sim_ping(s, a, b);
	sim_run(s, 1000);
	assert_true(session_has_keys(&sim_peer(a, b)->peer.session));
	sim_hub_kill(s);
	sim_run(s, SESSION_WIPE_AFTER_MS + 5000);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_NONE);
	assert_false(session_has_keys(&sim_peer(a, b)->peer.session));
	end(s);
}

static void junk_is_no_load(void **state)
{
	(void)state;
	struct sim *s = world(3);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE);
	uint8_t junk[WG_INITIATION_LEN] = { WG_INITIATION };

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	for (int i = 0; i < 10 * ENGINE_HANDSHAKES_PER_S; i++)
		sim_inject(s, b, &a->inner, junk, sizeof junk);
	sim_send(s, a, b);
	sim_run(s, 500);
	assert_int_equal(b->received, 1);
	assert_int_equal(b->engine->drops.under_load, 0);
	end(s);
}

static uint8_t recorded[PROBE_MAX];
static size_t recorded_len;
static struct sim_node *heard;

static void record_probe(struct sim *s, struct sim_node *to, const struct addr *from, const uint8_t *data,
			 size_t len)
{
	(void)s;
	(void)from;
	if (to != heard || recorded_len || data[0] != PROBE_FIRST_BYTE)
		return;
	memcpy(recorded, data, len);
	recorded_len = len;
}

/* Everyone who saw a ping can send it again, from any address. */
static void a_recorded_ping_moves_little(void **state)
{
	(void)state;
	enum { TIMES = 500 };
	struct sim *s = world(4);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE);

	heard = b;
	recorded_len = 0;
	s->tap = record_probe;
	assert_true(sim_run_joined(s, 3000));
	for (int i = 0; i < 10; i++) {
		sim_ping(s, a, b);
		sim_run(s, 100);
	}
	assert_int_not_equal(recorded_len, 0);
	struct engine_peer *ep = sim_peer(b, a);
	struct path *best = ep->peer.best;
	for (int i = 0; i < TIMES; i++) {
		struct addr from = addr_from_ip(ADDR_V4, (uint8_t[]) { 192, 0, 2, (uint8_t)i },
						(uint16_t)(5000 + i));
		sim_inject(s, b, &from, recorded, recorded_len);
	}
	assert_ptr_equal(ep->peer.best, best);
	/* A pong each, and few pings of our own. */
	assert_in_range(b->engine->udp_out.count, TIMES, TIMES + RECORD_MAX_CANDIDATES);
	end(s);
}

static void set_clock(struct sim *s, struct sim_node *n, int64_t ahead_s)
{
	uint64_t unix_s = s->unix_base_s + s->now_ms / 1000 + (uint64_t)ahead_s;

	engine_set_wall(n->engine, s->now_ms, unix_s * 1000000000);
}

static void a_certificate_that_ran_out_ends_a_session_under_way(void **state)
{
	(void)state;
	struct sim *s = world(5);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	sim_send(s, a, b);
	sim_run(s, 1000);
	assert_int_equal(b->received, 1);
	set_clock(s, b, (ENGINE_CERT_DAYS + 1) * 86400);
	sim_send(s, a, b);
	sim_run(s, 1000);
	assert_int_equal(b->received, 1);
	assert_int_equal(b->engine->drops.bad_source, 1);
	end(s);
}

static void a_clock_that_was_ahead_leaves_no_mark_on_the_certificate(void **state)
{
	(void)state;
	struct sim *s = world(6);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE);

	sim_node_kill(s, b);
	b->config.cert_not_before = s->unix_base_s + 400 * 86400;
	sim_node_start(s, b);
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	assert_non_null(sim_peer(a, b));
	end(s);
}

static void learn_stranger(struct sim *s, struct sim_node *n, uint32_t number)
{
	struct cert c = { .not_before = s->unix_base_s, .not_after = s->unix_base_s + 86400 };
	struct record r = { .seq = 1, .boot = 1, .time_s = s->unix_base_s, .ttl_s = 86400 };
	uint8_t seed[32] = { 1 }, sk[64], cert[CERT_MAX], sealed[RECORD_MAX], packed[RECORD_MAX + 64];
	Link__Peer peer = LINK__PEER__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	store_le32(seed + 1, number);
	crypto_ed25519_keypair(c.ik, sk, seed);
	crypto_x25519_clamp(seed);
	crypto_x25519_public(c.wk, seed);
	snprintf(c.name, sizeof c.name, "stranger%u", number);
	int cert_len = cert_issue(&c, &s->net, cert);
	assert_true(cert_len > 0);
	int len = record_seal(&r, cert, (size_t)cert_len, sk, &s->net, &s->rng, sealed);
	assert_true(len > 0);
	peer.ik = (ProtobufCBinaryData) { 32, c.ik };
	peer.online = true;
	peer.record = (ProtobufCBinaryData) { (size_t)len, sealed };
	msg.body_case = LINK__TO_NODE__BODY_PEER;
	msg.peer = &peer;
	engine_on_hub_message(n->engine, packed, link__to_node__pack(&msg, packed), s->now_ms);
}

static void a_node_with_many_peers_is_not_sent_away_by_the_hub(void **state)
{
	(void)state;
	enum { PEERS = 1500 };
	struct sim *s = world(7);
	struct sim_node *a = sim_node(s, NAT_NONE);

	assert_true(sim_run_joined(s, 3000));
	for (uint32_t i = 0; i < PEERS; i++)
		learn_stranger(s, a, i);
	assert_int_equal(a->engine->peer_count, PEERS);
	uint64_t conn = a->conn;
	for (int second = 0; second < 5; second++) {
		for (struct engine_peer *ep = a->engine->peers; ep; ep = ep->next)
			engine_ping(a->engine, ep, 1, s->now_ms);
		sim_run(s, 1000);
	}
	assert_int_equal(coord_stats(s->coord).limited, 0);
	assert_int_equal(a->conn, conn);
	end(s);
}

/* Ids of pings can be guessed: a member's pong for another's ping is none. */
static void a_pong_counts_from_whom_the_ping_went_to(void **state)
{
	(void)state;
	struct sim *s = world(8);
	struct sim_node *a = sim_node(s, NAT_NONE), *b = sim_node(s, NAT_NONE), *c = sim_node(s, NAT_NONE);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 1000);
	sim_ping(s, a, c);
	sim_run(s, 1000);
	assert_int_equal(a->pongs, 1);
	assert_int_equal(engine_ping(a->engine, sim_peer(a, b), 77, s->now_ms), 0);
	struct pkt *p = pkt_get(&s->pool);
	control_write(pkt_data(p), CONTROL_PONG, 77);
	p->len = CONTROL_LEN;
	int len = session_seal(&sim_peer(c, a)->peer.session, pkt_data(p), p->len, ENGINE_MTU, s->now_ms);
	assert_true(len > 0);
	sim_inject(s, a, &c->inner, pkt_data(p) - WG_DATA_HEADER, (size_t)len);
	pkt_put(&s->pool, p);
	sim_run(s, 1);
	assert_int_equal(a->pongs, 1);
	sim_run(s, 1000);
	assert_int_equal(a->pongs, 2);
	end(s);
}

static unsigned sockets_for(struct sim_node *n, struct sim_node *peer)
{
	unsigned held = 0;

	for (unsigned i = 0; i < ENGINE_SOCKETS; i++)
		held += n->engine->sockets[i] && n->engine->socket_owners[i] == sim_peer(n, peer);
	return held;
}

static void talk(struct sim *s, struct sim_node *a, struct sim_node *b, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		sim_ping(s, a, b);
		sim_run(s, 1000);
	}
}

static void rounds_that_fail_give_their_sockets_back(void **state)
{
	(void)state;
	static const enum sim_nat_kind kinds[] = { NAT_PORT_RESTRICTED, NAT_SYMMETRIC };

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct sim *s = world(40 + i);
		struct sim_node *a = sim_node(s, kinds[i]), *b = sim_node(s, NAT_PORT_RESTRICTED);
		assert_true(sim_run_joined(s, 3000));
		sim_run(s, 5000);
		s->cut_direct = true;
		talk(s, a, b, 120);
		assert_in_range(sim_peer(a, b)->attempt_count, 3, 100);
		sim_run(s, 70000);
		assert_int_equal(sockets_for(a, b), 0);
		assert_int_equal(sockets_for(b, a), 0);
		end(s);
	}
}

static void a_path_that_is_idle_for_long_gives_its_socket_back(void **state)
{
	(void)state;
	struct sim *s = world(50);
	struct sim_node *a = sim_node(s, NAT_SYMMETRIC), *b = sim_node(s, NAT_PORT_RESTRICTED);

	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 5000);
	talk(s, a, b, 40);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_DIRECT);
	assert_int_equal(sockets_for(a, b), 1);
	sim_run(s, 60000);
	assert_int_equal(sockets_for(a, b), 1);
	sim_run(s, 300000);
	assert_int_equal(sockets_for(a, b), 0);
	talk(s, a, b, 40);
	assert_int_equal(sim_way(a, b), ENGINE_WAY_DIRECT);
	end(s);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(getenv("SIM_LOG") ? LOG_LVL_DEBUG : LOG_LVL_ERROR);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_that_are_away_do_not_take_all_buffers),
		cmocka_unit_test(keys_are_wiped_also_when_there_is_no_way),
		cmocka_unit_test(junk_is_no_load),
		cmocka_unit_test(a_recorded_ping_moves_little),
		cmocka_unit_test(a_certificate_that_ran_out_ends_a_session_under_way),
		cmocka_unit_test(a_clock_that_was_ahead_leaves_no_mark_on_the_certificate),
		cmocka_unit_test(a_node_with_many_peers_is_not_sent_away_by_the_hub),
		cmocka_unit_test(rounds_that_fail_give_their_sockets_back),
		cmocka_unit_test(a_path_that_is_idle_for_long_gives_its_socket_back),
		cmocka_unit_test(a_pong_counts_from_whom_the_ping_went_to),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
