#include "core/network.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"

enum {
	STORED_VERSION = 1,
	SUBKEY_ROOT = 1,
	SUBKEY_EPOCH0 = 2,
	WEAK_DISTINCT =
		8, /* fewer different characters than this cannot carry 16 characters' worth of chance */
};

static const char kdf_context[] = "p2pdnet1";

/* A label without its NUL. */
#define LABEL(text) ((struct part) { text, sizeof text - 1 })

static void hash_parts(uint8_t out[static 32], const struct part *parts, size_t count)
{
	crypto_blake2b(out, 32, NULL, 0, parts, count);
}

static int take_name(struct network *net, const char *name)
{
	size_t len = strnlen(name, NETWORK_NAME_MAX + 1);

	if (len == 0 || len > NETWORK_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (name[i] < 0x20 || name[i] > 0x7e)
			return -EINVAL;
	memcpy(net->name, name, len + 1);
	return 0;
}

void network_id(uint8_t netid[static 32], const uint8_t root_pk[static 32])
{
	hash_parts(netid, (struct part[]) { LABEL("p2pd1/netid"), { root_pk, 32 } }, 2);
}

static void derive(struct network *net, const uint8_t root_seed[static 32])
{
	crypto_ed25519_keypair(net->root_pk, net->root_sk, root_seed);
	network_id(net->netid, net->root_pk);
	crypto_blake2b(net->envelope_key, 32, net->epoch_key, 32, &LABEL("p2pd1/envelope"), 1);
	crypto_blake2b(net->psk_key, 32, net->epoch_key, 32, &LABEL("p2pd1/psk"), 1);
	crypto_blake2b(net->probe_key, 32, net->epoch_key, 32, &LABEL("p2pd1/probekey"), 1);
}

int network_from_secret(struct network *net, const char *name, const char *secret, size_t secret_len)
{
	uint8_t salt[16], len16[2], master[32], seed[32];

	*net = (struct network) { 0 };
	if (secret_len == 0 || take_name(net, name))
		return -EINVAL;
	size_t name_len = strlen(net->name);
	store_le16(len16, (uint16_t)name_len);
	crypto_blake2b(salt, sizeof salt, NULL, 0,
		       (struct part[]) { LABEL("p2pd1/salt"), { len16, 2 }, { net->name, name_len } }, 3);
	if (crypto_argon2id(master, secret, secret_len, salt))
		return -ENOMEM;
	crypto_subkey(seed, SUBKEY_ROOT, kdf_context, master);
	crypto_subkey(net->epoch_key, SUBKEY_EPOCH0, kdf_context, master);
	derive(net, seed);
	crypto_wipe(master, sizeof master);
	crypto_wipe(seed, sizeof seed);
	return 0;
}

static size_t distinct_chars(const char *s, size_t len)
{
	bool seen[256] = { false };
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		n += !seen[(uint8_t)s[i]];
		seen[(uint8_t)s[i]] = true;
	}
	return n;
}

/* The length of the text that, repeated, makes the whole. */
static size_t period(const char *s, size_t len)
{
	size_t p = 1;

	while (p < len && memcmp(s, s + p, len - p) != 0)
		p++;
	return p;
}

/* Neighbours that are equal or follow each other, as in "aaaa", "1234", "zyxw". */
static size_t counting_steps(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 1; i < len; i++)
		n += s[i] - s[i - 1] >= -1 && s[i] - s[i - 1] <= 1;
	return n;
}

bool network_secret_is_weak(const char *secret, size_t len)
{
	return len < NETWORK_SECRET_MIN || distinct_chars(secret, len) < WEAK_DISTINCT ||
	       period(secret, len) < NETWORK_SECRET_MIN || counting_steps(secret, len) > len / 2;
}

