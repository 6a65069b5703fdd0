#include "apps/p2pd/forward/lease.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/crypto.h"

enum { PORTS_ALL = 65536 };

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char domain_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
static const char name_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
static const char url_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.:/[]";

/* All keys and no others: what jansson's own reader sees to. The values are the caller's to check. */
static int unpack(const json_t *json, char why[static RULE_WHY], const char *format, ...)
{
	json_error_t error;
	va_list ap;

	va_start(ap, format);
	int rc = json_vunpack_ex((json_t *)(uintptr_t)json, &error, JSON_STRICT, format, ap);
	va_end(ap);
	return rc ? rule_refuse(why, "%s", error.text) : 0;
}

/* --- Values. */

/* Peers' texts come to terminals, logs and pages: UTF-8 (jansson sees to that) without control characters. */
static int take_text(char *out, size_t cap, const char *text, const char *key, char why[static RULE_WHY])
{
	if (strlen(text) >= cap)
		return rule_refuse(why, "%s is too long", key);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
			return rule_refuse(why, "%s has control characters in it", key);
	strcpy(out, text);
	return 0;
}

/* A text of these characters only; may be empty. */
static int take_word(char *out, size_t cap, const char *text, const char *letters, const char *key,
		     char why[static RULE_WHY])
{
	if (text[strspn(text, letters)])
		return rule_refuse(why, "%s is malformed", key);
	return take_text(out, cap, text, key, why);
}

static int take_id(uint8_t id[static FORWARD_ID], const char *text, char why[static RULE_WHY])
{
	return rule_id_parse(id, text) == 0 ? 0 : rule_refuse(why, "forward_id is malformed");
}

static int take_secret(uint8_t secret[static FORWARD_SECRET], const char *text, char why[static RULE_WHY])
{
	bool good = crypto_base64url_decode(secret, FORWARD_SECRET, text) == 0 &&
		    !crypto_is_zero(secret, FORWARD_SECRET);

	return good ? 0 : rule_refuse(why, "secret is malformed");
}

static int take_u32(uint32_t *out, json_int_t v, const char *key, char why[static RULE_WHY])
{
	if (v < 0 || v > UINT32_MAX)
		return rule_refuse(why, "%s is out of range", key);
	*out = (uint32_t)v;
	return 0;
}

static int take_u64(uint64_t *out, json_int_t v, const char *key, char why[static RULE_WHY])
{
	if (v < 0)
		return rule_refuse(why, "%s is negative", key);
	*out = (uint64_t)v;
	return 0;
}

/* An IP address, "" for ADDR_NONE. `family` 0: any. */
static int take_ip(struct addr *out, const char *text, int family, const char *key, char why[static RULE_WHY])
{
	struct addr a = { 0 };

	if (*text && (addr_parse(&a, text, 0) != 0 || a.port || a.scope || (family && a.family != family)))
		return rule_refuse(why, "%s is no such address", key);
	*out = a;
	return 0;
}

static const char *ip_text(const struct addr *a, char out[static ADDR_TEXT_MAX])
{
	out[0] = 0;
	return a->family == ADDR_NONE ? out : addr_format_ip(a, out);
}

/* --- Prefixes. */

static json_t *prefixes_json(const struct forward_prefix *list, unsigned count)
{
	json_t *array = json_array();
	char text[RULE_PREFIX];

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, json_string(rule_prefix_text(&list[i], text)));
	return array;
}

static int take_prefixes(struct lease_request *r, const json_t *array, char why[static RULE_WHY])
{
	size_t count = json_array_size(array);

	if (!json_is_array(array) || count > FORWARD_PREFIXES_MAX)
		return rule_refuse(why, "allow is not a list of at most %d prefixes", FORWARD_PREFIXES_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		if (!text)
			return rule_refuse(why, "allow: not a text");
		int rc = rule_read_prefix(&r->allow[i], text, why);
		if (rc)
			return rc;
	}
	r->allow_count = (unsigned)count;
	return 0;
}

/* --- Ranges. */

static bool overlap(unsigned a, unsigned a_count, unsigned b, unsigned b_count)
{
	return a < b + b_count && b < a + a_count;
}

static int check_range(const struct lease_request *r, unsigned i, char why[static RULE_WHY])
{
	const struct lease_range *g = &r->ranges[i];

	if (g->count == 0 || g->tunnel == 0 || g->tunnel + g->count > PORTS_ALL ||
	    g->wanted + g->count > PORTS_ALL)
		return rule_refuse(why, "ranges: ports beyond 1 to 65535");
	for (unsigned k = 0; k < i; k++) {
		const struct lease_range *o = &r->ranges[k];
		if (overlap(g->tunnel, g->count, o->tunnel, o->count) ||
		    (g->wanted && o->wanted && overlap(g->wanted, g->count, o->wanted, o->count)))
			return rule_refuse(why, "ranges overlap");
	}
	return 0;
}

