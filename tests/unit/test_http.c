#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/http.h"
#include "relay/http_client.h"

/* --- The parser. */

static int parse(struct http_parse *p, const char *text, size_t len, size_t step)
{
	size_t used;

	for (size_t at = 0; at < len;) {
		size_t n = len - at < step ? len - at : step;
		int rc = http_parse_feed(p, text + at, n, &used);
		if (rc)
			return rc;
		assert_int_equal(used, n);
		at += n;
	}
	return 0;
}

static void a_request_is_the_same_however_it_is_split(void **state)
{
	(void)state;
	static const char text[] =
		"POST /up?x=1&y=%20 HTTP/1.1\r\nHost: a\r\nContent-Type:  text/plain \r\nEmpty:\r\n"
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n";

	for (size_t step = 1; step < sizeof text; step++) {
		struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, 100, NULL, NULL);
		assert_int_equal(parse(p, text, sizeof text - 1, step), 1);
		const struct http_message *m = http_parse_message(p);
		assert_string_equal(m->method, "POST");
		assert_string_equal(m->path, "/up");
		assert_string_equal(m->query, "x=1&y=%20");
		assert_string_equal(m->body, "abcde");
		assert_string_equal(http_header(m, "host"), "a");
		assert_string_equal(http_header(m, "CONTENT-TYPE"), "text/plain");
		assert_string_equal(http_header(m, "empty"), "");
		assert_null(http_header(m, "trailer"));
		assert_true(m->keep_alive);
		assert_false(m->upgrade);
		http_parse_destroy(p);
	}
}

static void a_message_ends_where_the_next_begins(void **state)
{
	(void)state;
	static const char text[] =
		"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /3";
	struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, 100, NULL, NULL);
	size_t used, at = 0;

	assert_int_equal(http_parse_feed(p, text, sizeof text - 1, &used), 1);
	at += used;
	assert_string_equal(http_parse_message(p)->path, "/1");
	http_parse_next(p);
	assert_int_equal(http_parse_feed(p, text + at, sizeof text - 1 - at, &used), 1);
	at += used;
	assert_string_equal(http_parse_message(p)->path, "/2");
	assert_string_equal(http_parse_message(p)->body, "hi");
	http_parse_next(p);
	assert_false(http_parse_in_message(p));
	assert_int_equal(http_parse_feed(p, text + at, sizeof text - 1 - at, &used), 0);
	assert_true(http_parse_in_message(p));
	http_parse_destroy(p);
}

static void an_upgrade_leaves_what_follows_alone(void **state)
{
	(void)state;
	static const char text[] = "GET /link HTTP/1.1\r\nUpgrade: websocket\r\nConnection: keep-alive, "
				   "Upgrade\r\n\r\n\x81\x05hello";
	struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, 100, NULL, NULL);
	size_t used;

	assert_int_equal(http_parse_feed(p, text, sizeof text - 1, &used), 1);
	assert_int_equal(used, sizeof text - 1 - 7);
	assert_true(http_parse_message(p)->upgrade);
	assert_true(http_header_has(http_parse_message(p), "connection", "upgrade"));
	assert_false(http_header_has(http_parse_message(p), "connection", "grade"));
	http_parse_destroy(p);
}

static void bad_requests_are_refused_with_their_status(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{ "\x16\x03\x01\x02", 400 },
		{ "GET / HTTP/9.9\r\n\r\n", 400 },
		{ "GET /\r\n\r\n", 400 },
		{ "BREW / HTTP/1.1\r\n\r\n", 400 },
		{ "GET * HTTP/1.1\r\n\r\n", 400 },
		{ "GET http://x/ HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n01234567890", 413 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", 413 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, 10, NULL, NULL);
		int got = parse(p, cases[i].text, strlen(cases[i].text), 1000);
		if (got != cases[i].status)
			fail_msg("case %zu: %d", i, got);
		http_parse_destroy(p);
	}
}

static void heads_are_bounded(void **state)
{
	(void)state;
	char line[64], long_line[HTTP_HEAD_MAX + 64];
	struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, 10, NULL, NULL);
	int rc = parse(p, "GET / HTTP/1.1\r\n", 16, 16);

	for (int i = 0; rc == 0 && i < 2 * HTTP_HEADERS_MAX; i++) {
		snprintf(line, sizeof line, "H%d: v\r\n", i);
		rc = parse(p, line, strlen(line), 64);
	}
	assert_int_equal(rc, 431);
	http_parse_destroy(p);

	memset(long_line, 'a', sizeof long_line);
	memcpy(long_line, "GET /", 5);
	p = http_parse_create(HTTP_IS_REQUEST, 10, NULL, NULL);
	assert_int_equal(parse(p, long_line, sizeof long_line, 1000), 431);
	http_parse_destroy(p);
}

