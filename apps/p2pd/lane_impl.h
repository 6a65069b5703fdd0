/* What the two ways of a lane share. */
#ifndef P2PD_APPS_P2PD_LANE_IMPL_H
#define P2PD_APPS_P2PD_LANE_IMPL_H

#include "apps/p2pd/lane.h"
#include "core/ip.h"
#include "tun/offload.h"

enum {
	LANE_FRAMES = 64,      /* read at once, */
	LANE_READ = 128 << 10, /* or this many bytes and one more frame */
	LANE_OUT = 256 << 10,  /* sealed and not sent yet */
	LANE_TRAINS = 192,     /* all that is read at once in messages of full size, each by itself */
	LANE_RUN = 256,	       /* messages opened before the engine hears of them */
	LANE_FRAME_MAX = 65535,
};

struct lane_frame {
	uint8_t vnet[TUN_VNET];
	uint8_t *packet;
	size_t len;
	struct offload_split split;
	struct ip_view ip;
};

/* A train, and by which of our sockets it goes; or a run for the link to the hub (relay/relay_wire.h), header and all,
 * but `stride` is that of its datagrams. */
struct lane_out {
	struct udp_train train;
	uint32_t socket;
	uint32_t link_session; /* not 0: a run, of this relay session */
	unsigned count;
	bool ended; /* by a shorter datagram */
};

/* Messages of one receiver index and origin, one after the other. */
struct lane_run {
	bool open, refused;
	struct engine_in in;
	struct opener opener;
	struct opened list[LANE_RUN];
	unsigned count;
};

struct lane {
	struct lane_config config;

	/* lane_tx.c */
	struct lane_frame frames[LANE_FRAMES];
	struct lane_out trains[LANE_TRAINS];
	unsigned train_count, sent; /* trains, and how many of them are gone */
	size_t used;		    /* of `out` */
	struct udp_socket *blocked;
	bool linked; /* runs were handed over for the link since lane_on_tun() began */

	/* lane_rx.c */
	struct lane_run run;
	struct offload_merge merge;

	size_t in_used; /* of `in`, by runs of the link that wait for lane_flush() */
	uint8_t in[LANE_READ + LANE_FRAME_MAX + 1];
	uint8_t out[LANE_OUT];
};

/* The time for the engine, which must not hear of an earlier one than another thread told it while this one waited: it is
 * that of a callback only where nobody else uses the engine. */
uint64_t lane_lock(struct lane *l, uint64_t now_ms);
void lane_unlock(struct lane *l);

#endif
