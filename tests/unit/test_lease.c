#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "apps/p2pd/forward/lease_link_impl.h"
#include "lease_made.h"

static struct lease_request full_request(void)
{
	struct lease_request r = made_request(7);

	r.udp = true;
	strcpy(r.domain, "shop.example.org");
	r.ranges[1] = (struct lease_range) { 0, 20000, 1000 };
	r.range_count = 2;
	r.restricted = r.paused = r.kernel = r.tokens = true;
	r.family = ADDR_V6;
	r.rate = 1u << 31;
	r.expires_at = 1893456000;
	r.allow[0] = (struct forward_prefix) { made_ip("198.51.100.0"), 24 };
	r.allow[1] = (struct forward_prefix) { made_ip("2001:db8::7"), 128 };
	r.allow_count = 2;
	return r;
}

/* To text and back, as it travels. */
static json_t *travelled(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	json_t *back = json_loads(text, 0, NULL);

	assert_non_null(back);
	free(text);
	json_decref(json);
	return back;
}

static void a_request_comes_out_as_it_went_in(void **state)
{
	(void)state;
	struct lease_request r = full_request(), back;
	char why[RULE_WHY] = "";
	json_t *json = travelled(lease_request_json(&r));

	assert_int_equal(lease_request_read(&back, json, why), 0);
	json_t *again = lease_request_json(&back);
	assert_true(json_equal(json, again));
	assert_memory_equal(back.id, r.id, FORWARD_ID);
	assert_string_equal(back.name, "rule-7");
	assert_true(back.tcp && back.udp && back.restricted && back.paused && back.kernel && back.tokens);
	assert_int_equal(back.family, ADDR_V6);
	assert_int_equal(back.ranges[1].count, 1000);
	assert_int_equal(back.allow_count, 2);
	assert_true(addr_equal(&back.allow[1].prefix, &r.allow[1].prefix));
	assert_int_equal(back.allow[1].bits, 128);
	assert_int_equal(back.rate, 1u << 31);
	assert_memory_equal(back.secret, r.secret, FORWARD_SECRET);
	json_decref(json);
	json_decref(again);
}

