/* The API of a whole hub, over TLS on loopback; and its description, held against what it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <cmocka.h>

#include <jansson.h>

#include "apps/p2phub/hub_data.h"
#include "apps/p2phub/serve_internal.h"
#include "relay/api_token.h"
#include "relay/http_parse.h"
#include "relay/rest.h"

extern const char serve_openapi[];

enum { ANSWERS_MAX = 65536 };

static const char quota[] = "{\"total_rate\":0,\"network_rate\":0,\"node_rate\":0,\"network_month\":0,\"node_"
			    "month\":0}";
static const uint8_t key_of_all[32] = { 0xab };

enum who { NOBODY, BAD, EXPIRED, REVOKED, READER, ADMIN, FOREIGN_ORIGIN, FOREIGN_HOST, WHO };

struct world {
	struct loop *loop;
	struct rng rng;
	struct tls_key key;
	struct tls_config *tls;
	struct serve_config config;
	struct serve *hub;
	char folder[64], token[WHO][API_TOKEN_LEN + 1];
	/* a request */
	struct stream *stream;
	struct http_parse *parse;
	const char *request;
	bool done;
};

/* 0: right. The whole program asks here. */
static time_t clock_is;

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	time_t t = clock_is ? clock_is : now.tv_sec;
	if (out)
		*out = t;
	return t;
}

static struct world w;
/* What was seen: "GET /networks 200" -> true. */
static json_t *answers;

static void refuse_stream(void *arg, struct stream *s)
{
	(void)arg;
	stream_close(s);
}

/* Addresses that are free: the system gave them, and got them back. */
static void choose_addresses(void)
{
	static const struct udp_handler none = { .on_train = NULL };
	struct stream_listener *listener;
	struct udp_slab *slab = udp_slab_create();
	struct udp_socket udp;
	struct addr any;

	assert_int_equal(addr_parse(&any, "127.0.0.1", 1), 0);
	any.port = 0;
	assert_int_equal(stream_listen(&listener, w.loop, &any, NULL, refuse_stream, NULL), 0);
	w.config.tls = stream_listener_addr(listener);
	stream_listener_close(listener);
	assert_int_equal(udp_open(&udp, w.loop, slab, UDP_OFFLOAD_NONE, &any, &none, NULL), 0);
	w.config.udp[0] = udp.local;
	w.config.udp_count = 1;
	udp_close(&udp);
	udp_slab_destroy(slab);
}

static void make_token(enum who who, const char *name, enum store_scope scope, uint64_t expires_s)
{
	struct store_token t = { .scope = scope, .created_s = 1, .expires_s = expires_s };

	api_token_make(w.token[who], &w.rng);
	assert_int_equal(api_token_hash(t.hash, w.token[who]), 0);
	strcpy(t.name, name);
	assert_int_equal(store_token_add(w.hub->store, &t), 0);
	if (who == REVOKED)
		assert_int_equal(store_token_revoke(w.hub->store, t.id, 2), 0);
}

static void fill_store(void)
{
	struct store_node node = { .last_s = 1790000000 };

	make_token(EXPIRED, "expired", STORE_SCOPE_ADMIN, 1000);
	make_token(REVOKED, "revoked", STORE_SCOPE_ADMIN, 0);
	make_token(READER, "reader", STORE_SCOPE_READ, 0);
	make_token(ADMIN, "admin", STORE_SCOPE_ADMIN, 0);
	api_token_make(w.token[BAD], &w.rng);
	strcpy(w.token[FOREIGN_ORIGIN], w.token[ADMIN]);
	strcpy(w.token[FOREIGN_HOST], w.token[ADMIN]);
	memcpy(node.netid, key_of_all, 32);
	memcpy(node.ik, key_of_all, 32);
	assert_int_equal(store_node_seen(w.hub->store, &node), 0);
	assert_int_equal(store_flush(w.hub->store), 0);
}

