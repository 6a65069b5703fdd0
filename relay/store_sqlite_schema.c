#include "relay/store_sqlite_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define APPLICATION_ID	    1882353768 /* "p2ph" */
#define APPLICATION_ID_TEXT "1882353768"

/* seq is a blob of 8 bytes, the greatest first: it has all 64 bits, and blobs compare like such numbers. */
static const struct {
	const char *up, *down;
} steps[STORE_SCHEMA + 1] = {
	[1] = {
		"PRAGMA application_id=" APPLICATION_ID_TEXT ";"
		"CREATE TABLE hub (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
		"CREATE TABLE networks (netid BLOB PRIMARY KEY, first_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
		"CREATE TABLE nodes (id INTEGER PRIMARY KEY, netid BLOB NOT NULL, ik BLOB NOT NULL,"
		" online INTEGER NOT NULL, first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, seq BLOB, record BLOB,"
		" UNIQUE (netid, ik)) STRICT;"
		"CREATE INDEX nodes_by_time ON nodes (last_s, id);"
		"CREATE INDEX nodes_online ON nodes (id) WHERE online;"
		"CREATE TABLE usage (month INTEGER NOT NULL, netid BLOB NOT NULL, ik BLOB NOT NULL,"
		" bytes INTEGER NOT NULL, PRIMARY KEY (month, netid, ik)) STRICT, WITHOUT ROWID;"
		"CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, time_s INTEGER NOT NULL, actor TEXT NOT NULL,"
		" action TEXT NOT NULL, object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL) STRICT;"
		"CREATE INDEX audit_by_time ON audit (time_s);",
		"DROP TABLE audit; DROP TABLE usage; DROP TABLE nodes; DROP TABLE networks; DROP TABLE hub;",
	},
	[2] = {
		"CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,"
		" scope INTEGER NOT NULL, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,"
		" revoked_s INTEGER NOT NULL) STRICT;"
		"CREATE UNIQUE INDEX tokens_by_name ON tokens (name) WHERE revoked_s = 0;",
		"DROP TABLE tokens;",
	},
};

static int step_to(struct store_db *d, unsigned version, const char *sql)
{
	char mark[64];

	snprintf(mark, sizeof mark, "PRAGMA user_version=%u", version);
	int rc = store_db_run(d, sql);
	return rc ? rc : store_db_run(d, mark);
}

/* The version is read inside the transaction: two processes may open the same old file. */
static int walk(struct store_db *d, unsigned version)
{
	int64_t now;
	int rc = store_db_number(d, "PRAGMA user_version", &now);

	while (rc == 0 && now < version) {
		now++;
		rc = step_to(d, (unsigned)now, steps[now].up);
	}
	while (rc == 0 && now > version) {
		now--;
		rc = step_to(d, (unsigned)now, steps[now + 1].down);
	}
	return rc;
}

int store_schema_move(struct store_db *d, unsigned version)
{
	int64_t now;
	int rc = store_db_number(d, "PRAGMA user_version", &now);

	if (rc || now == version)
		return rc;
	if (version > STORE_SCHEMA)
		return -EINVAL;
	rc = store_db_run(d, "BEGIN IMMEDIATE");
	if (rc)
		return rc;
	rc = walk(d, version);
	if (rc == 0)
		rc = store_db_run(d, "COMMIT");
	if (rc)
		store_db_run(d, "ROLLBACK");
	return rc;
}

static int refuse_damaged(const char *path, const char *what, char why[static STORE_WHY])
{
	snprintf(why, STORE_WHY,
		 "%.200s is damaged (%.100s): end the hub, and put a backup in its place with `p2phub backup "
		 "restore`; "
		 "without one, move the file away, and the hub begins a new one",
		 path, what);
	return -EBADMSG;
}

static int check_identity(struct store_db *d, const char *path, char why[static STORE_WHY])
{
	int64_t id = 0, version = 0, tables = 0;
	int rc = store_db_number(d, "PRAGMA application_id", &id);

	if (rc == 0)
		rc = store_db_number(d, "PRAGMA user_version", &version);
	if (rc == 0)
		rc = store_db_number(d, "SELECT count(*) FROM sqlite_master", &tables);
	if (rc == -EBADMSG)
		return refuse_damaged(path, "not a database", why);
	if (rc) {
		snprintf(why, STORE_WHY, "cannot read %.300s: %s", path, strerror(-rc));
		return rc;
	}
	if (version > STORE_SCHEMA) {
		snprintf(why, STORE_WHY,
			 "%.200s was made by a newer p2phub (schema %" PRId64
			 ", this one knows %d): run that one, and "
			 "there `p2phub backup create --schema %d FILE`, which this one can restore",
			 path, version, STORE_SCHEMA, STORE_SCHEMA);
		return -EPROTO;
	}
	if (tables && id != APPLICATION_ID) {
		snprintf(why, STORE_WHY, "%.200s is a database of another program: give another folder",
			 path);
		return -EPROTO;
	}
	return 0;
}

int store_schema_check(struct store_db *d, const char *path, char why[static STORE_WHY])
{
	char found[160];
	int rc = check_identity(d, path, why);

	if (rc)
		return rc;
	rc = store_db_text(d, "PRAGMA integrity_check(1)", found, sizeof found);
	if (rc == 0 && strcmp(found, "ok") == 0)
		return 0;
	if (rc == 0 || rc == -EBADMSG)
		return refuse_damaged(path, rc ? "pages that do not fit together" : found, why);
	snprintf(why, STORE_WHY, "cannot read %.300s: %s", path, strerror(-rc));
	return rc;
}
