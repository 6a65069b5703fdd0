/* record_open, reached at three depths by the first byte: as it comes from a hub; in a genuine envelope, as from a
 * member who signs nothing; behind a genuine certificate and signed, as from a member who lies. */
#include "core/bytes.h"
#include "core/record.h"

#include "tests/unit/member.h"

enum { NOW = MEMBER_BORN + MEMBER_DAY, DOMAIN_LEN = 12, PLAIN_MAX = RECORD_MAX - CRYPTO_XNONCE - CRYPTO_TAG };

static struct network net;
static struct member m;
static struct addr overlay4;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	member_network(&net, "fuzz");
	member_make(&m, &net, 1);
	overlay4 = member_addr("10.77.0.0");
	return 0;
}

static size_t envelope(const uint8_t *plain, size_t len, uint8_t out[static RECORD_MAX])
{
	memset(out, 0, CRYPTO_XNONCE);
	crypto_xchacha_seal(out + CRYPTO_XNONCE, plain, len, net.netid, 32, out, net.envelope_key);
	return CRYPTO_XNONCE + len + CRYPTO_TAG;
}

/* Everything behind the certificate is the fuzzer's. 0 when it does not fit. */
static size_t signed_body(const uint8_t *data, size_t size, uint8_t out[static RECORD_MAX])
{
	uint8_t msg[DOMAIN_LEN + PLAIN_MAX], sig[CRYPTO_SIG];
	struct writer w = writer_over(msg, sizeof msg);

	write_bytes(&w, "p2pd1/record", DOMAIN_LEN);
	write_u8(&w, RECORD_VERSION);
	write_le16(&w, (uint16_t)m.len);
	write_bytes(&w, m.encoded, m.len);
	write_bytes(&w, data, size);
	crypto_ed25519_sign(sig, msg, w.len, m.ik_sk);
	write_bytes(&w, sig, sizeof sig);
	return w.bad ? 0 : envelope(msg + DOMAIN_LEN, w.len - DOMAIN_LEN, out);
}

static void check_candidates(const struct record *r)
{
	if (r->candidate_count > RECORD_MAX_CANDIDATES)
		abort();
	for (size_t i = 0; i < r->candidate_count; i++) {
		const struct addr *a = &r->candidates[i].addr;
		if (addr_is_unusable(a) || addr_in_prefix(a, &overlay4, 16) ||
		    addr_in_prefix(a, &m.cert.ip6, 48))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t sealed[RECORD_MAX];
	struct record r;

	if (size == 0 || size > PLAIN_MAX)
		return 0;
	unsigned depth = data[0] % 3;
	const uint8_t *in = depth ? sealed : data + 1;
	size_t len = size - 1;
	if (depth == 1)
		len = envelope(data + 1, size - 1, sealed);
	else if (depth == 2)
		len = signed_body(data + 1, size - 1, sealed);
	if (record_open(&r, in, len, &net, &overlay4, 16, NOW))
		return 0;
	if (depth != 2)
		abort();
	check_candidates(&r);
	return 0;
}
