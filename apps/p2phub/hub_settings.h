/* What the hub's administrator decides: by the file, and by options that win over it. */
#ifndef P2PD_APPS_P2PHUB_HUB_SETTINGS_H
#define P2PD_APPS_P2PHUB_HUB_SETTINGS_H

#include "core/config.h"
#include "relay/hub_url.h"
#include "relay/quota.h"

#define HUB_SETTINGS_FILE "/etc/p2phub.yaml"
#define HUB_SETTINGS_DATA "/var/lib/p2phub"

enum {
	HUB_SETTINGS_TEXT = 512,
	HUB_SETTINGS_HOST = 254,
	HUB_SETTINGS_URL = HUB_URL_TEXT,
	HUB_SETTINGS_LEVEL = 256,
	HUB_SETTINGS_FORMAT = 8
};

struct hub_settings {
	char data[HUB_SETTINGS_TEXT];
	struct addr tls;
	struct config_addrs udp;
	char cert[HUB_SETTINGS_TEXT], key[HUB_SETTINGS_TEXT]; /* both or none */
	char url_host[HUB_SETTINGS_HOST];
	char behind_proxy[HUB_SETTINGS_URL]; /* the URL of a proxy that ends TLS before us, else "" */
	char log_level[HUB_SETTINGS_LEVEL], log_format[HUB_SETTINGS_FORMAT];
	struct addr metrics; /* ADDR_NONE: nowhere */
	enum config_flag metrics_public;
	struct config_addrs relays;
	char relay_key[HUB_SETTINGS_TEXT]; /* the path of the file with the key that hub and relays share */
	struct quota_limits quota;
	long nodes;
	uint64_t audit_retention_s;
};

/* Where they come from, kept for the next reading. */
struct hub_settings_source {
	const char *path; /* of --config, NULL: HUB_SETTINGS_FILE if there is one */
	struct config_typed typed;
};

extern const struct config_entry hub_settings_entries[];

void hub_settings_init(struct hub_settings *s); /* the defaults */
/* The defaults, under what the file says, under what was typed. EXIT_OK; or another code, with errors in `f`, or none
 * there when a line was written to stderr. */
int hub_settings_load(struct hub_settings *s, const struct hub_settings_source *source,
		      struct config_file *f);

#endif
