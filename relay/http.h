/* A small HTTP/1.1 server over streams (TLS for the hub, a Unix socket for the daemon's local API): a table of routes,
 * JSON answers, answers that grow line by line, and a way out for WebSocket. One request of a connection at a time; what
 * the client sends ahead waits, bounded. */
#ifndef P2PD_RELAY_HTTP_H
#define P2PD_RELAY_HTTP_H

#include "core/stream.h"
#include "relay/http_parse.h"

enum {
	HTTP_REQUEST_MS = 10000,     /* from the first byte of a request to its last */
	HTTP_IDLE_MS = 60000,	     /* between requests */
	HTTP_CONNECTIONS_MAX = 4096, /* when there are more, who has waited longest makes way, else 503 */
	HTTP_PER_SOURCE_MAX = 256,   /* the same for those of one source (core/sources.h) */
	HTTP_PIPELINE_MAX = 65536,   /* sent ahead of an answer */
	HTTP_STREAM_QUEUE_MAX =
		262144,	       /* of an answer: who is further behind gets no more of it, nor another one */
	HTTP_CODE_FIRST = 100, /* status codes: RFC 9110 section 15 */
	HTTP_CODES = 500,
};

struct json_t;
struct http_server;   /* opaque */
struct http_exchange; /* opaque: a request and its answer to come */

struct http_route {
	const char *method; /* "*": any */
	const char *path;   /* "/status", or "/peers/" and "*": anything behind it, see http_path_rest() */
	/* Answers now or later: exactly one of http_answer*(), http_stream_begin() .. http_stream_end(), http_upgrade().
	 * Who answers later asks for http_on_gone(). */
	void (*handle)(void *arg, struct http_exchange *x);
};

/* The routes must stay; `arg` is the handlers'. NULL without memory. */
struct http_server *http_server_create(struct loop *l, const struct http_route *routes, size_t count,
				       void *arg);
struct http_stats {
	uint64_t accepted, busy;      /* connections; turned away since there were too many */
	uint32_t connections;	      /* now; upgraded ones are not counted */
	uint64_t answers[HTTP_CODES]; /* by status - HTTP_CODE_FIRST */
	uint64_t malformed;	      /* requests, or over a limit */
	uint64_t timed_out;	      /* connections, between requests or in one */
	uint64_t made_way; /* while they waited for a request, as another connection needed the place */
	uint64_t unread;   /* let go as they did not read their answers */
};
const struct http_stats *http_server_stats(const struct http_server *server);
/* Ends all connections (upgraded ones are no longer its own). NULL is allowed. */
void http_server_destroy(struct http_server *server);
/* A new connection, `arg` a struct http_server: the on_accept of stream_listen(). */
void http_server_accept(void *arg, struct stream *s);

/* Another limit than HTTP_PER_SOURCE_MAX; 0: none, where all come by one proxy, which sees to that itself. */
void http_server_set_per_source(struct http_server *server, unsigned max);

/* Larger requests than HTTP_BODY_MAX, or only smaller ones; for connections from then on. */
void http_server_set_body_max(struct http_server *server, size_t max);

/* --- For handlers. After an answer the exchange is dead. */
const struct http_message *http_request(const struct http_exchange *x);
/* What stood for the route's "*", else "". */
const char *http_path_rest(const struct http_exchange *x);
/* Who asks, which may be a reverse proxy, and which of our addresses was asked; ADDR_NONE for a Unix socket. */
struct addr http_remote(const struct http_exchange *x);
struct addr http_local(const struct http_exchange *x);
/* The user of the process that asks by a Unix socket; -1 for TCP. */
int64_t http_peer_uid(const struct http_exchange *x);
/* The words for a status, "Not Found". */
const char *http_reason(int status);
/* Called if the client goes away before the answer is complete; the exchange is dead then. */
void http_on_gone(struct http_exchange *x, void (*gone)(void *arg), void *arg);

void http_answer(struct http_exchange *x, int status, const char *type, const void *body, size_t len);
/* With further headers, each "Name: value\r\n". */
void http_answer_with(struct http_exchange *x, int status, const char *type, const char *headers,
		      const void *body, size_t len);
/* Takes the reference to `body` over. */
void http_answer_json(struct http_exchange *x, int status, struct json_t *body);
/* A problem object (RFC 9457) with {"error": {"code": CODE, "message": ...}} in it. */
__attribute__((format(printf, 4, 5))) void http_answer_error(struct http_exchange *x, int status,
							     const char *code, const char *fmt, ...);

/* A chunked answer (RFC 9112 section 7.1), after which the connection ends. 0, or a negative errno: the client is gone or
 * does not read; on_gone was or will be called. */
int http_stream_begin(struct http_exchange *x, const char *type);
int http_stream_write(struct http_exchange *x, const void *data, size_t len);
void http_stream_end(struct http_exchange *x);

/* Answers 101 with these further headers (each "Name: value\r\n") and hands the stream over: attach to it before
 * returning. `*rest` are bytes that came behind the request; they stay until the handler returns. NULL on failure: the
 * exchange is dead either way. */
struct stream *http_upgrade(struct http_exchange *x, const char *headers, const uint8_t **rest,
			    size_t *rest_len);

#endif