/* Each case replaces one value (or takes it away: NULL) and must be refused, with a reason. */
static void requests_with_wrong_values_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *key, *value;
	} cases[] = {
		{ "forward_id", NULL },
		{ "forward_id", "\"0198\"" },
		{ "forward_id", "7" },
		{ "name", "\"a\\nb\"" },
		{ "name", "\"<b>\"" },
		{ "name", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			  "aaaa\"" },
		{ "domain", "\"a b\"" },
		{ "domain", "\"-x/\"" },
		{ "proto", "\"sctp\"" },
		{ "proto", "\"\"" },
		{ "ranges", "[]" },
		{ "ranges", "{}" },
		{ "ranges", "[{\"public\": 1, \"tunnel\": 1, \"count\": 0}]" },
		{ "ranges", "[{\"public\": 1, \"tunnel\": 0, \"count\": 1}]" },
		{ "ranges", "[{\"public\": 70000, \"tunnel\": 1, \"count\": 1}]" },
		{ "ranges", "[{\"public\": -1, \"tunnel\": 1, \"count\": 1}]" },
		{ "ranges", "[{\"public\": 65535, \"tunnel\": 1, \"count\": 2}]" },
		{ "ranges", "[{\"public\": 1, \"tunnel\": 65535, \"count\": 2}]" },
		{ "ranges", "[{\"public\": 1, \"tunnel\": 1, \"count\": 4097}]" },
		{ "ranges", "[{\"public\": 1, \"tunnel\": 1, \"count\": 4096}, "
			    "{\"public\": 5000, \"tunnel\": 5000, \"count\": 1}]" },
		{ "ranges", "[{\"public\": 1, \"tunnel\": 1, \"count\": 9}, "
			    "{\"public\": 9, \"tunnel\": 100, \"count\": 1}]" },
		{ "ranges", "[{\"public\": 0, \"tunnel\": 1, \"count\": 9}, "
			    "{\"public\": 0, \"tunnel\": 9, \"count\": 1}]" },
		{ "ranges", "[{\"public\": 1, \"tunnel\": 1, \"count\": 1, \"more\": 1}]" },
		{ "restricted", "false" },
		{ "restricted", "1" },
		{ "allow", "null" },
		{ "allow", "[7]" },
		{ "allow", "[\"10.0.0.1/8\"]" },
		{ "allow", "[\"10.0.0.0/33\"]" },
		{ "allow", "[\"2001:db8::/129\"]" },
		{ "allow", "[\"example.org\"]" },
		{ "max_conn", "-1" },
		{ "max_conn", "4294967296" },
		{ "max_conn", "1.5" },
		{ "idle_s", "-1" },
		{ "rate", "-1" },
		{ "rate", "12500000001" }, /* more than the kernel can limit */
		{ "rate", "\"10mbit\"" },
		{ "expires_at", "-1" },
		{ "paused", "0" },
		{ "kernel", NULL },
		{ "family", "5" },
		{ "tokens", "\"yes\"" },
		{ "secret", NULL },
		{ "secret", "\"\"" },
		{ "secret", "\"AAAAAAAAAAAAAAAAAAAAAA\"" },
		{ "secret", "\"Zm9yIHR3byBvbmx5\"" },
		{ "more", "1" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lease_request r = full_request();
		char why[RULE_WHY] = "";
		json_t *json = lease_request_json(&r);
		if (cases[i].value)
			json_object_set_new(json, cases[i].key,
					    json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
		else
			json_object_del(json, cases[i].key);
		if (lease_request_read(&r, json, why) != -EINVAL || !*why)
			fail_msg("case %zu: %s %s", i, cases[i].key, cases[i].value ? cases[i].value : "");
		json_decref(json);
	}
}

static void no_json_object_is_no_message(void **state)
{
	(void)state;
	static const char *const texts[] = { "null", "[]", "7", "\"\"", "{}" };
	char why[RULE_WHY];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		assert_int_equal(lease_request_read(&(struct lease_request) { 0 }, json, why), -EINVAL);
		assert_int_equal(lease_grant_read(&(struct lease_grant) { 0 }, json, why), -EINVAL);
		assert_int_equal(admit_request_read(&(struct admit_request) { 0 }, json, why), -EINVAL);
		assert_int_equal(admit_grant_read(&(struct admit_grant) { 0 }, json, why), -EINVAL);
		assert_int_equal(lease_stats_read(&(struct forward_stats) { 0 }, json, 0, why), -EINVAL);
		json_decref(json);
	}
	assert_int_equal(lease_request_read(&(struct lease_request) { 0 }, NULL, why), -EINVAL);
}

static void a_grant_comes_out_as_it_went_in(void **state)
{
	(void)state;
	struct lease_grant g = { .public6 = made_ip("2001:db8::1"),
				 .ports = { 443, 20000 },
				 .kernel = true,
				 .mode_why = "why",
				 .door = "https://[2001:db8::1]:7443",
				 .rate = 5000000000,
				 .max_conn = 7 };
	struct lease_grant back;
	char why[RULE_WHY] = "";
	json_t *json = travelled(lease_grant_json(&g));

	assert_int_equal(lease_grant_read(&back, json, why), 0);
	assert_int_equal(back.public4.family, ADDR_NONE);
	assert_true(addr_equal(&back.public6, &g.public6));
	assert_memory_equal(back.ports, g.ports, sizeof g.ports);
	assert_string_equal(back.door, g.door);
	assert_int_equal(back.rate, g.rate);
	assert_int_equal(back.max_conn, 7);
	json_decref(json);
}

