#include "core/sealer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/noise.h"

enum { OFF_RECEIVER = 4, OFF_COUNTER = 8 };

_Static_assert((int)SEALER_HEADER == (int)WG_DATA_HEADER, "both ciphers' messages have the same header");
_Static_assert((int)SEALER_OVERHEAD_MAX == SEALER_HEADER + (int)CRYPTO_AEGIS_TAG, "the longer tag");
_Static_assert((int)SEALER_ROOM == SEALER_PADDING - 1 + (int)CRYPTO_AEGIS_TAG, "padding and the longer tag");

const char *cipher_name(enum cipher cipher)
{
	switch (cipher) {
	case CIPHER_CHACHA20: return "chacha20-poly1305";
	case CIPHER_AEGIS256: return "aegis-256";
	case CIPHER_NONE: break;
	}
	return NULL;
}

static size_t padded_length(const struct sealer *s, size_t len)
{
	size_t padded = (len + SEALER_PADDING - 1) / SEALER_PADDING * SEALER_PADDING;

	if (padded <= s->mtu)
		return padded;
	return len > s->mtu ? len : s->mtu;
}

static size_t overhead(enum cipher cipher)
{
	return cipher == CIPHER_AEGIS256 ? SEALER_OVERHEAD_MAX : WG_DATA_OVERHEAD;
}

size_t sealer_length(const struct sealer *s, size_t len)
{
	return padded_length(s, len) + overhead(s->cipher);
}

size_t sealer_seal(struct sealer *s, uint8_t *out, const uint8_t *in, size_t len)
{
	uint8_t *data = out + SEALER_HEADER;
	size_t padded = padded_length(s, len);
	uint64_t counter = s->next++;

	/* A counter used twice gives both packets away. */
	if (counter >= s->end)
		abort();
	/* What follows `in` may belong to the next packet, so padding is made in `out`. */
	if (padded != len) {
		if (in != data)
			memcpy(data, in, len);
		memset(data + len, 0, padded - len);
		in = data;
	}
	store_le32(out, s->cipher == CIPHER_AEGIS256 ? SEALER_FIRST_BYTE_AEGIS : WG_DATA);
	store_le32(out + OFF_RECEIVER, s->receiver);
	store_le64(out + OFF_COUNTER, counter);
	if (s->cipher == CIPHER_AEGIS256)
		crypto_aegis_seal(data, in, padded, counter, s->key);
	else
		crypto_chacha_seal(data, in, padded, NULL, 0, counter, s->key);
	return padded + overhead(s->cipher);
}

bool opener_is_data(const uint8_t *msg, size_t len, uint32_t *receiver)
{
	uint32_t type = len < WG_DATA_OVERHEAD ? 0 : load_le32(msg);

	if (type != WG_DATA && (type != SEALER_FIRST_BYTE_AEGIS || len < SEALER_OVERHEAD_MAX))
		return false;
	*receiver = load_le32(msg + OFF_RECEIVER);
	return true;
}

static bool is_unsummed(uint8_t first)
{
	uint8_t version = (uint8_t)(first & ~SEALER_UNSUMMED) >> 4;

	return first & SEALER_UNSUMMED && (version == 4 || version == 6);
}

int opener_open(const struct opener *o, uint8_t *msg, size_t len, struct opened *out)
{
	enum cipher cipher = msg[0] == SEALER_FIRST_BYTE_AEGIS ? CIPHER_AEGIS256 : CIPHER_CHACHA20;
	uint64_t counter = load_le64(msg + OFF_COUNTER);
	uint8_t *data = msg + SEALER_HEADER;
	size_t sealed = len - SEALER_HEADER;
	int rc = -EBADMSG;

	*out = (struct opened) { .counter = counter };
	if (cipher == CIPHER_CHACHA20)
		rc = crypto_chacha_open(data, data, sealed, NULL, 0, counter, o->chacha);
	else if (o->has_aegis)
		rc = crypto_aegis_open(data, data, sealed, counter, o->aegis);
	if (rc < 0)
		return rc;
	out->data = data;
	out->len = (uint32_t)(len - overhead(cipher));
	out->unsummed = cipher == CIPHER_AEGIS256 && out->len && is_unsummed(data[0]);
	if (out->unsummed)
		data[0] &= (uint8_t)~SEALER_UNSUMMED;
	return 0;
}
