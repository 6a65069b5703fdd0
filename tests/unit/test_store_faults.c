/* The store when things go wrong: killed at any moment, a full, read-only or failing disk, a damaged file. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "core/crypto.h"
#include "core/log.h"
#include "tests/unit/store_bench.h"

/* ---- kill -9 */

enum { KILLS = 1000, KILLS_PER_FILE = 50 };

/* In memory where there is such a folder: a kill leaves to the kernel what was written, so the disk has no say in this, and
 * without waiting for it there are a hundred times more moments at which the child can be. */
static int make_fast_folder(void **state)
{
	(void)state;
	return make_folder_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
}

/* Numbers its writes on from `first`, and tells by the pipe which of them are durable. */
static void write_for_ever(int out, uint64_t first)
{
	struct store *s;

	if (store_open(&s, file, why) != 0)
		_exit(3);
	uint64_t ready = first - 1;
	if (write(out, &ready, sizeof ready) != sizeof ready)
		_exit(6);
	for (uint64_t i = first;; i++) {
		struct store_node n = node((uint32_t)(i % 3), (uint32_t)(i % 7), i, NOW_S + i);
		struct store_audit e = { .time_s = i };
		struct store_usage u = { .month = 1, .bytes = 1 };
		if (store_node_seen(s, &n) || store_audit_add(s, &e) || store_usage_add(s, &u))
			_exit(4);
		if (i % 3 && store_flush(s))
			_exit(5);
		if (i % 3 && write(out, &i, sizeof i) != sizeof i)
			_exit(6);
	}
}

/* The greatest number that was acknowledged before the child died. */
static uint64_t kill_one(uint64_t first, struct rng *rng)
{
	int ends[2], status;
	uint64_t acknowledged = first - 1, at;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		close(ends[0]);
		write_for_ever(ends[1], first);
	}
	close(ends[1]);
	/* One in eight is killed while it opens. */
	bool opens = rng_below(rng, 8) == 0;
	if (!opens && read(ends[0], &acknowledged, sizeof acknowledged) != sizeof acknowledged)
		fail_msg("the child did not open the store");
	struct timespec pause = { .tv_nsec = rng_below(rng, opens ? 5000000 : 3000000) };
	nanosleep(&pause, NULL);
	kill(child, SIGKILL);
	while (read(ends[0], &at, sizeof at) == sizeof at)
		acknowledged = at;
	close(ends[0]);
	waitpid(child, &status, 0);
	if (!WIFSIGNALED(status))
		fail_msg("the child ended by itself: %d", WEXITSTATUS(status));
	return acknowledged;
}

/* All up to a number are there, all of a write or nothing, and it is not below what was acknowledged. */
static uint64_t check_all(uint64_t acknowledged)
{
	struct store *s = opened();
	struct store_audit_query newest = { .newest = true };
	struct store_audit e = { 0 };
	struct store_usage u = { 0 };
	struct store_cursor cursor = { 0 };
	static struct store_node n[32];
	uint64_t last = 0;

	assert_in_range(store_audit_list(s, &newest, &e, 1), 0, 1);
	assert_in_range(store_usage_list(s, NULL, 1, NULL, &u, 1), 0, 1);
	int nodes = store_records(s, 0, &cursor, n, 32);
	for (int i = 0; i < nodes; i++) {
		struct store_node want = node((uint32_t)(n[i].seq % 3), (uint32_t)(n[i].seq % 7), n[i].seq,
					      0);
		assert_memory_equal(n[i].ik, want.ik, 32);
		assert_memory_equal(n[i].record, want.record, want.record_len);
		last = n[i].seq > last ? n[i].seq : last;
	}
	if (e.time_s < acknowledged || last != e.time_s || audited(s) != e.time_s || u.bytes != e.time_s)
		fail_msg("acknowledged %llu; audit up to %llu (%zu of them), records up to %llu, usage %llu",
			 (unsigned long long)acknowledged, (unsigned long long)e.time_s, audited(s),
			 (unsigned long long)last, (unsigned long long)u.bytes);
	store_close(s);
	return e.time_s;
}

