#include "core/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/bytes.h"

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static size_t ip_len(const struct addr *a)
{
	return a->family == ADDR_V4 ? 4 : 16;
}

struct addr addr_from_ip(enum addr_family family, const uint8_t *ip, uint16_t port)
{
	struct addr a = { .port = port, .family = (uint8_t)family };

	if (family == ADDR_V6 && memcmp(ip, v4_mapped, sizeof v4_mapped) == 0) {
		a.family = ADDR_V4;
		memcpy(a.ip, ip + 12, 4);
	} else if (family == ADDR_V4 || family == ADDR_V6) {
		memcpy(a.ip, ip, ip_len(&a));
	} else {
		return (struct addr) { 0 };
	}
	return a;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
		return addr_from_ip(ADDR_V4, (const uint8_t *)&in->sin_addr, ntohs(in->sin_port));
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
		struct addr a = addr_from_ip(ADDR_V6, in6->sin6_addr.s6_addr, ntohs(in6->sin6_port));
		if (addr_is_link_local(&a))
			a.scope = a.family == ADDR_V6 ? in6->sin6_scope_id : 0;
		return a;
	}
	return (struct addr) { 0 };
}

unsigned addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof *out);
	if (a->family == ADDR_V4) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->ip, 4);
		return sizeof *in;
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(a->port);
	in6->sin6_scope_id = a->scope;
	memcpy(&in6->sin6_addr, a->ip, 16);
	return sizeof *in6;
}

static int parse_port(const char *text, uint16_t *port)
{
	char *end;
	if (*text < '0' || *text > '9')
		return -EINVAL;
	unsigned long v = strtoul(text, &end, 10);
	if (*end || v == 0 || v > 65535)
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
}

/* An interface's name or index; only a link-local IPv6 address has one. */
static int parse_scope(struct addr *out, const char *scope)
{
	char *end;

	if (out->family != ADDR_V6 || !addr_is_link_local(out))
		return -EINVAL;
	out->scope = if_nametoindex(scope);
	if (out->scope)
		return 0;
	unsigned long v = strtoul(scope, &end, 10);
	if (*scope < '0' || *scope > '9' || *end || v == 0 || v > UINT32_MAX)
		return -EINVAL;
	out->scope = (uint32_t)v;
	return 0;
}

static int parse_ip(struct addr *out, char *ip, uint16_t port)
{
	uint8_t raw[16];
	char *scope = strchr(ip, '%');

	if (inet_pton(AF_INET, ip, raw) == 1) {
		*out = addr_from_ip(ADDR_V4, raw, port);
		return 0;
	}
	if (scope)
		*scope++ = 0;
	if (inet_pton(AF_INET6, ip, raw) != 1)
		return -EINVAL;
	*out = addr_from_ip(ADDR_V6, raw, port);
	return scope ? parse_scope(out, scope) : 0;
}

int addr_parse(struct addr *out, const char *text, uint16_t default_port)
{
	char buf[ADDR_TEXT_MAX];
	uint16_t port = default_port;
	char *colon, *ip = buf;

	if (strlen(text) >= sizeof buf)
		return -EINVAL;
	strcpy(buf, text);
	if (buf[0] == '[') {
		char *close = strchr(buf, ']');
		if (!close || (close[1] && close[1] != ':'))
			return -EINVAL;
		if (close[1] && parse_port(close + 2, &port))
			return -EINVAL;
		*close = 0;
		ip = buf + 1;
	} else if ((colon = strchr(buf, ':')) && !strchr(colon + 1, ':')) {
		*colon = 0;
		if (parse_port(colon + 1, &port))
			return -EINVAL;
	}
	return parse_ip(out, ip, port);
}

const char *addr_format_ip(const struct addr *a, char out[static ADDR_TEXT_MAX])
{
	if (a->family == ADDR_NONE)
		strcpy(out, "none");
	else
		inet_ntop(a->family == ADDR_V4 ? AF_INET : AF_INET6, a->ip, out, ADDR_TEXT_MAX);
	return out;
}

