#include "core/record.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"

static const char domain[] = "p2pd1/record";

enum { DOMAIN_LEN = sizeof domain - 1 };

static void write_body(struct writer *w, const struct record *r, const uint8_t *cert, size_t cert_len)
{
	write_u8(w, RECORD_VERSION);
	write_le16(w, (uint16_t)cert_len);
	write_bytes(w, cert, cert_len);
	write_le64(w, r->seq);
	write_le64(w, r->boot);
	write_le64(w, r->time_s);
	write_le32(w, r->ttl_s);
	write_le32(w, r->caps);
	verdict_write(w, &r->nat);
	write_u8(w, r->candidate_count);
	for (size_t i = 0; i < r->candidate_count; i++) {
		write_u8(w, r->candidates[i].kind);
		addr_write(w, &r->candidates[i].addr);
	}
}

int record_seal(const struct record *r, const uint8_t *cert, size_t cert_len, const uint8_t ik_sk[static 64],
		const struct network *net, struct rng *rng, uint8_t out[static RECORD_MAX])
{
	/* The domain is signed but not sent: the envelope holds what follows it. */
	uint8_t msg[DOMAIN_LEN + RECORD_MAX - CRYPTO_XNONCE - CRYPTO_TAG], sig[CRYPTO_SIG];
	struct writer w = writer_over(msg, sizeof msg);

	if (cert_len > CERT_MAX || r->candidate_count > RECORD_MAX_CANDIDATES)
		return -EINVAL;
	write_bytes(&w, domain, DOMAIN_LEN);
	write_body(&w, r, cert, cert_len);
	crypto_ed25519_sign(sig, msg, w.len, ik_sk);
	write_bytes(&w, sig, sizeof sig);
	if (w.bad)
		return -EINVAL;
	size_t len = w.len - DOMAIN_LEN;
	rng_fill(rng, out, CRYPTO_XNONCE);
	crypto_xchacha_seal(out + CRYPTO_XNONCE, msg + DOMAIN_LEN, len, net->netid, sizeof net->netid, out,
			    net->envelope_key);
	return (int)(CRYPTO_XNONCE + len + CRYPTO_TAG);
}

/* False for an address that is not in canonical form: who writes an IPv4 address as IPv6 wants to slip past a check. */
static bool read_candidate(struct reader *r, struct candidate *c)
{
	uint8_t again[ADDR_WIRE_LEN];
	struct writer w = writer_over(again, sizeof again);

	c->kind = read_u8(r);
	const uint8_t *wire = r->p;
	c->addr = addr_read(r);
	if (r->bad)
		return false;
	addr_write(&w, &c->addr);
	return memcmp(again, wire, sizeof again) == 0 && c->kind <= CANDIDATE_RELAY;
}

struct overlay {
	const struct addr *ip6, *ip4;
	unsigned ip4_bits;
};

static bool may_be_sent_to(const struct addr *a, const struct overlay *o)
{
	return !addr_is_unusable(a) && !addr_in_prefix(a, o->ip6, 48) &&
	       !addr_in_prefix(a, o->ip4, o->ip4_bits);
}

static void read_candidates(struct reader *in, struct record *r, const struct overlay *o)
{
	uint8_t count = read_u8(in);

	if (count > RECORD_MAX_CANDIDATES)
		in->bad = true;
	for (uint8_t i = 0; i < count && !in->bad; i++) {
		struct candidate c;
		if (read_candidate(in, &c) && may_be_sent_to(&c.addr, o))
			r->candidates[r->candidate_count++] = c;
	}
}

/* The decrypted envelope, parts in place. */
struct parts {
	const uint8_t *cert, *sig;
	size_t cert_len, body_len;
};

static int read_parts(struct record *r, struct parts *parts, const uint8_t *plain, size_t len,
		      const struct addr *ip4_prefix, unsigned ip4_bits)
{
	struct reader in = reader_over(plain, len);

	if (read_u8(&in) != RECORD_VERSION)
		return -EBADMSG;
	parts->cert_len = read_le16(&in);
	parts->cert = read_bytes(&in, parts->cert_len);
	if (!parts->cert || cert_decode(&r->cert, parts->cert, parts->cert_len))
		return -EBADMSG;
	r->seq = read_le64(&in);
	r->boot = read_le64(&in);
	r->time_s = read_le64(&in);
	r->ttl_s = read_le32(&in);
	r->caps = read_le32(&in);
	r->nat = verdict_read(&in);
	/* The certificate's ip6 lies in the network's /48, as record_open verifies before anything is used. */
	read_candidates(&in, r, &(struct overlay) { &r->cert.ip6, ip4_prefix, ip4_bits });
	parts->body_len = len - in.left;
	parts->sig = read_bytes(&in, CRYPTO_SIG);
	return reader_done(&in) ? 0 : -EBADMSG;
}

static int check_signature(const struct record *r, const struct parts *parts, const uint8_t *plain)
{
	uint8_t msg[DOMAIN_LEN + RECORD_MAX];
	struct writer w = writer_over(msg, sizeof msg);

	write_bytes(&w, domain, DOMAIN_LEN);
	write_bytes(&w, plain, parts->body_len);
	return crypto_ed25519_verify(parts->sig, msg, w.len, r->cert.ik);
}

static bool is_over(const struct record *r, uint64_t unix_s)
{
	return unix_s > r->time_s && unix_s - r->time_s > (uint64_t)r->ttl_s + CERT_CLOCK_ERROR_S;
}

int record_open(struct record *r, const uint8_t *in, size_t len, const struct network *net,
		const struct addr *ip4_prefix, unsigned ip4_bits, uint64_t unix_s)
{
	uint8_t plain[RECORD_MAX];
	struct record got = { 0 };
	struct parts parts;

	if (len < CRYPTO_XNONCE + CRYPTO_TAG || len > RECORD_MAX)
		return -EBADMSG;
	if (crypto_xchacha_open(plain, in + CRYPTO_XNONCE, len - CRYPTO_XNONCE, net->netid, sizeof net->netid,
				in, net->envelope_key))
		return -EBADMSG;
	if (read_parts(&got, &parts, plain, len - CRYPTO_XNONCE - CRYPTO_TAG, ip4_prefix, ip4_bits))
		return -EBADMSG;
	int rc = cert_verify(&got.cert, parts.cert, parts.cert_len, net, unix_s);
	if (!rc)
		rc = check_signature(&got, &parts, plain);
	if (!rc && is_over(&got, unix_s))
		rc = -EKEYEXPIRED;
	if (!rc)
		*r = got;
	return rc;
}
