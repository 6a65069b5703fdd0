/* Does a job of port mapping, blocking: on a worker thread (core/loop.h loop_work) or in a program that may wait.
 *
 *	struct upnp_igd igd = { 0 };                                  what UPnP found, for the next job
 *	struct gateway_job job = { .protocol = GATEWAY_UPNP, .lan = lan, .internal_port = port,
 *				   .suggested_port = port, .lifetime_s = 120 };
 *	struct gateway_limit limit = { loop_now_ms() + 3000, -1 };
 *	portmap_run(&igd, &job, &limit, &result);
 *	job.unmap = true; job.suggested_port = result.external.port;   and again, to leave nothing behind
 *
 * `lan` comes from route_default() (tun/route.h). No name is looked up, and nobody outside the LAN is spoken to. */
#ifndef P2PD_NAT_PORTMAP_RUN_H
#define P2PD_NAT_PORTMAP_RUN_H

#include "nat/gateway.h"
#include "nat/upnp.h"

/* How long a job may take when nothing else presses. */
enum { PORTMAP_RUN_MS = 3000 };

/* Ends by the limit. `igd` is used by UPnP's jobs alone, which must not run at the same time; jobs of different
 * protocols may. */
void portmap_run(struct upnp_igd *igd, const struct gateway_job *job, const struct gateway_limit *limit,
		 struct gateway_result *out);

#endif
