/* What the control socket answers, without the socket: the status of a node made by hand, and bodies of all kinds. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/p2pd/requests.h"
#include "apps/p2pd/status.h"

enum { NOW_MS = 1000000 };
#define UNIX_NS 1790000000000000000ull /* 2026-09-21T13:33:20Z */

static struct engine engine;
static struct pkt_pool pool;
static struct wg_peers wg;
static int changed_ret;
static unsigned changes, downs;
static bool forgotten;

static int on_wg_changed(void *arg, const struct engine_wg_peer *peer, bool added)
{
	(void)arg;
	(void)peer;
	(void)added;
	changes++;
	return changed_ret;
}

static void on_down(void *arg, bool forget)
{
	(void)arg;
	downs++;
	forgotten = forget;
}

static const struct requests_target target = {
	.engine = &engine,
	.wg = &wg,
	.hub_url = "https://hub.example",
	.tun = "p2pd0",
	.wg_changed = on_wg_changed,
	.down = on_down,
};

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* A member that was learnt, without its record. */
static void link_member(struct engine_peer *ep, const char *name, const char *ip4)
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

static json_t *status(void)
{
	struct requests_answer a = requests_status(&target, NOW_MS, UNIX_NS);

	assert_int_equal(a.status, 200);
	json_t *json = json_loads(a.body, 0, NULL);
	assert_non_null(json);
	free(a.body);
	return json;
}

static const char *text_at(json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	if (!text)
		fail_msg("no text at %s", key);
	return text;
}

/* One value that the status promises: its way there, and its type: s text, S text or null, i number, I number or null,
 * b boolean, a array. */
struct promise {
	const char *path;
	char type;
};

static json_t *follow(json_t *json, const char *path)
{
	char key[32];

	while (json && *path) {
		size_t len = strcspn(path, ".");
		snprintf(key, sizeof key, "%.*s", (int)len, path);
		json = json_object_get(json, key);
		path += len + (path[len] == '.');
	}
	return json;
}

static bool has_type(json_t *json, char type)
{
	if (!json)
		return false;
	switch (type) {
	case 's': return json_is_string(json);
	case 'S': return json_is_string(json) || json_is_null(json);
	case 'i': return json_is_integer(json);
	case 'I': return json_is_integer(json) || json_is_null(json);
	case 'b': return json_is_boolean(json);
	case 'a': return json_is_array(json);
	default: return false;
	}
}

static void check_promises(json_t *json, const struct promise *p)
{
	for (; p->path; p++)
		if (!has_type(follow(json, p->path), p->type))
			fail_msg("%s is not there, or not of type %c", p->path, p->type);
}

static const struct promise of_status[] = {
	{ "schema", 's' },
	{ "version", 's' },
	{ "network", 's' },
	{ "self.name", 's' },
	{ "self.ip4", 'S' },
	{ "self.ip6", 's' },
	{ "self.nat.mapping", 's' },
	{ "self.nat.filtering", 's' },
	{ "self.nat.type", 's' },
	{ "self.nat.allocation", 's' },
	{ "self.endpoints", 'a' },
	{ "self.wg_key", 's' },
	{ "self.port", 'i' },
	{ "self.tun", 's' },
	{ "self.reflexive", 'S' },
	{ "hub.url", 's' },
	{ "hub.connected", 'b' },
	{ "hub.rtt_ms", 'I' },
	{ "peers", 'a' },
	{ "drops.malformed", 'i' },
	{ "drops.unknown_peer", 'i' },
	{ "drops.bad_auth", 'i' },
	{ "drops.replayed", 'i' },
	{ "drops.bad_source", 'i' },
	{ "drops.no_route", 'i' },
	{ "drops.no_way", 'i' },
	{ "drops.no_buffer", 'i' },
	{ "drops.too_big", 'i' },
	{ "drops.under_load", 'i' },
	{ 0 },
};
static const struct promise of_peer[] = {
	{ "name", 's' },
	{ "ip4", 'S' },
	{ "ip6", 'S' },
	{ "kind", 's' },
	{ "online", 'b' },
	{ "path.kind", 's' },
	{ "path.endpoint", 'S' },
	{ "path.rtt_ms", 'I' },
	{ "path.technique", 'S' },
	{ "path.since", 'S' },
	{ "path.reason", 'S' },
	{ "cipher", 'S' },
	{ "pq", 'b' },
	{ "rx_bytes", 'i' },
	{ "tx_bytes", 'i' },
	{ "last_handshake", 'S' },
	{ 0 },
};

