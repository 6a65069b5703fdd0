/* What a node keeps in its folder (--state), each in a file of its own:
 *   keys          identity and WireGuard keys, made at the first start
 *   network.json  the network that it is in, and what it is there; network.key, what the network's secret gave
 *   proxy         how the hub is reached (hub_proxy.h), if that was given: it may hold a password
 *   clock         an upper bound of the handshake timestamps ever sent
 *   timestamps    see timestamps.h
 *   wg.json       stock WireGuard peers, see wg_peers.h
 *   forwards.json, tokens.json, audit.jsonl, api.token     port forwarding, see forward/
 *   lock          held while a daemon runs
 * Everything is 0600 and written crash-safe (core/file.h). */
#ifndef P2PD_APPS_P2PD_STATE_H
#define P2PD_APPS_P2PD_STATE_H

#include <stdint.h>

#include "core/addr.h"
#include "core/cert.h"
#include "core/network.h"
#include "core/proxy.h"

enum { STATE_URL_MAX = 511 };
/* How far ahead timestamps are reserved, so that a write is needed at most this often. */
#define STATE_RESERVE_NS 60000000000ull

struct state {
	int dir, lock;
	uint64_t reserved_ns; /* as on disk */
};

struct state_keys {
	uint8_t ik_seed[32], wk_sk[32];
};

struct state_network {
	struct network net;
	char hub[STATE_URL_MAX + 1];
	char name[CERT_NAME_MAX + 1]; /* the node's */
	struct addr ip4_prefix;
	unsigned ip4_bits;
	struct addr ip4_wish; /* the address it had last, or asked for; ADDR_NONE without */
	uint64_t cert_not_before;
	uint16_t port;
	bool no_portmap;	       /* the router is not asked to forward the port */
	bool hard_nat;		       /* --hard-nat: many probes between two hard NATs are allowed */
	bool chacha20_only;	       /* --cipher chacha20 */
	char proxy[PROXY_URL_MAX + 1]; /* --proxy, see hub_proxy.h; secret */
};

/* Makes the folder if need be, and locks it. 0, -EBUSY (another daemon has it), or another negative errno. */
int state_open(struct state *s, const char *path);
void state_close(struct state *s);

/* Made when there are none. 0, -EPERM (wrong owner or mode), -EBADMSG (damaged), or a negative errno. */
int state_load_keys(struct state *s, struct state_keys *keys);

/* 0, -ENOENT (in no network), -EBADMSG (damaged), or a negative errno. */
int state_load_network(struct state *s, struct state_network *n);
int state_save_network(struct state *s, const struct state_network *n);
/* Its secrets. */
void state_wipe_network(struct state_network *n);
/* The network and the timestamps of its members; keys and stock peers stay. */
int state_forget_network(struct state *s);

/* The bound to start from: all timestamps from now on are to be greater. */
int state_load_clock(struct state *s, uint64_t *last_ns);
/* To be called before a timestamp of `last_ns` leaves the node: writes when it is not covered yet. */
int state_reserve_clock(struct state *s, uint64_t last_ns);

#endif
