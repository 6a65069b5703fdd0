#include "core/proxy.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/addr.h"
#include "core/crypto.h"

enum { HTTP_PORT = 80, ENTRY_MAX = 255 };
static const char scheme[] = "http://";

/* --- The proxy's URL. */

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_';
}

static int parse_port(uint16_t *port, const char *text, size_t len)
{
	unsigned v = 0;

	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return -EINVAL;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	if (v == 0 || v > 65535)
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
}

/* HOST or [HOST]; `*end` is where it ends. */
static int parse_host(char host[static PROXY_HOST_MAX + 1], const char *text, size_t len, const char **end)
{
	bool bracketed = len && *text == '[';
	const char *close = memchr(text, bracketed ? ']' : ':', len);
	struct addr a;

	if (bracketed && !close)
		return -EINVAL;
	text += bracketed;
	size_t host_len = close ? (size_t)(close - text) : len;
	if (host_len == 0 || host_len > PROXY_HOST_MAX)
		return -EINVAL;
	memcpy(host, text, host_len);
	host[host_len] = 0;
	*end = text + host_len + bracketed;
	if (bracketed)
		return addr_parse(&a, host, 1) == 0 && strchr(host, ':') ? 0 : -EINVAL;
	for (size_t i = 0; i < host_len; i++)
		if (!is_name_char(host[i]))
			return -EINVAL;
	return 0;
}

