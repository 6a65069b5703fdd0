#include "relay/relay_ticket.h"

#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"

enum { NOT_AFTER = 2 * RELAY_TAG, SIGNED = NOT_AFTER + 8 };
_Static_assert(SIGNED + RELAY_MAC == RELAY_TICKET, "layout");

static void keyed(uint8_t *out, size_t len, const uint8_t key[static RELAY_KEY], const char *label,
		  const void *data, size_t data_len)
{
	crypto_blake2s(out, len, key, RELAY_KEY,
		       (struct part[]) { { label, strlen(label) }, { data, data_len } }, 2);
}

void relay_ticket_node(uint8_t tag[static RELAY_TAG], const uint8_t netid[static 32],
		       const uint8_t ik[static 32])
{
	keyed(tag, RELAY_TAG, netid, "p2pd1/relay-node", ik, 32);
}

static void token_of(uint8_t token[static RELAY_TOKEN], const uint8_t key[static RELAY_KEY],
		     const uint8_t ticket[static RELAY_TICKET])
{
	keyed(token, RELAY_TOKEN, key, "p2pd1/relay-token", ticket, SIGNED);
}

void relay_ticket_issue(uint8_t ticket[static RELAY_TICKET], uint8_t token[static RELAY_TOKEN],
			const uint8_t key[static RELAY_KEY], const uint8_t netid[static 32],
			const uint8_t ik[static 32], uint64_t not_after)
{
	keyed(ticket, RELAY_TAG, netid, "p2pd1/relay-network", NULL, 0);
	relay_ticket_node(ticket + RELAY_TAG, netid, ik);
	store_le64(ticket + NOT_AFTER, not_after);
	keyed(ticket + SIGNED, RELAY_MAC, key, "p2pd1/relay-ticket", ticket, SIGNED);
	token_of(token, key, ticket);
}

bool relay_ticket_check(const uint8_t ticket[static RELAY_TICKET], const uint8_t key[static RELAY_KEY],
			uint64_t unix_s, uint8_t token[static RELAY_TOKEN])
{
	uint8_t want[RELAY_MAC];

	keyed(want, sizeof want, key, "p2pd1/relay-ticket", ticket, SIGNED);
	if (!crypto_equal(want, ticket + SIGNED, sizeof want) || load_le64(ticket + NOT_AFTER) < unix_s)
		return false;
	token_of(token, key, ticket);
	return true;
}
