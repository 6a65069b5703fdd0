#include "tests/unit/coord_bench.h"
#include "tests/unit/rest_bench.h"

static struct api a;
static char hex[65], target[512];

static const char *node_target(const char *format, const uint8_t *key)
{
	snprintf(target, sizeof target, format, api_hex(key, hex));
	return target;
}

static void seen(const struct node *n, uint64_t last_s)
{
	struct store_node node = { .last_s = last_s };

	memcpy(node.netid, n->net->netid, 32);
	memcpy(node.ik, n->pk, 32);
	assert_int_equal(store_node_seen(a.store, &node), 0);
	assert_int_equal(store_flush(a.store), 0);
}

/* --- Who asks, and from where */

static void hosts_and_origins_are_the_hubs_own(void **state)
{
	(void)state;
	static const struct {
		const char *host, *headers;
		int status;
	} cases[] = {
		{ "hub.example", NULL, 200 },
		{ "HUB.example:8443", NULL, 200 },
		{ "198.51.100.7", NULL, 200 },
		{ "198.51.100.7:443", NULL, 200 },
		{ "198.51.100.8", NULL, 403 },
		{ "evil.example", NULL, 403 },
		{ "hub.example.evil.example", NULL, 403 },
		{ "hub.example@evil.example", NULL, 403 },
		{ "localhost", NULL, 403 },
		{ "[::1]", NULL, 403 },
		{ "hub.example:", NULL, 400 },
		{ "hub.example:x", NULL, 400 },
		{ "hub.example:99999", NULL, 400 },
		{ "[::1", NULL, 400 },
		{ "", NULL, 400 },
		{ "hub.example", "Host: hub.example\r\n", 400 },
		{ "hub.example", "Origin: https://hub.example\r\n", 200 },
		{ "hub.example:8443", "Origin: https://hub.example:8443\r\n", 200 },
		{ "198.51.100.7", "Origin: https://hub.example\r\n", 200 },
		{ "hub.example", "Origin: https://hub.example:8080\r\n", 403 },
		{ "hub.example", "Origin: http://hub.example\r\n", 403 },
		{ "hub.example", "Origin: https://evil.example\r\n", 403 },
		{ "hub.example", "Origin: null\r\n", 403 },
		{ "hub.example", "Origin:\r\n", 403 },
	};

	api_start(&a);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		a.host = cases[i].host;
		a.headers = cases[i].headers;
		int got = api_get(&a, "/health");
		if (got != cases[i].status)
			fail_msg("%s %s: %d", a.host, a.headers ? a.headers : "", got);
	}
	api_stop(&a);
}

static void tokens_are_taken_in_one_form_only(void **state)
{
	(void)state;
	char text[128];

	api_start(&a);
	assert_int_equal(api_ask(&a, "GET", "/health", a.reader, NULL), 200);
	snprintf(text, sizeof text, "Authorization: bearer   %s\r\n", a.reader);
	a.headers = text;
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 200);
	snprintf(text, sizeof text, "Authorization: Basic %s\r\n", a.reader);
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 401);
	a.headers = NULL;
	for (size_t i = 0; i < API_TOKEN_LEN; i++) {
		strcpy(text, a.reader);
		text[i] = text[i] == 'A' ? 'B' : 'A';
		a.hub.now += 1000;
		assert_int_equal(api_ask(&a, "GET", "/health", text, NULL), 401);
		assert_non_null(strstr(a.answer.headers, "invalid_token"));
	}
	snprintf(text, sizeof text, "%sA", a.reader);
	assert_int_equal(api_ask(&a, "GET", "/health", text, NULL), 401);
	assert_int_equal(api_ask(&a, "GET", "/health", "", NULL), 401);
	api_stop(&a);
}

