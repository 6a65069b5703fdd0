#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_store.h"
#include "core/options.h"

static void audit(const char *data, const char *action, const char *file)
{
	struct store *s;

	if (hub_store_open(&s, data))
		return;
	hub_store_audit(s, action, file);
	store_close(s);
}

static int create(const char *data, const char *file, long schema)
{
	char path[HUB_DATA_PATH], why[STORE_WHY];

	if (hub_data_path(path, data, HUB_DATA_STORE) != 0)
		return fail_with(EXIT_USAGE, "--data: the path is too long");
	int rc = store_backup(path, file, (unsigned)schema, why);
	if (rc)
		return hub_store_fail(rc, why);
	audit(data, "backup.create", file);
	printf("%s\n", file);
	fprintf(stderr,
		"p2phub: tls.key, which nodes know the hub by, is not in it: keep a copy of %s/tls.key, "
		"too\n",
		data);
	return EXIT_OK;
}

/* What root makes in the folder is to be the hub's. */
static int give_to_owner(int dir, const char *name)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	return fstat(dir, &st) || fchownat(dir, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/* Root may do it for a hub that has a user of its own. It does not become that user: systemd keeps such folders where only
 * root gets (/var/lib/private). */
static int open_folder(const char *data)
{
	int dir = hub_data_open(data);
	struct stat st;

	if (dir != -EPERM || geteuid() != 0)
		return dir;
	dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (fstat(dir, &st) == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return dir;
	close(dir);
	return -EPERM;
}

static int restore_in(const char *data, int dir, const char *file)
{
	char path[HUB_DATA_PATH], why[STORE_WHY];

	if (hub_data_path(path, data, HUB_DATA_STORE) != 0)
		return fail_with(EXIT_USAGE, "--data: the path is too long");
	int rc = store_restore(path, file, why);
	if (rc)
		return hub_store_fail(rc, why);
	rc = give_to_owner(dir, HUB_DATA_STORE);
	if (rc)
		return fail_with(EXIT_FAILED, "restored, but %s could not be given to the hub's user: %s",
				 path, strerror(-rc));
	audit(data, "backup.restore", file);
	printf("restored; what was there before is %s.replaced\n", path);
	return EXIT_OK;
}

/* The lock is held meanwhile, so that no hub starts. */
static int restore(const char *data, const char *file)
{
	int dir = open_folder(data), code;

	if (dir < 0)
		return fail_with(dir == -EACCES || dir == -EPERM ? EXIT_DENIED : EXIT_FAILED,
				 "cannot open the data folder %s: %s", data, strerror(-dir));
	int lock = hub_data_lock(dir);
	if (lock == -EBUSY)
		code = fail_with(EXIT_CONFLICT, "a hub serves from %s: end it first", data);
	else if (lock < 0)
		code = fail_with(lock == -EACCES ? EXIT_DENIED : EXIT_FAILED, "cannot lock %s: %s", data,
				 strerror(-lock));
	else if (give_to_owner(dir, HUB_DATA_LOCK) != 0)
		code = fail_with(EXIT_FAILED, "cannot give files in %s to the hub's user", data);
	else
		code = restore_in(data, dir, file);
	if (lock >= 0)
		close(lock);
	close(dir);
	return code;
}

int cmd_backup(int argc, char **argv)
{
	const char *data = HUB_DATA;
	long schema = 0;
	const struct options_entry entries[] = {
		{ "data", "DIR", "the hub's data folder (" HUB_DATA ")", .text = &data },
		{ "schema", "N", "create: in an older form, for an older p2phub", .number = &schema, .min = 1,
		  .max = 1000 },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2phub backup create FILE | restore FILE [options]",
		.about = "Writes what the hub keeps to a new file, while it runs, or puts such a file back "
			 "once it has "
			 "ended.",
		.entries = entries,
		.min_args = 2,
		.max_args = 2,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (!strcmp(args.items[0], "create"))
		return create(data, args.items[1], schema);
	if (strcmp(args.items[0], "restore") != 0)
		return fail_with(EXIT_USAGE, "create or restore, not '%.20s'", args.items[0]);
	if (schema)
		return fail_with(EXIT_USAGE, "--schema is for create");
	return restore(data, args.items[1]);
}
