#include "relay/relay_server_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "relay/relay_frame.h"

struct relay_server *relay_server_create(size_t max_slots, size_t max_sessions, struct rng *rng)
{
	struct relay_server *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	pool_init(&r->slots, sizeof(struct slot), max_slots);
	pool_init(&r->sessions, sizeof(struct session), max_sessions);
	map_init(&r->pairs, 8, sizeof(uint32_t), rng);
	rng_fill(rng, r->secret, sizeof r->secret);
	r->rng = rng;
	return r;
}

void relay_server_destroy(struct relay_server *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->slots.cap; i++)
		if (slot_at(r, i)->head.id)
			relay_guest_forget(r, slot_at(r, i));
	map_clear(&r->pairs);
	map_clear(&r->guests);
	map_clear(&r->guest_networks);
	free(r->sessions.items);
	if (r->slots.items)
		crypto_wipe(r->slots.items, r->slots.cap * r->slots.size);
	free(r->slots.items);
	crypto_wipe(r, sizeof *r);
	free(r);
}

uint32_t relay_slot_open(struct relay_server *r, uint32_t network, const uint8_t token[static RELAY_TOKEN])
{
	struct slot *s = pool_take(&r->slots, r->rng);

	if (!s)
		return 0;
	s->network = network;
	s->first = RELAY_NO_INDEX;
	memcpy(s->token, token, RELAY_TOKEN);
	return s->head.id;
}

void relay_slot_charge(struct relay_server *r, uint32_t slot, struct quota_user *node,
		       struct quota_user *network)
{
	struct slot *s = pool_find(&r->slots, slot);

	if (!s)
		return;
	s->use = node;
	s->network_use = network;
}

void relay_server_add_used(struct relay_server *r, struct quota_user *use, uint64_t bytes)
{
	quota_add_used(&r->quota, use, bytes);
}

void relay_server_set_quota(struct relay_server *r, const struct quota_limits *limits)
{
	r->quota.limits = *limits;
}

void relay_server_set_month(struct relay_server *r, uint32_t month)
{
	quota_set_month(&r->quota, month);
}

static void pair_key(uint8_t key[static 8], uint32_t a, uint32_t b)
{
	store_le32(key, a < b ? a : b);
	store_le32(key + 4, a < b ? b : a);
}

static void session_link(struct relay_server *r, struct session *s, unsigned side, struct slot *slot)
{
	uint32_t link = pool_index(&r->sessions, s->head.id) * 2 + side;

	s->slot[side] = pool_index(&r->slots, slot->head.id);
	s->prev[side] = RELAY_NO_INDEX;
	s->next[side] = slot->first;
	if (slot->first != RELAY_NO_INDEX)
		session_at(r, slot->first / 2)->prev[slot->first % 2] = link;
	slot->first = link;
}

static void session_unlink(struct relay_server *r, struct session *s, unsigned side)
{
	uint32_t next = s->next[side], prev = s->prev[side];

	if (next != RELAY_NO_INDEX)
		session_at(r, next / 2)->prev[next % 2] = prev;
	if (prev != RELAY_NO_INDEX)
		session_at(r, prev / 2)->next[prev % 2] = next;
	else
		slot_at(r, s->slot[side])->first = next;
}

static void session_close(struct relay_server *r, struct session *s)
{
	uint8_t key[8];

	pair_key(key, slot_at(r, s->slot[0])->head.id, slot_at(r, s->slot[1])->head.id);
	map_remove(&r->pairs, key);
	session_unlink(r, s, 0);
	session_unlink(r, s, 1);
	pool_release(&r->sessions, &s->head);
}

void relay_slot_close(struct relay_server *r, uint32_t slot)
{
	struct slot *s = pool_find(&r->slots, slot);

	if (!s)
		return;
	while (s->first != RELAY_NO_INDEX)
		session_close(r, session_at(r, s->first / 2));
	relay_guest_forget(r, s);
	pool_release(&r->slots, &s->head);
}

uint64_t relay_slot_take_bytes(struct relay_server *r, uint32_t slot)
{
	struct slot *s = pool_find(&r->slots, slot);
	uint64_t bytes = s ? s->bytes : 0;

	if (s)
		s->bytes = 0;
	return bytes;
}

