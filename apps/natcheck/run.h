/* Carries the check out: sockets, threads, and one poll loop over both address families side by side. */
#ifndef P2PD_APPS_NATCHECK_RUN_H
#define P2PD_APPS_NATCHECK_RUN_H

#include "apps/natcheck/check.h"

struct run_config {
	uint32_t timeout_ms;		 /* for answers; what a gateway was made to map is ended after that */
	bool no_mapping;		 /* do not ask the gateway for port mappings */
	const char *tcp_host, *tcp_port; /* a TCP server to try; NULL: none */
};

/* Adds all addresses of a host's name, without doubles and up to the limit; those that cannot be reached as well.
 * `family` restricts them; ADDR_NONE for both. 0, or what getaddrinfo returned (gai_strerror). */
int run_add_server(struct check *c, const char *host, const char *port, enum addr_family family);
/* Asks all servers at once and fills the check. 0 or a negative errno. */
int run_check(struct check *c, const struct run_config *config, struct rng *rng);
/* Measures how long a mapping lives, for minutes: into c->lifetime. `on_progress` is called about each second; NULL for
 * none. 0 or a negative errno. */
int run_lifetime(struct check *c, struct rng *rng, void (*on_progress)(const struct lifetime *l));

#endif
