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

static const char *forward_off;

static json_t *status(void)
{
	const struct status s = {
		&engine, "https://hub.example", NULL, "p2pd0", "no-gro", 4, NOW_MS, UNIX_NS, forward_off
	};
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
	{ "self.nat.keepalive_s", 'i' },
	{ "self.nat.lifetime_s", 'I' },
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
	{ "drops.bad_destination", 'i' },
	{ "drops.no_route", 'i' },
	{ "drops.no_way", 'i' },
	{ "drops.no_buffer", 'i' },
	{ "drops.under_load", 'i' },
	{ "data.offload", 's' },
	{ "forwarding.off", 'S' },
	{ "data.workers", 'i' },
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
	{ "nat.mapping", 's' },
	{ "nat.filtering", 's' },
	{ "nat.type", 's' },
	{ "nat.allocation", 's' },
	{ "nat.step", 'i' },
	{ "nat.block", 'a' },
	{ "probes", 'i' },
	{ "attempts", 'a' },
	{ "cipher", 'S' },
	{ "pq", 'b' },
	{ "rx_bytes", 'i' },
	{ "tx_bytes", 'i' },
	{ "last_handshake", 'S' },
	{ 0 },
};

static void why_forwarding_is_off_is_told(void **state)
{
	(void)state;
	forward_off = "forwards.json has mode 0644";
	json_t *s = status();
	assert_string_equal(text_at(json_object_get(s, "forwarding"), "off"), forward_off);
	forward_off = NULL;
	json_decref(s);
}

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
	nas.peer.paths[0].addr = at("203.0.113.7:4242");
	nas.peer.paths[0].opened_by = OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN;
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
	assert_true(json_is_true(json_object_get(path, "trains")));
	assert_true(json_integer_value(json_object_get(peer, "rx_bytes")) == 5000000000);
	json_decref(s);
}

static void trains_are_told_of_the_way_in_use(void **state)
{
	(void)state;
	static struct engine_peer nas;
	static const struct {
		enum gaps_state relay, path;
		bool direct, trains;
	} cases[] = {
		{ GAPS_SINGLY, GAPS_TRAINS, true, true },  { GAPS_SINGLY, GAPS_TRAINS, false, false },
		{ GAPS_TRAINS, GAPS_SINGLY, true, false }, { GAPS_TRAINS, GAPS_TRYING_SINGLY, true, false },
		{ GAPS_TRAINS, GAPS_SINGLY, false, true },
	};

	link_member(&nas, "nas", "10.77.0.2");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		nas.relay_gaps = (struct gaps_choice) { .state = cases[i].relay,
							.since_ms = NOW_MS,
							.singly_ms = GAPS_SINGLY_MS };
		nas.peer.paths[0].gaps = (struct gaps_choice) { .state = cases[i].path,
								.since_ms = NOW_MS,
								.singly_ms = GAPS_SINGLY_MS };
		nas.peer.best = cases[i].direct ? &nas.peer.paths[0] : NULL;
		json_t *s = status();
		json_t *path = json_object_get(json_array_get(json_object_get(s, "peers"), 0), "path");
		assert_int_equal(json_is_true(json_object_get(path, "trains")), cases[i].trains);
		json_decref(s);
	}
}

static void the_path_tells_what_opened_it(void **state)
{
	(void)state;
	static struct engine_peer nas;
	static const struct {
		unsigned opened_by;
		const char *technique;
	} cases[] = {
		{ OPENED_LAN, "lan" },
		{ OPENED_IPV6, "ipv6" },
		{ OPENED_PUBLIC, "public" },
		{ OPENED_MAPPED, "mapped" },
		{ OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN, "simultaneous-open" },
		{ OPENED_TECHNIQUE + TECHNIQUE_BIRTHDAY, "birthday" },
		{ OPENED_TECHNIQUE + TECHNIQUE_SEQUENTIAL, "sequential" },
		{ OPENED_TECHNIQUE + TECHNIQUE_RENDEZVOUS, "rendezvous" },
		{ OPENED_TECHNIQUE + TECHNIQUE_HARD_BIRTHDAY, "hard-birthday" },
	};

	link_member(&nas, "nas", "10.77.0.2");
	nas.peer.paths[0].addr = at("203.0.113.7:4242");
	nas.peer.best = &nas.peer.paths[0];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		nas.peer.paths[0].opened_by = (uint8_t)cases[i].opened_by;
		json_t *s = status();
		json_t *path = json_object_get(json_array_get(json_object_get(s, "peers"), 0), "path");
		assert_string_equal(text_at(path, "technique"), cases[i].technique);
		json_decref(s);
	}
}

static void the_verdict_on_a_peers_nat_is_told_like_our_own(void **state)
{
	(void)state;
	static struct engine_peer nas;

	link_member(&nas, "nas", "10.77.0.2");
	nas.nat = engine.verdict = (struct verdict) { .mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT,
						      .allocation = ALLOCATION_SEQUENTIAL,
						      .step = -2,
						      .block_lo = 2048,
						      .block_hi = 4095 };
	json_t *s = status(), *nat = json_object_get(json_array_get(json_object_get(s, "peers"), 0), "nat");
	json_t *own = json_object_get(json_object_get(s, "self"), "nat"), *value;
	const char *key;
	assert_string_equal(text_at(nat, "type"), "nat4");
	assert_int_equal(json_integer_value(json_object_get(nat, "step")), -2);
	json_object_foreach(nat, key, value) assert_true(json_equal(value, json_object_get(own, key)));
	json_decref(s);
}

static void the_lifetime_of_mappings_is_told_once_it_is_known(void **state)
{
	(void)state;
	json_t *s = status();

	assert_true(json_is_null(follow(s, "self.nat.lifetime_s")));
	assert_int_equal(json_integer_value(follow(s, "self.nat.keepalive_s")), ENGINE_STUN_MS / 1000);
	json_decref(s);
	engine.lifetime.alive_s = 100;
	s = status();
	assert_int_equal(json_integer_value(follow(s, "self.nat.lifetime_s")), 100);
	assert_int_equal(json_integer_value(follow(s, "self.nat.keepalive_s")), 70);
	json_decref(s);
	engine.lifetime.running = true;
	s = status();
	assert_true(json_is_null(follow(s, "self.nat.lifetime_s")));
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
		with_a_node(why_forwarding_is_off_is_told),
		with_a_node(a_direct_path_tells_where_how_and_since_when),
		with_a_node(trains_are_told_of_the_way_in_use),
		with_a_node(the_path_tells_what_opened_it),
		with_a_node(the_verdict_on_a_peers_nat_is_told_like_our_own),
		with_a_node(the_lifetime_of_mappings_is_told_once_it_is_known),
		with_a_node(the_verdict_on_the_nat_is_told_in_words),
		with_a_node(port_mappings_are_told),
		with_a_node(peers_come_in_the_order_of_their_names),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
