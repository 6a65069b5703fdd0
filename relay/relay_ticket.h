/* What lets a node use a relay that knows nobody (`p2phub serve --relay-only`): the hub gives each member a ticket under a
 * key that it shares with its relays. A relay keeps nothing but who is there now; it learns neither keys nor names.
 *
 * Layout: network(16) node(16) not_after LE64 (Unix seconds) mac(16) = BLAKE2s-16(key, "p2pd1/relay-ticket" || the bytes
 * before). With it goes a token, which the hub tells the node alone and the relay computes: BLAKE2s-32(key,
 * "p2pd1/relay-token" || the same bytes). The tags: BLAKE2s-16(netid, "p2pd1/relay-network") and BLAKE2s-16(netid,
 * "p2pd1/relay-node" || ik), so that members know each other's, and nobody else. Pure. */
#ifndef P2PD_RELAY_RELAY_TICKET_H
#define P2PD_RELAY_RELAY_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay/relay_wire.h"

enum {
	RELAY_KEY = 32,
	RELAY_TICKET_DAYS = 30, /* as long as a certificate; a new one comes with each login */
};

void relay_ticket_node(uint8_t tag[static RELAY_TAG], const uint8_t netid[static 32],
		       const uint8_t ik[static 32]);
void relay_ticket_issue(uint8_t ticket[static RELAY_TICKET], uint8_t token[static RELAY_TOKEN],
			const uint8_t key[static RELAY_KEY], const uint8_t netid[static 32],
			const uint8_t ik[static 32], uint64_t not_after);
/* True for a genuine one that is still good; then `token` is its token. */
bool relay_ticket_check(const uint8_t ticket[static RELAY_TICKET], const uint8_t key[static RELAY_KEY],
			uint64_t unix_s, uint8_t token[static RELAY_TOKEN]);

#endif
