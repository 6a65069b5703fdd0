#include "relay/store_sqlite_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/log.h"

/* At once: the first prune of a long time goes on with the next ones. */
#define PRUNE_AT_ONCE "1000"

enum statement {
	PUT_NETWORK,
	PUT_NODE,
	ADD_USAGE,
	ADD_AUDIT,
	PUT_ALIVE,
	PRUNE_AUDIT,
	PRUNE_NODES,
	PRUNE_NETWORKS,
	PRUNE_USAGE,
	COUNT_TOKENS,
	ADD_TOKEN,
	FIND_TOKEN,
	REVOKE_TOKEN,
	STATEMENTS,
};
_Static_assert(STATEMENTS <= (int)STORE_DB_STATEMENTS, "room for all");

static const char *const texts[] = {
	[PUT_NETWORK] = "INSERT OR IGNORE INTO networks (netid, first_s) VALUES (?1, ?2)",
	[PUT_NODE] = "INSERT INTO nodes (netid, ik, online, first_s, last_s, seq, record)"
		     " VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6) ON CONFLICT (netid, ik) DO UPDATE SET"
		     " online = excluded.online, last_s = max(last_s, excluded.last_s),"
		     " seq = iif(excluded.record IS NULL OR excluded.seq < seq, seq, excluded.seq),"
		     " record = iif(excluded.record IS NULL OR excluded.seq < seq, record, excluded.record)",
	[ADD_USAGE] = "INSERT INTO usage (month, netid, ik, bytes) VALUES (?1, ?2, ?3, ?4)"
		      " ON CONFLICT DO UPDATE SET bytes = iif(bytes > 9223372036854775807 - excluded.bytes,"
		      " 9223372036854775807, bytes + excluded.bytes)",
	[ADD_AUDIT] = "INSERT INTO audit (time_s, actor, action, object, outcome, detail)"
		      " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[PUT_ALIVE] = "INSERT OR REPLACE INTO hub (name, value) VALUES ('alive_s', ?1)",
	[PRUNE_AUDIT] = "DELETE FROM audit WHERE id IN"
			" (SELECT id FROM audit WHERE time_s < ?1 LIMIT " PRUNE_AT_ONCE ")",
	[PRUNE_NODES] = "DELETE FROM nodes WHERE id IN"
			" (SELECT id FROM nodes WHERE last_s < ?1 AND NOT online LIMIT " PRUNE_AT_ONCE ")",
	[PRUNE_NETWORKS] = "DELETE FROM networks WHERE NOT EXISTS"
			   " (SELECT 1 FROM nodes WHERE nodes.netid = networks.netid)",
	[PRUNE_USAGE] = "DELETE FROM usage WHERE month < ?1",
	[COUNT_TOKENS] = "SELECT count(*) FROM tokens",
	[ADD_TOKEN] = "INSERT INTO tokens (name, hash, scope, created_s, expires_s, revoked_s)"
		      " VALUES (?1, ?2, ?3, ?4, ?5, 0) RETURNING id",
	[FIND_TOKEN] = "SELECT revoked_s FROM tokens WHERE id = ?1",
	[REVOKE_TOKEN] = "UPDATE tokens SET revoked_s = max(?2, 1) WHERE id = ?1",
};

static struct sqlite3_stmt *statement(struct store_db *d, enum statement s, int *error)
{
	return store_db_statement(d, s, texts[s], error);
}

struct store_write *store_write_make(enum store_write_kind kind, const void *what, size_t size)
{
	struct store_write *w = calloc(1, offsetof(struct store_write, node) + size);

	if (!w)
		return NULL;
	w->kind = kind;
	memcpy((uint8_t *)w + offsetof(struct store_write, node), what, size);
	return w;
}

static int put_network(struct store_db *d, const struct store_node *n)
{
	int rc;
	struct sqlite3_stmt *st = statement(d, PUT_NETWORK, &rc);

	if (!st)
		return rc;
	store_db_bind_bytes(st, 1, n->netid, sizeof n->netid);
	store_db_bind_number(st, 2, n->last_s);
	return store_db_finish(d, st);
}

static int put_node(struct store_db *d, const struct store_node *n)
{
	uint8_t seq[8];
	int rc = put_network(d, n);
	struct sqlite3_stmt *st = rc ? NULL : statement(d, PUT_NODE, &rc);

	if (!st)
		return rc;
	store_be64(seq, n->seq);
	store_db_bind_bytes(st, 1, n->netid, sizeof n->netid);
	store_db_bind_bytes(st, 2, n->ik, sizeof n->ik);
	store_db_bind_number(st, 3, n->online);
	store_db_bind_number(st, 4, n->last_s);
	store_db_bind_bytes(st, 5, n->record_len ? seq : NULL, sizeof seq);
	store_db_bind_bytes(st, 6, n->record_len ? n->record : NULL, n->record_len);
	return store_db_finish(d, st);
}

