/* The options of `p2pd portmap add` and `set`, and what they say as the body of a request (apps/p2pd/forward/rule.h). What
 * only the daemon knows, it checks. Pure. */
#ifndef P2PD_APPS_P2PD_PORTMAP_SPEC_H
#define P2PD_APPS_P2PD_PORTMAP_SPEC_H

#include <stdint.h>

#include "core/options.h"

struct json_t;

enum { PORTMAP_SPEC_OPTIONS = 16, PORTMAP_SPEC_WHY = 240, PORTMAP_CONN_MAX = 1000000 };

/* What was typed: NULL, an empty list or -1 where nothing was. */
struct portmap_spec {
	const char *local, *proto, *name, *scope, *via, *domain, *idle, *rate, *expires, *source_ip;
	struct options_list to, allow;
	long public_port, max_conn;
	bool force;
};

/* Nothing typed yet, and the table of the options that fill it. How many there are; none ends the table. */
size_t portmap_spec_options(struct portmap_spec *s, struct options_entry out[static PORTMAP_SPEC_OPTIONS]);
/* The body: the keys that were typed, and no others; times as of `unix_s`. A new reference; or NULL with `why`, a line for
 * who typed it. */
struct json_t *portmap_spec_json(const struct portmap_spec *s, uint64_t unix_s,
				 char why[static PORTMAP_SPEC_WHY]);

/* "90s", "15min", "12h", "7d" in seconds, 1 or more. `zero` is the word for 0, NULL: there is none. 0 or -EINVAL. */
int portmap_seconds(uint64_t *out, const char *text, const char *zero);

#endif
