#include "relay/websocket_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct websocket_server {
	struct stream *stream;
	struct websocket *ws;
	struct websocket_server_handler handler;
	void *arg;
	struct loop_timer *first; /* delivers what came with the request */
	uint8_t *rest;
	size_t rest_len;
	unsigned busy; /* calls under way: the memory stays until they return */
	bool dead;
};

static void leave(struct websocket_server *c)
{
	if (--c->busy || !c->dead)
		return;
	websocket_destroy(c->ws);
	free(c->rest);
	free(c);
}

static void end_connection(struct websocket_server *c)
{
	c->dead = true;
	loop_timer_destroy(c->first);
	c->first = NULL;
	stream_finish(c->stream);
	c->stream = NULL;
}

static void end_by_itself(struct websocket_server *c)
{
	if (c->dead)
		return;
	end_connection(c);
	c->handler.on_close(c->arg);
}

static int write_stream(void *arg, const uint8_t *data, size_t len)
{
	struct websocket_server *c = arg;

	if (!c->stream)
		return -ENOTCONN;
	if (stream_queued(c->stream) > WEBSOCKET_QUEUE_MAX)
		return -ENOBUFS;
	return stream_write(c->stream, data, len);
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	struct websocket_server *c = arg;

	if (!c->dead)
		c->handler.on_message(c->arg, msg, len);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	struct websocket_server *c = arg;

	c->busy++;
	stream_set_timeout(c->stream, WEBSOCKET_SILENT_MS);
	if (websocket_receive(c->ws, data, len) != 0)
		end_by_itself(c);
	leave(c);
}

static void on_drained(void *arg)
{
	struct websocket_server *c = arg;

	c->busy++;
	if (!c->dead && c->handler.on_drained)
		c->handler.on_drained(c->arg);
	leave(c);
}

static void deliver_rest(void *arg)
{
	struct websocket_server *c = arg;

	c->busy++;
	loop_timer_destroy(c->first);
	c->first = NULL;
	if (c->rest_len)
		on_data(c, c->rest, c->rest_len);
	leave(c);
}

static void on_close(void *arg, int error)
{
	struct websocket_server *c = arg;

	(void)error;
	c->busy++;
	c->stream = NULL;
	end_by_itself(c);
	leave(c);
}

/* RFC 6455 section 4.2.1. An Origin means a browser, which has no business on a node's link. */
static bool is_handshake(struct http_exchange *x, char accept[static WEBSOCKET_ACCEPT_TEXT])
{
	const struct http_message *m = http_request(x);
	const char *version = http_header(m, "sec-websocket-version"),
		   *key = http_header(m, "sec-websocket-key");

	if (!m->upgrade || !http_header_has(m, "upgrade", "websocket")) {
		http_answer_error(x, 426, "upgrade_required", "this is a WebSocket");
		return false;
	}
	if (http_header(m, "origin")) {
		http_answer_error(x, 403, "forbidden", "not from a browser");
		return false;
	}
	if (!version || strcmp(version, "13") != 0 || !key || websocket_accept(accept, key) != 0) {
		http_answer_error(x, 400, "bad_request", "not a WebSocket handshake of version 13");
		return false;
	}
	return true;
}

static struct websocket_server *create(struct loop *l, struct rng *rng)
{
	static const struct websocket_handler ws_handler = { write_stream, on_message };
	struct websocket_server *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->ws = websocket_create(WEBSOCKET_SERVER, rng, &ws_handler, c);
	c->first = loop_timer_create(l, deliver_rest, c);
	if (c->ws && c->first)
		return c;
	websocket_destroy(c->ws);
	loop_timer_destroy(c->first);
	free(c);
	return NULL;
}

static bool take_stream(struct websocket_server *c, struct http_exchange *x, const char *accept)
{
	static const struct stream_handler stream_handler = { NULL, on_data, on_close, on_drained };
	char headers[160];
	const uint8_t *rest;

	snprintf(headers, sizeof headers,
		 "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", accept);
	c->stream = http_upgrade(x, headers, &rest, &c->rest_len);
	if (!c->stream)
		return false;
	if (c->rest_len && !(c->rest = malloc(c->rest_len))) {
		stream_close(c->stream);
		return false;
	}
	if (c->rest_len)
		memcpy(c->rest, rest, c->rest_len);
	stream_attach(c->stream, &stream_handler, c);
	stream_set_timeout(c->stream, WEBSOCKET_SILENT_MS);
	loop_timer_set(c->first, 0);
	return true;
}

bool websocket_server_accept(struct websocket_server **out, struct http_exchange *x, struct loop *l,
			     struct rng *rng, const struct websocket_server_handler *handler, void *arg)
{
	char accept[WEBSOCKET_ACCEPT_TEXT];

	*out = NULL;
	if (!is_handshake(x, accept))
		return false;
	struct websocket_server *c = create(l, rng);
	if (!c) {
		http_answer_error(x, 503, "no_memory", "out of memory");
		return false;
	}
	if (!take_stream(c, x, accept)) {
		loop_timer_destroy(c->first);
		websocket_destroy(c->ws);
		free(c);
		return false;
	}
	c->handler = *handler;
	c->arg = arg;
	*out = c;
	return true;
}

int websocket_server_send(struct websocket_server *c, const void *msg, size_t len)
{
	return c->dead ? -ENOTCONN : websocket_send(c->ws, msg, len);
}

int websocket_server_send_all(struct websocket_server *c, const struct part *msgs, size_t count)
{
	return c->dead ? -ENOTCONN : websocket_send_all(c->ws, msgs, count);
}

size_t websocket_server_queued(const struct websocket_server *c)
{
	return c->stream ? stream_queued(c->stream) : 0;
}

void websocket_server_close(struct websocket_server *c, enum websocket_code code)
{
	if (!c || c->dead)
		return;
	c->busy++;
	websocket_close(c->ws, code);
	end_connection(c);
	leave(c);
}

const uint8_t *websocket_server_exporter(const struct websocket_server *c)
{
	return stream_exporter(c->stream);
}
