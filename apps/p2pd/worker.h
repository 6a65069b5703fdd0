/* A worker: a lane on a loop, with the TUN queue that it reads and the pair of UDP sockets, one of each family, that it
 * receives by and sends by. All workers' sockets have the node's port. */
#ifndef P2PD_APPS_P2PD_WORKER_H
#define P2PD_APPS_P2PD_WORKER_H

#include "apps/p2pd/lane.h"

struct worker_handler {
	/* The time, for the input that came just now. */
	uint64_t (*now)(void *arg);
	/* After each batch of input: the engine may have more to give than its lane carries away. */
	void (*settle)(void *arg);
	/* The TUN device was taken away. */
	void (*lost)(void *arg);
	void *arg;
};

struct worker_place {
	struct engine *engine;
	pthread_mutex_t *lock; /* the engine's; NULL: no other thread uses it */
	bool is_main;	       /* on the main loop, whose callbacks come with the lock held */
	struct tun_device *tun;
	unsigned queue;
	struct shell_sockets *extra;
};

/* Zeroed memory is closed. Its place must not change while open. */
struct worker {
	struct loop *loop;
	struct udp_slab *slab;
	struct udp_socket udp4, udp6;
	struct worker_handler handler;
	struct lane *lane;
	struct loop_fd *tun_watch;
	struct loop_late runs; /* of the link, to be flushed */
	pthread_mutex_t *held; /* during callbacks, but not while the lane works; or NULL */
	const struct tun_device *tun;
	unsigned queue;
};

/* Opens both sockets on `port` (0: as `first`, whose sockets are open). Without IPv6 (or IPv4) on this machine the other
 * does. 0, -EADDRINUSE, -EACCES or another negative errno, and it stays closed. */
int worker_open(struct worker *w, struct loop *loop, uint16_t port, const struct worker *first,
		enum udp_offload most, const struct worker_handler *handler);
/* From now on data goes to the sockets of the `others` that were opened after this one: udp_steer(). */
int worker_steer(struct worker *w, unsigned others);
/* Makes the lane; nothing is carried before. 0 or -ENOMEM. */
int worker_start(struct worker *w, const struct worker_place *at);
/* Reads the TUN queue from now on. 0 or a negative errno. */
int worker_watch(struct worker *w);
void worker_close(struct worker *w);

/* For the extra sockets, which belong to the worker of the main loop. */
void worker_on_train(struct worker *w, uint32_t socket, const struct udp_train *t);
void worker_on_batch(struct worker *w);
/* A run that came over the link to the hub at `hub`; for the worker of the main loop. */
void worker_on_run(struct worker *w, const struct addr *hub, const uint8_t *msg, size_t len);

#endif
