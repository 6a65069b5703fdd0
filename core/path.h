/* One direct UDP path to a peer: a socket of ours and an address of the peer, used only after an authenticated pong came
 * back that way.
 * Owns its state; callers report events. Pure.
 *
 * Timers, all run by path_next():
 *   active   we sent data within PATH_ACTIVE_MS: a ping every 700 ms, and one as soon as data went out and nothing came
 *            back for 100 ms + 1.25 RTT; a lost one is repeated after 100 ms + 1.25 RTT (400 ms while data comes in: then
 *            the answer waits in a queue). As often while it is not known what sizes get through. With the 4th
 *            unanswered in a row the path is not usable any more, after it PATH_UP ends: data goes another way after
 *            0.7 s at 50 ms RTT, after less than 2 s in any case
 *   warm     until PATH_WARM_MS after the last data: a ping every 15 s keeps mappings open
 *   idle     later: silence. A path without a pong for PATH_TRUST_MS is not usable until the next one
 *
 * Liveness pings have the sizes of data (core/pmtu.h). A path that died of them though small probes get through is black
 * for large packets: from then on only an answer to a ping of PATH_BASE_SIZE proves it.
 */
#ifndef P2PD_CORE_PATH_H
#define P2PD_CORE_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/gaps.h"
#include "core/pmtu.h"
#include "core/probe.h"

enum {
	PATH_ACTIVE_MS = 15000,
	PATH_WARM_MS = 120000,
	PATH_TRUST_MS = 20000,
	PATH_ACTIVE_PING_MS = 700,
	PATH_WARM_PING_MS = 15000,
	PATH_MARGIN_MS = 100, /* beside the RTT, for answers */
	PATH_RTT_CAP_MS = 400,
	PATH_QUEUED_MS = 400, /* between pings while the peer is heard, but does not answer them */
	PATH_MAX_TRIES = 4,
	/* Sizes of UDP payloads: a sealed IP packet that any path must carry (RFC 8200 section 5), the TUN device's largest. */
	PATH_OVERHEAD = 48, /* of the longer of the two data messages: core/sealer.h */
	PATH_BASE_SIZE = 1280 + PATH_OVERHEAD,
	PATH_FULL_SIZE = 1392 + PATH_OVERHEAD,
	PATH_PADDING = 16, /* packets are padded to a multiple of it */
	PATH_INFLIGHT = 8,
};

enum path_state { PATH_NEW, PATH_PROBING, PATH_UP, PATH_DEAD };
enum path_event { PATH_EV_PROBE_SENT, PATH_EV_PONG, PATH_EV_TIMEOUT };

struct path {
	struct addr addr; /* ADDR_NONE: this slot is free */
	uint32_t socket;  /* of ours that it goes by: see core/pkt.h */
	enum path_state state;
	uint8_t opened_by; /* the owner's word for how it was opened; 0 until it gives one */
	uint32_t rtt_ms;   /* smoothed; 0 before the first pong */
	uint64_t up_since_ms, last_pong_ms, last_ping_ms;
	uint64_t heard_ms;	/* anything authenticated came over it */
	uint64_t first_sent_ms; /* data went out then, and nothing was heard since; 0: none */
	struct pmtu pmtu;
	struct gaps_choice gaps;
	bool wants_size;    /* small probes prove nothing: large ones were lost */
	uint8_t unanswered; /* pings in a row */
	struct path_ping {
		uint8_t txid[PROBE_TXID];
		uint32_t sent_ms; /* the low bits */
		uint16_t size;	  /* 0: free */
	} inflight[PATH_INFLIGHT];
	uint8_t next_inflight;
};

void path_init(struct path *p, const struct addr *addr, uint32_t socket);
/* Registers a ping of `size` bytes that is about to be sent and fills its transaction id. */
void path_ping(struct path *p, struct rng *rng, size_t size, uint64_t now_ms,
	       uint8_t txid[static PROBE_TXID]);
/* True if txid is of a ping sent over this path: it is then proven (PATH_UP). `name` is for the log. */
bool path_on_pong(struct path *p, const uint8_t txid[static PROBE_TXID], const char *name, uint64_t now_ms);
/* An answer proved it by other means than path_ping (birthday.h keeps its own transaction ids). */
void path_on_proof(struct path *p, const char *name, uint64_t now_ms);
/* Data went out by it, or something authenticated came in. */
void path_on_sent(struct path *p, uint64_t now_ms);
void path_on_heard(struct path *p, uint64_t now_ms);
/* The peer sends by another way: it is asked at once whether this one is still there. */
void path_on_doubt(struct path *p, uint64_t now_ms);
/* The peer says that it is somewhere else now: until the next pong data goes another way, and pings are sent at once. */
void path_on_suspicion(struct path *p, uint64_t now_ms);
/* Whether a ping is due, given when data was last sent to the peer (0: never). Ends PATH_UP when it is time. */
bool path_next(struct path *p, uint64_t last_data_ms, const char *name, uint64_t now_ms);
/* Next moment to call path_next; UINT64_MAX for never. */
uint64_t path_deadline(const struct path *p, uint64_t last_data_ms, uint64_t now_ms);
/* The size that the next ping is to have. */
size_t path_ping_size(struct path *p, uint64_t last_data_ms, uint64_t now_ms);
/* The largest IP packet that it is known to carry; 0: nothing is known yet. */
unsigned path_mtu(const struct path *p);
/* Proven, and lately, and not about to be given up. */
bool path_usable(const struct path *p, uint64_t now_ms);
/* The network changed under us: what was proven is proven no more. */
void path_distrust(struct path *p, const char *name);
/* Pure comparator: true if `a` is to be preferred. `current` (may be either, or NULL) is kept unless the other is
 * clearly faster. Order: usable; lower RTT by more than 5 ms and a quarter; same-LAN; IPv6; the older. */
bool path_better(const struct path *a, const struct path *b, const struct path *current, uint64_t now_ms);

#endif