static void begin(void)
{
	uint8_t pin[TLS_PIN];
	struct addr at;

	memset(&w, 0, sizeof w);
	w.loop = loop_create();
	rng_init_system(&w.rng);
	strcpy(w.folder, "/tmp/p2pd-api-XXXXXX");
	assert_non_null(mkdtemp(w.folder));
	assert_int_equal(tls_key_make(&w.key), 0);
	assert_int_equal(tls_pin_of_cert(pin, w.key.cert, w.key.cert_len), 0);
	assert_int_equal(tls_client_config(&w.tls, pin), 0);
	choose_addresses();
	w.config.key = &w.key;
	w.config.data = w.folder;
	w.config.url_host = "hub.example";
	w.config.url_port = 443;
	assert_int_equal(serve_create(&w.hub, w.loop, &w.config, &at), 0);
	fill_store();
}

static void end(void)
{
	char command[128];

	serve_destroy(w.hub);
	tls_config_destroy(w.tls);
	loop_destroy(w.loop);
	snprintf(command, sizeof command, "rm -rf %s", w.folder);
	assert_int_equal(system(command), 0);
}

static void on_up(void *arg)
{
	(void)arg;
	assert_int_equal(stream_write(w.stream, w.request, strlen(w.request)), 0);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	size_t used;

	(void)arg;
	if (http_parse_feed(w.parse, data, len, &used) == 0)
		return;
	w.done = true;
	stream_close(w.stream);
	loop_stop(w.loop);
}

static void on_close(void *arg, int error)
{
	(void)arg;
	fail_msg("the hub closed: %d", error);
}

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

/* The answer stays until the next request. */
static const struct http_message *exchange(const char *request)
{
	static const struct stream_handler handler = { on_up, on_data, on_close };
	struct loop_timer *guard = loop_timer_create(w.loop, too_late, NULL);

	w.request = request;
	w.done = false;
	http_parse_destroy(w.parse);
	w.parse = http_parse_create(HTTP_IS_RESPONSE, ANSWERS_MAX, NULL, NULL);
	assert_int_equal(
		stream_connect(&w.stream, w.loop, "127.0.0.1", w.config.tls.port, w.tls, &handler, NULL), 0);
	loop_timer_set(guard, loop_now_ms() + 30000);
	while (!w.done)
		loop_run(w.loop);
	loop_timer_destroy(guard);
	return http_parse_message(w.parse);
}

/* "/nodes/{ik}" with a key in it. */
static const char *fill_in(const char *pattern, char out[static 256])
{
	size_t len = strcspn(pattern, "{");
	const char *rest = pattern[len] ? strchr(pattern, '}') + 1 : "";
	bool node = !strcmp(pattern, "/nodes/{ik}");
	char key[65] = "";

	for (size_t i = 0; pattern[len] && i < 32; i++)
		snprintf(key + 2 * i, 3, "%02x", key_of_all[i]);
	snprintf(out, 256, "%.*s%s%s%s%s", (int)len, pattern, key, rest, node ? "?network=" : "",
		 node ? key : "");
	return out;
}

/* Asks, and notes what was answered. Errors must be problem objects. */
static int ask(enum who who, const struct rest_route *route)
{
	char path[256], request[1024], seen[128];
	const char *body = route->body ? quota : "";

	snprintf(request, sizeof request,
		 "%s /api/v1%s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s%sContent-Length: %zu\r\n\r\n%s",
		 route->method, fill_in(route->path, path),
		 who == FOREIGN_HOST ? "evil.example" : "hub.example",
		 who == FOREIGN_ORIGIN ? "Origin: https://evil.example\r\n" : "",
		 who == NOBODY ? "" : "Authorization: Bearer ", w.token[who], who == NOBODY ? "" : "\r\n",
		 *body ? "Content-Type: application/json\r\n" : "", strlen(body), body);
	const struct http_message *m = exchange(request);
	const char *type = http_header(m, "content-type");
	assert_string_equal(type, m->status < 400 ? "application/json" : "application/problem+json");
	if (m->status >= 400) {
		json_t *problem = json_loads(m->body, 0, NULL);
		assert_int_equal(json_integer_value(json_object_get(problem, "status")), m->status);
		assert_non_null(json_object_get(problem, "detail"));
		json_decref(problem);
	}
	snprintf(seen, sizeof seen, "%s %s %d", route->method, route->path, m->status);
	json_object_set_new(answers, seen, json_true());
	return m->status;
}

