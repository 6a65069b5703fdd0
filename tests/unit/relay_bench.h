/* A relay with members bound to it, for tests. */
#ifndef P2PD_TESTS_RELAY_BENCH_H
#define P2PD_TESTS_RELAY_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "relay/relay_server.h"

/* One relay and what it said last. */
struct bench {
	struct relay_server *r;
	struct rng rng;
	uint64_t now;
	struct addr hub; /* where what is given comes in */
	struct relay_route route;
	uint8_t reply[RELAY_PROVE_LEN];
	size_t reply_len;
};

static const uint8_t token_a[RELAY_TOKEN] = "a", token_b[RELAY_TOKEN] = "b", token_c[RELAY_TOKEN] = "c";

static void bench_start(struct bench *b, size_t slots, size_t sessions)
{
	*b = (struct bench) { .now = 1000000 };
	rng_init_seed(&b->rng, 7);
	b->r = relay_server_create(slots, sessions, &b->rng);
	assert_non_null(b->r);
}

static struct addr address(uint32_t n)
{
	uint8_t ip[4];
	store_be32(ip, 0xc6000000 + (n >> 8));
	return addr_from_ip(ADDR_V4, ip, (uint16_t)(1024 + (n & 255)));
}

static enum relay_action give(struct bench *b, const uint8_t *msg, size_t len, struct addr from)
{
	b->reply_len = 0;
	b->route = (struct relay_route) { .hub = b->hub, .node = from };
	return relay_server_on_datagram(b->r, msg, len, &b->route, b->now, b->reply, &b->reply_len);
}

static void bind_message(uint8_t out[static RELAY_BIND_LEN], uint32_t slot)
{
	memset(out, 0, RELAY_BIND_LEN);
	out[0] = RELAY_CONTROL;
	out[1] = RELAY_BIND;
	store_le32(out + 4, slot);
}

static void prove_message(uint8_t out[static RELAY_PROVE_LEN], uint32_t slot, const uint8_t *mac,
			  const uint8_t *token)
{
	bind_message(out, slot);
	out[1] = RELAY_PROVE;
	memcpy(out + 8, mac, RELAY_MAC);
	crypto_blake2s(out + 24, RELAY_MAC, token, RELAY_TOKEN, &(struct part) { out + 4, 20 }, 1);
}

/* The challenge for `from`, turned into a proof. */
static void get_proof(struct bench *b, uint8_t prove[static RELAY_PROVE_LEN], uint32_t slot,
		      const uint8_t *token, struct addr from)
{
	uint8_t bind[RELAY_BIND_LEN];

	bind_message(bind, slot);
	assert_int_equal(give(b, bind, sizeof bind, from), RELAY_REPLY);
	assert_int_equal(b->reply_len, RELAY_CHALLENGE_LEN);
	prove_message(prove, slot, b->reply + 8, token);
}

static void bind_slot(struct bench *b, uint32_t slot, const uint8_t *token, struct addr from)
{
	uint8_t prove[RELAY_PROVE_LEN], want[RELAY_MAC];

	get_proof(b, prove, slot, token, from);
	assert_int_equal(give(b, prove, sizeof prove, from), RELAY_REPLY);
	assert_int_equal(b->reply_len, RELAY_BOUND_LEN);
	assert_int_equal(b->reply[1], RELAY_BOUND);
	crypto_blake2s(want, sizeof want, token, RELAY_TOKEN,
		       (struct part[]) { { "bound", 5 }, { prove + 8, 16 } }, 2);
	assert_memory_equal(b->reply + 8, want, sizeof want);
}

struct pair {
	uint32_t a, b, session;
};

static struct pair bound_pair(struct bench *b)
{
	struct pair p = { relay_slot_open(b->r, 1, token_a), relay_slot_open(b->r, 1, token_b), 0 };

	p.session = relay_session_open(b->r, p.a, p.b);
	assert_int_not_equal(p.session, 0);
	bind_slot(b, p.a, token_a, address(1));
	bind_slot(b, p.b, token_b, address(2));
	return p;
}

#endif