static int add_usage(struct store_db *d, const struct store_usage *u)
{
	int rc;
	struct sqlite3_stmt *st = statement(d, ADD_USAGE, &rc);

	if (!st)
		return rc;
	store_db_bind_number(st, 1, u->month);
	store_db_bind_bytes(st, 2, u->netid, sizeof u->netid);
	store_db_bind_bytes(st, 3, u->ik, sizeof u->ik);
	store_db_bind_number(st, 4, u->bytes);
	return store_db_finish(d, st);
}

static int add_audit(struct store_db *d, const struct store_audit *e)
{
	int rc;
	struct sqlite3_stmt *st = statement(d, ADD_AUDIT, &rc);

	if (!st)
		return rc;
	store_db_bind_number(st, 1, e->time_s);
	store_db_bind_text(st, 2, e->actor);
	store_db_bind_text(st, 3, e->action);
	store_db_bind_text(st, 4, e->object);
	store_db_bind_text(st, 5, e->outcome);
	store_db_bind_text(st, 6, e->detail);
	return store_db_finish(d, st);
}

/* A statement with one number. */
static int run_with(struct store_db *d, enum statement s, uint64_t number)
{
	int rc;
	struct sqlite3_stmt *st = statement(d, s, &rc);

	if (!st)
		return rc;
	store_db_bind_number(st, 1, number);
	return store_db_finish(d, st);
}

static int prune(struct store_db *d, const struct store_prune *p)
{
	int rc = run_with(d, PRUNE_AUDIT, p->audit_before_s);
	struct sqlite3_stmt *st;

	if (rc == 0)
		rc = run_with(d, PRUNE_NODES, p->nodes_before_s);
	if (rc == 0)
		rc = run_with(d, PRUNE_USAGE, p->month_before);
	st = rc ? NULL : statement(d, PRUNE_NETWORKS, &rc);
	return st ? store_db_finish(d, st) : rc;
}

static int apply(struct store_db *d, const struct store_write *w)
{
	switch (w->kind) {
	case STORE_WRITE_NODE: return put_node(d, &w->node);
	case STORE_WRITE_USAGE: return add_usage(d, &w->usage);
	case STORE_WRITE_AUDIT: return add_audit(d, &w->audit);
	case STORE_WRITE_ALIVE: return run_with(d, PUT_ALIVE, w->alive_s);
	case STORE_WRITE_PRUNE: return prune(d, &w->prune);
	}
	return 0;
}

int store_write_apply(struct store_db *d, const struct store_write *w)
{
	int rc = apply(d, w);

	if (rc != -EEXIST)
		return rc;
	log_error("store", "a write of kind %d was left out: the store's rules forbid it", (int)w->kind);
	return 0;
}

static int count_tokens(struct store_db *d, uint64_t *count)
{
	int rc;
	struct sqlite3_stmt *st = statement(d, COUNT_TOKENS, &rc);

	if (!st)
		return rc;
	rc = store_db_step(d, st);
	if (rc == 1)
		*count = store_db_column_number(st, 0);
	return rc == 1 ? store_db_finish(d, st) : rc;
}

/* The row is there once the statement has gone to its end. */
static int add_token(struct store_db *d, struct store_token *t)
{
	int rc;
	struct sqlite3_stmt *st = statement(d, ADD_TOKEN, &rc);

	if (!st)
		return rc;
	store_db_bind_text(st, 1, t->name);
	store_db_bind_bytes(st, 2, t->hash, sizeof t->hash);
	store_db_bind_number(st, 3, t->scope);
	store_db_bind_number(st, 4, t->created_s);
	store_db_bind_number(st, 5, t->expires_s);
	rc = store_db_step(d, st);
	if (rc != 1)
		return rc;
	t->id = store_db_column_number(st, 0);
	return store_db_finish(d, st);
}

int store_write_token(struct store_db *d, struct store_token *t)
{
	uint64_t count = 0;
	int rc = count_tokens(d, &count);

	if (rc)
		return rc;
	return count < STORE_TOKENS_MAX ? add_token(d, t) : -ENOSPC;
}

int store_write_revocation(struct store_db *d, uint64_t id, uint64_t unix_s)
{
	uint64_t revoked_s;
	int rc;
	struct sqlite3_stmt *st = statement(d, FIND_TOKEN, &rc);

	if (!st)
		return rc;
	store_db_bind_number(st, 1, id);
	rc = store_db_step(d, st);
	if (rc != 1)
		return rc ? rc : -ENOENT;
	revoked_s = store_db_column_number(st, 0);
	rc = store_db_finish(d, st);
	if (rc || revoked_s)
		return rc ? rc : -EALREADY;
	st = statement(d, REVOKE_TOKEN, &rc);
	if (!st)
		return rc;
	store_db_bind_number(st, 1, id);
	store_db_bind_number(st, 2, unix_s);
	return store_db_finish(d, st);
}