static void a_token_ends_with_its_second(void **state)
{
	(void)state;
	char text[API_TOKEN_LEN + 1];

	api_start(&a);
	uint64_t id = api_token(a.store, &a.hub.rng, "short", STORE_SCOPE_READ, UNIX_S + 10, text);
	a.unix_s = UNIX_S + 9;
	assert_int_equal(api_ask(&a, "GET", "/health", text, NULL), 200);
	a.unix_s++;
	assert_int_equal(api_ask(&a, "GET", "/health", text, NULL), 401);
	assert_non_null(strstr(api_text(a.json, "detail"), "expired"));
	a.unix_s--;
	assert_int_equal(api_ask(&a, "GET", "/health", text, NULL), 200);
	assert_int_equal(store_token_revoke(a.store, id, a.unix_s), 0);
	assert_int_equal(api_ask(&a, "GET", "/health", text, NULL), 401);
	assert_non_null(strstr(api_text(a.json, "detail"), "revoked"));
	api_stop(&a);
}

static void strangers_are_slowed_down_and_lock_nobody_out(void **state)
{
	(void)state;
	struct addr other;

	api_start(&a);
	for (int i = 0; i < REST_STRANGER_BURST; i++)
		assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 401);
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 429);
	assert_non_null(strstr(a.answer.headers, "Retry-After: 1\r\n"));
	assert_int_equal(api_ask(&a, "GET", "/openapi.json", NULL, NULL), 429);
	assert_int_equal(api_ask(&a, "GET", "/health", a.reader, NULL), 200);
	addr_parse(&other, "203.0.113.10:5000", 0);
	struct addr first = a.from;
	a.from = other;
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 401);
	a.from = first;
	a.from.port++;
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 429);
	a.hub.now += 1000;
	for (int i = 0; i < REST_STRANGER_PER_S; i++)
		assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 401);
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 429);
	api_stop(&a);
}

static void an_ipv6_source_is_its_prefix(void **state)
{
	(void)state;

	api_start(&a);
	addr_parse(&a.from, "[2001:db8::1]:5000", 0);
	for (uint8_t i = 0; i < REST_STRANGER_BURST; i++) {
		a.from.ip[15] = i;
		assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 401);
	}
	a.from.ip[8] = 9;
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 429);
	a.from.ip[7] = 9;
	assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 401);
	api_stop(&a);
}

static void each_token_has_its_own_rate(void **state)
{
	(void)state;

	api_start(&a);
	for (int i = 0; i < REST_TOKEN_BURST; i++)
		assert_int_equal(api_ask(&a, "GET", "/health", a.reader, NULL), 200);
	assert_int_equal(api_ask(&a, "GET", "/health", a.reader, NULL), 429);
	assert_int_equal(api_ask(&a, "GET", "/health", a.admin, NULL), 200);
	a.local = true;
	for (int i = 0; i < 2 * REST_TOKEN_BURST; i++)
		assert_int_equal(api_ask(&a, "GET", "/health", NULL, NULL), 200);
	api_stop(&a);
}

static void denials_are_audited_at_a_bounded_rate(void **state)
{
	(void)state;

	api_start(&a);
	for (int i = 0; i < 3 * REST_AUDIT_BURST; i++)
		assert_int_equal(api_ask(&a, "GET", "/audit", a.reader, NULL), 403);
	assert_int_equal(store_flush(a.store), 0);
	assert_int_equal(api_get(&a, "/audit?action=api.denied&limit=1000"), 200);
	assert_int_equal(json_array_size(json_object_get(a.json, "audit")), REST_AUDIT_BURST);
	json_t *first = api_at(&a, "audit", 0);
	assert_string_equal(api_text(first, "actor"), "token:reader");
	assert_string_equal(api_text(first, "object"), "GET /audit");
	assert_string_equal(api_text(first, "outcome"), "denied");
	api_stop(&a);
}

/* --- How it is asked */

