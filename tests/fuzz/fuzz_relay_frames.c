/* Relayed data over links. Input: stride(1), from(1), then one message; taken as a message of a link, and as a run of
 * datagrams that came by UDP. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "relay/relay_frame.h"
#include "relay/relay_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* What comes from a link goes out as datagrams, and would go in as the same again. */
static void link_to_udp(const uint8_t *msg, size_t len)
{
	static uint8_t train[RELAY_FRAME_UDP_MAX], back[RELAY_RUN_MAX];
	struct relay_frame f, g;
	size_t back_len;

	if (!relay_frame_read(&f, msg, len))
		return;
	must(!relay_frame_is_move(msg, len));
	size_t n = relay_frame_unpack(train, &f);
	must(n == f.len + relay_frame_count(&f) * RELAY_HEADER && n <= sizeof train);
	must(relay_run(train, n, f.stride + RELAY_HEADER) == n);
	must(relay_frame_pack(back, &back_len, train, n, f.stride + RELAY_HEADER) == n);
	must(relay_frame_read(&g, back, back_len));
	must(g.session == f.session && g.stride == f.stride && g.len == f.len);
	must(memcmp(g.data, f.data, f.len) == 0);
}

static void udp_to_link(const uint8_t *train, size_t len, size_t stride)
{
	static uint8_t msg[RELAY_RUN_MAX], back[RELAY_FRAME_UDP_MAX];

	len = len ? relay_run(train, len, stride) : 0;
	if (len <= RELAY_HEADER || train[0] != RELAY_DATA || train[1] || train[2] || train[3])
		return;
	for (size_t at = 0, n, msg_len; at < len; at += n) {
		struct relay_frame f;
		n = relay_frame_pack(msg, &msg_len, train + at, len - at, stride);
		if (n == 0)
			return;
		must(n <= len - at && msg_len <= sizeof msg && relay_frame_read(&f, msg, msg_len));
		must(relay_frame_unpack(back, &f) == n && memcmp(back, train + at, n) == 0);
	}
}

static void through_the_relay(uint8_t from, const uint8_t *msg, size_t len)
{
	static const uint8_t token[RELAY_TOKEN] = "one";
	struct relay_route route;
	struct rng rng;

	rng_init_seed(&rng, 1);
	struct relay_server *r = relay_server_create(4, 4, &rng);
	uint32_t a = relay_slot_open(r, 1, token), b = relay_slot_open(r, 1, token);
	uint32_t other = relay_slot_open(r, 2, token), session = relay_session_open(r, a, b);
	uint8_t move[RELAY_MOVE_LEN];
	relay_frame_write_move(move);
	must(session && relay_server_on_link(r, b, 2, move, sizeof move, &route, 0) == RELAY_DROP);
	enum relay_action what = relay_server_on_link(r, from & 1 ? a : other, 1, msg, len, &route, 0);
	must(what == RELAY_DROP ||
	     (what == RELAY_FORWARD && from & 1 && load_le32(msg + 4) == session && route.link == 2));
	must(relay_server_stats(r).by_link <= 2);
	relay_server_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	crypto_init();
	link_to_udp(data + 2, size - 2);
	udp_to_link(data + 2, size - 2, (size_t)data[0] + 1);
	through_the_relay(data[1], data + 2, size - 2);
	return 0;
}
