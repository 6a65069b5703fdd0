/* A node made by hand, without sockets: for the tests of what it tells. Include it after cmocka.h. */
#ifndef P2PD_TESTS_UNIT_MADE_NODE_H
#define P2PD_TESTS_UNIT_MADE_NODE_H

#include <jansson.h>

#include "apps/p2pd/requests.h"

enum { NOW_MS = 1000000 };
#define UNIX_NS 1790000000000000000ull /* 2026-09-21T13:33:20Z */

static struct engine engine;
static struct pkt_pool pool;
static struct wg_peers wg;

static inline struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* A member that was learnt, without its record. */
static inline void link_member(struct engine_peer *ep, const char *name, const char *ip4)
{
	strcpy(ep->peer.name, name);
	ep->peer.own_kind = true;
	ep->ip4 = at(ip4);
	ep->ip6 = at("fd00::1");
	ep->online = true;
	ep->way_since_ms = NOW_MS - 60000;
	ep->next = engine.peers;
	engine.peers = ep;
	engine.peer_count++;
}

static inline const char *text_at(json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	if (!text)
		fail_msg("no text at %s", key);
	return text;
}

static inline int make_node(void **state)
{
	(void)state;
	struct engine_config config = {
		.name = "self", .ik_seed = { 1 }, .wk_sk = { 2 }, .ip4_bits = 16, .pool = &pool, .seed = 1
	};

	config.ip4_prefix = at("10.77.0.0");
	if (pkt_pool_init(&pool, 8) || network_from_secret(&config.net, "home", "some long secret", 16))
		return -1;
	return engine_init(&engine, &config, NOW_MS, UNIX_NS);
}

/* Members made by hand are not the engine's to free. */
static inline int free_node(void **state)
{
	(void)state;
	struct engine_peer **link = &engine.peers;

	while (*link)
		if ((*link)->peer.own_kind) {
			memset((*link)->peer.name, 0, PEER_NAME);
			*link = (*link)->next;
		} else {
			link = &(*link)->next;
		}
	engine_free(&engine);
	wg_peers_free(&wg);
	pkt_pool_free(&pool);
	return 0;
}

static inline int setup(void **state)
{
	(void)state;
	return crypto_init();
}

#define with_a_node(test) cmocka_unit_test_setup_teardown(test, make_node, free_node)

#endif
