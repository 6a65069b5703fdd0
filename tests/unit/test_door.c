/* The door over TLS on loopback. Its limits and pages: test_door_page.c. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/p2pd/forward/door.h"
#include "apps/p2pd/forward/door_limit.h"
#include "core/file.h"
#include "core/stream.h"
#include "lease_made.h"
#include "relay/http_parse.h"

enum { GUARD_MS = 30000 };

struct bench {
	struct loop *loop;
	char path[64];
	int dir;
	struct door *door;
	struct door_config config;
	struct addr at;
	struct tls_config *tls;
	/* What the owner will say. */
	int error;
	struct admit_grant grant;
	bool keep;
	struct door_visit *kept;
	/* What it was asked. */
	unsigned asked;
	char token[DOOR_TOKEN_MAX + 1];
	bool look;
	enum door_event events[64];
	unsigned event_count;
	/* The visitor's side. */
	struct stream *stream;
	struct http_parse *parse;
	char request[512];
	int status, close_error;
	char body[16384], csp[512], referrer[64], cache[64];
};

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void run(struct bench *b)
{
	struct loop_timer *guard = loop_timer_create(b->loop, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + GUARD_MS);
	loop_run(b->loop);
	loop_timer_destroy(guard);
}

static void on_visit(void *arg, struct door_visit *v, const char *token, const struct addr *visitor,
		     bool look)
{
	struct bench *b = arg;
	struct addr here = made_ip("127.0.0.1");

	b->asked++;
	b->look = look;
	snprintf(b->token, sizeof b->token, "%s", token);
	assert_true(addr_equal(visitor, &here));
	if (b->keep) {
		b->kept = v;
		loop_stop(b->loop);
	} else {
		door_answer(v, b->error, &b->grant);
	}
}

static void on_event(void *arg, enum door_event event, const struct addr *visitor, const char *name)
{
	struct bench *b = arg;

	assert_int_equal(visitor->family, ADDR_V4);
	assert_string_equal(
		name, event == DOOR_LOOKED || event == DOOR_ADMITTED || event == DOOR_FULL ? "till" : "");
	if (b->event_count < 64)
		b->events[b->event_count++] = event;
}

/* A port that is free for sure a moment ago. */
static uint16_t free_port(struct loop *l)
{
	struct stream_listener *ln;
	struct addr at = made_ip("127.0.0.1");

	assert_int_equal(stream_listen(&ln, l, &at, NULL, NULL, NULL), 0);
	uint16_t port = stream_listener_addr(ln).port;
	stream_listener_close(ln);
	return port;
}

static void trust(struct bench *b)
{
	struct tls_key key;
	uint8_t pin[TLS_PIN];

	assert_int_equal(tls_key_kept(&key, b->dir, "door.key"), 0);
	assert_int_equal(tls_pin_of_cert(pin, key.cert, key.cert_len), 0);
	assert_int_equal(tls_client_config(&b->tls, pin), 0);
	tls_key_wipe(&key);
}

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof *b);
	char why[RULE_WHY];

	strcpy(b->path, "/tmp/test_door.XXXXXX");
	assert_non_null(mkdtemp(b->path));
	b->dir = file_open_dir(b->path);
	b->loop = loop_create();
	b->at = made_ip("127.0.0.1");
	b->at.port = free_port(b->loop);
	b->config = (struct door_config) {
		.loop = b->loop, .at4 = b->at, .dir = b->dir, .handler = { on_visit, on_event }, .arg = b
	};
	b->grant = (struct admit_grant) { .until = 1800000000, .for_s = 43200, .name = "till" };
	assert_int_equal(door_open(&b->door, &b->config, why), 0);
	trust(b);
	*state = b;
	return 0;
}

static void hang_up(struct bench *b)
{
	stream_close(b->stream);
	b->stream = NULL;
	http_parse_destroy(b->parse);
	b->parse = NULL;
}