void network_generate_secret(char out[static NETWORK_SECRET_TEXT], struct rng *rng)
{
	static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t raw[17] = { 0 }; /* 128 bits and two zero bits fill 26 characters; the rest is room to read */

	rng_fill(rng, raw, 16);
	for (unsigned i = 0; i < NETWORK_SECRET_TEXT - 1; i++) {
		unsigned bit = i * 5;
		out[i] = base32[load_be16(raw + bit / 8) >> (11 - bit % 8) & 31];
	}
	out[NETWORK_SECRET_TEXT - 1] = 0;
	crypto_wipe(raw, sizeof raw);
}

void network_psk(const struct network *net, const uint8_t wk_a[static 32], const uint8_t wk_b[static 32],
		 uint8_t out[static 32])
{
	bool a_first = memcmp(wk_a, wk_b, 32) < 0;

	crypto_blake2b(out, 32, net->psk_key, 32,
		       (struct part[]) { LABEL("p2pd1/psk0"),
					 { a_first ? wk_a : wk_b, 32 },
					 { a_first ? wk_b : wk_a, 32 } },
		       3);
}

void network_ip6(const struct network *net, const uint8_t wk[static 32], struct addr *out)
{
	uint8_t ip[16] = { 0xfd }, hash[32];

	hash_parts(hash, (struct part[]) { LABEL("p2pd1/ip6"), { wk, 32 } }, 2);
	memcpy(ip + 1, net->netid, 5);
	memcpy(ip + 6, hash, 10);
	*out = addr_from_ip(ADDR_V6, ip, 0);
}

void network_ip4(const uint8_t wk[static 32], const struct addr *prefix, unsigned bits, uint32_t attempt,
		 struct addr *out)
{
	uint8_t hash[32], ip[4];

	*out = (struct addr) { 0 };
	if (prefix->family != ADDR_V4 || bits > 32)
		return;
	hash_parts(hash, (struct part[]) { LABEL("p2pd1/ip4"), { wk, 32 } }, 2);
	uint64_t size = 1ULL << (32 - bits);
	uint64_t reserved = bits < 31; /* RFC 3021: a /31 has neither network nor broadcast address */
	uint64_t hosts = size - 2 * reserved;
	uint64_t host = (load_le64(hash) % hosts + attempt) % hosts + reserved;
	uint32_t network = load_be32(prefix->ip) & (uint32_t) ~(size - 1);
	store_be32(ip, network | (uint32_t)host);
	*out = addr_from_ip(ADDR_V4, ip, 0);
}

uint16_t network_name_tag(const char *name)
{
	uint8_t hash[32];

	hash_parts(hash, (struct part[]) { LABEL("p2pd1/nametag"), { name, strlen(name) } }, 2);
	return load_le16(hash);
}

/* Detects a damaged or swapped file; its secrecy and authenticity are the file system's. */
static void stored_check(uint8_t out[static 32], const struct network *net, const uint8_t *stored, size_t len)
{
	hash_parts(
		out,
		(struct part[]) { LABEL("p2pd1/stored"), { net->name, sizeof net->name }, { stored, len } },
		3);
}

void network_store(const struct network *net, uint8_t out[static NETWORK_STORED_LEN])
{
	struct writer w = writer_over(out, NETWORK_STORED_LEN);

	write_u8(&w, STORED_VERSION);
	write_bytes(&w, net->root_sk, sizeof net->root_sk);
	write_bytes(&w, net->epoch_key, sizeof net->epoch_key);
	stored_check(out + w.len, net, out, w.len);
}

int network_restore(struct network *net, const char *name, const uint8_t in[static NETWORK_STORED_LEN])
{
	uint8_t check[32];

	*net = (struct network) { 0 };
	if (take_name(net, name))
		return -EINVAL;
	stored_check(check, net, in, NETWORK_STORED_LEN - sizeof check);
	if (in[0] != STORED_VERSION ||
	    !crypto_equal(check, in + NETWORK_STORED_LEN - sizeof check, sizeof check))
		return -EBADMSG;
	memcpy(net->epoch_key, in + 1 + sizeof net->root_sk, sizeof net->epoch_key);
	derive(net, in + 1);
	return 0;
}

void network_wipe(struct network *net)
{
	crypto_wipe(net, sizeof *net);
}
