#include "nat/stun.h"

#include <errno.h>

#include "core/bytes.h"
#include "core/crypto.h"

/* A message is a header of 20 bytes (type, length of what follows, magic cookie, transaction id), then attributes
 * (type, length, value, padding to 4 bytes). What comes behind MESSAGE-INTEGRITY is not covered by it and ignored,
 * save FINGERPRINT, which is always last. */

enum {
	MAGIC_COOKIE = 0x2112a442,
	FINGERPRINT_XOR = 0x5354554e, /* RFC 8489 section 14.7 */
	ATTR_HEADER = 4,
	INTEGRITY_LEN = 20,
	COOKIE_AT = 4, /* where the 16 bytes start that addresses are XORed with: cookie and transaction id */
};

/* Attributes below 0x8000 are comprehension-required. */
enum {
	ATTR_MAPPED_ADDRESS = 0x0001,
	ATTR_CHANGE_REQUEST = 0x0003, /* RFC 5780 section 7.2 */
	ATTR_SOURCE_ADDRESS = 0x0004, /* RFC 3489 section 11.2 */
	ATTR_CHANGED_ADDRESS = 0x0005,
	ATTR_USERNAME = 0x0006,
	ATTR_MESSAGE_INTEGRITY = 0x0008,
	ATTR_ERROR_CODE = 0x0009,
	ATTR_UNKNOWN_ATTRIBUTES = 0x000a,
	ATTR_XOR_MAPPED_ADDRESS = 0x0020,
	ATTR_PADDING = 0x0026,	     /* RFC 5780 section 7.6 */
	ATTR_RESPONSE_PORT = 0x0027, /* RFC 5780 section 7.5 */
	ATTR_SOFTWARE = 0x8022,
	ATTR_FINGERPRINT = 0x8028,
	ATTR_RESPONSE_ORIGIN = 0x802b, /* RFC 5780 section 7.3 */
	ATTR_OTHER_ADDRESS = 0x802c,   /* RFC 5780 section 7.4 */
};

/* Comprehension-required attributes whose content is nothing to us, so that they are no reason to refuse a message:
 * credentials, which we do not ask for, and two addresses that servers still add for clients of RFC 3489. */
static const uint16_t ignored[] = {
	ATTR_SOURCE_ADDRESS,
	ATTR_CHANGED_ADDRESS,
	0x0014, /* REALM */
	0x0015, /* NONCE */
	0x001c, /* MESSAGE-INTEGRITY-SHA256 */
	0x001d, /* PASSWORD-ALGORITHM */
	0x001e, /* USERHASH */
};

struct attr {
	uint16_t type;
	struct reader value;
};

static const uint8_t no_xor[16];

/* RFC 8489 section 5: the two bits of the class sit between those of the method. */
static uint16_t type_of(enum stun_class cls, unsigned method)
{
	return (uint16_t)((method & 0x00f) | (cls & 1) << 4 | (method & 0x070) << 1 | (cls & 2) << 7 |
			  (method & 0xf80) << 2);
}

static enum stun_class class_of(unsigned type)
{
	return (enum stun_class)((type >> 4 & 1) | (type >> 7 & 2));
}

static uint16_t method_of(unsigned type)
{
	return (uint16_t)((type & 0x00f) | (type >> 1 & 0x070) | (type >> 2 & 0xf80));
}

static size_t padding(size_t len)
{
	return -len & 3;
}

static uint32_t crc32(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0U;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static bool has_form(const uint8_t *msg, size_t len)
{
	return len >= STUN_HEADER && len % 4 == 0 && msg[0] < 0x40 && load_be16(msg + 2) == len - STUN_HEADER;
}

bool stun_is_message(const uint8_t *msg, size_t len)
{
	return has_form(msg, len) && load_be32(msg + COOKIE_AT) == MAGIC_COOKIE;
}

/* --- Decoding. Each decode_ function sets value->bad when the value has not the form that it must have. */

/* `key` holds 16 bytes to XOR the address with; the port uses the first two. */
static struct addr decode_addr(struct reader *value, const uint8_t *key)
{
	uint8_t ip[16];

	read_u8(value);
	uint8_t family = read_u8(value);
	uint16_t port = read_be16(value) ^ load_be16(key);
	if ((family != 1 || value->left != 4) && (family != 2 || value->left != 16))
		value->bad = true;
	size_t len = value->left;
	read_into(value, ip, len <= sizeof ip ? len : sizeof ip);
	if (value->bad)
		return (struct addr) { 0 };
	for (size_t i = 0; i < len; i++)
		ip[i] ^= key[i];
	return addr_from_ip(family == 1 ? ADDR_V4 : ADDR_V6, ip, port);
}

static uint16_t decode_error_code(struct reader *value)
{
	read_be16(value);
	uint8_t hundreds = read_u8(value) & 7, rest = read_u8(value);

	if (hundreds < 3 || hundreds > 6 || rest > 99) /* RFC 8489 section 14.8 */
		value->bad = true;
	return (uint16_t)(hundreds * 100 + rest);
}

static uint32_t decode_u32(struct reader *value)
{
	if (value->left != 4)
		value->bad = true;
	return read_be32(value);
}

/* Two bytes that clients send as they are, or with the two that fill them up counted in. */
static uint16_t decode_port(struct reader *value)
{
	if (value->left != 2 && value->left != 4)
		value->bad = true;
	return read_be16(value);
}

static const uint8_t *decode_integrity(struct reader *value)
{
	if (value->left != INTEGRITY_LEN)
		value->bad = true;
	return read_bytes(value, INTEGRITY_LEN);
}

/* True if right; a wrong one makes the message bad. */
static bool decode_fingerprint(struct reader *value, const uint8_t *msg)
{
	size_t covered = (size_t)(value->p - msg) - ATTR_HEADER;

	if (decode_u32(value) != (crc32(msg, covered) ^ FINGERPRINT_XOR))
		value->bad = true;
	return !value->bad;
}

static const char *decode_text(const struct reader *value, size_t *len)
{
	*len = value->left;
	return (const char *)value->p;
}

static void note_unknown(struct stun_msg *out, uint16_t type)
{
	if (type >= 0x8000 || out->unknown_count == STUN_MAX_UNKNOWN)
		return;
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
		if (type == ignored[i])
			return;
	}
	out->unknown[out->unknown_count++] = type;
}

