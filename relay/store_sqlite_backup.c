/* A backup is made beside its name and renamed once it is whole and on the disk, so that a name never stands for half of one. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "relay/store_sqlite_internal.h"
#include "relay/store_sqlite_schema.h"

static int explain(char why[static STORE_WHY], const char *doing, const char *path, int error)
{
	snprintf(why, STORE_WHY, "cannot %s %.300s: %s", doing, path, strerror(-error));
	return error;
}

static int beside(char out[static PATH_MAX], const char *path, const char *suffix)
{
	return snprintf(out, PATH_MAX, "%s%s", path, suffix) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

static int sync_folder_of(const char *path)
{
	char copy[PATH_MAX];
	int rc = beside(copy, path, "");

	return rc ? rc : sync_path(dirname(copy));
}

static int make_empty(const char *path)
{
	if (unlink(path) && errno != ENOENT)
		return -errno;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* All pages in one step: that is one moment's state, and in WAL mode no writer waits for it. */
static int copy_pages(struct store_db *from, struct store_db *to)
{
	sqlite3_backup *b = sqlite3_backup_init(to->sqlite, "main", from->sqlite, "main");

	if (!b)
		return store_db_error(to, sqlite3_errcode(to->sqlite));
	int rc = sqlite3_backup_step(b, -1);
	int end = sqlite3_backup_finish(b);
	return rc == SQLITE_DONE ? store_db_error(to, end) : store_db_error(to, rc);
}

static int copy(struct store_db *from, const char *path)
{
	struct store_db to;
	int rc = make_empty(path);

	if (rc == 0)
		rc = store_db_open(&to, path, STORE_DB_COPY);
	if (rc)
		return rc;
	rc = copy_pages(from, &to);
	store_db_close(&to);
	return rc;
}

/* The copy says that it has a log beside it; opened anew, it is made one file. */
static int finish_copy(const char *path, unsigned schema, char why[static STORE_WHY])
{
	struct store_db d;
	int rc = store_db_open(&d, path, STORE_DB_COPY);

	if (rc)
		return explain(why, "read", path, rc);
	rc = store_schema_check(&d, path, why);
	if (rc == 0) {
		rc = store_schema_move(&d, schema);
		if (rc)
			explain(why, "convert", path, rc);
	}
	store_db_close(&d);
	if (rc == 0) {
		rc = sync_path(path);
		if (rc)
			explain(why, "write", path, rc);
	}
	return rc;
}

static int write_backup(const char *path, const char *partial, unsigned schema, char why[static STORE_WHY])
{
	struct store_db from;
	int rc = store_db_open(&from, path, STORE_DB_JOIN);
	int64_t version = 0;

	if (rc)
		return explain(why, "open", path, rc);
	rc = store_schema_check(&from, path, why);
	if (rc == 0) {
		rc = store_db_number(&from, "PRAGMA user_version", &version);
		if (rc == 0)
			rc = copy(&from, partial);
		if (rc)
			explain(why, "write", partial, rc);
	}
	store_db_close(&from);
	return rc ? rc : finish_copy(partial, schema ? schema : (unsigned)version, why);
}

int store_backup(const char *path, const char *to, unsigned schema, char why[static STORE_WHY])
{
	char partial[PATH_MAX];
	int rc = beside(partial, to, ".partial");

	if (rc == 0 && schema > STORE_SCHEMA)
		rc = -EINVAL;
	if (rc == 0 && access(to, F_OK) == 0)
		rc = -EEXIST;
	if (rc)
		return explain(why, "write", to, rc);
	rc = write_backup(path, partial, schema, why);
	if (rc == 0 && (rename(partial, to) || (rc = sync_folder_of(to))))
		rc = explain(why, "write", to, rc ? rc : -errno);
	if (rc)
		unlink(partial);
	return rc;
}

/* Makes `restoring` from `from`: checked, of our schema, and on the disk. */
static int prepare(const char *from, const char *restoring, char why[static STORE_WHY])
{
	struct store_db d;
	int rc = store_db_open(&d, from, STORE_DB_LOOK);

	if (rc)
		return explain(why, "open", from, rc);
	rc = store_schema_check(&d, from, why);
	if (rc == 0) {
		int64_t version = 0;
		rc = store_db_number(&d, "PRAGMA user_version", &version);
		if (rc == 0 && version == 0) {
			snprintf(why, STORE_WHY, "%.300s is empty: it is no backup", from);
			rc = -EBADMSG;
		} else {
			rc = rc ? rc : copy(&d, restoring);
			if (rc)
				explain(why, "write", restoring, rc);
		}
	}
	store_db_close(&d);
	return rc ? rc : finish_copy(restoring, STORE_SCHEMA, why);
}

static int move_if_there(const char *from, const char *to)
{
	return rename(from, to) && errno != ENOENT ? -errno : 0;
}

/* The old file keeps its name until the new one takes it, so at no moment is there none; its log goes first, lest it be
 * taken for the new one's. */
static int swap(const char *path, const char *restoring)
{
	char wal[PATH_MAX], shm[PATH_MAX], kept[PATH_MAX], kept_wal[PATH_MAX];
	int rc = beside(wal, path, "-wal");

	rc = rc ? rc : beside(shm, path, "-shm");
	rc = rc ? rc : beside(kept, path, ".replaced");
	rc = rc ? rc : beside(kept_wal, path, ".replaced-wal");
	if (rc)
		return rc;
	if ((unlink(kept) && errno != ENOENT) || (unlink(kept_wal) && errno != ENOENT))
		return -errno;
	if (link(path, kept) && errno != ENOENT)
		return -errno;
	rc = move_if_there(wal, kept_wal);
	if (rc)
		return rc;
	unlink(shm);
	rc = sync_folder_of(path);
	if (rc == 0 && rename(restoring, path))
		rc = -errno;
	return rc ? rc : sync_folder_of(path);
}

int store_restore(const char *path, const char *from, char why[static STORE_WHY])
{
	char restoring[PATH_MAX];
	int rc = beside(restoring, path, ".restoring");

	if (rc)
		return explain(why, "write", path, rc);
	rc = prepare(from, restoring, why);
	if (rc == 0) {
		rc = swap(path, restoring);
		if (rc)
			explain(why, "replace", path, rc);
	}
	if (rc)
		unlink(restoring);
	return rc;
}