static int end(void **state)
{
	struct bench *b = *state;

	hang_up(b);
	door_close(b->door);
	tls_config_destroy(b->tls);
	loop_destroy(b->loop);
	unlinkat(b->dir, "door.key", 0);
	unlinkat(b->dir, "cert.der", 0);
	unlinkat(b->dir, "key.der", 0);
	close(b->dir);
	rmdir(b->path);
	free(b);
	return 0;
}

static void copy_header(char *out, size_t cap, const struct http_message *m, const char *name)
{
	const char *value = http_header(m, name);

	snprintf(out, cap, "%s", value ? value : "");
}

static void client_up(void *arg)
{
	struct bench *b = arg;

	assert_int_equal(stream_write(b->stream, b->request, strlen(b->request)), 0);
}

static void client_data(void *arg, const uint8_t *data, size_t len)
{
	struct bench *b = arg;
	size_t used;

	if (http_parse_feed(b->parse, data, len, &used) != 1)
		return;
	const struct http_message *m = http_parse_message(b->parse);
	b->status = m->status;
	snprintf(b->body, sizeof b->body, "%s", m->body);
	copy_header(b->csp, sizeof b->csp, m, "content-security-policy");
	copy_header(b->referrer, sizeof b->referrer, m, "referrer-policy");
	copy_header(b->cache, sizeof b->cache, m, "cache-control");
	loop_stop(b->loop);
}

static void client_close(void *arg, int error)
{
	struct bench *b = arg;

	b->stream = NULL;
	b->close_error = error;
	loop_stop(b->loop);
}

static const struct stream_handler client = { client_up, client_data, client_close };

static void send_request(struct bench *b, const char *method, const char *path, const char *headers)
{
	hang_up(b);
	b->status = 0;
	snprintf(b->request, sizeof b->request, "%s %s HTTP/1.1\r\nHost: door\r\n%sContent-Length: 0\r\n\r\n",
		 method, path, headers);
	b->parse = http_parse_create(HTTP_IS_RESPONSE, sizeof b->body - 1, NULL, NULL);
	assert_int_equal(stream_connect(&b->stream, b->loop, "127.0.0.1", b->at.port, b->tls, &client, b), 0);
}

static int visit(struct bench *b, const char *method, const char *path, const char *headers)
{
	send_request(b, method, path, headers);
	run(b);
	return b->status;
}

static void looking_asks_and_pressing_admits(void **state)
{
	struct bench *b = *state;

	assert_int_equal(visit(b, "GET", "/t/abc_-9", ""), 200);
	assert_true(b->look);
	assert_string_equal(b->token, "abc_-9");
	assert_non_null(strstr(b->body, "127.0.0.1"));
	assert_non_null(strstr(b->body, "12 hours"));
	assert_non_null(strstr(b->body, "<button>"));
	assert_int_equal(visit(b, "POST", "/t/abc_-9", ""), 200);
	assert_false(b->look);
	assert_non_null(strstr(b->body, "2027-01-15"));
	assert_int_equal(b->event_count, 2);
	assert_int_equal(b->events[0], DOOR_LOOKED);
	assert_int_equal(b->events[1], DOOR_ADMITTED);
}

static void a_page_needs_nothing_from_elsewhere_and_stays_nowhere(void **state)
{
	struct bench *b = *state;
	char nonce[64], first[sizeof b->csp];

	visit(b, "GET", "/t/abc", "");
	assert_non_null(strstr(b->csp, "default-src 'none'"));
	assert_non_null(strstr(b->csp, "frame-ancestors 'none'"));
	assert_non_null(strstr(b->csp, "form-action 'self'"));
	assert_null(strstr(b->csp, "unsafe"));
	assert_string_equal(b->cache, "no-store");
	assert_string_equal(b->referrer, "no-referrer");
	const char *at = strstr(b->csp, "'nonce-");
	assert_non_null(at);
	snprintf(nonce, sizeof nonce, "nonce=\"%.22s\"", at + 7);
	assert_non_null(strstr(b->body, nonce));
	assert_null(strstr(b->body, "abc"));
	strcpy(first, b->csp);
	visit(b, "GET", "/t/abc", "");
	assert_string_not_equal(first, b->csp);
}