static int take_range(struct lease_range *out, const json_t *json, char why[static RULE_WHY])
{
	int wanted, tunnel, count;
	int rc = unpack(json, why, "{s:i, s:i, s:i}", "public", &wanted, "tunnel", &tunnel, "count", &count);

	if (rc)
		return rc;
	if (wanted < 0 || tunnel < 0 || count < 0 || wanted >= PORTS_ALL || tunnel >= PORTS_ALL ||
	    count > RULE_PORTS_MAX)
		return rule_refuse(why, "ranges: ports beyond 1 to 65535");
	*out = (struct lease_range) { (uint16_t)wanted, (uint16_t)tunnel, (uint16_t)count };
	return 0;
}

static int take_ranges(struct lease_request *r, const json_t *array, char why[static RULE_WHY])
{
	unsigned ports = 0;
	size_t count = json_array_size(array);

	if (count == 0 || count > RULE_RANGES_MAX)
		return rule_refuse(why, "ranges is not a list of 1 to %d", RULE_RANGES_MAX);
	for (unsigned i = 0; i < count; i++) {
		int rc = take_range(&r->ranges[i], json_array_get(array, i), why);
		if (rc == 0)
			rc = check_range(r, i, why);
		if (rc)
			return rc;
		ports += r->ranges[i].count;
	}
	r->range_count = (unsigned)count;
	return ports > RULE_PORTS_MAX ? rule_refuse(why, "more than %d ports", RULE_PORTS_MAX) : 0;
}

static json_t *ranges_json(const struct lease_request *r)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < r->range_count; i++)
		json_array_append_new(array,
				      json_pack("{s:i, s:i, s:i}", "public", r->ranges[i].wanted, "tunnel",
						r->ranges[i].tunnel, "count", r->ranges[i].count));
	return array;
}

/* --- What an owner asks for. */

static int take_proto(struct lease_request *r, const char *text, char why[static RULE_WHY])
{
	r->tcp = !strcmp(text, "tcp") || !strcmp(text, "both");
	r->udp = !strcmp(text, "udp") || !strcmp(text, "both");
	return r->tcp || r->udp ? 0 : rule_refuse(why, "proto is not tcp, udp or both");
}

/* The texts and lists of a request, borrowed from its JSON. */
struct request_parts {
	const char *id, *name, *domain, *proto, *secret;
	json_t *ranges, *allow;
	json_int_t max_conn, idle_s, rate, expires_at;
	int restricted, paused, kernel, tokens, family;
};

static int unpack_request(struct request_parts *p, const json_t *json, char why[static RULE_WHY])
{
	return unpack(
		json, why, "{s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:i, s:b, s:s}",
		"forward_id", &p->id, "name", &p->name, "domain", &p->domain, "proto", &p->proto, "ranges",
		&p->ranges, "restricted", &p->restricted, "allow", &p->allow, "max_conn", &p->max_conn,
		"idle_s", &p->idle_s, "rate", &p->rate, "expires_at", &p->expires_at, "paused", &p->paused,
		"kernel", &p->kernel, "family", &p->family, "tokens", &p->tokens, "secret", &p->secret);
}

int lease_request_read(struct lease_request *r, const struct json_t *json, char why[static RULE_WHY])
{
	struct request_parts p;
	int rc = unpack_request(&p, json, why);

	if (rc)
		return rc;
	*r = (struct lease_request) { .restricted = p.restricted,
				      .paused = p.paused,
				      .kernel = p.kernel,
				      .tokens = p.tokens,
				      .family = p.family == 6 ? ADDR_V6 : ADDR_V4 };
	if (p.family != 4 && p.family != 6)
		return rule_refuse(why, "family is not 4 or 6");
	if ((rc = take_id(r->id, p.id, why)) ||
	    (rc = take_word(r->name, sizeof r->name, p.name, name_letters, "name", why)) ||
	    (rc = take_word(r->domain, sizeof r->domain, p.domain, domain_letters, "domain", why)) ||
	    (rc = take_proto(r, p.proto, why)) || (rc = take_ranges(r, p.ranges, why)) ||
	    (rc = take_prefixes(r, p.allow, why)) ||
	    (rc = take_u32(&r->max_conn, p.max_conn, "max_conn", why)) ||
	    (rc = take_u32(&r->idle_s, p.idle_s, "idle_s", why)) ||
	    (rc = take_u64(&r->rate, p.rate, "rate", why)) ||
	    (rc = take_u64(&r->expires_at, p.expires_at, "expires_at", why)) ||
	    (rc = take_secret(r->secret, p.secret, why)))
		return rc;
	if (r->rate > RULE_RATE_MAX)
		return rule_refuse(why, "rate is at most %llu bytes a second", RULE_RATE_MAX);
	return r->allow_count && !r->restricted ? rule_refuse(why, "allow is set, but not restricted") : 0;
}

