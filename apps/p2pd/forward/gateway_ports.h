/* Which public ports a lease gets. Pure but for what it asks of the machine. */
#ifndef P2PD_APPS_P2PD_FORWARD_GATEWAY_PORTS_H
#define P2PD_APPS_P2PD_FORWARD_GATEWAY_PORTS_H

#include "apps/p2pd/forward/gateway_given.h"

struct gateway_ports {
	const struct gateway_config *config;
	const struct gateway_given *list;
	size_t count;
	bool (*in_use)(void *arg, enum forward_proto proto, uint16_t port);
	void *arg;
};

/* Whether the administrator lets owners have all of these. */
bool gateway_ports_allowed(const struct gateway_config *config, uint16_t first, uint16_t count);
/* Fills ports[], the first of each range of `r`: those it asks for, and others where it does not care, which stay while
 * the lease of this id lives. 0; or with `why`: -EACCES, -EADDRINUSE (`conflict`: by which lease, zero: another program),
 * -ENOSPC. */
int gateway_ports_choose(const struct gateway_ports *v, const struct lease_request *r,
			 uint16_t ports[static RULE_RANGES_MAX], uint8_t conflict[static FORWARD_ID],
			 char why[static RULE_WHY]);

#endif
