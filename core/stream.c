/* A connected stream: reading, writing, its end. stream_connect.c and stream_listen.c make them. */
#include "core/stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/stream_impl.h"

enum {
	READ_CHUNK = 65536,
	PLAIN_CHUNK = 16384 /* a TLS record, RFC 8446 section 5.1 */,
	WRITE_CHUNK = 65536
};

/* Of one callback at a time, so one per thread is enough: 10,000 idle streams keep no buffers. */
static _Thread_local uint8_t cipher_buffer[READ_CHUNK], plain_buffer[PLAIN_CHUNK];

struct write_request {
	uv_write_t uv;
	uint8_t data[];
};

/* What is left of a stream after stream_finish(). */
struct lingering {
	struct loop_orphan orphan;
	struct stream_io *io;
	struct loop_timer *timer;
};

static void flush_late(struct loop_late *late);

static void timed_out(void *arg)
{
	struct stream *s = arg;

	if (s->state == STREAM_CONNECTING)
		stream_connecting_timed_out(s);
	else
		stream_fail(s, -ETIMEDOUT);
}

struct stream *stream_create(struct loop *l, struct tls_config *tls, const char *host)
{
	struct stream *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->loop = l;
	s->flush.run = flush_late;
	s->timer = loop_timer_create(l, timed_out, s);
	if (tls)
		s->tls = tls_create(tls, host);
	if (!s->timer || (tls && !s->tls)) {
		loop_timer_destroy(s->timer);
		free(s);
		return NULL;
	}
	return s;
}

struct stream_io *stream_io_create(struct loop *l, bool is_pipe, int family)
{
	struct stream_io *io = calloc(1, sizeof *io);

	if (!io)
		return NULL;
	int rc = is_pipe ? uv_pipe_init(loop_uv(l), &io->pipe, 0)
			 : uv_tcp_init_ex(loop_uv(l), &io->tcp, (unsigned)family);
	if (rc) {
		free(io);
		return NULL;
	}
	return io;
}

void stream_io_tune(struct stream_io *io)
{
	int fd, most = STREAM_NOT_SENT_MAX;

	uv_tcp_nodelay(&io->tcp, 1);
	if (uv_fileno(&io->handle, &fd) == 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
}

int stream_io_bind(struct stream_io *io, const char *device, const struct addr *local)
{
	struct sockaddr_storage sa;
	int fd, rc = uv_fileno(&io->handle, &fd);

	if (rc)
		return rc;
	if (*device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) != 0)
		return -errno;
	addr_to_sockaddr(local, &sa);
	return uv_tcp_bind(&io->tcp, (struct sockaddr *)&sa, local->family == ADDR_V6 ? UV_TCP_IPV6ONLY : 0);
}

static void free_io(uv_handle_t *handle)
{
	free(handle);
}

void stream_io_close(struct stream_io *io)
{
	if (!io)
		return;
	io->owner = NULL;
	uv_close(&io->handle, free_io);
}

static void enter(struct stream *s)
{
	s->busy++;
}

static void leave(struct stream *s)
{
	if (--s->busy == 0 && s->state == STREAM_ENDED) {
		tls_destroy(s->tls);
		free(s);
	}
}

/* Everything but the memory, which goes with the last leave(). */
static void let_go(struct stream *s)
{
	s->state = STREAM_ENDED;
	loop_late_cancel(&s->flush);
	stream_listener_forget(s);
	stream_connecting_free(s->connecting);
	s->connecting = NULL;
	stream_io_close(s->io);
	s->io = NULL;
	loop_timer_destroy(s->timer);
	s->timer = NULL;
}

void stream_close(struct stream *s)
{
	if (!s || s->state == STREAM_ENDED)
		return;
	enter(s);
	let_go(s);
	leave(s);
}

void stream_fail(struct stream *s, int error)
{
	if (s->state == STREAM_ENDED)
		return;
	enter(s);
	let_go(s);
	if (s->handler.on_close)
		s->handler.on_close(s->arg, error);
	leave(s);
}

static void written(uv_write_t *uv, int status)
{
	struct stream *s = ((struct stream_io *)uv->handle)->owner;

	free(uv);
	if (s && status < 0)
		stream_fail(s, status);
	else if (s && s->state == STREAM_UP && s->handler.on_drained && stream_queued(s) == 0) {
		enter(s);
		s->handler.on_drained(s->arg);
		leave(s);
	}
}