static void grants_with_wrong_values_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *key, *value;
	} cases[] = {
		{ "public4", "\"2001:db8::1\"" },
		{ "public6", "\"192.0.2.1\"" },
		{ "public4", "\"192.0.2.1:5\"" },
		{ "ports", "[0]" },
		{ "ports", "[65536]" },
		{ "ports", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]" },
		{ "ports", "7" },
		{ "mode_why", "\"\\u001b[31m\"" },
		{ "mode_why", "\"\\u009b\"" },
		{ "door", "\"http://192.0.2.1\"" },
		{ "door", "\"https://a b\"" },
		{ "rate", "-5" },
		{ "max_conn", "5000000000" },
		{ "kernel", "\"\"" },
		{ "more", "1" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lease_grant g = { .public4 = made_ip("192.0.2.1"), .ports = { 443 } };
		char why[RULE_WHY] = "";
		json_t *json = lease_grant_json(&g);
		json_object_set_new(json, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
		if (lease_grant_read(&g, json, why) != -EINVAL || !*why)
			fail_msg("case %zu: %s %s", i, cases[i].key, cases[i].value);
		json_decref(json);
	}
}

static void visitors_are_named_by_addresses_that_hosts_have(void **state)
{
	(void)state;
	static const struct {
		const char *ip;
		bool good;
	} cases[] = { { "203.0.113.5", true }, { "2001:db8::5", true }, { "127.0.0.1", false },
		      { "0.0.0.0", false },    { "224.0.0.1", false },	{ "::1", false },
		      { "", false },	       { "name", false },	{ "203.0.113.5:80", false } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct admit_request r = { .token = "abc_-9", .visitor = made_ip("192.0.2.1"), .look = true };
		struct admit_request back;
		char why[RULE_WHY];
		r.id[0] = 1;
		r.id[6] = 0x70;
		r.id[8] = 0x80;
		json_t *json = travelled(admit_request_json(&r));
		json_object_set_new(json, "visitor", json_string(cases[i].ip));
		if ((admit_request_read(&back, json, why) == 0) != cases[i].good)
			fail_msg("case %zu: %s", i, cases[i].ip);
		if (cases[i].good) {
			assert_string_equal(back.token, "abc_-9");
			assert_true(back.look);
		}
		json_object_set_new(json, "token", json_string("a b"));
		assert_int_equal(admit_request_read(&back, json, why), -EINVAL);
		json_decref(json);
	}
}

static void the_time_of_a_count_travels_as_its_age(void **state)
{
	(void)state;
	struct forward_stats s = { .bytes_in = 1ull << 40,
				   .connections = 3,
				   .rejected = { [FORWARD_FULL] = 9 },
				   .last_visitor = made_ip("203.0.113.5"),
				   .last_ms = 5000 };
	struct forward_stats back;
	char why[RULE_WHY] = "";
	json_t *json = travelled(lease_stats_json(&s, 7000));

	assert_int_equal(lease_stats_read(&back, json, 90000, why), 0);
	assert_int_equal(back.last_ms, 88000);
	assert_int_equal(back.bytes_in, 1ull << 40);
	assert_int_equal(back.rejected[FORWARD_FULL], 9);
	assert_true(addr_equal(&back.last_visitor, &s.last_visitor));
	json_object_del(json_object_get(json, "rejected"), "full");
	assert_int_equal(lease_stats_read(&back, json, 90000, why), -EINVAL);
	json_decref(json);
}

/* --- Signatures. */

struct pair {
	uint8_t pk[32], sk[64];
};

static struct pair made_pair(uint8_t n)
{
	struct pair p;
	uint8_t seed[32] = { n };

	crypto_ed25519_keypair(p.pk, p.sk, seed);
	return p;
}

static bool is_signed(const char *request, size_t len, const uint8_t *sender, const uint8_t *receiver)
{
	struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, HTTP_BODY_MAX, NULL, NULL);
	size_t used;

	assert_int_equal(http_parse_feed(p, request, len, &used), 1);
	bool good = lease_wire_signed(http_parse_message(p), sender, receiver);
	http_parse_destroy(p);
	return good;
}