static void what_is_badly_asked_is_refused_with_its_status(void **state)
{
	(void)state;
	static char large[REST_BODY_MAX + 3];
	static const char quota[] =
		"{\"total_rate\":1,\"network_rate\":2,\"node_rate\":3,\"network_month\":4,"
		"\"node_month\":5}";
	static const struct {
		const char *method, *target, *body, *headers;
		int status;
	} cases[] = {
		{ "GET", "/nothing", NULL, NULL, 404 },
		{ "GET", "", NULL, NULL, 404 },
		{ "GET", "/", NULL, NULL, 404 },
		{ "GET", "/networks/", NULL, NULL, 404 },
		{ "GET", "/networks//nodes", NULL, NULL, 404 },
		{ "GET", "/networks/0/nodes/", NULL, NULL, 404 },
		{ "GET", "/networks/00", NULL, NULL, 400 },
		{ "GET", "/networks/%00", NULL, NULL, 404 },
		{ "GET", "/nodes/zz", NULL, NULL, 400 },
		{ "DELETE", "/networks", NULL, NULL, 405 },
		{ "POST", "/quota", quota, NULL, 405 },
		{ "GET", "/networks?limit=0", NULL, NULL, 400 },
		{ "GET", "/networks?limit=1001", NULL, NULL, 400 },
		{ "GET", "/networks?limit=-1", NULL, NULL, 400 },
		{ "GET", "/networks?limit=", NULL, NULL, 400 },
		{ "GET", "/networks?limit=99999999999999999999", NULL, NULL, 400 },
		{ "GET", "/networks?limit=1&limit=2", NULL, NULL, 400 },
		{ "GET", "/networks?limit=%3", NULL, NULL, 400 },
		{ "GET", "/networks?limit=%31", NULL, NULL, 200 },
		{ "GET", "/networks?cursor=1", NULL, NULL, 400 },
		{ "GET", "/networks?nothing=1", NULL, NULL, 400 },
		{ "GET", "/health?limit=1", NULL, NULL, 400 },
		{ "GET", "/usage?month=2026-13", NULL, NULL, 400 },
		{ "GET", "/usage?month=2026-1", NULL, NULL, 400 },
		{ "GET", "/usage?month=2026-12", NULL, NULL, 200 },
		{ "GET", "/usage?network=12", NULL, NULL, 400 },
		{ "GET", "/audit?since=yesterday", NULL, NULL, 400 },
		{ "GET", "/audit?since=2026-01-31T09%3A05%3A00Z&until=1900000000", NULL, NULL, 200 },
		{ "GET", "/audit?order=none", NULL, NULL, 400 },
		{ "GET", "/sessions?cursor=4294967296", NULL, NULL, 400 },
		{ "PUT", "/quota", quota, NULL, 200 },
		{ "PUT", "/quota", NULL, NULL, 415 },
		{ "PUT", "/quota", NULL, "Content-Type: text/plain\r\n", 415 },
		{ "PUT", "/quota", NULL, "Content-Type: application/jsonx\r\n", 415 },
		{ "PUT", "/quota", NULL, "Content-Type: application/json; charset=utf-8\r\n", 400 },
		{ "PUT", "/quota", "{", NULL, 400 },
		{ "PUT", "/quota", "{\"total_rate\":1,\"total_rate\":1}", NULL, 400 },
		{ "PUT", "/quota", "[]", NULL, 422 },
		{ "PUT", "/quota", "{}", NULL, 422 },
		{ "PUT", "/quota",
		  "{\"total_rate\":-1,\"network_rate\":2,\"node_rate\":3,\"network_month\":4,\"node_month\":"
		  "5}",
		  NULL, 422 },
		{ "PUT", "/quota",
		  "{\"total_rate\":4294967296,\"network_rate\":2,\"node_rate\":3,\"network_month\":4,"
		  "\"node_month\":5}",
		  NULL, 422 },
		{ "PUT", "/quota",
		  "{\"total_rate\":1,\"network_rate\":2,\"node_rate\":3,\"network_month\":4,\"node_month\":5,"
		  "\"more\":1}",
		  NULL, 422 },
		{ "PUT", "/quota", large, NULL, 413 },
	};

	memset(large, ' ', sizeof large - 1);
	api_start(&a);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		a.headers = cases[i].headers;
		int got = api_ask(&a, cases[i].method, cases[i].target, a.admin, cases[i].body);
		if (got != cases[i].status)
			fail_msg("%s %s %.60s: %d", cases[i].method, cases[i].target,
				 cases[i].body ? cases[i].body : "", got);
		if (got < 400)
			continue;
		assert_string_equal(a.answer.type, "application/problem+json");
		assert_int_equal(json_integer_value(json_object_get(a.json, "status")), got);
		assert_string_equal(api_text(a.json, "type"), "about:blank");
		assert_string_not_equal(api_text(a.json, "title"), "");
		assert_string_not_equal(api_text(a.json, "detail"), "");
		if (got == 405)
			assert_non_null(strstr(a.answer.headers, "Allow: "));
	}
	api_stop(&a);
}