static void the_status_keeps_what_it_promises(void **state)
{
	(void)state;
	static struct engine_peer quiet, busy;

	link_member(&quiet, "quiet", "10.77.0.2");
	link_member(&busy, "busy", "10.77.0.3");
	busy.peer.paths[0].addr = at("203.0.113.7:4242");
	busy.peer.best = &busy.peer.paths[0];
	quiet.ip4 = (struct addr) { 0 };
	json_t *s = status(), *peers = json_object_get(s, "peers");
	check_promises(s, of_status);
	assert_string_equal(text_at(s, "schema"), "p2pd.status/1");
	assert_int_equal(json_array_size(peers), 2);
	check_promises(json_array_get(peers, 0), of_peer);
	check_promises(json_array_get(peers, 1), of_peer);
	json_decref(s);
}

static void a_direct_path_tells_where_how_and_since_when(void **state)
{
	(void)state;
	static struct engine_peer nas;

	link_member(&nas, "nas", "10.77.0.2");
	nas.remote.items[0] = (struct candidate) { at("192.168.1.5:4242"), CANDIDATE_HOST };
	nas.remote.items[1] = (struct candidate) { at("203.0.113.7:4242"), CANDIDATE_REFLEXIVE };
	nas.remote.count = 2;
	nas.peer.paths[0].addr = at("203.0.113.7:4242");
	nas.peer.paths[0].rtt_ms = 9;
	nas.peer.best = &nas.peer.paths[0];
	nas.peer.rx_bytes = 5000000000;
	json_t *s = status(), *peer = json_array_get(json_object_get(s, "peers"), 0);
	json_t *path = json_object_get(peer, "path");
	assert_string_equal(text_at(path, "kind"), "direct");
	assert_string_equal(text_at(path, "endpoint"), "203.0.113.7:4242");
	assert_string_equal(text_at(path, "technique"), "simultaneous-open");
	assert_string_equal(text_at(path, "since"), "2026-09-21T14:12:20Z");
	assert_int_equal(json_integer_value(json_object_get(path, "rtt_ms")), 9);
	assert_true(json_is_null(json_object_get(path, "reason")));
	assert_true(json_integer_value(json_object_get(peer, "rx_bytes")) == 5000000000);
	json_decref(s);
}

