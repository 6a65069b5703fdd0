#include "relay/hub_url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/addr.h"

enum { HTTPS_PORT = 443 };
static const char scheme[] = "https://";

/* Copies the `len` bytes, all of which must please `ok`. */
static int take(char *out, size_t max, const char *text, size_t len, bool (*ok)(char c))
{
	if (len > max)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (!ok(text[i]))
			return -EINVAL;
	memcpy(out, text, len);
	out[len] = 0;
	return 0;
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_';
}

static bool is_ip6_char(char c)
{
	return isxdigit((unsigned char)c) || c == ':' || c == '.';
}

static bool is_path_char(char c)
{
	return isgraph((unsigned char)c) && c != '?' && c != '#' && c != '"' && c != '\\';
}

static int parse_port(uint16_t *port, const char *text, size_t len)
{
	unsigned long v = 0;

	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return -EINVAL;
		v = v * 10 + (unsigned long)(text[i] - '0');
	}
	if (v == 0 || v > 65535)
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
}

static int parse_bracketed(struct hub_url *out, const char *text, const char *end, const char **rest)
{
	const char *close = memchr(text, ']', (size_t)(end - text));
	struct addr a;

	if (!close || take(out->host, HUB_URL_HOST_MAX, text + 1, (size_t)(close - text - 1), is_ip6_char))
		return -EINVAL;
	*rest = close + 1;
	return addr_parse(&a, out->host, 1) == 0 && strchr(out->host, ':') ? 0 : -EINVAL;
}

static int parse_authority(struct hub_url *out, const char *text, const char *end)
{
	const char *colon;

	if (text < end && *text == '[') {
		if (parse_bracketed(out, text, end, &colon))
			return -EINVAL;
	} else {
		colon = memchr(text, ':', (size_t)(end - text));
		colon = colon ? colon : end;
		if (colon == text ||
		    take(out->host, HUB_URL_HOST_MAX, text, (size_t)(colon - text), is_name_char))
			return -EINVAL;
	}
	out->port = HTTPS_PORT;
	if (colon == end)
		return 0;
	return *colon == ':' ? parse_port(&out->port, colon + 1, (size_t)(end - colon - 1)) : -EINVAL;
}

int hub_url_parse(struct hub_url *out, const char *text)
{
	*out = (struct hub_url) { 0 };
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		return -EINVAL;
	text += sizeof scheme - 1;
	const char *end = text + strcspn(text, "/?#"), *hash = text + strcspn(text, "#");
	if (parse_authority(out, text, end))
		return -EINVAL;
	size_t path_len = (size_t)(hash - end);
	while (path_len && end[path_len - 1] == '/')
		path_len--;
	if (take(out->path, HUB_URL_PATH_MAX, end, path_len, is_path_char))
		return -EINVAL;
	if (!*hash)
		return 0;
	out->pinned = true;
	return tls_pin_parse(out->pin, hash + 1);
}

const char *hub_url_format(const struct hub_url *u, char out[static HUB_URL_TEXT])
{
	bool ip6 = strchr(u->host, ':');
	char port[8] = "", pin[TLS_PIN_TEXT] = "";

	if (u->port != HTTPS_PORT)
		snprintf(port, sizeof port, ":%u", u->port);
	if (u->pinned)
		tls_pin_format(u->pin, pin);
	snprintf(out, HUB_URL_TEXT, "%s%s%s%s%s%s%s%s", scheme, ip6 ? "[" : "", u->host, ip6 ? "]" : "", port,
		 u->path, u->pinned ? "#" : "", pin);
	return out;
}
