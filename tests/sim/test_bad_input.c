/* Hostile datagrams: each message that reaches a node is first handed to it truncated at each length, with each bit
 * flipped, with bytes added, and later once more as it was. Nothing of that may change anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/log.h"
#include "tests/sim/sim.h"

enum { KEPT = 400, KINDS = 8 };

/* All that a message without authority must not touch. */
struct snapshot {
	size_t peers, tun_out;
	bool welcomed, joined;
	struct addr ip4, reflexive[ENGINE_HUB_UDP], hub_udp[ENGINE_HUB_UDP];
	struct {
		uint64_t handshake, rx_bytes, boot, seq;
		uint32_t relay_session;
		struct addr endpoint, best;
		unsigned paths_up;
		uint8_t timestamp[NOISE_TIMESTAMP_LEN];
	} peer[4];
};

static struct sim_node *victim;
static unsigned tampered, seen[KINDS];
static struct {
	struct addr from;
	uint8_t data[1600];
	size_t len;
} kept[KEPT];
static size_t kept_count;

static void take(struct snapshot *snap, const struct engine *e)
{
	unsigned i = 0;

	memset(snap, 0, sizeof *snap);
	snap->peers = e->peer_count;
	snap->tun_out = e->tun_out.count;
	snap->welcomed = e->welcomed;
	snap->joined = e->joined;
	snap->ip4 = e->ip4;
	memcpy(snap->reflexive, e->reflexive, sizeof snap->reflexive);
	memcpy(snap->hub_udp, e->hub_udp, sizeof snap->hub_udp);
	for (const struct engine_peer *ep = e->peers; ep && i < 4; ep = ep->next, i++) {
		snap->peer[i].handshake = session_last_handshake(&ep->peer.session);
		snap->peer[i].rx_bytes = ep->peer.rx_bytes;
		snap->peer[i].boot = ep->boot;
		snap->peer[i].seq = ep->record_seq;
		snap->peer[i].relay_session = ep->relay_session;
		snap->peer[i].endpoint = ep->peer.endpoint;
		if (ep->peer.best)
			snap->peer[i].best = ep->peer.best->addr;
		for (int p = 0; p < PEER_PATHS; p++)
			snap->peer[i].paths_up += ep->peer.paths[p].state == PATH_UP;
		session_peer_timestamp(&ep->peer.session, snap->peer[i].timestamp);
	}
}

static uint64_t drop_sum(const struct engine_drops *d)
{
	return d->malformed + d->unknown_peer + d->bad_auth + d->replayed + d->bad_source +
	       d->bad_destination + d->no_route + d->under_load;
}

/* Injects and holds the node to "nothing happened". */
static void must_change_nothing(struct sim *s, const struct addr *from, const uint8_t *data, size_t len)
{
	struct snapshot before, after;

	take(&before, victim->engine);
	sim_inject(s, victim, from, data, len);
	take(&after, victim->engine);
	assert_memory_equal(&before, &after, sizeof before);
	/* Load is another test's matter. */
	victim->engine->load_count = 0;
	tampered++;
}

/* STUN is not authenticated: tests/unit/test_stun_client.c holds what may be believed of it. */
static unsigned kind_of(const uint8_t *data, size_t len)
{
	if (stun_is_message(data, len))
		return 0;
	switch (data[0]) {
	case WG_INITIATION: return 1;
	case WG_RESPONSE: return 2;
	case WG_DATA:
	case SEALER_FIRST_BYTE_AEGIS: return 3;
	case PROBE_FIRST_BYTE: return 4;
	case RELAY_DATA: return 5;
	default: return 0;
	}
}

/* Bits that say nothing or that only the relay vouches for: mac2 while not under load, the relay's session id. */
static bool is_free(const uint8_t *data, size_t len, size_t byte)
{
	size_t inner = data[0] == RELAY_DATA ? RELAY_HEADER : 0;

	if (inner && byte >= 4 && byte < RELAY_HEADER)
		return true;
	if (len - inner == WG_INITIATION_LEN && data[inner] == WG_INITIATION)
		return byte >= inner + 132;
	if (len - inner == WG_RESPONSE_LEN && data[inner] == WG_RESPONSE)
		return byte >= inner + 76;
	return false;
}