static void the_technique_is_that_of_the_candidate(void **state)
{
	(void)state;
	static struct engine_peer nas;
	static const struct {
		const char *addr;
		enum candidate_kind kind;
		const char *technique;
	} cases[] = {
		{ "192.168.1.5:1", CANDIDATE_HOST, "lan" },
		{ "[fe80::1]:1", CANDIDATE_HOST, "lan" },
		{ "[2001:db8::1]:1", CANDIDATE_HOST, "ipv6" },
		{ "203.0.113.7:1", CANDIDATE_HOST, "public" },
		{ "203.0.113.7:1", CANDIDATE_REFLEXIVE, "simultaneous-open" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a = at(cases[i].addr), other = at("198.51.100.9:9");
		nas.remote.items[0] = (struct candidate) { a, (uint8_t)cases[i].kind };
		nas.remote.count = 1;
		assert_string_equal(status_technique(&nas, &a), cases[i].technique);
		assert_string_equal(status_technique(&nas, &other), "simultaneous-open");
	}
}

static void a_peer_without_a_way_says_why(void **state)
{
	(void)state;
	static struct engine_peer nas;

	link_member(&nas, "nas", "10.77.0.2");
	engine.welcomed = true;
	nas.online = false;
	assert_non_null(strstr(status_reason(&engine, &nas), "offline"));
	nas.online = true;
	assert_non_null(strstr(status_reason(&engine, &nas), "no address"));
	nas.remote.count = 1;
	assert_non_null(strstr(status_reason(&engine, &nas), "idle"));
	nas.punch_round = 2;
	assert_non_null(strstr(status_reason(&engine, &nas), "answered"));
	engine.welcomed = false;
	assert_non_null(strstr(status_reason(&engine, &nas), "hub"));
	json_t *s = status();
	json_t *path = json_object_get(json_array_get(json_object_get(s, "peers"), 0), "path");
	assert_string_equal(text_at(path, "kind"), "none");
	json_decref(s);
}

static void peers_come_in_the_order_of_their_names(void **state)
{
	(void)state;
	static struct engine_peer a, b, c;

	link_member(&b, "bravo", "10.77.0.3");
	link_member(&c, "charlie", "10.77.0.4");
	link_member(&a, "alpha", "10.77.0.2");
	json_t *s = status(), *peers = json_object_get(s, "peers");
	assert_int_equal(json_array_size(peers), 3);
	assert_string_equal(text_at(json_array_get(peers, 0), "name"), "alpha");
	assert_string_equal(text_at(json_array_get(peers, 2), "name"), "charlie");
	json_decref(s);
}

/* --- Bodies */

static void expect_error(struct requests_answer a, int http, const char *word)
{
	json_t *json = json_loads(a.body, 0, NULL), *error = json_object_get(json, "error");

	assert_int_equal(a.status, http);
	assert_string_equal(text_at(error, "code"), word);
	assert_true(strlen(text_at(error, "message")) > 10);
	json_decref(json);
	free(a.body);
}

static struct requests_answer add(const char *body)
{
	return requests_wg_add(&target, body, strlen(body), NOW_MS);
}

#define KEY	  "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
#define OTHER_KEY "BQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
static const char phone[] = "{\"name\":\"phone\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.77.200.2/32\"]}";

static void a_malformed_peer_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	static const char *const bodies[] = {
		"",
		"{",
		"[]",
		"null",
		"\"x\"",
		"{}",
		"{\"name\":\"a\"}",
		"{\"name\":3,\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"]}",
		"{\"name\":\"\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"]}",
		"{\"name\":\"a b\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"]}",
		"{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"key\":"
		"\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"]}",
		"{\"name\":\"a\",\"key\":\"AQID\",\"allowed_ips\":[\"10.0.0.1\"]}",
		"{\"name\":\"a\",\"key\":\"!QIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\",\"allowed_ips\":["
		"\"10.0.0.1\"]}",
		"{\"name\":\"a\",\"key\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyB=\",\"allowed_ips\":["
		"\"10.0.0.1\"]}",
		"{\"name\":\"a\",\"key\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"allowed_ips\":["
		"\"10.0.0.1\"]}",
		"{\"name\":\"a\",\"key\":\"" KEY "\"}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[]}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":\"10.0.0.1\"}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[1]}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1/33\"]}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1/\"]}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"0.0.0.0/0\"]}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1:5\"]}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"host\"]}",
		"{\"name\":\"a\",\"key\":\"" KEY
		"\",\"allowed_ips\":[\"10.0.0.1\"],\"endpoint\":\"192.0.2.1\"}",
		"{\"name\":\"a\",\"key\":\"" KEY
		"\",\"allowed_ips\":[\"10.0.0.1\"],\"endpoint\":\"127.0.0.1:5\"}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"],\"psk\":\"x\"}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"],\"keepalive\":-1}",
		"{\"name\":\"a\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"],\"keepalive\":65536}",
		"{\"name\":\"a\",\"name\":\"b\",\"key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.1\"]}",
	};

	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		expect_error(add(bodies[i]), 400, "usage");
		assert_null(engine.peers);
		assert_int_equal(wg.count, 0);
		assert_int_equal(changes, 0);
	}
}

