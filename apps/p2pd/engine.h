/* A whole node without I/O: fed with datagrams, TUN packets, hub messages and `now_ms`, it hands back datagrams, TUN
 * packets, hub messages, events and a deadline. The shell joins it to libuv, the simulation to a virtual network.
 *
 * Use: after any engine_on_* call or engine_tick, drain udp_out, tun_out and hub_out (packets go back to the pool) and
 * engine_next_event; call engine_tick at engine_deadline at the latest. Not thread-safe, no callbacks.
 *
 * Data has a shorter way, in bulk: a lane (lane.h) seals and opens by itself, with what engine_out_begin() and
 * engine_in_begin() give it.
 *
 * The bodies: engine.c (life, tables, due work), engine_data.c (data in bulk), engine_pass.c (what is let through from and to the world
 * outside), engine_rx.c (datagrams in), engine_tx.c
 * (packets out), engine_hub.c (the hub's messages), engine_relay.c (which way the relay is used), engine_away.c (other relays), engine_peers.c (who is in the network), engine_stun.c (what our NAT does), engine_nat.c (candidates,
 * probes), engine_punch.c (direct paths), engine_round.c (techniques that both ends have to agree on), engine_turns.c
 * (when they are tried), engine_sockets.c (their sockets), engine_look.c (what opened a path, what comes next).
 * engine_peer.h: what it knows of a peer. */
#ifndef P2PD_APPS_P2PD_ENGINE_H
#define P2PD_APPS_P2PD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/p2pd/engine_counts.h"
#include "apps/p2pd/engine_peer.h"
#include "core/bucket.h"
#include "core/cookie.h"
#include "core/ip.h"
#include "core/lpm.h"
#include "core/map.h"
#include "core/network.h"
#include "core/pkt.h"
#include "core/record.h"
#include "core/sealer.h"
#include "core/session.h"
#include "core/timers.h"
#include "nat/budget.h"
#include "nat/discover.h"
#include "nat/lifetime.h"
#include "nat/portmap.h"
#include "nat/stun_client.h"
#include "relay/login.h"
#include "relay/relay_client.h"

enum {
	ENGINE_MTU =
		1392, /* of the TUN device: 1500 - IPv6 40 - UDP 8 - relay 8 - AEGIS-256's message 48 = 1396, a multiple of 16 */
	ENGINE_MAX_PEERS = 4096,
	ENGINE_EVENTS = 64,
	ENGINE_HOSTS = 32,
	ENGINE_HUB_UDP = 4,
	ENGINE_STUN_MS = 20000, /* keeps the one mapping to the hub open */
	ENGINE_EXPORTER = 32,
	ENGINE_PINGS = 32,	   /* in-tunnel pings whose pong is awaited */
	ENGINE_HOT_MS = 60000,	   /* traffic this recent makes us look for a direct path */
	ENGINE_JOIN_STUN_MS = 700, /* how long a join waits for the first STUN answer */
	ENGINE_RECORD_TTL_S = 86400,
	ENGINE_CERT_DAYS = 30,
	ENGINE_HANDSHAKES_PER_S = 200, /* more than that is load: cookies */
	ENGINE_TIMESTAMPS = 4096,
	ENGINE_ASKS_PER_S =
		100, /* of the hub, for its peers: it ends the link of who says more than it allows */
	ENGINE_ASKS_BURST = 200,
	ENGINE_SOCKETS = 512, /* slots for extra UDP sockets; config.max_sockets are in use at most */
	ENGINE_ROUNDS = 4,    /* peers that techniques of many sockets are tried with at a time */
	ENGINE_AWAYS = 8,
	ENGINE_LINK_BYTES =
		256 << 10, /* of data for the hub's link that wait for the shell; more is dropped */
};

_Static_assert((int)ENGINE_MTU + (int)SEALER_OVERHEAD_MAX == (int)PATH_FULL_SIZE,
	       "paths are watched with pings of the size of data");

