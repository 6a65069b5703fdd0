#include "relay/http.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sources.h"

/* READING a request, HANDLING it until the answer, STREAMING an answer that grows, DEAD. */
enum exchange_state { READING, HANDLING, STREAMING, DEAD };

struct http_exchange {
	struct http_server *server;
	struct http_exchange *next, **at;
	struct http_exchange *waiting_next,
		**waiting_at; /* while READING; waiting_at NULL: not in the list */
	struct addr source;
	enum exchange_state state;
	struct stream *stream;
	struct http_parse *parse;
	const char *path_rest;
	bool closing;  /* after this answer */
	unsigned busy; /* calls under way: the memory stays until they return */
	/* Bytes behind the request: in the caller's buffer while it is read, then in our own. */
	const uint8_t *rest;
	size_t rest_len;
	uint8_t *ahead;
	size_t ahead_len;
	void (*gone)(void *arg);
	void *gone_arg;
};

struct http_server {
	struct loop *loop;
	const struct http_route *routes;
	size_t route_count;
	void *arg;
	struct http_exchange *all;
	/* Those that are READING, who began first at the head: a request that comes slowly is no better than none. */
	struct http_exchange *waiting, **waiting_tail;
	struct sources sources;
	unsigned per_source;
	size_t body_max;
	struct http_stats stats;
};

struct piece {
	const void *data;
	size_t len;
};

static void process(struct http_exchange *x, const uint8_t *data, size_t len);

struct http_server *http_server_create(struct loop *l, const struct http_route *routes, size_t count,
				       void *arg)
{
	struct http_server *server = calloc(1, sizeof *server);

	struct rng rng;

	if (!server)
		return NULL;
	*server = (struct http_server) { .loop = l,
					 .routes = routes,
					 .route_count = count,
					 .arg = arg,
					 .waiting_tail = &server->waiting,
					 .per_source = HTTP_PER_SOURCE_MAX,
					 .body_max = HTTP_BODY_MAX };
	rng_init_system(&rng);
	sources_init(&server->sources, &rng);
	return server;
}

const struct http_stats *http_server_stats(const struct http_server *server)
{
	return &server->stats;
}

void http_server_set_per_source(struct http_server *server, unsigned max)
{
	server->per_source = max;
}

void http_server_set_body_max(struct http_server *server, size_t max)
{
	server->body_max = max;
}

static void wait_for_request(struct http_exchange *x)
{
	struct http_server *server = x->server;

	x->state = READING;
	x->waiting_next = NULL;
	x->waiting_at = server->waiting_tail;
	*server->waiting_tail = x;
	server->waiting_tail = &x->waiting_next;
}

static void wait_no_more(struct http_exchange *x)
{
	if (!x->waiting_at)
		return;
	*x->waiting_at = x->waiting_next;
	if (x->waiting_next)
		x->waiting_next->waiting_at = x->waiting_at;
	else
		x->server->waiting_tail = x->waiting_at;
	x->waiting_at = NULL;
}

static void enter(struct http_exchange *x)
{
	x->busy++;
}

static void leave(struct http_exchange *x)
{
	if (--x->busy || x->state != DEAD)
		return;
	http_parse_destroy(x->parse);
	free(x->ahead);
	free(x);
}

/* Off the server's list; the memory goes with the last leave(). The stream is someone else's from here on. */
static void bury(struct http_exchange *x)
{
	x->state = DEAD;
	x->stream = NULL;
	*x->at = x->next;
	if (x->next)
		x->next->at = x->at;
	wait_no_more(x);
	sources_remove(&x->server->sources, &x->source);
	x->server->stats.connections--;
}

static void end_exchange(struct http_exchange *x, bool finish)
{
	if (x->state == DEAD)
		return;
	if (finish)
		stream_finish(x->stream);
	else
		stream_close(x->stream);
	bury(x);
}

static void tell_gone(struct http_exchange *x)
{
	void (*gone)(void *arg) = x->gone;

	x->gone = NULL;
	if (gone)
		gone(x->gone_arg);
}

