#include "core/noise.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

/* Where the fields of the messages start (paper sections 5.4.2 and 5.4.3). */
enum {
	OFF_SENDER = 4,
	INIT_EPHEMERAL = 8,
	INIT_STATIC = 40,
	INIT_TIMESTAMP = 88,
	RESP_RECEIVER = 8,
	RESP_EPHEMERAL = 12,
	RESP_EMPTY = 44,
};

/* What both sides of a handshake compute in step; `key` is the AEAD key of the next sealed field. */
struct transcript {
	uint8_t hash[32], chain[32], key[32];
};

/* KDF_n of the paper: the chaining key always, the second and third output when wanted. */
static void kdf(uint8_t chain[static 32], const void *input, size_t len, uint8_t *second, uint8_t *third)
{
	uint8_t prk[32], t[32];

	crypto_hmac_blake2s(prk, chain, 32, &(struct part) { input, len }, 1);
	crypto_hmac_blake2s(t, prk, 32, &(struct part) { "\x01", 1 }, 1);
	memcpy(chain, t, 32);
	if (second) {
		crypto_hmac_blake2s(t, prk, 32, (struct part[]) { { t, 32 }, { "\x02", 1 } }, 2);
		memcpy(second, t, 32);
	}
	if (third)
		crypto_hmac_blake2s(third, prk, 32, (struct part[]) { { t, 32 }, { "\x03", 1 } }, 2);
	crypto_wipe(prk, sizeof prk);
	crypto_wipe(t, sizeof t);
}

static void mix_hash(struct transcript *t, const void *data, size_t len)
{
	crypto_blake2s(t->hash, 32, NULL, 0, (struct part[]) { { t->hash, 32 }, { data, len } }, 2);
}

static void mix_ephemeral(struct transcript *t, const uint8_t pk[static 32])
{
	mix_hash(t, pk, 32);
	kdf(t->chain, pk, 32, NULL, NULL);
}

static int mix_dh(struct transcript *t, const uint8_t sk[static 32], const uint8_t pk[static 32])
{
	uint8_t shared[32];
	int rc = crypto_x25519(shared, sk, pk);

	if (rc == 0)
		kdf(t->chain, shared, 32, t->key, NULL);
	crypto_wipe(shared, sizeof shared);
	return rc;
}

static void mix_psk(struct transcript *t, const uint8_t psk[static 32])
{
	uint8_t tau[32];

	kdf(t->chain, psk, 32, tau, t->key);
	mix_hash(t, tau, 32);
	crypto_wipe(tau, sizeof tau);
}

static void seal_field(struct transcript *t, uint8_t *out, const void *in, size_t len)
{
	crypto_chacha_seal(out, in, len, t->hash, 32, 0, t->key);
	mix_hash(t, out, len + CRYPTO_TAG);
}

static int open_field(struct transcript *t, uint8_t *out, const uint8_t *in, size_t len)
{
	int rc = crypto_chacha_open(out, in, len, t->hash, 32, 0, t->key);

	mix_hash(t, in, len);
	return rc;
}

static void start(struct transcript *t, const uint8_t responder_pk[static 32])
{
	noise_initial(t->chain, t->hash);
	mix_hash(t, responder_pk, 32);
}

static void new_ephemeral(struct rng *rng, uint8_t sk[static 32], uint8_t *pk)
{
	rng_fill(rng, sk, 32);
	crypto_x25519_clamp(sk);
	crypto_x25519_public(pk, sk);
}

void noise_initial(uint8_t chain[static 32], uint8_t hash[static 32])
{
	struct part c = { construction, sizeof construction - 1 };

	crypto_blake2s(chain, 32, NULL, 0, &c, 1);
	crypto_blake2s(hash, 32, NULL, 0,
		       (struct part[]) { { chain, 32 }, { identifier, sizeof identifier - 1 } }, 2);
}

void noise_local_init(struct noise_local *local, const uint8_t sk[static 32])
{
	memcpy(local->sk, sk, 32);
	crypto_x25519_clamp(local->sk);
	crypto_x25519_public(local->pk, local->sk);
}

int noise_remote_init(struct noise_remote *remote, const struct noise_local *local,
		      const uint8_t pk[static 32], const uint8_t *psk)
{
	memset(remote, 0, sizeof *remote);
	if (crypto_equal(pk, local->pk, 32))
		return -EINVAL;
	memcpy(remote->pk, pk, 32);
	if (psk)
		memcpy(remote->psk, psk, 32);
	return crypto_x25519(remote->ss, local->sk, pk);
}

int noise_initiate(struct noise_initiator *hs, const struct noise_local *local,
		   const struct noise_remote *remote, uint32_t local_index,
		   const uint8_t timestamp[static NOISE_TIMESTAMP_LEN], struct rng *rng,
		   uint8_t msg[static WG_INITIATION_LEN])
{
	struct transcript t;

	memset(msg, 0, WG_INITIATION_LEN);
	store_le32(msg, WG_INITIATION);
	store_le32(msg + OFF_SENDER, local_index);
	start(&t, remote->pk);
	new_ephemeral(rng, hs->ephemeral_sk, msg + INIT_EPHEMERAL);
	mix_ephemeral(&t, msg + INIT_EPHEMERAL);
	int rc = mix_dh(&t, hs->ephemeral_sk, remote->pk);
	if (rc == 0) {
		seal_field(&t, msg + INIT_STATIC, local->pk, 32);
		kdf(t.chain, remote->ss, 32, t.key, NULL);
		seal_field(&t, msg + INIT_TIMESTAMP, timestamp, NOISE_TIMESTAMP_LEN);
		memcpy(hs->hash, t.hash, 32);
		memcpy(hs->chain, t.chain, 32);
		hs->local_index = local_index;
	}
	crypto_wipe(&t, sizeof t);
	return rc;
}

