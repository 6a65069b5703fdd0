#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "relay/http_parse.h"

static void look_at(const struct http_message *m)
{
	size_t sum = strlen(m->body);

	if (m->path)
		sum += strlen(m->path) + strlen(m->query) + strlen(m->method);
	for (size_t i = 0; i < m->header_count; i++)
		sum += strlen(m->header[i].name) + strlen(m->header[i].value);
	if (sum > HTTP_HEAD_MAX + HTTP_BODY_MAX || http_header_has(m, "connection", ""))
		abort();
}

/* The parser's library is not instrumented, so the fuzzer is given beginnings that it would hardly find by itself. */
static const char *const beginnings[] = {
	"",
	"GET /v1/status HTTP/1.1\r\nHost: a\r\n",
	"POST /v1/ping?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
	"GET /link HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ",
	"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
	"GET / HTTP/1.1\r\n\r\nGET /",
};

static void feed(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t whole[HTTP_HEAD_MAX + HTTP_BODY_MAX];

	if (size < 2 || size > sizeof whole - 256)
		return 0;
	const char *start = beginnings[data[1] % (sizeof beginnings / sizeof *beginnings)];
	size_t len = strlen(start);
	whole[0] = data[0];
	memcpy(whole + 1, start, len);
	memcpy(whole + 1 + len, data + 2, size - 2);
	feed(whole, 1 + len + size - 2);
	return 0;
}

/* The first byte chooses kind and size of the pieces. */
static void feed(const uint8_t *data, size_t size)
{
	struct http_parse *p = http_parse_create(data[0] & 1 ? HTTP_IS_RESPONSE : HTTP_IS_REQUEST,
						 HTTP_BODY_MAX, NULL, NULL);
	size_t step = (size_t)(data[0] >> 1) + 1, used;
	int rc = 0;

	for (size_t at = 1; at < size && rc <= 1; at += used) {
		size_t n = size - at < step ? size - at : step;
		rc = http_parse_feed(p, data + at, n, &used);
		if (used > n || (rc == 0 && used != n))
			abort();
		if (rc == 1) {
			look_at(http_parse_message(p));
			if (http_parse_message(p)->upgrade)
				break;
			http_parse_next(p);
		}
	}
	http_parse_feed(p, NULL, 0, &used);
	http_parse_destroy(p);
}
