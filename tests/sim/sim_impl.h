/* What the files of the simulated world share. */
#ifndef P2PD_TESTS_SIM_IMPL_H
#define P2PD_TESTS_SIM_IMPL_H

#include "tests/sim/sim.h"

enum sim_event_kind { EV_DATAGRAM, EV_TO_HUB, EV_TO_NODE, EV_LINK_UP, EV_LINK_DOWN };

struct sim_event {
	uint64_t at_ms, serial;
	enum sim_event_kind kind;
	/* datagrams: endpoints as seen in the network where it is, that behind `realm` (NULL: the internet) */
	struct addr from, to;
	struct sim_site *realm;
	const struct sim_node *by; /* NULL: the hub */
	unsigned ttl;		   /* how many hops it may still take */
	struct sim_node *node;	   /* hub link */
	uint64_t conn;
	uint8_t *data;
	size_t len;
};

/* sim.c: copies the data. */
void sim_push(struct sim *s, struct sim_event ev, const void *data, size_t len);
void sim_deliver(struct sim *s, struct sim_node *n, uint32_t socket, const struct sim_event *ev);

/* sim_net.c */
bool sim_is_hub(const struct sim *s, const struct addr *a);
/* Over a link that may lose, delay and double it. */
void sim_launch(struct sim *s, struct sim_event ev, uint32_t delay_ms, const void *data, size_t len);
void sim_send_datagram(struct sim *s, struct sim_node *n, const struct pkt *p);
void sim_on_arrival(struct sim *s, const struct sim_event *ev);
/* Those that its engine has given up; all. */
void sim_close_unused(struct sim_node *n);
void sim_close_sockets(struct sim_node *n);
/* Of one more host in the network behind `site`; port 0. */
struct addr sim_new_address(struct sim_site *site);

/* sim_hub.c */
void sim_hub_on_datagram(struct sim *s, const struct sim_event *ev);
/* At one of the other relays. */
void sim_relay_on_datagram(struct sim *s, struct sim_relay *r, const struct sim_event *ev);
struct sim_relay *sim_relay_at(struct sim *s, const struct addr *a);
/* A message of a node's link that is not the coordination's. */
void sim_hub_on_run(struct sim *s, const struct sim_event *ev);
/* As the hub sees it. */
void sim_close_link(struct sim *s, struct sim_node *n);
void sim_drop_link(struct sim *s, struct sim_node *n);
/* The node turns from a link that still looks alive to the hub. */
void sim_abandon_link(struct sim *s, struct sim_node *n);
void sim_drain_hub(struct sim *s);

#endif
