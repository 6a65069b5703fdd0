#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/stream.h"

enum { GUARD_MS = 30000, LARGE = 8 << 20 };

/* One side of a connection; what comes is counted, and echoed if asked for. */
struct side {
	struct loop *loop;
	struct stream *stream;
	bool up, closed, echo, stop_on_up, close_on_data, finish_on_data;
	int error;
	char error_text[128];
	size_t got, awaited;
	uint32_t sum;
	uint8_t head[16];
	uint8_t exporter[TLS_EXPORTER];
};

struct world {
	struct loop *loop;
	struct tls_key key;
	uint8_t pin[TLS_PIN];
	struct tls_config *server_tls, *client_tls;
	struct stream_listener *listener;
	struct addr addr;
	struct side server, client;
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

static void keep_exporter(struct side *s)
{
	if (stream_exporter(s->stream))
		memcpy(s->exporter, stream_exporter(s->stream), TLS_EXPORTER);
}

static void on_up(void *arg)
{
	struct side *s = arg;

	s->up = true;
	keep_exporter(s);
	if (s->stop_on_up)
		loop_stop(s->loop);
}

static uint32_t sum_of(uint32_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + data[i];
	return sum;
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	struct side *s = arg;

	for (size_t i = 0; i < len && s->got + i < sizeof s->head; i++)
		s->head[s->got + i] = data[i];
	s->got += len;
	s->sum = sum_of(s->sum, data, len);
	if (s->echo)
		assert_int_equal(stream_write(s->stream, data, len), 0);
	if (s->got >= s->awaited)
		loop_stop(s->loop);
	if (s->close_on_data)
		stream_close(s->stream);
	if (s->finish_on_data)
		stream_finish(s->stream);
	if (s->close_on_data || s->finish_on_data)
		s->stream = NULL;
}

static void on_close(void *arg, int error)
{
	struct side *s = arg;

	assert_false(s->closed);
	s->closed = true;
	s->error = error;
	snprintf(s->error_text, sizeof s->error_text, "%s", stream_error_text(s->stream));
	s->stream = NULL;
	loop_stop(s->loop);
}

static const struct stream_handler handler = { on_up, on_data, on_close };

static void on_accept(void *arg, struct stream *s)
{
	struct world *w = arg;

	assert_null(w->server.stream);
	w->server.stream = s;
	stream_attach(s, &handler, &w->server);
	on_up(&w->server);
}

static void begin(struct world *w, bool tls)
{
	memset(w, 0, sizeof *w);
	w->loop = w->server.loop = w->client.loop = loop_create();
	w->server.awaited = w->client.awaited = SIZE_MAX;
	assert_int_equal(addr_parse(&w->addr, "127.0.0.1", 1), 0);
	w->addr.port = 0;
	if (tls) {
		assert_int_equal(tls_key_make(&w->key), 0);
		assert_int_equal(tls_pin_of_cert(w->pin, w->key.cert, w->key.cert_len), 0);
		assert_int_equal(tls_server_config(&w->server_tls, &w->key), 0);
		assert_int_equal(tls_client_config(&w->client_tls, w->pin), 0);
	}
	assert_int_equal(stream_listen(&w->listener, w->loop, &w->addr, w->server_tls, on_accept, w), 0);
	w->addr = stream_listener_addr(w->listener);
}

static void end(struct world *w)
{
	stream_close(w->server.stream);
	stream_close(w->client.stream);
	stream_listener_close(w->listener);
	loop_destroy(w->loop);
	tls_config_destroy(w->server_tls);
	tls_config_destroy(w->client_tls);
}

static void connect_client(struct world *w, const char *host)
{
	assert_int_equal(stream_connect(&w->client.stream, w->loop, host, w->addr.port, w->client_tls,
					&handler, &w->client),
			 0);
	assert_false(w->client.up || w->client.closed);
}

/* Up on both sides. */
static void join(struct world *w)
{
	w->client.stop_on_up = w->server.stop_on_up = true;
	connect_client(w, "127.0.0.1");
	while (!w->client.up || !w->server.up) {
		run(w);
		assert_false(w->client.closed || w->server.closed);
	}
}

static void bytes_come_back_over_tcp_and_tls(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct world w;
		begin(&w, tls);
		join(&w);
		w.server.echo = true;
		w.client.awaited = 5;
		assert_int_equal(stream_write(w.client.stream, "hello", 5), 0);
		run(&w);
		assert_memory_equal(w.client.head, "hello", 5);
		assert_true(addr_equal(stream_remote(w.client.stream), &w.addr));
		end(&w);
	}
}

