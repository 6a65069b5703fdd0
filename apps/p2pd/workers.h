/* Worker threads: each runs a worker (worker.h) on a loop of its own, with its own TUN queue and pair of sockets, so that
 * the main loop keeps the control: handshakes, probes, the hub, the API. The engine is shared under one lock, which the main
 * loop holds while it works. The kernel keeps each inner flow at one queue and each session's messages at one socket, so a
 * flow's packets stay in order. */
#ifndef P2PD_APPS_P2PD_WORKERS_H
#define P2PD_APPS_P2PD_WORKERS_H

#include "apps/p2pd/worker.h"

enum { WORKERS_MAX = TUN_QUEUES };

struct workers_config {
	unsigned count;	      /* 1 to WORKERS_MAX */
	struct worker *first; /* of the main loop, open: they share its port */
	struct loop *loop;    /* the main one */
	enum udp_offload most;
	/* With the lock held, in any thread: whether the engine has something for the main loop. */
	bool (*is_wanted)(void *arg);
	void (*on_wanted)(void *arg); /* in the main loop, then */
	void (*lost)(void *arg);      /* in the main loop: the TUN device was taken away */
	void *arg;
};

struct workers;

/* Opens their sockets. NULL for `*out` on failure. 0 or a negative errno. */
int workers_open(struct workers **out, const struct workers_config *config);
/* Starts the threads: from now on the lock is needed, and the main loop runs by loop_run_locked(). 0 or a negative
 * errno. */
int workers_start(struct workers *w, const struct worker_place *main_worker);
pthread_mutex_t *workers_lock(struct workers *w);
/* Ends the threads; without the lock. */
void workers_stop(struct workers *w);	 /* NULL is allowed */
void workers_destroy(struct workers *w); /* stopped ones; NULL is allowed */

#endif