/* --- The server, over a Unix socket, with a client that is a thread of its own. */

struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_stats stats; /* when all was over */
	struct stream_listener *listener;
	char dir[32], path[64];
	struct http_exchange *late;
	struct loop_timer *timer;
	unsigned gone;
	struct stream *upgraded;
	char upgrade_rest[16];
	/* of the client */
	const char *request;
	size_t request_step;
	char answer[200000];
	size_t answer_len;
	void (*script)(struct world *w);
};

static void handle_hello(void *arg, struct http_exchange *x)
{
	(void)arg;
	http_answer_json(x, 200,
			 json_pack("{s:s, s:s}", "path", http_request(x)->path, "rest", http_path_rest(x)));
}

static void handle_echo(void *arg, struct http_exchange *x)
{
	(void)arg;
	http_answer(x, 200, "text/plain", http_request(x)->body, http_request(x)->body_len);
}

static void on_gone(void *arg)
{
	struct world *w = arg;

	w->gone++;
	w->late = NULL;
	loop_timer_set(w->timer, UINT64_MAX);
}

static void handle_late(void *arg, struct http_exchange *x)
{
	struct world *w = arg;

	w->late = x;
	http_on_gone(x, on_gone, w);
	loop_timer_set(w->timer, 0);
}

static void answer_late(void *arg)
{
	struct world *w = arg;
	struct http_exchange *x = w->late;

	w->late = NULL;
	http_answer(x, 200, "text/plain", "late", 4);
}

static void handle_never(void *arg, struct http_exchange *x)
{
	http_on_gone(x, on_gone, arg);
}

static void handle_lines(void *arg, struct http_exchange *x)
{
	(void)arg;
	assert_int_equal(http_stream_begin(x, "application/x-ndjson"), 0);
	assert_int_equal(http_stream_write(x, "one\ntw", 6), 0);
	assert_int_equal(http_stream_write(x, "", 0), 0);
	assert_int_equal(http_stream_write(x, "o\nthree\n", 8), 0);
	http_stream_end(x);
}

static void handle_endless(void *arg, struct http_exchange *x)
{
	http_on_gone(x, on_gone, arg);
	assert_int_equal(http_stream_begin(x, "application/x-ndjson"), 0);
	assert_int_equal(http_stream_write(x, "first\n", 6), 0);
}

static void upgraded_data(void *arg, const uint8_t *data, size_t len)
{
	struct world *w = arg;

	stream_write(w->upgraded, data, len);
}

static void upgraded_closed(void *arg, int error)
{
	struct world *w = arg;

	(void)error;
	w->upgraded = NULL;
}

static void handle_upgrade(void *arg, struct http_exchange *x)
{
	static const struct stream_handler handler = { NULL, upgraded_data, upgraded_closed };
	struct world *w = arg;
	const uint8_t *rest;
	size_t len;

	assert_true(http_request(x)->upgrade);
	w->upgraded = http_upgrade(x, "Upgrade: test\r\nConnection: Upgrade\r\n", &rest, &len);
	assert_non_null(w->upgraded);
	stream_attach(w->upgraded, &handler, w);
	memcpy(w->upgrade_rest, rest, len);
	stream_write(w->upgraded, rest, len);
}

static const struct http_route routes[] = {
	{ "GET", "/hello", handle_hello },     { "GET", "/hello/*", handle_hello },
	{ "POST", "/echo", handle_echo },      { "GET", "/late", handle_late },
	{ "GET", "/never", handle_never },     { "GET", "/lines", handle_lines },
	{ "GET", "/endless", handle_endless }, { "GET", "/upgrade", handle_upgrade },
};

/* A client's end wakes the loop through a pipe: the test is over then. */
struct done_pipe {
	int fd[2];
	struct world *w;
	pthread_t thread;
};

static void client_done(void *arg, unsigned events)
{
	struct done_pipe *d = arg;

	(void)events;
	loop_stop(d->w->loop);
}

static void *run_script(void *arg)
{
	struct done_pipe *d = arg;

	d->w->script(d->w);
	close(d->fd[1]);
	return NULL;
}