static void tamper(struct sim *s, struct sim_node *to, const struct addr *from, const uint8_t *data,
		   size_t len)
{
	uint8_t copy[1700];
	unsigned kind = kind_of(data, len);

	if (to != victim || !kind || len > 1600)
		return;
	if (kept_count < KEPT) {
		kept[kept_count].from = *from;
		kept[kept_count].len = len;
		memcpy(kept[kept_count++].data, data, len);
	}
	if (seen[kind]++ >= 6)
		return;
	for (size_t cut = 0; cut < len; cut++)
		must_change_nothing(s, from, data, cut);
	memcpy(copy, data, len);
	for (size_t bit = 0; bit < len * 8; bit++) {
		if (is_free(data, len, bit / 8))
			continue;
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		must_change_nothing(s, from, copy, len);
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	memset(copy + len, 0, sizeof copy - len);
	/* A data message may be of any length, so one with bytes added fails by its tag, the others by their length. */
	for (size_t more = 1; more <= 100; more += 33)
		must_change_nothing(s, from, copy, len + more);
}

static void tampered_messages_change_nothing(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);
	struct sim_node *a;

	sim_init(s, 5);
	a = sim_node(s, NAT_PORT_RESTRICTED);
	victim = sim_node(s, NAT_PORT_RESTRICTED);
	s->tap = tamper;
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 100);
	for (int i = 0; i < 40; i++) {
		sim_send(s, a, victim);
		sim_ping(s, i % 2 ? a : victim, i % 2 ? victim : a);
		sim_run(s, 100);
	}
	/* And yet all went well. */
	assert_int_equal(victim->received, 40);
	assert_int_equal(a->pongs + victim->pongs, 40);
	assert_int_equal(sim_way(a, victim), ENGINE_WAY_DIRECT);
	/* The handshake came through the relay. */
	for (unsigned kind = 3; kind <= 5; kind++)
		assert_true(seen[kind] > 0);
	assert_true(tampered > 10000);
	assert_in_range(drop_sum(&victim->engine->drops), tampered / 2, UINT64_MAX);

	/* Replayed, once from where it came and once from elsewhere. */
	struct addr elsewhere = addr_from_ip(ADDR_V4, (uint8_t[]) { 203, 0, 113, 200 }, 7777);
	for (size_t i = 0; i < kept_count; i++) {
		must_change_nothing(s, &kept[i].from, kept[i].data, kept[i].len);
		must_change_nothing(s, &elsewhere, kept[i].data, kept[i].len);
	}
	sim_run(s, 1000);
	sim_free(s);
	free(s);
}

/* The response is what a node gets that began the handshake: the same with the roles turned. */
static void tampered_responses_change_nothing(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);
	struct sim_node *b;

	sim_init(s, 6);
	victim = sim_node(s, NAT_NONE);
	b = sim_node(s, NAT_NONE);
	memset(seen, 0, sizeof seen);
	s->tap = tamper;
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 100);
	s->cut_direct = false;
	for (int i = 0; i < 20; i++) {
		sim_send(s, victim, b);
		sim_run(s, 100);
	}
	assert_int_equal(b->received, 20);
	assert_true(seen[2] + seen[5] > 0);
	sim_free(s);
	free(s);
}

static void another_networks_messages_are_dropped(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);
	struct sim_node *a, *b;

	sim_init(s, 7);
	kept_count = 0;
	memset(seen, 0, sizeof seen);
	a = sim_node(s, NAT_NONE);
	b = victim = sim_node(s, NAT_NONE);
	s->tap = tamper;
	assert_true(sim_run_joined(s, 3000));
	for (int i = 0; i < 10; i++) {
		sim_send(s, a, b);
		sim_run(s, 100);
	}
	assert_true(kept_count > 5);
	s->tap = NULL;
	victim = sim_node(s, NAT_NONE);
	sim_node_kill(s, victim);
	assert_int_equal(
		network_from_secret(&victim->config.net, "home", "quite another secret, not ours", 30), 0);
	sim_node_start(s, victim);
	assert_true(sim_run_joined(s, 3000));
	assert_int_equal(victim->engine->peer_count, 0);
	for (size_t i = 0; i < kept_count; i++)
		must_change_nothing(s, &kept[i].from, kept[i].data, kept[i].len);
	sim_run(s, 1000);
	assert_int_equal(victim->received, 0);
	sim_free(s);
	free(s);
}

