/* What a node believes of its hub, and does at its word: the hub names STUN servers, and says where it sees us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/engine_internal.h"
#include "core/log.h"
#include "nat/stun.h"
#include "relay/proto/link.pb-c.h"

enum { POOL = 256, START_MS = 1000000, ENDPOINTS_MAX = 4 };

static struct engine *node;
static struct pkt_pool pool;
static uint64_t now_ms, last_discovery_ms;

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
	last_discovery_ms = 0;
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

/* What the node says to a hub that stands behind `front`: true if it is a login. */
static bool logs_in_at(const char *front)
{
	static const uint8_t exporter[ENGINE_EXPORTER];
	Link__Challenge c = LINK__CHALLENGE__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;
	struct addr link = at("198.51.100.1:443");
	uint8_t nonce[LOGIN_NONCE] = { 9 }, wire[1024];

	pkt_list_clear(&node->hub_out, &pool);
	engine_on_hub_up(node, exporter, &link, now_ms);
	c.nonce = (ProtobufCBinaryData) { sizeof nonce, nonce };
	c.version = 1;
	c.front = (char *)(uintptr_t)front;
	msg.body_case = LINK__TO_NODE__BODY_CHALLENGE;
	msg.challenge = &c;
	assert_in_range(link__to_node__get_packed_size(&msg), 1, sizeof wire);
	engine_on_hub_message(node, wire, link__to_node__pack(&msg, wire), now_ms);
	return node->hub_out.head;
}

static void a_node_signs_no_url_but_its_own(void **state)
{
	(void)state;
	static const char ours[] = "https://vpn.example/hub";
	struct engine_event ev;

	assert_true(logs_in_at(""));
	assert_false(logs_in_at(ours)); /* it has not been told any */
	strcpy(node->config.hub_front, ours);
	assert_true(logs_in_at(""));
	assert_true(logs_in_at(ours));
	while (engine_next_event(node, &ev)) {
	}
	assert_false(logs_in_at("https://vpn.example/other"));
	assert_true(engine_next_event(node, &ev));
	assert_int_equal(ev.kind, ENGINE_EV_OTHER_FRONT);
	assert_string_equal(engine_hub_front(node), "https://vpn.example/other");
	assert_false(logs_in_at("run\033[0m rm -rf /"));
	assert_false(engine_next_event(node, &ev)); /* a person is shown URLs only */
	pkt_list_clear(&node->hub_out, &pool);
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

/* The hub's answer to a request, from where it was sent to. */
static void answer(const uint8_t *request, size_t len, const struct addr *server, uint32_t socket,
		   const struct addr *mapped)
{
	struct stun_msg m;
	struct pkt *p = pkt_get(&pool);

	assert_non_null(p);
	if (stun_decode(&m, request, len) || m.cls != STUN_REQUEST) {
		pkt_put(&pool, p);
		return;
	}
	struct stun_msg reply = { .cls = STUN_SUCCESS, .method = STUN_BINDING, .mapped = *mapped };
	memcpy(reply.txid, m.txid, sizeof reply.txid);
	int n = stun_encode(&reply, false, pkt_data(p), STUN_MAX);
	assert_true(n > 0);
	p->len = (uint32_t)n;
	p->addr = *server;
	p->socket = socket;
	engine_on_datagram(node, p, now_ms);
}

/* Sends nothing but STUN: what it sent is answered after `late_ms`, and time goes on till then. */
static unsigned answer_all(const struct addr *mapped, uint32_t late_ms)
{
	enum { AT_ONCE = 64 };
	static struct {
		uint8_t data[STUN_MAX];
		size_t len;
		struct addr to;
		uint32_t socket;
	} sent[AT_ONCE];
	unsigned n = 0, all = node->udp_out.count;
	struct pkt *p;

	while ((p = pkt_list_pop(&node->udp_out))) {
		if (n < AT_ONCE && p->len <= STUN_MAX && stun_is_message(pkt_data(p), p->len)) {
			memcpy(sent[n].data, pkt_data(p), p->len);
			sent[n].len = p->len;
			sent[n].to = p->addr;
			sent[n++].socket = p->socket;
		}
		pkt_put(&pool, p);
	}
	now_ms += late_ms;
	for (unsigned i = 0; i < n; i++)
		answer(sent[i].data, sent[i].len, &sent[i].to, sent[i].socket, mapped);
	return all;
}

static const char *const two[] = { "198.51.100.1:3478", "198.51.100.2:3478", NULL };

/* Runs for `ms`; what was sent. Discoveries that began are counted. */
static unsigned run(uint64_t ms, struct addr *mapped, bool flaps, unsigned *discoveries)
{
	uint64_t end_ms = now_ms + ms;
	unsigned sent = 0;

	while (now_ms < end_ms) {
		engine_tick(node, now_ms);
		*discoveries += node->discovered_ms != last_discovery_ms;
		last_discovery_ms = node->discovered_ms;
		mapped->port += flaps;
		sent += answer_all(mapped, 10);
		drain();
	}
	return sent;
}

static void a_mapping_that_never_stays_is_not_looked_into_all_the_time(void **state)
{
	(void)state;
	enum { MINUTES = 10 };
	struct addr mapped = at("203.0.113.1:2000");
	unsigned discoveries = 0;

	welcome("198.51.100.1:443", two);
	unsigned sent = run(MINUTES * 60000, &mapped, true, &discoveries);
	assert_in_range(discoveries, 2, MINUTES + 8);
	assert_in_range(sent, 1, MINUTES * 600);
}

static void a_hub_that_ends_the_link_again_and_again_is_not_asked_all_the_time(void **state)
{
	(void)state;
	enum { TIMES = 100, GAP_MS = 600 };
	struct addr mapped = at("203.0.113.1:2000");
	unsigned discoveries = 0;

	for (int i = 0; i < TIMES; i++) {
		welcome("198.51.100.1:443", two);
		run(GAP_MS, &mapped, false, &discoveries);
		engine_on_hub_down(node, now_ms);
	}
	assert_in_range(discoveries, 1, 9);
	/* But once it stays, what the NAT does is found out. */
	welcome("198.51.100.1:443", two);
	run(70000, &mapped, false, &discoveries);
	assert_int_equal(node->verdict.mapping, MAPPING_ENDPOINT_INDEPENDENT);
}

static void a_hub_that_answers_late_does_not_make_us_wait_for_ever(void **state)
{
	(void)state;
	struct addr mapped = at("203.0.113.1:2000");

	welcome("198.51.100.1:443", two);
	for (int i = 0; i < 40; i++) {
		/* A path does not answer: is it our mapping? */
		engine_check_mapping(node, now_ms);
		engine_tick(node, now_ms);
		answer_all(&mapped, node->hub_rtt_ms * 2 + 40);
		drain();
		now_ms += 500;
	}
	assert_in_range(node->hub_rtt_ms, 1, 2000);
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
		with_a_node(a_node_signs_no_url_but_its_own),
		with_a_node(a_mapping_that_never_stays_is_not_looked_into_all_the_time),
		with_a_node(a_hub_that_ends_the_link_again_and_again_is_not_asked_all_the_time),
		with_a_node(a_hub_that_answers_late_does_not_make_us_wait_for_ever),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
