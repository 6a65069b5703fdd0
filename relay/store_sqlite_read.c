#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"
#include "relay/store_sqlite_internal.h"

enum statement {
	NETWORKS,
	NODES,
	RECORDS,
	USAGE_NETWORKS,
	USAGE_NODES,
	AUDIT_UP,
	AUDIT_DOWN,
	TOKEN,
	TOKENS,
	ALIVE,
	STATEMENTS,
};
_Static_assert(STATEMENTS <= (int)STORE_DB_STATEMENTS, "room for all");

#define NODE_COLUMNS                                                                            \
	"SELECT netid, ik, online, seq, length(record), first_s, last_s, record, id FROM nodes" \
	" WHERE record IS NOT NULL"
#define AUDIT_COLUMNS "SELECT id, time_s, actor, action, object, outcome, detail FROM audit"
/* +: by id always, so that a page begins where the last one ended. */
#define AUDIT_WHERE   " AND +time_s BETWEEN ?2 AND ?3 AND (?4 IS NULL OR action = ?4)"
#define TOKEN_COLUMNS "SELECT id, name, hash, scope, created_s, expires_s, revoked_s FROM tokens"

static const char *const texts[] = {
	[NETWORKS] =
		"SELECT g.netid, coalesce(n.first_s, g.first), g.last, g.nodes FROM"
		" (SELECT netid, min(first_s) AS first, max(last_s) AS last, count(*) AS nodes FROM nodes"
		" WHERE netid > ?1 GROUP BY netid ORDER BY netid LIMIT ?2) AS g"
		" LEFT JOIN networks AS n ON n.netid = g.netid ORDER BY g.netid",
	[NODES] = "SELECT netid, ik, online, seq, coalesce(length(record), 0), first_s, last_s, NULL, id "
		  "FROM nodes"
		  " WHERE netid = ?1 AND ik > ?2 ORDER BY ik LIMIT ?3",
	/* Two ways, each by the index alone: after a crash thousands have the same time. */
	[RECORDS] = "SELECT * FROM (SELECT * FROM (" NODE_COLUMNS
		    " AND last_s = ?1 AND id > ?2 ORDER BY id LIMIT ?3)"
		    " UNION ALL SELECT * FROM (" NODE_COLUMNS
		    " AND last_s > ?1 ORDER BY last_s, id LIMIT ?3))"
		    " ORDER BY last_s, id LIMIT ?3",
	[USAGE_NETWORKS] = "SELECT netid, NULL, sum(bytes) FROM usage WHERE month = ?1 AND netid > ?2"
			   " GROUP BY netid ORDER BY netid LIMIT ?3",
	[USAGE_NODES] = "SELECT netid, ik, bytes FROM usage WHERE month = ?1 AND ik > ?2 AND netid = ?4"
			" ORDER BY ik LIMIT ?3",
	[AUDIT_UP] = AUDIT_COLUMNS " WHERE id > ?1" AUDIT_WHERE " ORDER BY id LIMIT ?5",
	[AUDIT_DOWN] = AUDIT_COLUMNS " WHERE id < ?1" AUDIT_WHERE " ORDER BY id DESC LIMIT ?5",
	[TOKEN] = TOKEN_COLUMNS " WHERE hash = ?1",
	[TOKENS] = TOKEN_COLUMNS " WHERE id > ?1 ORDER BY id LIMIT ?2",
	[ALIVE] = "SELECT value FROM hub WHERE name = 'alive_s'",
};

static struct sqlite3_stmt *statement(struct store *s, enum statement which, int *error)
{
	return store_db_statement(store_reader(s), which, texts[which], error);
}

/* Fills `out` by read() from one row each. */
static int read_rows(struct store *s, struct sqlite3_stmt *st, void *out, size_t size, size_t cap,
		     void (*read)(struct sqlite3_stmt *st, void *one))
{
	size_t n = 0;
	int rc;

	while ((rc = store_db_step(store_reader(s), st)) == 1)
		if (n < cap)
			read(st, (uint8_t *)out + size * n++);
	return rc ? rc : (int)n;
}