static void the_exporter_is_equal_at_both_ends_and_new_each_time(void **state)
{
	(void)state;
	uint8_t before[TLS_EXPORTER] = { 0 };

	for (int i = 0; i < 2; i++) {
		struct world w;
		begin(&w, true);
		join(&w);
		assert_memory_equal(w.client.exporter, w.server.exporter, TLS_EXPORTER);
		assert_memory_not_equal(w.client.exporter, before, TLS_EXPORTER);
		memcpy(before, w.client.exporter, TLS_EXPORTER);
		end(&w);
	}
}

static void a_wrong_pin_is_told_apart(void **state)
{
	(void)state;
	struct world w;
	uint8_t wrong[TLS_PIN];

	begin(&w, true);
	memcpy(wrong, w.pin, sizeof wrong);
	wrong[31] ^= 1;
	tls_config_destroy(w.client_tls);
	assert_int_equal(tls_client_config(&w.client_tls, wrong), 0);
	connect_client(&w, "127.0.0.1");
	run(&w);
	assert_true(w.client.closed);
	assert_int_equal(w.client.error, -EKEYREJECTED);
	assert_false(w.client.up);
	assert_false(w.server.up);
	end(&w);
}

static void without_a_pin_a_self_signed_server_is_not_trusted(void **state)
{
	(void)state;
	struct world w;

	if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0)
		skip();
	begin(&w, true);
	tls_config_destroy(w.client_tls);
	assert_int_equal(tls_client_config(&w.client_tls, NULL), 0);
	connect_client(&w, "localhost");
	run(&w);
	assert_true(w.client.closed);
	assert_int_equal(w.client.error, -ENOKEY);
	end(&w);
}

static void write_large(struct world *w, uint32_t *sum)
{
	static uint8_t block[65536];

	for (size_t sent = 0; sent < LARGE; sent += sizeof block) {
		for (size_t i = 0; i < sizeof block; i++)
			block[i] = (uint8_t)(sent / 977 + i * 7);
		while (stream_queued(w->client.stream) > STREAM_QUEUE_MAX / 2) {
			w->server.awaited = w->server.got + 1;
			run(w);
		}
		assert_int_equal(stream_write(w->client.stream, block, sizeof block), 0);
		*sum = sum_of(*sum, block, sizeof block);
	}
}

static void a_large_transfer_arrives_whole(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct world w;
		uint32_t sum = 0;
		begin(&w, tls);
		join(&w);
		write_large(&w, &sum);
		w.server.awaited = LARGE;
		while (w.server.got < LARGE)
			run(&w);
		assert_int_equal(w.server.got, LARGE);
		assert_int_equal(w.server.sum, sum);
		end(&w);
	}
}

static int raw_client(const struct world *w)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&w->addr, &sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static void a_slow_readers_queue_is_bounded(void **state)
{
	(void)state;
	static uint8_t block[65536];
	struct world w;
	int rc = 0;

	begin(&w, false);
	int fd = raw_client(&w);
	w.server.stop_on_up = true;
	run(&w);
	for (int i = 0; i < 4096 && rc == 0; i++)
		rc = stream_write(w.server.stream, block, sizeof block);
	assert_int_equal(rc, -ENOBUFS);
	assert_true(stream_queued(w.server.stream) <= STREAM_QUEUE_MAX);
	close(fd);
	end(&w);
}