/* Somebody who knows our public key sends valid mac1s without end. */
static void a_flood_of_initiations_meets_cookies(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);
	struct sim_node *a;
	struct noise_local stranger;
	struct noise_remote remote;
	struct noise_initiator hs;
	struct cookie_jar jar;
	uint8_t sk[32] = { 7 }, msg[WG_INITIATION_LEN], ts[NOISE_TIMESTAMP_LEN] = { 0 };

	sim_init(s, 8);
	a = sim_node(s, NAT_NONE);
	victim = sim_node(s, NAT_NONE);
	assert_true(sim_run_joined(s, 3000));
	sim_run(s, 100);
	for (int i = 0; i < 10; i++) {
		sim_send(s, a, victim);
		sim_run(s, 100);
	}
	noise_local_init(&stranger, sk);
	assert_int_equal(noise_remote_init(&remote, &stranger, victim->engine->local.pk, NULL), 0);
	cookie_jar_init(&jar, victim->engine->local.pk);
	assert_int_equal(noise_initiate(&hs, &stranger, &remote, 1, ts, &s->rng, msg), 0);
	cookie_stamp(&jar, msg, sizeof msg, s->now_ms);
	uint64_t unknown = victim->engine->drops.unknown_peer, received = victim->received;
	for (int i = 0; i < 5000; i++) {
		struct addr from = addr_from_ip(ADDR_V4,
						(uint8_t[]) { 203, 0, (uint8_t)i, (uint8_t)(i >> 8) }, 5000);
		sim_inject(s, victim, &from, msg, sizeof msg);
		if (i % 100 == 0) {
			sim_send(s, a, victim);
			sim_run(s, 10);
		}
	}
	/* Computed for few of them, answered the others with a cookie, and live traffic went on. */
	assert_in_range(victim->engine->drops.unknown_peer - unknown, 1, 2 * ENGINE_HANDSHAKES_PER_S);
	assert_in_range(victim->engine->drops.under_load, 4000, 5000);
	sim_run(s, 500);
	assert_int_equal(victim->received - received, 50);
	sim_free(s);
	free(s);
}

/* A gateway that lies: the mapping that it claims is another node's address. Both are symmetric, so that nothing but the
 * relay is left when the lie is not believed. */
static void a_false_mapping_becomes_no_path(void **state)
{
	(void)state;
	struct sim *s = malloc(sizeof *s);

	sim_init(s, 21);
	struct sim_node *a = sim_node(s, NAT_SYMMETRIC), *b = sim_node(s, NAT_SYMMETRIC),
			*other = sim_node(s, NAT_NONE);
	struct portmap_view view = { .enabled = true, .count = 1, .items = { { .external = other->inner } } };

	assert_true(sim_run_joined(s, 3000));
	engine_on_portmap(a->engine, &view, s->now_ms);
	assert_true(candidates_has(&a->engine->candidates, &other->inner));
	sim_run(s, 1000);
	for (int i = 0; i < 300; i++) {
		sim_send(s, b, a);
		sim_run(s, 100);
	}
	assert_true(candidates_has(&sim_peer(b, a)->remote, &other->inner)); /* it was told, and tried */
	assert_int_equal(sim_way(b, a), ENGINE_WAY_RELAY);
	assert_int_equal(a->received, 300);
	/* An address that nothing can be sent to is not even told. */
	view.items[0].external = (struct addr) { .family = ADDR_V4, .ip = { 127, 0, 0, 1 }, .port = 5 };
	engine_on_portmap(a->engine, &view, s->now_ms);
	assert_false(candidates_has(&a->engine->candidates, &view.items[0].external));
	assert_false(candidates_has(&a->engine->candidates, &other->inner));
	sim_free(s);
	free(s);
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
		cmocka_unit_test(tampered_messages_change_nothing),
		cmocka_unit_test(tampered_responses_change_nothing),
		cmocka_unit_test(another_networks_messages_are_dropped),
		cmocka_unit_test(a_flood_of_initiations_meets_cookies),
		cmocka_unit_test(a_false_mapping_becomes_no_path),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
