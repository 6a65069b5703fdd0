/* Frames are read and written here and not by a library: what there is keeps 8.7 KB of buffers for each connection, of
 * which a hub has 20,000 that are idle, and writes a message in pieces of 4 KB. Here an idle connection keeps none. */
#include "relay/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

/* RFC 6455 section 5.2. */
enum {
	FIN = 0x80,
	RESERVED = 0x70,
	MASKED = 0x80,
	HEAD_MAX = 14,
	CONTROL_MAX = 125,
	LENGTH_16 = 126,
	LENGTH_64 = 127,
};
enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
/* Section 7.4.1. */
enum { CODE_PROTOCOL = 1002, CODE_UNSUPPORTED = 1003, CODE_TOO_BIG = 1009 };

struct websocket {
	struct websocket_handler handler;
	void *arg;
	struct rng *rng;
	enum websocket_role role;
	int error; /* why it is over */
	bool dead, close_sent, close_received;
	unsigned busy; /* calls under way: the memory stays until they return */
	/* The frame that is coming. */
	bool in_payload; /* its head is complete */
	uint8_t head[HEAD_MAX], head_len;
	uint8_t control[CONTROL_MAX];
	size_t at, len; /* of its payload: what has come, and all */
	/* The message that is coming, if it does not come in one piece. */
	bool in_message;
	unsigned fragments;
	uint8_t *message;
	size_t message_len;
};

static void leave(struct websocket *w)
{
	if (--w->busy || !w->dead)
		return;
	free(w->message);
	free(w);
}

struct websocket *websocket_create(enum websocket_role role, struct rng *rng,
				   const struct websocket_handler *handler, void *arg)
{
	struct websocket *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
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

/* `at`: how far the payload's first byte here is from its beginning. */
static void apply_mask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[static 4], size_t at)
{
	uint8_t turned[8];
	uint64_t pad, word;

	for (size_t i = 0; i < sizeof turned; i++)
		turned[i] = mask[(at + i) & 3];
	memcpy(&pad, turned, sizeof pad);
	for (; len >= sizeof word; len -= sizeof word, in += sizeof word, out += sizeof word) {
		memcpy(&word, in, sizeof word);
		word ^= pad;
		memcpy(out, &word, sizeof word);
	}
	for (size_t i = 0; i < len; i++)
		out[i] = in[i] ^ turned[i];
}

/* --- Out */

static size_t write_head(uint8_t head[static HEAD_MAX], enum opcode opcode, size_t len)
{
	head[0] = (uint8_t)(FIN | opcode);
	if (len < LENGTH_16) {
		head[1] = (uint8_t)len;
		return 2;
	}
	head[1] = LENGTH_16;
	store_be16(head + 2, (uint16_t)len);
	return 4;
}

/* One frame, its size. `len` is at most WEBSOCKET_MESSAGE_MAX. */
static size_t put_frame(struct websocket *w, uint8_t *out, enum opcode opcode, const void *payload,
			size_t len)
{
	size_t head = write_head(out, opcode, len);

	if (w->role == WEBSOCKET_CLIENT) {
		uint8_t *mask = out + head;
		out[1] |= MASKED;
		rng_fill(w->rng, mask, 4);
		head += 4;
		apply_mask(out + head, payload, len, mask, 0);
	} else if (len) {
		memcpy(out + head, payload, len);
	}
	return head + len;
}

/* Where what leaves in one piece, and so in one TLS record, is put together. */
static _Thread_local uint8_t out_buffer[WEBSOCKET_HEADER_MAX + WEBSOCKET_MESSAGE_MAX];

static int write_out(struct websocket *w, size_t len)
{
	int rc = len ? w->handler.write(w->arg, out_buffer, len) : 0;

	if (rc && !w->error)
		w->error = rc;
	return rc;
}

static int send_frame(struct websocket *w, enum opcode opcode, const void *payload, size_t len)
{
	return write_out(w, put_frame(w, out_buffer, opcode, payload, len));
}

/* `code` 0: says none. */
static void send_close(struct websocket *w, uint16_t code)
{
	uint8_t payload[2];

	if (w->close_sent || w->error)
		return;
	w->close_sent = true;
	store_be16(payload, code);
	send_frame(w, CLOSE, payload, code ? sizeof payload : 0);
}

int websocket_send_all(struct websocket *w, const struct part *msgs, size_t count)
{
	size_t used = 0;
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		if (msgs[i].len > WEBSOCKET_MESSAGE_MAX)
			return -EMSGSIZE;
	if (w->error || w->close_sent)
		return w->error ? w->error : -ENOTCONN;
	for (size_t i = 0; i < count && !rc; i++) {
		if (used + WEBSOCKET_HEADER_MAX + msgs[i].len > sizeof out_buffer) {
			rc = write_out(w, used);
			used = 0;
		}
		used += put_frame(w, out_buffer + used, BINARY, msgs[i].data, msgs[i].len);
	}
	return rc ? rc : write_out(w, used);
}

int websocket_send(struct websocket *w, const void *msg, size_t len)
{
	return websocket_send_all(w, &(struct part) { msg, len }, 1);
}

void websocket_ping(struct websocket *w)
{
	if (!w->error && !w->close_sent)
		send_frame(w, PING, NULL, 0);
}

void websocket_close(struct websocket *w, enum websocket_code code)
{
	send_close(w, (uint16_t)code);
}

/* --- In */

static void fail(struct websocket *w, uint16_t code, int error)
{
	send_close(w, code);
	if (!w->error)
		w->error = error;
}

static bool is_over(const struct websocket *w)
{
	return w->dead || w->error || w->close_received;
}