static int hex_value(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* What %XX stands for at the start of the text (-1: for nothing), or its first character. */
static int take_char(const char **text, const char *end)
{
	const char *p = *text;
	int high, low;

	*text = p + 1;
	if (*p != '%')
		return (unsigned char)*p;
	if (end - p < 3 || (high = hex_value(p[1])) < 0 || (low = hex_value(p[2])) < 0)
		return -1;
	*text = p + 3;
	return high << 4 | low;
}

/* A user without a password gets the colon, too: RFC 7617 section 2. */
static int parse_credentials(struct proxy *out, const char *text, const char *end)
{
	bool has_colon = false;
	size_t len = 0;

	while (text < end) {
		bool colon = *text == ':';
		int c = take_char(&text, end);
		if (c < 0x20 || c == 0x7f || len == PROXY_CREDENTIALS_MAX - 1)
			return -EINVAL;
		if (c == ':' && !colon && !has_colon)
			return -EINVAL; /* in the user's name it could not be told from the one that ends it */
		has_colon |= colon;
		out->credentials[len++] = (char)c;
	}
	if (!has_colon)
		out->credentials[len++] = ':';
	out->credentials[len] = 0;
	return 0;
}

int proxy_parse(struct proxy *out, const char *text)
{
	const char *colon = strstr(text, "://");

	*out = (struct proxy) { .port = HTTP_PORT };
	if (colon && strncasecmp(text, scheme, sizeof scheme - 1) != 0)
		return -EPROTONOSUPPORT;
	if (colon)
		text += sizeof scheme - 1;
	const char *end = text + strlen(text), *rest;
	if (end > text && end[-1] == '/')
		end--;
	for (const char *at = end; at > text; at--) {
		if (at[-1] != '@')
			continue;
		if (parse_credentials(out, text, at - 1))
			return -EINVAL;
		text = at;
		break;
	}
	if (parse_host(out->host, text, (size_t)(end - text), &rest))
		return -EINVAL;
	if (rest == end)
		return 0;
	return *rest == ':' ? parse_port(&out->port, rest + 1, (size_t)(end - rest - 1)) : -EINVAL;
}

const char *proxy_format(const struct proxy *p, char out[static PROXY_TEXT])
{
	bool ip6 = strchr(p->host, ':');

	snprintf(out, PROXY_TEXT, "%s%s%s%s:%u", scheme, ip6 ? "[" : "", p->host, ip6 ? "]" : "", p->port);
	return out;
}

/* --- Who does without. */

static bool is_this_machine(const char *host)
{
	struct addr a;

	return !strcasecmp(host, "localhost") || (addr_parse(&a, host, 1) == 0 && addr_is_loopback(&a));
}

static bool is_in_prefix(const char *entry, const char *slash, const char *host)
{
	char ip[ENTRY_MAX + 1], *end;
	struct addr a, prefix;

	snprintf(ip, sizeof ip, "%.*s", (int)(slash - entry), entry);
	unsigned long bits = strtoul(slash + 1, &end, 10);
	if (!isdigit((unsigned char)slash[1]) || *end || addr_parse(&a, host, 1) ||
	    addr_parse(&prefix, ip, 1))
		return false;
	return a.family == prefix.family && bits <= (a.family == ADDR_V4 ? 32 : 128) &&
	       addr_in_prefix(&a, &prefix, (unsigned)bits);
}

static bool is_name_under(const char *name, const char *host)
{
	name += *name == '.';
	size_t len = strlen(name), host_len = strlen(host);
	if (len == 0 || host_len < len || strcasecmp(host + host_len - len, name) != 0)
		return false;
	return host_len == len || host[host_len - len - 1] == '.';
}

static bool entry_fits(char *entry, const char *host, uint16_t port)
{
	struct addr a, own;
	const char *slash = strchr(entry, '/');
	char *colon = strrchr(entry, ':');
	uint16_t only = port;

	if (!strcmp(entry, "*"))
		return true;
	if (slash)
		return is_in_prefix(entry, slash, host);
	if (addr_parse(&a, entry, port) == 0)
		return addr_parse(&own, host, port) == 0 && addr_same_ip(&a, &own) && a.port == port;
	if (colon && parse_port(&only, colon + 1, strlen(colon + 1)) == 0)
		*colon = 0;
	return only == port && is_name_under(entry, host);
}

bool proxy_is_bypassed(const char *no_proxy, const char *host, uint16_t port)
{
	static const char separators[] = ", \t";

	if (is_this_machine(host))
		return true;
	for (const char *p = no_proxy ? no_proxy : ""; *p;) {
		char entry[ENTRY_MAX + 1];
		size_t len = strcspn(p, separators);
		if (len && len < sizeof entry) {
			memcpy(entry, p, len);
			entry[len] = 0;
			if (entry_fits(entry, host, port))
				return true;
		}
		p += len;
		p += strspn(p, separators);
	}
	return false;
}

/* --- The request and its answer. */

size_t proxy_request(const struct proxy *p, const char *host, uint16_t port,
		     char out[static PROXY_REQUEST_MAX])
{
	char basic[CRYPTO_BASE64_TEXT(PROXY_CREDENTIALS_MAX)] = "", target[2 + PROXY_HOST_MAX + 6 + 1];
	bool ip6 = strchr(host, ':');

	if (strlen(host) > PROXY_HOST_MAX)
		return 0;
	snprintf(target, sizeof target, "%s%s%s:%u", ip6 ? "[" : "", host, ip6 ? "]" : "", port);
	if (*p->credentials)
		crypto_base64(basic, p->credentials, strlen(p->credentials));
	int len = snprintf(out, PROXY_REQUEST_MAX, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", target,
			   target, *basic ? "Proxy-Authorization: Basic " : "", basic, *basic ? "\r\n" : "");
	crypto_wipe(basic, sizeof basic);
	return (size_t)len;
}

/* Byte by byte, so that who speaks first in another protocol (SSH, SMTP) is known for that at once. */
static int take_status_line(struct proxy_answer *a, char c)
{
	static const char pattern[] = "HTTP/1.# ###";
	size_t at = a->line_len++;

	if (at < sizeof pattern - 1) {
		bool fits = pattern[at] == '#' ? isdigit((unsigned char)c) : c == pattern[at];
		if (fits && at > 8)
			a->status = a->status * 10 + (c - '0');
		return fits ? 0 : -EBADMSG;
	}
	if (at == sizeof pattern - 1 && c != ' ' && c != '\r' && c != '\n')
		return -EBADMSG;
	if (c == '\n') {
		a->in_headers = true;
		a->line_is_blank = true;
	}
	return 0;
}

static int take_header_byte(struct proxy_answer *a, char c)
{
	if (c != '\n') {
		a->line_is_blank &= c == '\r';
		return 0;
	}
	if (!a->line_is_blank) {
		a->line_is_blank = true;
		return 0;
	}
	if (a->status >= 200)
		return 1;
	/* An interim answer (RFC 9110 section 15.2): the real one follows. */
	*a = (struct proxy_answer) { .len = a->len };
	return 0;
}

int proxy_answer_feed(struct proxy_answer *a, const void *data, size_t len, size_t *used)
{
	const char *p = data;

	for (size_t i = 0; i < len; i++) {
		*used = i + 1;
		if (++a->len > PROXY_ANSWER_MAX)
			return -EBADMSG;
		int rc = a->in_headers ? take_header_byte(a, p[i]) : take_status_line(a, p[i]);
		if (rc)
			return rc;
	}
	*used = len;
	return 0;
}