static void serve(struct world *w, void (*script)(struct world *w))
{
	struct done_pipe d = { .w = w };

	w->script = script;
	w->loop = loop_create();
	w->timer = loop_timer_create(w->loop, answer_late, w);
	w->server = http_server_create(w->loop, routes, sizeof routes / sizeof *routes, w);
	strcpy(w->dir, "/tmp/p2pd-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/sock", w->dir);
	assert_int_equal(stream_listen_unix(&w->listener, w->loop, w->path, http_server_accept, w->server),
			 0);
	assert_int_equal(pipe(d.fd), 0);
	struct loop_fd *watch = loop_fd_create(w->loop, d.fd[0], client_done, &d);
	loop_fd_want(watch, LOOP_READ);
	assert_int_equal(pthread_create(&d.thread, NULL, run_script, &d), 0);
	loop_run(w->loop);
	pthread_join(d.thread, NULL);
	loop_fd_destroy(watch);
	close(d.fd[0]);
	stream_listener_close(w->listener);
	w->stats = *http_server_stats(w->server);
	http_server_destroy(w->server);
	stream_close(w->upgraded);
	loop_timer_destroy(w->timer);
	loop_destroy(w->loop);
	rmdir(w->dir);
}

static int dial(const struct world *w)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sa.sun_path, w->path);
	return connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 ? fd : -1;
}

/* Sends the request in steps and reads until the server closes. */
static void send_and_read(struct world *w)
{
	int fd = dial(w);
	size_t len = strlen(w->request);

	for (size_t at = 0; at < len; at += w->request_step)
		send(fd, w->request + at, len - at < w->request_step ? len - at : w->request_step,
		     MSG_NOSIGNAL);
	for (;;) {
		ssize_t n = recv(fd, w->answer + w->answer_len, sizeof w->answer - 1 - w->answer_len, 0);
		if (n <= 0)
			break;
		w->answer_len += (size_t)n;
	}
	close(fd);
}

static void ask(struct world *w, const char *request, size_t step)
{
	memset(w, 0, sizeof *w);
	w->request = request;
	w->request_step = step;
	serve(w, send_and_read);
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static void pipelined_requests_are_answered_in_order_however_split(void **state)
{
	(void)state;
	static const char request[] =
		"GET /hello HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
		"GET /late HTTP/1.1\r\n\r\nGET /hello/you HTTP/1.1\r\nConnection: close\r\n\r\n";
	static const size_t steps[] = { 1, 2, 3, 7, 50, 1000 };
	static struct world w;

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		ask(&w, request, steps[i]);
		assert_int_equal(count(w.answer, "HTTP/1.1 200 OK\r\n"), 4);
		const char *hello = strstr(w.answer, "{\"path\":\"/hello\",\"rest\":\"\"}");
		const char *body = strstr(w.answer, "\r\n\r\nbody");
		const char *late = strstr(w.answer, "\r\n\r\nlate");
		const char *you = strstr(w.answer, "\"rest\":\"you\"");
		assert_true(hello && body && late && you);
		assert_true(hello < body && body < late && late < you);
		assert_int_equal(count(w.answer, "Connection: close"), 1);
	}
}

static void wrong_requests_get_their_error_as_json(void **state)
{
	(void)state;
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{ "GET /nowhere HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 Not Found\r\n" },
		{ "GET /hellooo HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 Not Found\r\n" },
		{ "DELETE /hello HTTP/1.1\r\nConnection: close\r\n\r\n",
		  "HTTP/1.1 405 Method Not Allowed\r\n" },
		{ "nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
		{ "POST /echo HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
		  "HTTP/1.1 413 Content Too Large\r\n" },
	};
	static struct world w;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ask(&w, cases[i].request, 1000);
		if (strncmp(w.answer, cases[i].answer, strlen(cases[i].answer)) != 0)
			fail_msg("case %zu: %s", i, w.answer);
		assert_non_null(strstr(w.answer, "{\"error\":{\"code\":\""));
	}
}

static void an_oversized_body_is_refused_and_the_answer_still_read(void **state)
{
	(void)state;
	static char request[300000];
	static struct world w;
	int n = snprintf(request, sizeof request, "POST /echo HTTP/1.1\r\nContent-Length: 200000\r\n\r\n");

	memset(request + n, 'x', 200000);
	ask(&w, request, 5000);
	assert_non_null(strstr(w.answer, "413"));
}

static void use_upgraded(struct world *w)
{
	int fd = dial(w);
	static const char request[] =
		"GET /upgrade HTTP/1.1\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\nrest";

	send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
	while (!strstr(w->answer, "\r\n\r\nrest"))
		w->answer_len += (size_t)recv(fd, w->answer + w->answer_len, 1000, 0);
	send(fd, " and more", 9, MSG_NOSIGNAL);
	while (!strstr(w->answer, "rest and more"))
		w->answer_len += (size_t)recv(fd, w->answer + w->answer_len, 1000, 0);
	close(fd);
}

