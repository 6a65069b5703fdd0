/* One thread's way of data: superframes of a TUN queue are split, sealed and sent as UDP trains; trains that come in are
 * opened and merged into superframes. Run to completion: nothing waits here for more to come. Only what the kernel does
 * not take is kept, until it does; meanwhile nothing is read from the queue, so that senders feel it.
 *
 * The engine is used with its lock held, for each superframe once or twice; sealing, opening, splitting and merging need
 * no lock. What is no data (handshakes, probes, STUN, the relay's control messages) and packets that cannot be sent at
 * once go to the engine one by one. */
#ifndef P2PD_APPS_P2PD_LANE_H
#define P2PD_APPS_P2PD_LANE_H

#include <pthread.h>

#include "apps/p2pd/engine.h"
#include "apps/p2pd/shell_sockets.h"
#include "core/udp.h"
#include "tun/device.h"

struct lane;

struct lane_config {
	struct engine *engine;
	pthread_mutex_t *lock; /* the engine's; NULL: no other thread uses it */
	bool is_main;	       /* on the loop of the extra sockets: others do not open them */
	struct tun_device *tun;
	unsigned queue;
	struct udp_socket *udp4, *udp6; /* by which it sends; may be closed ones */
	struct shell_sockets *extra;	/* used with the lock held */
};

/* NULL without memory. All in the configuration stays the caller's and outlives the lane. */
struct lane *lane_create(const struct lane_config *config);
void lane_destroy(struct lane *l); /* NULL is allowed */

/* The queue is readable: takes what is there, up to a budget. 0, or a negative errno: the device is gone. */
int lane_on_tun(struct lane *l, uint64_t now_ms);
/* A train came in by the main socket (0) or an extra one. Its memory is used until lane_flush(). */
void lane_on_train(struct lane *l, uint32_t socket, const struct udp_train *t, uint64_t now_ms);
/* A message of the link to the hub, at `hub`, that holds what it relayed. It is copied; lane_flush() is to come. */
void lane_on_run(struct lane *l, const struct addr *hub, const uint8_t *msg, size_t len, uint64_t now_ms);
/* After the trains of a system call, and the runs of a turn of the loop: writes what they brought to the TUN device. */
void lane_flush(struct lane *l, uint64_t now_ms);
/* Sends datagrams and packets that the engine has made (but not messages for the hub), with the lock held; those of extra sockets in the main loop only,
 * and no datagrams before e->clock.kept_ns covers their timestamps. True if there were any. */
bool lane_drain(struct lane *l);

/* The socket whose full buffer keeps what is left of the last superframes, or NULL: until it is writable lane_on_tun() is
 * not to be called, then lane_resume(). */
struct udp_socket *lane_blocked(const struct lane *l);
void lane_resume(struct lane *l);

#endif