static void garbage_instead_of_tls_ends_that_connection_only(void **state)
{
	(void)state;
	static const char *const garbage[] = { "GET / HTTP/1.1\r\n\r\n",
					       "\x16\x03\x01\xff\xff"
					       "aaaaaaaaaaaaaaaaaaaa",
					       "\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff" };
	for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
		struct world w;
		char answer[64];
		begin(&w, true);
		int fd = raw_client(&w);
		assert_true(send(fd, garbage[i], i ? i == 1 ? 25 : 10 : strlen(garbage[i]), 0) > 0);
		shutdown(fd, SHUT_WR);
		join(&w); /* the hub goes on */
		assert_true(w.server.up);
		while (recv(fd, answer, sizeof answer, 0) > 0)
			;
		close(fd);
		end(&w);
	}
}

static void half_open_connections_do_not_hinder_others(void **state)
{
	(void)state;
	struct world w;
	int fd[50];

	begin(&w, true);
	for (size_t i = 0; i < sizeof fd / sizeof *fd; i++)
		fd[i] = raw_client(&w);
	join(&w);
	assert_true(w.client.up);
	for (size_t i = 0; i < sizeof fd / sizeof *fd; i++)
		close(fd[i]);
	end(&w);
}

/* Else an alert would tell that this is no TLS. */
static void who_gave_up_while_it_waited_is_not_served(void **state)
{
	(void)state;
	struct world w;
	char answer[64];

	begin(&w, true);
	int fd = raw_client(&w);
	assert_int_equal(send(fd, "no TLS", 6, 0), 6);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	join(&w);
	assert_true(w.client.up);
	assert_in_range(recv(fd, answer, sizeof answer, 0) + 1, 0, 1); /* the end, or a reset */
	close(fd);
	end(&w);
}

static void nobody_listening_is_refused(void **state)
{
	(void)state;
	struct world w;

	begin(&w, false);
	stream_listener_close(w.listener);
	w.listener = NULL;
	connect_client(&w, "127.0.0.1");
	run(&w);
	assert_int_equal(w.client.error, -ECONNREFUSED);
	end(&w);
}

static void an_unknown_name_is_told_apart(void **state)
{
	(void)state;
	struct world w;

	begin(&w, false);
	connect_client(&w, "no-such-host.invalid");
	run(&w);
	assert_int_equal(w.client.error, -ENXIO);
	end(&w);
}

static void a_name_is_looked_up(void **state)
{
	(void)state;
	struct world w;

	begin(&w, false);
	w.client.stop_on_up = true;
	connect_client(&w, "localhost");
	run(&w);
	assert_true(w.client.up);
	end(&w);
}

static void a_stream_can_be_closed_while_its_name_is_looked_up(void **state)
{
	(void)state;
	struct world w;

	begin(&w, false);
	connect_client(&w, "localhost");
	stream_close(w.client.stream);
	w.client.stream = NULL;
	stream_listener_close(w.listener);
	w.listener = NULL;
	loop_run(w.loop); /* until the look-up's thread is done */
	end(&w);
}

static void the_peers_close_is_an_end_without_error(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct world w;
		begin(&w, tls);
		join(&w);
		stream_close(w.client.stream);
		w.client.stream = NULL;
		run(&w);
		assert_true(w.server.closed);
		assert_int_equal(w.server.error, 0);
		end(&w);
	}
}

static void closing_in_the_data_callback_is_safe(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct world w;
		begin(&w, tls);
		join(&w);
		w.server.close_on_data = true;
		for (int i = 0; i < 3; i++)
			assert_int_equal(stream_write(w.client.stream, "bye", 3), 0);
		while (!w.client.closed)
			run(&w);
		assert_int_equal(w.server.got, tls ? 3 : w.server.got);
		end(&w);
	}
}