void http_server_destroy(struct http_server *server)
{
	if (!server)
		return;
	while (server->all) {
		struct http_exchange *x = server->all;
		enter(x);
		end_exchange(x, false);
		tell_gone(x);
		leave(x);
	}
	sources_free(&server->sources);
	free(server);
}

/* --- Answers. */

/* In one piece: one record, one packet if it fits, and a reader never sees half of it. */
static int write_pieces(struct stream *s, const struct piece *pieces, size_t count)
{
	size_t len = 0, at = 0;

	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	char *all = malloc(len);
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < count; at += pieces[i++].len)
		if (pieces[i].len)
			memcpy(all + at, pieces[i].data, pieces[i].len);
	int rc = stream_write(s, all, len);
	free(all);
	return rc;
}

static void count_answer(struct http_server *server, int status)
{
	if (status >= HTTP_CODE_FIRST && status < HTTP_CODE_FIRST + HTTP_CODES)
		server->stats.answers[status - HTTP_CODE_FIRST]++;
}

static int write_answer(struct http_exchange *x, int status, const char *type, const char *framing,
			const void *body, size_t body_len)
{
	char head[1024];
	int len = snprintf(head, sizeof head,
			   "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s\r\nCache-Control: no-store\r\n"
			   "X-Content-Type-Options: nosniff\r\n%s\r\n",
			   status, http_reason(status), type, framing,
			   x->closing ? "Connection: close\r\n" : "");

	count_answer(x->server, status);
	if ((size_t)len >= sizeof head)
		return -ENAMETOOLONG;
	return write_pieces(x->stream, (struct piece[]) { { head, (size_t)len }, { body, body_len } }, 2);
}

/* On to the next request. Within process() its loop goes on; after a late answer what was sent ahead is read now. */
static void answered(struct http_exchange *x)
{
	x->gone = NULL;
	if (x->closing) {
		end_exchange(x, true);
		return;
	}
	wait_for_request(x);
	http_parse_next(x->parse);
	stream_set_timeout(x->stream, HTTP_IDLE_MS);
	if (x->busy > 1)
		return;
	uint8_t *ahead = x->ahead;
	size_t len = x->ahead_len;
	x->ahead = NULL;
	x->ahead_len = 0;
	process(x, ahead, len);
	free(ahead);
}

void http_answer(struct http_exchange *x, int status, const char *type, const void *body, size_t len)
{
	http_answer_with(x, status, type, "", body, len);
}

void http_answer_with(struct http_exchange *x, int status, const char *type, const char *headers,
		      const void *body, size_t len)
{
	char framing[512];

	if (x->state != HANDLING)
		return;
	enter(x);
	snprintf(framing, sizeof framing, "%sContent-Length: %zu", headers, len);
	if (write_answer(x, status, type, framing, body, len) != 0)
		end_exchange(x, false);
	else
		answered(x);
	leave(x);
}

static void answer_json(struct http_exchange *x, int status, const char *type, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);

	json_decref(body);
	if (text)
		http_answer(x, status, type, text, strlen(text));
	else
		http_answer(x, 500, "text/plain", "", 0);
	free(text);
}

void http_answer_json(struct http_exchange *x, int status, struct json_t *body)
{
	answer_json(x, status, "application/json", body);
}

