/* WebSocket (RFC 6455), both ends, behind the HTTP upgrade: binary messages over memory. What is to be sent goes out
 * through a function of the owner, in order; pings are answered, the closing handshake is done here. */
#ifndef P2PD_RELAY_WEBSOCKET_H
#define P2PD_RELAY_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/crypto.h"

enum {
	WEBSOCKET_MESSAGE_MAX = 16384,
	WEBSOCKET_FRAGMENTS_MAX = 64, /* of one message: empty ones would else cost memory without end */
	WEBSOCKET_HEADER_MAX = 8,     /* in front of a message of ours */
	WEBSOCKET_KEY_TEXT = 25,      /* 16 bytes in base64 */
	WEBSOCKET_ACCEPT_TEXT = 29,   /* 20 bytes in base64 */
};
enum websocket_role { WEBSOCKET_SERVER, WEBSOCKET_CLIENT };
enum websocket_code { WEBSOCKET_NORMAL = 1000, WEBSOCKET_GOING_AWAY = 1001, WEBSOCKET_POLICY = 1008 };

struct websocket; /* opaque */

struct websocket_handler {
	/* Sends bytes; 0 or a negative errno, which ends the connection. */
	int (*write)(void *arg, const uint8_t *data, size_t len);
	/* The bytes stay until it returns. May call any function here, websocket_destroy(), too. */
	void (*on_message)(void *arg, const uint8_t *msg, size_t len);
};

/* A client masks with bytes of `rng`. NULL without memory. */
struct websocket *websocket_create(enum websocket_role role, struct rng *rng,
				   const struct websocket_handler *handler, void *arg);
void websocket_destroy(struct websocket *w); /* NULL is allowed */
/* Received bytes. 0; or the connection is over and everything was said: -ECONNRESET (closed by the peer), -EBADMSG
 * (against the protocol), -EMSGSIZE, or what `write` returned. Finish the stream and destroy. */
int websocket_receive(struct websocket *w, const uint8_t *data, size_t len);
/* 0, -EMSGSIZE, -ENOTCONN (closing), -ENOMEM, or what `write` returned. */
int websocket_send(struct websocket *w, const void *msg, size_t len);
/* Several messages, in as few writes as can be. */
int websocket_send_all(struct websocket *w, const struct part *msgs, size_t count);
/* Makes the peer answer, if it is there. */
void websocket_ping(struct websocket *w);
/* Sends the closing frame; the peer's answer ends websocket_receive(). */
void websocket_close(struct websocket *w, enum websocket_code code);

/* --- The handshake's values (RFC 6455 section 4). */
void websocket_make_key(char out[static WEBSOCKET_KEY_TEXT], struct rng *rng);
/* The answer to a key; -EINVAL if that is none. */
int websocket_accept(char out[static WEBSOCKET_ACCEPT_TEXT], const char *key);

#endif