static void a_full_rule_says_when_to_come_again(void **state)
{
	struct bench *b = *state;
	static const char *const methods[] = { "GET", "POST" };

	b->grant.full = true;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(visit(b, methods[i], "/t/abc", ""), 503);
		assert_non_null(strstr(b->body, "2027-01-15 08:00 UTC"));
		assert_non_null(strstr(b->body, "<b>till</b>"));
		assert_non_null(strstr(b->body, "as good as it was"));
		assert_null(strstr(b->body, "<form"));
		assert_int_equal(b->events[i], DOOR_FULL);
	}
}

static void another_site_cannot_press_the_button(void **state)
{
	struct bench *b = *state;
	static const struct {
		const char *headers;
		bool presses;
	} cases[] = { { "Sec-Fetch-Site: cross-site\r\n", false },
		      { "Sec-Fetch-Site: same-site\r\n", false },
		      { "Sec-Fetch-Site: none\r\n", false },
		      { "Sec-Fetch-Site: same-origin\r\n", true } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(visit(b, "POST", "/t/abc", cases[i].headers), 200);
		assert_int_equal(b->look, !cases[i].presses);
	}
}

/* The page without its nonce. */
static void keep_page(struct bench *b, char out[static 16384])
{
	char *at = strstr(b->body, "nonce=\"");

	assert_non_null(at);
	memset(at + 7, 'x', 22);
	strcpy(out, b->body);
}

