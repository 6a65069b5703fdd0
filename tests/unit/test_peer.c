#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/peer.h"

static struct rng rng;

static struct addr port(uint16_t n)
{
	return addr_from_ip(ADDR_V4, (uint8_t[]) { 203, 0, 113, 1 }, n);
}

static struct peer *peer_named(const char *name)
{
	struct peer *p = calloc(1, sizeof *p);

	assert_non_null(p);
	strcpy(p->name, name);
	p->own_kind = true;
	return p;
}

static void prove(struct peer *p, uint16_t n, uint64_t now_ms, uint32_t rtt)
{
	struct addr a = port(n);
	struct path *path = peer_path_get(p, &a, 0, now_ms);
	uint8_t txid[PROBE_TXID];

	path_ping(path, &rng, PROBE_MIN, now_ms, txid);
	assert_true(peer_on_pong(p, &a, 0, txid, now_ms + rtt));
}

static void a_pong_counts_only_from_where_the_ping_went(void **state)
{
	(void)state;
	struct peer *p = peer_named("nas");
	struct addr to = port(1), from = port(2);
	uint8_t txid[PROBE_TXID];

	path_ping(peer_path_get(p, &to, 0, 1000), &rng, PROBE_MIN, 1000, txid);
	assert_false(peer_on_pong(p, &from, 0, txid, 1010));
	assert_false(peer_choose_path(p, 1010));
	assert_null(p->best);
	assert_true(peer_on_pong(p, &to, 0, txid, 1020));
	assert_true(peer_choose_path(p, 1020));
	assert_true(addr_equal(&p->best->addr, &to));
	free(p);
}

static void the_path_in_use_is_never_evicted(void **state)
{
	(void)state;
	struct peer *p = peer_named("nas");

	prove(p, 1, 1000, 10);
	peer_choose_path(p, 1010);
	for (uint16_t n = 2; n < 200; n++) {
		struct addr a = port(n);
		uint8_t txid[PROBE_TXID];
		path_ping(peer_path_get(p, &a, 0, 1100), &rng, PROBE_MIN, 1100 + n, txid);
	}
	assert_int_equal(p->best->addr.port, 1);
	struct addr kept = port(199), gone = port(2);
	assert_non_null(peer_path_find(p, &kept, 0));
	assert_null(peer_path_find(p, &gone, 0));
	free(p);
}

static void the_relay_takes_over_when_no_path_is_left(void **state)
{
	(void)state;
	struct peer *p = peer_named("nas");

	prove(p, 1, 1000, 40);
	prove(p, 2, 1000, 10);
	assert_true(peer_choose_path(p, 1040));
	assert_int_equal(p->best->addr.port, 2);
	assert_false(peer_choose_path(p, 1041));
	path_distrust(p->best, p->name);
	assert_true(peer_choose_path(p, 1050));
	assert_int_equal(p->best->addr.port, 1);
	peer_distrust_paths(p);
	assert_true(peer_choose_path(p, 1060));
	assert_null(p->best);
	assert_int_equal(peer_paths_deadline(p, 1060), UINT64_MAX);
	free(p);
}

static void staged_packets_are_bounded_and_the_oldest_goes(void **state)
{
	(void)state;
	struct peer *p = peer_named("nas");
	struct pkt_pool pool;

	assert_int_equal(pkt_pool_init(&pool, 100), 0);
	for (uint32_t i = 0; i < PEER_STAGED + 5; i++) {
		struct pkt *pkt = pkt_get(&pool);
		pkt->len = i;
		peer_stage(p, pkt, &pool);
	}
	assert_int_equal(p->staged.count, PEER_STAGED);
	assert_int_equal(p->staged_dropped, 5);
	assert_int_equal(pool.in_use, PEER_STAGED);
	struct pkt *first = pkt_list_pop(&p->staged);
	assert_int_equal(first->len, 5);
	pkt_put(&pool, first);
	pkt_list_clear(&p->staged, &pool);
	assert_int_equal(pool.in_use, 0);
	pkt_pool_free(&pool);
	free(p);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	rng_init_seed(&rng, 1);
	return crypto_init();
}

/* A fresh socket or another address leads through the same hole. */
static void where_large_packets_were_lost_small_ones_prove_no_path(void **state)
{
	(void)state;
	static struct peer p;
	struct addr a = { 0 }, b = { 0 };
	uint8_t txid[PROBE_TXID];
	struct path *path;

	addr_parse(&a, "203.0.113.1:1000", 0);
	addr_parse(&b, "203.0.113.1:2000", 0);
	path = peer_path_get(&p, &a, 0, 1000);
	path->wants_size = true;
	peer_on_dead(&p, path, 1000);
	path = peer_path_get(&p, &b, 7, 2000);
	path_ping(path, &rng, PROBE_MIN, 2000, txid);
	assert_false(peer_on_pong(&p, &b, 7, txid, 2010));
	path_ping(path, &rng, PATH_BASE_SIZE, 2020, txid);
	assert_true(peer_on_pong(&p, &b, 7, txid, 2030));
	path = peer_path_get(&p, &b, 8, 3000);
	path_ping(path, &rng, PROBE_MIN, 3000, txid);
	assert_true(peer_on_pong(&p, &b, 8, txid, 3010));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pong_counts_only_from_where_the_ping_went),
		cmocka_unit_test(the_path_in_use_is_never_evicted),
		cmocka_unit_test(the_relay_takes_over_when_no_path_is_left),
		cmocka_unit_test(staged_packets_are_bounded_and_the_oldest_goes),
		cmocka_unit_test(where_large_packets_were_lost_small_ones_prove_no_path),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
