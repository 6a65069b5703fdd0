/* Joins a node's engine to the machine: TUN device, UDP sockets, the link to the hub, the clock, the control socket.
 * Everything but data of several workers happens on one loop; after each input the engine's output is carried away and
 * one timer set. */
#ifndef P2PD_APPS_P2PD_SHELL_H
#define P2PD_APPS_P2PD_SHELL_H

#include <stdbool.h>
#include <stdint.h>

#include "apps/p2pd/forward/gateway.h"
#include "apps/p2pd/forward/policy.h"
#include "apps/p2pd/rung.h"
#include "apps/p2pd/state.h"

struct shell_config {
	struct state *state;	      /* open; stays the caller's */
	struct state_network network; /* to be joined; port 0: any */
	bool any_port;		      /* the port may be another when network.port is in use */
	bool trusted;	    /* it was joined before, or is to be founded: being alone in it is no surprise */
	bool patient;	    /* an unreachable hub is tried for ever */
	unsigned timeout_s; /* to join, unless patient */
	const char *socket;
	const char *tun; /* the device's name, NULL for any */
	struct rung rung;
	struct addr metrics; /* where to answer GET /metrics, too; ADDR_NONE: nowhere */
	struct addr api;     /* where the local API answers GET, with a token; ADDR_NONE: nowhere */
	/* Of this node as a gateway, one without public addresses: it is none. Stays the caller's; on_hangup may change its
	 * limits. */
	const struct gateway_config *gateway;
	/* Rules that are to be, beside those of `p2pd portmap`; and how long the audit stays, 0: for ever. Both stay the
	 * caller's; on_hangup may replace them. */
	const struct policy *forwards;
	const uint64_t *audit_retention_s;
	unsigned workers; /* 1: data is carried on the one loop; more: on so many threads beside it */
	/* SIGHUP came; NULL: it ends the node as SIGTERM does. */
	void (*on_hangup)(void *arg);
	/* Joined: what to tell the person. Called once. */
	void (*on_joined)(void *arg, const char *text);
	void *arg;
};

/* Runs the node until it is told to end (`p2pd down`, SIGTERM, SIGINT) or cannot go on. The exit code; the line for the
 * person is already written then. Nothing of it is left on the machine. */
int shell_run(const struct shell_config *config);

#endif