static uint64_t answers(const struct world *w, int status)
{
	return w->stats.answers[status - HTTP_CODE_FIRST];
}

static void answers_are_counted_by_code(void **state)
{
	(void)state;
	static struct world w;
	uint64_t all = 0;

	ask(&w,
	    "GET /hello HTTP/1.1\r\n\r\nGET /late HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\n"
	    "DELETE /hello HTTP/1.1\r\n\r\nGET /lines HTTP/1.1\r\n\r\n",
	    1000);
	assert_int_equal(answers(&w, 200), 3);
	assert_int_equal(answers(&w, 404), 1);
	assert_int_equal(answers(&w, 405), 1);
	assert_int_equal(w.stats.accepted, 1);
	assert_int_equal(w.stats.connections, 0);
	for (int i = 0; i < HTTP_CODES; i++)
		all += w.stats.answers[i];
	assert_int_equal(all, 5);
	memset(&w, 0, sizeof w);
	serve(&w, use_upgraded);
	assert_int_equal(answers(&w, 101), 1);
	assert_int_equal(w.stats.connections, 0);
}

/* --- The client for command lines. */

struct lines {
	char text[256];
	unsigned count, stop_after;
};

static bool take_line(void *arg, const char *line)
{
	struct lines *l = arg;

	strcat(l->text, line);
	strcat(l->text, "|");
	return ++l->count != l->stop_after;
}

static void use_client(struct world *w)
{
	struct http_reply r;
	struct lines l = { 0 };

	assert_int_equal(http_client_request(w->path, "POST", "/echo", "{\"a\":1}", 10000, &r), 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "{\"a\":1}");
	http_reply_free(&r);
	assert_int_equal(http_client_request(w->path, "GET", "/nowhere", NULL, 10000, &r), 0);
	assert_int_equal(r.status, 404);
	http_reply_free(&r);
	assert_int_equal(http_client_lines(w->path, "GET", "/lines", NULL, 10000, take_line, &l, &r), 0);
	assert_string_equal(l.text, "one|two|three|");
	http_reply_free(&r);
	assert_int_equal(http_client_lines(w->path, "GET", "/nowhere", NULL, 10000, take_line, &l, &r), 0);
	assert_int_equal(r.status, 404);
	assert_non_null(strstr(r.body, "not_found"));
	http_reply_free(&r);
	l = (struct lines) { .stop_after = 1 };
	assert_int_equal(http_client_lines(w->path, "GET", "/endless", NULL, 10000, take_line, &l, &r), 0);
	assert_string_equal(l.text, "first|");
	http_reply_free(&r);
	assert_int_equal(http_client_request(w->path, "GET", "/never", NULL, 1, &r), -ETIMEDOUT);
}

static void the_client_gets_answers_lines_and_errors(void **state)
{
	(void)state;
	static struct world w;
	struct http_reply r;

	memset(&w, 0, sizeof w);
	serve(&w, use_client);
	assert_int_equal(w.gone, 2); /* of the endless answer and of the one that never came */
	assert_int_equal(http_client_request(w.path, "GET", "/hello", NULL, 1000, &r), -ENOENT);
}

static void an_upgraded_stream_is_used_by_its_new_owner(void **state)
{
	(void)state;
	static struct world w;

	memset(&w, 0, sizeof w);
	serve(&w, use_upgraded);
	assert_string_equal(w.upgrade_rest, "rest");
}

static void no_daemon_is_told_apart(void **state)
{
	(void)state;
	char dir[] = "/tmp/p2pd-test-XXXXXX", path[64];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct http_reply r;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/sock", dir);
	assert_int_equal(http_client_request(path, "GET", "/", NULL, 1000, &r), -ENOENT);
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(http_client_request(path, "GET", "/", NULL, 1000, &r), -ECONNREFUSED);
	close(fd);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_the_same_however_it_is_split),
		cmocka_unit_test(a_message_ends_where_the_next_begins),
		cmocka_unit_test(an_upgrade_leaves_what_follows_alone),
		cmocka_unit_test(bad_requests_are_refused_with_their_status),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(pipelined_requests_are_answered_in_order_however_split),
		cmocka_unit_test(wrong_requests_get_their_error_as_json),
		cmocka_unit_test(an_oversized_body_is_refused_and_the_answer_still_read),
		cmocka_unit_test(answers_are_counted_by_code),
		cmocka_unit_test(the_client_gets_answers_lines_and_errors),
		cmocka_unit_test(an_upgraded_stream_is_used_by_its_new_owner),
		cmocka_unit_test(no_daemon_is_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
