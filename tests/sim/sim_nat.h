/* NAT models after RFC 4787: endpoint-independent mapping with three kinds of filtering, and symmetric (address- and
 * port-dependent mapping with random ports). A mapping idle for `timeout_ms` is gone. */
#ifndef P2PD_TESTS_SIM_NAT_H
#define P2PD_TESTS_SIM_NAT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/addr.h"
#include "core/crypto.h"

enum sim_nat_kind { NAT_NONE, NAT_FULL_CONE, NAT_ADDRESS_RESTRICTED, NAT_PORT_RESTRICTED, NAT_SYMMETRIC };
enum { SIM_NAT_MAPPINGS = 256, SIM_NAT_CONTACTS = 64 };

struct sim_nat {
	enum sim_nat_kind kind;
	struct addr public_ip; /* port 0 */
	uint64_t timeout_ms;
	struct sim_mapping {
		struct addr inner, remote; /* remote: symmetric only */
		uint16_t outer_port;	   /* 0: free */
		uint64_t used_ms;
		struct addr contacts[SIM_NAT_CONTACTS];
		unsigned contact_count;
	} mappings[SIM_NAT_MAPPINGS];
};

/* A packet from inside: the source it has outside, and the filter opens. False when the table is full. */
bool sim_nat_out(struct sim_nat *n, const struct addr *inner, const struct addr *remote, uint64_t now_ms,
		 struct rng *rng, struct addr *outer);
/* A packet from outside to our public address: whom it is for inside; false when it is dropped. */
bool sim_nat_in(struct sim_nat *n, const struct addr *outer, const struct addr *remote, uint64_t now_ms,
		struct addr *inner);
void sim_nat_flush(struct sim_nat *n);

#endif
