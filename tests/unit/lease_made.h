/* Leases for tests. */
#ifndef P2PD_TESTS_UNIT_LEASE_MADE_H
#define P2PD_TESTS_UNIT_LEASE_MADE_H

#include <stdio.h>
#include <string.h>

#include "apps/p2pd/forward/lease.h"

static inline struct addr made_ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* A TCP rule of one port; `n` makes it another one. */
static inline struct lease_request made_request(uint8_t n)
{
	struct lease_request r = {
		.tcp = true,
		.ranges = { { .wanted = (uint16_t)(8000 + n), .tunnel = (uint16_t)(10000 + n), .count = 1 } },
		.range_count = 1,
		.max_conn = 200,
		.idle_s = 90,
		.family = ADDR_V4
	};

	/* A UUIDv7: RFC 9562 section 5.7. */
	memcpy(r.id, (uint8_t[FORWARD_ID]) { 1, 0x98, 0, 0, 0, 0, 0x70, 0, 0x80 }, FORWARD_ID);
	r.id[FORWARD_ID - 1] = n;
	memset(r.secret, n | 0x80, sizeof r.secret);
	snprintf(r.name, sizeof r.name, "rule-%u", n);
	return r;
}

#endif
