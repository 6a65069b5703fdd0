#include "relay/roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void roster_init(struct roster *r, struct relay_server *relay, struct rng *rng, size_t max)
{
	*r = (struct roster) { .relay = relay, .rng = rng, .max = max };
	r->slot_kept.delay_ms = ROSTER_SLOT_KEEP_MS;
	r->gone.delay_ms = ROSTER_RECORD_KEEP_MS;
	r->unsaved.delay_ms = 1;
	map_init(&r->members, sizeof(struct member_key), sizeof(struct member *), rng);
	map_init(&r->networks, 32, sizeof(struct roster_network *), rng);
	map_init(&r->tags, sizeof(uint16_t), sizeof(uint32_t), rng);
}

static struct roster_network *network_find(const struct roster *r, const uint8_t netid[static 32])
{
	struct roster_network **n = map_find(&r->networks, netid);
	return n ? *n : NULL;
}

static struct roster_network *network_get(struct roster *r, const uint8_t netid[static 32])
{
	struct roster_network *n = network_find(r, netid);

	if (n)
		return n;
	n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	memcpy(n->netid, netid, 32);
	n->id = ++r->last_network_id;
	if (map_put(&r->networks, netid, &n)) {
		free(n);
		return NULL;
	}
	return n;
}

static void network_drop_if_empty(struct roster *r, struct roster_network *n)
{
	if (n->members)
		return;
	map_remove(&r->networks, n->netid);
	free(n);
}

static void tag_add(struct roster *r, uint16_t tag, int32_t change)
{
	uint32_t *known = map_find(&r->tags, &tag);
	uint32_t count = (known ? *known : 0) + (uint32_t)change;

	/* Without memory a hint is lost, no more. */
	if (count && (known || change > 0))
		map_put(&r->tags, &tag, &count);
	else if (known)
		map_remove(&r->tags, &tag);
}

static void network_count(struct roster *r, struct roster_network *n, uint16_t name_tag, bool arrives)
{
	if (arrives && n->online++ == 0) {
		n->name_tag = name_tag;
		tag_add(r, name_tag, 1);
	} else if (!arrives && --n->online == 0) {
		tag_add(r, n->name_tag, -1);
	}
}

static void unsaved(struct roster *r, struct member *m)
{
	if (!m->unsaved.at_ms)
		due_arm(&r->unsaved, &m->unsaved, 0);
}

static void take_relayed(struct roster *r, struct member *m)
{
	uint64_t bytes = m->slot ? relay_slot_take_bytes(r->relay, m->slot) : 0;

	m->relayed += bytes;
	if (bytes)
		unsaved(r, m);
}

static void slot_close(struct roster *r, struct member *m)
{
	due_end(&r->slot_kept, &m->slot_due);
	take_relayed(r, m);
	if (m->slot)
		relay_slot_close(r->relay, m->slot);
	m->slot = 0;
}

static void member_free(struct member *m)
{
	free(m->record);
	crypto_wipe(m, sizeof *m);
	free(m);
}

static void unlink_member(struct member *m)
{
	struct roster_network *n = m->network;

	*(m->prev ? &m->prev->next : &n->members) = m->next;
	*(m->next ? &m->next->prev : &n->last) = m->prev;
}

static void link_last(struct member *m)
{
	struct roster_network *n = m->network;

	m->prev = n->last;
	m->next = NULL;
	*(n->last ? &n->last->next : &n->members) = m;
	n->last = m;
	m->changed = ++n->changes;
}

void roster_changed(struct member *m, bool record)
{
	unlink_member(m);
	link_last(m);
	if (record)
		m->record_changed = m->changed;
}

/* From the end: most who ask have missed little. */
struct member *roster_changed_since(const struct roster_network *n, uint64_t after)
{
	struct member *first = NULL;

	for (struct member *m = n->last; m && m->changed > after; m = m->prev)
		first = m;
	return first;
}

/* A member that is not online. */
static void forget(struct roster *r, struct member *m)
{
	struct roster_network *n = m->network;

	slot_close(r, m);
	due_end(&r->gone, &m->gone_due);
	due_end(&r->unsaved, &m->unsaved);
	map_remove(&r->members, &m->key);
	unlink_member(m);
	r->records -= m->record != NULL;
	member_free(m);
	network_drop_if_empty(r, n);
}

/* The one that is gone longest; those without a record only have a slot to wait for. */
static bool make_room(struct roster *r)
{
	if (r->members.count < r->max)
		return true;
	if (r->gone.first)
		forget(r, DUE_OWNER(r->gone.first, struct member, gone_due));
	else if (r->slot_kept.first)
		forget(r, DUE_OWNER(r->slot_kept.first, struct member, slot_due));
	return r->members.count < r->max;
}

static struct member *create(struct roster *r, const struct member_key *key)
{
	struct member *m = make_room(r) ? calloc(1, sizeof *m) : NULL;
	struct roster_network *n = m ? network_get(r, key->netid) : NULL;

	if (!n) {
		free(m);
		return NULL;
	}
	m->key = *key;
	if (map_put(&r->members, key, &m)) {
		free(m);
		network_drop_if_empty(r, n);
		return NULL;
	}
	m->network = n;
	link_last(m);
	return m;
}

struct member *roster_find(const struct roster *r, const struct member_key *key)
{
	struct member **m = map_find(&r->members, key);
	return m ? *m : NULL;
}

