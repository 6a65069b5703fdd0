/* One connection to the store's file: how it is opened, its statements, and what its errors mean. For store_sqlite*.c. */
#ifndef P2PD_RELAY_STORE_SQLITE_DB_H
#define P2PD_RELAY_STORE_SQLITE_DB_H

#include <stddef.h>
#include <stdint.h>

#include "relay/store.h"

struct sqlite3;
struct sqlite3_stmt;

enum { STORE_DB_STATEMENTS = 24 };

/* Zeroed: not open. */
struct store_db {
	struct sqlite3 *sqlite;
	struct sqlite3_stmt *statements[STORE_DB_STATEMENTS]; /* made at their first use */
};

enum store_db_mode {
	STORE_DB_MAKE, /* makes the file, 0600, if there is none; WAL */
	STORE_DB_JOIN, /* it must be there; WAL */
	STORE_DB_COPY, /* it must be there; one file without a log beside it: a backup */
	STORE_DB_LOOK, /* the same, read only */
};

/* 0 or a negative errno; closed then. */
int store_db_open(struct store_db *d, const char *path, enum store_db_mode mode);
void store_db_close(struct store_db *d);

/* What SQLite's last error means: -ENOSPC, -EROFS, -EACCES, -EBUSY, -ENOMEM, -EBADMSG, -EEXIST (a constraint), or -EIO. */
int store_db_error(const struct store_db *d, int sqlite_rc);
/* Runs statements without parameters. 0 or a negative errno. */
int store_db_run(struct store_db *d, const char *sql);
/* The only number that it answers with. */
int store_db_number(struct store_db *d, const char *sql, int64_t *out);
/* The first text that it answers with, cut to `size`. */
int store_db_text(struct store_db *d, const char *sql, char *out, size_t size);

/* The statement number `index` of this connection, ready to bind; `sql` is the same at each call. NULL: see `*error`. */
struct sqlite3_stmt *store_db_statement(struct store_db *d, unsigned index, const char *sql, int *error);
/* Runs one that answers nothing. 0 or a negative errno; it is ready to bind again. */
int store_db_finish(struct store_db *d, struct sqlite3_stmt *st);
/* The next row: 1; no more: 0, or a negative errno, and it is ready to bind again. */
int store_db_step(struct store_db *d, struct sqlite3_stmt *st);

/* Numbers beyond what SQLite has (2^63 - 1) become the greatest it has. */
void store_db_bind_number(struct sqlite3_stmt *st, int at, uint64_t value);
/* The bytes must stay until it was run. NULL: SQL's NULL. */
void store_db_bind_bytes(struct sqlite3_stmt *st, int at, const void *data, size_t len);
void store_db_bind_text(struct sqlite3_stmt *st, int at, const char *text);
uint64_t store_db_column_number(struct sqlite3_stmt *st, int at);
/* What does not fit is cut, what is missing is zero. The number of bytes. */
size_t store_db_column_bytes(struct sqlite3_stmt *st, int at, void *out, size_t cap);
void store_db_column_text(struct sqlite3_stmt *st, int at, char *out, size_t cap);

#endif
