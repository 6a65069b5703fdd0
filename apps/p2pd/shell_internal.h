/* What the bodies of the shell share with each other and with nobody else. */
#ifndef P2PD_APPS_P2PD_SHELL_INTERNAL_H
#define P2PD_APPS_P2PD_SHELL_INTERNAL_H

#include "apps/p2pd/api.h"
#include "apps/p2pd/engine.h"
#include "apps/p2pd/forward/forward_door.h"
#include "apps/p2pd/forward/forwarder.h"
#include "apps/p2pd/requests.h"
#include "apps/p2pd/shell.h"
#include "apps/p2pd/shell_sockets.h"
#include "apps/p2pd/timestamps.h"
#include "apps/p2pd/wg_peers.h"
#include "apps/p2pd/workers.h"
#include "core/loop.h"
#include "core/lan.h"
#include "core/wake.h"
#include "relay/hub_link.h"
#include "relay/metrics_door.h"
#include "tun/device.h"

struct shell {
	struct shell_config config;
	struct loop *loop;
	struct loop_timer *timer;
	struct pkt_pool pool;
	struct engine *engine;
	uint64_t wall_at_ms; /* when the engine was last told the wall clock */
	struct wake wake;
	uint64_t due_ms; /* when the timer is set for */

	/* shell_io.c */
	struct tun_device tun;
	struct worker worker;	 /* of this loop: carries all, unless there are */
	struct workers *workers; /* on threads; or NULL */
	struct shell_sockets sockets;
	uint16_t port;

	/* shell_host.c */
	int host_fd;
	struct loop_fd *host_watch;
	uint64_t hosts_due_ms; /* look at the host's addresses then; UINT64_MAX: never */
	struct addr hosts[ENGINE_HOSTS];
	size_t host_count;
	struct shell_way {
		struct lan lan;
		uint32_t carrier_changes; /* of its interface */
	} ways[2];			  /* out of this machine, by IPv4 and IPv6 */
	struct addr device_ip4;		  /* as set on the device */

	/* shell_link.c */
	struct hub_link *link;
	uint64_t join_by_ms; /* UINT64_MAX: joined, or patient */
	uint64_t complained_ms;
	char proxy[PROXY_TEXT]; /* that the link takes; "" without */
	char trouble[256];	/* why the hub does not answer, for a person */

	/* shell_portmap.c */
	struct shell_portmap *portmap; /* NULL: not wanted */

	/* shell_forward.c */
	struct forwarder *forwarder; /* NULL: off */
	char forward_off[FILE_WHY];  /* why */
	struct forward_api *forward_api;
	struct forward_door *forward_door; /* NULL: not wanted */
	uint64_t roster;		   /* the engine's, as the forwarder was last told */

	/* shell_hops.c */
	bool tracing;
	struct addr traced; /* the reflexive address at the last trace */

	/* shell_keep.c */
	struct timestamps timestamps;
	uint64_t timestamps_due_ms;
	struct wg_peers wg;
	bool forgets;

	struct api *api;
	struct metrics_door *metrics; /* NULL: not wanted */
	struct requests_target target;
	bool ending;
	int exit_code;
};

/* shell.c */
/* The time, for the input that came just now. */
uint64_t shell_now(struct shell *s);
/* Carries away what the engine gave in answer to an input, and sets the timer. Ends every callback. */
void shell_settle(struct shell *s);
void shell_end(struct shell *s, int exit_code);

/* shell_io.c: each 0 or the exit code, the line being written. */
int shell_open_tun(struct shell *s);
int shell_open_udp(struct shell *s);
int shell_start_data(struct shell *s);
int shell_watch_tun(struct shell *s);
void shell_close_io(struct shell *s);
/* Name of the rung that data takes; `arg` is the shell. */
const char *shell_offload(void *arg);
/* Closes the extra sockets that the engine uses no more. */
void shell_close_unused(struct shell *s);

/* shell_host.c */
int shell_check_clash(struct shell *s);
int shell_set_device(struct shell *s);
void shell_readdress(struct shell *s);
int shell_watch_hosts(struct shell *s);
void shell_look_at_hosts(struct shell *s, uint64_t now_ms);
/* 0; or, after it has tried all, the first error: -EADDRINUSE (a route of others) or another negative errno. */
int shell_route_wg(struct shell *s, const struct engine_wg_peer *peer, bool added);
void shell_close_host(struct shell *s);

/* shell_link.c */
int shell_start_link(struct shell *s);
/* The network under the link changed: proves that it still works, or replaces it. */
void shell_check_link(struct shell *s);
void shell_close_link(struct shell *s);
bool shell_drain_hub(struct shell *s);
void shell_on_other_front(struct shell *s);
void shell_on_refused(struct shell *s, int reason);
void shell_on_join_timeout(struct shell *s);

/* shell_portmap.c: all do nothing when no mapping is wanted. */
int shell_start_portmap(struct shell *s);
/* Starts what is due. */
void shell_run_portmap(struct shell *s, uint64_t now_ms);
uint64_t shell_portmap_deadline(const struct shell *s);
/* Addresses or routes of the machine changed. */
void shell_portmap_on_hosts(struct shell *s, uint64_t now_ms);
/* The engine may have learnt by which address the world sees us. */
void shell_portmap_on_settle(struct shell *s);
/* Jobs under way end at once: loop_work_finish() waits for them. */
void shell_cancel_portmap(struct shell *s);
/* No job is under way any more: gives the mappings back, which takes a second at most. */
void shell_close_portmap(struct shell *s);

/* shell_forward.c: port forwarding. */
int shell_start_forward(struct shell *s);
void shell_forward_on_settle(struct shell *s);
void shell_forward_on_pong(struct shell *s, const struct engine_event *pong);
/* The settings may be others. */
void shell_forward_on_settings(struct shell *s);
void shell_cancel_forward(struct shell *s);
/* No request for it comes any more. */
void shell_close_forward(struct shell *s);

/* shell_hops.c */
/* Looks at the way to the hub, when we are seen by another address than the last time. */
void shell_trace_on_settle(struct shell *s);

/* shell_keep.c */
int shell_restore(struct shell *s);
void shell_keep_network(struct shell *s);
void shell_keep_clock(struct shell *s);
/* A handshake of a peer came in: its timestamp may be new. */
void shell_expect_timestamp(struct shell *s, uint64_t now_ms);
void shell_keep_timestamps(struct shell *s);
int shell_keep_wg(void *arg, const struct engine_wg_peer *peer, bool added);
void shell_close_keep(struct shell *s);

#endif
