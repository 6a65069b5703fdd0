/* proxy_header_read: what it takes says the same when it is written again, and no header is begun and then refused for
 * what came before. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In pieces: as long as it says that more is needed, and then the same as at once. */
static void in_pieces(const uint8_t *data, size_t size, int at_once)
{
	struct proxy_header h;

	for (size_t n = 0; n < size && n < PROXY_HEADER_READ_MAX; n++) {
		int rc = proxy_header_read(&h, data, n);
		if (at_once > 0 && rc != (n < (size_t)at_once ? -EAGAIN : at_once))
			abort();
		if (at_once == -EAGAIN && rc != -EAGAIN)
			abort();
		if (rc > 0 && (size_t)rc > n)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[PROXY_HEADER_MAX];
	struct proxy_header h, again;
	int len = proxy_header_read(&h, data, size);

	if (len == -EAGAIN && size >= PROXY_HEADER_READ_MAX)
		abort();
	in_pieces(data, size, len);
	if (len <= 0)
		return 0;
	size_t written = proxy_header_write(out, &h);
	if (written == 0 || written > (size_t)len || proxy_header_read(&again, out, written) != (int)written)
		abort();
	if (memcmp(&h, &again, sizeof h) != 0)
		abort();
	return 0;
}
