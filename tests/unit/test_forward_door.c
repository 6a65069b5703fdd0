/* The local API on loopback TCP: read only, by token, not for web pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>

#include "tests/unit/forward_daemon.h"

#include "apps/p2pd/forward/forward_door.h"
#include "apps/p2pd/forward/read_token.h"

enum { GUESSES = 20 /* that may come at once */ };

static struct forward_door *door;
static char token[API_TOKEN_LEN + 1];

static int begin_door(void **state)
{
	struct addr a;

	if (begin(state))
		return -1;
	a = at(own_ip);
	a.port = 9479;
	assert_int_equal(forward_door_open(&door, loop, &a, forwarder, api), 0);
	assert_int_equal(read_token_make(dir, token, forwarder_rng(forwarder)), 0);
	return 0;
}

static int end_door(void **state)
{
	forward_door_close(door);
	return end(state);
}

/* ---- Who asks there */

struct visit {
	const char *request;
	char answer[4096];
};

static void *visit_thread(void *arg)
{
	struct visit *v = arg;
	int fd = connect_to(9479);
	size_t len = 0;

	dprintf(fd, "%s", v->request);
	for (ssize_t n; len < sizeof v->answer - 1 &&
			(n = recv(fd, v->answer + len, sizeof v->answer - 1 - len, 0)) > 0;)
		len += (size_t)n;
	v->answer[len] = '\0';
	close(fd);
	loop_wake(wake);
	return NULL;
}

/* The status. `host` NULL: that of the door; `more`: further header lines. */
static int visit(const char *method, const char *host, const char *bearer, const char *more)
{
	char request[1024], own[ADDR_TEXT_MAX + 8];
	struct visit v = { .request = request };
	pthread_t thread;

	snprintf(own, sizeof own, "%s:9479", own_ip);
	snprintf(request, sizeof request,
		 "%s /api/v1/portmap HTTP/1.1\r\nHost: %s\r\n%s%s%s%sContent-Length: 0\r\nConnection: "
		 "close\r\n\r\n",
		 method, host ? host : own, bearer ? "Authorization: Bearer " : "", bearer ? bearer : "",
		 bearer ? "\r\n" : "", more);
	pthread_create(&thread, NULL, visit_thread, &v);
	loop_run(loop);
	pthread_join(thread, NULL);
	assert_memory_equal(v.answer, "HTTP/1.1 ", 9);
	return atoi(v.answer + 9);
}

static unsigned refusals(void)
{
	json_t *json, *entry;
	unsigned count = 0;
	size_t i;

	assert_int_equal(ask("GET", "/api/v1/portmap/audit", NULL, &json), 200);
	json_array_foreach(json_object_get(json, "entries"), i, entry)
		count += !strcmp(text_at(entry, "event"), "api.refuse") &&
			 strstr(text_at(entry, "actor"), "127.");
	json_decref(json);
	return count;
}

/* ---- */

static void who_has_the_token_reads_and_no_more(void **state)
{
	(void)state;
	assert_int_equal(visit("GET", NULL, token, ""), 200);
	assert_int_equal(visit("GET", "localhost", token, ""), 200);
	assert_int_equal(visit("GET", "localhost:9479", token, ""), 200);
	assert_int_equal(visit("POST", NULL, token, ""), 403);
	assert_int_equal(refusals(), 0);
}

static void a_web_page_is_refused_even_with_the_token(void **state)
{
	static const struct {
		const char *host, *more;
	} cases[] = {
		{ NULL, "Origin: https://evil.example\r\n" },
		{ NULL, "Origin: null\r\n" },
		{ NULL, "Origin:\r\n" },
		{ "localhost", "Origin: http://localhost:9479\r\n" },
		{ "evil.example", "" },
		{ "localhost.evil.example", "" },
		{ "192.0.2.1:9479", "" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (visit("GET", cases[i].host, token, cases[i].more) != 403)
			fail_msg("%s %s", cases[i].host ? cases[i].host : "", cases[i].more);
		assert_int_equal(refusals(), i + 1);
	}
}

static void guesses_are_limited_and_audited(void **state)
{
	char wrong[API_TOKEN_LEN + 1];
	unsigned refused = 0, limited = 0;

	(void)state;
	memcpy(wrong, token, sizeof wrong);
	wrong[API_TOKEN_LEN - 1] ^= 1;
	/* Some come back while they come: more than can at once are needed. */
	for (int i = 0; i < 50 * GUESSES && !limited; i++) {
		int status = visit("GET", NULL, i % 2 ? wrong : NULL, "");
		assert_true(status == 401 || status == 429);
		refused += status == 401;
		limited += status == 429;
	}
	assert_true(refused >= GUESSES);
	assert_int_equal(limited, 1);
	assert_int_equal(refusals(), refused);
}

#define with_door(test) cmocka_unit_test_setup_teardown(test, begin_door, end_door)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_door(who_has_the_token_reads_and_no_more),
		with_door(a_web_page_is_refused_even_with_the_token),
		with_door(guesses_are_limited_and_audited),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
