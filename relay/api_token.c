#include "relay/api_token.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char prefix[] = "p2p_", scheme[] = "Bearer ";

void api_token_make(char text[static API_TOKEN_LEN + 1], struct rng *rng)
{
	uint8_t random[API_TOKEN_RANDOM];
	char coded[CRYPTO_BASE64_TEXT(API_TOKEN_RANDOM)];

	rng_fill(rng, random, sizeof random);
	crypto_base64url(coded, random, sizeof random);
	memcpy(text, prefix, sizeof prefix - 1);
	strcpy(text + sizeof prefix - 1, coded);
	crypto_wipe(random, sizeof random);
	crypto_wipe(coded, sizeof coded);
}

int api_token_hash(uint8_t hash[static API_TOKEN_HASH], const char *text)
{
	uint8_t random[API_TOKEN_RANDOM];

	if (strlen(text) != API_TOKEN_LEN || memcmp(text, prefix, sizeof prefix - 1) != 0)
		return -EINVAL;
	int rc = crypto_base64url_decode(random, sizeof random, text + sizeof prefix - 1);
	crypto_wipe(random, sizeof random);
	if (rc)
		return rc;
	crypto_blake2b(hash, API_TOKEN_HASH, NULL, 0, &(struct part) { text, API_TOKEN_LEN }, 1);
	return 0;
}

const char *api_token_of_header(const char *value)
{
	size_t len = sizeof scheme - 1;

	if (strncasecmp(value, scheme, len) != 0)
		return NULL;
	return value + len + strspn(value + len, " ");
}
