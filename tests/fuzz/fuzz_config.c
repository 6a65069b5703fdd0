#include <stdlib.h>
#include <string.h>

#include "apps/p2phub/hub_settings.h"

/* Whatever a file holds: what was read without an error is within its limits and is shown as what reads the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_file f;
	static struct hub_settings s, again;
	char text[CONFIG_SHOW];

	hub_settings_init(&s);
	if (config_parse(&f, hub_settings_entries, &s, "f", (const char *)data, size) != 0) {
		if (f.errors == 0)
			abort();
		return 0;
	}
	hub_settings_init(&again);
	for (const struct config_entry *e = hub_settings_entries; e->key; e++) {
		config_show(e, &s, text);
		if (e->kind == CONFIG_ADDRS || !*text)
			continue;
		if (config_set(e, &again, text) || config_differs(hub_settings_entries, e->key, &s, &again))
			abort();
	}
	return 0;
}
