#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "relay/websocket.h"

static int discard(void *arg, const uint8_t *data, size_t len)
{
	(void)arg;
	return len && !data ? -1 : 0;
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	unsigned *sum = arg;

	if (len > WEBSOCKET_MESSAGE_MAX)
		abort();
	for (size_t i = 0; i < len; i++)
		*sum += msg[i];
}

static const struct websocket_handler handler = { discard, on_message };

/* The first byte chooses role and size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rng rng;
	unsigned sum = 0;

	if (size < 1)
		return 0;
	rng_init_seed(&rng, 1);
	struct websocket *w = websocket_create(data[0] & 1 ? WEBSOCKET_CLIENT : WEBSOCKET_SERVER, &rng,
					       &handler, &sum);
	size_t step = (size_t)(data[0] >> 1) + 1;
	int rc = 0;
	for (size_t at = 1; at < size && rc == 0; at += step)
		rc = websocket_receive(w, data + at, size - at < step ? size - at : step);
	websocket_destroy(w);
	return 0;
}