/* What a node is, restored or made by the shell. */
struct engine_config {
	struct network net;
	char name[CERT_NAME_MAX + 1];
	uint8_t ik_seed[32]; /* Ed25519 */
	uint8_t wk_sk[32];   /* X25519 */
	struct addr ip4_prefix;
	unsigned ip4_bits;
	struct addr ip4_wish;	  /* ADDR_NONE: derived from the key */
	uint64_t cert_not_before; /* Unix seconds; kept so that the claim to an address keeps its age */
	uint64_t clock_last_ns;	  /* TAI64N upper bound reserved on disk */
	uint16_t udp_port;	  /* for host candidates */
	bool have_ip4, have_ip6;  /* sockets that the shell could open */
	uint16_t max_sockets;	  /* extra UDP sockets that the process can afford */
	bool hard_nat;		  /* --hard-nat: many probes for a small chance are allowed */
	bool aegis;		  /* AEGIS-256 may be agreed on with peers: --cipher and the CPU allow it */
	struct pkt_pool *pool;
	char hub_front[HUB_URL_TEXT]; /* login_front() of the hub's URL; "": none is ever signed */
	uint64_t seed;		      /* 0: system randomness; else a simulation's */
};

struct pass;

enum engine_event_kind {
	ENGINE_EV_JOINED,		/* the hub welcomed us, and our record is published */
	ENGINE_EV_REFUSED,		/* code: enum Link__RefusedReason; the shell ends */
	ENGINE_EV_ALONE_WITH_SAME_NAME, /* nobody here uses our secret, but another network of this name is there */
	ENGINE_EV_ADDRESS,     /* ip4 changed (another node has the older claim): set it on the device */
	ENGINE_EV_PONG,	       /* id, peer, way, from (direct), rtt_ms */
	ENGINE_EV_OTHER_FRONT, /* the hub is to be reached by engine_hub_front(), not by the URL that we have */
	ENGINE_EV_MOVED,       /* the NAT maps us to another address: what goes by TCP may be dead, too */
};

struct engine_event {
	enum engine_event_kind kind;
	int code;
	uint64_t id;
	uint8_t ik[32];
	enum engine_way way;
	struct addr from;
	bool by_link; /* by the relay, over the hub's link */
	bool by_home; /* by our home relay, which is not the hub's */
	uint32_t rtt_ms;
};

struct engine_drops {
	uint64_t malformed, unknown_peer, bad_auth, replayed, bad_source, bad_destination, no_route, no_way,
		no_buffer, under_load, link_full;
};

struct engine {
	struct engine_config config;
	struct rng rng;
	struct noise_local local;
	struct cookie_checker cookies;
	struct session_index *index;
	struct session_clock clock;
	uint8_t ik_pk[32], ik_sk[64];
	uint64_t boot;
	struct addr ip4, ip6;
	uint32_t ip4_attempt;
	struct cert cert;
	uint8_t cert_bytes[CERT_MAX];
	size_t cert_len;

	struct engine_peer *peers;
	size_t peer_count;
	/* Another number whenever who is in the network, or online, or what addresses we have may be other than before. */
	uint64_t roster;
	uint64_t last_number;		 /* of a peer */
	struct map by_ik, by_wk, by_tag; /* to struct engine_peer * */
	struct lpm allowed;
	struct pass *pass; /* what is forwarded by the kernel; the shell's, NULL: nothing */

	struct addr hosts[ENGINE_HOSTS];
	size_t host_count;
	struct portmap_view portmap;
	struct candidate_list candidates;
	bool publish_due;
	uint64_t publish_at_ms; /* the record is renewed then */
	struct engine_timestamp {
		uint8_t wk[32], ts[NOISE_TIMESTAMP_LEN];
	} * timestamps; /* restored, until the peer shows up */
	size_t timestamp_count;
	bool timestamps_changed; /* a peer's greatest timestamp is newer than when the shell last reset this */

