/* The key that the hub shows itself with, its own or the administrator's, and the URL that follows from it. */
#ifndef P2PD_APPS_P2PHUB_HUB_KEY_H
#define P2PD_APPS_P2PHUB_HUB_KEY_H

#include "apps/p2phub/hub_settings.h"
#include "core/tls_key.h"
#include "relay/hub_url.h"

enum { HUB_KEY_WHY = 768 };

/* EXIT_OK; or the code to end with, and in `why` a line for the person. `dir` is the data folder. */
int hub_key_read(const struct hub_settings *s, int dir, struct tls_key *key, char why[static HUB_KEY_WHY]);
/* What nodes are to be given. Without a url_host and a certain address to listen on, the host stays empty; behind a proxy it is that one's.
 * Codes as above. */
int hub_key_url(const struct hub_settings *s, const struct tls_key *key, struct hub_url *url,
		char why[static HUB_KEY_WHY]);

#endif