static int open_initiation(struct noise_initiation *in, struct transcript *t, const struct noise_local *local,
			   const uint8_t *msg)
{
	int rc;

	if (load_le32(msg) != WG_INITIATION)
		return -EBADMSG;
	start(t, local->pk);
	mix_ephemeral(t, msg + INIT_EPHEMERAL);
	if ((rc = mix_dh(t, local->sk, msg + INIT_EPHEMERAL)) < 0)
		return rc;
	if ((rc = open_field(t, in->peer_pk, msg + INIT_STATIC, 32 + CRYPTO_TAG)) < 0)
		return rc;
	if ((rc = mix_dh(t, local->sk, in->peer_pk)) < 0)
		return rc;
	if ((rc = open_field(t, in->timestamp, msg + INIT_TIMESTAMP, NOISE_TIMESTAMP_LEN + CRYPTO_TAG)) < 0)
		return rc;
	memcpy(in->peer_ephemeral, msg + INIT_EPHEMERAL, 32);
	memcpy(in->hash, t->hash, 32);
	memcpy(in->chain, t->chain, 32);
	in->remote_index = load_le32(msg + OFF_SENDER);
	return 0;
}

int noise_open_initiation(struct noise_initiation *in, const struct noise_local *local,
			  const uint8_t msg[static WG_INITIATION_LEN])
{
	struct transcript t;
	int rc = open_initiation(in, &t, local, msg);

	crypto_wipe(&t, sizeof t);
	if (rc < 0)
		crypto_wipe(in, sizeof *in);
	return rc;
}

/* The paper's section 5.4.5: the first key is that of the initiator's messages. */
static void derive(struct transcript *t, uint8_t from_initiator[static 32], uint8_t from_responder[static 32])
{
	kdf(t->chain, NULL, 0, from_responder, NULL);
	memcpy(from_initiator, t->chain, 32);
}

int noise_respond(const struct noise_initiation *in, const struct noise_remote *remote, uint32_t local_index,
		  struct rng *rng, uint8_t msg[static WG_RESPONSE_LEN], struct noise_keys *keys)
{
	struct transcript t;
	uint8_t sk[32];

	memcpy(t.hash, in->hash, 32);
	memcpy(t.chain, in->chain, 32);
	memset(msg, 0, WG_RESPONSE_LEN);
	store_le32(msg, WG_RESPONSE);
	store_le32(msg + OFF_SENDER, local_index);
	store_le32(msg + RESP_RECEIVER, in->remote_index);
	new_ephemeral(rng, sk, msg + RESP_EPHEMERAL);
	mix_ephemeral(&t, msg + RESP_EPHEMERAL);
	int rc = mix_dh(&t, sk, in->peer_ephemeral);
	if (rc == 0)
		rc = mix_dh(&t, sk, remote->pk);
	if (rc == 0) {
		mix_psk(&t, remote->psk);
		seal_field(&t, msg + RESP_EMPTY, NULL, 0);
		derive(&t, keys->receive, keys->send);
	}
	crypto_wipe(sk, sizeof sk);
	crypto_wipe(&t, sizeof t);
	return rc;
}

static int open_response(const struct noise_initiator *hs, struct transcript *t,
			 const struct noise_local *local, const struct noise_remote *remote,
			 const uint8_t *msg)
{
	uint8_t empty[1];
	int rc;

	if (load_le32(msg) != WG_RESPONSE || load_le32(msg + RESP_RECEIVER) != hs->local_index)
		return -EBADMSG;
	memcpy(t->hash, hs->hash, 32);
	memcpy(t->chain, hs->chain, 32);
	mix_ephemeral(t, msg + RESP_EPHEMERAL);
	if ((rc = mix_dh(t, hs->ephemeral_sk, msg + RESP_EPHEMERAL)) < 0)
		return rc;
	if ((rc = mix_dh(t, local->sk, msg + RESP_EPHEMERAL)) < 0)
		return rc;
	mix_psk(t, remote->psk);
	return open_field(t, empty, msg + RESP_EMPTY, CRYPTO_TAG);
}

int noise_open_response(const struct noise_initiator *hs, const struct noise_local *local,
			const struct noise_remote *remote, const uint8_t msg[static WG_RESPONSE_LEN],
			struct noise_keys *keys, uint32_t *remote_index)
{
	struct transcript t;
	int rc = open_response(hs, &t, local, remote, msg);

	if (rc == 0) {
		derive(&t, keys->send, keys->receive);
		*remote_index = load_le32(msg + OFF_SENDER);
	}
	crypto_wipe(&t, sizeof t);
	return rc;
}
