/* A peer: who it is, its WireGuard session, its direct paths, packets that wait for keys, counters. It owns all of
 * these; the relay and punching are the engine's. Pure. */
#ifndef P2PD_CORE_PEER_H
#define P2PD_CORE_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/path.h"
#include "core/pkt.h"
#include "core/probe.h"
#include "core/session.h"

enum {
	PEER_PATHS = 20 /* all candidates of a record and a few learnt ones */,
	PEER_STAGED = 32,
	PEER_WANTS_SIZE_MS = 600000,
	PEER_NAME = 64
};

struct peer {
	char name[PEER_NAME];
	uint8_t wk[32];
	bool own_kind; /* runs p2pd: speaks probes and in-tunnel control; else a stock WireGuard peer */
	struct session session;
	struct probe_keys probe;       /* own kind only */
	struct path paths[PEER_PATHS]; /* own kind: proven by probes; addr ADDR_NONE marks a free slot */
	struct path *best;	       /* the usable path in use, or NULL */
	struct path *watched; /* the one that was in use last, and is pinged until it is dead; or NULL */
	uint64_t
		wants_size_ms; /* a path died of lost large packets: until then no path is proven by small probes; 0 */
	struct addr endpoint;	/* stock peers: configured, then where authenticated data last came from */
	struct pkt_list staged; /* IP packets that wait for keys or for a way */
	uint64_t last_tx_ms;	/* of data packets, keepalives left out; 0 for never */
	uint64_t rx_bytes, tx_bytes; /* of IP packets */
	uint64_t staged_dropped;
};

/* The path from `socket` to `addr`, or NULL. */
struct path *peer_path_find(struct peer *p, const struct addr *addr, uint32_t socket);
/* The same, made when absent: takes a free slot, else the least useful one that is not in use; NULL if all are. */
struct path *peer_path_get(struct peer *p, const struct addr *addr, uint32_t socket, uint64_t now_ms);
/* The path that was watched is dead. If it lost large packets, others may, too: see PEER_WANTS_SIZE_MS. */
void peer_on_dead(struct peer *p, const struct path *path, uint64_t now_ms);
/* Chooses `best` anew after something changed; true if another one (or none) is used now. */
bool peer_choose_path(struct peer *p, uint64_t now_ms);
/* A pong arrived from `from` on `socket`. True if it answers a ping that was sent there from it. */
bool peer_on_pong(struct peer *p, const struct addr *from, uint32_t socket,
		  const uint8_t txid[static PROBE_TXID], uint64_t now_ms);
/* Our socket closes, and its paths with it. */
void peer_forget_socket(struct peer *p, uint32_t socket);
/* Keeps a packet until there are keys and a way; the oldest goes when there are PEER_STAGED. */
void peer_stage(struct peer *p, struct pkt *pkt, struct pkt_pool *pool);
/* The network under us changed: no path is proven any more. */
void peer_distrust_paths(struct peer *p);
/* When the path that is watched wants a ping, or the one in use stops being usable. */
uint64_t peer_paths_deadline(const struct peer *p, uint64_t now_ms);

#endif
