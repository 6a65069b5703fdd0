/* How long a UDP mapping lives without traffic (RFC 5780 section 4.6; report 6 of the traversal notes): one socket's
 * mapping is left alone, then another socket asks the server to answer to it (RESPONSE-PORT): an answer means that it
 * was still there. Searches upwards by steps, then halves the interval. It takes minutes. Pure; zeroed memory is idle.
 *
 * Before it is left alone the mapping sees two exchanges 2.5 s apart: Linux routers give a flow its long life only when
 * it goes on for more than 2 s, as those that are kept alive do. Nothing is concluded from an answer that did not come
 * unless three were asked for, and the asking socket itself was answered then. */
#ifndef P2PD_NAT_LIFETIME_H
#define P2PD_NAT_LIFETIME_H

#include "nat/ask.h"

enum {
	LIFETIME_SUBJECT = 0, /* the socket whose mapping is watched */
	LIFETIME_ASKER = 1,   /* the socket that asks for the answer to be sent there */
	LIFETIME_SOCKETS = 2,
	LIFETIME_MIN_S = 10,
	LIFETIME_MAX_S = 600,
};

struct lifetime_config {
	struct addr server; /* honours RESPONSE-PORT; else the result is unknown */
	/* Do not look further than this: p2pd needs to know up to 157 s (0.7 of it is 110 s). 0: LIFETIME_MAX_S. */
	uint32_t max_s;
	uint32_t precision_s;
	bool inbound; /* then find out, too, whether what comes in keeps a mapping alive: 1.5 lifetimes more */
};

enum lifetime_inbound { LIFETIME_INBOUND_UNKNOWN, LIFETIME_INBOUND_REFRESHES, LIFETIME_INBOUND_DOES_NOT };

enum lifetime_phase {
	LIFETIME_OPENING,    /* the subject asks, so that there is a mapping */
	LIFETIME_STREAMING,  /* is waited for, before the subject asks once more */
	LIFETIME_CONFIRMING, /* the subject asks once more */
	LIFETIME_LEFT_ALONE,
	LIFETIME_QUERYING,
};

enum lifetime_goal {
	LIFETIME_PROVING, /* that the server serves RESPONSE-PORT */
	LIFETIME_SEARCHING,
	LIFETIME_INBOUND,    /* a packet comes in while the mapping lives */
	LIFETIME_INBOUND_TOO /* does it live when only that can have kept it alive? */
};

struct lifetime {
	bool running;
	struct lifetime_config config;
	uint32_t alive_s, dead_s; /* known: still there after alive_s; gone after dead_s (0: not seen dead) */
	bool unknown;		  /* the server does not serve RESPONSE-PORT, or all was lost */
	enum lifetime_inbound inbound;
	/* The rest is lifetime.c's. */
	enum lifetime_phase phase;
	enum lifetime_goal goal;
	uint32_t wait_s;
	unsigned failures;
	uint64_t until_ms, wake_ms;
	struct ask open, query, control;
};

void lifetime_start(struct lifetime *l, const struct lifetime_config *config, struct rng *rng,
		    uint64_t now_ms);
void lifetime_stop(struct lifetime *l);
bool lifetime_next(struct lifetime *l, struct rng *rng, uint64_t now_ms, struct ask_out *out);
bool lifetime_on_message(struct lifetime *l, unsigned socket, const struct addr *from, const uint8_t *msg,
			 size_t len, uint64_t now_ms);
uint64_t lifetime_deadline(const struct lifetime *l);
/* B7: 0.7 of what is known to live, at least 10 s, at most 110 s; `fallback_ms` while nothing is known. */
uint32_t lifetime_keepalive_ms(const struct lifetime *l, uint32_t fallback_ms);

#endif
