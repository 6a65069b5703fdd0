/* Which ports of our overlay address public rules come out of the tunnel by: a run for each rule, from
 * TUNNEL_PORTS_FIRST to TUNNEL_PORTS_LAST. Kept in the file tunnel_ports.json of the state folder, so that after a restart
 * a gateway that has not heard of it yet sends nobody to another rule. */
#ifndef P2PD_APPS_P2PD_FORWARD_TUNNEL_PORTS_H
#define P2PD_APPS_P2PD_FORWARD_TUNNEL_PORTS_H

#include "core/crypto.h"
#include "core/forward.h"

enum { TUNNEL_PORTS_FIRST = 10000, TUNNEL_PORTS_LAST = 29999, TUNNEL_PORTS_MAX = 1024 };

struct tunnel_run {
	uint8_t id[FORWARD_ID];
	uint16_t first, count;
};

struct tunnel_ports {
	struct tunnel_run items[TUNNEL_PORTS_MAX];
	unsigned count;
	bool changed; /* since it was written or read */
};

/* What was kept; empty when there is no file, or a spoilt one (the log says so). */
void tunnel_ports_load(struct tunnel_ports *t, int dir);
/* Writes if need be. 0 or a negative errno. */
int tunnel_ports_save(struct tunnel_ports *t, int dir);
/* The first port of the rule's run; 0: it has none. */
uint16_t tunnel_ports_find(const struct tunnel_ports *t, const uint8_t id[static FORWARD_ID]);
/* The first port of a run of `count` that nothing else has, the rule's own if it still fits; `taken` says what else there is.
 * The place to look first is by chance: a run that was given up is seldom the next one's. 0: there is none left. */
uint16_t tunnel_ports_take(struct tunnel_ports *t, const uint8_t id[static FORWARD_ID], unsigned count,
			   bool (*taken)(void *arg, uint16_t first, unsigned count), void *arg,
			   struct rng *rng);
void tunnel_ports_drop(struct tunnel_ports *t, const uint8_t id[static FORWARD_ID]);
/* Drops all that `wanted` does not want. */
void tunnel_ports_keep(struct tunnel_ports *t, bool (*wanted)(void *arg, const uint8_t id[static FORWARD_ID]),
		       void *arg);

#endif
