#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/tls.h"
#include "relay/hub_link.h"
#include "relay/websocket_server.h"

#define PIN "sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static void urls_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *text, *host, *path;
		unsigned port;
		bool pinned;
		const char *again; /* NULL: as it was */
	} cases[] = {
		{ "https://hub.example", "hub.example", "", 443, false, NULL },
		{ "https://hub.example/", "hub.example", "", 443, false, "https://hub.example" },
		{ "https://hub.example:8443/p2p/", "hub.example", "/p2p", 8443, false,
		  "https://hub.example:8443/p2p" },
		{ "https://198.51.100.7#" PIN, "198.51.100.7", "", 443, true, NULL },
		{ "https://198.51.100.7:1/#" PIN, "198.51.100.7", "", 1, true,
		  "https://198.51.100.7:1#" PIN },
		{ "https://[2001:db8::7]:65535/a/b#" PIN, "2001:db8::7", "/a/b", 65535, true, NULL },
		{ "https://[::1]", "::1", "", 443, false, NULL },
		{ "https://a:443", "a", "", 443, false, "https://a" },
	};
	static const char *const bad[] = {
		"",
		"https://",
		"http://a",
		"HTTPS://a",
		"a",
		"https:///x",
		"https://:443",
		"https://a:",
		"https://a:0",
		"https://a:65536",
		"https://a:44x",
		"https://a:-1",
		"https://a:000443",
		"https://u@a",
		"https://a b",
		"https://a/b c",
		"https://a?x",
		"https://a/?x",
		"https://a#",
		"https://a#sha1:AA",
		"https://a#" PIN "A",
		"https://a#" PIN "#",
		"https://[::1",
		"https://[::1]x",
		"https://[1.2.3.4]",
		"https://[]",
		"https://[zz]",
		"https://a\r\nX",
		"https://a/\r\nX",
		"https://\xc3\xa4",
	};
	struct hub_url u;
	char text[HUB_URL_TEXT];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(hub_url_parse(&u, cases[i].text), 0);
		assert_string_equal(u.host, cases[i].host);
		assert_string_equal(u.path, cases[i].path);
		assert_int_equal(u.port, cases[i].port);
		assert_int_equal(u.pinned, cases[i].pinned);
		if (u.pinned)
			for (int n = 0; n < TLS_PIN; n++)
				assert_int_equal(u.pin[n], n);
		assert_string_equal(hub_url_format(&u, text),
				    cases[i].again ? cases[i].again : cases[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (hub_url_parse(&u, bad[i]) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
}

static void the_longest_url_fits_its_buffer(void **state)
{
	(void)state;
	struct hub_url u = { .port = 12345, .pinned = true };
	char text[HUB_URL_TEXT];

	memset(u.host, ':', HUB_URL_HOST_MAX);
	memset(u.path, '/', HUB_URL_PATH_MAX);
	assert_int_equal(strlen(hub_url_format(&u, text)), HUB_URL_TEXT - 1);
}

static void waits_are_random_and_bounded(void **state)
{
	(void)state;
	static const struct {
		uint64_t outage;
		uint32_t top, spread;
	} table[] = { { 0, 500 },	   { 1500, 500 },	   { 6000, 2000 },
		      { 60000, 20000 },	   { 600000, 30000 },	   { UINT64_MAX, 30000 },
		      { 0, 40000, 40000 }, { 1000, 20000, 40000 }, { 600000, 30000, 2000 } };
	struct rng rng;

	rng_init_seed(&rng, 7);
	for (size_t row = 0; row < sizeof table / sizeof *table; row++) {
		uint32_t least = UINT32_MAX, most = 0, top = table[row].top;
		for (int i = 0; i < 2000; i++) {
			uint32_t wait = hub_link_backoff(table[row].outage, table[row].spread, &rng);
			least = wait < least ? wait : least;
			most = wait > most ? wait : most;
		}
		assert_in_range(least, 100, 100 + top / 20);
		assert_in_range(most, top - top / 20, top);
	}
}

/* --- A link and a hub in one loop. */

struct world {
	struct loop *loop;
	struct rng rng;
	struct tls_key key;
	struct tls_config *tls;
	struct stream_listener *listener;
	struct http_server *http;
	struct websocket_server *conn;
	uint8_t hub_exporter[32], link_exporter[32];
	struct hub_url url;
	struct hub_link *link;
	char hub_got[64], link_got[64];
	unsigned ups, downs;
	int error;
	char text[HUB_LINK_TEXT];
	bool destroy_on_message;
};

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void run(struct world *w)
{
	struct loop_timer *guard = loop_timer_create(w->loop, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + 30000);
	loop_run(w->loop);
	loop_timer_destroy(guard);
}

static void hub_message(void *arg, const uint8_t *msg, size_t len)
{
	struct world *w = arg;

	snprintf(w->hub_got, sizeof w->hub_got, "%.*s", (int)len, (const char *)msg);
	assert_int_equal(websocket_server_send(w->conn, "answer", 6), 0);
}

static void hub_closed(void *arg)
{
	struct world *w = arg;

	w->conn = NULL;
}

static void handle_link(void *arg, struct http_exchange *x)
{
	static const struct websocket_server_handler handler = { hub_message, hub_closed };
	struct world *w = arg;

	assert_null(w->conn);
	if (websocket_server_accept(&w->conn, x, w->loop, &w->rng, &handler, w))
		memcpy(w->hub_exporter, websocket_server_exporter(w->conn), 32);
}

static const struct http_route routes[] = { { "GET", "/base/link", handle_link } };

static void on_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	struct world *w = arg;

	w->ups++;
	memcpy(w->link_exporter, exporter, 32);
	assert_int_equal(remote->port, w->url.port);
	loop_stop(w->loop);
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	struct world *w = arg;

	snprintf(w->link_got, sizeof w->link_got, "%.*s", (int)len, (const char *)msg);
	if (w->destroy_on_message) {
		hub_link_destroy(w->link);
		w->link = NULL;
	}
	loop_stop(w->loop);
}

static void on_down(void *arg, int error, const char *text)
{
	struct world *w = arg;

	w->downs++;
	w->error = error;
	snprintf(w->text, sizeof w->text, "%s", text);
	loop_stop(w->loop);
}

static const struct hub_link_handler handler = { on_up, on_message, on_down };

static void start_hub(struct world *w)
{
	struct addr local;

	assert_int_equal(addr_parse(&local, "127.0.0.1", 1), 0);
	local.port = w->url.port;
	w->http = http_server_create(w->loop, routes, 1, w);
	assert_int_equal(stream_listen(&w->listener, w->loop, &local, w->tls, http_server_accept, w->http),
			 0);
	w->url.port = stream_listener_addr(w->listener).port;
}

static void stop_hub(struct world *w)
{
	websocket_server_close(w->conn, WEBSOCKET_GOING_AWAY);
	w->conn = NULL;
	stream_listener_close(w->listener);
	w->listener = NULL;
	http_server_destroy(w->http);
	w->http = NULL;
}

static void begin(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->loop = loop_create();
	rng_init_seed(&w->rng, 3);
	assert_int_equal(tls_key_make(&w->key), 0);
	assert_int_equal(tls_server_config(&w->tls, &w->key), 0);
	strcpy(w->url.host, "127.0.0.1");
	strcpy(w->url.path, "/base");
	w->url.pinned = true;
	assert_int_equal(tls_pin_of_cert(w->url.pin, w->key.cert, w->key.cert_len), 0);
	start_hub(w);
}

static void begin_link(struct world *w)
{
	assert_int_equal(hub_link_create(&w->link, w->loop, &w->url, &w->rng, &handler, w), 0);
	assert_int_equal(hub_link_send(w->link, "early", 5), -ENOTCONN);
	run(w);
}

static void end(struct world *w)
{
	hub_link_destroy(w->link);
	stop_hub(w);
	loop_destroy(w->loop);
	tls_config_destroy(w->tls);
}

static void a_link_comes_up_and_carries_messages(void **state)
{
	(void)state;
	static struct world w;
	const char *text;

	begin(&w);
	begin_link(&w);
	assert_int_equal(w.ups, 1);
	assert_int_equal(hub_link_state(w.link), HUB_LINK_UP);
	assert_int_equal(hub_link_error(w.link, &text), 0);
	assert_memory_equal(w.hub_exporter, w.link_exporter, 32);
	assert_int_equal(hub_link_send(w.link, "question", 8), 0);
	run(&w);
	assert_string_equal(w.hub_got, "question");
	assert_string_equal(w.link_got, "answer");
	end(&w);
}

static void a_link_returns_after_its_hub_did(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	begin_link(&w);
	stop_hub(&w);
	run(&w);
	assert_int_equal(w.downs, 1);
	assert_int_equal(w.error, 0);
	hub_link_kick(w.link);
	run(&w);
	assert_int_equal(w.downs, 2);
	assert_int_equal(w.error, -ECONNREFUSED);
	assert_int_equal(hub_link_state(w.link), HUB_LINK_WAITING);
	start_hub(&w);
	while (w.ups < 2)
		run(&w);
	assert_memory_equal(w.hub_exporter, w.link_exporter, 32);
	end(&w);
}

static void a_wrong_pin_is_said_so(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	w.url.pin[0] ^= 1;
	begin_link(&w);
	assert_int_equal(w.error, -EKEYREJECTED);
	assert_non_null(strstr(w.text, "pin"));
	assert_int_equal(w.ups, 0);
	end(&w);
}

static void what_is_no_hub_is_said_so(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	strcpy(w.url.path, "/elsewhere");
	begin_link(&w);
	assert_int_equal(w.error, -EBADMSG);
	assert_non_null(strstr(w.text, "404"));
	end(&w);
}

static void a_link_can_be_destroyed_in_its_callback(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	w.destroy_on_message = true;
	begin_link(&w);
	assert_int_equal(hub_link_send(w.link, "question", 8), 0);
	run(&w);
	assert_null(w.link);
	end(&w);
}

static void a_kick_leaves_a_living_link_up(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	begin_link(&w);
	hub_link_kick(w.link);
	assert_int_equal(hub_link_send(w.link, "question", 8), 0);
	run(&w);
	assert_string_equal(w.link_got, "answer");
	assert_int_equal(w.downs, 0);
	end(&w);
}

static void a_link_that_cannot_work_any_more_is_replaced_at_once(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	assert_int_equal(hub_link_create(&w.link, w.loop, &w.url, &w.rng, &handler, &w), 0);
	assert_int_equal(hub_link_local(w.link).family, ADDR_NONE);
	run(&w);
	struct addr first = hub_link_local(w.link);
	assert_true(addr_is_loopback(&first));
	assert_int_not_equal(first.port, w.url.port);
	hub_link_renew(w.link);
	assert_int_equal(w.downs, 1);
	assert_int_equal(w.error, -ENETDOWN);
	while (w.ups < 2)
		run(&w);
	assert_int_equal(w.downs, 1);
	struct addr second = hub_link_local(w.link);
	assert_int_not_equal(first.port, second.port);
	end(&w);
}

/* --- A proxy in the same loop: one connection at a time, with a canned answer. */

struct office {
	struct world *w;
	struct stream_listener *listener;
	struct proxy proxy;
	const char *answer;
	char asked[256];
	size_t asked_len;
	struct stream *inside, *outside; /* to the node, to the hub */
};

static void proxy_closed(void *arg, int error)
{
	struct office *o = arg;

	(void)error;
	o->inside = NULL;
	stream_finish(o->outside);
	o->outside = NULL;
}

static void far_closed(void *arg, int error)
{
	struct office *o = arg;

	(void)error;
	o->outside = NULL;
	stream_finish(o->inside);
	o->inside = NULL;
}

static void far_up(void *arg)
{
	struct office *o = arg;

	/* In two pieces: an answer need not come whole. */
	assert_int_equal(stream_write(o->inside, o->answer, 5), 0);
	assert_int_equal(stream_write(o->inside, o->answer + 5, strlen(o->answer) - 5), 0);
}

static void from_far(void *arg, const uint8_t *data, size_t len)
{
	struct office *o = arg;

	assert_int_equal(stream_write(o->inside, data, len), 0);
}

static void to_proxy(void *arg, const uint8_t *data, size_t len)
{
	static const struct stream_handler far = { far_up, from_far, far_closed };
	struct office *o = arg;

	if (o->outside) {
		assert_int_equal(stream_write(o->outside, data, len), 0);
		return;
	}
	assert_in_range(o->asked_len + len, 1, sizeof o->asked - 1);
	memcpy(o->asked + o->asked_len, data, len);
	o->asked_len += len;
	if (!strstr(o->asked, "\r\n\r\n"))
		return;
	if (!strncmp(o->answer, "HTTP/1.1 200", 12)) {
		assert_int_equal(
			stream_connect(&o->outside, o->w->loop, "127.0.0.1", o->w->url.port, NULL, &far, o),
			0);
		return;
	}
	assert_int_equal(stream_write(o->inside, o->answer, strlen(o->answer)), 0);
	stream_finish(o->inside);
	o->inside = NULL;
}

static void to_office(void *arg, struct stream *s)
{
	static const struct stream_handler near = { NULL, to_proxy, proxy_closed };
	struct office *o = arg;

	stream_close(o->inside);
	o->inside = s;
	memset(o->asked, 0, sizeof o->asked);
	o->asked_len = 0;
	stream_attach(s, &near, o);
}

static void begin_office(struct office *o, struct world *w, const char *credentials, const char *answer)
{
	struct addr local;

	begin(w);
	*o = (struct office) { .w = w, .answer = answer };
	assert_int_equal(addr_parse(&local, "127.0.0.1", 1), 0);
	local.port = 0;
	assert_int_equal(stream_listen(&o->listener, w->loop, &local, NULL, to_office, o), 0);
	o->proxy.port = stream_listener_addr(o->listener).port;
	strcpy(o->proxy.host, "127.0.0.1");
	strcpy(o->proxy.credentials, credentials);
	assert_int_equal(hub_link_create(&w->link, w->loop, &w->url, &w->rng, &handler, w), 0);
	assert_int_equal(hub_link_use_proxy(w->link, &o->proxy), 0);
}

static void end_office(struct office *o)
{
	hub_link_destroy(o->w->link);
	o->w->link = NULL;
	stream_close(o->inside);
	stream_close(o->outside);
	stream_listener_close(o->listener);
	end(o->w);
}

static void a_link_goes_through_a_proxy_and_tls_stays_with_the_hub(void **state)
{
	(void)state;
	static struct world w;
	struct office o;
	char first_line[64];

	begin_office(&o, &w, "u:p", "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n");
	run(&w);
	assert_int_equal(w.ups, 1);
	assert_memory_equal(w.hub_exporter, w.link_exporter, 32);
	snprintf(first_line, sizeof first_line, "CONNECT 127.0.0.1:%u HTTP/1.1\r\n", w.url.port);
	assert_memory_equal(o.asked, first_line, strlen(first_line));
	assert_non_null(strstr(o.asked, "\r\nProxy-Authorization: Basic dTpw\r\n"));
	assert_int_equal(hub_link_send(w.link, "question", 8), 0);
	run(&w);
	assert_string_equal(w.link_got, "answer");
	end_office(&o);
}

static void what_goes_wrong_at_a_proxy_is_said_so(void **state)
{
	(void)state;
	static const struct {
		const char *credentials, *answer;
		int error;
		const char *says;
	} cases[] = {
		{ "", "HTTP/1.1 407 Auth\r\n\r\n", -EACCES, "wants a user and password" },
		{ "u:p", "HTTP/1.1 407 Auth\r\n\r\n", -EACCES, "does not take this user" },
		{ "u:p", "HTTP/1.1 401 Unauthorized\r\n\r\n", -EACCES, "does not take this user" },
		{ "", "HTTP/1.1 403 No\r\n\r\nbody", -ECONNABORTED, "does not allow connections to" },
		{ "", "HTTP/1.0 502 Bad\r\n\r\n", -ECONNABORTED, "cannot reach 127.0.0.1" },
		{ "", "HTTP/1.1 302 Found\r\n\r\n", -ECONNABORTED, "HTTP status 302" },
		{ "", "SSH-2.0-x\r\n", -ECONNABORTED, "not as an HTTP proxy" },
		{ "", "", -ECONNRESET, "closed the connection" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static struct world w;
		struct office o;
		begin_office(&o, &w, cases[i].credentials, cases[i].answer);
		run(&w);
		if (w.error != cases[i].error || !strstr(w.text, cases[i].says) || w.ups)
			fail_msg("case %zu: %d, %s", i, w.error, w.text);
		if (*cases[i].credentials)
			assert_null(strstr(w.text, cases[i].credentials));
		end_office(&o);
	}
}

static void a_proxy_that_is_not_there_is_said_so(void **state)
{
	(void)state;
	static struct world w;
	struct office o;

	begin_office(&o, &w, "", "");
	stream_listener_close(o.listener);
	o.listener = NULL;
	run(&w);
	assert_int_equal(w.error, -ECONNREFUSED);
	assert_non_null(strstr(w.text, "refused by the proxy"));
	/* Without it again. */
	assert_int_equal(hub_link_use_proxy(w.link, NULL), 0);
	while (w.ups < 1)
		run(&w);
	end_office(&o);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_read),
		cmocka_unit_test(the_longest_url_fits_its_buffer),
		cmocka_unit_test(waits_are_random_and_bounded),
		cmocka_unit_test(a_link_comes_up_and_carries_messages),
		cmocka_unit_test(a_link_returns_after_its_hub_did),
		cmocka_unit_test(a_wrong_pin_is_said_so),
		cmocka_unit_test(what_is_no_hub_is_said_so),
		cmocka_unit_test(a_link_can_be_destroyed_in_its_callback),
		cmocka_unit_test(a_kick_leaves_a_living_link_up),
		cmocka_unit_test(a_link_goes_through_a_proxy_and_tls_stays_with_the_hub),
		cmocka_unit_test(what_goes_wrong_at_a_proxy_is_said_so),
		cmocka_unit_test(a_proxy_that_is_not_there_is_said_so),
		cmocka_unit_test(a_link_that_cannot_work_any_more_is_replaced_at_once),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
