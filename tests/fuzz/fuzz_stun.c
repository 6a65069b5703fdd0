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

static void fuzz_codec(const uint8_t *data, size_t size)
{
	struct stun_msg m, again;
	uint8_t out[STUN_MAX];

	if (stun_decode(&m, data, size))
		return;
	stun_check_integrity(&m, data, "password", 8);
	m.unknown_count = 0; /* written as UNKNOWN-ATTRIBUTES, which are not read */
	int len = stun_encode(&m, m.has_fingerprint, out, sizeof out);
	if (len < 0)
		return;
	check(stun_decode(&again, out, (size_t)len) == 0);
	check(again.cls == m.cls && again.method == m.method && addr_equal(&again.mapped, &m.mapped));
	check(again.error_code == m.error_code && again.has_fingerprint == m.has_fingerprint);
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
	uint8_t out[STUN_MAX];

	now_ms += 20;
	size_t len = stun_server_reply(&server, data, size, from, now_ms, out);
	check(len <= size + STUN_SERVER_GROWTH);
	check(len == 0 || stun_is_message(out, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t ip[16] = { 0x20, 0x01, 0x0d, 0xb8 };
	struct addr from = addr_from_ip(ADDR_V6, ip, 1000);

	if (server.seed == 0) {
		rng_init_seed(&rng, 1);
		stun_server_init(&server, &rng);
	}
	fuzz_codec(data, size);
	fuzz_client(data, size, &from);
	fuzz_server(data, size, &from);
	return 0;
}
