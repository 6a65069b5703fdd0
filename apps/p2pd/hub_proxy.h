/* Which proxy a node's link to its hub takes: the one given with --proxy, which the state folder keeps, else the one that
 * the environment names, as for other programs (HTTPS_PROXY, ALL_PROXY, NO_PROXY, in either case). */
#ifndef P2PD_APPS_P2PD_HUB_PROXY_H
#define P2PD_APPS_P2PD_HUB_PROXY_H

#include "core/proxy.h"
#include "relay/hub_url.h"

#define HUB_PROXY_NONE "none" /* kept: directly, whatever the environment says */
#define HUB_PROXY_AUTO "auto" /* given: as the environment says, kept as "" */

enum { HUB_PROXY_WHY = 256 };

/* What --proxy was given: http://[USER:PASSWORD@]HOST:PORT, file:PATH or env:NAME that holds such a URL, "none" or "auto".
 * Into `kept` comes what is to be kept. 0, or a negative errno with a line for the person in `why`. */
int hub_proxy_read(char kept[static PROXY_URL_MAX + 1], const char *spec, char why[static HUB_PROXY_WHY]);
/* 1 and `*out` is to be taken, 0: no proxy; or a negative errno with a line in `why` when what the environment says
 * cannot be used. */
int hub_proxy_choose(struct proxy *out, const char *kept, const struct hub_url *url,
		     char why[static HUB_PROXY_WHY]);

#endif