	/* the hub */
	bool hub_up, welcomed, joined;
	uint32_t hub_spread_ms; /* as the hub's last ping said, for hub_link_spread() */
	struct addr hub_link;	/* where the TLS link goes to */
	uint8_t exporter[ENGINE_EXPORTER];
	char other_front[HUB_URL_TEXT];
	struct addr hub_udp[ENGINE_HUB_UDP];
	size_t hub_udp_count;
	struct stun_client stun[ENGINE_HUB_UDP];
	struct addr reflexive[ENGINE_HUB_UDP]; /* as each hub endpoint last saw us */
	uint64_t stun_at_ms, checked_ms;
	struct verdict verdict; /* of our own NAT, IPv4 */
	struct discover discover;
	uint64_t discovered_ms;	 /* when the last discovery began */
	uint64_t discover_at_ms; /* when the next is to; 0: none */
	unsigned discoveries;	 /* one soon after the other */
	struct lifetime lifetime;
	uint64_t lifetime_at_ms;
	uint32_t discover_sockets[DISCOVER_SOCKETS],
		lifetime_sockets[LIFETIME_SOCKETS]; /* ids, by number; 0: none */
	struct budget budget;
	struct engine_round rounds[ENGINE_ROUNDS];
	uint32_t hub_rtt_ms;
	struct bucket asks;
	struct bucket unbounds; /* heeded: they can be forged, and each is looked for among all peers */
	uint64_t joined_by_ms;	/* publish by then even without STUN's answer */
	struct relay_client relay;
	bool by_link;	  /* the relay is used over the link to the hub: UDP does not get through to it */
	bool link_before; /* it was when that link was lost */
	uint64_t link_from_ms; /* not bound by UDP then or later: over the link; UINT64_MAX: there is none */
	size_t link_bytes;     /* of data in hub_out */
	/* By UDP: when the relay answered last; when it was last needed, 0: not lately; unanswered checks. */
	uint64_t relay_answer_ms, relay_used_ms, relay_check_ms;
	unsigned relay_checks;
	uint64_t relay_stray_ms; /* data came over the link though we are bound by UDP */

	/* engine_away.c: relays other than the hub's */
	struct engine_away aways[ENGINE_AWAYS];
	size_t away_count;
	struct engine_away *home, *next_home; /* NULL: the hub's; and what home becomes once bound */
	uint8_t ticket[RELAY_TICKET], ticket_token[RELAY_TOKEN];
	bool measured_aways;
	unsigned probes_of_aways;
	uint64_t measure_aways_ms;
	uint32_t hub_relay_rtt_ms;
	bool hub_relay_rtt_known;
	struct engine_asked hub_relay_asked;

	/* load measure for cookies: handshakes seen in this second */
	uint64_t load_second_ms, load_until_ms;
	uint32_t load_count;

	/* Extra IPv4 sockets (struct pkt's `socket`): the id in use in each slot, 0: free. An id is
	 * generation * 1024 + slot + 1, so a slot's next id is another one. The shell opens a socket when something is
	 * first sent by its id; the engine says by `sockets_changed` that some ids are in use no more. */
	uint32_t sockets[ENGINE_SOCKETS];
	const void *socket_owners[ENGINE_SOCKETS]; /* only to be compared with */
	unsigned sockets_used;
	uint32_t socket_generation;
	bool sockets_changed;

	struct pkt_list udp_out, tun_out, hub_out;
	struct engine_ping {
		uint64_t id, sent_ms;	      /* sent_ms 0: free */
		const struct engine_peer *to; /* only to be compared with */
	} pings[ENGINE_PINGS];
	unsigned next_ping;
	struct engine_event events[ENGINE_EVENTS];
	unsigned event_head, event_count;
	struct timers peers_due;
	uint64_t due_ms; /* of all that is not a peer's nothing is due before */
	struct engine_drops drops;
	struct engine_counts counts;
	uint64_t log_last_ms;
};

/* 0, -EINVAL or -ENOMEM. `unix_ns` is the wall clock at now_ms. The engine is large: allocate it. */
int engine_init(struct engine *e, const struct engine_config *config, uint64_t now_ms, uint64_t unix_ns);
void engine_free(struct engine *e);