void http_answer_error(struct http_exchange *x, int status, const char *code, const char *fmt, ...)
{
	char message[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	answer_json(x, status, "application/problem+json",
		    json_pack("{s:{s:s, s:s}, s:s, s:s, s:i, s:s}", "error", "code", code, "message", message,
			      "type", "about:blank", "title", http_reason(status), "status", status, "detail",
			      message));
}

int http_stream_begin(struct http_exchange *x, const char *type)
{
	if (x->state != HANDLING)
		return -ENOTCONN;
	x->state = STREAMING;
	x->closing = true;
	return write_answer(x, 200, type, "Transfer-Encoding: chunked", NULL, 0);
}

int http_stream_write(struct http_exchange *x, const void *data, size_t len)
{
	char size[24];

	if (x->state != STREAMING)
		return -ENOTCONN;
	if (stream_queued(x->stream) > HTTP_STREAM_QUEUE_MAX) {
		x->server->stats.unread++;
		return -ENOBUFS;
	}
	if (len == 0)
		return 0; /* an empty chunk would be the end */
	int n = snprintf(size, sizeof size, "%zx\r\n", len);
	return write_pieces(x->stream, (struct piece[]) { { size, (size_t)n }, { data, len }, { "\r\n", 2 } },
			    3);
}

void http_stream_end(struct http_exchange *x)
{
	if (x->state != STREAMING)
		return;
	enter(x);
	stream_write(x->stream, "0\r\n\r\n", 5);
	answered(x);
	leave(x);
}

struct stream *http_upgrade(struct http_exchange *x, const char *headers, const uint8_t **rest,
			    size_t *rest_len)
{
	char head[512];
	struct stream *s = x->stream;
	int len = snprintf(head, sizeof head, "HTTP/1.1 101 %s\r\n%s\r\n", http_reason(101), headers);

	if (x->state != HANDLING)
		return NULL;
	enter(x);
	if ((size_t)len >= sizeof head || stream_write(s, head, (size_t)len) != 0) {
		end_exchange(x, false);
		s = NULL;
	} else {
		count_answer(x->server, 101);
		*rest = x->rest;
		*rest_len = x->rest_len;
		stream_set_timeout(s, 0);
		bury(x);
	}
	leave(x);
	return s;
}

/* --- Requests. */

const struct http_message *http_request(const struct http_exchange *x)
{
	return http_parse_message(x->parse);
}

const char *http_path_rest(const struct http_exchange *x)
{
	return x->path_rest;
}

struct addr http_remote(const struct http_exchange *x)
{
	return x->stream ? *stream_remote(x->stream) : (struct addr) { 0 };
}

struct addr http_local(const struct http_exchange *x)
{
	return x->stream ? stream_local(x->stream) : (struct addr) { 0 };
}

int64_t http_peer_uid(const struct http_exchange *x)
{
	return x->stream ? stream_peer_uid(x->stream) : -1;
}

void http_on_gone(struct http_exchange *x, void (*gone)(void *arg), void *arg)
{
	x->gone = gone;
	x->gone_arg = arg;
}

static bool path_fits(const struct http_route *route, const char *path, const char **rest)
{
	size_t len = strlen(route->path);

	*rest = "";
	if (route->path[len - 1] != '*')
		return !strcmp(route->path, path);
	*rest = path + len - 1;
	return !strncmp(route->path, path, len - 1);
}

static void dispatch(struct http_exchange *x)
{
	const struct http_message *m = http_request(x);
	const struct http_server *server = x->server;
	bool known = false;

	for (size_t i = 0; i < server->route_count; i++) {
		if (!path_fits(&server->routes[i], m->path, &x->path_rest))
			continue;
		known = true;
		const char *method = server->routes[i].method;
		if (strcmp(method, "*") != 0 && strcmp(method, m->method) != 0)
			continue;
		server->routes[i].handle(server->arg, x);
		return;
	}
	if (known)
		http_answer_error(x, 405, "method_not_allowed", "%s does not take %s", m->path, m->method);
	else
		http_answer_error(x, 404, "not_found", "there is no %s", m->path);
}

static void refuse(struct http_exchange *x, int status)
{
	x->server->stats.malformed++;
	wait_no_more(x);
	x->state = HANDLING;
	x->closing = true;
	http_answer_error(x, status, "bad_request", "%s", http_reason(status));
}

static void handle_request(struct http_exchange *x, const uint8_t *rest, size_t rest_len)
{
	wait_no_more(x);
	if (stream_queued(x->stream) > HTTP_STREAM_QUEUE_MAX) {
		x->server->stats.unread++;
		end_exchange(x, false);
		return;
	}
	x->state = HANDLING;
	x->closing = !http_request(x)->keep_alive;
	x->rest = rest;
	x->rest_len = rest_len;
	stream_set_timeout(x->stream, 0);
	dispatch(x);
}

/* What comes while an answer is being made; after a growing answer the connection ends, so it is of no use then. */
static void keep_ahead(struct http_exchange *x, const uint8_t *data, size_t len)
{
	if (x->state != HANDLING || len == 0)
		return;
	uint8_t *p = len > HTTP_PIPELINE_MAX - x->ahead_len ? NULL : realloc(x->ahead, x->ahead_len + len);
	if (!p) {
		end_exchange(x, false);
		tell_gone(x);
		return;
	}
	memcpy(p + x->ahead_len, data, len);
	x->ahead = p;
	x->ahead_len += len;
}

static void process(struct http_exchange *x, const uint8_t *data, size_t len)
{
	enter(x);
	while (len && x->state == READING) {
		bool begun = http_parse_in_message(x->parse);
		size_t used;
		int rc = http_parse_feed(x->parse, data, len, &used);
		data += used;
		len -= used;
		if (rc == 1)
			handle_request(x, data, len);
		else if (rc)
			refuse(x, rc);
		else if (!begun && http_parse_in_message(x->parse))
			stream_set_timeout(x->stream, HTTP_REQUEST_MS);
	}
	keep_ahead(x, data, len);
	leave(x);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	process(arg, data, len);
}

static void on_close(void *arg, int error)
{
	struct http_exchange *x = arg;

	x->server->stats.timed_out += error == -ETIMEDOUT;
	enter(x);
	bury(x);
	tell_gone(x);
	leave(x);
}

static const struct stream_handler handler = { NULL, on_data, on_close };

static bool make_way(struct http_exchange *x)
{
	if (!x)
		return false;
	enter(x);
	x->server->stats.made_way++;
	end_exchange(x, false); /* no handler has it, so there is nobody to tell */
	leave(x);
	return true;
}

/* The one of that source that has waited longest. The list is short, or its walk costs less than the TLS handshake of the
 * connection that makes us look. */
static struct http_exchange *waiting_of(const struct http_server *server, const struct addr *source)
{
	struct http_exchange *x = server->waiting;

	while (x && !sources_same(&x->source, source))
		x = x->waiting_next;
	return x;
}

/* A source that has its share takes the place of its own. */
static bool find_place(struct http_server *server, const struct addr *source)
{
	if (server->per_source && sources_count(&server->sources, source) >= server->per_source)
		return make_way(waiting_of(server, source));
	return server->stats.connections < HTTP_CONNECTIONS_MAX || make_way(server->waiting);
}

static void turn_away(struct http_server *server, struct stream *s)
{
	static const char busy[] =
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

	server->stats.busy++;
	stream_write(s, busy, sizeof busy - 1);
	stream_finish(s);
}

void http_server_accept(void *arg, struct stream *s)
{
	struct http_server *server = arg;
	struct http_exchange *x = NULL;

	if (find_place(server, stream_remote(s)))
		x = calloc(1, sizeof *x);
	if (x)
		x->parse = http_parse_create(HTTP_IS_REQUEST, server->body_max, NULL, NULL);
	if (!x || !x->parse || sources_add(&server->sources, stream_remote(s))) {
		if (x)
			http_parse_destroy(x->parse);
		free(x);
		turn_away(server, s);
		return;
	}
	x->server = server;
	x->stream = s;
	x->source = *stream_remote(s);
	x->path_rest = "";
	x->next = server->all;
	x->at = &server->all;
	if (x->next)
		x->next->at = &x->next;
	server->all = x;
	server->stats.connections++;
	server->stats.accepted++;
	wait_for_request(x);
	stream_attach(s, &handler, x);
	stream_set_timeout(s, HTTP_REQUEST_MS);
}
