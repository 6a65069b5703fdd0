/* What the files of gateway share, and nobody else includes: gateway.c (who gets what, what follows from it),
 * gateway_given.c (the file that keeps it: gateway.json in the state folder, replaced whole), gateway_terms.c,
 * gateway_ports.c. */
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
	/* Not kept: */
	uint64_t renewed_s;			/* Unix seconds; 0: not since the start */
	char kernel_error[LEASE_MODE_WHY - 16]; /* why the kernel did not take it; "": it was not so */
};

struct gateway {
	int dir;
	struct gateway_config config;
	struct gateway_host host;
	struct gateway_given *list;
	size_t count, cap;
	uint64_t version, seen_s; /* seen_s: the wall clock's last step; 0: none yet */
};

/* --- gateway_given.c */
/* Whether both would be kept as the same. */
bool gateway_given_equal(const struct gateway_given *a, const struct gateway_given *b);
/* Whether their owners ask for the same. */
bool gateway_given_asked_same(const struct gateway_given *a, const struct gateway_given *b);
/* 0 or a negative errno. */
int gateway_given_write(int dir, const struct gateway_given *list, size_t count);
/* *list is to be freed. 0, also when there is no file; -EBADMSG: spoilt; or another negative errno. */
int gateway_given_read(int dir, struct gateway_given **list, size_t *count);
/* Out of the way with a spoilt one. */
void gateway_given_put_aside(int dir);

/* --- gateway_terms.c: who may have something, and on what terms. */
bool gateway_owner_allowed(const struct gateway_config *config, const struct gateway_owner *owner);
bool gateway_has_address(const struct gateway_config *config);
/* `old`: the lease of that id so far, or NULL. 0, or -EACCES, -EADDRINUSE, -ENOSPC with `why`. */
int gateway_check(const struct gateway *g, const struct gateway_given *old, const struct gateway_owner *owner,
		  const struct lease_request *r, uint64_t unix_s, uint8_t conflict[static FORWARD_ID],
		  char why[static RULE_WHY]);
/* Fills n->kernel and why not. */
void gateway_choose_mode(const struct gateway *g, const struct gateway_given *old, struct gateway_given *n,
			 const char *kernel_why);
/* The lower of both, where 0 is none. */
uint64_t gateway_least(uint64_t asked, uint64_t most);
void gateway_grant(const struct gateway *g, const struct gateway_given *n, struct lease_grant *grant);

/* --- gateway_ports.c: which public ports a lease gets. Pure but for what it asks of the host. */
struct gateway_ports {
	const struct gateway_config *config;
	const struct gateway_given *list;
	size_t count;
	const struct gateway_host *host;
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
