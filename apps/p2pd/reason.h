/* The sentences that a person reads about NATs, paths and attempts: short, and true as far as the engine knows. Pure. */
#ifndef P2PD_APPS_P2PD_REASON_H
#define P2PD_APPS_P2PD_REASON_H

#include "apps/p2pd/engine.h"

enum { REASON_MAX = 192 };

/* Why packets to this peer do not go directly; NULL when they do. */
const char *reason_path(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms);
/* Why the relay carries them over TLS; NULL when it does not. */
const char *reason_relay(const struct engine *e, const struct engine_peer *ep);
/* How they go now. */
const char *reason_now(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms,
		       char out[static REASON_MAX]);
/* What a NAT does, ours or the peer's. */
const char *reason_nat(const struct verdict *v, bool ours, char out[static REASON_MAX]);
/* What an attempt met. */
const char *reason_outcome(enum engine_outcome outcome);
/* "direct", "failed", "no-offer", "no-stun", "no-plan", "overtaken". */
const char *reason_outcome_word(enum engine_outcome outcome);
/* When the next attempt is due, and what it waits for. */
const char *reason_next(const struct engine_next *next, uint64_t now_ms, char out[static REASON_MAX]);
/* What is done in it. */
const char *reason_technique(enum technique t);

/* The technique that opened the path in use, as a word: "lan", "ipv6", "public", "mapped", "configured" (a stock peer),
 * or technique_name's; "relay"; NULL without a way. */
const char *reason_opened_by(const struct engine *e, const struct engine_peer *ep);

/* The same for enum engine_opener. */
const char *reason_opener(unsigned opened_by);

/* "42 s", "3 min", "5 h", "12 d" */
enum { REASON_SPAN = 24 };
const char *reason_span(uint64_t ms, char out[static REASON_SPAN]);

#endif