/* What the kernel takes at once needs no memory; the rest is queued. */
int stream_send_raw(struct stream *s, const uint8_t *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
	int n = uv_try_write(&s->io->stream, &buf, 1);

	if (n < 0 && n != UV_EAGAIN)
		return n;
	size_t done = n > 0 ? (size_t)n : 0;
	if (done == len)
		return 0;
	struct write_request *w = malloc(sizeof *w + len - done);
	if (!w)
		return -ENOMEM;
	memcpy(w->data, data + done, len - done);
	buf = uv_buf_init((char *)w->data, (unsigned)(len - done));
	int rc = uv_write(&w->uv, &s->io->stream, &buf, 1, written);
	if (rc)
		free(w);
	return rc;
}

static int flush(struct stream *s)
{
	const uint8_t *data;
	size_t len = tls_output(s->tls, &data);

	if (len == 0)
		return 0;
	if (stream_queued(s) + len > STREAM_QUEUE_MAX + TLS_OUTPUT_MAX)
		return -ENOBUFS;
	int rc = stream_send_raw(s, data, len);
	tls_output_taken(s->tls);
	return rc;
}

static void flush_late(struct loop_late *late)
{
	struct stream *s = (struct stream *)(void *)((uint8_t *)late - offsetof(struct stream, flush));
	int rc = flush(s);

	if (rc)
		stream_fail(s, rc);
}

/* A system call for several records: each would wake the other end. */
static int flush_soon(struct stream *s)
{
	const uint8_t *data;
	size_t len = tls_output(s->tls, &data);

	if (len >= STREAM_TOGETHER)
		return flush(s);
	if (len)
		loop_late(s->loop, &s->flush);
	return 0;
}

size_t stream_queued(const struct stream *s)
{
	return s->io ? uv_stream_get_write_queue_size(&s->io->stream) : 0;
}

int stream_write(struct stream *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	int rc = 0;

	if (s->state != STREAM_UP)
		return -ENOTCONN;
	if (len > STREAM_QUEUE_MAX || stream_queued(s) + len > STREAM_QUEUE_MAX)
		return -ENOBUFS;
	if (!s->tls)
		return len ? stream_send_raw(s, p, len) : 0;
	for (size_t at = 0; at < len && rc == 0; at += WRITE_CHUNK) {
		rc = tls_write(s->tls, p + at, len - at < WRITE_CHUNK ? len - at : WRITE_CHUNK);
		if (rc == 0)
			rc = flush_soon(s);
	}
	return rc;
}

static void became_up(struct stream *s)
{
	s->state = STREAM_UP;
	loop_timer_set(s->timer, UINT64_MAX);
	if (s->listener)
		stream_listener_up(s);
	else if (s->handler.on_up)
		s->handler.on_up(s->arg);
}

static void go_on_with_handshake(struct stream *s)
{
	int rc = tls_handshake(s->tls);
	int flushed = flush(s); /* after a failure, too: an alert tells the peer why */

	if (rc == 0 && flushed == 0)
		became_up(s);
	else if (rc != -EAGAIN || flushed)
		stream_fail(s, flushed ? flushed : rc);
}

static void deliver_plaintext(struct stream *s)
{
	while (s->state == STREAM_UP) {
		ssize_t n = tls_read(s->tls, plain_buffer, sizeof plain_buffer);
		int rc = flush_soon(s);
		if (n > 0 && rc == 0)
			s->handler.on_data(s->arg, plain_buffer, (size_t)n);
		else if (n != -EAGAIN || rc)
			stream_fail(s, rc ? rc : (int)n);
		else
			return;
	}
}

void stream_received(struct stream *s, const uint8_t *data, size_t len)
{
	if (s->state == STREAM_CONNECTING) {
		stream_connecting_received(s, data, len);
		return;
	}
	if (!s->tls) {
		s->handler.on_data(s->arg, data, len);
		return;
	}
	tls_input(s->tls, data, len);
	if (s->state == STREAM_HANDSHAKE)
		go_on_with_handshake(s);
	deliver_plaintext(s);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init((char *)cipher_buffer, sizeof cipher_buffer);
}

static void on_read(uv_stream_t *io, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = ((struct stream_io *)io)->owner;

	if (!s || n == 0)
		return;
	enter(s);
	if (n > 0)
		stream_received(s, (const uint8_t *)buf->base, (size_t)n);
	else if (n == UV_EOF)
		stream_fail(s, s->state == STREAM_UP ? 0 : -ECONNRESET);
	else
		stream_fail(s, (int)n);
	leave(s);
}