static void a_body_cut_anywhere_is_refused(void **state)
{
	(void)state;

	for (size_t len = 0; len < sizeof phone - 1; len++) {
		expect_error(requests_wg_add(&target, phone, len, NOW_MS), 400, "usage");
		assert_null(engine.peers);
	}
}

static void a_stock_peer_is_added_once_listed_and_removed(void **state)
{
	(void)state;
	struct requests_answer a = add(phone);

	assert_int_equal(a.status, 200);
	free(a.body);
	assert_int_equal(changes, 1);
	expect_error(add(phone), 409, "conflict");
	assert_int_equal(wg.count, 1);
	a = requests_wg_list(&target);
	assert_non_null(strstr(a.body, "\"name\":\"phone\""));
	free(a.body);
	expect_error(requests_wg_remove(&target, "{\"name\":\"tablet\"}", 17), 404, "not-found");
	expect_error(requests_wg_remove(&target, "{}", 2), 400, "usage");
	expect_error(requests_wg_remove(&target, "{", 1), 400, "usage");
	a = requests_wg_remove(&target, "{\"name\":\"phone\"}", 16);
	assert_int_equal(a.status, 200);
	free(a.body);
	assert_null(engine.peers);
	assert_int_equal(wg.count, 0);
	assert_int_equal(changes, 2);
}

static void names_and_addresses_that_others_have_are_refused(void **state)
{
	(void)state;
	static struct engine_peer nas;
	char own[ADDR_TEXT_MAX], body[256];
	const struct {
		const char *name, *allowed;
	} cases[] = {
		{ "self", "10.77.200.3" },	{ "nas", "10.77.200.3" },
		{ "tablet", "10.77.0.2" },	{ "tablet", "fd00::1" },
		{ "tablet", "10.77.200.2/32" }, { "tablet", addr_format_ip(&engine.ip4, own) },
	};

	link_member(&nas, "nas", "10.77.0.2");
	free(add(phone).body);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(body, sizeof body, "{\"name\":\"%s\",\"key\":\"%s\",\"allowed_ips\":[\"%s\"]}",
			 cases[i].name, OTHER_KEY, cases[i].allowed);
		expect_error(add(body), 409, "conflict");
		assert_int_equal(wg.count, 1);
	}
	/* A wider prefix takes nothing from those in it. */
	snprintf(body, sizeof body, "{\"name\":\"lan\",\"key\":\"%s\",\"allowed_ips\":[\"10.77.0.0/24\"]}",
		 OTHER_KEY);
	struct requests_answer a = add(body);
	assert_int_equal(a.status, 200);
	free(a.body);
}

static void a_peer_that_cannot_be_kept_is_not_added(void **state)
{
	(void)state;

	changed_ret = -ENOSPC;
	expect_error(add(phone), 409, "conflict");
	changed_ret = -EADDRINUSE;
	expect_error(add(phone), 409, "conflict");
	changed_ret = -EIO;
	expect_error(add(phone), 500, "failed");
	assert_null(engine.peers);
	assert_int_equal(wg.count, 0);
}

static void down_says_which_process_ends(void **state)
{
	(void)state;
	struct requests_answer a = requests_down(&target, "{\"forget\":true}", 15);

	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.body, "\"pid\":"));
	free(a.body);
	assert_true(forgotten);
	a = requests_down(&target, "", 0);
	free(a.body);
	assert_false(forgotten);
	assert_int_equal(downs, 2);
	expect_error(requests_down(&target, "{\"forget\":1}", 12), 400, "usage");
	expect_error(requests_down(&target, "[]", 2), 400, "usage");
	assert_int_equal(downs, 2);
}

