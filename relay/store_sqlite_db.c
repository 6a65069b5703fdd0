#include "relay/store_sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Waiting is for other processes: a `p2phub apikey` or a backup's last moment. */
enum { BUSY_MS = 3000 };

/* Durable means fsync at each commit. The log is cut back once it has grown over 16 MiB, the cache holds 2 MiB. What is in
 * the file is data: no views, triggers or functions of it are trusted. */
static const char settings[] =
	"PRAGMA synchronous=FULL; PRAGMA journal_size_limit=16777216; PRAGMA cache_size=-2048;"
	"PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;";

static const char *const journals[] = {
	[STORE_DB_MAKE] = "PRAGMA journal_mode=WAL",
	[STORE_DB_JOIN] = "PRAGMA journal_mode=WAL",
	[STORE_DB_COPY] = "PRAGMA journal_mode=DELETE",
	[STORE_DB_LOOK] = "",
};

/* SQLite would make it readable for all. An existing one is not opened here: closing it again would end the locks that
 * this process has on it. */
static int make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	close(fd);
	return 0;
}

static int open_error(const struct store_db *d, const char *path, int sqlite_rc)
{
	if (!d->sqlite)
		return -ENOMEM;
	if ((sqlite_rc & 0xff) == SQLITE_CANTOPEN && access(path, F_OK) != 0)
		return -errno;
	return store_db_error(d, sqlite_rc);
}

static int connect_to(struct store_db *d, const char *path, enum store_db_mode mode)
{
	int flags = mode == STORE_DB_LOOK ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
	int rc = sqlite3_open_v2(path, &d->sqlite, flags | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc != SQLITE_OK)
		return open_error(d, path, rc);
	/* It falls back to reading by itself. */
	if (mode != STORE_DB_LOOK && sqlite3_db_readonly(d->sqlite, "main") == 1)
		return -EROFS;
	sqlite3_extended_result_codes(d->sqlite, 1);
	sqlite3_db_config(d->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_busy_timeout(d->sqlite, BUSY_MS);
	return store_db_run(d, journals[mode]);
}

int store_db_open(struct store_db *d, const char *path, enum store_db_mode mode)
{
	int rc = mode == STORE_DB_MAKE ? make_file(path) : 0;

	*d = (struct store_db) { 0 };
	if (rc)
		return rc;
	rc = connect_to(d, path, mode);
	if (rc == 0)
		rc = store_db_run(d, settings);
	if (rc)
		store_db_close(d);
	return rc;
}

void store_db_close(struct store_db *d)
{
	for (size_t i = 0; i < STORE_DB_STATEMENTS; i++)
		sqlite3_finalize(d->statements[i]);
	sqlite3_close(d->sqlite);
	*d = (struct store_db) { 0 };
}

static int error_of_system(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT: return -ENOSPC;
	case EROFS: return -EROFS;
	case EACCES:
	case EPERM: return -EACCES;
	default: return -EIO;
	}
}

int store_db_error(const struct store_db *d, int sqlite_rc)
{
	switch (sqlite_rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE: return 0;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_READONLY: return -EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH: return -EACCES;
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return -EBUSY;
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return -EBADMSG;
	case SQLITE_CONSTRAINT: return -EEXIST;
	default: return error_of_system(sqlite3_system_errno(d->sqlite));
	}
}

int store_db_run(struct store_db *d, const char *sql)
{
	return store_db_error(d, sqlite3_exec(d->sqlite, sql, NULL, NULL, NULL));
}

/* A statement that is run once. */
static int ask(struct store_db *d, const char *sql, sqlite3_stmt **st)
{
	int rc = sqlite3_prepare_v2(d->sqlite, sql, -1, st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(*st);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -ENOENT : store_db_error(d, rc);
}

int store_db_number(struct store_db *d, const char *sql, int64_t *out)
{
	sqlite3_stmt *st = NULL;
	int rc = ask(d, sql, &st);

	if (rc == 0)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

int store_db_text(struct store_db *d, const char *sql, char *out, size_t size)
{
	sqlite3_stmt *st = NULL;
	int rc = ask(d, sql, &st);

	if (rc == 0)
		store_db_column_text(st, 0, out, size);
	sqlite3_finalize(st);
	return rc;
}

struct sqlite3_stmt *store_db_statement(struct store_db *d, unsigned index, const char *sql, int *error)
{
	int rc = SQLITE_OK;

	if (!d->statements[index])
		rc = sqlite3_prepare_v3(d->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &d->statements[index],
					NULL);
	*error = store_db_error(d, rc);
	return d->statements[index];
}

int store_db_finish(struct store_db *d, struct sqlite3_stmt *st)
{
	int rc = store_db_error(d, sqlite3_step(st));

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc;
}

int store_db_step(struct store_db *d, struct sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return 1;
	rc = store_db_error(d, rc);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc;
}

void store_db_bind_number(struct sqlite3_stmt *st, int at, uint64_t value)
{
	sqlite3_bind_int64(st, at, value < INT64_MAX ? (int64_t)value : INT64_MAX);
}

void store_db_bind_bytes(struct sqlite3_stmt *st, int at, const void *data, size_t len)
{
	sqlite3_bind_blob64(st, at, data, len, SQLITE_STATIC);
}

void store_db_bind_text(struct sqlite3_stmt *st, int at, const char *text)
{
	sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
}

uint64_t store_db_column_number(struct sqlite3_stmt *st, int at)
{
	return (uint64_t)sqlite3_column_int64(st, at);
}

size_t store_db_column_bytes(struct sqlite3_stmt *st, int at, void *out, size_t cap)
{
	const void *data = sqlite3_column_blob(st, at);
	size_t len = data ? (size_t)sqlite3_column_bytes(st, at) : 0;

	len = len < cap ? len : cap;
	if (len)
		memcpy(out, data, len);
	memset((uint8_t *)out + len, 0, cap - len);
	return len;
}

void store_db_column_text(struct sqlite3_stmt *st, int at, char *out, size_t cap)
{
	const unsigned char *text = sqlite3_column_text(st, at);

	snprintf(out, cap, "%s", text ? (const char *)text : "");
}
