/* NAT models along RFC 4787's axes: mapping, filtering, port allocation, pooling, timeouts, hairpinning, and what a
 * small router does when its table is full. They count flows (a remote, an inside, an outside endpoint), as Linux's
 * connection tracking does; a mapping lives as long as one of its flows. */
#ifndef P2PD_TESTS_SIM_NAT_H
#define P2PD_TESTS_SIM_NAT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/addr.h"
#include "core/map.h"

/* Presets of sim_nat_rules. NAT_HOME_*: for sim_site, which puts a home's port-restricted NAT behind a carrier's. */
enum sim_nat_kind {
	NAT_NONE,
	NAT_FULL_CONE,
	NAT_ADDRESS_RESTRICTED,
	NAT_PORT_RESTRICTED,
	NAT_SYMMETRIC,
	NAT_FIREWALL, /* stateful, but no address is translated */
	NAT_SEQUENTIAL,
	NAT_SEQUENTIAL_DOWN,
	NAT_STRIDE,
	NAT_BLOCK_512,
	NAT_BLOCK_1024,
	NAT_LIMITED,
	NAT_UDP_BLOCKED,
	NAT_HOME_CARRIER,	    /* the carrier's is as easy as the home's */
	NAT_HOME_CARRIER_SYMMETRIC, /* the carrier's is NAT_SYMMETRIC */
	SIM_NAT_KINDS,
};

/* On what a mapping or a filter depends. */
enum sim_nat_sense { SIM_ENDPOINT_INDEPENDENT, SIM_ADDRESS_DEPENDENT, SIM_ADDRESS_AND_PORT_DEPENDENT };
enum sim_nat_ports {
	SIM_PORTS_UNTRANSLATED, /* neither address nor port */
	SIM_PORTS_PRESERVED,	/* random when it is taken */
	SIM_PORTS_RANDOM,
	SIM_PORTS_SEQUENTIAL,
};

enum {
	SIM_NAT_IPS = 4,
	SIM_NAT_HOSTS = 64,
	/* Linux's nf_conntrack_udp_timeout and nf_conntrack_udp_timeout_stream. */
	SIM_NAT_UNREPLIED_MS = 30000,
	SIM_NAT_REPLIED_MS = 120000,
	SIM_NAT_LIMIT = 1024, /* NAT_LIMITED */
};

struct sim_nat_rules {
	bool blocked; /* no UDP at all */
	enum sim_nat_sense mapping, filtering;
	enum sim_nat_ports ports;
	uint16_t port_lo, port_hi;
	uint32_t block;	    /* random ports: each host inside has an aligned block of so many; 0: all ports */
	int step;	    /* sequential ports */
	bool step_per_host; /* each host inside has its own sequence, else there is one */
	bool pool_arbitrary; /* with several addresses: any for each mapping, else one for each host inside */
	uint32_t unreplied_ms, replied_ms;
	bool inbound_refreshes;
	bool hairpin;
	/* An unsolicited packet leaves a flow that owns its tuple, as on Linux routers that accept or reject it by
	 * themselves: our own flow with these endpoints then gets another port (notes on conntrack clashes). */
	bool clash;
	uint32_t limit; /* of flows; 0: none */
	bool evict; /* when full a flow without reply makes room (Linux's early_drop), else the new one is lost */
	/* Flows that others inside begin, a Poisson process; each ends when no reply comes. A host's own share of
	 * a sequence or a block is what they take, too. */
	double foreign_per_s;
};

struct sim_nat {
	enum sim_nat_kind kind; /* what `rules` began as */
	struct sim_nat_rules rules;
	struct addr public_ip; /* port 0 */
	struct addr more_ips[SIM_NAT_IPS - 1];
	unsigned more_ip_count;
	/* seen by tests */
	size_t flow_count, peak; /* the dead are among them until they are swept */
	uint64_t opened, lost, evicted;
	uint64_t foreign_opened, foreign_lost; /* lost: refused or evicted */

	struct rng *rng;
	struct map by_inner, by_outer; /* flows, by their two endpoints */
	struct map mappings; /* by the inside, and the remote as far as `rules.mapping` looks at it */
	struct map ports;    /* mappings, by the outside */
	struct sim_flow **flows;
	size_t flow_cap, sweep_at;
	struct sim_nat_host {
		struct addr ip;
		unsigned ip_index; /* which of our addresses is its own */
		uint16_t next_port;
		uint16_t block_lo; /* 0: none yet */
	} hosts[SIM_NAT_HOSTS];
	size_t host_count;
	uint16_t next_port;
	uint16_t foreign_port;
	double foreign_at_ms; /* 0: not begun */
};

struct sim_nat_rules sim_nat_preset(enum sim_nat_kind kind);
/* `rng` is kept. Rules may be changed until the first packet. */
void sim_nat_init(struct sim_nat *n, enum sim_nat_kind kind, const struct addr *public_ip, struct rng *rng);
void sim_nat_free(struct sim_nat *n);

/* A packet from inside: the source it has outside, and the filter opens. False when it is dropped. */
bool sim_nat_out(struct sim_nat *n, const struct addr *inner, const struct addr *remote, uint64_t now_ms,
		 struct addr *outer);
/* A packet from outside to our public address: whom it is for inside; false when it is dropped. */
bool sim_nat_in(struct sim_nat *n, const struct addr *outer, const struct addr *remote, uint64_t now_ms,
		struct addr *inner);
bool sim_nat_owns(const struct sim_nat *n, const struct addr *ip);

/* All flows and mappings are forgotten. */
void sim_nat_flush(struct sim_nat *n);
void sim_nat_readdress(struct sim_nat *n, const struct addr *public_ip);
/* Begins `count` flows of others inside that were replied to and go on for ever. */
void sim_nat_hold(struct sim_nat *n, unsigned count, uint64_t now_ms);
/* Flows that are alive. */
size_t sim_nat_live(struct sim_nat *n, uint64_t now_ms);

#endif
