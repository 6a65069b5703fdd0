/* A deterministic world in virtual time: whole nodes (engines) behind NAT models, a whole hub (coordination, relay,
 * STUN), links with delay, jitter (so reordering), loss and duplication. One seed, one history. */
#ifndef P2PD_TESTS_SIM_H
#define P2PD_TESTS_SIM_H

#include "apps/p2pd/engine.h"
#include "nat/stun_server.h"
#include "relay/coord.h"
#include "relay/relay_server.h"
#include "tests/sim/sim_nat.h"

enum {
	SIM_NODES = 64,
	SIM_SITES = 160,
	SIM_POOL = 4096,
	SIM_RELAYS = 4,
	SIM_SOCKETS = 256, /* extra ones that a node may have at a time */
	/* Own router, these, the peer's: the eighth hop is the peer's NAT, so a TTL of 4 or 7 dies between. */
	SIM_MIDDLE_HOPS = 6,
};

/* A router and the network behind it, which may hold nodes or, a carrier's, other sites. */
struct sim_site {
	struct sim_nat nat;
	struct sim_site *parent; /* the carrier that it is a customer of; NULL: on the internet */
	unsigned hosts;		 /* ever seen in its network */
	unsigned hops;		 /* from inside to its router, which is the last of them */
	uint32_t mtu;		 /* longer IP packets vanish here without a word; 0: none does */
	bool udp_blocked;	 /* no datagram leaves it; the hub's links go on */
	bool udp_deaf;		 /* none gets in */
};

struct sim_node {
	struct sim *sim;
	struct engine *engine; /* NULL while it is down */
	struct engine_config config;
	struct sim_site *site;
	struct addr inner; /* its address and port on its own network */
	uint64_t conn;	   /* of its hub link; 0: none */
	uint64_t reconnect_ms;
	uint64_t asleep_until_ms;
	uint32_t late_ms;			   /* the hub's messages come so much later to it */
	struct map port_of_socket, socket_of_port; /* of extra sockets */
	bool joined;
	uint64_t joined_ms;
	/* seen by the test */
	uint64_t received;
	uint32_t last_socket; /* by which the last datagram came */
	uint64_t first_pong_ms, first_direct_pong_ms;
	uint64_t pongs, moves;
};

struct sim {
	struct rng rng;
	uint64_t seed, now_ms, unix_base_s;
	struct pkt_pool pool;
	struct network net;
	struct sim_event *events; /* a heap by time, then by order of making */
	size_t event_count, event_cap;
	uint64_t event_serial;
	struct sim_site sites[SIM_SITES];
	struct sim_node nodes[SIM_NODES];
	size_t site_count, node_count;
	/* the hub; NULL while it is down */
	struct coord *coord;
	struct relay_server *relay;
	struct stun_server stun;
	/* Two addresses, two ports each: 0 and 1 of the first address. A hub with one: count 2, then restart it. */
	struct addr hub_addr[4];
	size_t hub_addr_count;
	uint64_t next_conn;
	/* Other relays, which the hub names when it starts. */
	struct sim_relay {
		struct relay_server *server; /* NULL while it is down */
		struct addr at;
		uint32_t one_way_ms; /* from the middle of the network to it */
		uint64_t forwarded;
	} relays[SIM_RELAYS];
	size_t relay_count;
	/* the links */
	uint32_t one_way_ms; /* of each node's uplink, to the middle of the network */
	uint32_t hub_ms;     /* from there to the hub */
	uint32_t jitter_ms;
	uint32_t loss_permille, duplicate_permille;
	unsigned middle_hops;
	bool cut[SIM_NODES][SIM_NODES]; /* [from][to]: what goes directly is lost; see sim_cut */
	bool cut_direct;		/* nothing passes between nodes, only between node and hub */
	uint64_t datagrams, direct_datagrams;
	uint64_t runs; /* that the hub sent over links */
	/* Sees each datagram at its receiver just before it is delivered; NULL for nobody. */
	void (*tap)(struct sim *s, struct sim_node *to, const struct addr *from, const uint8_t *data,
		    size_t len);
	/* Sees each packet that a node writes to its TUN; NULL for nobody. */
	void (*tun)(struct sim *s, struct sim_node *at, const uint8_t *packet, size_t len);
	/* Sees each datagram as a node sends it, by its port `port`; NULL for nobody. */
	void (*sent)(struct sim *s, struct sim_node *by, uint16_t port, const struct pkt *p);
};

void sim_init(struct sim *s, uint64_t seed);
void sim_free(struct sim *s);
/* A new site (a NAT and what is behind it), or a bare public host for NAT_NONE. */
struct sim_site *sim_site(struct sim *s, enum sim_nat_kind kind);
/* One more customer of a carrier (a site without nodes), with a NAT of its own. */
struct sim_site *sim_site_behind(struct sim *s, struct sim_site *carrier, enum sim_nat_kind kind);
/* So many more public addresses for its NAT. Before its first packet. */
void sim_site_add_ips(struct sim_site *site, unsigned count);
struct sim_node *sim_node_at(struct sim *s, struct sim_site *site);
struct sim_node *sim_node(struct sim *s, enum sim_nat_kind kind);
void sim_hub_start(struct sim *s);
/* A relay that the hub names from its next start on, so far from the middle of the network. */
struct sim_relay *sim_relay(struct sim *s, uint32_t one_way_ms);
void sim_relay_kill(struct sim_relay *r);
void sim_relay_start(struct sim *s, struct sim_relay *r);
void sim_hub_kill(struct sim *s);
void sim_node_start(struct sim *s, struct sim_node *n);
void sim_node_kill(struct sim *s, struct sim_node *n);
/* The cable goes into another network: the node has another address there, its mappings and hub link stay behind. */
void sim_move(struct sim *s, struct sim_node *n, struct sim_site *site);
/* Suspended: it does nothing and hears nothing, and its clock jumps at the end. The hub notices by itself. */
void sim_sleep(struct sim *s, struct sim_node *n, uint64_t ms);
/* Whether datagrams from a to b are lost, unless the hub relays them. */
void sim_cut(struct sim *s, const struct sim_node *a, const struct sim_node *b, bool cut);
/* Runs for `ms` of virtual time. */
void sim_run(struct sim *s, uint64_t ms);
/* Runs until all nodes that are up have joined; false after `limit_ms`. */
bool sim_run_joined(struct sim *s, uint64_t limit_ms);
/* An IP packet from a's TUN to b's overlay address. */
void sim_send(struct sim *s, struct sim_node *a, struct sim_node *b);
/* Any IP packet from a's TUN. */
void sim_send_packet(struct sim *s, struct sim_node *a, const uint8_t *packet, size_t len);
/* Hands a datagram straight to a node, as if it came from `from`. */
void sim_inject(struct sim *s, struct sim_node *to, const struct addr *from, const uint8_t *data, size_t len);
/* An in-tunnel ping; its pong is counted in a's fields. */
void sim_ping(struct sim *s, struct sim_node *a, struct sim_node *b);
/* Both send, each `step_ms`, for so long; the longest time that one of them got nothing. */
uint64_t sim_longest_gap(struct sim *s, struct sim_node *a, struct sim_node *b, uint64_t step_ms,
			 uint64_t ms);
struct engine_peer *sim_peer(struct sim_node *a, struct sim_node *b);
enum engine_way sim_way(struct sim_node *a, struct sim_node *b);

#endif
