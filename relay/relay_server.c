/* Two pools of entries with ids. A slot is a member's binding, a session joins two slots; each slot heads a list of
 * its sessions. A link of such a list is named by session index * 2 + side. */
#include "relay/relay_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bucket.h"
#include "core/bytes.h"
#include "core/map.h"
#include "relay/relay_frame.h"

enum { POOL_FIRST_CAP = 16 };
#define NO_INDEX UINT32_MAX

/* First in every pool entry. */
struct pool_head {
	uint32_t id; /* generation and index; 0: free */
	uint32_t generation;
	uint32_t next_free;
};

struct pool {
	uint8_t *items;
	size_t size;
	uint32_t cap, max, live, free_head;
	unsigned index_bits;
};

struct slot {
	struct pool_head head;
	uint32_t network;
	uint32_t first;		  /* of its session links */
	struct relay_route bound; /* its link goes first; the address is kept beside it */
	uint64_t seen_ms;
	uint64_t bytes;			      /* from it, forwarded and not yet taken */
	struct quota_user *use, *network_use; /* NULL: no limits */
	uint8_t token[RELAY_TOKEN];
};

struct session {
	struct pool_head head;
	uint32_t slot[2]; /* indices */
	uint32_t next[2], prev[2];
};

struct relay_server {
	struct pool slots, sessions;
	struct map pairs; /* two slot ids, the lower first -> session id */
	struct rng *rng;
	uint8_t secret[32];
	struct bucket unbound;
	uint64_t now_ms; /* of the last datagram */
	struct quota quota;
	struct relay_stats stats;
};

static void pool_init(struct pool *p, size_t size, size_t max)
{
	*p = (struct pool) { .size = size, .free_head = NO_INDEX };
	p->max = max < RELAY_MAX_ENTRIES ? (uint32_t)max : RELAY_MAX_ENTRIES;
	p->index_bits = 1;
	while (p->max > UINT32_C(1) << p->index_bits)
		p->index_bits++;
}

static struct pool_head *pool_at(const struct pool *p, uint32_t index)
{
	return (struct pool_head *)(void *)(p->items + index * p->size);
}

static uint32_t pool_index(const struct pool *p, uint32_t id)
{
	return id & ((UINT32_C(1) << p->index_bits) - 1);
}

/* NULL unless `id` is of a live entry. */
static void *pool_find(const struct pool *p, uint32_t id)
{
	uint32_t index = pool_index(p, id);

	if (id == 0 || index >= p->cap || pool_at(p, index)->id != id)
		return NULL;
	return pool_at(p, index);
}

/* Generations start at random, so that ids of before a restart rarely name anything after it. */
static int pool_grow(struct pool *p, struct rng *rng)
{
	uint32_t cap = p->cap ? p->cap * 2 : POOL_FIRST_CAP;

	cap = cap < p->max ? cap : p->max;
	if (cap == p->cap)
		return -ENOSPC;
	uint8_t *items = realloc(p->items, cap * p->size);
	if (!items)
		return -ENOMEM;
	p->items = items;
	memset(items + p->cap * p->size, 0, (cap - p->cap) * p->size);
	for (uint32_t i = cap; i-- > p->cap;) {
		pool_at(p, i)->generation = rng_u32(rng);
		pool_at(p, i)->next_free = p->free_head;
		p->free_head = i;
	}
	p->cap = cap;
	return 0;
}

static void *pool_take(struct pool *p, struct rng *rng)
{
	if (p->free_head == NO_INDEX && pool_grow(p, rng))
		return NULL;
	uint32_t index = p->free_head;
	struct pool_head *h = pool_at(p, index);
	do
		h->id = ++h->generation << p->index_bits;
	while (h->id == 0);
	h->id |= index;
	p->free_head = h->next_free;
	p->live++;
	return h;
}

static void pool_release(struct pool *p, struct pool_head *h)
{
	uint32_t index = pool_index(p, h->id), generation = h->generation;

	crypto_wipe(h, p->size);
	*h = (struct pool_head) { .generation = generation, .next_free = p->free_head };
	p->free_head = index;
	p->live--;
}

static struct slot *slot_at(const struct relay_server *r, uint32_t index)
{
	return (struct slot *)(void *)pool_at(&r->slots, index);
}

static struct session *session_at(const struct relay_server *r, uint32_t index)
{
	return (struct session *)(void *)pool_at(&r->sessions, index);
}

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
	map_clear(&r->pairs);
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
	s->first = NO_INDEX;
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
	s->prev[side] = NO_INDEX;
	s->next[side] = slot->first;
	if (slot->first != NO_INDEX)
		session_at(r, slot->first / 2)->prev[slot->first % 2] = link;
	slot->first = link;
}

