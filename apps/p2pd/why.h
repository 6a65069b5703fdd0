/* Why packets to a peer go as they do, as JSON: schema p2pd.why/1, whose keys are only ever added to.
 *
 *   peer, online, probes, path {...}, attempts [...]: as in p2pd.status/1
 *   now: how they go, in words; because: why not directly, or null
 *   nat {here {..., words}, there {..., words} or null}
 *   expected {technique, why, success, mean_ms, worst_ms}: what is of use between the two NATs; success null: not known
 *   next {when: "none"|"now"|"time"|"traffic"|"hub"|"peer"|"budget", in_s, technique, words}
 *   advice [{side, code, text}]: advice.h
 *
 * Pure. */
#ifndef P2PD_APPS_P2PD_WHY_H
#define P2PD_APPS_P2PD_WHY_H

#include "apps/p2pd/engine.h"

/* In memory to be freed; NULL without memory. `now_ms` and `unix_ns` are the same moment on both clocks. */
char *why_format(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms, uint64_t unix_ns);

#endif
