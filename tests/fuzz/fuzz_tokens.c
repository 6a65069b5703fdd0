/* What a stranger types behind a gateway's /t/, and what is taken for times on a command line. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/tokens.h"
#include "apps/p2pd/portmap_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	uint8_t id[FORWARD_ID];
	uint64_t s = 1;

	memcpy(text, data, size);
	text[size] = 0;
	if (tokens_forward_id(id, text) == 0 && strlen(text) != TOKEN_TEXT - 1)
		abort();
	if (portmap_seconds(&s, text, NULL) == 0 && s == 0)
		abort();
	free(text);
	return 0;
}
