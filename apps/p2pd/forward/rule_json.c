/* A rule's outside: JSON, and the texts in it. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/forward/rule.h"

enum { PORT_MAX = 65535 };

/* --- Texts */

/* Digits alone: strtoul would take spaces and signs. */
static bool read_port(const char **at, uint16_t *port)
{
	const char *end = *at;
	unsigned n = 0;

	for (; *end >= '0' && *end <= '9' && n <= PORT_MAX; end++)
		n = n * 10 + (unsigned)(*end - '0');
	if (end == *at || n == 0 || n > PORT_MAX)
		return false;
	*port = (uint16_t)n;
	*at = end;
	return true;
}

static int read_range(struct rule_range *out, const char **at, char *why)
{
	const char *text = *at;
	int len = (int)strcspn(text, ",");
	uint16_t last;

	bool good = read_port(at, &out->first);
	last = out->first;
	if (good && **at == '-') {
		++*at;
		good = read_port(at, &last);
	}
	if (!good || *at != text + len)
		return rule_refuse(why, "'%.*s' is not a port or range: ports are numbers from 1 to %d",
				   len < 40 ? len : 40, text, PORT_MAX);
	if (last < out->first)
		return rule_refuse(why, "'%.*s' goes down: write the lower port first", len, text);
	out->count = (uint16_t)(last - out->first + 1);
	return 0;
}

static int read_ranges(struct rule *r, const char *text, char *why)
{
	for (r->range_count = 0;; text++) {
		if (r->range_count == RULE_RANGES_MAX)
			return rule_refuse(why, "more than %d ports and ranges: make several rules",
					   RULE_RANGES_MAX);
		int rc = read_range(&r->ranges[r->range_count], &text, why);
		if (rc)
			return rc;
		r->range_count++;
		if (!*text)
			return 0;
	}
}

/* One address has one form here: what IPv6 would hide IPv4 in is refused, for people judge by what they read. */
static int read_ip(struct addr *out, const char *text, char *why)
{
	if (addr_parse(out, text, 0) || out->port)
		return rule_refuse(why, "'%.60s' is not an IP address", text);
	if (out->family == ADDR_V4 && strchr(text, ':'))
		return rule_refuse(
			why, "'%.60s' is an IPv4 address in the form of an IPv6 one: write it as IPv4", text);
	return 0;
}

/* Cuts "[2001:db8::1]:80" and "192.0.2.1:80" in two; NULL where the text is neither. */
static const char *split(const char *text, char ip[static ADDR_TEXT_MAX])
{
	bool brackets = *text == '[';
	const char *start = text + brackets, *end = strchr(start, brackets ? ']' : ':');
	const char *ports = end ? end + brackets : NULL;

	if (!ports || *ports != ':' || end - start >= ADDR_TEXT_MAX)
		return NULL;
	snprintf(ip, ADDR_TEXT_MAX, "%.*s", (int)(end - start), start);
	return brackets == (strchr(ip, ':') != NULL) ? ports + 1 : NULL;
}

int rule_read_local(struct rule *r, const char *text, char why[static RULE_WHY])
{
	char ip[ADDR_TEXT_MAX];
	const char *ports = split(text, ip);

	*why = 0;
	if (!ports || strchr(ports, ':'))
		return rule_refuse(
			why, "'%.80s' is not IP:PORT[-PORT][,PORT...], with an IPv6 address in brackets",
			text);
	int rc = read_ip(&r->local, ip, why);
	return rc ? rc : read_ranges(r, ports, why);
}

const char *rule_local_text(const struct rule *r, char out[static RULE_LOCAL])
{
	char ip[ADDR_TEXT_MAX];
	bool v6 = r->local.family == ADDR_V6;
	size_t at = (size_t)snprintf(out, RULE_LOCAL, "%s%s%s", v6 ? "[" : "", addr_format_ip(&r->local, ip),
				     v6 ? "]" : "");

	for (unsigned i = 0; i < r->range_count && at < RULE_LOCAL; i++) {
		const struct rule_range *range = &r->ranges[i];
		at += (size_t)snprintf(out + at, RULE_LOCAL - at, "%c%u", i ? ',' : ':', range->first);
		if (range->count > 1 && at < RULE_LOCAL)
			at += (size_t)snprintf(out + at, RULE_LOCAL - at, "-%u",
					       range->first + range->count - 1U);
	}
	return out;
}

