/* The hub's memory: joins coord to relay/store. What changed is written 100 ms after it did at most, on another thread, for
 * a commit waits for the disk: 1 ms to 30 ms here. Nothing that nodes are told waits for it.
 * Timers: one; the next write, or the next minute (usage, a sign of life), whichever is first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2phub/hub_data.h"
#include "apps/p2phub/serve_internal.h"
#include "core/log.h"

enum {
	GATHER_MS = 100,
	AGAIN_MS = 1000, /* after the disk refused */
	MINUTE_MS = 60000,
	PRUNE_MINUTES = 60,
	NODES_KEEP_S = 400 * 86400,
	USAGE_KEEP_S = 3 * 366 * 86400,
	RESTORE_PAGE = 32,
};

struct serve_store {
	struct serve *serve; /* NULL: the hub has ended */
	struct store *store;
	struct loop_timer *timer;
	uint64_t minute_ms, write_ms; /* when each is due; write UINT64_MAX: nothing is to be written */
	unsigned minutes;
	bool flushing; /* on another thread */
};

/* A clock that has not been set yet makes nothing old. */
static uint64_t before(uint64_t now_s, uint64_t keep_s)
{
	return now_s > keep_s ? now_s - keep_s : 0;
}

/* The entry of `id` is the first after the one that is lower by one. */
static void before_id(uint8_t out[static 32], const uint8_t id[static 32])
{
	memcpy(out, id, 32);
	for (int i = 32; i-- > 0 && out[i]-- == 0;)
		;
}

/* 0 also when it cannot be read: then the hub counts from now on. */
static uint64_t used(struct store *store, const uint8_t *netid, const uint8_t *id, bool is_node,
		     uint32_t month)
{
	struct store_usage u = { 0 };
	uint8_t after[32];

	before_id(after, id);
	if (store_usage_list(store, netid, month, after, &u, 1) != 1)
		return 0;
	return memcmp(is_node ? u.ik : u.netid, id, 32) == 0 ? u.bytes : 0;
}

/* Once for each member that comes: what it has of the relay in this month goes on from there. */
static void tell_used(struct serve_store *k, const struct member_key *key, uint32_t month)
{
	roster_set_used(coord_roster(k->serve->coord), key, used(k->store, key->netid, key->ik, true, month),
			used(k->store, NULL, key->netid, false, month));
}

static void keep_change(struct store *store, const struct roster_change *change, uint64_t now_s)
{
	struct store_node n = { .online = change->online, .seq = change->seq, .last_s = now_s };
	struct store_usage u = { .month = quota_month(now_s), .bytes = change->relayed };

	memcpy(n.netid, change->key.netid, sizeof n.netid);
	memcpy(n.ik, change->key.ik, sizeof n.ik);
	if (change->record && change->record_len <= sizeof n.record) {
		n.record_len = change->record_len;
		memcpy(n.record, change->record, n.record_len);
	}
	memcpy(u.netid, n.netid, sizeof u.netid);
	memcpy(u.ik, n.ik, sizeof u.ik);
	if (store_node_seen(store, &n) || (u.bytes && store_usage_add(store, &u)))
		log_warn("hub", "out of memory: a change is not kept");
}

/* What the store has no room for stays with coord. Two writes for each. */
static void take_changes(struct serve_store *k)
{
	struct roster *roster = coord_roster(k->serve->coord);
	struct roster_change change;
	uint64_t now_s = serve_unix_s(k->serve);

	while (store_room(k->store) >= 2 && roster_next_change(roster, &change)) {
		if (!change.use_known)
			tell_used(k, &change.key, quota_month(now_s));
		keep_change(k->store, &change, now_s);
	}
}

static void set_timer(struct serve_store *k)
{
	loop_timer_set(k->timer, k->write_ms < k->minute_ms ? k->write_ms : k->minute_ms);
}

static void want_write(struct serve_store *k, uint64_t in_ms)
{
	if (k->write_ms != UINT64_MAX || k->flushing)
		return;
	k->write_ms = loop_now_ms() + in_ms;
	set_timer(k);
}

static void flush_work(void *arg)
{
	store_flush(((struct serve_store *)arg)->store);
}

static void close_now(struct serve_store *k)
{
	store_close(k->store);
	free(k);
}

static void flush_done(void *arg, int error)
{
	struct serve_store *k = arg;

	(void)error; /* the loop ends: closing writes it */
	k->flushing = false;
	if (!k->serve)
		close_now(k);
	else
		want_write(k, store_state(k->store) == STORE_OK ? GATHER_MS : AGAIN_MS);
}

/* Without changes there is nothing to do until serve_store_soon(). */
static void write_changes(struct serve_store *k)
{
	k->write_ms = UINT64_MAX;
	take_changes(k);
	if (!store_waiting(k->store))
		return;
	k->flushing = loop_work(k->serve->loop, flush_work, flush_done, k) == 0;
	if (!k->flushing)
		want_write(k, AGAIN_MS);
}