/* Nothing sorts after no bytes but any bytes. */
static void bind_after(struct sqlite3_stmt *st, int at, const uint8_t *key)
{
	store_db_bind_bytes(st, at, key ? (const void *)key : "", key ? 32 : 0);
}

static void read_network(struct sqlite3_stmt *st, void *one)
{
	struct store_network *n = one;

	store_db_column_bytes(st, 0, n->netid, sizeof n->netid);
	n->first_s = store_db_column_number(st, 1);
	n->last_s = store_db_column_number(st, 2);
	n->nodes = (uint32_t)store_db_column_number(st, 3);
}

int store_networks(struct store *s, const uint8_t *after_netid, struct store_network *out, size_t cap)
{
	int rc;
	struct sqlite3_stmt *st = statement(s, NETWORKS, &rc);

	if (!st)
		return rc;
	bind_after(st, 1, after_netid);
	store_db_bind_number(st, 2, cap);
	return read_rows(s, st, out, sizeof *out, cap, read_network);
}

static void read_node(struct sqlite3_stmt *st, void *one)
{
	struct store_node *n = one;
	uint8_t seq[8];

	store_db_column_bytes(st, 0, n->netid, sizeof n->netid);
	store_db_column_bytes(st, 1, n->ik, sizeof n->ik);
	n->online = store_db_column_number(st, 2);
	store_db_column_bytes(st, 3, seq, sizeof seq);
	n->seq = load_be64(seq);
	n->record_len = (size_t)store_db_column_number(st, 4);
	n->first_s = store_db_column_number(st, 5);
	n->last_s = store_db_column_number(st, 6);
	if (store_db_column_bytes(st, 7, n->record, sizeof n->record))
		n->record_len = n->record_len < sizeof n->record ? n->record_len : sizeof n->record;
}

int store_nodes(struct store *s, const uint8_t netid[static 32], const uint8_t *after_ik,
		struct store_node *out, size_t cap)
{
	int rc;
	struct sqlite3_stmt *st = statement(s, NODES, &rc);

	if (!st)
		return rc;
	store_db_bind_bytes(st, 1, netid, 32);
	bind_after(st, 2, after_ik);
	store_db_bind_number(st, 3, cap);
	return read_rows(s, st, out, sizeof *out, cap, read_node);
}

int store_records(struct store *s, uint64_t since_s, struct store_cursor *cursor, struct store_node *out,
		  size_t cap)
{
	size_t n = 0;
	int rc;
	struct sqlite3_stmt *st = statement(s, RECORDS, &rc);

	if (!st)
		return rc;
	if (cursor->last_s < since_s)
		*cursor = (struct store_cursor) { .last_s = since_s }; /* ids begin with 1 */
	store_db_bind_number(st, 1, cursor->last_s);
	store_db_bind_number(st, 2, cursor->id);
	store_db_bind_number(st, 3, cap);
	while ((rc = store_db_step(store_reader(s), st)) == 1) {
		read_node(st, &out[n]);
		*cursor = (struct store_cursor) { out[n++].last_s, store_db_column_number(st, 8) };
	}
	return rc ? rc : (int)n;
}

static void read_usage(struct sqlite3_stmt *st, void *one)
{
	struct store_usage *u = one;

	store_db_column_bytes(st, 0, u->netid, sizeof u->netid);
	store_db_column_bytes(st, 1, u->ik, sizeof u->ik);
	u->bytes = store_db_column_number(st, 2);
}

int store_usage_list(struct store *s, const uint8_t *netid, uint32_t month, const uint8_t *after,
		     struct store_usage *out, size_t cap)
{
	int rc;
	struct sqlite3_stmt *st = statement(s, netid ? USAGE_NODES : USAGE_NETWORKS, &rc);

