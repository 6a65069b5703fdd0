/* One direct UDP path to a peer: a socket of ours and an address of the peer, used only after an authenticated pong came
 * back that way.
 * Owns its state; callers report events. Pure.
 *
 * Timers, all run by path_next():
 *   active   the peer sent data within PATH_ACTIVE_MS: a ping every 700 ms, a lost one is repeated every 250 ms;
 *            4 unanswered in a row end PATH_UP (so a dead path costs at most 2 s)
 *   warm     until PATH_WARM_MS after the last data: a ping every 15 s keeps mappings open
 *   idle     later: silence. A path without a pong for PATH_TRUST_MS is not usable until the next one
 */
#ifndef P2PD_CORE_PATH_H
#define P2PD_CORE_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/probe.h"

enum {
	PATH_ACTIVE_MS = 15000,
	PATH_WARM_MS = 120000,
	PATH_TRUST_MS = 20000,
	PATH_ACTIVE_PING_MS = 700,
	PATH_WARM_PING_MS = 15000,
	PATH_RETRY_MS = 250,
	PATH_RETRY_RTT_MS = 500, /* a peer that slept answers late, which tells nothing of the path */
	PATH_MAX_TRIES = 4,
	PATH_INFLIGHT = 8,
};

enum path_state { PATH_NEW, PATH_PROBING, PATH_UP, PATH_DEAD };
enum path_event { PATH_EV_PROBE_SENT, PATH_EV_PONG, PATH_EV_TIMEOUT };

struct path {
	struct addr addr; /* ADDR_NONE: this slot is free */
	uint32_t socket;  /* of ours that it goes by: see core/pkt.h */
	enum path_state state;
	uint32_t rtt_ms; /* smoothed; 0 before the first pong */
	uint64_t up_since_ms, last_pong_ms, last_ping_ms;
	uint8_t unanswered; /* pings in a row */
	struct path_ping {
		uint8_t txid[PROBE_TXID];
		uint64_t sent_ms; /* 0: free */
	} inflight[PATH_INFLIGHT];
	uint8_t next_inflight;
};

void path_init(struct path *p, const struct addr *addr, uint32_t socket);
/* Registers a ping that is about to be sent and fills its transaction id. */
void path_ping(struct path *p, struct rng *rng, uint64_t now_ms, uint8_t txid[static PROBE_TXID]);
/* True if txid is of a ping sent over this path: it is then proven (PATH_UP). `name` is for the log. */
bool path_on_pong(struct path *p, const uint8_t txid[static PROBE_TXID], const char *name, uint64_t now_ms);
/* An answer proved it by other means than path_ping (birthday.h keeps its own transaction ids). */
void path_on_proof(struct path *p, const char *name, uint64_t now_ms);
/* Whether a ping is due, given when data was last sent to the peer (0: never). Ends PATH_UP when it is time. */
bool path_next(struct path *p, uint64_t last_data_ms, const char *name, uint64_t now_ms);
/* Next moment to call path_next; UINT64_MAX for never. */
uint64_t path_deadline(const struct path *p, uint64_t last_data_ms, uint64_t now_ms);
/* Proven, and lately. */
bool path_usable(const struct path *p, uint64_t now_ms);
/* The network changed under us: what was proven is proven no more. */
void path_distrust(struct path *p, const char *name);
/* Pure comparator: true if `a` is to be preferred. `current` (may be either, or NULL) is kept unless the other is
 * clearly faster. Order: usable; lower RTT by more than 5 ms and a quarter; same-LAN; IPv6; the older. */
bool path_better(const struct path *a, const struct path *b, const struct path *current, uint64_t now_ms);

#endif