static bool read_bits(const char *text, unsigned max, uint8_t *out)
{
	unsigned n = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9' && n <= max; at++)
		n = n * 10 + (unsigned)(*at - '0');
	*out = (uint8_t)n;
	return at != text && !*at && n <= max;
}

static bool mask(struct forward_prefix *p)
{
	struct addr whole = p->prefix;

	for (unsigned bit = p->bits; bit < sizeof p->prefix.ip * 8; bit++)
		p->prefix.ip[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return !addr_same_ip(&whole, &p->prefix);
}

int rule_read_prefix(struct forward_prefix *out, const char *text, char why[static RULE_WHY])
{
	char ip[ADDR_TEXT_MAX], right[RULE_PREFIX];
	size_t len = strcspn(text, "/");

	*why = 0;
	snprintf(ip, sizeof ip, "%.*s", (int)(len < sizeof ip ? len : sizeof ip - 1), text);
	int rc = read_ip(&out->prefix, ip, why);
	if (rc)
		return rc;
	unsigned width = out->prefix.family == ADDR_V4 ? 32 : 128;
	out->bits = (uint8_t)width;
	if (out->prefix.scope || (text[len] && !read_bits(text + len + 1, width, &out->bits)))
		return rule_refuse(why, "'%.60s' is not a prefix such as 198.51.100.0/24", text);
	if (mask(out))
		return rule_refuse(why, "'%.60s' has bits beyond the prefix: write %s, or the address alone",
				   text, rule_prefix_text(out, right));
	return 0;
}

const char *rule_prefix_text(const struct forward_prefix *p, char out[static RULE_PREFIX])
{
	char ip[ADDR_TEXT_MAX];

	snprintf(out, RULE_PREFIX, "%s/%u", addr_format_ip(&p->prefix, ip), p->bits);
	return out;
}

/* It is printed again and compared: else a 30th of February would pass for the 2nd of March. */
static bool read_date(uint64_t *unix_s, const char *text, const char *form)
{
	struct tm tm = { 0 };
	char again[32];
	const char *end = strptime(text, form, &tm);
	time_t t = end && !*end ? timegm(&tm) : -1;

	if (t <= 0 || !gmtime_r(&t, &tm) || !strftime(again, sizeof again, form, &tm) || strcmp(again, text))
		return false;
	*unix_s = (uint64_t)t;
	return true;
}

int rule_read_date(uint64_t *unix_s, const char *text)
{
	bool read = read_date(unix_s, text, "%Y-%m-%d") || read_date(unix_s, text, "%Y-%m-%dT%H:%M:%SZ");

	return read ? 0 : -EINVAL;
}

/* --- Values */

static int read_text(char *out, size_t cap, const json_t *v, const char *key, char *why)
{
	const char *text = json_string_value(v);

	memset(out, 0, cap);
	if (!text || strlen(text) != json_string_length(v))
		return rule_refuse(why, "%s takes a text", key);
	if (strlen(text) >= cap)
		return rule_refuse(why, "%s takes a text of at most %zu bytes", key, cap - 1);
	snprintf(out, cap, "%s", text);
	return 0;
}

static int read_number(uint64_t *out, uint64_t max, const json_t *v, const char *key, char *why)
{
	json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;

	if (n < 0 || (uint64_t)n > max)
		return rule_refuse(why, "%s takes a number from 0 to %llu", key, (unsigned long long)max);
	*out = (uint64_t)n;
	return 0;
}

/* Of a limit, which rule_check_limits() says in better words: what is too large for the field is so for the limit. */
static int read_limit(uint64_t *out, uint64_t field_max, uint64_t max, const json_t *v, const char *key,
		      char *why)
{
	json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;

	if (n < 0)
		return read_number(out, max, v, key, why);
	*out = (uint64_t)n < field_max ? (uint64_t)n : field_max;
	return 0;
}

/* One of `count` words, as its index. */
static int read_word(unsigned *out, const char *const *words, unsigned count, const json_t *v,
		     const char *key, char *why)
{
	const char *text = json_string_value(v);
	char list[64] = "";

	for (unsigned i = 0; i < count; i++) {
		size_t at = strlen(list);
		snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", words[i]);
		if (text && !strcmp(text, words[i])) {
			*out = i;
			return 0;
		}
	}
	return rule_refuse(why, "%s is one of %s", key, list);
}

static int read_id(struct rule *r, const json_t *v, char *why)
{
	static const uint8_t none[FORWARD_ID];
	const char *text = json_string_value(v);
	uint8_t id[FORWARD_ID];

	if (!text || rule_id_parse(id, text))
		return rule_refuse(why, "forward_id is not an id of a rule");
	if (memcmp(r->id, none, sizeof none) != 0 && memcmp(r->id, id, sizeof id) != 0)
		return rule_refuse(why, "forward_id cannot be changed");
	memcpy(r->id, id, sizeof id);
	return 0;
}

static int read_name(struct rule *r, const json_t *v, char *why)
{
	return read_text(r->name, sizeof r->name, v, "name", why);
}

static int read_local(struct rule *r, const json_t *v, char *why)
{
	char text[RULE_LOCAL];
	int rc = read_text(text, sizeof text, v, "local", why);

	return rc ? rc : rule_read_local(r, text, why);
}

static int read_proto(struct rule *r, const json_t *v, char *why)
{
	static const char *const words[] = { "tcp", "udp", "both" };
	unsigned i = 0;
	int rc = read_word(&i, words, 3, v, "proto", why);

	r->tcp = i != 1;
	r->udp = i != 0;
	return rc;
}

static int read_scope(struct rule *r, const json_t *v, char *why)
{
	static const char *const words[] = { "org", "nodes", "public" };
	unsigned i = 0;
	int rc = read_word(&i, words, 3, v, "scope", why);

	r->scope = (enum rule_scope)i;
	return rc;
}

static int read_source(struct rule *r, const json_t *v, char *why)
{
	static const char *const words[] = { "kernel", "proxy-v2", "nat" };
	unsigned i = 0;
	int rc = read_word(&i, words, 3, v, "source_ip", why);

	r->source_ip = (enum rule_source)i;
	return rc;
}

static int read_to(struct rule *r, const json_t *v, char *why)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v) || json_array_size(v) > RULE_TO_MAX)
		return rule_refuse(why, "to takes a list of at most %d names of members", RULE_TO_MAX);
	r->to_count = 0;
	json_array_foreach((json_t *)v, i, item)
	{
		int rc = read_text(r->to[r->to_count], sizeof *r->to, item, "to", why);
		if (rc)
			return rc;
		r->to_count++;
	}
	return 0;
}

