/* The library (wslay) judges and puts together whatever comes in an unusual form. It copies, and writes each frame in
 * pieces; so a message that is one whole frame, which nearly all are, goes by it in both directions. For that it is fed
 * frame by frame. */
#include "relay/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "core/bytes.h"

/* RFC 6455 section 5.2. */
enum {
	FIN_BINARY = 0x82,
	MASKED = 0x80,
	LENGTH = 0x7f,
	LENGTH_16 = 126,
	LENGTH_64 = 127,
	MASK = 4,
	FRAME_HEADER_MAX = 14
};

struct websocket {
	enum websocket_role role;
	wslay_event_context_ptr ctx;
	struct websocket_handler handler;
	void *arg;
	struct rng *rng;
	const uint8_t *in;
	size_t in_len;
	unsigned fragments;
	/* Of the frame that the library is in the middle of: its header so far, or how much is missing behind that. */
	uint8_t head[FRAME_HEADER_MAX];
	size_t head_len;
	uint64_t left;
	unsigned busy; /* calls under way: the memory stays until they return */
	bool dead;
	int error; /* why it is over */
};

/* Of one call at a time: a connection keeps no buffers. */
static _Thread_local uint8_t in_buffer[WEBSOCKET_MESSAGE_MAX];
static _Thread_local uint8_t out_buffer[WEBSOCKET_HEADER_MAX + WEBSOCKET_MESSAGE_MAX];

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
	w->role = role;
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

static void mask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[static MASK])
{
	uint64_t word, twice;
	size_t i = 0;

	memcpy(&twice, key, MASK);
	memcpy((uint8_t *)&twice + MASK, key, MASK);
	for (; i + sizeof word <= len; i += sizeof word) {
		memcpy(&word, in + i, sizeof word);
		word ^= twice;
		memcpy(out + i, &word, sizeof word);
	}
	for (; i < len; i++)
		out[i] = in[i] ^ key[i % MASK];
}

/* As far as the first `have` bytes of a frame tell. */
static size_t header_size(const uint8_t *head, size_t have)
{
	if (have < 2)
		return 2;
	size_t length = head[1] & LENGTH, more = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
	return 2 + more + (head[1] & MASKED ? MASK : 0);
}

static uint64_t payload_size(const uint8_t *head)
{
	switch (head[1] & LENGTH) {
	case LENGTH_16: return load_be16(head + 2);
	case LENGTH_64: return load_be64(head + 2);
	default: return head[1] & LENGTH;
	}
}

/* How many of the bytes belong to the frame under way, or to a new one. */
static size_t span_of_frame(struct websocket *w, const uint8_t *data, size_t len)
{
	size_t used = 0;

	if (w->left == 0) {
		while (used < len && w->head_len < header_size(w->head, w->head_len))
			w->head[w->head_len++] = data[used++];
		if (w->head_len < header_size(w->head, w->head_len))
			return used;
		w->left = payload_size(w->head);
		w->head_len = 0;
	}
	size_t n = len - used < w->left ? len - used : (size_t)w->left;
	w->left -= n;
	return used + n;
}

/* How many bytes a message in a whole frame was, which is delivered then; 0: it is something else. */
static size_t receive_whole(struct websocket *w, const uint8_t *data, size_t len)
{
	uint8_t masked = w->role == WEBSOCKET_SERVER ? MASKED : 0;

	if (w->head_len || w->left || w->fragments || len < 2 || data[0] != FIN_BINARY ||
	    (data[1] & MASKED) != masked || (data[1] & LENGTH) == LENGTH_64)
		return 0;
	size_t head = header_size(data, len);
	if (len < head)
		return 0;
	size_t size = (size_t)payload_size(data);
	bool shortest = (data[1] & LENGTH) != LENGTH_16 || size >= LENGTH_16;
	if (size > WEBSOCKET_MESSAGE_MAX || size > len - head || !shortest)
		return 0;
	const uint8_t *msg = data + head;
	if (masked) {
		mask(in_buffer, msg, size, msg - MASK);
		msg = in_buffer;
	}
	w->handler.on_message(w->arg, msg, size);
	return head + size;
}

static void feed_library(struct websocket *w, const uint8_t *data, size_t len)
{
	w->in = data;
	w->in_len = len;
	if (wslay_event_recv(w->ctx) != 0 && !w->error)
		w->error = -EBADMSG;
}

int websocket_receive(struct websocket *w, const uint8_t *data, size_t len)
{
	int rc = 0;

	w->busy++;
	while (len && !w->dead && !w->error && wslay_event_get_read_enabled(w->ctx)) {
		size_t n = receive_whole(w, data, len);
		if (n == 0) {
			n = span_of_frame(w, data, len);
			feed_library(w, data, n);
		}
		data += n;
		len -= n;
	}
	if (!w->dead) {
		if (wslay_event_send(w->ctx) != 0 && !w->error)
			w->error = -EBADMSG;
		rc = outcome(w);
	}
	leave(w);
	return rc;
}

static size_t write_frame(struct websocket *w, uint8_t *out, const struct part *msg)
{
	uint8_t masked = w->role == WEBSOCKET_CLIENT ? MASKED : 0;
	size_t n = 2;

	out[0] = FIN_BINARY;
	out[1] = (uint8_t)(masked | (msg->len < LENGTH_16 ? msg->len : LENGTH_16));
	if (msg->len >= LENGTH_16) {
		store_be16(out + n, (uint16_t)msg->len);
		n += 2;
	}
	if (masked) {
		rng_fill(w->rng, out + n, MASK);
		mask(out + n + MASK, msg->data, msg->len, out + n);
		n += MASK;
	} else if (msg->len) {
		memcpy(out + n, msg->data, msg->len);
	}
	return n + msg->len;
}

static int write_out(struct websocket *w, size_t len)
{
	int rc = w->handler.write(w->arg, out_buffer, len);

	if (rc && !w->error)
		w->error = rc;
	return w->error;
}

int websocket_send_all(struct websocket *w, const struct part *msgs, size_t count)
{
	size_t len = 0;

	if (w->error || wslay_event_get_close_sent(w->ctx))
		return w->error ? w->error : -ENOTCONN;
	for (size_t i = 0; i < count; i++) {
		if (msgs[i].len > WEBSOCKET_MESSAGE_MAX)
			return -EMSGSIZE;
		if (len + WEBSOCKET_HEADER_MAX + msgs[i].len > sizeof out_buffer) {
			if (write_out(w, len))
				return w->error;
			len = 0;
		}
		len += write_frame(w, out_buffer + len, &msgs[i]);
	}
	return len ? write_out(w, len) : 0;
}

int websocket_send(struct websocket *w, const void *msg, size_t len)
{
	return websocket_send_all(w, &(struct part) { msg, len }, 1);
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
