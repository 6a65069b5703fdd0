/* PCP's decoder, and the client and the epochs behind it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nat/pcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void fuzz_client(const uint8_t *data, size_t size, const struct pcp_response *r)
{
	static const uint8_t ip[16] = { 0x20, 0x01, 0x0d, 0xb8 };
	uint8_t family = r->external.family == ADDR_V6 ? ADDR_V6 : ADDR_V4;
	struct pcp_map m = { .client = addr_from_ip(family, ip, r->internal_port), .lifetime_s = 7200 };
	struct pcp_client c;
	uint8_t out[PCP_MAP_LEN];

	memcpy(m.nonce, r->nonce, sizeof m.nonce); /* as if it had guessed */
	pcp_client_start(&c, &m, 0);
	check(pcp_client_next(&c, 0, out) == PCP_MAP_LEN);
	bool taken = pcp_client_on_message(&c, data, size);
	check(taken == (c.state != PCP_WAITING));
	if (c.state != PCP_DONE)
		return;
	check(c.response.external.family == family && !addr_is_unusable(&c.response.external));
	check(c.response.lifetime_s > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pcp_epoch epoch;
	static uint64_t now_ms;
	struct pcp_response r;

	if (pcp_decode(&r, data, size))
		return 0;
	check(size <= PCP_MAX);
	pcp_epoch_note(&epoch, r.epoch_s, now_ms += 1000);
	check(pcp_epoch_note(&epoch, r.epoch_s, now_ms));
	fuzz_client(data, size, &r);
	return 0;
}
