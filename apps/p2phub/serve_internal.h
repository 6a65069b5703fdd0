/* What the parts of the hub's input and output share: serve.c (life, routes), serve_links.c (nodes' links), serve_udp.c
 * (relay and STUN over UDP), serve_relay.c (relay over links), serve_api.c (the REST API), serve_store.c (what is kept). */
#ifndef P2PD_APPS_P2PHUB_SERVE_INTERNAL_H
#define P2PD_APPS_P2PHUB_SERVE_INTERNAL_H

#include "apps/p2phub/serve.h"
#include "core/udp.h"
#include "nat/stun_server.h"
#include "relay/coord.h"
#include "relay/frame_queue.h"
#include "relay/http.h"
#include "relay/metrics_door.h"
#include "relay/quota.h"
#include "relay/relay_frame.h"
#include "relay/relay_gather.h"
#include "relay/store.h"
#include "relay/wall.h"
#include "relay/websocket_server.h"

struct serve_api;
struct serve_store;

/* One node's link. Its address is its id with coord and the relay. */
struct link {
	struct serve *serve;
	struct link *next, **at;
	struct websocket_server *ws;
	uint32_t slot;		   /* with the relay; 0: it has not relayed yet */
	struct frame_queue frames; /* relayed data that waits for room in its stream */
};

enum {
	DOOR_TRAINS = 64,
	SERVE_GATHER_MS = 10,
	/* More than UDP_BUFFER: the kernel counts some 800 bytes for a small datagram, and as many shall fit as can be
	 * gathered (with UDP_BUFFER 1,000 sessions of small datagrams got 0.85 of the rate). */
	SERVE_UDP_BUFFER = 2 << 20,
};

/* A UDP socket, whose it is, and what leaves by it after the system call that it came in by: still where it was
 * received. */
struct door {
	struct serve *serve;
	struct udp_socket udp;
	unsigned out_count;
	struct udp_train out[DOOR_TRAINS];
};

struct serve {
	struct loop *loop;
	struct rng rng;
	struct udp_slab *slab;
	struct door doors[SERVE_UDP_MAX];
	size_t door_count;
	struct relay_server *relay;
	/* Datagrams that came one by one, until no more wait in the sockets, or for SERVE_GATHER_MS. */
	struct relay_gather *gather;
	struct loop_late gathered;
	uint64_t gathered_ms; /* the first */
	struct coord *coord;
	struct stun_server stun;
	struct tls_config *tls;
	struct http_server *http;
	struct stream_listener *listener;
	struct loop_timer *timer; /* the one: at coord's deadline */
	struct link *links;
	bool behind_proxy; /* who comes from this machine may be anybody */
	bool metrics_public;
	struct metrics_door *metrics; /* NULL: not wanted */
	struct frame_pool frames;
	/* Of one call at a time: where runs are made. */
	uint8_t packed[RELAY_RUN_MAX], unpacked[RELAY_FRAME_UDP_MAX];
	struct store *store;	  /* NULL: no data folder */
	struct serve_store *keep; /* the same */
	struct serve_api *api;	  /* NULL: the same */
	struct serve_limits limits;
	struct wall wall;
};

/* The wall clock as wall.h has it, in Unix seconds. */
uint64_t serve_unix_s(struct serve *s);

/* GET /link */
void serve_on_link(void *arg, struct http_exchange *x);
/* Sends what coord has to say, and sets the timer. */
void serve_speak(struct serve *s);
void serve_close_links(struct serve *s);

/* GET /metrics */
void serve_on_metrics(void *arg, struct http_exchange *x);
/* The same by plain HTTP, where that is wanted. 0, or a negative errno with `*at` the address that could not be had. */
int serve_open_metrics(struct serve *s, const struct serve_config *config, struct addr *at);

/* A message of relayed data that a link brought. False: it is none, or nobody has logged in over that link. */
bool serve_relay_from_link(struct link *k, const uint8_t *msg, size_t len);
/* A run of datagrams (see relay_run()) that UDP brought for the node with this link. */
void serve_relay_to_link(struct serve *s, uint64_t link, const uint8_t *run, size_t len, size_t stride);
/* The link's stream has room again. */
void serve_relay_drain(struct link *k);
/* The link ends. */
void serve_relay_forget(struct link *k);

/* Sends datagrams by UDP now; what the kernel has no room for is lost. */
void serve_send_train(struct serve *s, const struct relay_route *route, uint8_t *data, size_t len,
		      size_t stride);
/* Opens s->store, if there is a data folder, and gives coord what it kept. 0 or -ENOMEM. */
int serve_open_store(struct serve *s, const char *data);
void serve_close_store(struct serve *s);
/* Something may have changed that is to be kept: it is written within 100 ms. */
void serve_store_soon(struct serve *s);

/* /api/v1/..., here and, without a token, on the socket DATA/hub.sock. 0 or -ENOMEM. */
int serve_open_api(struct serve *s, const struct serve_config *config);
void serve_close_api(struct serve *s);
void serve_on_api(void *arg, struct http_exchange *x);
struct rest_route;
/* Only with s->api: true if who asks has a token for this, see rest_admit(); else he has been answered. */
bool serve_api_admits(struct serve *s, struct http_exchange *x, const struct rest_route *route);

/* 0, or a negative errno with `*at` the address that could not be had. */
int serve_open_doors(struct serve *s, const struct serve_config *config, struct addr *at);
void serve_close_doors(struct serve *s);
void serve_create_stun(struct serve *s);
/* Adds the addresses that nodes are to be told to c->udp; the relay's, or the others. */
void serve_announce(struct serve *s, struct coord_config *c, bool relays);

#endif
