/* A node's binding at one relay: runs the three-way handshake, refreshes it, and does it again when the relay says
 * "unbound" or our address changed. Pure: embed by value; zeroed memory is idle.
 * Timers: retry after 250 ms doubling to 4 s; refresh every 60 s while bound (the relay forgets after 5 min). */
#ifndef P2PD_RELAY_RELAY_CLIENT_H
#define P2PD_RELAY_RELAY_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "relay/relay_wire.h"

enum relay_client_state { RELAY_IDLE, RELAY_BINDING, RELAY_PROVING, RELAY_IS_BOUND };

struct relay_client {
	enum relay_client_state state;
	bool was_bound; /* data may be sent: bound, or bound until a refresh that has not failed yet */
	bool has_mac;	/* `mac` is of a challenge of this round */
	struct addr server;
	uint32_t slot; /* 0: a guest's, until it is bound */
	bool guest;
	uint8_t ticket[RELAY_TICKET]; /* of a guest */
	uint8_t token[RELAY_TOKEN], mac[RELAY_MAC];
	uint64_t next_ms, began_ms;
	uint8_t tries, proofs; /* messages of this round; proofs of this challenge */
};

enum {
	RELAY_CLIENT_MESSAGE_MAX = RELAY_ADMIT_LEN,
	RELAY_RETRY_FIRST_MS = 250,
	RELAY_RETRY_MAX_MS = 4000,
	RELAY_GIVE_UP_TRIES = 5, /* 7.75 s */
	RELAY_MAX_PROOFS = 2,
	RELAY_REFRESH_MS = 60000,
	RELAY_REBIND_GAP_MS = 200,
};

/* With the binding that it has already (the hub's link came back), this is a rebind: data goes on. */
void relay_client_start(struct relay_client *c, const struct addr *server, uint32_t slot,
			const uint8_t token[static RELAY_TOKEN], uint64_t now_ms);
/* The same at a relay that takes us as a guest: relay_ticket.h. */
void relay_client_start_guest(struct relay_client *c, const struct addr *server,
			      const uint8_t ticket[static RELAY_TICKET],
			      const uint8_t token[static RELAY_TOKEN], uint64_t now_ms);
/* Once bound as a guest: asks for the session with the member of this tag; what relay_client_joined() reads answers. */
void relay_client_join(const struct relay_client *c, const uint8_t tag[static RELAY_TAG],
		       uint8_t out[static RELAY_JOIN_LEN]);
/* True if that is the answer, from this relay: session 0 says that the member is not there. */
bool relay_client_joined(const struct relay_client *c, const uint8_t *msg, size_t len,
			 const struct addr *from, const uint8_t **tag, uint32_t *session);
void relay_client_stop(struct relay_client *c);
/* Binds anew at once, at most once in 200 ms (an "unbound" can be forged): sooner, it is put off until then. */
void relay_client_rebind(struct relay_client *c, uint64_t now_ms);
/* A 0x82 message from the server's address. True if it was used. "Unbound" makes it bind anew; as the session may be
 * what the relay does not know, the owner also asks the hub for that session again (RelayOpen). */
bool relay_client_on_message(struct relay_client *c, const uint8_t *msg, size_t len, const struct addr *from,
			     uint64_t now_ms);
/* The next due message, its length; 0 for none. */
size_t relay_client_next(struct relay_client *c, uint64_t now_ms,
			 uint8_t out[static RELAY_CLIENT_MESSAGE_MAX]);
uint64_t relay_client_deadline(const struct relay_client *c);
/* Data may be sent. A rebind leaves this true until it has failed for 7.75 s. */
bool relay_client_bound(const struct relay_client *c);
/* A bind that changes nothing: that it is answered (on_message gives true) tells that datagrams get there and back. */
void relay_client_check(const struct relay_client *c, uint8_t out[static RELAY_BIND_LEN]);
/* Datagrams get there no more: not bound until a new binding succeeds, which is tried from now on. */
void relay_client_lose(struct relay_client *c, uint64_t now_ms);
/* Puts the data header in front: msg[0..8) before a datagram. */
void relay_client_header(uint8_t header[static RELAY_HEADER], uint32_t session);
/* The same in front of datagrams that go over the link: a run of `stride` bytes each, the last may be shorter. */
void relay_client_run_header(uint8_t header[static RELAY_RUN_HEADER], uint32_t session, size_t stride);

#endif
