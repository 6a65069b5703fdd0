#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "relay/hub_url.h"

/* What is read and written again is read as the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hub_url u, again;
	char text[HUB_URL_TEXT], *input = malloc(size + 1);

	memcpy(input, data, size);
	input[size] = 0;
	if (hub_url_parse(&u, input) == 0)
		if (hub_url_parse(&again, hub_url_format(&u, text)) != 0 || memcmp(&u, &again, sizeof u) != 0)
			abort();
	free(input);
	return 0;
}