static void session_unlink(struct relay_server *r, struct session *s, unsigned side)
{
	uint32_t next = s->next[side], prev = s->prev[side];

	if (next != NO_INDEX)
		session_at(r, next / 2)->prev[next % 2] = prev;
	if (prev != NO_INDEX)
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
	while (s->first != NO_INDEX)
		session_close(r, session_at(r, s->first / 2));
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

static bool is_bound(const struct slot *s, uint64_t now_ms)
{
	return s->bound.node.family != ADDR_NONE && now_ms - s->seen_ms < RELAY_IDLE_MS;
}

static size_t control(uint8_t *out, uint8_t type, uint32_t id)
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
	size_t n = control(reply, RELAY_CHALLENGE, slot);

	challenge_mac(r, reply + n, from, slot, r->now_ms / RELAY_EPOCH_MS);
	*reply_len = RELAY_CHALLENGE_LEN;
	r->stats.challenged++;
	return RELAY_REPLY;
}

static enum relay_action on_prove(struct relay_server *r, struct slot *s, const uint8_t *msg,
				  const struct relay_route *route, uint8_t *reply, size_t *reply_len)
{
	const uint8_t *mac = msg + RELAY_HEADER, *proof = mac + RELAY_MAC;
	uint8_t want[RELAY_MAC];

	/* slot and mac stand one after the other in the message. */
	crypto_blake2s(want, sizeof want, s->token, RELAY_TOKEN, &(struct part) { msg + 4, 4 + RELAY_MAC },
		       1);
	if (!challenge_is_ours(r, mac, &route->node, s->head.id) || !crypto_equal(want, proof, sizeof want)) {
		r->stats.bad_proof++;
		return RELAY_DROP;
	}
	s->bound = *route;
	s->seen_ms = r->now_ms;
	size_t n = control(reply, RELAY_BOUND, s->head.id);
	crypto_blake2s(reply + n, RELAY_MAC, s->token, RELAY_TOKEN,
		       (struct part[]) { { "bound", 5 }, { mac, RELAY_MAC } }, 2);
	*reply_len = RELAY_BOUND_LEN;
	return RELAY_REPLY;
}

static enum relay_action on_control(struct relay_server *r, const uint8_t *msg, size_t len,
				    const struct relay_route *route, uint8_t *reply, size_t *reply_len)
{
	bool bind = len == RELAY_BIND_LEN && msg[1] == RELAY_BIND;
	bool prove = len == RELAY_PROVE_LEN && msg[1] == RELAY_PROVE;

	if ((!bind && !prove) || msg[2] || msg[3]) {
		r->stats.malformed++;
		return RELAY_DROP;
	}
	uint32_t id = load_le32(msg + 4);
	struct slot *s = pool_find(&r->slots, id);
	if (!s) {
		r->stats.unknown_slot++;
		return RELAY_DROP;
	}
	if (bind)
		return on_bind(r, id, &route->node, reply, reply_len);
	return on_prove(r, s, msg, route, reply, reply_len);
}

static enum relay_action on_unbound(struct relay_server *r, uint32_t session, size_t count, uint8_t *reply,
				    size_t *reply_len)
{
	r->stats.unbound += count;
	if (!bucket_take(&r->unbound, RELAY_UNBOUND_PER_S, RELAY_UNBOUND_PER_S, r->now_ms))
		return RELAY_DROP;
	*reply_len = control(reply, RELAY_UNBOUND, session);
	return RELAY_REPLY;
}

/* The end of the session that `from` is bound as, or NULL. */
static struct slot *sender_of(const struct relay_server *r, const struct session *s, const struct addr *from,
			      struct slot **other)
{
	for (unsigned side = 0; side < 2; side++) {
		struct slot *slot = slot_at(r, s->slot[side]);
		*other = slot_at(r, s->slot[!side]);
		if (is_bound(slot, r->now_ms) && addr_equal(&slot->bound.node, from))
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

/* `count` datagrams, `len` bytes with their headers, to this member. */
static enum relay_action forward(struct relay_server *r, struct slot *from, const struct slot *to, size_t len,
				 size_t count, struct relay_route *route)
{
	if (!to->bound.link && !is_bound(to, r->now_ms)) {
		r->stats.undeliverable += count;
		return RELAY_DROP;
	}
	if (!quota_lets(r, from, len, count))
		return RELAY_DROP;
	*route = to->bound;
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
	return forward(r, sender, other, len, count, route);
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
			return on_control(r, run, len, route, reply, reply_len);
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
	return forward(r, s, other, f.len + count * RELAY_HEADER, count, route);
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
		s.bound += slot->head.id && is_bound(slot, r->now_ms);
		s.by_link += slot->head.id && slot->bound.link;
	}
	return s;
}

static struct addr bound_at(const struct relay_server *r, const struct slot *s)
{
	return is_bound(s, r->now_ms) ? s->bound.node : (struct addr) { 0 };
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