static uint64_t audit_before(const struct serve_store *k, uint64_t now_s)
{
	uint64_t keep_s = k->serve->limits.audit_retention_s;

	return keep_s ? before(now_s, keep_s) : 0;
}

static void on_minute(struct serve_store *k)
{
	uint64_t now_s = serve_unix_s(k->serve);

	k->minute_ms = loop_now_ms() + MINUTE_MS;
	roster_count_relayed(coord_roster(k->serve->coord));
	store_alive(k->store, now_s);
	relay_server_set_month(k->serve->relay, quota_month(now_s));
	if (k->minutes++ % PRUNE_MINUTES == 0)
		store_prune(k->store, audit_before(k, now_s), before(now_s, NODES_KEEP_S),
			    quota_month(before(now_s, USAGE_KEEP_S)));
	want_write(k, 0);
}

static void on_due(void *arg)
{
	struct serve_store *k = arg;
	uint64_t now = loop_now_ms();

	if (now >= k->minute_ms)
		on_minute(k);
	if (now >= k->write_ms)
		write_changes(k);
	set_timer(k);
}

void serve_store_soon(struct serve *s)
{
	if (s->keep)
		want_write(s->keep, GATHER_MS);
}

/* ---- life */

static void note(struct serve_store *k, const char *action)
{
	struct store_audit e = {
		.time_s = serve_unix_s(k->serve), .actor = "hub", .object = "hub", .outcome = "ok"
	};

	strcpy(e.action, action);
	store_audit_add(k->store, &e);
}

static int restore_one(struct roster *roster, const struct store_node *n, uint64_t now_s)
{
	struct roster_change was = { .seq = n->seq, .record = n->record, .record_len = n->record_len };
	uint64_t gone_s = now_s > n->last_s ? now_s - n->last_s : 0; /* the clock may have been set back */

	memcpy(was.key.netid, n->netid, sizeof n->netid);
	memcpy(was.key.ik, n->ik, sizeof n->ik);
	return roster_restore(roster, &was, gone_s * 1000, loop_now_ms());
}

/* Members hear of each other's records before the others have come back. */
static void restore(struct serve_store *k)
{
	struct roster *roster = coord_roster(k->serve->coord);
	struct store_node *page = malloc(RESTORE_PAGE * sizeof *page);
	uint64_t now_s = serve_unix_s(k->serve), since_s = before(now_s, ROSTER_RECORD_KEEP_MS / 1000);
	struct store_cursor cursor = { 0 };
	int n = page ? store_all_gone(k->store) : 0;
	size_t count = 0;

	while (page && n >= 0 && (n = store_records(k->store, since_s, &cursor, page, RESTORE_PAGE)) > 0)
		for (int i = 0; i < n; i++)
			count += restore_one(roster, &page[i], now_s) == 0;
	free(page);
	if (n < 0)
		log_warn("hub", "not all records of before could be read: %s", strerror(-n));
	if (count)
		log_info("hub", "%zu records of nodes are known from before", count);
}

static struct store *open_store(const char *data)
{
	char path[HUB_DATA_PATH], why[STORE_WHY] = "the path of the data folder is too long";
	struct store *store;

	if (hub_data_path(path, data, HUB_DATA_STORE) == 0 && store_open(&store, path, why) == 0)
		return store;
	log_error("hub", "nothing is kept, and there is no API: %s", why);
	return NULL;
}

/* A hub that cannot keep anything still serves its nodes. */
int serve_open_store(struct serve *s, const char *data)
{
	s->store = data ? open_store(data) : NULL;
	if (!s->store)
		return 0;
	struct serve_store *k = s->keep = calloc(1, sizeof *k);
	if (k)
		*k = (struct serve_store) { .serve = s, .store = s->store, .write_ms = UINT64_MAX };
	if (!k || !(k->timer = loop_timer_create(s->loop, on_due, k)))
		return -ENOMEM;
	wall_init(&s->wall, (uint64_t)time(NULL), store_last_alive(s->store), loop_now_ms());
	relay_server_set_month(s->relay, quota_month(serve_unix_s(s)));
	restore(k);
	note(k, "hub.start");
	k->minute_ms = loop_now_ms();
	set_timer(k);
	return 0;
}

/* Everything that is left, by this thread; a write that is under way is waited for. */
static void write_rest(struct serve_store *k)
{
	int rc = 0;

	roster_count_relayed(coord_roster(k->serve->coord));
	note(k, "hub.stop");
	store_alive(k->store, serve_unix_s(k->serve));
	do {
		take_changes(k);
		rc = store_waiting(k->store) ? store_flush(k->store) : -ENODATA;
	} while (rc == 0);
}

void serve_close_store(struct serve *s)
{
	struct serve_store *k = s->keep;

	if (k && k->timer)
		write_rest(k);
	if (k)
		loop_timer_destroy(k->timer);
	if (k && k->flushing)
		k->serve = NULL; /* its end closes it */
	else if (k)
		close_now(k);
	else
		store_close(s->store);
	s->keep = NULL;
	s->store = NULL;
}
