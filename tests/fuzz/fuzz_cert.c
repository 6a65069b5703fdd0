/* cert_decode: each certificate that it takes has exactly one encoding, and none verifies, as nobody here has the
 * root key. Then the same bytes as a wish for a name. */
#include "tests/unit/member.h"

static struct network net;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	member_network(&net, "fuzz");
	return 0;
}

/* Issued again for the network that it claims: all but the signature and ip6 must come out as they went in. */
static void check_encoding(struct cert c, const uint8_t *data, size_t size)
{
	struct network signer = net;
	struct addr ip6 = c.ip6;
	uint8_t again[CERT_MAX];

	memcpy(signer.netid, c.netid, sizeof signer.netid);
	memcpy(signer.root_pk, c.issuer, sizeof signer.root_pk);
	int len = cert_issue(&c, &signer, again);
	if (len < 0 || (size_t)len != size)
		abort();
	if (addr_equal(&ip6, &c.ip6) && memcmp(again, data, size - CRYPTO_SIG) != 0)
		abort();
}

static void check_name(const uint8_t *data, size_t size)
{
	char name[CERT_NAME_MAX + 1], wish[128] = "";

	memcpy(wish, data, size < sizeof wish ? size : sizeof wish - 1);
	cert_name_from(name, wish);
	size_t len = strlen(name);
	if (len == 0 || len > CERT_NAME_MAX || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cert c;

	if (cert_decode(&c, data, size) == 0) {
		check_encoding(c, data, size);
		if (cert_verify(&c, data, size, &net, MEMBER_BORN) == 0)
			abort();
	}
	if (size)
		check_name(data, size);
	return 0;
}
