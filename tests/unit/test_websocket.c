#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/websocket.h"

enum { WIRE_MAX = 1 << 17 };

struct end {
	struct websocket *ws;
	uint8_t wire[WIRE_MAX]; /* what it sent */
	size_t wire_len;
	uint8_t got[WEBSOCKET_MESSAGE_MAX];
	size_t got_len;
	unsigned messages, writes;
	bool destroy_on_message, echo;
	int write_error;
};

static int write_wire(void *arg, const uint8_t *data, size_t len)
{
	struct end *e = arg;

	if (e->write_error)
		return e->write_error;
	assert_true(len <= WIRE_MAX - e->wire_len);
	e->writes++;
	memcpy(e->wire + e->wire_len, data, len);
	e->wire_len += len;
	return 0;
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	struct end *e = arg;

	e->messages++;
	e->got_len = len;
	if (len)
		memcpy(e->got, msg, len);
	if (e->echo)
		assert_int_equal(websocket_send(e->ws, msg, len), 0);
	if (e->destroy_on_message) {
		websocket_destroy(e->ws);
		e->ws = NULL;
	}
}

static const struct websocket_handler handler = { write_wire, on_message };
static struct end server, client;
static struct rng rng;

static int setup(void **state)
{
	(void)state;
	memset(&server, 0, sizeof server);
	memset(&client, 0, sizeof client);
	rng_init_seed(&rng, 1);
	server.ws = websocket_create(WEBSOCKET_SERVER, &rng, &handler, &server);
	client.ws = websocket_create(WEBSOCKET_CLIENT, &rng, &handler, &client);
	return server.ws && client.ws ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	websocket_destroy(server.ws);
	websocket_destroy(client.ws);
	return 0;
}

/* Hands over what `from` sent, in steps. */
static int carry(struct end *from, struct end *to, size_t step)
{
	size_t len = from->wire_len;
	int rc = 0;

	from->wire_len = 0;
	for (size_t at = 0; at < len && rc == 0 && to->ws; at += step)
		rc = websocket_receive(to->ws, from->wire + at, len - at < step ? len - at : step);
	return rc;
}

static void the_accept_value_is_rfc6455s(void **state)
{
	(void)state;
	char out[WEBSOCKET_ACCEPT_TEXT], key[WEBSOCKET_KEY_TEXT];

	assert_int_equal(websocket_accept(out, "dGhlIHNhbXBsZSBub25jZQ=="), 0);
	assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_int_equal(websocket_accept(out, ""), -EINVAL);
	assert_int_equal(websocket_accept(out, "dGhlIHNhbXBsZSBub25j"), -EINVAL);
	assert_int_equal(websocket_accept(out, "dGhlIHNhbXBsZSBub25jZQ==x"), -EINVAL);
	websocket_make_key(key, &rng);
	assert_int_equal(websocket_accept(out, key), 0);
}

static void messages_go_both_ways_at_every_size(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 125, 126, 127, 1000, 16383, 16384 };
	static uint8_t msg[WEBSOCKET_MESSAGE_MAX];

	server.echo = true;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		rng_fill(&rng, msg, sizes[i]);
		assert_int_equal(websocket_send(client.ws, msg, sizes[i]), 0);
		assert_int_equal(carry(&client, &server, 977), 0);
		assert_int_equal(carry(&server, &client, 1), 0);
		assert_int_equal(client.messages, i + 1);
		assert_int_equal(client.got_len, sizes[i]);
		assert_memory_equal(client.got, msg, sizes[i]);
	}
}

static void a_client_masks_and_a_server_does_not(void **state)
{
	(void)state;
	assert_int_equal(websocket_send(client.ws, "abc", 3), 0);
	assert_true(client.wire[1] & 0x80);
	assert_memory_not_equal(client.wire + 6, "abc", 3);
	assert_int_equal(websocket_send(server.ws, "abc", 3), 0);
	assert_memory_equal(server.wire,
			    "\x82\x03"
			    "abc",
			    5);
}

