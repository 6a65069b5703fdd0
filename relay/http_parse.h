/* HTTP/1.1 messages out of bytes, as they come, with limits (RFC 9112). No sockets; hides which parser library there is. */
#ifndef P2PD_RELAY_HTTP_PARSE_H
#define P2PD_RELAY_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HTTP_HEAD_MAX = 16384, /* first line and headers together */
	HTTP_HEADERS_MAX = 64,
	HTTP_BODY_MAX = 65536, /* of a request */
};
enum http_kind { HTTP_IS_REQUEST, HTTP_IS_RESPONSE };

struct http_header {
	const char *name, *value;
};

struct http_message {
	const char *method; /* of a request */
	const char *path;   /* of a request: "/..." without the query */
	const char *query;  /* after the "?", "" without one */
	int status;	    /* of a response */
	bool keep_alive, upgrade;
	struct http_header header[HTTP_HEADERS_MAX];
	size_t header_count;
	const char *body; /* terminated by a NUL that is not counted */
	size_t body_len;
};

struct http_parse; /* opaque */

/* A body over `body_max` is refused. With `on_body` the body is handed out piece by piece instead, without limit. NULL
 * without memory. */
struct http_parse *http_parse_create(enum http_kind kind, size_t body_max,
				     void (*on_body)(void *arg, const char *data, size_t len), void *arg);
void http_parse_destroy(struct http_parse *p); /* NULL is allowed */
/* Reads up to the end of one message, `*used` says how far. `len` 0: the connection ended. 0: more is needed; 1: the
 * message is complete; else the HTTP status to refuse it with (400, 413, 431, 500), and the parser is of no more use. */
int http_parse_feed(struct http_parse *p, const void *data, size_t len, size_t *used);
/* A message has begun and is not complete. */
bool http_parse_in_message(const struct http_parse *p);
/* Once complete, until http_parse_next(). With `on_body` its head is already there for the callback. */
const struct http_message *http_parse_message(const struct http_parse *p);
/* On to the next message of the connection. */
void http_parse_next(struct http_parse *p);
/* The value of a header, its name in any case; NULL if it is not there. */
const char *http_header(const struct http_message *m, const char *name);
/* True if the comma-separated header has this token, in any case. */
bool http_header_has(const struct http_message *m, const char *name, const char *token);

#endif
