#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "relay/http.h"
#include "relay/rest_internal.h"

void rest_json(struct rest_call *c, int status, json_t *body)
{
	c->answer->status = body ? status : 500;
	c->answer->type = "application/json";
	c->answer->json = body;
	c->answer->text = body ? NULL : "{}";
}

/* Details are our own words: nothing that a stranger sent is said again. */
void rest_problem(struct rest_call *c, int status, const char *fmt, ...)
{
	char detail[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof detail, fmt, ap);
	va_end(ap);
	rest_json(c, status,
		  json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title", http_reason(status),
			    "status", status, "detail", detail));
	c->answer->type = "application/problem+json";
}

void rest_store_problem(struct rest_call *c, int error)
{
	rest_problem(c, 503, "the hub's store does not answer (%s): see the hub's log", strerror(-error));
}

void rest_header(struct rest_answer *a, const char *fmt, ...)
{
	size_t len = strlen(a->headers);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->headers + len, sizeof a->headers - len, fmt, ap);
	va_end(ap);
}

json_t *rest_key_json(const uint8_t key[static REST_KEY])
{
	static const char digits[] = "0123456789abcdef";
	char text[REST_KEY_TEXT] = "";

	for (size_t i = 0; i < REST_KEY; i++) {
		text[2 * i] = digits[key[i] >> 4];
		text[2 * i + 1] = digits[key[i] & 15];
	}
	return json_string(text);
}

json_t *rest_time_json(uint64_t unix_s)
{
	char text[REST_TIME];
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (unix_s == 0 || !gmtime_r(&t, &tm) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_null();
	return json_string(text);
}

json_t *rest_addr_json(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family == ADDR_NONE ? json_null() : json_string(addr_format(a, text));
}
