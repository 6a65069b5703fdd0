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
	bool was_bound; /* a refresh is under way: data may be sent meanwhile */
	struct addr server;
	uint32_t slot;
	uint8_t token[RELAY_TOKEN], mac[RELAY_MAC];
	uint64_t next_ms;
	uint32_t backoff_ms;
};

void relay_client_start(struct relay_client *c, const struct addr *server, uint32_t slot,
			const uint8_t token[static RELAY_TOKEN], uint64_t now_ms);
void relay_client_stop(struct relay_client *c);
/* Binds anew at once, at most once in 200 ms (an "unbound" can be forged). */
void relay_client_rebind(struct relay_client *c, uint64_t now_ms);
/* A 0x82 message from the server's address. True if it was used. */
bool relay_client_on_message(struct relay_client *c, const uint8_t *msg, size_t len, const struct addr *from,
			     uint64_t now_ms);
/* The next due message, its length; 0 for none. */
size_t relay_client_next(struct relay_client *c, uint64_t now_ms, uint8_t out[static RELAY_PROVE_LEN]);
uint64_t relay_client_deadline(const struct relay_client *c);
bool relay_client_bound(const struct relay_client *c);
/* Puts the data header in front: msg[0..8) before a datagram. */
void relay_client_header(uint8_t header[static RELAY_HEADER], uint32_t session);

#endif
