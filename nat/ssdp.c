#include "nat/ssdp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

size_t ssdp_search(const char *target, char *out, size_t cap)
{
	int n = snprintf(out, cap,
			 "M-SEARCH * HTTP/1.1\r\nHOST: %s:%d\r\nMAN: \"ssdp:discover\"\r\nMX: %d\r\n"
			 "ST: %s\r\n\r\n",
			 SSDP_GROUP, SSDP_PORT, SSDP_MX_S, target);

	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

static bool is_success(const char *text, size_t len)
{
	return len > 12 && !memcmp(text, "HTTP/1.", 7) && !memcmp(text + 8, " 200", 4);
}

static bool copy_value(char url[static SSDP_URL_MAX], const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	size_t len = (size_t)(end - at);
	if (len == 0 || len >= SSDP_URL_MAX || memchr(at, 0, len))
		return false;
	memcpy(url, at, len);
	url[len] = 0;
	return true;
}

bool ssdp_read_answer(char url[static SSDP_URL_MAX], const uint8_t *msg, size_t len)
{
	static const char name[] = "location:";
	const char *at = (const char *)msg, *end = at + len;

	if (len > SSDP_MAX || !is_success(at, len))
		return false;
	while (at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		eol = eol ? eol : end;
		if ((size_t)(eol - at) >= sizeof name - 1 && !strncasecmp(at, name, sizeof name - 1))
			return copy_value(url, at + sizeof name - 1, eol);
		at = eol < end ? eol + 1 : end;
	}
	return false;
}