/* --- What is answered */

static void lists_join_what_is_kept_and_what_is_now(void **state)
{
	(void)state;

	api_start(&a);
	join_with_rtt(&a.hub, 1, &ann, 40);
	publish(&a.hub, 1, 7, "sealed", 6);
	join(&a.hub, 2, &bob);
	seen(&ann, UNIX_S - 5);
	seen(&cid, UNIX_S - 100);
	seen(&eve, UNIX_S - 200);
	assert_int_equal(api_get(&a, "/networks"), 200);
	assert_int_equal(json_array_size(json_object_get(a.json, "networks")), 2);
	assert_int_equal(api_get(&a, node_target("/networks/%s", net_a.netid)), 200);
	assert_int_equal(json_integer_value(json_object_get(a.json, "online")), 2);
	assert_int_equal(json_integer_value(json_object_get(a.json, "nodes")), 2);
	assert_int_equal(api_get(&a, node_target("/networks/%s", net_b.netid)), 200);
	assert_int_equal(json_integer_value(json_object_get(a.json, "online")), 0);
	assert_int_equal(api_get(&a, node_target("/networks/%s/nodes", net_a.netid)), 200);
	assert_int_equal(json_array_size(json_object_get(a.json, "nodes")), 3);
	assert_int_equal(api_get(&a, node_target("/networks/%s/nodes", ann.pk)), 404);
	assert_int_equal(api_get(&a, node_target("/nodes/%s", ann.pk)), 200);
	json_t *m = api_at(&a, "memberships", 0);
	assert_true(json_is_true(json_object_get(m, "online")));
	assert_int_equal(json_integer_value(json_object_get(m, "rtt_ms")), 40);
	assert_int_equal(json_integer_value(json_object_get(m, "record_seq")), 7);
	assert_int_equal(json_integer_value(json_object_get(m, "record_bytes")), 6);
	assert_string_equal(api_text(m, "last_seen"), "2023-11-14T22:13:15Z");
	assert_int_equal(api_get(&a, node_target("/nodes/%s", eve.pk)), 404);
	char with[65];
	snprintf(target, sizeof target, "/nodes/%s?network=%s", api_hex(eve.pk, hex),
		 api_hex(net_b.netid, with));
	assert_int_equal(api_get(&a, target), 200);
	assert_true(json_is_false(json_object_get(api_at(&a, "memberships", 0), "online")));
	api_stop(&a);
}

/* Walks all pages of one entry; returns how many there were. In order, none twice. */
static size_t walk(const char *path, const char *list, const char *key)
{
	char last[65] = "", url[512], cursor[96] = "";
	size_t n = 0;

	for (;;) {
		snprintf(url, sizeof url, "%s?limit=1%s", path, cursor);
		assert_int_equal(api_get(&a, url), 200);
		for (size_t i = 0; i < json_array_size(json_object_get(a.json, list)); i++, n++) {
			const char *id = api_text(api_at(&a, list, i), key);
			assert_true(!key[0] || strcmp(last, id) < 0);
			snprintf(last, sizeof last, "%s", id);
		}
		const char *next = api_text(a.json, "next");
		if (!*next)
			return n;
		assert_in_range(n, 0, 100);
		snprintf(cursor, sizeof cursor, "&cursor=%s", next);
	}
}

