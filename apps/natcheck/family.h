/* All that natcheck asks of one address family: its sockets, discovery, the queries of the other tests, and the threads
 * of those that block. run.c turns the wheel. */
#ifndef P2PD_APPS_NATCHECK_FAMILY_H
#define P2PD_APPS_NATCHECK_FAMILY_H

#include <poll.h>

#include "apps/natcheck/check.h"
#include "apps/natcheck/mapping.h"
#include "apps/natcheck/query.h"

/* Its sockets by number; discovery has the first. */
enum {
	FAMILY_ASK = DISCOVER_SOCKETS,
	FAMILY_WHOLE,
	FAMILY_FRAGMENTS,
	FAMILY_MAPPED, /* one for each protocol */
	FAMILY_SOCKETS = FAMILY_MAPPED + GATEWAY_PROTOCOLS,
};

struct family_config {
	struct rng *rng;
	uint64_t start_ms;
	bool no_mapping; /* do not ask the gateway for port mappings */
};

struct family {
	struct check *check;
	struct check_view *view;
	struct family_config config;
	struct addr local; /* towards the servers, port 0; ADDR_NONE: this family is not tried */
	struct pollfd fds[FAMILY_SOCKETS];
	struct discover discover;
	struct query servers[CHECK_MAX_SERVERS]; /* by the check's index; idle: of the other family */
	bool late;				 /* what had to wait for discovery is under way */
	struct query alg[2]; /* the same question, of RFC 3489 and of RFC 8489, at the same time */
	struct mtu mtu;
	struct mapping maps[GATEWAY_PROTOCOLS];
	struct worker *hops;
};

/* 0 or a negative errno. Without a way to any server of the family there is nothing to do, and it is over. */
int family_start(struct family *f, struct check *check, enum addr_family family,
		 const struct family_config *with);
/* Before each turn: starts what has become possible. */
void family_go_on(struct family *f, uint64_t now_ms);
/* Sends what is due. */
void family_send(struct family *f, uint64_t now_ms);
uint64_t family_deadline(struct family *f);
void family_receive(struct family *f, unsigned socket);
/* The time is up: what the gateway was made to map is ended. */
void family_cut(struct family *f, uint64_t now_ms);
bool family_has_ended_mappings(const struct family *f);
bool family_is_over(struct family *f);
/* Writes what came of it into the check. */
void family_judge(struct family *f);
void family_stop(struct family *f);

#endif
