/* Two connections: one writes, under the lock `writing`, in whatever thread flushes; one reads, in the owner's thread, and
 * waits for no writer (WAL). Between them a list of what waits, under the lock `list`. Both locks: first writing. */
#include "relay/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/log.h"
#include "relay/store_sqlite_internal.h"
#include "relay/store_sqlite_schema.h"
#include "relay/store_sqlite_write.h"

enum { SAY_AGAIN_S = 60 };

struct writes {
	struct store_write *first, **end;
};

struct store {
	struct store_db reader, writer;
	pthread_mutex_t writing, list;
	struct writes waiting; /* from the owner; under `list` */
	struct writes batch;   /* those before them, that a flush has failed to write; under `writing` */
	atomic_size_t count;   /* in both */
	atomic_int state;
	time_t said_s; /* monotonic; when it was last in the log that writing fails; under `writing` */
	uint64_t audit_lost;
};

struct store_db *store_reader(struct store *s)
{
	return &s->reader;
}

/* ---- life */

static int explain_open(const char *path, int error, char why[static STORE_WHY])
{
	const char *advice = error == -EROFS || error == -EACCES
				     ? ": its folder must be writable for the hub's user"
			     : error == -ENOSPC ? ": make room on the disk"
			     : error == -EBUSY	? ": another program holds it"
						: "";

	if (error == -EBADMSG)
		snprintf(why, STORE_WHY,
			 "%.200s is damaged (no database): end the hub, and put a backup in its place with "
			 "`p2phub backup restore`; without one, move the file away, and the hub begins a new "
			 "one",
			 path);
	else
		snprintf(why, STORE_WHY, "cannot open %.300s: %s%s", path, strerror(-error), advice);
	return error;
}

int store_db_ready(struct store_db *d, const char *path, enum store_db_mode mode, char why[static STORE_WHY])
{
	int rc = store_db_open(d, path, mode);

	if (rc)
		return explain_open(path, rc, why);
	rc = store_schema_check(d, path, why);
	if (rc == 0) {
		rc = store_schema_move(d, STORE_SCHEMA);
		if (rc)
			explain_open(path, rc, why);
	}
	if (rc)
		store_db_close(d);
	return rc;
}

static void writes_free(struct writes *w)
{
	while (w->first) {
		struct store_write *next = w->first->next;
		free(w->first);
		w->first = next;
	}
	w->end = &w->first;
}

static void destroy(struct store *s)
{
	store_db_close(&s->reader);
	store_db_close(&s->writer);
	writes_free(&s->waiting);
	writes_free(&s->batch);
	pthread_mutex_destroy(&s->writing);
	pthread_mutex_destroy(&s->list);
	free(s);
}

int store_open(struct store **out, const char *path, char why[static STORE_WHY])
{
	struct store *s = calloc(1, sizeof *s);

	*out = NULL;
	if (!s)
		return explain_open(path, -ENOMEM, why);
	pthread_mutex_init(&s->writing, NULL);
	pthread_mutex_init(&s->list, NULL);
	s->waiting.end = &s->waiting.first;
	s->batch.end = &s->batch.first;
	int rc = store_db_ready(&s->writer, path, STORE_DB_MAKE, why);
	if (rc == 0) {
		rc = store_db_open(&s->reader, path, STORE_DB_JOIN);
		if (rc)
			explain_open(path, rc, why);
	}
	if (rc)
		destroy(s);
	else
		*out = s;
	return rc;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (store_flush(s))
		log_error("store", "%zu writes are lost: the disk did not take them", store_waiting(s));
	destroy(s);
}

/* ---- flushing */

static enum store_state state_of(int error)
{
	switch (error) {
	case 0: return STORE_OK;
	case -ENOSPC: return STORE_FULL;
	case -EROFS:
	case -EACCES: return STORE_READ_ONLY;
	case -EBUSY: return STORE_BUSY;
	default: return STORE_FAILING;
	}
}

const char *store_state_word(enum store_state state)
{
	static const char *const words[] = { "ok", "disk-full", "read-only", "busy", "failing" };
	return words[state];
}

enum store_state store_state(const struct store *s)
{
	return (enum store_state)atomic_load(&s->state);
}

