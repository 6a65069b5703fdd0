/* What would make the path to a peer direct: only what follows from what is known of both ends. Pure. */
#ifndef P2PD_APPS_P2PD_ADVICE_H
#define P2PD_APPS_P2PD_ADVICE_H

#include "apps/p2pd/engine.h"

enum { ADVICE_MAX = 8, ADVICE_TEXT = 192 };

struct advice {
	const char *side; /* "here", "there" or "both": where something is to be done */
	/* "hub", "online", "call", "traffic", "udp", "firewall", "port-mapping", "provider", "ipv6", "hard-nat" */
	const char *code;
	char text[ADVICE_TEXT];
};

/* How many; 0 when the path is direct, or an attempt is under way that has not failed yet. Any one of them will do, but
 * "hub", "online" and "udp", which come alone or are all needed. */
unsigned advice_list(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms,
		     struct advice out[static ADVICE_MAX]);

#endif
