#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/proxy.h"

static void read_url(const char *text)
{
	struct proxy p, again;
	char shown[PROXY_TEXT], request[PROXY_REQUEST_MAX];

	proxy_is_bypassed(text, "hub.example", 443);
	proxy_is_bypassed(text, "2001:db8::7", 443);
	if (proxy_parse(&p, text) != 0)
		return;
	size_t len = proxy_request(&p, "hub.example", 443, request);
	if (len == 0 || len >= sizeof request || memchr(request, 0, len))
		abort();
	if (proxy_parse(&again, proxy_format(&p, shown)) != 0 || strcmp(again.host, p.host) != 0 ||
	    again.port != p.port || *again.credentials)
		abort();
}

/* However it is split, it is read as the same. */
static void read_answer(const uint8_t *data, size_t size)
{
	struct proxy_answer whole = { 0 }, pieces = { 0 };
	size_t used = 0, one, at = 0;
	int rc = proxy_answer_feed(&whole, data, size, &used), again = 0;

	while (at < size && again == 0)
		again = proxy_answer_feed(&pieces, data + at++, 1, &one);
	if (rc != again || at != used || (rc == 1 && whole.status != pieces.status))
		abort();
	if (rc == 1 && (whole.status < 200 || whole.status > 999))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = 0;
	read_url(text);
	read_answer(data, size);
	free(text);
	return 0;
}
