/* What the status tells: every promised value with its type, and the words for the ways of packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/p2pd/status.h"
#include "tests/unit/made_node.h"

static json_t *status(void)
{
	const struct status s = { &engine, "https://hub.example", "p2pd0", NOW_MS, UNIX_NS };
	char *text = status_format(&s);
	json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	free(text);
	return json;
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
		{ "203.0.113.7:1", CANDIDATE_MAPPED, "port-mapping" },
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

static void the_verdict_on_the_nat_is_told_in_words(void **state)
{
	(void)state;
	static const struct {
		struct verdict verdict;
		const char *mapping, *filtering, *type, *allocation;
	} cases[] = {
		{ { 0 }, "unknown", "unknown", "unknown", "unknown" },
		{ { .mapping = MAPPING_NONE, .filtering = FILTERING_ENDPOINT_INDEPENDENT },
		  "none",
		  "endpoint-independent",
		  "open",
		  "unknown" },
		{ { .mapping = MAPPING_ENDPOINT_INDEPENDENT,
		    .filtering = FILTERING_ADDRESS_DEPENDENT,
		    .allocation = ALLOCATION_PRESERVING },
		  "endpoint-independent",
		  "address-dependent",
		  "nat2",
		  "preserving" },
		{ { .mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT, .allocation = ALLOCATION_SEQUENTIAL },
		  "address-and-port-dependent",
		  "unknown",
		  "nat4",
		  "sequential" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		engine.verdict = cases[i].verdict;
		json_t *s = status(), *nat = json_object_get(json_object_get(s, "self"), "nat");
		assert_string_equal(text_at(nat, "mapping"), cases[i].mapping);
		assert_string_equal(text_at(nat, "filtering"), cases[i].filtering);
		assert_string_equal(text_at(nat, "type"), cases[i].type);
		assert_string_equal(text_at(nat, "allocation"), cases[i].allocation);
		json_decref(s);
	}
}

static void port_mappings_are_told(void **state)
{
	(void)state;
	json_t *s = status(), *nat = json_object_get(json_object_get(s, "self"), "nat");

	assert_true(json_is_null(json_object_get(nat, "portmap"))); /* none is wanted */
	json_decref(s);
	engine.portmap = (struct portmap_view) {
		.enabled = true,
		.count = 1,
		.items = { { .external = at("100.64.0.5:41000"), .double_nat = true } },
		.state = { [GATEWAY_UPNP] = PORTMAP_WORKING, [GATEWAY_PCP] = PORTMAP_REFUSED },
	};
	s = status();
	nat = json_object_get(json_object_get(s, "self"), "nat");
	json_t *portmap = json_object_get(nat, "portmap");
	assert_string_equal(text_at(portmap, "upnp"), "working");
	assert_string_equal(text_at(portmap, "natpmp"), "unknown");
	assert_string_equal(text_at(portmap, "pcp"), "refused");
	assert_string_equal(text_at(portmap, "external"), "100.64.0.5:41000");
	assert_true(json_is_true(json_object_get(portmap, "double_nat")));
	json_decref(s);
	engine.portmap = (struct portmap_view) { 0 };
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_a_node(the_status_keeps_what_it_promises),
		with_a_node(a_direct_path_tells_where_how_and_since_when),
		with_a_node(the_technique_is_that_of_the_candidate),
		with_a_node(a_peer_without_a_way_says_why),
		with_a_node(the_verdict_on_the_nat_is_told_in_words),
		with_a_node(port_mappings_are_told),
		with_a_node(peers_come_in_the_order_of_their_names),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
