/* The API over a coordination and a store, in virtual time, without sockets: for tests of relay/rest. Include it after
 * tests/unit/coord_bench.h. */
#ifndef P2PD_TESTS_REST_BENCH_H
#define P2PD_TESTS_REST_BENCH_H

#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "relay/api_token.h"
#include "relay/http_parse.h"
#include "relay/rest.h"

struct api {
	struct hub hub;
	struct store *store;
	struct rest *rest;
	struct quota_limits quota;
	char folder[64], reader[API_TOKEN_LEN + 1], admin[API_TOKEN_LEN + 1];
	uint64_t unix_s;
	/* of requests */
	struct addr from, at;
	const char *host, *headers; /* further ones, each with its line end */
	bool local;
	/* of the last answer */
	struct rest_answer answer;
	json_t *json;
};

static inline void api_quota_get(void *arg, struct quota_limits *out)
{
	*out = ((struct api *)arg)->quota;
}

static inline void api_quota_set(void *arg, const struct quota_limits *limits)
{
	((struct api *)arg)->quota = *limits;
}

static inline uint64_t api_token(struct store *s, struct rng *rng, const char *name, enum store_scope scope,
				 uint64_t expires_s, char text[static API_TOKEN_LEN + 1])
{
	struct store_token t = { .scope = scope, .created_s = UNIX_S, .expires_s = expires_s };

	api_token_make(text, rng);
	assert_int_equal(api_token_hash(t.hash, text), 0);
	snprintf(t.name, sizeof t.name, "%s", name);
	assert_int_equal(store_token_add(s, &t), 0);
	return t.id;
}

static inline void api_start(struct api *a)
{
	char path[96], why[STORE_WHY];

	*a = (struct api) { .unix_s = UNIX_S, .host = "hub.example" };
	hub_start(&a->hub);
	strcpy(a->folder, "/tmp/p2pd-rest-XXXXXX");
	assert_non_null(mkdtemp(a->folder));
	snprintf(path, sizeof path, "%s/hub.db", a->folder);
	if (store_open(&a->store, path, why) != 0)
		fail_msg("%s", why);
	api_token(a->store, &a->hub.rng, "reader", STORE_SCOPE_READ, 0, a->reader);
	api_token(a->store, &a->hub.rng, "admin", STORE_SCOPE_ADMIN, 0, a->admin);
	assert_int_equal(addr_parse(&a->from, "203.0.113.9:5000", 0), 0);
	assert_int_equal(addr_parse(&a->at, "198.51.100.7:443", 0), 0);
	struct rest_config config = {
		.coord = a->hub.c,
		.relay = a->hub.relay,
		.store = a->store,
		.rng = &a->hub.rng,
		.url_host = "hub.example",
		.url_port = 443,
		.openapi = "{}",
		.started_ms = a->hub.now,
		.quota_get = api_quota_get,
		.quota_set = api_quota_set,
		.arg = a,
	};
	a->rest = rest_create(&config);
	assert_non_null(a->rest);
}

static inline void api_stop(struct api *a)
{
	char command[128];

	json_decref(a->json);
	rest_destroy(a->rest);
	store_close(a->store);
	hub_stop(&a->hub);
	snprintf(command, sizeof command, "rm -rf %s", a->folder);
	assert_int_equal(system(command), 0);
}

/* The status; the answer stands in a->json until the next request. `token`, `body` NULL: none. */
static inline int api_ask(struct api *a, const char *method, const char *target, const char *token,
			  const char *body)
{
	static char text[65536];
	struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, HTTP_BODY_MAX, NULL, NULL);
	size_t used;
	int n = snprintf(text, sizeof text,
			 "%s /api/v1%s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s%sContent-Length: %zu\r\n\r\n%s",
			 method, target, a->host, token ? "Authorization: Bearer " : "", token ? token : "",
			 token ? "\r\n" : "", body ? "Content-Type: application/json\r\n" : "",
			 a->headers ? a->headers : "", body ? strlen(body) : 0, body ? body : "");

	assert_int_equal(http_parse_feed(p, text, (size_t)n, &used), 1);
	const struct http_message *m = http_parse_message(p);
	struct rest_request request = {
		.http = m,
		.path = m->path + 7,
		.local = a->local,
		.from = a->from,
		.at = a->at,
		.now_ms = a->hub.now,
		.unix_s = a->unix_s,
	};
	rest_handle(a->rest, &request, &a->answer);
	json_decref(a->json);
	a->json = a->answer.json;
	http_parse_destroy(p);
	return a->answer.status;
}

static inline int api_get(struct api *a, const char *target)
{
	return api_ask(a, "GET", target, a->admin, NULL);
}

static inline json_t *api_at(const struct api *a, const char *list, size_t i)
{
	return json_array_get(json_object_get(a->json, list), i);
}

static inline const char *api_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static inline const char *api_hex(const uint8_t key[static 32], char out[static 65])
{
	for (size_t i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", key[i]);
	return out;
}

#endif