static void what_was_written_before_a_finish_arrives(void **state)
{
	(void)state;
	static uint8_t block[STREAM_QUEUE_MAX - 65536];

	for (int tls = 0; tls < 2; tls++) {
		struct world w;
		begin(&w, tls);
		join(&w);
		/* Unread input of ours must not make the system reset the connection. */
		assert_int_equal(stream_write(w.client.stream, "unread", 6), 0);
		assert_int_equal(stream_write(w.server.stream, block, sizeof block), 0);
		stream_finish(w.server.stream);
		w.server.stream = NULL;
		while (!w.client.closed)
			run(&w);
		assert_int_equal(w.client.error, 0);
		assert_int_equal(w.client.got, sizeof block);
		end(&w);
	}
}

static void a_loop_ends_with_a_finish_still_under_way(void **state)
{
	(void)state;
	static uint8_t block[STREAM_QUEUE_MAX - 65536];
	struct world w;

	begin(&w, false);
	int fd = raw_client(&w);
	w.server.stop_on_up = true;
	run(&w);
	while (stream_write(w.server.stream, block, 65536) == 0)
		;
	stream_finish(w.server.stream);
	w.server.stream = NULL;
	end(&w);
	close(fd);
}

static void a_timeout_ends_a_silent_stream(void **state)
{
	(void)state;
	struct world w;

	begin(&w, false);
	join(&w);
	assert_int_equal(stream_set_timeout(w.server.stream, 1), 0);
	run(&w);
	assert_true(w.server.closed);
	assert_int_equal(w.server.error, -ETIMEDOUT);
	end(&w);
}

static void a_port_in_use_is_named_so(void **state)
{
	(void)state;
	struct world w;
	struct stream_listener *second;

	begin(&w, false);
	assert_int_equal(stream_listen(&second, w.loop, &w.addr, NULL, on_accept, &w), -EADDRINUSE);
	assert_null(second);
	end(&w);
}

static void a_unix_socket_is_private_and_replaces_a_stale_one(void **state)
{
	(void)state;
	char dir[] = "/tmp/p2pd-test-XXXXXX", path[64];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stream_listener *first, *second;
	struct stat st;
	struct world w;

	begin(&w, false);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/sock", dir);
	strcpy(sa.sun_path, path);
	int stale = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(stale, (struct sockaddr *)&sa, sizeof sa), 0);
	close(stale);
	assert_int_equal(stream_listen_unix(&first, w.loop, path, on_accept, &w), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(send(fd, "hi", 2, 0), 2);
	w.server.awaited = 2;
	run(&w);
	assert_int_equal(w.server.got, 2);
	assert_int_equal(stream_listen_unix(&second, w.loop, path, on_accept, &w), -EADDRINUSE);
	stream_listener_close(first);
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
	rmdir(dir);
	end(&w);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_back_over_tcp_and_tls),
		cmocka_unit_test(the_exporter_is_equal_at_both_ends_and_new_each_time),
		cmocka_unit_test(a_wrong_pin_is_told_apart),
		cmocka_unit_test(without_a_pin_a_self_signed_server_is_not_trusted),
		cmocka_unit_test(a_large_transfer_arrives_whole),
		cmocka_unit_test(a_slow_readers_queue_is_bounded),
		cmocka_unit_test(garbage_instead_of_tls_ends_that_connection_only),
		cmocka_unit_test(half_open_connections_do_not_hinder_others),
		cmocka_unit_test(who_gave_up_while_it_waited_is_not_served),
		cmocka_unit_test(nobody_listening_is_refused),
		cmocka_unit_test(an_unknown_name_is_told_apart),
		cmocka_unit_test(a_name_is_looked_up),
		cmocka_unit_test(a_stream_can_be_closed_while_its_name_is_looked_up),
		cmocka_unit_test(the_peers_close_is_an_end_without_error),
		cmocka_unit_test(closing_in_the_data_callback_is_safe),
		cmocka_unit_test(what_was_written_before_a_finish_arrives),
		cmocka_unit_test(a_loop_ends_with_a_finish_still_under_way),
		cmocka_unit_test(a_timeout_ends_a_silent_stream),
		cmocka_unit_test(a_port_in_use_is_named_so),
		cmocka_unit_test(a_unix_socket_is_private_and_replaces_a_stale_one),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
