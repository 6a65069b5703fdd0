/* Backups: made while others write, and put back. */
#include <pthread.h>
#include <stdatomic.h>

#include "relay/store_sqlite_schema.h"
#include "tests/unit/store_bench.h"

static char backup[96];

static int make_both(void **state)
{
	make_folder(state);
	snprintf(backup, sizeof backup, "%s/backup.db", folder);
	return 0;
}

static void made(unsigned schema)
{
	if (store_backup(file, backup, schema, why) != 0)
		fail_msg("%s", why);
}

static void restored(void)
{
	if (store_restore(file, backup, why) != 0)
		fail_msg("%s", why);
}

static bool is_there(const char *suffix)
{
	char path[128];

	snprintf(path, sizeof path, "%s%s", file, suffix);
	return access(path, F_OK) == 0;
}

static void a_backup_brings_back_what_was_there(void **state)
{
	(void)state;
	struct store *s = opened();
	struct stat st;
	char path[128];

	note(s, NOW_S, "before");
	flush(s);
	made(0);
	note(s, NOW_S, "after");
	store_close(s);
	assert_int_equal(stat(backup, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	restored();
	s = opened();
	assert_int_equal(audited(s), 1);
	store_close(s);
	assert_true(is_there(".replaced") && !is_there(".restoring"));
	snprintf(path, sizeof path, "%s-wal", backup);
	assert_int_not_equal(access(path, F_OK), 0); /* one file */
}

static void what_was_replaced_is_kept_with_its_log(void **state)
{
	(void)state;
	struct store *s = opened();
	char kept[128];

	made(0);
	note(s, NOW_S, "in the log only");
	flush(s);
	/* As after a kill: the log was not copied into the file. */
	char command[512];
	snprintf(command, sizeof command, "mkdir %s/k && cp %s %s-wal %s/k/", folder, file, file, folder);
	assert_int_equal(system(command), 0);
	store_close(s);
	snprintf(command, sizeof command, "mv %s/k/* %s/", folder, folder);
	assert_int_equal(system(command), 0);
	restored();
	s = opened();
	assert_int_equal(audited(s), 0);
	store_close(s);
	snprintf(kept, sizeof kept, "%s.replaced", file);
	strcpy(file, kept);
	s = opened();
	assert_int_equal(audited(s), 1);
	store_close(s);
}

struct writer_thread {
	atomic_bool stop;
	uint64_t written;
};

static void *write_on(void *arg)
{
	struct writer_thread *w = arg;
	struct store *s;

	if (store_open(&s, file, why) != 0)
		return NULL;
	while (!atomic_load(&w->stop)) {
		struct store_audit e = { .time_s = w->written };
		struct store_usage u = { .month = 1, .bytes = 1 };
		if (store_audit_add(s, &e) || store_usage_add(s, &u) || store_flush(s))
			break;
		w->written++;
	}
	store_close(s);
	return NULL;
}

/* All of some moment: as many bytes as entries. */
static void a_backup_while_others_write_is_of_one_moment(void **state)
{
	struct writer_thread w = { 0 };
	pthread_t thread;
	struct store *s = opened();
	struct store_usage u = { 0 };
	size_t before = 0;

	(void)state;
	for (uint32_t i = 0; i < 2000; i++)
		see(s, 1, i, 1, NOW_S);
	store_close(s);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	for (int i = 0; i < 10; i++) {
		char own[96];
		made(0);
		strcpy(own, file);
		strcpy(file, backup);
		s = opened();
		size_t entries = audited(s);
		assert_in_range(store_usage_list(s, NULL, 1, NULL, &u, 1), 0, 1);
		assert_int_equal(u.bytes, entries);
		assert_true(entries >= before);
		before = entries;
		store_close(s);
		strcpy(file, own);
		unlink(backup);
	}
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	assert_true(w.written >= before && w.written > 0);
}

static void a_backup_for_an_older_p2phub_has_its_schema(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_db d;
	int64_t version;

	note(s, NOW_S, "kept");
	flush(s);
	made(1);
	store_close(s);
	assert_int_equal(store_db_open(&d, backup, STORE_DB_LOOK), 0);
	assert_int_equal(store_db_number(&d, "PRAGMA user_version", &version), 0);
	assert_int_equal(version, 1);
	store_db_close(&d);
	restored(); /* and up again */
	s = opened();
	assert_int_equal(audited(s), 1);
	store_close(s);
}

static void what_cannot_be_is_refused_and_leaves_all_as_it_was(void **state)
{
	(void)state;
	struct store *s = opened();
	int fd;

	note(s, NOW_S, "kept");
	store_close(s);
	made(0);
	assert_int_equal(store_backup(file, backup, 0, why), -EEXIST);
	unlink(backup);
	assert_int_equal(store_backup(file, backup, STORE_SCHEMA + 1, why), -EINVAL);
	assert_int_equal(store_backup("/nowhere/hub.db", backup, 0, why), -ENOENT);
	assert_int_equal(store_backup(file, "/nowhere/backup", 0, why), -ENOENT);
	assert_int_equal(store_restore(file, backup, why), -ENOENT);
	fd = open(backup, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(store_restore(file, backup, why), -EBADMSG);
	assert_int_equal(write(fd,
			       "not a database, but long enough to be looked at as "
			       "one.........................................",
			       90),
			 90);
	close(fd);
	assert_int_equal(store_restore(file, backup, why), -EBADMSG);
	assert_false(is_there(".restoring") || is_there(".replaced"));
	s = opened();
	assert_int_equal(audited(s), 1);
	store_close(s);
}

static void a_backup_is_restored_where_there_was_nothing(void **state)
{
	(void)state;
	struct store *s = opened();

	note(s, NOW_S, "kept");
	flush(s);
	made(0);
	store_close(s);
	unlink(file);
	restored();
	s = opened();
	assert_int_equal(audited(s), 1);
	store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_both, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_backup_brings_back_what_was_there),
		TEST(what_was_replaced_is_kept_with_its_log),
		TEST(a_backup_while_others_write_is_of_one_moment),
		TEST(a_backup_for_an_older_p2phub_has_its_schema),
		TEST(what_cannot_be_is_refused_and_leaves_all_as_it_was),
		TEST(a_backup_is_restored_where_there_was_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