/* Frames to the server; masks are zero, so that the payload can be read. */
static void what_is_against_the_protocol_ends_with_its_code(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		int rc;
		uint16_t code; /* sent back */
	} cases[] = {
		{ "\x82\x03"
		  "abc",
		  5, -EBADMSG, 1002 },					      /* unmasked */
		{ "\xc2\x81\0\0\0\0a", 7, -EBADMSG, 1002 },		      /* reserved bit */
		{ "\x83\x81\0\0\0\0a", 7, -EBADMSG, 1002 },		      /* unknown opcode */
		{ "\x80\x81\0\0\0\0a", 7, -EBADMSG, 1002 },		      /* continues nothing */
		{ "\x02\x81\0\0\0\0a\x82\x81\0\0\0\0a", 14, -EBADMSG, 1002 }, /* a message in a message */
		{ "\x81\x81\0\0\0\0a", 7, -EBADMSG, 1003 },		      /* text */
		{ "\x82\xfe\x40\x01\0\0\0\0a", 9, -EMSGSIZE, 1009 },	      /* 16385 bytes */
		{ "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0a", 15, -EMSGSIZE, 1009 },
		{ "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14, -EBADMSG, 0 },
		{ "\x82\xfe\x00\x01\0\0\0\0a", 9, -EBADMSG, 0 }, /* a length longer than need be */
		{ "\x82\xff\0\0\0\0\0\0\x00\x7f\0\0\0\0a", 15, -EBADMSG, 0 },
		{ "\x89\xfe\x00\x7e\0\0\0\0", 8, -EBADMSG, 0 }, /* long ping */
		{ "\x09\x80\0\0\0\0", 6, -EBADMSG, 0 },		/* ping in pieces */
		{ "\x88\x82\0\0\0\0\x03\xe8", 8, -ECONNRESET, 1000 },
		{ "\x88\x80\0\0\0\0", 6, -ECONNRESET, 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		teardown(NULL);
		setup(NULL);
		int rc = websocket_receive(server.ws, (const uint8_t *)cases[i].bytes, cases[i].len);
		if (rc != cases[i].rc)
			fail_msg("case %zu: %d", i, rc);
		assert_int_equal(server.messages, 0);
		if (cases[i].code) {
			assert_int_equal(server.wire[0], 0x88);
			assert_int_equal(server.wire[2] << 8 | server.wire[3], cases[i].code);
		}
		assert_int_not_equal(websocket_send(server.ws, "x", 1), 0);
	}
}

static void fragments_are_joined_and_bounded(void **state)
{
	(void)state;
	static const uint8_t first[] = { 0x02, 0x81, 0, 0, 0, 0, 'a' }, ping[] = { 0x89, 0x80, 0, 0, 0, 0 },
			     last[] = { 0x80, 0x81, 0, 0, 0, 0, 'b' }, empty[] = { 0x00, 0x80, 0, 0, 0, 0 };
	int rc = 0, n;

	assert_int_equal(websocket_receive(server.ws, first, sizeof first), 0);
	assert_int_equal(websocket_receive(server.ws, ping, sizeof ping), 0);
	assert_memory_equal(server.wire, "\x8a\x00", 2);
	assert_int_equal(websocket_receive(server.ws, last, sizeof last), 0);
	assert_int_equal(server.got_len, 2);
	assert_memory_equal(server.got, "ab", 2);

	assert_int_equal(websocket_receive(server.ws, first, sizeof first), 0);
	for (n = 0; n < 1000 && rc == 0; n++)
		rc = websocket_receive(server.ws, empty, sizeof empty);
	assert_int_equal(rc, -EMSGSIZE);
	assert_int_equal(n, WEBSOCKET_FRAGMENTS_MAX);
}

/* A frame to the server, its payload numbers. */
static size_t put_frame(uint8_t *out, uint8_t first, size_t len)
{
	size_t n = 2;

	out[0] = first;
	out[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
	if (len >= 126) {
		out[n++] = (uint8_t)(len >> 8);
		out[n++] = (uint8_t)len;
	}
	rng_fill(&rng, out + n, 4);
	for (size_t i = 0; i < len; i++)
		out[n + 4 + i] = (uint8_t)(i * 7 + len) ^ out[n + i % 4];
	return n + 4 + len;
}

static bool is_as_put(const struct end *e)
{
	for (size_t i = 0; i < e->got_len; i++)
		if (e->got[i] != (uint8_t)(i * 7 + e->got_len))
			return false;
	return true;
}

/* Whole messages, messages in pieces with a ping between, and pings, cut anywhere. */
static void however_the_bytes_are_cut_the_messages_are_the_same(void **state)
{
	(void)state;
	enum { EMPTY_LAST = 0x80, PING = 0x89, PIECE = 0x02, WHOLE = 0x82 };
	static uint8_t wire[WIRE_MAX];
	unsigned sent = 0;

	for (int round = 0; round < 2000; round++) {
		size_t len = 0;
		while (len < WIRE_MAX / 4) {
			size_t size = rng_below(&rng, rng_below(&rng, 3) ? 200 : WEBSOCKET_MESSAGE_MAX + 1);
			uint32_t kind = rng_below(&rng, 8);
			if (kind == 0) {
				len += put_frame(wire + len, PING, size % 126);
				continue;
			}
			len += put_frame(wire + len, kind == 1 ? PIECE : WHOLE, size);
			if (kind == 1) {
				len += put_frame(wire + len, PING, 0);
				len += put_frame(wire + len, EMPTY_LAST, 0);
			}
			sent++;
		}
		server.wire_len = 0;
		for (size_t at = 0, n; at < len; at += n) {
			n = 1 + rng_below(&rng, rng_below(&rng, 2) ? 20 : 16384);
			n = n < len - at ? n : len - at;
			assert_int_equal(websocket_receive(server.ws, wire + at, n), 0);
			assert_true(is_as_put(&server));
		}
		assert_int_equal(server.messages, sent);
	}
}

static void messages_that_fit_leave_in_one_write(void **state)
{
	(void)state;
	static uint8_t bytes[WEBSOCKET_MESSAGE_MAX];
	const struct part msgs[] = { { "abc", 3 },     { NULL, 0 }, { bytes, 200 }, { bytes, sizeof bytes },
				     { bytes, 16370 }, { "d", 1 } };
	struct end *ends[] = { &client, &server };

	for (int i = 0; i < 2; i++) {
		ends[i]->writes = 0;
		assert_int_equal(websocket_send_all(ends[i]->ws, msgs, 6), 0);
		assert_int_equal(ends[i]->writes, 3);
		assert_int_equal(carry(ends[i], ends[!i], 100000), 0);
		assert_int_equal(ends[!i]->messages, 6);
		assert_memory_equal(ends[!i]->got, "d", 1);
	}
}

static void a_close_is_answered_and_ends_both(void **state)
{
	(void)state;
	websocket_close(client.ws, WEBSOCKET_NORMAL);
	assert_int_equal(websocket_send(client.ws, "x", 1), -ENOTCONN);
	assert_int_equal(carry(&client, &server, 1000), -ECONNRESET);
	assert_int_equal(carry(&server, &client, 1000), -ECONNRESET);
}

static void destroying_in_the_message_callback_is_safe(void **state)
{
	(void)state;
	server.destroy_on_message = true;
	assert_int_equal(websocket_send(client.ws, "one", 3), 0);
	assert_int_equal(websocket_send(client.ws, "two", 3), 0);
	assert_int_equal(carry(&client, &server, 1000), 0);
	assert_int_equal(server.messages, 1);
}

static void what_cannot_be_written_ends_it(void **state)
{
	(void)state;
	client.write_error = -ENOBUFS;
	assert_int_equal(websocket_send(client.ws, "one", 3), -ENOBUFS);
	assert_int_equal(websocket_send(client.ws, "two", 3), -ENOBUFS);
	assert_int_equal(websocket_send(server.ws, server.got, WEBSOCKET_MESSAGE_MAX + 1), -EMSGSIZE);
}

int main(void)
{
#define ws_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		ws_test(the_accept_value_is_rfc6455s),
		ws_test(messages_go_both_ways_at_every_size),
		ws_test(a_client_masks_and_a_server_does_not),
		ws_test(what_is_against_the_protocol_ends_with_its_code),
		ws_test(fragments_are_joined_and_bounded),
		ws_test(however_the_bytes_are_cut_the_messages_are_the_same),
		ws_test(messages_that_fit_leave_in_one_write),
		ws_test(a_close_is_answered_and_ends_both),
		ws_test(destroying_in_the_message_callback_is_safe),
		ws_test(what_cannot_be_written_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
