/* A WebSocket that a client of our HTTP server asked for: the handshake's answer, then messages over its stream. */
#ifndef P2PD_RELAY_WEBSOCKET_SERVER_H
#define P2PD_RELAY_WEBSOCKET_SERVER_H

#include "relay/http.h"
#include "relay/websocket.h"

enum {
	WEBSOCKET_QUEUE_MAX = 262144, /* a client further behind is let go */
	WEBSOCKET_SILENT_MS = 50000,  /* a client from which nothing came */
};

struct websocket_server; /* opaque: one connection */

struct websocket_server_handler {
	void (*on_message)(void *arg, const uint8_t *msg, size_t len);
	/* It ended by itself; the pointer is dead when this returns. */
	void (*on_close)(void *arg);
	/* All that was sent has left our queue, after it had not at once. May be NULL. */
	void (*on_drained)(void *arg);
};

/* Answers a request for an upgrade: true and `*out` is open; else the request was answered with an error. Messages that
 * came with the request are delivered from the loop's next turn on. */
bool websocket_server_accept(struct websocket_server **out, struct http_exchange *x, struct loop *l,
			     struct rng *rng, const struct websocket_server_handler *handler, void *arg);
/* 0 or a negative errno: close it. */
int websocket_server_send(struct websocket_server *c, const void *msg, size_t len);
int websocket_server_send_all(struct websocket_server *c, const struct part *msgs, size_t count);
size_t websocket_server_queued(const struct websocket_server *c); /* bytes */
/* Sends what is queued and the closing frame; no callback comes any more. NULL is allowed. */
void websocket_server_close(struct websocket_server *c, enum websocket_code code);
const uint8_t *websocket_server_exporter(const struct websocket_server *c); /* NULL without TLS */

#endif