static int expected(enum who who, const struct rest_route *route)
{
	int good = !strcmp(route->method, "POST") ? 201 : 200;

	if (who == FOREIGN_ORIGIN || who == FOREIGN_HOST)
		return 403;
	if (route->scope == REST_OPEN)
		return good;
	if (who == ADMIN)
		return good;
	if (who == READER)
		return route->scope == REST_READ ? good : 403;
	return 401;
}

static void each_route_answers_each_caller_as_it_should(void **state)
{
	(void)state;
	size_t count;
	const struct rest_route *routes = rest_routes(&count);

	for (enum who who = NOBODY; who < WHO; who++) {
		begin(); /* a hub of its own, so that strangers are not slowed down */
		for (size_t i = 0; i < count; i++) {
			int got = ask(who, &routes[i]), want = expected(who, &routes[i]);
			if (got != want)
				fail_msg("%s %s by %d: %d, not %d", routes[i].method, routes[i].path,
					 (int)who, got, want);
		}
		http_parse_destroy(w.parse);
		w.parse = NULL;
		end();
	}
}

/* --- The clock */

static void restart(void)
{
	struct addr at;

	serve_destroy(w.hub);
	assert_int_equal(serve_create(&w.hub, w.loop, &w.config, &at), 0);
}

static int ask_for_health(enum who who)
{
	const struct rest_route health = { .method = "GET", .path = "/health" };

	return ask(who, &health);
}

/* Whatever was in the audit log at the time that it is now is younger than an hour. */
static size_t audited_lately(const char *action, uint64_t now_s)
{
	struct store_audit e[8];
	const struct store_audit_query q = { .newest = true, .since_s = now_s - 3600, .action = action };

	store_flush(w.hub->store);
	int n = store_audit_list(w.hub->store, &q, e, 8);
	assert_true(n >= 0);
	return (size_t)n;
}

static void a_clock_that_is_set_back_revives_nothing_and_ages_nothing(void **state)
{
	(void)state;
	uint64_t now_s = (uint64_t)time(NULL);

	begin();
	assert_int_equal(ask_for_health(EXPIRED), 401);
	for (int starts = 0; starts < 2; starts++) {
		clock_is = 500; /* the token would be good until 1000 */
		assert_int_equal(ask_for_health(EXPIRED), 401);
		assert_int_equal(ask_for_health(REVOKED), 401);
		assert_int_equal(ask_for_health(READER), 200);
		assert_in_range(serve_unix_s(w.hub), now_s, now_s + 600);
		restart(); /* and it starts with a clock that was never set */
	}
	assert_int_equal(audited_lately("hub.start", now_s), 3);
	assert_int_equal(audited_lately("api.denied", now_s), 5);
	clock_is = 0;
	http_parse_destroy(w.parse);
	w.parse = NULL;
	end();
}

static void a_clock_that_was_ahead_may_be_put_right(void **state)
{
	(void)state;
	uint64_t now_s = (uint64_t)time(NULL);

	begin();
	clock_is = (time_t)now_s + 400 * 86400;
	assert_in_range(serve_unix_s(w.hub), now_s + 400 * 86400, now_s + 401 * 86400);
	clock_is = 0;
	assert_in_range(serve_unix_s(w.hub), now_s, now_s + 600);
	end();
}

