#include "core/probe.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"

enum {
	HEAD = 4 + PROBE_TAG, /* what is sent in clear and authenticated */
	SEALED_AT = HEAD + CRYPTO_XNONCE,
	PLAIN_MAX = PROBE_MAX - SEALED_AT - CRYPTO_TAG,
};

static const char key_label[] = "p2pd1/probe";
static const char tag_label[] = "p2pd1/probetag";

static void derive_key(uint8_t out[static 32], const struct network *net, const uint8_t shared[static 32],
		       const uint8_t *pk_a, const uint8_t *pk_b)
{
	bool a_first = memcmp(pk_a, pk_b, 32) < 0;

	crypto_blake2b(out, 32, net->probe_key, sizeof net->probe_key,
		       (struct part[]) { { key_label, sizeof key_label - 1 },
					 { shared, 32 },
					 { a_first ? pk_a : pk_b, 32 },
					 { a_first ? pk_b : pk_a, 32 } },
		       4);
}

static void derive_tag(uint8_t out[static PROBE_TAG], const uint8_t key[static 32],
		       const uint8_t sender_pk[static 32])
{
	uint8_t hash[32];

	crypto_blake2b(hash, sizeof hash, key, 32,
		       (struct part[]) { { tag_label, sizeof tag_label - 1 }, { sender_pk, 32 } }, 2);
	memcpy(out, hash, PROBE_TAG);
}

int probe_keys_init(struct probe_keys *k, const struct network *net, const uint8_t our_sk[static 32],
		    const uint8_t our_pk[static 32], const uint8_t peer_pk[static 32])
{
	uint8_t shared[32];

	*k = (struct probe_keys) { 0 };
	if (memcmp(our_pk, peer_pk, 32) == 0 || crypto_x25519(shared, our_sk, peer_pk))
		return -EINVAL;
	derive_key(k->key, net, shared, our_pk, peer_pk);
	derive_tag(k->tag_tx, k->key, our_pk);
	derive_tag(k->tag_rx, k->key, peer_pk);
	crypto_wipe(shared, sizeof shared);
	return 0;
}

size_t probe_seal(const struct probe_keys *k, const struct probe *p, struct rng *rng, size_t size,
		  uint8_t out[static PROBE_MAX])
{
	size = size < PROBE_MIN ? PROBE_MIN : size > PROBE_MAX ? PROBE_MAX : size;
	size_t plain_len = size - SEALED_AT - CRYPTO_TAG;
	struct writer w = writer_over(out + SEALED_AT, plain_len);

	memset(out, 0, size);
	out[0] = PROBE_FIRST_BYTE;
	memcpy(out + 4, k->tag_tx, PROBE_TAG);
	rng_fill(rng, out + HEAD, CRYPTO_XNONCE);
	write_u8(&w, (uint8_t)p->kind);
	write_bytes(&w, p->txid, PROBE_TXID);
	addr_write(&w, &p->seen);
	crypto_xchacha_seal(out + SEALED_AT, out + SEALED_AT, plain_len, out, HEAD, out + HEAD, k->key);
	return size;
}

const uint8_t *probe_tag(const uint8_t *msg, size_t len)
{
	static const uint8_t first[4] = { PROBE_FIRST_BYTE };

	if (len < PROBE_MIN || len > PROBE_MAX || memcmp(msg, first, sizeof first) != 0)
		return NULL;
	return msg + sizeof first;
}

static int decode(struct probe *out, const uint8_t *plain, size_t len)
{
	struct reader r = reader_over(plain, len);
	struct probe p = { .kind = read_u8(&r) };

	read_into(&r, p.txid, sizeof p.txid);
	p.seen = addr_read(&r);
	if (r.bad || (p.kind != PROBE_PING && p.kind != PROBE_PONG) || !crypto_is_zero(r.p, r.left))
		return -EBADMSG;
	if (p.kind == PROBE_PING && p.seen.family != ADDR_NONE)
		return -EBADMSG;
	*out = p;
	return 0;
}

int probe_open(const struct probe_keys *k, const uint8_t *msg, size_t len, struct probe *out)
{
	uint8_t plain[PLAIN_MAX];
	const uint8_t *tag = probe_tag(msg, len);

	if (!tag || !crypto_equal(tag, k->tag_rx, PROBE_TAG))
		return -EBADMSG;
	if (crypto_xchacha_open(plain, msg + SEALED_AT, len - SEALED_AT, msg, HEAD, msg + HEAD, k->key))
		return -EBADMSG;
	return decode(out, plain, len - SEALED_AT - CRYPTO_TAG);
}
