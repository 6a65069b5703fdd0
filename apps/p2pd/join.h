/* Which network to join and as what: what the person typed now, over what the state folder remembers. */
#ifndef P2PD_APPS_P2PD_JOIN_H
#define P2PD_APPS_P2PD_JOIN_H

#include <stdbool.h>

#include "apps/p2pd/state.h"

#define JOIN_IP4_PREFIX "10.77.0.0/16"

/* As typed; NULL and 0 for what was not. */
struct join_wish {
	const char *hub, *network, *secret, *name, *ip4, *ip4_prefix;
	long port;
	const char *cipher; /* "auto", "chacha20" */
	const char *proxy;  /* see hub_proxy_read() */
	bool found_new, allow_weak, portmap, no_portmap, hard_nat, no_hard_nat;
};

struct join_plan {
	struct state_network network;
	bool any_port; /* nobody insists on network.port */
	bool trusted;  /* joined before, or to be founded */
};

/* An IPv4 prefix, its host bits zeroed. 0 or -EINVAL. */
int join_parse_prefix(const char *text, struct addr *prefix, unsigned *bits);
/* EXIT_OK; or the code to end with, after a line that says what to do. May ask for the secret on the terminal. */
int join_plan(const struct join_wish *wish, struct state *state, struct join_plan *out);

#endif
