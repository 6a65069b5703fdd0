/* Byte streams on the loop: TCP, TLS 1.3 over TCP, and Unix sockets, behind one interface.
 *
 * A stream ends in one of two ways. By itself (the peer closed, an error, a timeout): then on_close tells why, once, and
 * the pointer is dead when on_close returns. Or by stream_close() or stream_finish(): then no callback comes any more and
 * the pointer is dead at once. Both may be called from every callback but on_close. */
#ifndef P2PD_CORE_STREAM_H
#define P2PD_CORE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/loop.h"
#include "core/proxy.h"
#include "core/tls.h"

enum {
	STREAM_QUEUE_MAX = 1 << 20,  /* bytes written and not yet taken by the kernel */
	STREAM_CONNECT_MS = 15000,   /* to connect, all addresses of a name together */
	STREAM_ATTEMPT_MS = 4000,    /* to one address while there are others to try */
	STREAM_HANDSHAKE_MS = 10000, /* TLS */
	STREAM_LINGER_MS = 5000,     /* stream_finish(): until the peer has read the rest */
	STREAM_HALF_OPEN_MAX = 8192, /* connections in their TLS handshake; one makes way */
	STREAM_HALF_OPEN_FAIR = 64,  /* who has more of them is the first to give one up */
	STREAM_HOST_MAX = 253,	     /* RFC 1035 section 2.3.4 */
	/* What the kernel takes of a stream and cannot send yet: the rest waits with us, where its owner sees it. */
	STREAM_NOT_SENT_MAX = 131072,
	/* What is written with TLS leaves at the end of the loop's turn, together, or when there is so much of it. */
	STREAM_TOGETHER = 65536,
	STREAM_BACKLOG = 2048,	/* a queue of about 4 s */
	STREAM_ACCEPTS = 16,	/* connections that a listener takes in one turn of the loop */
	STREAM_DEVICE_MAX = 15, /* IFNAMSIZ - 1 */
};

/* What stream_proxy_status() tells beside the proxy's HTTP status. */
enum { STREAM_PROXY_THROUGH = 0, STREAM_PROXY_SILENT = -1, STREAM_PROXY_NONSENSE = -2 };

struct stream; /* opaque */

struct stream_handler {
	void (*on_up)(
		void *arg); /* stream_connect(): the stream can be written to. NULL for accepted ones, which are up */
	void (*on_data)(void *arg, const uint8_t *data, size_t len);
	/* 0: the peer closed. Else a negative errno; for a connect also: -ENXIO (no such name), -ECONNREFUSED,
	 * -ETIMEDOUT, -ENETUNREACH, -EHOSTUNREACH ..., and of TLS: -EKEYREJECTED (not the pinned key), -ENOKEY (the
	 * certificate is not trusted), -EPROTO. */
	void (*on_close)(void *arg, int error);
	/* All that the kernel did not take at once, it has taken now. May be NULL. */
	void (*on_drained)(void *arg);
};

/* Connects to `host` (a name or a literal address), with TLS as a client if `tls` is set. 0 and the outcome comes by
 * callback, never from within this call; or -EINVAL, -ENOMEM. */
int stream_connect(struct stream **out, struct loop *l, const char *host, uint16_t port,
		   struct tls_config *tls, const struct stream_handler *handler, void *arg);

/* The same through an HTTP proxy (NULL: without), which is told the host's name; TLS is with the host. Errors until the
 * proxy has let us through are about the proxy, see stream_proxy_status(); -ECONNABORTED: it did not. */
int stream_connect_via(struct stream **out, struct loop *l, const struct proxy *proxy, const char *host,
		       uint16_t port, struct tls_config *tls, const struct stream_handler *handler,
		       void *arg);
/* The same to a literal address, without TLS, from our address `local` (its port does not matter) and by the device of that
 * name only; "": by any. That there is no such device or address shows in on_close. */
int stream_connect_by(struct stream **out, struct loop *l, const char *device, const struct addr *local,
		      const struct addr *to, const struct stream_handler *handler, void *arg);
/* For on_close: the proxy is passed or there is none, or it has not answered, or not as a proxy; else the HTTP status of
 * its refusal. */
int stream_proxy_status(const struct stream *s);

/* All or nothing: 0, -ENOBUFS (over STREAM_QUEUE_MAX), -ENOTCONN (not up), or another negative errno; on_close may or may
 * not come after an error: close the stream. */
int stream_write(struct stream *s, const void *data, size_t len);
/* What the kernel did not take; without what leaves at the end of this turn. */
size_t stream_queued(const struct stream *s);
/* Ends the stream with -ETIMEDOUT after `ms` milliseconds, counted anew with each call; 0: never. */
int stream_set_timeout(struct stream *s, uint64_t ms);
/* Drops what is queued. NULL is allowed. */
void stream_close(struct stream *s);
/* Sends what is queued, then closes. NULL is allowed. */
void stream_finish(struct stream *s);
/* A new owner. */
void stream_attach(struct stream *s, const struct stream_handler *handler, void *arg);

/* ADDR_NONE for a Unix socket; the proxy's with one. */
const struct addr *stream_remote(const struct stream *s);
/* Our end of a TCP connection; ADDR_NONE while it is being made. */
struct addr stream_local(const struct stream *s);
/* The user of the process at the other end of a Unix socket; -1 for others. */
int64_t stream_peer_uid(const struct stream *s);
/* See tls_exporter(); NULL without TLS. */
const uint8_t *stream_exporter(const struct stream *s);
/* What TLS said of the failure; for on_close. Empty when it has nothing to say. */
const char *stream_error_text(const struct stream *s);

/* --- The other side. */
struct stream_listener; /* opaque */
/* on_accept: `s` is up (its TLS handshake is done) and the callee's, who attaches to it or closes it. `tls` NULL: plain
 * TCP. 0, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES ... */
int stream_listen(struct stream_listener **out, struct loop *l, const struct addr *local,
		  struct tls_config *tls, void (*on_accept)(void *arg, struct stream *s), void *arg);
/* The same without TLS, only for what comes by the device of that name; "": by any. Also -ENODEV, -EPERM. */
int stream_listen_by(struct stream_listener **out, struct loop *l, const char *device,
		     const struct addr *local, void (*on_accept)(void *arg, struct stream *s), void *arg);
/* A socket file of mode 0600, only for our own user and root. One left by a dead process is replaced; -EADDRINUSE when
 * someone answers there. */
int stream_listen_unix(struct stream_listener **out, struct loop *l, const char *path,
		       void (*on_accept)(void *arg, struct stream *s), void *arg);
/* With the port that the system gave. */
struct addr stream_listener_addr(const struct stream_listener *ln);
/* Connections accepted from now on are made with `tls`; the others go on as they are. Only where stream_listen() was given
 * one. */
void stream_listener_set_tls(struct stream_listener *ln, struct tls_config *tls);
/* Is asked of each connection before anything is done for it, its TLS handshake above all: false closes it. */
void stream_listener_set_gate(struct stream_listener *ln,
			      bool (*may_come)(void *arg, const struct addr *from), void *arg);
struct stream_listener_stats {
	unsigned half_open; /* now */
	uint64_t accepted;  /* handed out by on_accept */
	uint64_t failed;    /* in their handshake, by error or timeout, or as they had to make way */
	uint64_t made_way;
};
struct stream_listener_stats stream_listener_stats(const struct stream_listener *ln);
/* The accepted streams live on, those in their handshake do not; the socket file is removed. NULL is allowed. */
void stream_listener_close(struct stream_listener *ln);

#endif
