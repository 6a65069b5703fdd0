/* Clients that hold what they can get: half-open TLS, idle connections, requests and answers that take their time. Others
 * are served meanwhile, and what happened is counted. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/sources.h"
#include "relay/http.h"

enum { GUARD_MS = 30000, DIALS_AT_ONCE = 200, HALF_OPEN = 5000, CLIENTS_MAX = 9000, BIG = 300000 };

struct world {
	struct loop *loop;
	struct tls_key key;
	struct tls_config *tls, *client_tls;
	struct http_server *http;
	struct stream_listener *listener;
	struct addr addr;
	int clients[CLIENTS_MAX];
	unsigned client_count, wanted;
	struct loop_timer *dialer;
	char got[8192];
	size_t got_len;
	bool closed;
	struct http_exchange *never[8];
	unsigned never_count;
};

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void run(struct world *w)
{
	struct loop_timer *guard = loop_timer_create(w->loop, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + GUARD_MS);
	loop_run(w->loop);
	loop_timer_destroy(guard);
}

static void handle_hello(void *arg, struct http_exchange *x)
{
	(void)arg;
	http_answer(x, 200, "text/plain", "hello", 5);
}

static void handle_big(void *arg, struct http_exchange *x)
{
	static char big[BIG];

	(void)arg;
	http_answer(x, 200, "text/plain", big, sizeof big);
}

static void handle_never(void *arg, struct http_exchange *x)
{
	struct world *w = arg;

	assert_in_range(w->never_count, 0, 7);
	w->never[w->never_count++] = x;
}

static const struct http_route routes[] = { { "GET", "/hello", handle_hello },
					    { "GET", "/big", handle_big },
					    { "GET", "/never", handle_never } };

/* As many descriptors as may be had; true if these many can be. */
static bool allow_files(rlim_t need)
{
	struct rlimit files;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	return files.rlim_cur >= need;
}

static void begin(struct world *w, bool tls)
{
	uint8_t pin[TLS_PIN];

	memset(w, 0, sizeof *w);
	w->loop = loop_create();
	if (tls) {
		assert_int_equal(tls_key_make(&w->key), 0);
		assert_int_equal(tls_server_config(&w->tls, &w->key), 0);
		assert_int_equal(tls_pin_of_cert(pin, w->key.cert, w->key.cert_len), 0);
		assert_int_equal(tls_client_config(&w->client_tls, pin), 0);
	}
	w->http = http_server_create(w->loop, routes, sizeof routes / sizeof *routes, w);
	assert_int_equal(addr_parse(&w->addr, "127.0.0.1", 1), 0);
	w->addr.port = 0;
	assert_int_equal(stream_listen(&w->listener, w->loop, &w->addr, w->tls, http_server_accept, w->http),
			 0);
	w->addr = stream_listener_addr(w->listener);
}

static void end(struct world *w)
{
	for (unsigned i = 0; i < w->client_count; i++)
		close(w->clients[i]);
	stream_listener_close(w->listener);
	http_server_destroy(w->http);
	loop_timer_destroy(w->dialer);
	loop_destroy(w->loop);
	tls_config_destroy(w->tls);
	tls_config_destroy(w->client_tls);
}

/* One more client, from 127.0.0.`host`, that says this much. */
static int dial(struct world *w, int host, const char *text)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(0x7f000000u + (unsigned)host) };
	struct sockaddr_storage to;
	unsigned len = addr_to_sockaddr(&w->addr, &to);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096, on = 1;
	const struct linger reset = { .l_onoff = 1 };

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	/* Else thousands of ports would be used up, and stay so for a minute. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, len), 0);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	assert_in_range(w->client_count, 0, CLIENTS_MAX - 1);
	w->clients[w->client_count++] = fd;
	return fd;
}

/* Lets the server do what there is to do until its figures say so. */
static void stop_when(void *arg)
{
	struct world *w = arg;
	const struct http_stats *http = http_server_stats(w->http);
	struct stream_listener_stats tls = stream_listener_stats(w->listener);

	/* Never more than the kernel's queue holds: a client that it drops comes again after a second. */
	unsigned known = tls.half_open + (unsigned)(tls.accepted + tls.failed);
	while (w->client_count < w->wanted && w->client_count < known + DIALS_AT_ONCE)
		dial(w, 1, "");
	if (w->client_count >= w->wanted && tls.half_open + tls.accepted + tls.failed >= w->client_count &&
	    http->accepted + http->busy == tls.accepted)
		loop_stop(w->loop);
	loop_timer_set(w->dialer, loop_now_ms() + 1);
}

