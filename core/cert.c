#include "core/cert.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"

static const char cert_domain[] = "p2pd1/cert";
static const char pass_domain[] = "p2pd1/hubpass";

enum {
	CERT_DOMAIN_LEN = sizeof cert_domain - 1,
	PASS_DOMAIN_LEN = sizeof pass_domain - 1,
	PASS_LEN = PASS_DOMAIN_LEN + 32 + 32 + 8,
};

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Appends one character as the rules for labels allow. */
static size_t name_append(char *out, size_t len, char c)
{
	if (c == '.')
		while (len && out[len - 1] == '-')
			len--;
	if (!is_alnum(c) && (len == 0 || out[len - 1] == '.'))
		return len;
	out[len] = c;
	return len + 1;
}

void cert_name_from(char out[static CERT_NAME_MAX + 1], const char *wish)
{
	size_t len = 0;

	for (; *wish && len < CERT_NAME_MAX; wish++) {
		char c = *wish >= 'A' && *wish <= 'Z' ? (char)(*wish - 'A' + 'a') : *wish;
		if (((uint8_t)c & 0xc0) == 0x80)
			continue; /* the rest of a UTF-8 sequence whose first byte became one '-' */
		len = name_append(out, len, is_alnum(c) || c == '.' ? c : '-');
	}
	while (len && !is_alnum(out[len - 1]))
		len--;
	out[len] = 0;
	if (len == 0)
		strcpy(out, "node");
}

static bool name_is_valid(const char *name, size_t len)
{
	if (len == 0 || len > CERT_NAME_MAX || !is_alnum(name[0]) || !is_alnum(name[len - 1]))
		return false;
	for (size_t i = 1; i < len - 1; i++) {
		if (!is_alnum(name[i]) && name[i] != '-' && name[i] != '.')
			return false;
		if (name[i] == '.' && (!is_alnum(name[i - 1]) || !is_alnum(name[i + 1])))
			return false;
	}
	return true;
}

static bool ip4_is_valid(const struct addr *ip4)
{
	struct addr with_port = *ip4;

	if (ip4->family == ADDR_NONE)
		return true;
	with_port.port = 1;
	return ip4->family == ADDR_V4 && !addr_is_unusable(&with_port);
}

static bool route_is_valid(const struct cert_route *r)
{
	if (r->prefix.family == ADDR_V4)
		return r->bits <= 32;
	return r->prefix.family == ADDR_V6 && r->bits <= 128;
}

static bool is_well_formed(const struct cert *c)
{
	if (!name_is_valid(c->name, strnlen(c->name, sizeof c->name)) || !ip4_is_valid(&c->ip4))
		return false;
	if (c->group_count > CERT_MAX_GROUPS || c->route_count > CERT_MAX_ROUTES)
		return false;
	for (size_t i = 0; i < c->route_count; i++)
		if (!route_is_valid(&c->routes[i]))
			return false;
	return true;
}

/* Everything before the signature, of a certificate that is well formed. */
static void write_body(struct writer *w, const struct cert *c)
{
	size_t name_len = strlen(c->name);

	write_u8(w, CERT_VERSION);
	write_u8(w, CERT_KIND_NODE);
	write_bytes(w, c->netid, sizeof c->netid);
	write_bytes(w, c->serial, sizeof c->serial);
	write_bytes(w, c->ik, sizeof c->ik);
	write_bytes(w, c->wk, sizeof c->wk);
	write_le64(w, c->not_before);
	write_le64(w, c->not_after);
	write_bytes(w, c->ip6.ip, 16);
	write_bytes(w, c->ip4.ip, 4);
	write_u8(w, (uint8_t)name_len);
	write_bytes(w, c->name, name_len);
	write_u8(w, c->group_count);
	for (size_t i = 0; i < c->group_count; i++)
		write_le16(w, c->groups[i]);
	write_u8(w, c->route_count);
	for (size_t i = 0; i < c->route_count; i++) {
		write_u8(w, c->routes[i].prefix.family);
		write_u8(w, c->routes[i].bits);
		write_bytes(w, c->routes[i].prefix.ip, 16);
	}
	write_le32(w, c->flags);
	write_bytes(w, c->issuer, sizeof c->issuer);
}

static struct addr read_ip4(struct reader *r)
{
	static const uint8_t none[4];
	uint8_t ip[4];

	read_into(r, ip, sizeof ip);
	return memcmp(ip, none, sizeof ip) == 0 ? (struct addr) { 0 } : addr_from_ip(ADDR_V4, ip, 0);
}

static void read_name(struct reader *r, struct cert *c)
{
	uint8_t len = read_u8(r);

	if (len > CERT_NAME_MAX)
		r->bad = true;
	else
		read_into(r, c->name, len);
}

static void read_groups(struct reader *r, struct cert *c)
{
	c->group_count = read_u8(r);
	if (c->group_count > CERT_MAX_GROUPS)
		r->bad = true;
	for (size_t i = 0; i < c->group_count && !r->bad; i++)
		c->groups[i] = read_le16(r);
}

static void read_routes(struct reader *r, struct cert *c)
{
	c->route_count = read_u8(r);
	if (c->route_count > CERT_MAX_ROUTES)
		r->bad = true;
	for (size_t i = 0; i < c->route_count && !r->bad; i++) {
		uint8_t family = read_u8(r), ip[16];
		c->routes[i].bits = read_u8(r);
		read_into(r, ip, sizeof ip);
		c->routes[i].prefix = addr_from_ip(family, ip, 0);
	}
}

