/* What the bodies of the engine share with each other and with nobody else. */
#ifndef P2PD_APPS_P2PD_ENGINE_INTERNAL_H
#define P2PD_APPS_P2PD_ENGINE_INTERNAL_H

#include "apps/p2pd/engine.h"

/* engine.c */
/* Something of this peer changed: look at its deadline anew. */
void engine_touch(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
/* Something that is not a peer's is due at `at_ms`. */
void engine_due(struct engine *e, uint64_t at_ms);
void engine_event(struct engine *e, const struct engine_event *ev);
uint64_t engine_unix_s(const struct engine *e, uint64_t now_ms);

/* engine_peers.c */
struct engine_peer *engine_peer_by_ik(struct engine *e, const uint8_t ik[static 32]);
struct engine_peer *engine_peer_by_wk(struct engine *e, const uint8_t wk[static 32]);
struct engine_peer *engine_peer_by_tag(struct engine *e, const uint8_t tag[static PROBE_TAG]);
/* A verified record of another node: makes the peer or brings it up to date. NULL when there are too many. */
struct engine_peer *engine_peer_learn(struct engine *e, const struct record *r, uint64_t now_ms);
/* Issues our certificate for e->ip4 (at start, when the address changes, when it grows old). */
int engine_issue_cert(struct engine *e, uint64_t now_ms);
void engine_peers_free(struct engine *e);

/* engine_data.c */
/* There is something to send to the peer: sees to a path. */
void engine_want(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
/* Where data for the peer goes now, and notes that it does; false: nowhere. */
bool engine_aim(struct engine *e, struct engine_peer *ep, struct engine_target *to, uint64_t now_ms);
/* Whether data goes in trains by the way that the peer is reached now. */
struct gaps_choice *engine_gaps(struct engine_peer *ep);
/* Packets for the peer were sealed. */
void engine_count_sent(struct engine *e, struct engine_peer *ep, unsigned packets, size_t bytes);
void engine_learn_origin(const struct engine *e, struct engine_peer *ep, const struct engine_origin *origin);

/* engine_pass.c */
/* The gateway that takes a packet of ours to outside the overlay; NULL: none does. */
struct engine_peer *engine_pass_out(struct engine *e, const struct ip_view *ip, const uint8_t *packet);
/* Addresses that were looked up last, and what was found: packets of a train mostly have the same. */
struct engine_seen {
	uint8_t family;
	uint8_t ip[16];
	bool yes;
};
static inline bool engine_is_seen(const struct engine_seen *s, enum addr_family family, const uint8_t *ip)
{
	return s->family == family && ip_same(family, s->ip, ip);
}
void engine_see(struct engine_seen *s, enum addr_family family, const uint8_t *ip, bool yes);
/* Whether a packet from a peer of our own kind passes though its source is not the peer's (`owned` is false) or its
 * destination not ours. `outside` is about the other address than the peer's or ours. */
bool engine_pass_in(struct engine *e, const struct engine_peer *ep, const struct ip_view *ip,
		    const uint8_t *packet, bool owned, struct engine_seen *outside);

/* engine_relay.c */
bool engine_relay_is_up(const struct engine *e);
bool engine_is_relay(const struct engine *e, const struct addr *from);
/* A datagram to a peer's relay session. Consumes. */
void engine_push_relayed(struct engine *e, struct pkt *p, const struct engine_target *to);
void engine_relay_on_welcome(struct engine *e, uint32_t slot, const uint8_t token[static RELAY_TOKEN],
			     uint64_t now_ms);
void engine_relay_on_hub_down(struct engine *e, uint64_t now_ms);
/* It carries something by UDP, or may have to soon. */
void engine_relay_used(struct engine *e, uint64_t now_ms);
/* Authenticated data came through it. */
void engine_relay_on_data(struct engine *e, bool by_link, uint64_t now_ms);
void engine_on_relay_control(struct engine *e, const struct pkt *p, uint64_t now_ms);
void engine_run_relay(struct engine *e, uint64_t now_ms);
uint64_t engine_relay_deadline(const struct engine *e);

/* engine_away.c */
/* The hub names none. */
void engine_aways_forget(struct engine *e, uint64_t now_ms);
/* What the hub names. */
void engine_aways_on_welcome(struct engine *e, const struct addr *relays, size_t count,
			     const uint8_t ticket[static RELAY_TICKET],
			     const uint8_t token[static RELAY_TOKEN], uint64_t now_ms);
/* NULL: none of them is there. */
const struct engine_away *engine_away_at(const struct engine *e, const struct addr *at);
/* The network changed, or one of them failed: measures and chooses anew, soon. */
void engine_aways_measure(struct engine *e, uint64_t now_ms);
/* `msg` goes to a relay: if that answers it with a challenge, it counts for how far away it is. */
void engine_away_ask(struct engine_asked *q, const uint8_t *msg, uint64_t now_ms);
/* The hub's relay sent a challenge. */
void engine_away_on_hub_answer(struct engine *e, uint64_t now_ms);
void engine_run_aways(struct engine *e, uint64_t now_ms);
uint64_t engine_aways_deadline(const struct engine *e);
/* The peer's home may be another. */
void engine_away_of_peer(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
void engine_run_peer_away(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
uint64_t engine_peer_away_deadline(const struct engine_peer *ep, uint64_t now_ms);
/* True if it came from one of them. */
bool engine_away_on_control(struct engine *e, const struct pkt *p, uint64_t now_ms);
/* True if it answers a ping of ours by the peer's home. */
bool engine_away_on_pong(struct engine *e, struct engine_peer *ep, uint64_t id, uint64_t now_ms);

/* engine_rx.c */
/* A control message that came through the tunnel. */
void engine_on_control(struct engine *e, struct engine_peer *ep, const uint8_t *msg, size_t len,
		       const struct engine_origin *origin, uint64_t now_ms);

/* engine_tx.c */
/* Sends an IP packet or control message (owned from here on) to the peer, or keeps it until that is possible. */
void engine_send(struct engine *e, struct engine_peer *ep, struct pkt *p, uint64_t now_ms);
/* A control message to a peer that there is a way and a session to; else it is lost. Is no traffic that keeps a path. */
void engine_send_control(struct engine *e, struct engine_peer *ep, const void *msg, size_t len,
			 uint64_t now_ms);
/* The same by this way. True if it was sent. */
bool engine_send_control_to(struct engine *e, struct engine_peer *ep, const void *msg, size_t len,
			    const struct engine_target *to, uint64_t now_ms);
void engine_flush_staged(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
/* Sends what the session has to say of itself. */
void engine_run_session(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
/* The same for a peer that there is no way to: old keys and packets that have waited too long go. */
void engine_expire(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
uint64_t engine_expiry(const struct engine_peer *ep);
/* A copy of `msg` as a datagram straight to an address, from one of our sockets (0: the main one). The datagram, on its
 * way already, or NULL. */
struct pkt *engine_emit(struct engine *e, const void *msg, size_t len, const struct addr *to, uint32_t socket,
			uint8_t ttl);
/* A copy of a WireGuard message back to where another one came from. */
void engine_reply(struct engine *e, const void *msg, size_t len, const struct engine_origin *origin);
void engine_send_ping(struct engine *e, struct engine_peer *ep, struct path *path, uint8_t ttl,
		      uint64_t now_ms);

/* engine_sockets.c */
/* Takes an extra socket; 0 when there is none. */
uint32_t engine_socket_open(struct engine *e, const void *owner);
void engine_socket_close(struct engine *e, uint32_t id);
unsigned engine_sockets_free(const struct engine *e);
/* Closes a peer's sockets that carry no path of it, unless a round is under way; or all of them. What they carried is
 * forgotten. */
void engine_sockets_sweep(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
void engine_sockets_drop(struct engine *e, struct engine_peer *ep);
/* Closes what lingered, and the socket of a path that has been idle for long. */
void engine_sockets_run(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
uint64_t engine_sockets_deadline(const struct engine *e, const struct engine_peer *ep);

/* engine_stun.c */
/* The hub's first endpoint of IPv4, and how it sees us; NULL without. */
const struct addr *engine_hub4(const struct engine *e);
const struct addr *engine_reflexive4(const struct engine *e);
void engine_measure(struct engine *e, uint64_t now_ms); /* all anew: mappings, what the NAT does, lifetime */
/* Something does not answer: is our mapping still what it was? At a bounded rate. */
void engine_check_mapping(struct engine *e, uint64_t now_ms);
void engine_run_stun(struct engine *e, uint64_t now_ms);
uint64_t engine_stun_deadline(const struct engine *e);
/* False for what nobody of us awaits. */
bool engine_on_stun(struct engine *e, const struct pkt *p, uint64_t now_ms);

/* engine_nat.c */
void engine_on_probe(struct engine *e, const struct pkt *p, uint64_t now_ms);
void engine_gather(struct engine *e, uint64_t now_ms);
/* Our own packets to there would go into the tunnel. */
bool engine_in_overlay(const struct engine *e, const struct addr *a);

/* engine_punch.c */
/* The peer is wanted: sees to a relay session and a direct path. */
void engine_connect(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
void engine_on_introduction(struct engine *e, struct engine_peer *ep, uint32_t in_ms, uint32_t one_way_ms,
			    uint64_t now_ms);
/* Starts a simultaneous open, IPv4 from `socket`. */
void engine_punch(struct engine *e, struct engine_peer *ep, const struct punch_plan *plan, uint32_t socket,
		  uint64_t now_ms);
bool engine_punching(const struct engine_peer *ep);
/* Whether the budget lets us probe an address that has not answered. */
bool engine_may_probe(struct engine *e, const struct engine_peer *ep, const struct addr *to, uint32_t socket,
		      uint64_t now_ms);
/* Something changed: failed attempts do not count any more, the next may begin at `at_ms`. */
void engine_try_anew(struct engine_peer *ep, uint64_t at_ms);
/* There is a direct path, and there was none. */
void engine_on_direct(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
/* Our public address changed. */
void engine_on_moved(struct engine *e, uint64_t now_ms);
/* What our NAT does is news. */
void engine_on_own_verdict(struct engine *e, uint64_t now_ms);
/* Liveness pings, punching, rounds and new introductions of one peer. */
void engine_run_paths(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
uint64_t engine_paths_deadline(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms);

/* engine_turns.c */
enum { ENGINE_ROUND_GAP_MS = 500 }; /* between rounds with one peer; and when one waits for others' to end */
/* The round under way with the peer, or NULL; for NULL a free one. */
struct engine_round *engine_round_of(const struct engine *e, const struct engine_peer *ep);
struct technique_side engine_side(const struct engine *e); /* ours */
/* One of the two NATs is news: when the next round may begin. How ports are allocated is worth waiting for. */
uint64_t engine_rounds_from(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms);
/* Whether one is to begin at ep->round_at_ms. */
bool engine_round_due(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms);
/* Other peers' rounds have all tuples, or most sockets: one more could only fail. */
bool engine_rounds_are_full(const struct engine *e, uint64_t now_ms);
/* The peer began one: whether we take part. */
bool engine_round_may_join(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms);
/* Whether the peer has some of its share of the budget left for a round; a probe of one goes out. */
bool engine_has_share(const struct engine_peer *ep, uint64_t now_ms);
void engine_take_share(struct engine_peer *ep, uint64_t now_ms);
/* A round ended: sets when the next may begin. */
void engine_round_schedule(struct engine_peer *ep, enum engine_outcome outcome, uint64_t now_ms);
/* A simultaneous open failed; after several the port changes, and the old one is silent. */
void engine_punch_failed(const struct engine *e, struct engine_peer *ep, uint64_t now_ms);
/* Whether nothing may go from our main port to the peer's. */
bool engine_is_silent(const struct engine_peer *ep, uint64_t now_ms);
/* When the hub may be asked for the next introduction. */
uint64_t engine_introduction_ms(const struct engine_peer *ep);

/* engine_round.c */
/* Begins a round if it is time for one. */
void engine_round_consider(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
void engine_round_run(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
uint64_t engine_round_deadline(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms);
void engine_round_on_offer(struct engine *e, struct engine_peer *ep, const uint8_t *msg, size_t len,
			   uint64_t now_ms);
/* True if the message was the answer to a round's request. */
bool engine_round_on_stun(struct engine *e, const struct pkt *p, uint64_t now_ms);
/* The path that the pong proves, or NULL. */
struct path *engine_round_on_pong(struct engine *e, struct engine_peer *ep, const struct addr *from,
				  uint32_t socket, const uint8_t txid[static PROBE_TXID], uint64_t now_ms);
void engine_round_on_direct(struct engine *e, struct engine_peer *ep, uint64_t now_ms);
/* The peer goes: its round ends, its sockets close. */
void engine_round_drop(struct engine *e, struct engine_peer *ep);
/* Writes an attempt into the peer's memory of them, and counts it. */
void engine_attempt(struct engine *e, struct engine_peer *ep, enum technique technique,
		    enum engine_outcome outcome, unsigned probes, uint64_t began_ms, uint64_t now_ms);

/* engine_look.c */
/* The path was proven: remembers what opened it, unless that is known. */
void engine_note_opener(const struct engine *e, const struct engine_peer *ep, struct path *path);
/* Whether it took a technique that needs offers. */
bool engine_opened_by_round(const struct path *path);

/* engine_hub.c */
/* These two ask for nothing when that was done too often lately: whoever still wants it asks again. */
void engine_hub_introduce(struct engine *e, const uint8_t ik[static 32], uint64_t now_ms);
void engine_hub_relay_open(struct engine *e, const uint8_t ik[static 32], uint64_t now_ms);
/* Publishes our record when that is due. */
void engine_run_publish(struct engine *e, uint64_t now_ms);
uint64_t engine_publish_deadline(const struct engine *e);

static inline uint64_t engine_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
