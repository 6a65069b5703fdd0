/* What becomes of a packet that is too big: an answer, fragments. Applications write what they like into the device. */
#include <stdlib.h>
#include <string.h>

#include "core/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(const uint8_t *packet, size_t size)
{
	uint8_t out[IP_TOO_BIG_MAX], again[IP_TOO_BIG_MAX];
	struct ip_view v;
	size_t len = ip_too_big(packet, size, 1280, out);

	if (len == 0)
		return;
	if (!ip_parse(&v, out, len) || v.total != len || ip_too_big(out, len, 1280, again))
		abort();
}

static void split(const uint8_t *packet, size_t size, size_t mtu)
{
	struct ip_fragments f;
	struct ip_view v;
	size_t n, data = 0;

	if (ip_fragments_begin(&f, packet, size, mtu))
		return;
	for (;;) {
		uint8_t *out = malloc(mtu);
		n = ip_fragments_next(&f, out);
		if (n && (!ip_parse(&v, out, n) || v.total != n))
			abort();
		data += n ? n - (size_t)(out[0] & 15) * 4 : 0;
		free(out);
		if (n == 0)
			break;
	}
	if (!ip_parse(&v, packet, size) || data != v.total - (size_t)(packet[0] & 15) * 4)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	answer(data + 1, size - 1);
	split(data + 1, size - 1, data[0]);
	return 0;
}
