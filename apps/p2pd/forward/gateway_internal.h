/* What the files of gateway share, and nobody else includes: gateway.c (who gets what, what follows from it),
 * gateway_given.c (the file that keeps it: gateway.json in the state folder, replaced whole), gateway_ports.c. */
#ifndef P2PD_APPS_P2PD_FORWARD_GATEWAY_INTERNAL_H
#define P2PD_APPS_P2PD_FORWARD_GATEWAY_INTERNAL_H

#include "apps/p2pd/forward/gateway.h"

enum { GATEWAY_FILE_MAX = 16 << 20 };

struct gateway_visitor {
	struct addr ip; /* port 0 */
	uint64_t until; /* Unix seconds */
};

/* A lease that was given. */
struct gateway_given {
	struct gateway_owner owner;
	struct lease_request request;
	uint16_t ports[RULE_RANGES_MAX]; /* the first of each range */
	bool kernel;
	char mode_why[LEASE_MODE_WHY];
	struct gateway_visitor visitors[FORWARD_PREFIXES_MAX]; /* admitted since the owner last asked */
	unsigned visitor_count;
	uint64_t renewed_s; /* Unix seconds; 0: not since the start. Not kept */
};

/* --- gateway_given.c */
/* Whether both would be kept as the same. */
bool gateway_given_equal(const struct gateway_given *a, const struct gateway_given *b);
/* 0 or a negative errno. */
int gateway_given_write(int dir, const struct gateway_given *list, size_t count);
/* *list is to be freed. 0, also when there is no file; -EBADMSG: spoilt; or another negative errno. */
int gateway_given_read(int dir, struct gateway_given **list, size_t *count);
/* Out of the way with a spoilt one. */
void gateway_given_put_aside(int dir);

/* --- gateway_ports.c: which public ports a lease gets. Pure but for what it asks of the machine. */
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
