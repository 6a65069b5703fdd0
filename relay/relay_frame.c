#include "relay/relay_frame.h"

#include <string.h>

#include "core/bytes.h"

enum { RUN = 0, MOVE = 1 };

static bool has_header(const uint8_t *msg, size_t len, uint8_t kind)
{
	return len >= RELAY_HEADER && msg[0] == RELAY_DATA && msg[1] == kind && !msg[2] && !msg[3];
}

bool relay_frame_read(struct relay_frame *f, const uint8_t *msg, size_t len)
{
	if (!has_header(msg, len, RUN) || len <= RELAY_RUN_HEADER || len > RELAY_RUN_MAX)
		return false;
	f->session = load_le32(msg + 4);
	f->stride = load_le16(msg + 8);
	f->data = msg + RELAY_RUN_HEADER;
	f->len = len - RELAY_RUN_HEADER;
	if (f->stride > f->len)
		f->stride = f->len;
	return f->stride && relay_frame_count(f) <= RELAY_RUN_DATAGRAMS;
}

bool relay_frame_is_move(const uint8_t *msg, size_t len)
{
	return len == RELAY_MOVE_LEN && has_header(msg, len, MOVE) && load_le32(msg + 4) == 0;
}

size_t relay_frame_count(const struct relay_frame *f)
{
	return (f->len + f->stride - 1) / f->stride;
}

void relay_frame_write_move(uint8_t out[static RELAY_MOVE_LEN])
{
	memset(out, 0, RELAY_MOVE_LEN);
	out[0] = RELAY_DATA;
	out[1] = MOVE;
}

size_t relay_frame_pack(uint8_t out[static RELAY_RUN_MAX], size_t *out_len, const uint8_t *run, size_t len,
			size_t stride)
{
	size_t to = RELAY_RUN_HEADER, at = 0;

	*out_len = 0;
	if (stride <= RELAY_HEADER)
		return 0;
	for (unsigned i = 0; i < RELAY_RUN_DATAGRAMS && len - at > RELAY_HEADER; i++) {
		size_t n = len - at < stride ? len - at : stride, body = n - RELAY_HEADER;
		if (body > RELAY_RUN_MAX - to)
			break;
		memcpy(out + to, run + at + RELAY_HEADER, body);
		to += body;
		at += n;
	}
	if (at == 0)
		return 0;
	memcpy(out, run, RELAY_HEADER);
	store_le16(out + RELAY_HEADER, (uint16_t)((at < stride ? at : stride) - RELAY_HEADER));
	*out_len = to;
	return at;
}

size_t relay_frame_unpack(uint8_t out[static RELAY_FRAME_UDP_MAX], const struct relay_frame *f)
{
	uint8_t *to = out, header[RELAY_HEADER] = { RELAY_DATA };

	store_le32(header + 4, f->session);
	for (size_t at = 0, n; at < f->len; at += n) {
		n = f->len - at < f->stride ? f->len - at : f->stride;
		memcpy(to, header, sizeof header);
		memcpy(to + sizeof header, f->data + at, n);
		to += sizeof header + n;
	}
	return (size_t)(to - out);
}