static void nothing_acknowledged_is_lost_by_kill_at_any_moment(void **state)
{
	const char *wish = getenv("P2PD_STORE_KILLS");
	int kills = wish ? atoi(wish) : KILLS;
	uint64_t last = 0, writes = 0;
	struct rng rng;

	rng_init_seed(&rng, 5);
	for (int i = 0; i < kills; i++) {
		if (i % KILLS_PER_FILE == 0 && i) {
			writes += last;
			last = 0;
			remove_folder(state);
			make_fast_folder(state);
		}
		uint64_t acknowledged = kill_one(last + 1, &rng);
		last = check_all(acknowledged);
	}
	print_message("%d kills, %llu writes kept\n", kills, (unsigned long long)(writes + last));
	assert_true(writes + last > (uint64_t)kills);
}

/* ---- disks. In a child, with mounts of its own; 77: not root, or not allowed. */

enum { SKIPPED = 77 };

static void in_child(void (*run)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("tmpfs", folder, "tmpfs", 0, "size=1m,mode=700"))
			_exit(SKIPPED);
		run();
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
		print_message("needs root and mounts: skipped\n");
		skip();
	}
	if (status)
		fail_msg("the child ended with %#x", status);
}

#define CHECK(what)                                                                          \
	do {                                                                                 \
		if (!(what)) {                                                               \
			fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #what); \
			_exit(1);                                                            \
		}                                                                            \
	} while (0)

static void fill_disk(const char *path)
{
	static const uint8_t block[4096] = { 1 };
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	CHECK(fd >= 0);
	while (write(fd, block, sizeof block) > 0)
		;
	close(fd);
}

static void run_full(void)
{
	char filler[128];
	struct store *s;
	struct store_node n;
	uint8_t net[32];
	int rc = 0;

	snprintf(filler, sizeof filler, "%s/filler", folder);
	CHECK(store_open(&s, file, why) == 0);
	n = node(1, 1, 1, NOW_S);
	CHECK(store_node_seen(s, &n) == 0 && store_flush(s) == 0);
	fill_disk(filler);
	for (uint32_t i = 2; i < 1000 && rc == 0; i++) { /* until what the log has is used up */
		n = node(1, i, 1, NOW_S);
		CHECK(store_node_seen(s, &n) == 0);
		rc = store_flush(s);
	}
	CHECK(rc == -ENOSPC && store_state(s) == STORE_FULL);
	size_t waiting = store_waiting(s);
	CHECK(waiting == 1 && store_flush(s) == -ENOSPC);
	CHECK(store_nodes(s, id(net, 1), NULL, &n, 1) == 1); /* it still reads */
	n = node(2, 1, 1, NOW_S);
	CHECK(store_node_seen(s, &n) == 0 && store_flush(s) == -ENOSPC && store_waiting(s) == 2);
	struct store_token t = { .name = "ops", .scope = STORE_SCOPE_READ };
	CHECK(store_token_add(s, &t) == -ENOSPC);
	CHECK(store_token_find(s, t.hash, &t) == -ENOENT);
	CHECK(unlink(filler) == 0);
	CHECK(store_flush(s) == 0 && store_state(s) == STORE_OK && store_waiting(s) == 0);
	CHECK(store_nodes(s, id(net, 2), NULL, &n, 1) == 1);
	CHECK(store_token_add(s, &t) == 0);
	store_close(s);
	CHECK(store_open(&s, file, why) == 0);
	CHECK(store_nodes(s, id(net, 2), NULL, &n, 1) == 1);
	store_close(s);
}

static void a_full_disk_keeps_writes_waiting_until_there_is_room(void **state)
{
	(void)state;
	in_child(run_full);
}

static void run_full_at_start(void)
{
	char filler[128];
	struct store *s;

	snprintf(filler, sizeof filler, "%s/filler", folder);
	fill_disk(filler);
	CHECK(store_open(&s, file, why) == -ENOSPC);
	CHECK(strstr(why, "make room"));
	CHECK(unlink(filler) == 0 && store_open(&s, file, why) == 0);
	store_close(s);
}

static void a_full_disk_at_the_start_is_told(void **state)
{
	(void)state;
	in_child(run_full_at_start);
}

