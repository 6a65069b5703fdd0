/* A lease that a gateway has given, and the file that keeps them all: gateway.json in the state folder, replaced whole. */
#ifndef P2PD_APPS_P2PD_FORWARD_GATEWAY_GIVEN_H
#define P2PD_APPS_P2PD_FORWARD_GATEWAY_GIVEN_H

#include "apps/p2pd/forward/gateway.h"

enum { GATEWAY_FILE_MAX = 16 << 20 };

struct gateway_visitor {
	struct addr ip; /* port 0 */
	uint64_t until; /* Unix seconds */
};

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

/* Whether both would be kept as the same. */
bool gateway_given_equal(const struct gateway_given *a, const struct gateway_given *b);
/* 0 or a negative errno. */
int gateway_given_write(int dir, const struct gateway_given *list, size_t count);
/* *list is to be freed. 0, also when there is no file; -EBADMSG: spoilt; or another negative errno. */
int gateway_given_read(int dir, struct gateway_given **list, size_t *count);
/* Out of the way with a spoilt one. */
void gateway_given_put_aside(int dir);

#endif