uint32_t relay_session_open(struct relay_server *r, uint32_t slot_a, uint32_t slot_b)
{
	struct slot *a = pool_find(&r->slots, slot_a), *b = pool_find(&r->slots, slot_b);
	uint8_t key[8];

	if (!a || !b || a == b || a->network != b->network)
		return 0;
	pair_key(key, slot_a, slot_b);
	uint32_t *known = map_find(&r->pairs, key);
	if (known)
		return *known;
	struct session *s = pool_take(&r->sessions, r->rng);
	if (!s)
		return 0;
	if (map_put(&r->pairs, key, &s->head.id)) {
		pool_release(&r->sessions, &s->head);
		return 0;
	}
	session_link(r, s, 0, a);
	session_link(r, s, 1, b);
	return s->head.id;
}

static enum relay_action on_unbound(struct relay_server *r, uint32_t session, size_t count, uint8_t *reply,
				    size_t *reply_len)
{
	r->stats.unbound += count;
	if (!bucket_take(&r->unbound, RELAY_UNBOUND_PER_S, RELAY_UNBOUND_PER_S, r->now_ms))
		return RELAY_DROP;
	*reply_len = relay_control(reply, RELAY_UNBOUND, session);
	return RELAY_REPLY;
}

/* The end of the session that `from` is bound as, or NULL. */
static struct slot *sender_of(const struct relay_server *r, const struct session *s, const struct addr *from,
			      struct slot **other)
{
	for (unsigned side = 0; side < 2; side++) {
		struct slot *slot = slot_at(r, s->slot[side]);
		*other = slot_at(r, s->slot[!side]);
		if (slot_is_bound(slot, r->now_ms) && addr_equal(&slot->bound.node, from))
			return slot;
	}
	return NULL;
}

static bool quota_lets(struct relay_server *r, struct slot *from, size_t len, size_t count)
{
	if (!from->use)
		return true;
	switch (quota_take(&r->quota, from->network_use, from->use, len, r->now_ms)) {
	case QUOTA_OK: return true;
	case QUOTA_NODE_RATE:
	case QUOTA_NETWORK_RATE: r->stats.over_rate += count; return false;
	case QUOTA_MONTH: r->stats.over_month += count; return false;
	case QUOTA_SHARE: r->stats.over_share += count; return false;
	}
	return false;
}

/* `count` datagrams of session `s`, `len` bytes with their headers, to this member. */
static enum relay_action forward(struct relay_server *r, const struct session *s, struct slot *from,
				 const struct slot *to, size_t len, size_t count, struct relay_route *route)
{
	if (!to->bound.link && !slot_is_bound(to, r->now_ms)) {
		r->stats.undeliverable += count;
		return RELAY_DROP;
	}
	if (!quota_lets(r, from, len, count))
		return RELAY_DROP;
	*route = to->bound;
	route->second = to == slot_at(r, s->slot[1]);
	r->stats.forwarded += count;
	r->stats.bytes += len;
	from->bytes += len;
	if (to->bound.link) {
		r->stats.link_forwarded += count;
		r->stats.link_bytes += len;
	}
	return RELAY_FORWARD;
}

/* Of `count` datagrams with the header of the first. */
static enum relay_action on_data(struct relay_server *r, const uint8_t *msg, size_t len, size_t count,
				 struct relay_route *route, uint8_t *reply, size_t *reply_len)
{
	if (len <= RELAY_HEADER || msg[1] || msg[2] || msg[3]) {
		r->stats.malformed += count;
		return RELAY_DROP;
	}
	uint32_t id = load_le32(msg + 4);
	struct session *s = pool_find(&r->sessions, id);
	struct slot *other, *sender = s ? sender_of(r, s, &route->node, &other) : NULL;
	if (!sender)
		return on_unbound(r, id, count, reply, reply_len);
	sender->seen_ms = r->now_ms;
	return forward(r, s, sender, other, len, count, route);
}

size_t relay_run(const uint8_t *data, size_t len, size_t stride)
{
	size_t run = len < stride ? len : stride;

	if (run <= RELAY_HEADER || data[0] != RELAY_DATA)
		return run;
	while (len - run > RELAY_HEADER && memcmp(data + run, data, RELAY_HEADER) == 0)
		run += len - run < stride ? len - run : stride;
	return run;
}

