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

/* The first byte chooses kind and size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
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
	return 0;
}
