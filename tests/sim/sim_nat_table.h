/* The table of a NAT model: flows, and the mappings they keep alive, found by hash. What is dead is dropped when it
 * is met. */
#ifndef P2PD_TESTS_SIM_NAT_TABLE_H
#define P2PD_TESTS_SIM_NAT_TABLE_H

#include "tests/sim/sim_nat.h"

struct sim_mapping {
	struct addr inner, remote, outer; /* remote: as far as `rules.mapping` looks at it */
	bool moved;			  /* away from a clash, for one flow only: nothing else uses it */
	uint64_t expires_ms;
	struct sim_flow *flows;
};

struct sim_flow {
	struct addr inner, remote, outer;
	struct sim_mapping *mapping; /* NULL: unsolicited, it only owns its tuple */
	struct sim_flow *next, *previous;
	bool out, in, held;
	uint64_t used_ms;
	size_t index; /* in the NAT's `flows` */
};

void sim_nat_table_init(struct sim_nat *n);
void sim_nat_table_free(struct sim_nat *n); /* empty by then */

/* NULL for none that is alive. */
struct sim_flow *sim_flow_by_inner(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				   uint64_t now_ms);
struct sim_flow *sim_flow_by_outer(struct sim_nat *n, const struct addr *outer, const struct addr *remote,
				   uint64_t now_ms);
bool sim_flow_live(const struct sim_nat *n, const struct sim_flow *f, uint64_t now_ms);
struct sim_flow *sim_flow_new(struct sim_nat *n, struct sim_mapping *m, const struct addr *outer,
			      const struct addr *remote, uint64_t now_ms);
/* Its mapping goes with its last flow. */
void sim_flow_drop(struct sim_nat *n, struct sim_flow *f);
/* Its time begins anew. */
void sim_flow_touch(struct sim_nat *n, struct sim_flow *f, uint64_t now_ms);
void sim_flow_replied(struct sim_nat *n, struct sim_flow *f);
/* It never ends. */
void sim_flow_hold(struct sim_nat *n, struct sim_flow *f);

/* The mapping that a flow from inside would use, and the one that has this outside; NULL for none that is alive. */
struct sim_mapping *sim_mapping_of(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				   uint64_t now_ms);
struct sim_mapping *sim_mapping_at(struct sim_nat *n, const struct addr *outer, uint64_t now_ms);
/* Give it a flow at once. */
struct sim_mapping *sim_mapping_new(struct sim_nat *n, const struct addr *inner, const struct addr *remote,
				    const struct addr *outer, bool moved);

#endif