enum relay_action relay_server_on_run(struct relay_server *r, const uint8_t *run, size_t len, size_t stride,
				      struct relay_route *route, uint64_t now_ms,
				      uint8_t reply[static RELAY_PROVE_LEN], size_t *reply_len)
{
	r->now_ms = now_ms;
	if (len >= RELAY_HEADER && route->node.family != ADDR_NONE && route->node.port) {
		if (run[0] == RELAY_DATA)
			return on_data(r, run, len, (len + stride - 1) / stride, route, reply, reply_len);
		if (run[0] == RELAY_CONTROL)
			return relay_on_control(r, run, len, route, reply, reply_len);
	}
	r->stats.malformed++;
	return RELAY_DROP;
}

enum relay_action relay_server_on_datagram(struct relay_server *r, const uint8_t *msg, size_t len,
					   struct relay_route *route, uint64_t now_ms,
					   uint8_t reply[static RELAY_PROVE_LEN], size_t *reply_len)
{
	return relay_server_on_run(r, msg, len, len, route, now_ms, reply, reply_len);
}

/* The other member, if `from` is one of the two. */
static struct slot *other_end(const struct relay_server *r, const struct session *s, const struct slot *from)
{
	uint32_t index = pool_index(&r->slots, from->head.id);

	for (unsigned side = 0; side < 2; side++)
		if (s->slot[side] == index)
			return slot_at(r, s->slot[!side]);
	return NULL;
}

enum relay_action relay_server_on_link(struct relay_server *r, uint32_t slot, uint64_t link,
				       const uint8_t *msg, size_t len, struct relay_route *route,
				       uint64_t now_ms)
{
	struct slot *s = pool_find(&r->slots, slot);
	struct relay_frame f;

	r->now_ms = now_ms;
	if (!s) {
		r->stats.unknown_slot++;
		return RELAY_DROP;
	}
	bool run = relay_frame_read(&f, msg, len);
	if (!run && !relay_frame_is_move(msg, len)) {
		r->stats.malformed++;
		return RELAY_DROP;
	}
	s->bound.link = link;
	if (!run)
		return RELAY_DROP;
	struct session *session = pool_find(&r->sessions, f.session);
	struct slot *other = session ? other_end(r, session, s) : NULL;
	size_t count = relay_frame_count(&f);
	if (!other) {
		r->stats.unbound += count;
		return RELAY_DROP;
	}
	return forward(r, session, s, other, f.len + count * RELAY_HEADER, count, route);
}

void relay_slot_unlink(struct relay_server *r, uint32_t slot, uint64_t link)
{
	struct slot *s = pool_find(&r->slots, slot);

	if (s && s->bound.link == link)
		s->bound.link = 0;
}

struct relay_stats relay_server_stats(const struct relay_server *r)
{
	struct relay_stats s = r->stats;

	s.slots = r->slots.live;
	s.sessions = r->sessions.live;
	for (uint32_t i = 0; i < r->slots.cap; i++) {
		const struct slot *slot = slot_at(r, i);
		s.bound += slot->head.id && slot_is_bound(slot, r->now_ms);
		s.by_link += slot->head.id && slot->bound.link;
	}
	return s;
}

static struct addr bound_at(const struct relay_server *r, const struct slot *s)
{
	return slot_is_bound(s, r->now_ms) ? s->bound.node : (struct addr) { 0 };
}

bool relay_server_next_session(const struct relay_server *r, uint32_t *at, struct relay_session_view *out)
{
	while (*at < r->sessions.cap) {
		const struct session *s = session_at(r, (*at)++);
		if (!s->head.id)
			continue;
		out->id = s->head.id;
		for (unsigned side = 0; side < 2; side++) {
			const struct slot *slot = slot_at(r, s->slot[side]);
			out->slot[side] = slot->head.id;
			out->bound[side] = bound_at(r, slot);
		}
		return true;
	}
	return false;
}

bool relay_server_bound(const struct relay_server *r, uint32_t slot, struct addr *out)
{
	const struct slot *s = pool_find(&r->slots, slot);

	*out = s ? bound_at(r, s) : (struct addr) { 0 };
	return out->family != ADDR_NONE;
}