const char *addr_format(const struct addr *a, char out[static ADDR_TEXT_MAX])
{
	char ip[ADDR_TEXT_MAX], scope[16] = "";

	addr_format_ip(a, ip);
	if (a->scope)
		snprintf(scope, sizeof scope, "%%%u", a->scope);
	if (!a->port)
		snprintf(out, ADDR_TEXT_MAX, "%.46s%s", ip, scope);
	else if (a->family == ADDR_V6)
		snprintf(out, ADDR_TEXT_MAX, "[%.46s%s]:%u", ip, scope, a->port);
	else
		snprintf(out, ADDR_TEXT_MAX, "%.46s:%u", ip, a->port);
	return out;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, 16) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	int c = memcmp(a->ip, b->ip, 16);
	if (c)
		return c;
	return a->port == b->port ? 0 : a->port < b->port ? -1 : 1;
}

uint32_t addr_hash(const struct addr *a, uint32_t seed)
{
	uint32_t h = seed ^ 2166136261U;
	const uint8_t *p = (const uint8_t *)a;
	for (size_t i = 0; i < sizeof *a; i++)
		h = (h ^ p[i]) * 16777619U;
	return h ^ h >> 15;
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };
	return a->family == ADDR_V4 ? a->ip[0] == 127 : memcmp(a->ip, one, 16) == 0;
}

bool addr_is_any(const struct addr *a)
{
	static const uint8_t any[sizeof a->ip];

	return memcmp(a->ip, any, sizeof any) == 0;
}

bool addr_is_unusable(const struct addr *a)
{
	if (a->family == ADDR_NONE || a->port == 0 || addr_is_loopback(a))
		return true;
	if (a->family == ADDR_V4)
		return a->ip[0] == 0 || a->ip[0] >= 224;
	return a->ip[0] == 0xff || addr_is_any(a);
}

bool addr_is_link_local(const struct addr *a)
{
	if (a->family == ADDR_V4)
		return a->ip[0] == 169 && a->ip[1] == 254;
	return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

bool addr_is_private(const struct addr *a)
{
	const uint8_t *ip = a->ip;
	if (addr_is_link_local(a))
		return true;
	if (a->family == ADDR_V6)
		return (ip[0] & 0xfe) == 0xfc;
	return ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) || (ip[0] == 192 && ip[1] == 168) ||
	       (ip[0] == 100 && (ip[1] & 0xc0) == 64);
}

bool addr_may_name(const struct addr *by, const struct addr *a)
{
	if (addr_is_loopback(a))
		return a->port && addr_is_loopback(by);
	return !addr_is_unusable(a) && (!addr_is_private(a) || addr_is_private(by) || addr_is_loopback(by));
}

bool addr_in_prefix(const struct addr *a, const struct addr *prefix, unsigned bits)
{
	if (a->family != prefix->family || bits > ip_len(a) * 8)
		return false;
	if (memcmp(a->ip, prefix->ip, bits / 8) != 0)
		return false;
	uint8_t mask = (uint8_t)(0xff00 >> bits % 8);
	return bits % 8 == 0 || ((a->ip[bits / 8] ^ prefix->ip[bits / 8]) & mask) == 0;
}

void addr_write(struct writer *w, const struct addr *a)
{
	write_u8(w, a->family);
	write_le16(w, a->port);
	write_bytes(w, a->ip, 16);
}

struct addr addr_read(struct reader *r)
{
	uint8_t family = read_u8(r), ip[16];
	uint16_t port = read_le16(r);

	read_into(r, ip, sizeof ip);
	if (family != ADDR_NONE && family != ADDR_V4 && family != ADDR_V6)
		r->bad = true;
	if (r->bad)
		return addr_from_ip(ADDR_NONE, ip, 0);
	return addr_from_ip(family, ip, port);
}