/* Called anew after a proxy has let us through. */
int stream_read_start(struct stream *s)
{
	int rc = uv_read_start(&s->io->stream, give_buffer, on_read);

	return rc == UV_EALREADY ? 0 : rc;
}

void stream_start(struct stream *s)
{
	enter(s);
	int rc = stream_read_start(s);
	if (rc) {
		stream_fail(s, rc);
	} else if (s->tls) {
		s->state = STREAM_HANDSHAKE;
		loop_timer_set(s->timer, loop_now_ms() + STREAM_HANDSHAKE_MS);
		go_on_with_handshake(s);
	} else {
		became_up(s);
	}
	leave(s);
}

int stream_set_timeout(struct stream *s, uint64_t ms)
{
	if (s->state != STREAM_UP)
		return -ENOTCONN;
	loop_timer_set(s->timer, ms ? loop_now_ms() + ms : UINT64_MAX);
	return 0;
}

void stream_attach(struct stream *s, const struct stream_handler *handler, void *arg)
{
	s->handler = *handler;
	s->arg = arg;
}

const struct addr *stream_remote(const struct stream *s)
{
	return &s->remote;
}

struct addr stream_local(const struct stream *s)
{
	struct sockaddr_storage sa;
	int len = sizeof sa;

	if (s->state == STREAM_CONNECTING || !s->io || s->io->handle.type != UV_TCP ||
	    uv_tcp_getsockname(&s->io->tcp, (struct sockaddr *)&sa, &len))
		return (struct addr) { 0 };
	return addr_from_sockaddr((struct sockaddr *)&sa);
}

int64_t stream_peer_uid(const struct stream *s)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	int fd;

	if (!s->io || s->io->handle.type != UV_NAMED_PIPE || uv_fileno(&s->io->handle, &fd) ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return -1;
	return peer.uid;
}

const uint8_t *stream_exporter(const struct stream *s)
{
	return s->tls ? tls_exporter(s->tls) : NULL;
}

int stream_proxy_status(const struct stream *s)
{
	return s->proxy_status;
}

const char *stream_error_text(const struct stream *s)
{
	return s->tls ? tls_error_text(s->tls) : "";
}

/* --- Lingering: a close with unread input would reset the connection, and the peer might lose what we said last. So the
 * rest is sent, our side shut down, and the peer's read into nothing until it closes, too. */

static void lingering_end(struct loop_orphan *o)
{
	struct lingering *g = (struct lingering *)o;

	loop_orphan_remove(&g->orphan);
	stream_io_close(g->io);
	loop_timer_destroy(g->timer);
	free(g);
}

static void lingering_timed_out(void *arg)
{
	lingering_end(arg);
}

static void lingering_read(uv_stream_t *io, ssize_t n, const uv_buf_t *buf)
{
	struct lingering *g = ((struct stream_io *)io)->lingering;

	(void)buf;
	if (n < 0)
		lingering_end(&g->orphan);
}

static void ignore_shutdown(uv_shutdown_t *request, int status)
{
	(void)status;
	free(request);
}

static bool linger(struct stream *s)
{
	struct lingering *g = calloc(1, sizeof *g);
	uv_shutdown_t *shutdown = calloc(1, sizeof *shutdown);

	if (!g || !shutdown)
		goto fail;
	g->timer = loop_timer_create(s->loop, lingering_timed_out, g);
	if (!g->timer || uv_shutdown(shutdown, &s->io->stream, ignore_shutdown) != 0)
		goto fail;
	g->io = s->io;
	g->io->owner = NULL;
	g->io->lingering = g;
	uv_read_stop(&g->io->stream);
	uv_read_start(&g->io->stream, give_buffer, lingering_read);
	g->orphan.drop = lingering_end;
	loop_orphan_add(s->loop, &g->orphan);
	loop_timer_set(g->timer, loop_now_ms() + STREAM_LINGER_MS);
	s->io = NULL;
	return true;
fail:
	if (g)
		loop_timer_destroy(g->timer);
	free(g);
	free(shutdown);
	return false;
}

void stream_finish(struct stream *s)
{
	if (!s || s->state == STREAM_ENDED)
		return;
	enter(s);
	if (s->state == STREAM_UP && s->tls) {
		tls_shutdown(s->tls);
		flush(s);
	}
	if (s->state == STREAM_UP)
		linger(s);
	let_go(s);
	leave(s);
}