/* Once when it begins, each minute while it lasts, and when it is over. */
static void set_state(struct store *s, int error, size_t written)
{
	static const char *const advice[] = {
		[STORE_FULL] = "make room on the disk",
		[STORE_READ_ONLY] = "make its disk and file writable",
		[STORE_BUSY] = "another program holds it",
		[STORE_FAILING] = "see to the disk, and keep a backup",
	};
	enum store_state state = state_of(error), before = store_state(s);
	struct timespec now;

	atomic_store(&s->state, (int)state);
	if (state == STORE_OK) {
		if (before != STORE_OK)
			log_info("store", "writing works again: %zu writes that waited are kept", written);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (state == before && now.tv_sec - s->said_s < SAY_AGAIN_S)
		return;
	s->said_s = now.tv_sec;
	log_error("store", "cannot write (%s: %s), %zu writes wait; the hub goes on from memory: %s",
		  store_state_word(state), strerror(-error), store_waiting(s), advice[state]);
}

static int begin(struct store *s)
{
	return store_db_run(&s->writer, "BEGIN IMMEDIATE");
}

/* What a failed commit leaves of the transaction goes: it is tried anew as a whole. */
static int end(struct store *s, int rc)
{
	if (rc == 0)
		rc = store_db_run(&s->writer, "COMMIT");
	if (rc)
		store_db_run(&s->writer, "ROLLBACK");
	return rc;
}

static void gather(struct store *s)
{
	pthread_mutex_lock(&s->list);
	if (s->waiting.first) {
		*s->batch.end = s->waiting.first;
		s->batch.end = s->waiting.end;
		s->waiting.first = NULL;
		s->waiting.end = &s->waiting.first;
	}
	pthread_mutex_unlock(&s->list);
}

static int write_batch(struct store *s, size_t *written)
{
	int rc = begin(s);

	if (rc)
		return rc;
	for (const struct store_write *w = s->batch.first; w && rc == 0; w = w->next) {
		rc = store_write_apply(&s->writer, w);
		++*written;
	}
	return end(s, rc);
}

int store_flush(struct store *s)
{
	size_t written = 0;
	int rc = 0;

	pthread_mutex_lock(&s->writing);
	gather(s);
	if (s->batch.first) {
		rc = write_batch(s, &written);
		set_state(s, rc, written);
	}
	if (rc == 0) {
		writes_free(&s->batch);
		atomic_fetch_sub(&s->count, written);
	}
	pthread_mutex_unlock(&s->writing);
	return rc;
}

size_t store_waiting(struct store *s)
{
	return atomic_load(&s->count);
}

size_t store_room(struct store *s)
{
	size_t count = store_waiting(s), most = STORE_WAITING_MAX - STORE_WAITING_SPARE;
	return count < most ? most - count : 0;
}

/* ---- writing */

static int add(struct store *s, enum store_write_kind kind, const void *what, size_t size)
{
	struct store_write *w = store_write_make(kind, what, size);

	if (!w)
		return -ENOMEM;
	atomic_fetch_add(&s->count, 1);
	pthread_mutex_lock(&s->list);
	*s->waiting.end = w;
	s->waiting.end = &w->next;
	pthread_mutex_unlock(&s->list);
	return 0;
}

int store_node_seen(struct store *s, const struct store_node *n)
{
	if (n->record_len > STORE_RECORD_MAX)
		return -EINVAL;
	if (!store_room(s))
		return -ENOSPC;
	return add(s, STORE_WRITE_NODE, n, offsetof(struct store_node, record) + n->record_len);
}

int store_alive(struct store *s, uint64_t unix_s)
{
	return store_room(s) ? add(s, STORE_WRITE_ALIVE, &unix_s, sizeof unix_s) : -ENOSPC;
}

int store_usage_add(struct store *s, const struct store_usage *u)
{
	return store_room(s) ? add(s, STORE_WRITE_USAGE, u, sizeof *u) : -ENOSPC;
}

int store_audit_add(struct store *s, const struct store_audit *e)
{
	int rc = store_waiting(s) < STORE_WAITING_MAX ? add(s, STORE_WRITE_AUDIT, e, sizeof *e) : -ENOSPC;

	s->audit_lost += rc != 0;
	return rc;
}

uint64_t store_audit_lost(const struct store *s)
{
	return s->audit_lost;
}

int store_prune(struct store *s, uint64_t audit_before_s, uint64_t nodes_before_s, uint32_t month_before)
{
	const struct store_prune p = { audit_before_s, nodes_before_s, month_before };
	return store_room(s) ? add(s, STORE_WRITE_PRUNE, &p, sizeof p) : -ENOSPC;
}

/* ---- written at once */

int store_all_gone(struct store *s)
{
	pthread_mutex_lock(&s->writing);
	int rc = store_db_run(&s->writer, "UPDATE nodes SET online = 0, last_s = max(last_s, coalesce("
					  "(SELECT value FROM hub WHERE name = 'alive_s'), 0)) WHERE online");
	pthread_mutex_unlock(&s->writing);
	return rc;
}

int store_token_add(struct store *s, struct store_token *t)
{
	pthread_mutex_lock(&s->writing);
	int rc = begin(s);
	if (rc == 0)
		rc = end(s, store_write_token(&s->writer, t));
	pthread_mutex_unlock(&s->writing);
	return rc;
}

int store_token_revoke(struct store *s, uint64_t id, uint64_t unix_s)
{
	pthread_mutex_lock(&s->writing);
	int rc = begin(s);
	if (rc == 0)
		rc = end(s, store_write_revocation(&s->writer, id, unix_s));
	pthread_mutex_unlock(&s->writing);
	return rc;
}
