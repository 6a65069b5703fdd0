/* Which sizes pass to a server and back (report 9 of the traversal notes): requests that must not be fragmented, filled
 * up with what the server ignores (how large may we send?), or with RFC 5780's PADDING, which it answers in kind (how
 * large may it?); and one larger than an Ethernet frame, in fragments. First the largest; the smaller ones only when it
 * does not pass. Pure: the caller runs the queries. */
#ifndef P2PD_APPS_NATCHECK_MTU_H
#define P2PD_APPS_NATCHECK_MTU_H

#include "apps/natcheck/query.h"
#include "core/crypto.h"
#include "nat/discover.h"

enum { MTU_SIZES = 8, MTU_QUERIES = 2 * MTU_SIZES + 2 };

struct mtu_result {
	unsigned up, down; /* of IP packets, at least; 0: unknown */
	enum discover_answer fragments_up, fragments_down;
};

struct mtu_config {
	struct addr server;
	unsigned whole, fragments; /* sockets: SOCK_WHOLE, SOCK_FRAGMENTS */
	uint32_t rto_ms;
};

struct mtu {
	struct mtu_config config;
	struct query queries[MTU_QUERIES];
	bool smaller; /* the smaller sizes are asked, too */
};

/* Starts the first queries. */
void mtu_start(struct mtu *m, const struct mtu_config *config, struct rng *rng, uint64_t now_ms);
/* After each turn: starts those for smaller sizes once it is clear that they are needed. */
void mtu_go_on(struct mtu *m, struct rng *rng, uint64_t now_ms);
/* As far as it is known by now. */
struct mtu_result mtu_result(const struct mtu *m);

#endif
