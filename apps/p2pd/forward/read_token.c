#include "apps/p2pd/forward/read_token.h"

#include <errno.h>

#include "core/file.h"

static const char file_name[] = "api.token";

int read_token_make(int dir, char text[static API_TOKEN_LEN + 1], struct rng *rng)
{
	uint8_t hash[API_TOKEN_HASH];

	api_token_make(text, rng);
	int ret = api_token_hash(hash, text);
	return ret ? ret : file_write(dir, file_name, hash, sizeof hash);
}

int read_token_remove(int dir)
{
	int ret = file_remove(dir, file_name);

	return ret == -ENOENT ? 0 : ret;
}

bool read_token_fits(int dir, const char *authorization)
{
	const char *text = authorization ? api_token_of_header(authorization) : NULL;
	uint8_t known[API_TOKEN_HASH], hash[API_TOKEN_HASH];

	return text && file_read(dir, file_name, known, sizeof known) == API_TOKEN_HASH &&
	       !api_token_hash(hash, text) && crypto_equal(known, hash, sizeof hash);
}