struct member *roster_arrive(struct roster *r, const struct member_key *key, uint16_t name_tag, void *link)
{
	struct member *m = roster_find(r, key);

	if (!m)
		m = create(r, key);
	if (!m)
		return NULL;
	due_end(&r->slot_kept, &m->slot_due);
	due_end(&r->gone, &m->gone_due);
	if (!m->slot) {
		rng_fill(r->rng, m->token, sizeof m->token);
		m->slot = r->relay ? relay_slot_open(r->relay, m->network->id, m->token) : 0;
		if (m->slot)
			relay_slot_charge(r->relay, m->slot, &m->use, &m->network->use);
	}
	if (!m->link) {
		network_count(r, m->network, name_tag, true);
		r->online++;
	}
	m->link = link;
	unsaved(r, m);
	return m;
}

void roster_leave(struct roster *r, struct member *m, uint64_t now_ms)
{
	m->link = NULL;
	unsaved(r, m);
	r->online--;
	network_count(r, m->network, 0, false);
	if (m->slot)
		due_arm(&r->slot_kept, &m->slot_due, now_ms);
	if (m->record)
		due_arm(&r->gone, &m->gone_due, now_ms);
	if (!m->slot && !m->record)
		forget(r, m);
}

int roster_keep(struct roster *r, struct member *m, uint64_t seq, const uint8_t *record, size_t len)
{
	if (m->record && seq <= m->seq)
		return -EALREADY;
	uint8_t *copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, record, len);
	r->records += m->record == NULL;
	free(m->record);
	m->record = copy;
	m->record_len = len;
	m->seq = seq;
	m->record_unsaved = true;
	unsaved(r, m);
	return 0;
}

bool roster_next_change(struct roster *r, struct roster_change *out)
{
	struct due *d = due_take(&r->unsaved, UINT64_MAX);

	if (!d)
		return false;
	struct member *m = DUE_OWNER(d, struct member, unsaved);
	*out = (struct roster_change) { .key = m->key,
					.online = m->link,
					.seq = m->seq,
					.relayed = m->relayed,
					.use_known = m->use_known };
	if (m->record_unsaved) {
		out->record = m->record;
		out->record_len = m->record_len;
	}
	m->record_unsaved = false;
	m->relayed = 0;
	return true;
}

void roster_set_used(struct roster *r, const struct member_key *key, uint64_t node_bytes,
		     uint64_t network_bytes)
{
	struct member *m = roster_find(r, key);

	if (!m || !r->relay)
		return;
	if (!m->use_known)
		relay_server_add_used(r->relay, &m->use, node_bytes);
	if (!m->network->use_known)
		relay_server_add_used(r->relay, &m->network->use, network_bytes);
	m->use_known = m->network->use_known = true;
}

void roster_count_relayed(struct roster *r)
{
	for (struct member **m = NULL; (m = map_walk(&r->members, m));)
		take_relayed(r, *m);
}

int roster_restore(struct roster *r, const struct roster_change *was, uint64_t gone_ms, uint64_t now_ms)
{
	if (gone_ms >= ROSTER_RECORD_KEEP_MS)
		return -ESTALE;
	if (r->members.count >= r->max)
		return -ENOSPC;
	if (roster_find(r, &was->key))
		return -EALREADY;
	struct member *m = create(r, &was->key);
	if (!m)
		return -ENOMEM;
	if (roster_keep(r, m, was->seq, was->record, was->record_len)) {
		forget(r, m);
		return -ENOMEM;
	}
	roster_changed(m, true);
	m->record_unsaved = false;
	due_end(&r->unsaved, &m->unsaved);
	due_arm(&r->gone, &m->gone_due, now_ms - gone_ms); /* may be before 0: it wraps there and back */
	return 0;
}

bool roster_name_elsewhere(const struct roster *r, const struct roster_network *n)
{
	uint32_t *count = map_find(&r->tags, &n->name_tag);
	return count && *count > (n->online ? 1U : 0U);
}

void roster_tick(struct roster *r, uint64_t now_ms)
{
	struct due *d;

	while ((d = due_take(&r->slot_kept, now_ms))) {
		struct member *m = DUE_OWNER(d, struct member, slot_due);
		slot_close(r, m);
		if (!m->record)
			forget(r, m);
	}
	while ((d = due_take(&r->gone, now_ms)))
		forget(r, DUE_OWNER(d, struct member, gone_due));
}

uint64_t roster_deadline(const struct roster *r)
{
	uint64_t a = due_next(&r->slot_kept), b = due_next(&r->gone);
	return a < b ? a : b;
}

static void network_free(struct roster *r, struct roster_network *n)
{
	while (n->members) {
		struct member *m = n->members;
		n->members = m->next;
		slot_close(r, m);
		member_free(m);
	}
	free(n);
}

void roster_free(struct roster *r)
{
	for (struct roster_network **n = NULL; (n = map_walk(&r->networks, n));)
		network_free(r, *n);
	map_clear(&r->members);
	map_clear(&r->networks);
	map_clear(&r->tags);
}

uint32_t roster_spread_ms(uint32_t online)
{
	uint64_t ms = online * 1000ULL / ROSTER_RETURNS_PER_S;

	if (ms < ROSTER_SPREAD_MIN_MS)
		return 0;
	return ms < ROSTER_SPREAD_MAX_MS ? (uint32_t)ms : ROSTER_SPREAD_MAX_MS;
}