static void a_signature_is_good_for_one_request_sender_and_receiver(void **state)
{
	(void)state;
	struct pair owner = made_pair(1), gateway = made_pair(2), other = made_pair(3);
	static const char *const spoilt[] = { "PUT", "/lease/1", "\"a\":1", "P2PD-Sig" };
	json_t *body = json_pack("{s:i}", "a", 1);
	size_t len;
	char *request = lease_wire_request("PUT", "/lease/1", body, owner.sk, gateway.pk, &len);

	assert_true(is_signed(request, len, owner.pk, gateway.pk));
	assert_false(is_signed(request, len, other.pk, gateway.pk));
	assert_false(is_signed(request, len, owner.pk, other.pk));
	for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
		char *copy = strdup(request), *at = strstr(copy, spoilt[i]);
		assert_non_null(at);
		if (i == 0)
			memcpy(at, "GET", 3);
		else
			at[strlen(spoilt[i]) - 1] ^= 1;
		assert_false(is_signed(copy, len, owner.pk, gateway.pk));
		free(copy);
	}
	free(request);
	json_decref(body);
}

/* --- Answers. */

static struct lease_reply read_reply(enum lease_kind kind, int status, const char *body)
{
	struct http_message m = { .status = status, .body = body, .body_len = strlen(body) };
	struct lease_reply reply;

	lease_wire_reply(kind, &m, 0, &reply);
	return reply;
}

static void errors_arrive_as_they_were_sent(void **state)
{
	(void)state;
	static const struct {
		int sent, got;
	} cases[] = { { -EINVAL, -EINVAL }, { -EACCES, -EACCES },	  { -ENOENT, -ENOENT },
		      { -EEXIST, -EEXIST }, { -EADDRINUSE, -EADDRINUSE }, { -EAGAIN, -EAGAIN },
		      { -ENOSPC, -ENOSPC }, { -ENOTSUP, -ENOTSUP },	  { -ETIMEDOUT, -ETIMEDOUT },
		      { -EROFS, -EIO } };
	uint8_t conflict[FORWARD_ID] = { 1, [6] = 0x70, [8] = 0x80 };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int status;
		json_t *json = lease_wire_error(cases[i].sent, "because", conflict, &status);
		char *text = json_dumps(json, 0);
		struct lease_reply reply = read_reply(LEASE_PUT, status, text);
		assert_int_equal(reply.error, cases[i].got);
		assert_string_equal(reply.why, "because");
		assert_memory_equal(reply.conflict, conflict, FORWARD_ID);
		free(text);
		json_decref(json);
	}
}

static void nonsense_is_told_apart_from_a_refusal(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *body;
		int error;
	} cases[] = {
		{ 200, "", -EBADMSG },
		{ 200, "{}", -EBADMSG },
		{ 200, "[]", -EBADMSG },
		{ 500, "<html>", -EBADMSG },
		{ 404, "{}", -EBADMSG },
		{ 404, "{\"error\": {\"code\": \"not_found\", \"message\": \"\\u001b[2J\"}}", -ENOENT },
		{ 400, "{\"error\": {\"code\": \"unheard of\", \"message\": \"\"}}", -EIO },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lease_reply reply = read_reply(LEASE_PUT, cases[i].status, cases[i].body);
		if (reply.error != cases[i].error || !*reply.why || strchr(reply.why, 27))
			fail_msg("case %zu: %d %s", i, reply.error, reply.why);
	}
	assert_int_equal(read_reply(LEASE_DELETE, 200, "{}").error, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_comes_out_as_it_went_in),
		cmocka_unit_test(requests_with_wrong_values_are_refused),
		cmocka_unit_test(no_json_object_is_no_message),
		cmocka_unit_test(a_grant_comes_out_as_it_went_in),
		cmocka_unit_test(grants_with_wrong_values_are_refused),
		cmocka_unit_test(visitors_are_named_by_addresses_that_hosts_have),
		cmocka_unit_test(the_time_of_a_count_travels_as_its_age),
		cmocka_unit_test(a_signature_is_good_for_one_request_sender_and_receiver),
		cmocka_unit_test(errors_arrive_as_they_were_sent),
		cmocka_unit_test(nonsense_is_told_apart_from_a_refusal),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