static int decode_attr(struct stun_msg *out, struct attr *a, const uint8_t *msg)
{
	struct reader *v = &a->value;

	if (out->integrity && a->type != ATTR_FINGERPRINT)
		return 0;
	switch (a->type) {
	case ATTR_XOR_MAPPED_ADDRESS: out->mapped = decode_addr(v, msg + COOKIE_AT); break;
	case ATTR_MAPPED_ADDRESS:
		if (out->mapped.family == ADDR_NONE)
			out->mapped = decode_addr(v, no_xor);
		break;
	case ATTR_OTHER_ADDRESS: out->other_address = decode_addr(v, no_xor); break;
	case ATTR_RESPONSE_ORIGIN: out->response_origin = decode_addr(v, no_xor); break;
	case ATTR_CHANGE_REQUEST: out->change_request = decode_u32(v); break;
	case ATTR_RESPONSE_PORT: out->response_port = decode_port(v); break;
	case ATTR_PADDING: out->padding = (uint16_t)v->left; break;
	case ATTR_ERROR_CODE: out->error_code = decode_error_code(v); break;
	case ATTR_UNKNOWN_ATTRIBUTES: break;
	case ATTR_USERNAME: out->username = decode_text(v, &out->username_len); break;
	case ATTR_SOFTWARE: out->software = decode_text(v, &out->software_len); break;
	case ATTR_MESSAGE_INTEGRITY: out->integrity = decode_integrity(v); break;
	case ATTR_FINGERPRINT: out->has_fingerprint = decode_fingerprint(v, msg); break;
	default: note_unknown(out, a->type);
	}
	return v->bad ? -EBADMSG : 0;
}

static bool next_attr(struct reader *r, struct attr *a)
{
	a->type = read_be16(r);
	uint16_t len = read_be16(r);
	a->value = reader_over(read_bytes(r, len), len);
	read_bytes(r, padding(len));
	return !r->bad;
}

static int decode(struct stun_msg *out, const uint8_t *msg, size_t len)
{
	uint16_t type = load_be16(msg);
	struct reader r = reader_over(msg + STUN_HEADER, len - STUN_HEADER);
	struct attr a;

	*out = (struct stun_msg) { .cls = class_of(type), .method = method_of(type) };
	memcpy(out->txid, msg + STUN_HEADER - STUN_TXID, STUN_TXID);
	while (r.left) {
		if (out->has_fingerprint || !next_attr(&r, &a) || decode_attr(out, &a, msg))
			return -EBADMSG;
	}
	return 0;
}

int stun_decode(struct stun_msg *out, const uint8_t *msg, size_t len)
{
	return stun_is_message(msg, len) ? decode(out, msg, len) : -EBADMSG;
}

int stun_decode_classic(struct stun_msg *out, const uint8_t *msg, size_t len)
{
	if (!has_form(msg, len) || stun_is_message(msg, len) || decode(out, msg, len))
		return -EBADMSG;
	out->classic = true;
	out->classic_id = load_be32(msg + COOKIE_AT);
	return 0;
}

bool stun_check_integrity(const struct stun_msg *m, const uint8_t *msg, const void *key, size_t key_len)
{
	uint8_t covered[STUN_MAX], want[INTEGRITY_LEN];

	if (!m->integrity)
		return false;
	size_t len = (size_t)(m->integrity - msg) - ATTR_HEADER;
	if (len > sizeof covered)
		return false;
	/* Computed as if the message ended with MESSAGE-INTEGRITY. */
	memcpy(covered, msg, len);
	store_be16(covered + 2, (uint16_t)(len + ATTR_HEADER + INTEGRITY_LEN - STUN_HEADER));
	crypto_hmac_sha1(want, key, key_len, covered, len);
	return crypto_equal(want, m->integrity, INTEGRITY_LEN);
}

