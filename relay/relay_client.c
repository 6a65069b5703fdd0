#include "relay/relay_client.h"

#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"

static void begin(struct relay_client *c, uint64_t at_ms)
{
	c->state = RELAY_BINDING;
	c->has_mac = false;
	c->tries = c->proofs = 0;
	c->next_ms = at_ms;
	c->began_ms = at_ms;
}

void relay_client_start(struct relay_client *c, const struct addr *server, uint32_t slot,
			const uint8_t token[static RELAY_TOKEN], uint64_t now_ms)
{
	if (c->state != RELAY_IDLE && c->slot == slot && addr_equal(&c->server, server) &&
	    crypto_equal(c->token, token, RELAY_TOKEN)) {
		relay_client_rebind(c, now_ms);
		return;
	}
	*c = (struct relay_client) { .server = *server, .slot = slot };
	memcpy(c->token, token, RELAY_TOKEN);
	begin(c, now_ms);
}

void relay_client_start_guest(struct relay_client *c, const struct addr *server,
			      const uint8_t ticket[static RELAY_TICKET],
			      const uint8_t token[static RELAY_TOKEN], uint64_t now_ms)
{
	*c = (struct relay_client) { .server = *server, .guest = true };
	memcpy(c->ticket, ticket, RELAY_TICKET);
	memcpy(c->token, token, RELAY_TOKEN);
	begin(c, now_ms);
}

void relay_client_stop(struct relay_client *c)
{
	crypto_wipe(c, sizeof *c);
}

void relay_client_rebind(struct relay_client *c, uint64_t now_ms)
{
	bool put_off_already = c->began_ms > now_ms;

	if (c->state == RELAY_IDLE || put_off_already)
		return;
	uint64_t earliest = c->began_ms + RELAY_REBIND_GAP_MS;
	begin(c, now_ms > earliest ? now_ms : earliest);
}

/* A guest asks anew each time: the relay may have forgotten its slot. */
static uint32_t asked_slot(const struct relay_client *c)
{
	return c->guest ? 0 : c->slot;
}

static void proof_of(const struct relay_client *c, uint8_t out[static RELAY_MAC])
{
	uint8_t slot[4];

	store_le32(slot, asked_slot(c));
	crypto_blake2s(out, RELAY_MAC, c->token, RELAY_TOKEN,
		       (struct part[]) { { slot, sizeof slot }, { c->mac, RELAY_MAC } }, 2);
}

/* A challenge cannot be told from a forged one; a wrong one costs one proof and, after a timeout, a new bind. */
static bool on_challenge(struct relay_client *c, const uint8_t *msg, uint64_t now_ms)
{
	/* It answers a check. */
	if (c->state != RELAY_BINDING)
		return true;
	memcpy(c->mac, msg + RELAY_HEADER, RELAY_MAC);
	c->has_mac = true;
	c->proofs = 0;
	c->state = RELAY_PROVING;
	c->next_ms = now_ms;
	return true;
}

/* Counts also after the proof timed out and a new bind went out: the round trip may be longer than the retry. */
static bool on_bound(struct relay_client *c, const uint8_t *msg, uint64_t now_ms)
{
	uint8_t want[RELAY_MAC];

	if (!c->has_mac)
		return false;
	crypto_blake2s(want, sizeof want, c->token, RELAY_TOKEN,
		       (struct part[]) { { "bound", 5 }, { c->mac, RELAY_MAC } }, 2);
	if (!crypto_equal(want, msg + RELAY_HEADER, sizeof want))
		return false;
	if (c->guest)
		c->slot = load_le32(msg + 4);
	c->state = RELAY_IS_BOUND;
	c->was_bound = true;
	c->has_mac = false;
	c->next_ms = now_ms + RELAY_REFRESH_MS;
	return true;
}

/* Only from rest: data sent while a rebind is under way brings more of these, which must not start it over. */
static bool on_unbound(struct relay_client *c, uint64_t now_ms)
{
	if (c->state == RELAY_IS_BOUND)
		relay_client_rebind(c, now_ms);
	return true;
}

bool relay_client_on_message(struct relay_client *c, const uint8_t *msg, size_t len, const struct addr *from,
			     uint64_t now_ms)
{
	if (c->state == RELAY_IDLE || len < RELAY_HEADER || msg[0] != RELAY_CONTROL || msg[2] || msg[3])
		return false;
	if (!addr_equal(from, &c->server))
		return false;
	if (msg[1] == RELAY_UNBOUND)
		return len == RELAY_UNBOUND_LEN && on_unbound(c, now_ms);
	if (load_le32(msg + 4) != asked_slot(c) && !(c->guest && msg[1] == RELAY_BOUND))
		return false;
	if (msg[1] == RELAY_CHALLENGE)
		return len == RELAY_CHALLENGE_LEN && on_challenge(c, msg, now_ms);
	if (msg[1] == RELAY_BOUND)
		return len == RELAY_BOUND_LEN && on_bound(c, msg, now_ms);
	return false;
}