static void read_body(struct reader *r, struct cert *c)
{
	uint8_t version = read_u8(r), kind = read_u8(r), ip6[16];

	if (version != CERT_VERSION || kind != CERT_KIND_NODE)
		r->bad = true;
	read_into(r, c->netid, sizeof c->netid);
	read_into(r, c->serial, sizeof c->serial);
	read_into(r, c->ik, sizeof c->ik);
	read_into(r, c->wk, sizeof c->wk);
	c->not_before = read_le64(r);
	c->not_after = read_le64(r);
	read_into(r, ip6, sizeof ip6);
	c->ip6 = addr_from_ip(ADDR_V6, ip6, 0);
	c->ip4 = read_ip4(r);
	read_name(r, c);
	read_groups(r, c);
	read_routes(r, c);
	c->flags = read_le32(r);
	read_into(r, c->issuer, sizeof c->issuer);
}

/* One certificate has one encoding: what reads back as something else (IPv4-mapped addresses, bytes behind an IPv4
 * prefix, a NUL in the name) is not one. */
static bool is_canonical(const struct cert *c, const uint8_t *body, size_t len)
{
	uint8_t again[CERT_MAX];
	struct writer w = writer_over(again, sizeof again);

	write_body(&w, c);
	return !w.bad && w.len == len && memcmp(again, body, len) == 0;
}

int cert_issue(struct cert *c, const struct network *net, uint8_t out[static CERT_MAX])
{
	uint8_t msg[CERT_DOMAIN_LEN + CERT_MAX - CRYPTO_SIG];
	struct writer w = writer_over(msg, sizeof msg);

	if (!is_well_formed(c))
		return -EINVAL;
	memcpy(c->netid, net->netid, sizeof c->netid);
	memcpy(c->issuer, net->root_pk, sizeof c->issuer);
	network_ip6(net, c->wk, &c->ip6);
	write_bytes(&w, cert_domain, CERT_DOMAIN_LEN);
	write_body(&w, c);
	if (w.bad)
		return -EINVAL;
	crypto_ed25519_sign(c->sig, msg, w.len, net->root_sk);
	size_t body_len = w.len - CERT_DOMAIN_LEN;
	memcpy(out, msg + CERT_DOMAIN_LEN, body_len);
	memcpy(out + body_len, c->sig, CRYPTO_SIG);
	return (int)(body_len + CRYPTO_SIG);
}

int cert_decode(struct cert *c, const uint8_t *in, size_t len)
{
	struct reader r = reader_over(in, len);

	*c = (struct cert) { 0 };
	if (len > CERT_MAX || len < CRYPTO_SIG)
		return -EBADMSG;
	read_body(&r, c);
	read_into(&r, c->sig, sizeof c->sig);
	if (!reader_done(&r) || !is_well_formed(c) || !is_canonical(c, in, len - CRYPTO_SIG))
		return -EBADMSG;
	return 0;
}

static bool signed_by_root(const uint8_t *encoded, size_t len, const struct network *net)
{
	uint8_t msg[CERT_DOMAIN_LEN + CERT_MAX];
	struct writer w = writer_over(msg, sizeof msg);

	if (len < CRYPTO_SIG)
		return false;
	write_bytes(&w, cert_domain, CERT_DOMAIN_LEN);
	write_bytes(&w, encoded, len - CRYPTO_SIG);
	return !w.bad && crypto_ed25519_verify(encoded + len - CRYPTO_SIG, msg, w.len, net->root_pk) == 0;
}

int cert_verify(const struct cert *c, const uint8_t *encoded, size_t len, const struct network *net,
		uint64_t unix_s)
{
	struct addr ip6;

	network_ip6(net, c->wk, &ip6);
	if (memcmp(c->netid, net->netid, sizeof c->netid) != 0 ||
	    memcmp(c->issuer, net->root_pk, sizeof c->issuer) != 0 || !addr_equal(&c->ip6, &ip6))
		return -EPERM;
	if (!signed_by_root(encoded, len, net))
		return -EPERM;
	if (c->not_before > unix_s + CERT_CLOCK_ERROR_S || c->not_after < unix_s)
		return -EKEYEXPIRED;
	return 0;
}

bool cert_wins_ip4(const struct cert *a, const struct cert *b)
{
	if (a->not_before != b->not_before)
		return a->not_before < b->not_before;
	return memcmp(a->ik, b->ik, sizeof a->ik) < 0;
}

static void pass_message(uint8_t msg[static PASS_LEN], const uint8_t netid[static 32],
			 const uint8_t ik[static 32], uint64_t not_after)
{
	struct writer w = writer_over(msg, PASS_LEN);

	write_bytes(&w, pass_domain, PASS_DOMAIN_LEN);
	write_bytes(&w, netid, 32);
	write_bytes(&w, ik, 32);
	write_le64(&w, not_after);
}

void cert_pass_issue(uint8_t sig[static 64], const struct network *net, const uint8_t ik[static 32],
		     uint64_t not_after)
{
	uint8_t msg[PASS_LEN];

	pass_message(msg, net->netid, ik, not_after);
	crypto_ed25519_sign(sig, msg, sizeof msg, net->root_sk);
}

int cert_pass_verify(const uint8_t sig[static 64], const uint8_t root_pk[static 32],
		     const uint8_t netid[static 32], const uint8_t ik[static 32], uint64_t not_after,
		     uint64_t unix_s)
{
	uint8_t msg[PASS_LEN], want[32];

	network_id(want, root_pk);
	pass_message(msg, netid, ik, not_after);
	if (memcmp(want, netid, sizeof want) != 0 || crypto_ed25519_verify(sig, msg, sizeof msg, root_pk))
		return -EPERM;
	return not_after < unix_s ? -EKEYEXPIRED : 0;
}