/* --- Encoding. Each encode_ function writes one attribute, or nothing where it is not set. */

static void encode_header(struct writer *w, uint16_t type, size_t len)
{
	write_be16(w, type);
	write_be16(w, (uint16_t)len);
}

static void encode_addr(struct writer *w, uint16_t type, const struct addr *addr, const uint8_t *key)
{
	size_t len = addr->family == ADDR_V4 ? 4 : 16;

	if (addr->family == ADDR_NONE)
		return;
	encode_header(w, type, 4 + len);
	write_u8(w, 0);
	write_u8(w, addr->family == ADDR_V4 ? 1 : 2);
	write_be16(w, addr->port ^ load_be16(key));
	for (size_t i = 0; i < len; i++)
		write_u8(w, addr->ip[i] ^ key[i]);
}

static void encode_text(struct writer *w, uint16_t type, const char *text, size_t len)
{
	if (!text)
		return;
	encode_header(w, type, len);
	write_bytes(w, text, len);
	write_zeros(w, padding(len));
}

static void encode_change_request(struct writer *w, uint32_t flags)
{
	if (!flags)
		return;
	encode_header(w, ATTR_CHANGE_REQUEST, 4);
	write_be32(w, flags);
}

static void encode_response_port(struct writer *w, uint16_t port)
{
	if (!port)
		return;
	encode_header(w, ATTR_RESPONSE_PORT, 4);
	write_be16(w, port);
	write_be16(w, 0);
}

static void encode_padding(struct writer *w, uint16_t len)
{
	if (!len)
		return;
	encode_header(w, ATTR_PADDING, len);
	write_zeros(w, len + padding(len));
}

/* Without the phrase in words, which only a person would read. */
static void encode_error_code(struct writer *w, unsigned code)
{
	if (!code)
		return;
	encode_header(w, ATTR_ERROR_CODE, 4);
	write_be16(w, 0);
	write_u8(w, (uint8_t)(code / 100));
	write_u8(w, (uint8_t)(code % 100));
}

static void encode_unknown(struct writer *w, const uint16_t *types, size_t count)
{
	if (!count)
		return;
	encode_header(w, ATTR_UNKNOWN_ATTRIBUTES, 2 * count);
	for (size_t i = 0; i < count; i++)
		write_be16(w, types[i]);
	write_zeros(w, padding(2 * count));
}

static void encode_fingerprint(struct writer *w)
{
	size_t covered = w->len;

	encode_header(w, ATTR_FINGERPRINT, 4);
	uint8_t *value = write_room(w, 4);
	if (!value)
		return;
	store_be16(w->base + 2, (uint16_t)(w->len - STUN_HEADER)); /* the checksum covers it */
	store_be32(value, crc32(w->base, covered) ^ FINGERPRINT_XOR);
}

static void encode_addresses(struct writer *w, const struct stun_msg *m)
{
	if (m->classic)
		encode_addr(w, ATTR_MAPPED_ADDRESS, &m->mapped, no_xor);
	else
		encode_addr(w, ATTR_XOR_MAPPED_ADDRESS, &m->mapped, w->base + COOKIE_AT);
	encode_addr(w, m->classic ? ATTR_SOURCE_ADDRESS : ATTR_RESPONSE_ORIGIN, &m->response_origin, no_xor);
	encode_addr(w, m->classic ? ATTR_CHANGED_ADDRESS : ATTR_OTHER_ADDRESS, &m->other_address, no_xor);
}

int stun_encode(const struct stun_msg *m, bool fingerprint, uint8_t *out, size_t cap)
{
	size_t max = m->padding ? STUN_PADDED_MAX : STUN_MAX;
	struct writer w = writer_over(out, cap < max ? cap : max);

	encode_header(&w, type_of(m->cls, m->method), 0);
	write_be32(&w, m->classic ? m->classic_id : MAGIC_COOKIE);
	write_bytes(&w, m->txid, STUN_TXID);
	if (w.bad)
		return -EINVAL;
	encode_addresses(&w, m);
	encode_change_request(&w, m->change_request);
	encode_response_port(&w, m->response_port);
	encode_error_code(&w, m->error_code);
	encode_unknown(&w, m->unknown, m->unknown_count);
	encode_text(&w, ATTR_USERNAME, m->username, m->username_len);
	encode_text(&w, ATTR_SOFTWARE, m->software, m->software_len);
	encode_padding(&w, m->padding);
	store_be16(out + 2, (uint16_t)(w.len - STUN_HEADER));
	if (fingerprint)
		encode_fingerprint(&w);
	return w.bad ? -EINVAL : (int)w.len;
}
