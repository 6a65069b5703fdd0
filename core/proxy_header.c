#include "core/proxy_header.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"

enum {
	SIGNATURE = 12,
	FIXED = SIGNATURE + 4,
	VERSION_2_PROXY = 0x21,
	INET = 0x10,
	INET6 = 0x20,
	STREAM = 0x01,
	DGRAM = 0x02,
	TLV_HEAD = 3,
	TLV_SECRET = 0xe0,
};

static const uint8_t signature[SIGNATURE] = "\r\n\r\n\0\r\nQUIT\n";

static size_t ip_len(enum addr_family family)
{
	return family == ADDR_V4 ? 4 : 16;
}

size_t proxy_header_write(uint8_t out[static PROXY_HEADER_MAX], const struct proxy_header *h)
{
	struct writer w = writer_over(out, PROXY_HEADER_MAX);
	size_t ip = ip_len(h->from.family);

	if (h->from.family != h->to.family || h->from.family == ADDR_NONE)
		return 0;
	write_bytes(&w, signature, SIGNATURE);
	write_u8(&w, VERSION_2_PROXY);
	write_u8(&w, (h->from.family == ADDR_V4 ? INET : INET6) | (h->proto == FORWARD_TCP ? STREAM : DGRAM));
	write_be16(&w, (uint16_t)(2 * ip + 4 + (h->has_secret ? TLV_HEAD + FORWARD_SECRET : 0)));
	write_bytes(&w, h->from.ip, ip);
	write_bytes(&w, h->to.ip, ip);
	write_be16(&w, h->from.port);
	write_be16(&w, h->to.port);
	if (h->has_secret) {
		write_u8(&w, TLV_SECRET);
		write_be16(&w, FORWARD_SECRET);
		write_bytes(&w, h->secret, FORWARD_SECRET);
	}
	return w.len;
}

/* What cannot become a header any more is refused before the rest has come. */
static bool begins_well(const uint8_t *data, size_t len)
{
	return memcmp(data, signature, len < SIGNATURE ? len : SIGNATURE) == 0 &&
	       (len <= SIGNATURE || data[SIGNATURE] == VERSION_2_PROXY);
}

static int read_kind(struct proxy_header *h, enum addr_family *family, uint8_t kind)
{
	switch (kind & 0xf0) {
	case INET: *family = ADDR_V4; break;
	case INET6: *family = ADDR_V6; break;
	default: return -EBADMSG;
	}
	switch (kind & 0x0f) {
	case STREAM: h->proto = FORWARD_TCP; return 0;
	case DGRAM: h->proto = FORWARD_UDP; return 0;
	default: return -EBADMSG;
	}
}

/* An address that the one canonical form turns into another family came in disguise. */
static int read_addresses(struct proxy_header *h, enum addr_family family, struct reader *r)
{
	uint8_t from[16], to[16];

	read_into(r, from, ip_len(family));
	read_into(r, to, ip_len(family));
	h->from = addr_from_ip(family, from, read_be16(r));
	h->to = addr_from_ip(family, to, read_be16(r));
	return r->bad || h->from.family != family || h->to.family != family ? -EBADMSG : 0;
}

/* Where they stop to make sense, so do we: what is missing then is missed by the caller. */
static void read_tlvs(struct proxy_header *h, struct reader *r)
{
	for (;;) {
		uint8_t type = read_u8(r);
		uint16_t len = read_be16(r);
		const uint8_t *value = read_bytes(r, len);
		if (!value)
			return;
		if (type != TLV_SECRET || len != FORWARD_SECRET)
			continue;
		h->has_secret = true;
		memcpy(h->secret, value, FORWARD_SECRET);
	}
}

int proxy_header_read(struct proxy_header *h, const uint8_t *data, size_t len)
{
	enum addr_family family;

	*h = (struct proxy_header) { 0 };
	if (!begins_well(data, len))
		return -EBADMSG;
	if (len < FIXED)
		return -EAGAIN;
	size_t rest = load_be16(data + FIXED - 2);
	if (rest > PROXY_HEADER_READ_MAX - FIXED || read_kind(h, &family, data[SIGNATURE + 1]))
		return -EBADMSG;
	if (rest < 2 * ip_len(family) + 4)
		return -EBADMSG;
	if (len < FIXED + rest)
		return -EAGAIN;
	struct reader r = reader_over(data + FIXED, rest);
	int rc = read_addresses(h, family, &r);
	if (rc)
		return rc;
	read_tlvs(h, &r);
	return (int)(FIXED + rest);
}