struct json_t *lease_request_json(const struct lease_request *r)
{
	char id[RULE_ID_TEXT], secret[CRYPTO_BASE64_TEXT(FORWARD_SECRET)];

	crypto_base64url(secret, r->secret, sizeof r->secret);
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:i, s:b, s:s}",
			 "forward_id", rule_id_text(r->id, id), "name", r->name, "domain", r->domain, "proto",
			 r->tcp && r->udp ? "both"
			 : r->tcp	  ? "tcp"
					  : "udp",
			 "ranges", ranges_json(r), "restricted", r->restricted, "allow",
			 prefixes_json(r->allow, r->allow_count), "max_conn", (json_int_t)r->max_conn,
			 "idle_s", (json_int_t)r->idle_s, "rate", (json_int_t)r->rate, "expires_at",
			 (json_int_t)r->expires_at, "paused", r->paused, "kernel", r->kernel, "family",
			 (int)r->family, "tokens", r->tokens, "secret", secret);
}

/* --- What a gateway grants. */

static int take_ports(uint16_t ports[static RULE_RANGES_MAX], const json_t *array, char why[static RULE_WHY])
{
	size_t count = json_array_size(array);

	if (!json_is_array(array) || count > RULE_RANGES_MAX)
		return rule_refuse(why, "ports is not a list of at most %d", RULE_RANGES_MAX);
	for (size_t i = 0; i < count; i++) {
		json_int_t port = json_integer_value(json_array_get(array, i));
		if (port < 1 || port >= PORTS_ALL)
			return rule_refuse(why, "ports beyond 1 to 65535");
		ports[i] = (uint16_t)port;
	}
	return 0;
}

static json_t *ports_json(const uint16_t ports[static RULE_RANGES_MAX])
{
	json_t *array = json_array();

	for (unsigned i = 0; i < RULE_RANGES_MAX && ports[i]; i++)
		json_array_append_new(array, json_integer(ports[i]));
	return array;
}

int lease_grant_read(struct lease_grant *g, const struct json_t *json, char why[static RULE_WHY])
{
	const char *public4, *public6, *mode_why, *door;
	json_int_t rate, max_conn;
	json_t *ports;
	int kernel;
	int rc = unpack(json, why, "{s:s, s:s, s:o, s:b, s:s, s:s, s:I, s:I}", "public4", &public4, "public6",
			&public6, "ports", &ports, "kernel", &kernel, "mode_why", &mode_why, "door", &door,
			"rate", &rate, "max_conn", &max_conn);

	if (rc)
		return rc;
	*g = (struct lease_grant) { .kernel = kernel };
	if ((rc = take_ip(&g->public4, public4, ADDR_V4, "public4", why)) ||
	    (rc = take_ip(&g->public6, public6, ADDR_V6, "public6", why)) ||
	    (rc = take_ports(g->ports, ports, why)) ||
	    (rc = take_text(g->mode_why, sizeof g->mode_why, mode_why, "mode_why", why)) ||
	    (rc = take_word(g->door, sizeof g->door, door, url_letters, "door", why)) ||
	    (rc = take_u64(&g->rate, rate, "rate", why)))
		return rc;
	if (*door && strncmp(door, "https://", 8) != 0)
		return rule_refuse(why, "door is malformed");
	return take_u32(&g->max_conn, max_conn, "max_conn", why);
}

struct json_t *lease_grant_json(const struct lease_grant *g)
{
	char ip4[ADDR_TEXT_MAX], ip6[ADDR_TEXT_MAX];

	return json_pack("{s:s, s:s, s:o, s:b, s:s, s:s, s:I, s:I}", "public4", ip_text(&g->public4, ip4),
			 "public6", ip_text(&g->public6, ip6), "ports", ports_json(g->ports), "kernel",
			 g->kernel, "mode_why", g->mode_why, "door", g->door, "rate", (json_int_t)g->rate,
			 "max_conn", (json_int_t)g->max_conn);
}

/* --- Visitors with a token. */

int admit_request_read(struct admit_request *r, const struct json_t *json, char why[static RULE_WHY])
{
	const char *id, *token, *visitor;
	int look;
	int rc = unpack(json, why, "{s:s, s:s, s:s, s:b}", "forward_id", &id, "token", &token, "visitor",
			&visitor, "look", &look);

	if (rc)
		return rc;
	*r = (struct admit_request) { .look = look };
	if ((rc = take_id(r->id, id, why)) ||
	    (rc = take_word(r->token, sizeof r->token, token, base64url, "token", why)) ||
	    (rc = take_ip(&r->visitor, visitor, 0, "visitor", why)))
		return rc;
	struct addr with_port = r->visitor;
	with_port.port = 1;
	return addr_is_unusable(&with_port) ? rule_refuse(why, "visitor is no such address") : 0;
}

