/* Relaying over links: between two of them, and between a link and UDP. */
#include "apps/p2phub/serve_internal.h"

#include "core/bytes.h"

/* Small messages that wait leave together, in a TLS record (RFC 8446 section 5.1) with their headers. */
enum { TOGETHER = 16384 - FRAME_QUEUE_MESSAGES * WEBSOCKET_HEADER_MAX };

/* At once while the stream takes it; else it waits where the oldest can be dropped, and control overtakes it. A link that
 * fails here is closed when it is next spoken to. */
static void send_frame(struct link *k, uint32_t session, const uint8_t *msg, size_t len)
{
	if (!k->frames.list && websocket_server_queued(k->ws) < SERVE_DATA_MARK)
		websocket_server_send(k->ws, msg, len);
	else
		frame_queue_push(&k->frames, &k->serve->frames, session, msg, len);
}

static struct link *link_of(uint64_t id)
{
	return (struct link *)(uintptr_t)id;
}

static void forward(struct serve *s, const struct relay_route *route, const uint8_t *msg, size_t len)
{
	struct relay_frame f;

	if (!relay_frame_read(&f, msg, len))
		return;
	if (route->link)
		send_frame(link_of(route->link), f.session, msg, len);
	else
		serve_send_train(s, route, s->unpacked, relay_frame_unpack(s->unpacked, &f),
				 f.stride + RELAY_HEADER);
}

bool serve_relay_from_link(struct link *k, const uint8_t *msg, size_t len)
{
	struct serve *s = k->serve;
	uint64_t id = (uint64_t)(uintptr_t)k;
	struct relay_route route;

	if (len == 0 || msg[0] != RELAY_DATA)
		return false;
	if (!k->slot)
		k->slot = coord_slot(s->coord, id);
	if (!k->slot)
		return false;
	if (relay_server_on_link(s->relay, k->slot, id, msg, len, &route, loop_now_ms()) == RELAY_FORWARD)
		forward(s, &route, msg, len);
	return true;
}

void serve_relay_to_link(struct serve *s, uint64_t link, const uint8_t *run, size_t len, size_t stride)
{
	for (size_t at = 0, n, msg_len; at < len; at += n) {
		n = relay_frame_pack(s->packed, &msg_len, run + at, len - at, stride);
		if (n == 0)
			return;
		send_frame(link_of(link), load_le32(run + 4), s->packed, msg_len);
	}
}

void serve_relay_drain(struct link *k)
{
	struct part parts[FRAME_QUEUE_MESSAGES];

	while (websocket_server_queued(k->ws) < SERVE_DATA_MARK) {
		size_t n = frame_queue_peek(&k->frames, parts, TOGETHER);
		if (n == 0)
			return;
		websocket_server_send_all(k->ws, parts, n);
		frame_queue_pop(&k->frames, &k->serve->frames, n);
	}
}

void serve_relay_forget(struct link *k)
{
	relay_slot_unlink(k->serve->relay, k->slot, (uint64_t)(uintptr_t)k);
	frame_queue_clear(&k->frames, &k->serve->frames);
}