/* A timer ran out: a refresh begins, or proofs that were not answered give way to a new bind (the challenge may be
 * forged, too old, or of a relay that started anew). */
static void on_due(struct relay_client *c, uint64_t now_ms)
{
	if (c->state == RELAY_IS_BOUND)
		begin(c, now_ms);
	else if (c->state == RELAY_PROVING && c->proofs == RELAY_MAX_PROOFS)
		c->state = RELAY_BINDING;
	if (c->tries == RELAY_GIVE_UP_TRIES)
		c->was_bound = false;
}

static uint32_t retry_gap(const struct relay_client *c)
{
	uint32_t gap = RELAY_RETRY_FIRST_MS << c->tries;

	return gap < RELAY_RETRY_MAX_MS ? gap : RELAY_RETRY_MAX_MS;
}

void relay_client_check(const struct relay_client *c, uint8_t out[static RELAY_BIND_LEN])
{
	memset(out, 0, RELAY_BIND_LEN);
	out[0] = RELAY_CONTROL;
	out[1] = RELAY_BIND;
	store_le32(out + 4, asked_slot(c));
}

size_t relay_client_next(struct relay_client *c, uint64_t now_ms,
			 uint8_t out[static RELAY_CLIENT_MESSAGE_MAX])
{
	if (c->state == RELAY_IDLE || now_ms < c->next_ms)
		return 0;
	on_due(c, now_ms);
	c->next_ms = now_ms + retry_gap(c);
	if (c->tries < RELAY_GIVE_UP_TRIES)
		c->tries++;
	memset(out, 0, RELAY_CLIENT_MESSAGE_MAX);
	relay_client_check(c, out);
	if (c->state == RELAY_BINDING)
		return RELAY_BIND_LEN;
	out[1] = RELAY_PROVE;
	memcpy(out + RELAY_HEADER, c->mac, RELAY_MAC);
	proof_of(c, out + RELAY_HEADER + RELAY_MAC);
	c->proofs++;
	if (!c->guest)
		return RELAY_PROVE_LEN;
	out[1] = RELAY_ADMIT;
	memcpy(out + RELAY_PROVE_LEN, c->ticket, RELAY_TICKET);
	return RELAY_ADMIT_LEN;
}

void relay_client_join(const struct relay_client *c, const uint8_t tag[static RELAY_TAG],
		       uint8_t out[static RELAY_JOIN_LEN])
{
	memset(out, 0, RELAY_HEADER);
	out[0] = RELAY_CONTROL;
	out[1] = RELAY_JOIN;
	store_le32(out + 4, c->slot);
	memcpy(out + RELAY_HEADER, tag, RELAY_TAG);
}

bool relay_client_joined(const struct relay_client *c, const uint8_t *msg, size_t len,
			 const struct addr *from, const uint8_t **tag, uint32_t *session)
{
	if (!c->guest || c->state == RELAY_IDLE || len != RELAY_JOINED_LEN || msg[0] != RELAY_CONTROL ||
	    msg[1] != RELAY_JOINED || msg[2] || msg[3] || !addr_equal(from, &c->server))
		return false;
	*session = load_le32(msg + 4);
	*tag = msg + RELAY_HEADER;
	return true;
}

void relay_client_lose(struct relay_client *c, uint64_t now_ms)
{
	if (c->state == RELAY_IDLE)
		return;
	c->was_bound = false;
	begin(c, now_ms);
}

uint64_t relay_client_deadline(const struct relay_client *c)
{
	return c->state == RELAY_IDLE ? UINT64_MAX : c->next_ms;
}

bool relay_client_bound(const struct relay_client *c)
{
	return c->state == RELAY_IS_BOUND || c->was_bound;
}

void relay_client_header(uint8_t header[static RELAY_HEADER], uint32_t session)
{
	memset(header, 0, RELAY_HEADER);
	header[0] = RELAY_DATA;
	store_le32(header + 4, session);
}

void relay_client_run_header(uint8_t header[static RELAY_RUN_HEADER], uint32_t session, size_t stride)
{
	memset(header, 0, RELAY_RUN_HEADER);
	header[0] = RELAY_DATA;
	store_le32(header + 4, session);
	store_le16(header + 8, (uint16_t)stride);
}