static void run_read_only(void)
{
	struct store *s;

	CHECK(store_open(&s, file, why) == 0);
	store_close(s);
	CHECK(mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHECK(store_open(&s, file, why) == -EROFS);
	CHECK(strstr(why, "must be writable"));
	CHECK(unlink(file) && errno == EROFS);
}

static void a_read_only_disk_at_the_start_is_told(void **state)
{
	(void)state;
	in_child(run_read_only);
}

/* The same as when the kernel makes a failing disk read-only under a running program: what is open stays open, and each
 * write fails. (A limit on the size of files does that, too, and needs no root.) */
static void a_disk_that_fails_keeps_writes_waiting_until_it_works(void **state)
{
	(void)state;
	struct store *s = opened();
	struct rlimit before, none;
	struct store_node n;
	uint8_t net[32];

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = (struct rlimit) { .rlim_cur = 0, .rlim_max = before.rlim_max };
	see(s, 1, 1, 1, NOW_S);
	flush(s);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	see(s, 1, 2, 1, NOW_S);
	int rc = store_flush(s), again = store_flush(s);
	enum store_state meanwhile = store_state(s);
	int readable = store_nodes(s, id(net, 1), NULL, &n, 1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(rc, -EIO);
	assert_int_equal(again, -EIO);
	assert_int_equal(meanwhile, STORE_FAILING);
	assert_int_equal(readable, 1);
	flush(s);
	assert_int_equal(store_state(s), STORE_OK);
	static struct store_node both[2];
	assert_int_equal(store_nodes(s, net, NULL, both, 2), 2);
	store_close(s);
}

/* ---- damage */

static void fill(uint32_t nodes)
{
	struct store *s = opened();

	for (uint32_t i = 0; i < nodes; i++)
		see(s, i % 5, i, 1, NOW_S + i);
	store_close(s);
}

static void overwrite(long at, size_t len)
{
	static const uint8_t junk[8192] = { 0x5a, 0xff, 0x13, 0x77 };
	int fd = open(file, O_WRONLY);

	assert_int_equal(pwrite(fd, junk, len, at), (ssize_t)len);
	close(fd);
}

static void a_damaged_file_is_refused_with_advice(void **state)
{
	const struct {
		const char *what;
		long at;
		size_t len;
	} cases[] = { { "header", 0, 100 },
		      { "schema", 100, 200 },
		      { "pages", 40960, 8192 },
		      { "one page's head", 20480, 12 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store *s;
		fill(400);
		overwrite(cases[i].at, cases[i].len);
		int rc = store_open(&s, file, why);
		if (rc != -EBADMSG || !strstr(why, "damaged") || !strstr(why, "p2phub backup restore"))
			fail_msg("%s: %d %s", cases[i].what, rc, rc ? why : "");
		remove_folder(state);
		make_folder(state);
	}
}

static void a_file_that_was_cut_off_is_refused(void **state)
{
	(void)state;
	struct store *s;

	fill(400);
	assert_int_equal(truncate(file, 30000), 0);
	assert_int_equal(store_open(&s, file, why), -EBADMSG);
}

/* ---- two at once */

static void a_reader_waits_for_no_writer_and_a_writer_is_told_of_another(void **state)
{
	(void)state;
	struct store *s = opened(), *other = opened();
	struct store_node n;
	uint8_t net[32];

	for (uint32_t i = 1; i < 50; i++) {
		see(i % 2 ? s : other, 1, i, 1, NOW_S);
		flush(i % 2 ? s : other);
		assert_int_equal(store_nodes(i % 2 ? other : s, id(net, 1), NULL, &n, 1), 1);
	}
	store_close(other);
	store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_acknowledged_is_lost_by_kill_at_any_moment,
						make_fast_folder, remove_folder),
		TEST(a_full_disk_keeps_writes_waiting_until_there_is_room),
		TEST(a_full_disk_at_the_start_is_told),
		TEST(a_read_only_disk_at_the_start_is_told),
		TEST(a_disk_that_fails_keeps_writes_waiting_until_it_works),
		TEST(a_damaged_file_is_refused_with_advice),
		TEST(a_file_that_was_cut_off_is_refused),
		TEST(a_reader_waits_for_no_writer_and_a_writer_is_told_of_another),
	};

	crypto_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
