#include "relay/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

struct websocket {
	wslay_event_context_ptr ctx;
	struct websocket_handler handler;
	void *arg;
	struct rng *rng;
	const uint8_t *in;
	size_t in_len;
	unsigned fragments;
	unsigned busy; /* calls under way: the memory stays until they return */
	bool dead;
	int error; /* why it is over */
};

static void leave(struct websocket *w)
{
	if (--w->busy || !w->dead)
		return;
	wslay_event_context_free(w->ctx);
	free(w);
}

static ssize_t receive(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct websocket *w = arg;
	size_t n = len < w->in_len ? len : w->in_len;

	(void)flags;
	if (n == 0 || w->dead) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(buf, w->in, n);
	w->in += n;
	w->in_len -= n;
	return (ssize_t)n;
}

static ssize_t emit(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *arg)
{
	struct websocket *w = arg;
	int rc = w->handler.write(w->arg, data, len);

	(void)flags;
	if (rc == 0)
		return (ssize_t)len;
	w->error = rc;
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int make_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *arg)
{
	struct websocket *w = arg;

	(void)ctx;
	rng_fill(w->rng, buf, len);
	return 0;
}

static void fail(struct websocket *w, enum wslay_status_code code, int error)
{
	if (!w->error)
		w->error = error;
	wslay_event_shutdown_read(w->ctx);
	wslay_event_queue_close(w->ctx, code, NULL, 0);
}

static void on_frame(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_start_arg *frame,
		     void *arg)
{
	struct websocket *w = arg;

	(void)ctx;
	if (wslay_is_ctrl_frame(frame->opcode))
		return;
	if (++w->fragments > WEBSOCKET_FRAGMENTS_MAX)
		fail(w, WSLAY_CODE_MESSAGE_TOO_BIG, -EMSGSIZE);
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *msg, void *arg)
{
	struct websocket *w = arg;

	(void)ctx;
	if (wslay_is_ctrl_frame(msg->opcode) || w->dead || w->error)
		return;
	w->fragments = 0;
	if (msg->opcode == WSLAY_BINARY_FRAME)
		w->handler.on_message(w->arg, msg->msg, msg->msg_length);
	else
		fail(w, WSLAY_CODE_UNSUPPORTED_DATA, -EBADMSG);
}

struct websocket *websocket_create(enum websocket_role role, struct rng *rng,
				   const struct websocket_handler *handler, void *arg)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = receive,
		.send_callback = emit,
		.genmask_callback = make_mask,
		.on_frame_recv_start_callback = on_frame,
		.on_msg_recv_callback = on_message,
	};
	struct websocket *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	int rc = role == WEBSOCKET_SERVER ? wslay_event_context_server_init(&w->ctx, &callbacks, w)
					  : wslay_event_context_client_init(&w->ctx, &callbacks, w);
	if (rc) {
		free(w);
		return NULL;
	}
	wslay_event_config_set_max_recv_msg_length(w->ctx, WEBSOCKET_MESSAGE_MAX);
	w->rng = rng;
	w->handler = *handler;
	w->arg = arg;
	return w;
}

void websocket_destroy(struct websocket *w)
{
	if (!w)
		return;
	w->busy++;
	w->dead = true;
	leave(w);
}

/* Why reading ended, if it has. */
static int outcome(const struct websocket *w)
{
	if (w->error)
		return w->error;
	if (wslay_event_get_close_received(w->ctx))
		return -ECONNRESET;
	if (wslay_event_get_read_enabled(w->ctx))
		return 0;
	return wslay_event_get_status_code_sent(w->ctx) == WSLAY_CODE_MESSAGE_TOO_BIG ? -EMSGSIZE : -EBADMSG;
}

int websocket_receive(struct websocket *w, const uint8_t *data, size_t len)
{
	int rc = 0;

	w->busy++;
	w->in = data;
	w->in_len = len;
	if (wslay_event_recv(w->ctx) != 0 && !w->error)
		w->error = -EBADMSG;
	if (!w->dead) {
		if (wslay_event_send(w->ctx) != 0 && !w->error)
			w->error = -EBADMSG;
		rc = outcome(w);
	}
	leave(w);
	return rc;
}

int websocket_send(struct websocket *w, const void *msg, size_t len)
{
	const struct wslay_event_msg m = { WSLAY_BINARY_FRAME, msg, len };

	if (len > WEBSOCKET_MESSAGE_MAX)
		return -EMSGSIZE;
	if (w->error || wslay_event_get_close_sent(w->ctx))
		return w->error ? w->error : -ENOTCONN;
	int rc = wslay_event_queue_msg(w->ctx, &m);
	if (rc)
		return rc == WSLAY_ERR_NOMEM ? -ENOMEM : -ENOTCONN;
	if (wslay_event_send(w->ctx) != 0 && !w->error)
		w->error = -EPROTO;
	return w->error;
}

void websocket_ping(struct websocket *w)
{
	const struct wslay_event_msg m = { WSLAY_PING, NULL, 0 };

	if (!w->error && wslay_event_queue_msg(w->ctx, &m) == 0)
		wslay_event_send(w->ctx);
}

void websocket_close(struct websocket *w, enum websocket_code code)
{
	if (wslay_event_queue_close(w->ctx, (uint16_t)code, NULL, 0) == 0)
		wslay_event_send(w->ctx);
}

void websocket_make_key(char out[static WEBSOCKET_KEY_TEXT], struct rng *rng)
{
	uint8_t nonce[16];

	rng_fill(rng, nonce, sizeof nonce);
	crypto_base64(out, nonce, sizeof nonce);
}

int websocket_accept(char out[static WEBSOCKET_ACCEPT_TEXT], const char *key)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */
	char joined[WEBSOCKET_KEY_TEXT + sizeof guid];
	uint8_t nonce[16], hash[20];

	if (crypto_base64_decode(nonce, sizeof nonce, key) != 0)
		return -EINVAL;
	memcpy(joined, key, WEBSOCKET_KEY_TEXT - 1);
	memcpy(joined + WEBSOCKET_KEY_TEXT - 1, guid, sizeof guid - 1);
	crypto_sha1(hash, joined, WEBSOCKET_KEY_TEXT - 1 + sizeof guid - 1);
	crypto_base64(out, hash, sizeof hash);
	return 0;
}