/* Up to `count` clients in all, the further ones silent; until all are known to the server. */
static void settle(struct world *w, unsigned count)
{
	if (!w->dialer)
		w->dialer = loop_timer_create(w->loop, stop_when, w);
	w->wanted = count;
	loop_timer_set(w->dialer, 0);
	run(w);
	loop_timer_set(w->dialer, UINT64_MAX);
}

static void on_readable(void *arg, unsigned events)
{
	struct world *w = arg;
	int fd = w->clients[w->client_count - 1];
	ssize_t n = recv(fd, w->got + w->got_len, sizeof w->got - 1 - w->got_len, MSG_DONTWAIT);

	(void)events;
	if (n > 0)
		w->got_len += (size_t)n;
	w->closed = n == 0 || (n < 0 && errno != EAGAIN);
	w->got[w->got_len] = 0;
	if (w->closed || strstr(w->got, "hello"))
		loop_stop(w->loop);
}

/* What this server answers to one more client; "" for nothing. */
static const char *ask(struct world *w, int host, const char *request)
{
	int fd = dial(w, host, request);
	struct loop_fd *watch = loop_fd_create(w->loop, fd, on_readable, w);

	w->got_len = 0;
	w->got[0] = 0;
	loop_fd_want(watch, LOOP_READ);
	run(w);
	loop_fd_destroy(watch);
	return w->got;
}