/* --- In. All packets handed in are the engine's from then on. */
void engine_on_datagram(struct engine *e, struct pkt *p, uint64_t now_ms);
void engine_on_tun(struct engine *e, struct pkt *p, uint64_t now_ms);
/* Interface addresses (port 0) of the host, our own device left out; at start and after each change. `moved`: the
 * default route or an address changed, so all mappings are to be measured anew. */
void engine_on_hosts(struct engine *e, const struct addr *addrs, size_t count, bool moved, uint64_t now_ms);
/* Where a visitor may be: not a member, nobody that a stock peer is or leads to, not this host, nor what only this host or
 * its link knows: a gateway must not pass for one of them, nor an owner reach it through us. */
bool engine_is_outside(const struct engine *e, const struct addr *visitor);
/* What the gateways map to us, whenever that changed. */
void engine_on_portmap(struct engine *e, const struct portmap_view *view, uint64_t now_ms);
/* The machine slept: all mappings may be gone: measures and punches anew. */
void engine_on_wake(struct engine *e, uint64_t now_ms);
void engine_on_hub_up(struct engine *e, const uint8_t exporter[static ENGINE_EXPORTER],
		      const struct addr *remote, uint64_t now_ms);
void engine_on_hub_message(struct engine *e, const uint8_t *msg, size_t len, uint64_t now_ms);
/* For ENGINE_EV_OTHER_FRONT. */
const char *engine_hub_front(const struct engine *e);
void engine_on_hub_down(struct engine *e, uint64_t now_ms);
/* A datagram that the hub relayed over the link: of a run (relay_frame.h). */
void engine_on_link_datagram(struct engine *e, struct pkt *p, uint32_t session, uint64_t now_ms);
/* The next of hub_out; NULL: there is none. Data may be dropped where the link is full, the rest must not be. */
struct pkt *engine_next_link_message(struct engine *e, bool *is_data);
/* The wall clock at now_ms, at least every minute. */
void engine_set_wall(struct engine *e, uint64_t now_ms, uint64_t unix_ns);
void engine_tick(struct engine *e, uint64_t now_ms);
uint64_t engine_deadline(const struct engine *e);
bool engine_next_event(struct engine *e, struct engine_event *out);

/* Routers up to and with the outermost NAT (0: unknown), and whether it is a carrier's: nat/hops.h. */
void engine_on_hops(struct engine *e, unsigned depth, bool cgnat);

/* --- Data in bulk, both ways: a call before and, of what came in, one after the work that needs no engine. */
/* How a datagram came: directly from `from` to our `socket`, or through the relay in session `relay_session`. */
struct engine_origin {
	struct addr from;
	uint32_t socket;
	uint32_t relay_session; /* 0: direct */
	bool by_link;		/* relayed over the link to the hub */
};
/* Where messages go. */
struct engine_target {
	struct addr addr;
	uint32_t socket;
	uint32_t relay_session; /* not 0: relay_client_header() in front of each, */
	bool by_link;		/* or relay_client_run_header() in front of many, then engine_link_run() */
	bool singly;		/* in no train: core/gaps.h */
};
/* IP packets for one destination that are about to be sent. */
struct engine_burst {
	const struct ip_view *ip; /* of the first, */
	const uint8_t *packet;	  /* which may be a superframe */
	bool one_flow;		  /* all have its protocol, addresses and ports */
	unsigned count;
	size_t largest, bytes; /* of the largest one, of all */
};
struct engine_out {
	struct sealer sealer; /* for `count` packets; wipe it */
	struct engine_target to;
};
/* 0: seal and send them. -EHOSTUNREACH: drop them (counted). -EAGAIN: not so; hand each to engine_on_tun(): there are no
 * keys or no way yet, or the path carries no packets of that size. -EXDEV: ask for each flow alone. */
