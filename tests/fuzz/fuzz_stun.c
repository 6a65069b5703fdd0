/* The STUN decoder, and client and server behind it. What is decoded must be encodable, and the server must hold what
 * it promises about the size of its replies. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/crypto.h"
#include "nat/stun.h"
#include "nat/stun_client.h"
#include "nat/stun_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rng rng;
static struct stun_server server;

static void check(bool ok)
{
	if (!ok)
		abort();
}

enum { ENDPOINTS = 4 }; /* of each family: two addresses, two ports */

static void start_server(void)
{
	struct addr endpoints[2 * ENDPOINTS];

	rng_init_seed(&rng, 1);
	for (unsigned i = 0; i < 2 * ENDPOINTS; i++) {
		uint8_t ip[16] = { 198, 51, 100, (uint8_t)(1 + i / 2 % 2) };
		endpoints[i] = addr_from_ip(i < ENDPOINTS ? ADDR_V4 : ADDR_V6, ip, (uint16_t)(3478 + i % 2));
	}
	stun_server_init(&server, endpoints, 2 * ENDPOINTS, &rng);
}

static void fuzz_codec(const uint8_t *data, size_t size)
{
	struct stun_msg m, again;
	uint8_t out[STUN_PADDED_MAX];

	if (stun_decode(&m, data, size) && stun_decode_classic(&m, data, size))
		return;
	stun_check_integrity(&m, data, "password", 8);
	m.unknown_count = 0; /* written as UNKNOWN-ATTRIBUTES, which are not read */
	int len = stun_encode(&m, m.has_fingerprint, out, sizeof out);
	if (len < 0)
		return;
	check((m.classic ? stun_decode_classic(&again, out, (size_t)len)
			 : stun_decode(&again, out, (size_t)len)) == 0);
	check(again.cls == m.cls && again.method == m.method && addr_equal(&again.mapped, &m.mapped));
	check(again.error_code == m.error_code && again.has_fingerprint == m.has_fingerprint);
	check(again.response_port == m.response_port && again.padding == m.padding);
}

static void fuzz_client(const uint8_t *data, size_t size, const struct addr *from)
{
	struct stun_client c;
	uint8_t out[STUN_MAX];

	stun_client_start(&c, from, 0, &rng, 0);
	stun_client_next(&c, 0, out);
	if (size >= STUN_HEADER) /* as if it had guessed the transaction id */
		memcpy(c.txid, data + STUN_HEADER - STUN_TXID, STUN_TXID);
	bool taken = stun_client_on_message(&c, data, size, from, 1);
	check(taken == (c.state != STUN_WAITING));
	check(c.state != STUN_DONE || c.mapped.family != ADDR_NONE);
}

static void fuzz_server(const uint8_t *data, size_t size, const struct addr *from)
{
	static uint64_t now_ms;
	uint8_t out[STUN_PADDED_MAX];
	size_t at = size % ENDPOINTS + (from->family == ADDR_V6 ? ENDPOINTS : 0);
	struct stun_route route = { server.endpoints[at], *from };

	now_ms += 1000;
	size_t len = stun_server_reply(&server, data, size, &route, now_ms, out);
	if (len == 0)
		return;
	bool diverted = !addr_equal(&route.client, from) || !addr_equal(&route.server, &server.endpoints[at]);
	check(len <= size + (diverted ? 0 : STUN_SERVER_GROWTH));
	check(addr_same_ip(&route.client, from));
	check(addr_equal(&route.client, from) || route.client.port >= STUN_SERVER_LEAST_PORT);
	check(route.server.family == from->family);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t ip[16] = { 0x20, 0x01, 0x0d, 0xb8 };
	struct addr from = addr_from_ip(ADDR_V6, ip, 1000), from4 = addr_from_ip(ADDR_V4, ip, 1000);

	if (server.seed == 0)
		start_server();
	fuzz_codec(data, size);
	fuzz_client(data, size, &from);
	fuzz_server(data, size, &from);
	fuzz_server(data, size, &from4);
	return 0;
}
