#include "core/cookie.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"

enum {
	MAC_LEN = 16,
	COOKIE_LEN = 16,
	OFF_SENDER = 4,
	REPLY_RECEIVER = 4,
	REPLY_NONCE = 8,
	REPLY_COOKIE = 32
};

static void label_key(uint8_t out[static 32], const char label[static 8], const uint8_t pk[static 32])
{
	crypto_blake2s(out, 32, NULL, 0, (struct part[]) { { label, 8 }, { pk, 32 } }, 2);
}

static void mac(uint8_t out[static MAC_LEN], const void *key, size_t key_len, const void *msg, size_t len)
{
	crypto_blake2s(out, MAC_LEN, key, key_len, &(struct part) { msg, len }, 1);
}

static bool mac_matches(const void *key, size_t key_len, const uint8_t *msg, size_t len)
{
	uint8_t want[MAC_LEN];

	mac(want, key, key_len, msg, len);
	return crypto_equal(want, msg + len, MAC_LEN);
}

void cookie_checker_init(struct cookie_checker *c, const uint8_t our_pk[static 32])
{
	memset(c, 0, sizeof *c);
	label_key(c->mac1_key, "mac1----", our_pk);
	label_key(c->cookie_key, "cookie--", our_pk);
}

static void refresh_secret(struct cookie_checker *c, uint64_t now_ms, struct rng *rng)
{
	if (c->has_secret && now_ms - c->secret_born_ms < COOKIE_SECRET_MS)
		return;
	rng_fill(rng, c->secret, sizeof c->secret);
	c->secret_born_ms = now_ms;
	c->has_secret = true;
}

static void make_cookie(const struct cookie_checker *c, const struct addr *from,
			uint8_t out[static COOKIE_LEN])
{
	uint8_t port[2];
	struct part parts[] = { { from->ip, from->family == ADDR_V4 ? 4 : 16 }, { port, sizeof port } };

	store_be16(port, from->port);
	crypto_blake2s(out, COOKIE_LEN, c->secret, sizeof c->secret, parts, 2);
}

static bool is_full(const struct cookie_bucket *b, uint64_t now_ms)
{
	return b->bucket.spent == 0 || now_ms - b->bucket.at_ms >= COOKIE_FULL_AFTER_MS;
}

/* The bucket of a source: its own, else a full one, which need not be remembered, else NULL. The set follows from the
 * cookie secret, so nobody can aim at the set of another source. */
static struct cookie_bucket *find_bucket(struct cookie_checker *c, const uint8_t prefix[static 8],
					 uint64_t now_ms)
{
	struct part part = { prefix, 8 };
	struct cookie_bucket *set, *found = NULL;
	uint8_t hash[MAC_LEN];

	crypto_blake2s(hash, sizeof hash, c->secret, sizeof c->secret, &part, 1);
	set = &c->buckets[load_le32(hash) % (COOKIE_BUCKETS / COOKIE_WAYS) * COOKIE_WAYS];
	for (struct cookie_bucket *b = set; b < set + COOKIE_WAYS; b++) {
		if (is_full(b, now_ms))
			found = b;
		else if (memcmp(b->prefix, prefix, sizeof b->prefix) == 0)
			return b;
	}
	return found;
}

static bool take_token(struct cookie_checker *c, const struct addr *from, uint64_t now_ms)
{
	struct cookie_bucket *b = find_bucket(c, from->ip, now_ms);

	if (!b)
		return false;
	memcpy(b->prefix, from->ip, sizeof b->prefix);
	return bucket_take(&b->bucket, COOKIE_RATE_PER_S, COOKIE_BURST, now_ms);
}

static void write_reply(const struct cookie_checker *c, const uint8_t *msg, size_t len,
			const uint8_t cookie[static COOKIE_LEN], struct rng *rng, uint8_t *reply)
{
	const uint8_t *mac1 = msg + len - WG_MACS_LEN;

	store_le32(reply, WG_COOKIE);
	memcpy(reply + REPLY_RECEIVER, msg + OFF_SENDER, 4);
	rng_fill(rng, reply + REPLY_NONCE, CRYPTO_XNONCE);
	crypto_xchacha_seal(reply + REPLY_COOKIE, cookie, COOKIE_LEN, mac1, MAC_LEN, reply + REPLY_NONCE,
			    c->cookie_key);
}

static bool is_handshake(const uint8_t *msg, size_t len)
{
	if (len == WG_INITIATION_LEN)
		return load_le32(msg) == WG_INITIATION;
	return len == WG_RESPONSE_LEN && load_le32(msg) == WG_RESPONSE;
}

enum cookie_verdict cookie_check(struct cookie_checker *c, const uint8_t *msg, size_t len,
				 const struct addr *from, bool under_load, uint64_t now_ms, struct rng *rng,
				 uint8_t reply[static WG_COOKIE_LEN])
{
	uint8_t cookie[COOKIE_LEN];

	if (!is_handshake(msg, len))
		return COOKIE_DROP;
	if (!mac_matches(c->mac1_key, sizeof c->mac1_key, msg, len - WG_MACS_LEN))
		return COOKIE_DROP;
	if (!under_load)
		return COOKIE_ACCEPT;
	refresh_secret(c, now_ms, rng);
	make_cookie(c, from, cookie);
	if (mac_matches(cookie, sizeof cookie, msg, len - MAC_LEN))
		return take_token(c, from, now_ms) ? COOKIE_ACCEPT : COOKIE_DROP;
	write_reply(c, msg, len, cookie, rng, reply);
	return COOKIE_REPLY;
}

void cookie_jar_init(struct cookie_jar *j, const uint8_t peer_pk[static 32])
{
	memset(j, 0, sizeof *j);
	label_key(j->mac1_key, "mac1----", peer_pk);
	label_key(j->cookie_key, "cookie--", peer_pk);
}

void cookie_stamp(struct cookie_jar *j, uint8_t *msg, size_t len, uint64_t now_ms)
{
	uint8_t *mac1 = msg + len - WG_MACS_LEN, *mac2 = mac1 + MAC_LEN;

	mac(mac1, j->mac1_key, sizeof j->mac1_key, msg, len - WG_MACS_LEN);
	memcpy(j->last_mac1, mac1, MAC_LEN);
	j->mac1_sent = true;
	if (j->has_cookie && now_ms - j->cookie_born_ms < COOKIE_USE_MS)
		mac(mac2, j->cookie, sizeof j->cookie, msg, len - MAC_LEN);
	else
		memset(mac2, 0, MAC_LEN);
}

int cookie_open(struct cookie_jar *j, const uint8_t msg[static WG_COOKIE_LEN], uint64_t now_ms)
{
	uint8_t cookie[COOKIE_LEN];

	if (!j->mac1_sent || load_le32(msg) != WG_COOKIE)
		return -EBADMSG;
	if (crypto_xchacha_open(cookie, msg + REPLY_COOKIE, sizeof cookie + CRYPTO_TAG, j->last_mac1, MAC_LEN,
				msg + REPLY_NONCE, j->cookie_key) < 0)
		return -EBADMSG;
	memcpy(j->cookie, cookie, sizeof cookie);
	j->cookie_born_ms = now_ms;
	j->has_cookie = true;
	j->mac1_sent = false;
	return 0;
}