	if (!st)
		return rc;
	store_db_bind_number(st, 1, month);
	bind_after(st, 2, after);
	store_db_bind_number(st, 3, cap);
	if (netid)
		store_db_bind_bytes(st, 4, netid, 32);
	rc = read_rows(s, st, out, sizeof *out, cap, read_usage);
	for (int i = 0; i < rc; i++)
		out[i].month = month;
	return rc;
}

static void read_audit(struct sqlite3_stmt *st, void *one)
{
	struct store_audit *e = one;

	e->id = store_db_column_number(st, 0);
	e->time_s = store_db_column_number(st, 1);
	store_db_column_text(st, 2, e->actor, sizeof e->actor);
	store_db_column_text(st, 3, e->action, sizeof e->action);
	store_db_column_text(st, 4, e->object, sizeof e->object);
	store_db_column_text(st, 5, e->outcome, sizeof e->outcome);
	store_db_column_text(st, 6, e->detail, sizeof e->detail);
}

int store_audit_list(struct store *s, const struct store_audit_query *q, struct store_audit *out, size_t cap)
{
	int rc;
	struct sqlite3_stmt *st = statement(s, q->newest ? AUDIT_DOWN : AUDIT_UP, &rc);

	if (!st)
		return rc;
	store_db_bind_number(st, 1, !q->newest ? q->after_id : q->before_id ? q->before_id : UINT64_MAX);
	store_db_bind_number(st, 2, q->since_s);
	store_db_bind_number(st, 3, q->until_s ? q->until_s : UINT64_MAX);
	store_db_bind_text(st, 4, q->action);
	store_db_bind_number(st, 5, cap);
	return read_rows(s, st, out, sizeof *out, cap, read_audit);
}

static void read_token(struct sqlite3_stmt *st, void *one)
{
	struct store_token *t = one;

	t->id = store_db_column_number(st, 0);
	store_db_column_text(st, 1, t->name, sizeof t->name);
	store_db_column_bytes(st, 2, t->hash, sizeof t->hash);
	t->scope = store_db_column_number(st, 3) == STORE_SCOPE_ADMIN ? STORE_SCOPE_ADMIN : STORE_SCOPE_READ;
	t->created_s = store_db_column_number(st, 4);
	t->expires_s = store_db_column_number(st, 5);
	t->revoked_s = store_db_column_number(st, 6);
}

int store_token_find(struct store *s, const uint8_t hash[static STORE_TOKEN_HASH], struct store_token *out)
{
	int rc;
	struct sqlite3_stmt *st = statement(s, TOKEN, &rc);

	if (!st)
		return rc;
	store_db_bind_bytes(st, 1, hash, STORE_TOKEN_HASH);
	rc = read_rows(s, st, out, sizeof *out, 1, read_token);
	if (rc < 0)
		return rc;
	return rc == 1 && crypto_equal(out->hash, hash, STORE_TOKEN_HASH) ? 0 : -ENOENT;
}

int store_token_list(struct store *s, uint64_t after_id, struct store_token *out, size_t cap)
{
	int rc;
	struct sqlite3_stmt *st = statement(s, TOKENS, &rc);

	if (!st)
		return rc;
	store_db_bind_number(st, 1, after_id);
	store_db_bind_number(st, 2, cap);
	return read_rows(s, st, out, sizeof *out, cap, read_token);
}

/* --- the hub */

static void read_number(struct sqlite3_stmt *st, void *out)
{
	*(uint64_t *)out = store_db_column_number(st, 0);
}

uint64_t store_last_alive(struct store *s)
{
	uint64_t unix_s = 0;
	int rc;
	struct sqlite3_stmt *st = statement(s, ALIVE, &rc);

	if (st)
		read_rows(s, st, &unix_s, sizeof unix_s, 1, read_number);
	return unix_s;
}
