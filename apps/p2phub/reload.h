/* What a running hub takes on: the file of settings after SIGHUP, and certificate files whenever they have changed. All
 * or nothing: what is wrong leaves everything as it was, and is said in the log. */
#ifndef P2PD_APPS_P2PHUB_RELOAD_H
#define P2PD_APPS_P2PHUB_RELOAD_H

#include "apps/p2phub/certificate.h"
#include "apps/p2phub/serve.h"
#include "apps/p2phub/hub_settings.h"
#include "relay/hub_url.h"

struct reload {
	const struct hub_settings_source *source;
	struct hub_settings *now; /* in effect */
	struct hub_url url;
	int dir; /* the data folder */
	struct serve *serve;
	struct certificate certificate;
	struct loop_timer *timer;
};

/* The limits among the settings. */
struct serve_limits reload_limits(const struct hub_settings *s);
/* Fill source, now, url and dir before, and call certificate_changed() before the key was read. 0 or a negative errno. */
int reload_start(struct reload *r, struct loop *l, struct serve *s);
void reload_stop(struct reload *r);
/* As SIGHUP does. */
void reload_settings(struct reload *r);
/* As the timer does. */
void reload_certificate(struct reload *r);

#endif
