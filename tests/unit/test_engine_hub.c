/* What a node believes of its hub, and does at its word: the hub names STUN servers, and says where it sees us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/engine.h"
#include "core/log.h"
#include "nat/stun.h"
#include "relay/proto/link.pb-c.h"

enum { POOL = 256, START_MS = 1000000, ENDPOINTS_MAX = 4 };

static struct engine *node;
static struct pkt_pool pool;
static uint64_t now_ms;

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static int make_node(void **state)
{
	(void)state;
	struct engine_config config = { .name = "self",
					.ik_seed = { 1 },
					.wk_sk = { 2 },
					.ip4_bits = 16,
					.pool = &pool,
					.seed = 1,
					.have_ip4 = true };

	config.max_sockets = 64;
	config.ip4_prefix = at("10.77.0.0");
	now_ms = START_MS;
	node = malloc(sizeof *node);
	if (!node || pkt_pool_init(&pool, POOL) ||
	    network_from_secret(&config.net, "home", "some long secret", 16))
		return -1;
	return engine_init(node, &config, now_ms, 1790000000000000000ull);
}

static int free_node(void **state)
{
	(void)state;
	engine_free(node);
	free(node);
	pkt_pool_free(&pool);
	return 0;
}

/* The link to a hub at `from` comes up, and the hub names its endpoints, up to a NULL. */
static void welcome(const char *from, const char *const *named)
{
	static const uint8_t exporter[ENGINE_EXPORTER], token[RELAY_TOKEN] = { 7 };
	Link__UdpEndpoint endpoints[ENDPOINTS_MAX], *list[ENDPOINTS_MAX];
	Link__ToNode msg = LINK__TO_NODE__INIT;
	Link__Welcome w = LINK__WELCOME__INIT;
	struct addr addrs[ENDPOINTS_MAX], link = at(from);
	uint8_t wire[1024];

	engine_on_hub_up(node, exporter, &link, now_ms);
	for (; named[w.n_udp]; w.n_udp++) {
		addrs[w.n_udp] = at(named[w.n_udp]);
		endpoints[w.n_udp] = (Link__UdpEndpoint)LINK__UDP_ENDPOINT__INIT;
		endpoints[w.n_udp].ip.data = addrs[w.n_udp].ip;
		endpoints[w.n_udp].ip.len = addrs[w.n_udp].family == ADDR_V4 ? 4 : 16;
		endpoints[w.n_udp].port = addrs[w.n_udp].port;
		list[w.n_udp] = &endpoints[w.n_udp];
	}
	w.udp = list;
	w.bind_slot = 1;
	w.bind_token.data = (uint8_t *)token;
	w.bind_token.len = sizeof token;
	msg.body_case = LINK__TO_NODE__BODY_WELCOME;
	msg.welcome = &w;
	assert_in_range(link__to_node__get_packed_size(&msg), 1, sizeof wire);
	engine_on_hub_message(node, wire, link__to_node__pack(&msg, wire), now_ms);
}

static unsigned drain(void)
{
	struct engine_event ev;
	unsigned n = node->udp_out.count;

	pkt_list_clear(&node->udp_out, &pool);
	pkt_list_clear(&node->hub_out, &pool);
	while (engine_next_event(node, &ev)) {
	}
	return n;
}

static void only_endpoints_that_a_hub_may_name_are_asked(void **state)
{
	(void)state;
	static const struct {
		const char *link, *named[ENDPOINTS_MAX + 1];
		unsigned taken;
	} cases[] = {
		{ "198.51.100.1:443", { "198.51.100.1:3478", "198.51.100.2:3478" }, 2 },
		{ "198.51.100.1:443", { "127.0.0.1:6379", "224.0.0.251:5353", "192.168.1.1:1900" }, 0 },
		{ "198.51.100.1:443", { "10.77.0.9:53", "198.51.100.1:3478" }, 1 },
		{ "192.168.1.2:443", { "192.168.1.2:3478", "127.0.0.1:3478", "10.77.0.9:53" }, 1 },
		{ "127.0.0.1:443", { "127.0.0.1:3478" }, 1 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		welcome(cases[i].link, cases[i].named);
		assert_int_equal(node->hub_udp_count, cases[i].taken);
		drain();
		engine_on_hub_down(node, now_ms);
	}
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	return crypto_init();
}

#define with_a_node(test) cmocka_unit_test_setup_teardown(test, make_node, free_node)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_a_node(only_endpoints_that_a_hub_may_name_are_asked),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