static int read_via(struct rule *r, const json_t *v, char *why)
{
	return read_text(r->via, sizeof r->via, v, "via", why);
}

static int read_domain(struct rule *r, const json_t *v, char *why)
{
	return read_text(r->domain, sizeof r->domain, v, "domain", why);
}

static bool is_listed(const struct rule *r, const struct forward_prefix *p)
{
	for (unsigned i = 0; i < r->allow_count; i++)
		if (r->allow[i].bits == p->bits && addr_same_ip(&r->allow[i].prefix, &p->prefix))
			return true;
	return false;
}

static int add_allowed(struct rule *r, const json_t *v, char *why)
{
	struct forward_prefix p = { 0 };
	char text[RULE_PREFIX + ADDR_TEXT_MAX];
	int rc = read_text(text, sizeof text, v, "allow", why);

	if (rc)
		return rc;
	if (!strcmp(text, "token")) {
		r->allow_token = true;
		return 0;
	}
	rc = rule_read_prefix(&p, text, why);
	if (rc || is_listed(r, &p))
		return rc;
	if (r->allow_count == RULE_ALLOW_MAX)
		return rule_refuse(why, "more than %d prefixes in allow", RULE_ALLOW_MAX);
	r->allow[r->allow_count++] = p;
	return 0;
}

