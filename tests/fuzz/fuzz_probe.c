/* probe_open, as it comes from the network or, by the first byte, in a genuine envelope. */
#include "core/probe.h"

#include "tests/unit/member.h"

enum {
	HEAD = 4 + PROBE_TAG,
	SEALED_AT = HEAD + CRYPTO_XNONCE,
	PLAIN_MAX = PROBE_MAX - SEALED_AT - CRYPTO_TAG
};

static struct probe_keys tx, rx;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct network net;
	struct member a, b;

	(void)argc;
	(void)argv;
	member_network(&net, "fuzz");
	member_make(&a, &net, 1);
	member_make(&b, &net, 2);
	if (probe_keys_init(&tx, &net, a.wk_sk, a.wk, b.wk) ||
	    probe_keys_init(&rx, &net, b.wk_sk, b.wk, a.wk))
		abort();
	return 0;
}

static void from_the_network(const uint8_t *data, size_t size)
{
	const uint8_t *tag = probe_tag(data, size);
	struct probe p;

	if (tag && tag != data + 4)
		abort();
	if (probe_open(&rx, data, size, &p) == 0)
		abort();
}

/* What opens must come out the same after being sealed again. */
static void in_an_envelope(const uint8_t *plain, size_t len)
{
	uint8_t msg[PROBE_MAX] = { PROBE_FIRST_BYTE };
	size_t size = SEALED_AT + len + CRYPTO_TAG;
	struct probe p, back;
	struct rng rng;

	memcpy(msg + 4, tx.tag_tx, PROBE_TAG);
	crypto_xchacha_seal(msg + SEALED_AT, plain, len, msg, HEAD, msg + HEAD, tx.key);
	if (probe_open(&rx, msg, size, &p))
		return;
	rng_init_seed(&rng, 1);
	if (probe_seal(&tx, &p, &rng, size, msg) != size || probe_open(&rx, msg, size, &back))
		abort();
	if (back.kind != p.kind || memcmp(back.txid, p.txid, PROBE_TXID) != 0 ||
	    !addr_equal(&back.seen, &p.seen))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		from_the_network(data + 1, size - 1);
	else if (size - 1 <= PLAIN_MAX)
		in_an_envelope(data + 1, size - 1);
	return 0;
}