int engine_out_begin(struct engine *e, const struct engine_burst *b, uint64_t now_ms, struct engine_out *out);
/* Sends a run of at most RELAY_RUN_MAX bytes over the link. */
void engine_link_run(struct engine *e, const void *run, size_t len);
/* Data messages of one receiver index and origin that came in. */
struct engine_in {
	uint32_t receiver;
	struct engine_origin origin;
	unsigned failed; /* to authenticate, since the last engine_in_end() */
};
/* 0; or a negative errno: drop them (counted). */
int engine_in_begin(struct engine *e, const struct engine_in *in, uint64_t now_ms, struct opener *out);
/* What was opened, in order. What is not for the TUN device (refused, or the engine's own) gets data = NULL, the others
 * the length of their IP packet. */
void engine_in_end(struct engine *e, const struct engine_in *in, struct opened *list, unsigned count,
		   uint64_t now_ms);

/* --- Asked by a person. */
struct engine_peer *engine_find_peer(struct engine *e, const char *name_or_address);
/* Sends an in-tunnel ping; its pong comes as ENGINE_EV_PONG with this id. -ENOTSUP for stock peers. */
int engine_ping(struct engine *e, struct engine_peer *ep, uint64_t id, uint64_t now_ms);

/* A stock WireGuard peer, set by hand. */
struct engine_wg_peer {
	char name[PEER_NAME];
	uint8_t pk[32], psk[32];
	bool has_psk;
	struct addr endpoint; /* ADDR_NONE: it calls us */
	struct {
		struct addr prefix;
		uint8_t bits;
	} allowed[16];
	unsigned allowed_count;
	uint16_t keepalive_s;
};
/* -EEXIST for a known key or name, -EINVAL for a bad key, -ENOSPC. */
int engine_add_wg(struct engine *e, const struct engine_wg_peer *wg, uint64_t now_ms);
int engine_remove_wg(struct engine *e, const char *name); /* -ENOENT */

/* --- Looked at. */
enum engine_way engine_way(const struct engine_peer *ep, const struct engine *e);
/* Whether what is relayed to the peer goes by its home relay (ep->away.at), else by the hub's. */
bool engine_away_is_used(const struct engine_peer *ep);
/* ENGINE_KINDS: there is no way. */
enum engine_kind engine_kind(const struct engine_peer *ep, const struct engine *e);
/* By what kind of path something came. */
enum engine_kind engine_kind_of_origin(const struct engine_origin *origin);
/* Whether data for the peer goes in trains: core/gaps.h. */
bool engine_uses_trains(const struct engine_peer *ep, uint64_t now_ms);
/* The address we have behind the NAT as the hub sees it; ADDR_NONE while unknown. */
const struct addr *engine_reflexive(const struct engine *e);
/* What is to be tried with this peer, given what both NATs are known to do, and why. */
struct technique_plan engine_expected(const struct engine *e, const struct engine_peer *ep);
/* What the next attempt at a direct path waits for. */
enum engine_wait {
	ENGINE_WAIT_NOTHING, /* there will be none: the path is direct, or the peer a stock one */
	ENGINE_WAIT_END,     /* one is under way */
	ENGINE_WAIT_TIME,    /* at_ms, if traffic still flows then */
	ENGINE_WAIT_TRAFFIC, /* something that is sent; then at_ms */
	ENGINE_WAIT_HUB,     /* the hub to be connected */
	ENGINE_WAIT_PEER,    /* the peer to be online */
	ENGINE_WAIT_BUDGET,  /* at_ms: so many probes wait for answers that no more may be sent before */
};
struct engine_next {
	enum engine_wait wait;
	enum technique technique; /* TECHNIQUE_NONE with ENGINE_WAIT_NOTHING */
	uint64_t at_ms;		  /* now_ms or later */
};
struct engine_next engine_next_attempt(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms);
/* Whether the last attempt brought no direct path. */
bool engine_last_failed(const struct engine_peer *ep);
/* How often the mapping to the hub is kept open: by its measured lifetime, once that is known. */
uint32_t engine_keepalive_ms(const struct engine *e);
/* Peers are linked: e->peers, ep->next. Timestamps to keep on disk: session_peer_timestamp(&ep->peer.session), by wk. */
int engine_restore_timestamp(struct engine *e, const uint8_t wk[static 32],
			     const uint8_t ts[static NOISE_TIMESTAMP_LEN]);

#endif
