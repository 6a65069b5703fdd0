/* Datagrams of strangers and of two bound members. Input: from(1), time step(1), stride(1), len(1),
 * bytes: a train. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "relay/relay_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t tokens[2][RELAY_TOKEN] = { "one", "two" };

static struct addr address(uint8_t n)
{
	return addr_from_ip(ADDR_V4, (const uint8_t[]) { 198, 51, 100, n & 3 }, (uint16_t)(n >> 2));
}

/* Where members bind, and where everything else comes in. */
static const struct addr hub = { .ip = { 203, 0, 113, 1 }, .port = 3478, .family = ADDR_V4 };
static const struct addr stranger = { .ip = { 203, 0, 113, 2 }, .port = 3478, .family = ADDR_V4 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void bind_slot(struct relay_server *r, uint32_t slot, const uint8_t *token, const struct addr *from)
{
	uint8_t msg[RELAY_PROVE_LEN] = { RELAY_CONTROL, RELAY_BIND }, reply[RELAY_PROVE_LEN];
	struct relay_route route = { hub, *from };
	size_t n;

	store_le32(msg + 4, slot);
	must(relay_server_on_datagram(r, msg, RELAY_BIND_LEN, &route, 0, reply, &n) == RELAY_REPLY);
	msg[1] = RELAY_PROVE;
	memcpy(msg + 8, reply + 8, RELAY_MAC);
	crypto_blake2s(msg + 24, RELAY_MAC, token, RELAY_TOKEN, &(struct part) { msg + 4, 20 }, 1);
	must(relay_server_on_datagram(r, msg, RELAY_PROVE_LEN, &route, 0, reply, &n) == RELAY_REPLY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_over(data, size);
	struct addr a = address(4 + 1), b = address(4 + 2);
	struct rng rng;
	uint64_t now = 0;

	crypto_init();
	rng_init_seed(&rng, 1);
	struct relay_server *r = relay_server_create(4, 4, &rng);
	relay_server_take_guests(r, tokens[0]);
	uint32_t slot_a = relay_slot_open(r, 1, tokens[0]), slot_b = relay_slot_open(r, 1, tokens[1]);
	must(relay_session_open(r, slot_a, slot_b) != 0);
	bind_slot(r, slot_a, tokens[0], &a);
	bind_slot(r, slot_b, tokens[1], &b);
	while (in.left > 3) {
		struct addr from = address(read_u8(&in));
		now += read_u8(&in) * 100U;
		size_t stride = read_u8(&in), len = read_u8(&in);
		stride = stride ? stride : 1;
		len = len < in.left ? len : in.left;
		const uint8_t *train = read_bytes(&in, len);
		for (size_t off = 0, run; off < len; off += run) {
			struct relay_route route = { stranger, from };
			uint8_t reply[RELAY_PROVE_LEN];
			size_t reply_len = 0;
			run = relay_run(train + off, len - off, stride);
			must(run && run <= len - off && (run % stride == 0 || off + run == len));
			enum relay_action what = relay_server_on_run(r, train + off, run, stride, &route, now,
								     reply, &reply_len);
			must(what != RELAY_REPLY || reply_len <= run);
			must(what != RELAY_FORWARD ||
			     (addr_equal(&from, &a) && addr_equal(&route.node, &b)) ||
			     (addr_equal(&from, &b) && addr_equal(&route.node, &a)));
			must(what != RELAY_FORWARD || addr_equal(&route.hub, &hub));
			must(what != RELAY_REPLY || addr_equal(&route.node, &from));
			must(relay_server_stats(r).bound <= 2 && relay_server_stats(r).slots == 2);
		}
	}
	relay_server_destroy(r);
	return 0;
}