static void a_ping_needs_a_peer_that_is_there(void **state)
{
	(void)state;
	static struct engine_peer nas;
	static const struct {
		const char *body;
		int http;
		const char *word;
	} cases[] = {
		{ "", 400, "usage" },
		{ "{", 400, "usage" },
		{ "{\"peer\":1}", 400, "usage" },
		{ "{\"peer\":\"nas\",\"count\":-1}", 400, "usage" },
		{ "{\"peer\":\"nas\",\"count\":\"1\"}", 400, "usage" },
		{ "{\"peer\":\"nas\",\"wait_ms\":0}", 400, "usage" },
		{ "{\"peer\":\"nas\",\"wait_ms\":99999999999}", 400, "usage" },
		{ "{\"peer\":\"printer\"}", 404, "not-found" },
		{ "{\"peer\":\"self\"}", 404, "not-found" },
		{ "{\"peer\":\"phone\"}", 400, "usage" },
	};
	static const char by_address[] = "{\"peer\":\"10.77.0.2\",\"count\":3}";
	struct requests_ping ping;
	struct requests_answer error;

	expect_error((requests_ping(&target, "{\"peer\":\"nas\"}", 14, &ping, &error), error), 409,
		     "not-joined");
	link_member(&nas, "nas", "10.77.0.2");
	engine.joined = true;
	free(add(phone).body);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_false(requests_ping(&target, cases[i].body, strlen(cases[i].body), &ping, &error));
		expect_error(error, cases[i].http, cases[i].word);
	}
	assert_true(requests_ping(&target, by_address, strlen(by_address), &ping, &error));
	assert_string_equal(ping.peer, "nas");
	assert_int_equal(ping.count, 3);
}

static void a_pong_tells_its_way(void **state)
{
	(void)state;
	static struct engine_peer nas;
	struct engine_event pong = { .kind = ENGINE_EV_PONG, .way = ENGINE_WAY_RELAY, .rtt_ms = 41 };

	link_member(&nas, "nas", "10.77.0.2");
	char *line = requests_pong_line(&nas, &pong);
	assert_string_equal(line,
			    "{\"peer\":\"nas\",\"ip\":\"10.77.0.2\",\"via\":\"relay\",\"rtt_ms\":41}\n");
	free(line);
	pong.way = ENGINE_WAY_DIRECT;
	pong.from = at("203.0.113.7:4242");
	line = requests_pong_line(&nas, &pong);
	assert_non_null(strstr(line, "\"endpoint\":\"203.0.113.7:4242\""));
	free(line);
	line = requests_timeout_line(NULL);
	assert_string_equal(line, "{\"timeout\":true,\"online\":false}\n");
	free(line);
}

/* --- */

static int make_node(void **state)
{
	(void)state;
	struct engine_config config = {
		.name = "self", .ik_seed = { 1 }, .wk_sk = { 2 }, .ip4_bits = 16, .pool = &pool, .seed = 1
	};

	config.ip4_prefix = at("10.77.0.0");
	if (pkt_pool_init(&pool, 8) || network_from_secret(&config.net, "home", "some long secret", 16))
		return -1;
	changes = downs = 0;
	changed_ret = 0;
	return engine_init(&engine, &config, NOW_MS, UNIX_NS);
}

/* Members made by hand are not the engine's to free. */
static int free_node(void **state)
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

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

#define with_a_node(test) cmocka_unit_test_setup_teardown(test, make_node, free_node)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_a_node(the_status_keeps_what_it_promises),
		with_a_node(a_direct_path_tells_where_how_and_since_when),
		with_a_node(the_technique_is_that_of_the_candidate),
		with_a_node(a_peer_without_a_way_says_why),
		with_a_node(peers_come_in_the_order_of_their_names),
		with_a_node(a_malformed_peer_is_refused_and_changes_nothing),
		with_a_node(a_body_cut_anywhere_is_refused),
		with_a_node(a_stock_peer_is_added_once_listed_and_removed),
		with_a_node(names_and_addresses_that_others_have_are_refused),
		with_a_node(a_peer_that_cannot_be_kept_is_not_added),
		with_a_node(down_says_which_process_ends),
		with_a_node(a_ping_needs_a_peer_that_is_there),
		with_a_node(a_pong_tells_its_way),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
