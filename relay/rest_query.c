#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "relay/rest_internal.h"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent decoding (RFC 3986 section 2.1). What we take is ASCII that can be seen; anything else is refused. */
static bool decode(char out[static REST_VALUE], const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)text[i];
		if (c == '%') {
			int high = len - i > 2 ? digit(text[i + 1]) : -1;
			int low = len - i > 2 ? digit(text[i + 2]) : -1;
			c = high < 0 || low < 0 ? -1 : high * 16 + low;
			i += 2;
		}
		if (c <= ' ' || c >= 127 || n + 1 >= REST_VALUE)
			return false;
		out[n++] = (char)c;
	}
	out[n] = 0;
	return true;
}

bool rest_path_fits(const char *pattern, const char *path, char param[static REST_VALUE])
{
	*param = 0;
	while (*pattern && *pattern != '{')
		if (*pattern++ != *path++)
			return false;
	if (!*pattern)
		return !*path;
	size_t len = strcspn(path, "/");
	pattern += strcspn(pattern, "}") + 1;
	return len && decode(param, path, len) && !strcmp(pattern, path + len);
}

/* The next "name=value" of a query; false at its end. */
struct pair {
	const char *name, *value;
	size_t name_len, value_len;
};

static bool next_pair(const char **at, struct pair *p)
{
	if (!**at)
		return false;
	size_t len = strcspn(*at, "&");
	p->name = *at;
	p->name_len = strcspn(*at, "=&");
	p->value = p->name + p->name_len + (p->name_len < len);
	p->value_len = len - (size_t)(p->value - p->name);
	*at += len + ((*at)[len] == '&');
	return true;
}

static bool is_known(const char *names, const struct pair *p)
{
	for (const char *n = names; *n; n += strspn(n, " ")) {
		size_t len = strcspn(n, " ");
		if (len == p->name_len && !memcmp(n, p->name, len))
			return true;
		n += len;
	}
	return false;
}

static unsigned times(const char *query, const struct pair *p)
{
	struct pair other;
	unsigned n = 0;

	while (next_pair(&query, &other))
		n += other.name_len == p->name_len && !memcmp(other.name, p->name, p->name_len);
	return n;
}

bool rest_query_check(struct rest_call *c)
{
	const char *query = c->request->http->query, *at = query;
	char value[REST_VALUE];
	struct pair p;

	while (next_pair(&at, &p)) {
		if (!is_known(c->route->query, &p)) {
			rest_problem(c, 400,
				     "the query has a parameter that is not known here; known are: %s",
				     *c->route->query ? c->route->query : "none");
			return false;
		}
		/* Known names are few and each comes once: so this ends soon. */
		if (!decode(value, p.value, p.value_len) || times(query, &p) > 1) {
			rest_problem(c, 400, "the parameter %.*s is not well formed", (int)p.name_len,
				     p.name);
			return false;
		}
	}
	return true;
}

bool rest_query(const struct rest_call *c, const char *name, char out[static REST_VALUE])
{
	const char *at = c->request->http->query;
	size_t len = strlen(name);
	struct pair p;

	while (next_pair(&at, &p))
		if (p.name_len == len && !memcmp(p.name, name, len))
			return decode(out, p.value, p.value_len);
	return false;
}

static bool number_of(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t d = (uint64_t)(*text - '0');
		if (d > max || n > (max - d) / 10)
			return false;
		n = n * 10 + d;
	}
	*out = n;
	return !*text;
}

bool rest_query_number(struct rest_call *c, const char *name, uint64_t min, uint64_t max, uint64_t *inout)
{
	char text[REST_VALUE];

	if (!rest_query(c, name, text))
		return true;
	if (number_of(text, max, inout) && *inout >= min)
		return true;
	rest_problem(c, 400, "%s is a number from %llu to %llu", name, (unsigned long long)min,
		     (unsigned long long)max);
	return false;
}

bool rest_query_time(struct rest_call *c, const char *name, uint64_t *inout)
{
	char text[REST_VALUE];
	struct tm tm = { 0 };

	if (!rest_query(c, name, text) || number_of(text, INT64_MAX, inout))
		return true;
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	time_t t = end && !*end ? timegm(&tm) : -1;
	if (t >= 0) {
		*inout = (uint64_t)t;
		return true;
	}
	rest_problem(c, 400, "%s is a time: 2026-01-31T09:05:00Z, or seconds since 1970", name);
	return false;
}

static bool key_of(const char *text, uint8_t out[static REST_KEY])
{
	if (strlen(text) != 2 * REST_KEY)
		return false;
	for (size_t i = 0; i < REST_KEY; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool rest_query_key(struct rest_call *c, const char *name, uint8_t out[static REST_KEY], bool *given)
{
	char text[REST_VALUE];

	*given = rest_query(c, name, text);
	if (!*given || key_of(text, out))
		return true;
	rest_problem(c, 400, "%s is 64 hexadecimal digits", name);
	return false;
}

bool rest_param_key(struct rest_call *c, uint8_t out[static REST_KEY])
{
	if (key_of(c->param, out))
		return true;
	rest_problem(c, 400, "a network or a node is named by 64 hexadecimal digits");
	return false;
}

json_t *rest_body(struct rest_call *c)
{
	const struct http_message *m = c->request->http;
	json_t *body = json_loadb(m->body, m->body_len, JSON_REJECT_DUPLICATES, NULL);

	if (!body)
		rest_problem(c, 400, "the body is not JSON");
	else if (!json_is_object(body)) {
		rest_problem(c, 422, "the body is not a JSON object");
		json_decref(body);
		body = NULL;
	}
	return body;
}
