/* How long a UDP mapping lives without traffic (RFC 5780 section 4.6; report 6 of the traversal notes): one socket's
 * mapping is left alone, then another socket asks the server to answer to it (RESPONSE-PORT): an answer means that it
 * was still there. Searches upwards by steps, then halves the interval. It takes minutes. Pure; zeroed memory is idle. */
#ifndef P2PD_NAT_LIFETIME_H
#define P2PD_NAT_LIFETIME_H

#include "core/crypto.h"
#include "nat/stun.h"

enum {
	LIFETIME_SUBJECT = 0, /* the socket whose mapping is watched */
	LIFETIME_ASKER = 1,   /* the socket that asks for the answer to be sent there */
	LIFETIME_SOCKETS = 2,
	LIFETIME_MIN_S = 10,
	LIFETIME_MAX_S = 600,
};

struct lifetime_config {
	struct addr server; /* honours RESPONSE-PORT; else the result is unknown */
	uint32_t
		max_s; /* do not look further than this: p2pd needs to know up to 157 s (0.7 of it is 110 s) */
	uint32_t precision_s;
};

struct lifetime {
	bool running;
	struct lifetime_config config;
	uint32_t alive_s, dead_s; /* known: still there after alive_s; gone after dead_s (0: not seen dead) */
	bool unknown;		  /* the server does not serve RESPONSE-PORT, or all was lost */
				  /* The author of lifetime.c defines the rest. */
};

struct lifetime_out {
	unsigned socket;
	struct addr to;
	size_t len;
	uint8_t msg[STUN_MAX];
};

void lifetime_start(struct lifetime *l, const struct lifetime_config *config, struct rng *rng,
		    uint64_t now_ms);
void lifetime_stop(struct lifetime *l);
bool lifetime_next(struct lifetime *l, struct rng *rng, uint64_t now_ms, struct lifetime_out *out);
bool lifetime_on_message(struct lifetime *l, unsigned socket, const struct addr *from, const uint8_t *msg,
			 size_t len, uint64_t now_ms);
uint64_t lifetime_deadline(const struct lifetime *l);
/* B7: 0.7 of what is known to live, at least 10 s, at most 110 s; `fallback_ms` while nothing is known. */
uint32_t lifetime_keepalive_ms(const struct lifetime *l, uint32_t fallback_ms);

#endif
