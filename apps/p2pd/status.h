/* What a node tells of itself, as JSON: schema p2pd.status/1, whose keys are only ever added to. Pure. */
#ifndef P2PD_APPS_P2PD_STATUS_H
#define P2PD_APPS_P2PD_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "apps/p2pd/engine.h"

struct status {
	const struct engine *engine;
	const char *hub_url;
	const char *hub_proxy;	  /* as it can be shown; NULL or "" without */
	const char *tun;	  /* the device's name */
	const char *offload;	  /* rung_name() of what is in use */
	unsigned workers;	  /* threads that carry data */
	uint64_t now_ms, unix_ns; /* the same moment on both clocks */
	const char *forward_off;  /* why port forwarding is off; NULL: it is not */
};

/* In memory to be freed; NULL without memory. */
char *status_format(const struct status *s);

#endif