static bool is_open(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static const char hello[] = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/* --- TLS. */

struct good {
	struct world *w;
	struct stream *stream;
};

static void good_closed(void *arg, int error)
{
	(void)arg;
	fail_msg("closed: %s", strerror(-error));
}

static void good_up(void *arg)
{
	struct good *g = arg;

	assert_int_equal(stream_write(g->stream, hello, sizeof hello - 1), 0);
}

static void good_data(void *arg, const uint8_t *data, size_t len)
{
	struct world *w = ((struct good *)arg)->w;

	assert_in_range(len, 1, sizeof w->got - 1);
	memcpy(w->got, data, len);
	w->got[len] = 0;
	loop_stop(w->loop);
}

static void a_good_tls_client_is_served(struct world *w)
{
	static const struct stream_handler handler = { good_up, good_data, good_closed };
	struct good g = { .w = w };

	w->got[0] = 0;
	assert_int_equal(
		stream_connect(&g.stream, w->loop, "127.0.0.1", w->addr.port, w->client_tls, &handler, &g),
		0);
	run(w);
	assert_non_null(strstr(w->got, "hello"));
	stream_close(g.stream);
}

static void five_thousand_half_open_connections_hinder_nobody(void **state)
{
	(void)state;
	static struct world w;

	if (!allow_files(2 * HALF_OPEN + 200))
		skip();
	begin(&w, true);
	settle(&w, HALF_OPEN);
	struct stream_listener_stats stats = stream_listener_stats(w.listener);
	assert_int_equal(stats.half_open, HALF_OPEN);
	assert_int_equal(stats.failed, 0);
	a_good_tls_client_is_served(&w);
	stats = stream_listener_stats(w.listener);
	assert_int_equal(stats.half_open, HALF_OPEN);
	assert_int_equal(stats.accepted, 1);
	end(&w);
}

static void a_flood_from_one_source_meets_itself(void **state)
{
	(void)state;
	static struct world w;

	if (!allow_files(2 * STREAM_HALF_OPEN_MAX + 300))
		skip();
	begin(&w, true);
	int oldest = dial(&w, 2, "");
	settle(&w, STREAM_HALF_OPEN_MAX + 100);
	struct stream_listener_stats stats = stream_listener_stats(w.listener);
	assert_int_equal(stats.half_open, STREAM_HALF_OPEN_MAX);
	assert_int_equal(stats.made_way, 100);
	assert_int_equal(stats.failed, 100);
	assert_true(is_open(oldest));
	assert_false(is_open(w.clients[1]));
	end(&w);
}

static void garbage_in_the_handshake_is_counted(void **state)
{
	(void)state;
	static struct world w;

	begin(&w, true);
	for (int i = 0; i < 10; i++)
		dial(&w, 1, hello);
	settle(&w, 10);
	a_good_tls_client_is_served(&w);
	assert_int_equal(stream_listener_stats(w.listener).failed, 10);
	assert_int_equal(stream_listener_stats(w.listener).accepted, 1);
	end(&w);
}

/* --- HTTP. */

static void one_source_holds_its_share_of_places_only(void **state)
{
	(void)state;
	static struct world w;

	if (!allow_files(2 * HTTP_PER_SOURCE_MAX + 400))
		skip();
	begin(&w, false);
	int slow = dial(&w, 1, "GET /hello HT"), kept = dial(&w, 2, "");
	settle(&w, 1 + HTTP_PER_SOURCE_MAX + 50);
	const struct http_stats *stats = http_server_stats(w.http);
	assert_int_equal(stats->connections, HTTP_PER_SOURCE_MAX + 1);
	assert_int_equal(stats->made_way, 50);
	assert_false(is_open(slow)); /* a request that does not come to its end is none */
	assert_true(is_open(kept));
	assert_non_null(strstr(ask(&w, 3, hello), "200 OK"));
	assert_int_equal(http_server_stats(w.http)->made_way, 50);
	assert_non_null(strstr(ask(&w, 1, hello), "200 OK")); /* nor is that source locked out */
	assert_int_equal(http_server_stats(w.http)->made_way, 51);
	assert_int_equal(http_server_stats(w.http)->busy, 0);
	end(&w);
}

static void when_all_places_are_taken_who_waited_longest_makes_way(void **state)
{
	(void)state;
	static struct world w;

	if (!allow_files(2 * HTTP_CONNECTIONS_MAX + 200))
		skip();
	begin(&w, false);
	http_server_set_per_source(w.http, 0);
	settle(&w, HTTP_CONNECTIONS_MAX);
	assert_int_equal(http_server_stats(w.http)->connections, HTTP_CONNECTIONS_MAX);
	assert_int_equal(http_server_stats(w.http)->made_way, 0);
	assert_non_null(strstr(ask(&w, 2, hello), "200 OK"));
	assert_int_equal(http_server_stats(w.http)->made_way, 1);
	assert_false(is_open(w.clients[0]));
	assert_true(is_open(w.clients[1]));
	end(&w);
}

static void nobody_makes_way_whose_answer_is_being_made(void **state)
{
	(void)state;
	static struct world w;

	begin(&w, false);
	http_server_set_per_source(w.http, 2);
	for (int i = 0; i < 2; i++)
		dial(&w, 1, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
	while (w.never_count < 2)
		settle(&w, 2);
	assert_non_null(strstr(ask(&w, 1, hello), "503"));
	assert_int_equal(http_server_stats(w.http)->busy, 1);
	assert_non_null(strstr(ask(&w, 2, hello), "200 OK"));
	for (int i = 0; i < 2; i++)
		http_answer(w.never[i], 200, "text/plain", "", 0);
	assert_non_null(strstr(ask(&w, 1, hello), "200 OK")); /* now they wait again */
	assert_int_equal(http_server_stats(w.http)->made_way, 1);
	end(&w);
}

static void who_asks_and_does_not_read_is_let_go(void **state)
{
	(void)state;
	static struct world w;
	static char many[64 * 40 + 1];
	const char *big = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";

	for (int i = 0; i < 64; i++)
		strcat(many, big);
	begin(&w, false);
	dial(&w, 1, many);
	settle(&w, 1);
	while (http_server_stats(w.http)->connections)
		assert_non_null(strstr(ask(&w, 2, "GET /hello HTTP/1.0\r\n\r\n"), "200 OK"));
	assert_int_equal(http_server_stats(w.http)->unread, 1);
	end(&w);
}

static void bad_requests_are_counted_and_hinder_nobody(void **state)
{
	(void)state;
	static struct world w;
	static char long_head[HTTP_HEAD_MAX + 100] = "GET /hello HTTP/1.1\r\nX: ";
	static char long_body[HTTP_BODY_MAX + 100] = "POST /hello HTTP/1.1\r\nContent-Length: 65537\r\n\r\n";
	static const struct {
		const char *request, *status;
	} cases[] = {
		{ "\x16\x03\x01\x02", "400" },
		{ "GET /hello HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400" },
		{ long_body, "413" },
		{ long_head, "431" },
	};
	size_t count = sizeof cases / sizeof *cases;

	memset(long_head + strlen(long_head), 'x', sizeof long_head - 1 - strlen(long_head));
	memset(long_body + strlen(long_body), 'x', sizeof long_body - 1 - strlen(long_body));
	begin(&w, false);
	for (size_t i = 0; i < count; i++) {
		if (!strstr(ask(&w, 1, cases[i].request), cases[i].status))
			fail_msg("%s: %s", cases[i].status, w.got);
		assert_non_null(strstr(ask(&w, 1, hello), "200 OK"));
	}
	assert_int_equal(http_server_stats(w.http)->malformed, count);
	assert_int_equal(http_server_stats(w.http)->answers[200 - HTTP_CODE_FIRST], count);
	end(&w);
}

/* --- Sources. */

static void sources_are_addresses_and_prefixes(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "::ffff:192.0.2.1", "192.0.2.1", true },
		{ "2001:db8::1", "2001:db8::ffff:0:0:2", true },
		{ "2001:db8:0:1::1", "2001:db8:0:2::1", false },
	};
	const struct addr none = { 0 };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sources s;
		struct rng rng;
		struct addr a, b;
		rng_init_seed(&rng, 1);
		sources_init(&s, &rng);
		assert_int_equal(addr_parse(&a, cases[i].a, 1), 0);
		assert_int_equal(addr_parse(&b, cases[i].b, 2), 0);
		assert_int_equal(sources_add(&s, &a), 0);
		assert_int_equal(sources_add(&s, &a), 0);
		assert_int_equal(sources_add(&s, &none), 0);
		assert_int_equal(sources_count(&s, &a), 2);
		assert_int_equal(sources_count(&s, &b), cases[i].same ? 2 : 0);
		assert_int_equal(sources_same(&a, &b), cases[i].same);
		sources_remove(&s, &a);
		sources_remove(&s, &a);
		sources_remove(&s, &none);
		assert_int_equal(sources_count(&s, &a), 0);
		assert_int_equal(s.counts.count, 0);
		sources_free(&s);
	}
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_thousand_half_open_connections_hinder_nobody),
		cmocka_unit_test(a_flood_from_one_source_meets_itself),
		cmocka_unit_test(garbage_in_the_handshake_is_counted),
		cmocka_unit_test(one_source_holds_its_share_of_places_only),
		cmocka_unit_test(when_all_places_are_taken_who_waited_longest_makes_way),
		cmocka_unit_test(nobody_makes_way_whose_answer_is_being_made),
		cmocka_unit_test(who_asks_and_does_not_read_is_let_go),
		cmocka_unit_test(bad_requests_are_counted_and_hinder_nobody),
		cmocka_unit_test(sources_are_addresses_and_prefixes),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
