/* Control messages: challenges, proofs, and guests, who open slots and join sessions by themselves. */
#include "relay/relay_server_impl.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

size_t relay_control(uint8_t *out, uint8_t type, uint32_t id)
{
	out[0] = RELAY_CONTROL;
	out[1] = type;
	store_le16(out + 2, 0);
	store_le32(out + 4, id);
	return RELAY_HEADER;
}

static void challenge_mac(const struct relay_server *r, uint8_t mac[static RELAY_MAC],
			  const struct addr *from, uint32_t slot, uint64_t epoch)
{
	uint8_t number[12];

	store_le32(number, slot);
	store_le64(number + 4, epoch);
	crypto_blake2s(mac, RELAY_MAC, r->secret, sizeof r->secret,
		       (struct part[]) { { from, sizeof *from }, { number, sizeof number } }, 2);
}

static bool challenge_is_ours(const struct relay_server *r, const uint8_t mac[static RELAY_MAC],
			      const struct addr *from, uint32_t slot)
{
	uint64_t epoch = r->now_ms / RELAY_EPOCH_MS;
	uint8_t want[RELAY_MAC];

	for (uint64_t age = 0; age <= 1 && age <= epoch; age++) {
		challenge_mac(r, want, from, slot, epoch - age);
		if (crypto_equal(want, mac, sizeof want))
			return true;
	}
	return false;
}

static enum relay_action on_bind(struct relay_server *r, uint32_t slot, const struct addr *from,
				 uint8_t *reply, size_t *reply_len)
{
	size_t n = relay_control(reply, RELAY_CHALLENGE, slot);

	challenge_mac(r, reply + n, from, slot, r->now_ms / RELAY_EPOCH_MS);
	*reply_len = RELAY_CHALLENGE_LEN;
	r->stats.challenged++;
	return RELAY_REPLY;
}

/* Of a prove or admit, for who has `token`. */
static bool is_proven(struct relay_server *r, const uint8_t *msg, const struct addr *from,
		      const uint8_t token[static RELAY_TOKEN])
{
	const uint8_t *mac = msg + RELAY_HEADER, *proof = mac + RELAY_MAC;
	uint8_t want[RELAY_MAC];

	/* slot and mac stand one after the other in the message. */
	crypto_blake2s(want, sizeof want, token, RELAY_TOKEN, &(struct part) { msg + 4, 4 + RELAY_MAC }, 1);
	if (challenge_is_ours(r, mac, from, load_le32(msg + 4)) && crypto_equal(want, proof, sizeof want))
		return true;
	r->stats.bad_proof++;
	return false;
}

static enum relay_action bind_slot(struct relay_server *r, struct slot *s, const uint8_t *msg,
				   const struct relay_route *route, uint8_t *reply, size_t *reply_len)
{
	const uint8_t *mac = msg + RELAY_HEADER;

	s->bound = *route;
	s->seen_ms = r->now_ms;
	size_t n = relay_control(reply, RELAY_BOUND, s->head.id);
	crypto_blake2s(reply + n, RELAY_MAC, s->token, RELAY_TOKEN,
		       (struct part[]) { { "bound", 5 }, { mac, RELAY_MAC } }, 2);
	*reply_len = RELAY_BOUND_LEN;
	return RELAY_REPLY;
}

/* ---- guests */

void relay_guest_forget(struct relay_server *r, struct slot *s)
{
	struct guest *g = s->guest;

	if (!g)
		return;
	map_remove(&r->guests, g->tags);
	if (--g->network->guests == 0) {
		map_remove(&r->guest_networks, g->tags);
		free(g->network);
	}
	free(g);
	s->guest = NULL;
}

static struct guest_network *guest_network(struct relay_server *r, const uint8_t tag[static RELAY_TAG])
{
	struct guest_network **known = map_find(&r->guest_networks, tag), *n;

	if (known)
		return *known;
	n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	n->id = ++r->last_network;
	if (map_put(&r->guest_networks, tag, &n)) {
		free(n);
		return NULL;
	}
	return n;
}

static struct slot *guest_slot(struct relay_server *r, const uint8_t tags[static 2 * RELAY_TAG],
			       const uint8_t token[static RELAY_TOKEN])
{
	uint32_t *known = map_find(&r->guests, tags);
	struct slot *s = known ? pool_find(&r->slots, *known) : NULL;

	if (s) {
		memcpy(s->token, token, RELAY_TOKEN); /* of another ticket, perhaps */
		return s;
	}
	struct guest_network *n = guest_network(r, tags);
	struct guest *g = n ? calloc(1, sizeof *g) : NULL;
	uint32_t id = g ? relay_slot_open(r, n->id, token) : 0;
	if (!id || map_put(&r->guests, tags, &id)) {
		relay_slot_close(r, id);
		free(g);
		if (n && !n->guests) {
			map_remove(&r->guest_networks, tags);
			free(n);
		}
		return NULL;
	}
	s = pool_find(&r->slots, id);
	memcpy(g->tags, tags, sizeof g->tags);
	g->network = n;
	n->guests++;
	s->guest = g;
	s->use = &g->use;
	s->network_use = &n->use;
	return s;
}

