/* Messages from the relay's address while binding, proving and bound. Input: time step(1), len(1), bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "core/crypto.h"
#include "relay/relay_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t token[RELAY_TOKEN] = "token";
	struct reader in = reader_over(data, size);
	struct addr server = addr_from_ip(ADDR_V4, (const uint8_t[]) { 198, 51, 100, 1 }, 3478);
	struct relay_client c = { 0 };
	uint8_t out[RELAY_CLIENT_MESSAGE_MAX];
	uint64_t now = 1;

	crypto_init();
	relay_client_start(&c, &server, 1, token, now);
	while (in.left > 1) {
		now += read_u8(&in) * 10U;
		size_t len = read_u8(&in);
		len = len < in.left ? len : in.left;
		relay_client_on_message(&c, read_bytes(&in, len), len, &server, now);
		for (int i = 0; relay_client_next(&c, now, out); i++)
			if (i == 2)
				abort(); /* it would never stop sending */
		/* The token was not used to answer: nobody can have made it bound. */
		if (relay_client_bound(&c) || relay_client_deadline(&c) <= now)
			abort();
	}
	relay_client_stop(&c);
	return 0;
}