static int read_allow(struct rule *r, const json_t *v, char *why)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return rule_refuse(why, "allow takes a list of prefixes such as 198.51.100.0/24, or token");
	r->allow_count = 0;
	r->allow_token = false;
	json_array_foreach((json_t *)v, i, item)
	{
		int rc = add_allowed(r, item, why);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_public_port(struct rule *r, const json_t *v, char *why)
{
	uint64_t n = 0;
	int rc = read_number(&n, PORT_MAX, v, "public_port", why);

	r->public_port = (uint16_t)n;
	return rc;
}

static int read_max_conn(struct rule *r, const json_t *v, char *why)
{
	uint64_t n = 0;
	int rc = read_limit(&n, UINT32_MAX, RULE_CONN_MAX, v, "max_conn", why);

	r->max_conn = (uint32_t)n;
	return rc ? rc : rule_check_limits(r, why);
}

static int read_idle(struct rule *r, const json_t *v, char *why)
{
	uint64_t n = 0;
	int rc = read_limit(&n, UINT32_MAX, RULE_IDLE_MAX_S, v, "idle_s", why);

	r->idle_s = (uint32_t)n;
	return rc ? rc : rule_check_limits(r, why);
}

static int read_rate(struct rule *r, const json_t *v, char *why)
{
	int rc = read_limit(&r->rate, UINT64_MAX, RULE_RATE_MAX, v, "rate", why);

	return rc ? rc : rule_check_limits(r, why);
}

static int read_expires(struct rule *r, const json_t *v, char *why)
{
	return read_number(&r->expires_at, INT64_MAX, v, "expires_at", why);
}

static int read_created(struct rule *r, const json_t *v, char *why)
{
	return read_number(&r->created_at, INT64_MAX, v, "created_at", why);
}

static int read_changed(struct rule *r, const json_t *v, char *why)
{
	return read_number(&r->changed_at, INT64_MAX, v, "changed_at", why);
}

static int read_removed(struct rule *r, const json_t *v, char *why)
{
	return read_number(&r->removed_at, INT64_MAX, v, "removed_at", why);
}

static int read_paused(struct rule *r, const json_t *v, char *why)
{
	r->paused = json_is_true(v);
	return json_is_boolean(v) ? 0 : rule_refuse(why, "paused is true or false");
}

static int read_declared(struct rule *r, const json_t *v, char *why)
{
	r->declared = json_is_true(v);
	return json_is_boolean(v) ? 0 : rule_refuse(why, "declared is true or false");
}

static const struct key {
	const char *name;
	int (*read)(struct rule *r, const json_t *v, char *why);
} keys[] = {
	{ "forward_id", read_id },
	{ "name", read_name },
	{ "local", read_local },
	{ "proto", read_proto },
	{ "scope", read_scope },
	{ "to", read_to },
	{ "via", read_via },
	{ "public_port", read_public_port },
	{ "domain", read_domain },
	{ "allow", read_allow },
	{ "max_conn", read_max_conn },
	{ "idle_s", read_idle },
	{ "rate", read_rate },
	{ "expires_at", read_expires },
	{ "source_ip", read_source },
	{ "paused", read_paused },
	{ "declared", read_declared },
	{ "created_at", read_created },
	{ "changed_at", read_changed },
	{ "removed_at", read_removed },
};

static const struct key *find(const char *name)
{
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

int rule_read(struct rule *r, const struct json_t *spec, char why[static RULE_WHY])
{
	const char *name;
	json_t *v;

	*why = 0;
	if (!json_is_object(spec))
		return rule_refuse(why, "a rule is a JSON object");
	json_object_foreach((json_t *)spec, name, v)
	{
		const struct key *key = find(name);
		int rc = key ? key->read(r, v, why) : rule_refuse(why, "unknown key '%.60s'", name);
		if (rc)
			return rc;
	}
	return 0;
}

/* --- And back */

static json_t *to_json(const struct rule *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->to_count; i++)
		json_array_append_new(list, json_string(r->to[i]));
	return list;
}

static json_t *allow_json(const struct rule *r)
{
	char text[RULE_PREFIX];
	json_t *list = json_array();

	for (unsigned i = 0; i < r->allow_count; i++)
		json_array_append_new(list, json_string(rule_prefix_text(&r->allow[i], text)));
	if (r->allow_token)
		json_array_append_new(list, json_string("token"));
	return list;
}

struct json_t *rule_json(const struct rule *r)
{
	char id[RULE_ID_TEXT], local[RULE_LOCAL];
	json_t *json = json_pack("{ss ss ss ss ss so ss si ss so sI sI sI sI ss sb sI sI}", "forward_id",
				 rule_id_text(r->id, id), "name", r->name, "local", rule_local_text(r, local),
				 "proto", rule_proto_name(r), "scope", rule_scope_name(r->scope), "to",
				 to_json(r), "via", r->via, "public_port", (int)r->public_port, "domain",
				 r->domain, "allow", allow_json(r), "max_conn", (json_int_t)r->max_conn,
				 "idle_s", (json_int_t)r->idle_s, "rate", (json_int_t)r->rate, "expires_at",
				 (json_int_t)r->expires_at, "source_ip", rule_source_name(r->source_ip),
				 "paused", (int)r->paused, "created_at", (json_int_t)r->created_at,
				 "changed_at", (json_int_t)r->changed_at);

	if (json && r->declared)
		json_object_set_new(json, "declared", json_true());
	if (json && r->removed_at)
		json_object_set_new(json, "removed_at", json_integer((json_int_t)r->removed_at));
	return json;
}