/* Each from another machine, as far as the hub can tell: through a proxy. */
static void metrics_are_told_to_who_has_a_token(void **state)
{
	(void)state;
	static const struct {
		enum who who;
		int status;
	} cases[] = {
		{ NOBODY, 403 }, { BAD, 401 },	 { EXPIRED, 401 },	  { REVOKED, 401 },
		{ READER, 200 }, { ADMIN, 200 }, { FOREIGN_ORIGIN, 403 }, { FOREIGN_HOST, 403 },
	};
	char request[1024];

	assert_int_equal(sizeof cases / sizeof *cases, WHO);
	begin();
	for (size_t i = 0; i < WHO; i++) {
		enum who who = cases[i].who;
		snprintf(request, sizeof request,
			 "GET /metrics HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 192.0.2.1\r\n%s%s%s%s\r\n",
			 who == FOREIGN_HOST ? "evil.example" : "hub.example",
			 who == FOREIGN_ORIGIN ? "Origin: https://evil.example\r\n" : "",
			 who == NOBODY ? "" : "Authorization: Bearer ", w.token[who],
			 who == NOBODY ? "" : "\r\n");
		const struct http_message *m = exchange(request);
		if (m->status != cases[i].status)
			fail_msg("/metrics by %d: %d, not %d", (int)who, m->status, cases[i].status);
		assert_int_equal(m->status == 200, strstr(m->body, "p2phub_nodes_online 0\n") != NULL);
	}
	const struct http_message *local = exchange("GET /metrics HTTP/1.1\r\nHost: any\r\n\r\n");
	assert_int_equal(local->status, 200);
	http_parse_destroy(w.parse);
	w.parse = NULL;
	end();
}

static void health_is_told_to_all_and_says_only_ok(void **state)
{
	(void)state;

	begin();
	const struct http_message *m = exchange("GET /healthz HTTP/1.1\r\nHost: any\r\n\r\n");
	assert_int_equal(m->status, 200);
	assert_string_equal(m->body, "{\"status\":\"ok\"}");
	http_parse_destroy(w.parse);
	w.parse = NULL;
	end();
}

static void what_the_server_refuses_by_itself_is_a_problem_too(void **state)
{
	(void)state;
	static char large[HTTP_BODY_MAX + 200], long_line[HTTP_HEAD_MAX + 200];
	const struct {
		const char *request;
		int status;
	} cases[] = {
		{ large, 413 },
		{ long_line, 431 },
		{ "GET /api/v1 HTTP/1.1\r\nHost: hub.example\r\n\r\n", 404 },
		{ "nonsense\r\n\r\n", 400 },
	};

	memset(large, ' ', sizeof large - 1);
	large[snprintf(large, sizeof large,
		       "PUT /api/v1/quota HTTP/1.1\r\nHost: hub.example\r\nContent-Length: %d\r\n\r\n",
		       HTTP_BODY_MAX + 1)] = ' ';
	memset(long_line, 'a', sizeof long_line - 1);
	memcpy(long_line, "GET /", 5);
	begin();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct http_message *m = exchange(cases[i].request);
		assert_int_equal(m->status, cases[i].status);
		assert_string_equal(http_header(m, "content-type"), "application/problem+json");
	}
	http_parse_destroy(w.parse);
	w.parse = NULL;
	end();
}

/* --- The description */

static json_t *operation(json_t *description, const struct rest_route *route)
{
	char method[16];
	size_t i = 0;

	for (; route->method[i]; i++)
		method[i] = (char)(route->method[i] | 0x20);
	method[i] = 0;
	return json_object_get(json_object_get(json_object_get(description, "paths"), route->path), method);
}

static bool takes(const struct rest_route *route, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = route->query; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");
		if (n == len && !memcmp(p, name, n))
			return true;
		p += n;
	}
	return false;
}

static size_t words(const char *text)
{
	size_t n = 0;

	for (; *text; text += strspn(text, " "), n++)
		text += strcspn(text, " ");
	return n;
}