static bool is_control(uint8_t opcode)
{
	return opcode & 8;
}

/* How long the head is, as far as that can be told by its first `have` bytes. */
static size_t head_length(const uint8_t *head, size_t have)
{
	if (have < 2)
		return 2;
	size_t length = head[1] & ~MASKED;
	return 2 + (length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0) + (head[1] & MASKED ? 4 : 0);
}

/* UINT64_MAX: written in more bytes than it needs, or over 2^63. */
static uint64_t payload_length(const uint8_t *head)
{
	uint64_t len = head[1] & ~MASKED;

	if (len == LENGTH_16) {
		len = load_be16(head + 2);
		return len < LENGTH_16 ? UINT64_MAX : len;
	}
	if (len == LENGTH_64) {
		len = load_be64(head + 2);
		return len <= UINT16_MAX || len > INT64_MAX ? UINT64_MAX : len;
	}
	return len;
}

static bool head_is_good(const struct websocket *w, uint64_t len)
{
	uint8_t opcode = w->head[0] & 15;
	bool masked = w->head[1] & MASKED;

	if (w->head[0] & RESERVED || len == UINT64_MAX || masked != (w->role == WEBSOCKET_SERVER))
		return false;
	if (is_control(opcode))
		return opcode <= PONG && w->head[0] & FIN && len <= CONTROL_MAX;
	return opcode <= BINARY && (opcode == CONTINUATION) == w->in_message;
}

static void begin_frame(struct websocket *w)
{
	uint64_t len = payload_length(w->head);
	uint8_t opcode = w->head[0] & 15;

	if (!head_is_good(w, len))
		fail(w, CODE_PROTOCOL, -EBADMSG);
	else if (opcode == TEXT)
		fail(w, CODE_UNSUPPORTED, -EBADMSG);
	else if (!is_control(opcode) &&
		 (len > WEBSOCKET_MESSAGE_MAX - w->message_len || w->fragments == WEBSOCKET_FRAGMENTS_MAX))
		fail(w, CODE_TOO_BIG, -EMSGSIZE);
	w->in_payload = true;
	w->at = 0;
	w->len = (size_t)len;
	if (is_control(opcode))
		return;
	w->fragments++;
	w->in_message = true;
}

static size_t take_head(struct websocket *w, const uint8_t *data, size_t len)
{
	size_t used = 0;

	while (w->head_len < head_length(w->head, w->head_len)) {
		if (used == len)
			return used;
		w->head[w->head_len++] = data[used++];
	}
	begin_frame(w);
	return used;
}

/* RFC 6455 section 7.4: what may stand in a closing frame. */
static bool close_is_good(const struct websocket *w)
{
	if (w->len < 2)
		return w->len == 0;
	unsigned code = load_be16(w->control);
	return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
	       (code >= 3000 && code <= 4999);
}

static void on_control(struct websocket *w)
{
	switch (w->head[0] & 15) {
	case PING:
		if (!w->close_sent)
			send_frame(w, PONG, w->control, w->len);
		break;
	case CLOSE:
		if (!close_is_good(w)) {
			fail(w, CODE_PROTOCOL, -EBADMSG);
			break;
		}
		send_close(w, w->len ? load_be16(w->control) : 0);
		w->close_received = true;
		break;
	default: break;
	}
}

/* The message is whole: what was put together, else `direct`. */
static void deliver(struct websocket *w, const uint8_t *direct)
{
	uint8_t *message = w->message;
	size_t len = message ? w->message_len : w->len;

	w->message = NULL;
	w->message_len = 0;
	w->in_message = false;
	w->fragments = 0;
	w->handler.on_message(w->arg, message ? message : direct, len);
	free(message);
}

static void end_frame(struct websocket *w, const uint8_t *direct)
{
	w->in_payload = false;
	w->head_len = 0;
	if (is_control(w->head[0] & 15))
		on_control(w);
	else if (w->head[0] & FIN)
		deliver(w, direct);
}

/* Where the payload's next bytes go; NULL without memory. Room is made for what has been announced once some of it is
 * there. */
static uint8_t *place_for(struct websocket *w, size_t n)
{
	if (is_control(w->head[0] & 15))
		return w->control + w->at;
	if (w->at == 0 && n) {
		uint8_t *p = realloc(w->message, w->message_len + w->len);
		if (!p)
			return NULL;
		w->message = p;
	}
	w->message_len += n;
	return w->message + w->message_len - n;
}

static size_t take_payload(struct websocket *w, const uint8_t *data, size_t len)
{
	size_t n = w->len - w->at < len ? w->len - w->at : len;
	bool masked = w->head[1] & MASKED, whole = n == w->len && !masked && w->head[0] == (FIN | BINARY);

	if (!whole && n) {
		uint8_t *to = place_for(w, n);
		if (!to) {
			w->error = -ENOMEM;
			return n;
		}
		if (masked)
			apply_mask(to, data, n, w->head + w->head_len - 4, w->at);
		else
			memcpy(to, data, n);
	}
	w->at += n;
	if (w->at == w->len)
		end_frame(w, data);
	return n;
}

int websocket_receive(struct websocket *w, const uint8_t *data, size_t len)
{
	int rc = 0;

	w->busy++;
	/* A payload of no bytes ends without more to come. */
	while (!is_over(w) && (len || (w->in_payload && w->len == 0))) {
		size_t used = w->in_payload ? take_payload(w, data, len) : take_head(w, data, len);
		data += used;
		len -= used;
	}
	if (!w->dead)
		rc = w->error ? w->error : w->close_received ? -ECONNRESET : 0;
	leave(w);
	return rc;
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