static enum relay_action on_admit(struct relay_server *r, const uint8_t *msg, const struct relay_route *route,
				  uint8_t *reply, size_t *reply_len)
{
	const uint8_t *ticket = msg + RELAY_PROVE_LEN;
	uint8_t token[RELAY_TOKEN];

	/* The challenge first: it is cheap, and bounds who makes us check tickets. */
	if (!challenge_is_ours(r, msg + RELAY_HEADER, &route->node, 0)) {
		r->stats.bad_proof++;
		return RELAY_DROP;
	}
	if (!relay_ticket_check(ticket, r->key, r->unix_s, token)) {
		r->stats.bad_ticket++;
		return RELAY_DROP;
	}
	struct slot *s = is_proven(r, msg, &route->node, token) ? guest_slot(r, ticket, token) : NULL;
	crypto_wipe(token, sizeof token);
	return s ? bind_slot(r, s, msg, route, reply, reply_len) : RELAY_DROP;
}

static enum relay_action on_join(struct relay_server *r, struct slot *s, const uint8_t *msg,
				 const struct relay_route *route, uint8_t *reply, size_t *reply_len)
{
	const uint8_t *tag = msg + RELAY_HEADER;
	uint8_t tags[2 * RELAY_TAG];

	if (!s->guest || !slot_is_bound(s, r->now_ms) || !addr_equal(&s->bound.node, &route->node)) {
		r->stats.unbound++;
		return RELAY_DROP;
	}
	s->seen_ms = r->now_ms;
	memcpy(tags, s->guest->tags, RELAY_TAG);
	memcpy(tags + RELAY_TAG, tag, RELAY_TAG);
	uint32_t *other = map_find(&r->guests, tags);
	size_t n = relay_control(reply, RELAY_JOINED, other ? relay_session_open(r, s->head.id, *other) : 0);
	memcpy(reply + n, tag, RELAY_TAG);
	*reply_len = RELAY_JOINED_LEN;
	return RELAY_REPLY;
}

void relay_server_take_guests(struct relay_server *r, const uint8_t key[static RELAY_KEY])
{
	map_init(&r->guests, 2 * RELAY_TAG, sizeof(uint32_t), r->rng);
	map_init(&r->guest_networks, RELAY_TAG, sizeof(struct guest_network *), r->rng);
	memcpy(r->key, key, RELAY_KEY);
	r->takes_guests = true;
}

void relay_server_tick(struct relay_server *r, uint64_t now_ms, uint64_t unix_s)
{
	r->now_ms = now_ms;
	r->unix_s = unix_s;
	for (uint32_t i = 0; i < r->slots.cap; i++) {
		const struct slot *s = slot_at(r, i);
		if (s->head.id && s->guest && !slot_is_bound(s, now_ms))
			relay_slot_close(r, s->head.id);
	}
}

/* ---- messages */

static bool is_control(const uint8_t *msg, size_t len)
{
	static const uint8_t lengths[] = { [RELAY_BIND] = RELAY_BIND_LEN,
					   [RELAY_PROVE] = RELAY_PROVE_LEN,
					   [RELAY_ADMIT] = RELAY_ADMIT_LEN,
					   [RELAY_JOIN] = RELAY_JOIN_LEN };

	return msg[1] < sizeof lengths && lengths[msg[1]] == len && !msg[2] && !msg[3];
}

enum relay_action relay_on_control(struct relay_server *r, const uint8_t *msg, size_t len,
				   const struct relay_route *route, uint8_t *reply, size_t *reply_len)
{
	if (!is_control(msg, len)) {
		r->stats.malformed++;
		return RELAY_DROP;
	}
	uint32_t id = load_le32(msg + 4);
	struct slot *s = pool_find(&r->slots, id);
	if (r->takes_guests && id == 0 && msg[1] == RELAY_ADMIT)
		return on_admit(r, msg, route, reply, reply_len);
	if (!s && !(r->takes_guests && id == 0 && msg[1] == RELAY_BIND)) {
		r->stats.unknown_slot++;
		return RELAY_DROP;
	}
	if (msg[1] == RELAY_BIND)
		return on_bind(r, id, &route->node, reply, reply_len);
	if (msg[1] == RELAY_JOIN)
		return on_join(r, s, msg, route, reply, reply_len);
	if (msg[1] != RELAY_PROVE || !is_proven(r, msg, &route->node, s->token))
		return RELAY_DROP;
	return bind_slot(r, s, msg, route, reply, reply_len);
}
