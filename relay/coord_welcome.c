/* What a node is told once it has logged in. */
#include "relay/coord_internal.h"

enum { ENDPOINTS = 8 };

struct endpoints {
	Link__UdpEndpoint list[ENDPOINTS], *pointers[ENDPOINTS];
};

static Link__UdpEndpoint **encode_endpoints(struct endpoints *out, const struct addr *addrs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct addr *a = &addrs[i];
		link__udp_endpoint__init(&out->list[i]);
		out->list[i].ip = coord_bytes(a->ip, a->family == ADDR_NONE ? 0
						     : a->family == ADDR_V4 ? 4
									    : 16);
		out->list[i].port = a->port;
		out->pointers[i] = &out->list[i];
	}
	return out->pointers;
}

void coord_send_welcome(struct coord *c, struct conn *k, uint64_t unix_s)
{
	const struct member *m = k->member;
	uint8_t ticket[RELAY_TICKET], token[RELAY_TOKEN];
	struct endpoints udp, relays;
	Link__Welcome welcome = LINK__WELCOME__INIT;
	Link__ToNode msg = LINK__TO_NODE__INIT;

	welcome.udp = encode_endpoints(&udp, c->config.udp, c->config.udp_count);
	welcome.n_udp = c->config.udp_count;
	welcome.bind_slot = m->slot;
	welcome.bind_token = coord_bytes(m->token, sizeof m->token);
	welcome.members = m->network->online - 1;
	welcome.same_name_elsewhere = roster_name_elsewhere(&c->roster, m->network);
	if (c->config.relay_count) {
		relay_ticket_issue(ticket, token, c->config.relay_key, m->key.netid, m->key.ik,
				   unix_s + RELAY_TICKET_DAYS * 86400);
		welcome.relays = encode_endpoints(&relays, c->config.relays, c->config.relay_count);
		welcome.n_relays = c->config.relay_count;
		welcome.ticket = coord_bytes(ticket, sizeof ticket);
		welcome.ticket_token = coord_bytes(token, sizeof token);
	}
	msg.body_case = LINK__TO_NODE__BODY_WELCOME;
	msg.welcome = &welcome;
	coord_send(c, k, &msg);
	crypto_wipe(token, sizeof token);
}