static void pages_follow_each_other_without_gap_or_repetition(void **state)
{
	(void)state;
	struct node n[8];
	char path[128];

	api_start(&a);
	for (uint64_t i = 0; i < 8; i++) {
		nobody(&n[i], &net_a, 100 + i);
		if (i % 2)
			join(&a.hub, 10 + i, &n[i]);
		if (i % 3)
			seen(&n[i], UNIX_S);
	}
	join(&a.hub, 2, &eve);
	snprintf(path, sizeof path, "/networks/%s/nodes", api_hex(net_a.netid, hex));
	assert_int_equal(walk(path, "nodes", "ik"), 6); /* all but numbers 0 and 6 */
	assert_int_equal(walk("/networks", "networks", "netid"), 2);
	relay_open(&a.hub, 11, &n[3]);
	relay_open(&a.hub, 11, &n[5]);
	relay_open(&a.hub, 13, &n[7]);
	assert_int_equal(walk("/sessions", "sessions", ""), 3);
	assert_int_equal(walk("/audit", "audit", ""), 0);
	api_stop(&a);
}

static void a_session_names_its_nodes(void **state)
{
	(void)state;

	api_start(&a);
	join(&a.hub, 1, &ann);
	join(&a.hub, 2, &bob);
	join(&a.hub, 3, &cid);
	relay_open(&a.hub, 1, &bob);
	relay_open(&a.hub, 3, &bob);
	assert_int_equal(api_get(&a, "/sessions"), 200);
	assert_int_equal(json_array_size(json_object_get(a.json, "sessions")), 2);
	json_t *s = api_at(&a, "sessions", 0), *nodes = json_object_get(s, "nodes");
	assert_string_equal(api_text(s, "netid"), api_hex(net_a.netid, hex));
	assert_string_equal(json_string_value(json_array_get(nodes, 0)), api_hex(ann.pk, hex));
	assert_string_equal(json_string_value(json_array_get(nodes, 1)), api_hex(bob.pk, hex));
	assert_true(json_is_null(json_array_get(json_object_get(s, "endpoints"), 0)));
	api_stop(&a);
}

static void usage_is_of_networks_or_of_the_nodes_of_one(void **state)
{
	(void)state;
	struct store_usage u = { .month = 2023 * 12 + 10, .bytes = 1000 };
	const struct node *all[] = { &ann, &bob, &eve };

	api_start(&a);
	for (size_t i = 0; i < 3; i++) {
		memcpy(u.netid, all[i]->net->netid, 32);
		memcpy(u.ik, all[i]->pk, 32);
		assert_int_equal(store_usage_add(a.store, &u), 0);
	}
	assert_int_equal(store_flush(a.store), 0);
	assert_int_equal(api_get(&a, "/usage"), 200);
	assert_string_equal(api_text(a.json, "month"), "2023-11");
	assert_int_equal(json_array_size(json_object_get(a.json, "networks")), 2);
	assert_int_equal(walk("/usage", "networks", "netid"), 2);
	assert_int_equal(api_get(&a, node_target("/usage?month=2023-11&network=%s", net_a.netid)), 200);
	assert_int_equal(json_array_size(json_object_get(a.json, "nodes")), 2);
	assert_int_equal(json_integer_value(json_object_get(api_at(&a, "nodes", 0), "bytes")), 1000);
	assert_int_equal(api_get(&a, node_target("/usage?month=2023-10&network=%s", net_a.netid)), 200);
	assert_int_equal(json_array_size(json_object_get(a.json, "nodes")), 0);
	api_stop(&a);
}

static void the_quota_is_set_whole_and_audited(void **state)
{
	(void)state;
	static const char body[] = "{\"total_rate\":4294967295,\"network_rate\":0,\"node_rate\":3,"
				   "\"network_month\":9000000000000,\"node_month\":5}";

	api_start(&a);
	assert_int_equal(api_ask(&a, "PUT", "/quota", a.admin, body), 200);
	assert_int_equal(a.quota.total_rate, UINT32_MAX);
	assert_int_equal(a.quota.network_month, 9000000000000);
	assert_int_equal(api_ask(&a, "PUT", "/quota", a.admin, "{\"total_rate\":7}"), 422);
	assert_int_equal(a.quota.total_rate, UINT32_MAX);
	assert_int_equal(api_ask(&a, "PUT", "/quota", a.reader, body), 403);
	assert_int_equal(api_ask(&a, "GET", "/quota", a.reader, NULL), 200);
	assert_int_equal(json_integer_value(json_object_get(a.json, "node_rate")), 3);
	assert_int_equal(store_flush(a.store), 0);
	assert_int_equal(api_get(&a, "/audit?action=quota.set"), 200);
	assert_int_equal(json_array_size(json_object_get(a.json, "audit")), 1);
	assert_string_equal(api_text(api_at(&a, "audit", 0), "actor"), "token:admin");
	assert_non_null(strstr(api_text(api_at(&a, "audit", 0), "object"), "network_month=9000000000000"));
	api_stop(&a);
}

