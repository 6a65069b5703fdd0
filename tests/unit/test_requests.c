/* What the control socket answers, without the socket, to bodies of all kinds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/made_node.h"

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

static const char *offload(void *arg)
{
	(void)arg;
	return "all";
}

static const struct requests_target target = {
	.engine = &engine,
	.wg = &wg,
	.hub_url = "https://hub.example",
	.tun = "p2pd0",
	.workers = 2,
	.offload = offload,
	.wg_changed = on_wg_changed,
	.down = on_down,
};

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

static void why_needs_a_peer_of_any_kind(void **state)
{
	(void)state;
	static struct engine_peer nas;
	static const struct {
		const char *body;
		int http;
		const char *word;
	} cases[] = {
		{ "", 400, "usage" },
		{ "[\"nas\"]", 400, "usage" },
		{ "{\"peer\":1}", 400, "usage" },
		{ "{\"peer\":\"printer\"}", 404, "not-found" },
		{ "{\"peer\":\"self\"}", 404, "not-found" },
	};
	static const char *const known[] = { "{\"peer\":\"nas\"}", "{\"peer\":\"10.77.0.2\"}",
					     "{\"peer\":\"phone\"}" };

	expect_error(requests_why(&target, known[0], strlen(known[0]), NOW_MS, UNIX_NS), 409, "not-joined");
	link_member(&nas, "nas", "10.77.0.2");
	engine.joined = true;
	free(add(phone).body);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		expect_error(requests_why(&target, cases[i].body, strlen(cases[i].body), NOW_MS, UNIX_NS),
			     cases[i].http, cases[i].word);
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		struct requests_answer a = requests_why(&target, known[i], strlen(known[i]), NOW_MS, UNIX_NS);
		assert_int_equal(a.status, 200);
		assert_non_null(strstr(a.body, "\"schema\":\"p2pd.why/1\""));
		free(a.body);
	}
}

static void a_pong_tells_its_way(void **state)
{
	(void)state;
	static struct engine_peer nas;
	struct engine_event pong = { .kind = ENGINE_EV_PONG, .way = ENGINE_WAY_RELAY, .rtt_ms = 41 };

	link_member(&nas, "nas", "10.77.0.2");
	char *line = requests_pong_line(&nas, &pong);
	assert_string_equal(line,
			    "{\"peer\":\"nas\",\"ip\":\"10.77.0.2\",\"via\":\"relay\",\"kind\":\"relay-udp\","
			    "\"rtt_ms\":41}\n");
	free(line);
	pong.by_link = true;
	line = requests_pong_line(&nas, &pong);
	assert_non_null(strstr(line, "\"kind\":\"relay-tls\""));
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

static int make_target(void **state)
{
	changes = downs = 0;
	changed_ret = 0;
	return make_node(state);
}

#define with_a_target(test) cmocka_unit_test_setup_teardown(test, make_target, free_node)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_a_target(a_malformed_peer_is_refused_and_changes_nothing),
		with_a_target(a_body_cut_anywhere_is_refused),
		with_a_target(a_stock_peer_is_added_once_listed_and_removed),
		with_a_target(names_and_addresses_that_others_have_are_refused),
		with_a_target(a_peer_that_cannot_be_kept_is_not_added),
		with_a_target(down_says_which_process_ends),
		with_a_target(a_ping_needs_a_peer_that_is_there),
		with_a_target(why_needs_a_peer_of_any_kind),
		with_a_target(a_pong_tells_its_way),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
