/* What the files of `stream` share, and nobody else includes. */
#ifndef P2PD_CORE_STREAM_IMPL_H
#define P2PD_CORE_STREAM_IMPL_H

#include <uv.h>

#include "core/stream.h"

enum stream_state { STREAM_CONNECTING, STREAM_HANDSHAKE, STREAM_UP, STREAM_ENDED };

/* libuv's handle has its own memory, freed in its close callback. */
struct stream_io {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	};		      /* first: found by a cast of the handle */
	struct stream *owner; /* NULL once it has let go */
	struct stream_listener *listener;
	struct lingering *lingering;
};

struct stream {
	enum stream_state state;
	struct loop *loop;
	struct stream_io *io; /* NULL before the first attempt to connect */
	struct loop_timer *timer;
	struct tls *tls; /* NULL: plain */
	struct stream_handler handler;
	void *arg;
	struct addr remote;
	struct loop_late flush; /* what TLS has to send */
	unsigned busy;		/* callbacks under way: the memory stays until they return */
	struct stream_connecting *connecting;
	int proxy_status;
	/* Accepted, in its handshake: in the listener's list, the oldest first. */
	struct stream_listener *listener;
	struct stream *half_open_next, **half_open_at;
};

struct stream *stream_create(struct loop *l, struct tls_config *tls, const char *host);
struct stream_io *stream_io_create(struct loop *l, bool is_pipe, int family);
/* A TCP connection is there. */
void stream_io_tune(struct stream_io *io);
/* To a device ("": none) and one of our addresses. 0 or a negative errno. */
int stream_io_bind(struct stream_io *io, const char *device, const struct addr *local);
void stream_io_close(struct stream_io *io);
/* The transport is connected: goes on with TLS, else is up. */
void stream_start(struct stream *s);
/* Ends it by itself. */
void stream_fail(struct stream *s, int error);
void stream_connecting_free(struct stream_connecting *c); /* NULL is allowed */
void stream_connecting_timed_out(struct stream *s);
/* What the proxy says, and behind it what came with that. */
void stream_connecting_received(struct stream *s, const uint8_t *data, size_t len);
/* Input arrives in stream_received() from now on. */
int stream_read_start(struct stream *s);
void stream_received(struct stream *s, const uint8_t *data, size_t len);
/* Past TLS and whatever the state. 0 or a negative errno. */
int stream_send_raw(struct stream *s, const uint8_t *data, size_t len);
/* The handshake of an accepted stream is done, or it will never be. */
void stream_listener_up(struct stream *s);
void stream_listener_forget(struct stream *s);

#endif