static void what_became_of_a_backup_is_told(void **state)
{
	(void)state;
	static const struct {
		int error, status;
	} cases[] = { { 0, 201 }, { -EBUSY, 409 }, { -ENOSPC, 507 }, { -EIO, 503 }, { -EEXIST, 409 } };

	api_start(&a);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		api_ask(&a, "POST", "/backup", a.admin, NULL);
		assert_true(a.answer.backup);
		rest_on_backup(a.rest, &a.answer, cases[i].error, "why", "hub.db", 7, a.unix_s);
		a.json = a.answer.json;
		assert_false(a.answer.backup);
		assert_int_equal(a.answer.status, cases[i].status);
		assert_string_equal(api_text(a.json, cases[i].error ? "detail" : "file"),
				    cases[i].error ? "why" : "hub.db");
	}
	api_stop(&a);
}

/* --- Tokens */

static void a_token_is_made_once_and_known_by_its_hash(void **state)
{
	(void)state;
	static const char fixed[] = "p2p_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	char one[API_TOKEN_LEN + 1], two[API_TOKEN_LEN + 1];
	uint8_t hash[API_TOKEN_HASH], other[API_TOKEN_HASH];
	struct rng rng;

	rng_init_seed(&rng, 1);
	api_token_make(one, &rng);
	api_token_make(two, &rng);
	assert_string_not_equal(one, two);
	assert_int_equal(strlen(one), API_TOKEN_LEN);
	assert_int_equal(api_token_hash(hash, one), 0);
	assert_int_equal(api_token_hash(other, two), 0);
	assert_memory_not_equal(hash, other, sizeof hash);
	assert_int_equal(api_token_hash(hash, fixed), 0);
	crypto_blake2b(other, sizeof other, NULL, 0, &(struct part) { fixed, strlen(fixed) }, 1);
	assert_memory_equal(hash, other, sizeof hash);
}

static void what_is_no_token_has_no_hash(void **state)
{
	(void)state;
	static const char *const cases[] = {
		"",
		"p2p_",
		"p2p_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"p2p_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"P2P_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"p2p_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+",
		"p2p_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
		"p2p_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	};
	uint8_t hash[API_TOKEN_HASH];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (api_token_hash(hash, cases[i]) == 0)
			fail_msg("%s", cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_and_origins_are_the_hubs_own),
		cmocka_unit_test(tokens_are_taken_in_one_form_only),
		cmocka_unit_test(a_token_ends_with_its_second),
		cmocka_unit_test(strangers_are_slowed_down_and_lock_nobody_out),
		cmocka_unit_test(an_ipv6_source_is_its_prefix),
		cmocka_unit_test(each_token_has_its_own_rate),
		cmocka_unit_test(denials_are_audited_at_a_bounded_rate),
		cmocka_unit_test(what_is_badly_asked_is_refused_with_its_status),
		cmocka_unit_test(lists_join_what_is_kept_and_what_is_now),
		cmocka_unit_test(pages_follow_each_other_without_gap_or_repetition),
		cmocka_unit_test(a_session_names_its_nodes),
		cmocka_unit_test(usage_is_of_networks_or_of_the_nodes_of_one),
		cmocka_unit_test(the_quota_is_set_whole_and_audited),
		cmocka_unit_test(what_became_of_a_backup_is_told),
		cmocka_unit_test(a_token_is_made_once_and_known_by_its_hash),
		cmocka_unit_test(what_is_no_token_has_no_hash),
	};

	return cmocka_run_group_tests(tests, bench_setup, NULL);
}