struct json_t *admit_request_json(const struct admit_request *r)
{
	char id[RULE_ID_TEXT], ip[ADDR_TEXT_MAX];

	return json_pack("{s:s, s:s, s:s, s:b}", "forward_id", rule_id_text(r->id, id), "token", r->token,
			 "visitor", ip_text(&r->visitor, ip), "look", r->look);
}

int admit_grant_read(struct admit_grant *g, const struct json_t *json, char why[static RULE_WHY])
{
	const char *name;
	json_int_t until, for_s;
	int full;
	int rc = unpack(json, why, "{s:b, s:I, s:I, s:s}", "full", &full, "until", &until, "for_s", &for_s,
			"name", &name);

	if (rc)
		return rc;
	*g = (struct admit_grant) { .full = full };
	if ((rc = take_u64(&g->until, until, "until", why)) ||
	    (rc = take_u32(&g->for_s, for_s, "for_s", why)))
		return rc;
	return take_word(g->name, sizeof g->name, name, name_letters, "name", why);
}

struct json_t *admit_grant_json(const struct admit_grant *g)
{
	return json_pack("{s:b, s:I, s:I, s:s}", "full", g->full, "until", (json_int_t)g->until, "for_s",
			 (json_int_t)g->for_s, "name", g->name);
}

/* --- Counts. */

static json_t *rejected_json(const uint64_t rejected[static FORWARD_REJECTS])
{
	json_t *object = json_object();

	for (enum forward_reject i = 0; i < FORWARD_REJECTS; i++)
		json_object_set_new(object, forward_reject_name(i), json_integer((json_int_t)rejected[i]));
	return object;
}

static int take_rejected(uint64_t rejected[static FORWARD_REJECTS], const json_t *object,
			 char why[static RULE_WHY])
{
	if (json_object_size(object) != FORWARD_REJECTS)
		return rule_refuse(why, "rejected has other reasons than ours");
	for (enum forward_reject i = 0; i < FORWARD_REJECTS; i++) {
		const json_t *n = json_object_get(object, forward_reject_name(i));
		if (!json_is_integer(n))
			return rule_refuse(why, "rejected has no number of %s", forward_reject_name(i));
		int rc = take_u64(&rejected[i], json_integer_value(n), "rejected", why);
		if (rc)
			return rc;
	}
	return 0;
}

int lease_stats_read(struct forward_stats *s, const struct json_t *json, uint64_t now_ms,
		     char why[static RULE_WHY])
{
	const char *visitor;
	json_int_t in, out, connections, total, age;
	json_t *rejected;
	uint64_t age_ms = 0;
	int rc = unpack(json, why, "{s:I, s:I, s:I, s:I, s:o, s:s, s:I}", "bytes_in", &in, "bytes_out", &out,
			"connections", &connections, "total", &total, "rejected", &rejected, "last_visitor",
			&visitor, "last_age_ms", &age);

	if (rc)
		return rc;
	*s = (struct forward_stats) { 0 };
	if ((rc = take_u64(&s->bytes_in, in, "bytes_in", why)) ||
	    (rc = take_u64(&s->bytes_out, out, "bytes_out", why)) ||
	    (rc = take_u32(&s->connections, connections, "connections", why)) ||
	    (rc = take_u64(&s->total, total, "total", why)) ||
	    (rc = take_rejected(s->rejected, rejected, why)) ||
	    (rc = take_ip(&s->last_visitor, visitor, 0, "last_visitor", why)) ||
	    (rc = take_u64(&age_ms, age, "last_age_ms", why)))
		return rc;
	s->last_ms = age_ms < now_ms ? now_ms - age_ms : 0;
	return 0;
}

struct json_t *lease_stats_json(const struct forward_stats *s, uint64_t now_ms)
{
	char ip[ADDR_TEXT_MAX];
	uint64_t age = s->last_visitor.family == ADDR_NONE || s->last_ms > now_ms ? 0 : now_ms - s->last_ms;

	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:s, s:I}", "bytes_in", (json_int_t)s->bytes_in,
			 "bytes_out", (json_int_t)s->bytes_out, "connections", (json_int_t)s->connections,
			 "total", (json_int_t)s->total, "rejected", rejected_json(s->rejected),
			 "last_visitor", ip_text(&s->last_visitor, ip), "last_age_ms", (json_int_t)age);
}