static void tokens_that_are_not_good_all_look_the_same(void **state)
{
	struct bench *b = *state;
	static char first[16384], page[16384];
	static const struct {
		const char *method, *path;
		int error;
	} cases[] = {
		{ "GET", "/t/abc", -ENOENT }, { "GET", "/t/abc", -EACCES }, { "POST", "/t/abc", -EACCES },
		{ "GET", "/t/a%20b", 0 },     { "GET", "/t/", 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		b->error = cases[i].error;
		assert_int_equal(visit(b, cases[i].method, cases[i].path, ""), 404);
		keep_page(b, i ? page : first);
		if (i)
			assert_string_equal(page, first);
		assert_int_equal(b->events[b->event_count - 1], DOOR_WRONG);
	}
	assert_int_equal(b->asked, 3);
}

static void who_guesses_is_stopped(void **state)
{
	struct bench *b = *state;

	b->error = -EACCES;
	for (int i = 0; i < DOOR_WRONG_BURST; i++)
		assert_int_equal(visit(b, "POST", "/t/abc", ""), 404);
	b->error = 0;
	assert_int_equal(visit(b, "POST", "/t/abc", ""), 429);
	assert_int_equal(visit(b, "GET", "/t/abc", ""), 429);
	assert_int_equal(b->asked, DOOR_WRONG_BURST);
	assert_int_equal(b->event_count, DOOR_WRONG_BURST + 1);
	assert_int_equal(b->events[DOOR_WRONG_BURST], DOOR_LIMITED);
}

static void an_owner_that_is_away_is_no_wrong_token(void **state)
{
	struct bench *b = *state;

	b->error = -ETIMEDOUT;
	for (int i = 0; i <= DOOR_WRONG_BURST; i++)
		assert_int_equal(visit(b, "POST", "/t/abc", ""), 503);
	assert_int_equal(b->events[0], DOOR_FAILED);
	assert_non_null(strstr(b->body, "in a minute"));
}

static void there_is_nothing_else(void **state)
{
	struct bench *b = *state;
	static const char *const paths[] = { "/", "/t", "/favicon.ico", "/metrics", "/lease/1" };

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		assert_int_equal(visit(b, "GET", paths[i], ""), 404);
	assert_int_equal(visit(b, "DELETE", "/t/abc", ""), 404);
	assert_int_equal(b->asked, 0);
	assert_int_equal(b->event_count, 0);
}

static void a_visitor_that_goes_is_let_in_all_the_same(void **state)
{
	struct bench *b = *state;

	b->keep = true;
	send_request(b, "POST", "/t/abc", "");
	run(b);
	hang_up(b);
	b->keep = false;
	assert_int_equal(visit(b, "GET", "/t/abc", ""), 200);
	door_answer(b->kept, 0, &b->grant);
	assert_int_equal(b->events[b->event_count - 1], DOOR_ADMITTED);
}

static void a_closed_door_leaves_visits_answerable(void **state)
{
	struct bench *b = *state;

	b->keep = true;
	send_request(b, "POST", "/t/abc", "");
	run(b);
	door_close(b->door);
	b->door = NULL;
	door_answer(b->kept, 0, &b->grant);
	assert_int_equal(b->event_count, 0);
}

static void who_comes_too_often_gets_no_handshake(void **state)
{
	struct bench *b = *state;
	unsigned n = 0;

	while (visit(b, "GET", "/", "") && n < 10 * DOOR_COMES_BURST)
		n++;
	assert_in_range(n, DOOR_COMES_BURST, 10 * DOOR_COMES_BURST - 1);
	assert_int_equal(b->status, 0);
	assert_int_equal(b->event_count, 1);
	assert_int_equal(b->events[0], DOOR_LIMITED);
}

static void its_key_stays_over_restarts(void **state)
{
	struct bench *b = *state;
	char why[RULE_WHY];

	hang_up(b);
	door_close(b->door);
	assert_int_equal(door_open(&b->door, &b->config, why), 0);
	assert_int_equal(visit(b, "GET", "/t/abc", ""), 200); /* the pin is still right */
}

static void the_administrators_certificate_is_used(void **state)
{
	struct bench *b = *state;
	struct tls_key key;
	uint8_t pin[TLS_PIN];
	char why[RULE_WHY];

	door_close(b->door);
	b->door = NULL;
	assert_int_equal(tls_key_make(&key), 0);
	assert_int_equal(file_write(b->dir, "cert.der", key.cert, key.cert_len), 0);
	assert_int_equal(file_write(b->dir, "key.der", key.key, key.key_len), 0);
	snprintf(b->config.cert, sizeof b->config.cert, "%s/cert.der", b->path);
	snprintf(b->config.key, sizeof b->config.key, "%s/absent", b->path);
	assert_int_equal(door_open(&b->door, &b->config, why), -ENOENT);
	assert_non_null(strstr(why, "absent"));
	snprintf(b->config.key, sizeof b->config.key, "%s/door.key", b->path);
	assert_int_equal(door_open(&b->door, &b->config, why), -EBADMSG);
	snprintf(b->config.key, sizeof b->config.key, "%s/key.der", b->path);
	assert_int_equal(door_open(&b->door, &b->config, why), 0);
	tls_config_destroy(b->tls);
	assert_int_equal(tls_pin_of_cert(pin, key.cert, key.cert_len), 0);
	assert_int_equal(tls_client_config(&b->tls, pin), 0);
	assert_int_equal(visit(b, "GET", "/t/abc", ""), 200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(looking_asks_and_pressing_admits),
		TEST(a_page_needs_nothing_from_elsewhere_and_stays_nowhere),
		TEST(a_full_rule_says_when_to_come_again),
		TEST(another_site_cannot_press_the_button),
		TEST(tokens_that_are_not_good_all_look_the_same),
		TEST(who_guesses_is_stopped),
		TEST(an_owner_that_is_away_is_no_wrong_token),
		TEST(there_is_nothing_else),
		TEST(a_visitor_that_goes_is_let_in_all_the_same),
		TEST(a_closed_door_leaves_visits_answerable),
		TEST(who_comes_too_often_gets_no_handshake),
		TEST(its_key_stays_over_restarts),
		TEST(the_administrators_certificate_is_used),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