static void check_parameters(json_t *op, const struct rest_route *route)
{
	static const char prefix[] = "#/components/parameters/";
	json_t *parameter;
	size_t i, query = 0;

	json_array_foreach(json_object_get(op, "parameters"), i, parameter)
	{
		const char *ref = json_string_value(json_object_get(parameter, "$ref"));
		if (!ref) {
			const char *name = json_string_value(json_object_get(parameter, "name"));
			assert_non_null(strstr(route->path, name));
			continue;
		}
		if (!takes(route, ref + sizeof prefix - 1))
			fail_msg("%s does not take %s", route->path, ref);
		query++;
	}
	if (query != words(route->query))
		fail_msg("parameters of %s are not all described", route->path);
}

static const char *scope_of(const struct rest_route *route)
{
	return route->scope == REST_ADMIN ? "admin" : "read";
}

static void each_route_is_described(void **state)
{
	(void)state;
	json_t *description = json_loads(serve_openapi, JSON_REJECT_DUPLICATES, NULL);
	size_t count;
	const struct rest_route *routes = rest_routes(&count);

	assert_non_null(description);
	for (size_t i = 0; i < count; i++) {
		json_t *op = operation(description, &routes[i]);
		if (!op)
			fail_msg("%s %s is not described", routes[i].method, routes[i].path);
		check_parameters(op, &routes[i]);
		assert_int_equal(json_object_get(op, "requestBody") != NULL, routes[i].body);
		json_t *security = json_array_get(json_object_get(op, "security"), 0);
		json_t *scopes = json_object_get(security, "token");
		assert_int_equal(scopes == NULL, routes[i].scope == REST_OPEN);
		if (scopes)
			assert_string_equal(json_string_value(json_array_get(scopes, 0)),
					    scope_of(&routes[i]));
	}
	json_decref(description);
}

static bool is_route(const char *method, const char *path)
{
	size_t count;
	const struct rest_route *routes = rest_routes(&count);

	for (size_t i = 0; i < count; i++)
		if (!strcasecmp(routes[i].method, method) && !strcmp(routes[i].path, path))
			return true;
	return false;
}

static void what_is_described_is_there(void **state)
{
	(void)state;
	json_t *description = json_loads(serve_openapi, 0, NULL), *item, *op;
	const char *path, *method;

	json_object_foreach(json_object_get(description, "paths"), path, item)
		json_object_foreach(item, method, op) if (!is_route(method, path))
			fail_msg("there is no %s %s", method, path);
	json_decref(description);
}

/* After the table's test: what was answered there. */
static void each_answer_that_was_seen_is_described(void **state)
{
	(void)state;
	json_t *description = json_loads(serve_openapi, 0, NULL), *unused;
	char method[16], path[128], status[8];
	const char *seen;

	assert_in_range(json_object_size(answers), 20, 1000);
	json_object_foreach(answers, seen, unused)
	{
		assert_int_equal(sscanf(seen, "%15s %127s %7s", method, path, status), 3);
		struct rest_route route = { .method = method, .path = path };
		json_t *responses = json_object_get(operation(description, &route), "responses");
		if (!json_object_get(responses, status))
			fail_msg("not described: %s", seen);
	}
	json_decref(description);
}

static int setup(void **state)
{
	(void)state;
	answers = json_object();
	return crypto_init();
}

static int teardown(void **state)
{
	(void)state;
	json_decref(answers);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_route_answers_each_caller_as_it_should),
		cmocka_unit_test(a_clock_that_is_set_back_revives_nothing_and_ages_nothing),
		cmocka_unit_test(a_clock_that_was_ahead_may_be_put_right),
		cmocka_unit_test(metrics_are_told_to_who_has_a_token),
		cmocka_unit_test(health_is_told_to_all_and_says_only_ok),
		cmocka_unit_test(what_the_server_refuses_by_itself_is_a_problem_too),
		cmocka_unit_test(each_route_is_described),
		cmocka_unit_test(what_is_described_is_there),
		cmocka_unit_test(each_answer_that_was_seen_is_described),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
