/* The hub's memory on the loop: what coord says is on the disk soon, and in coord again after a restart. And the commands
 * that work on it. */
#include <fcntl.h>
#include <sys/wait.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_data.h"
#include "apps/p2phub/serve_internal.h"
#include "core/fail.h"
#include "tests/unit/store_bench.h"

struct world {
	struct serve hub;
	struct loop_timer *poll;
	struct store *eye; /* another process's view */
	uint64_t until_ms;
	struct member_key key;
	bool (*done)(struct world *w);
};

static void begin(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->hub.loop = loop_create();
	rng_init_seed(&w->hub.rng, 1);
	w->hub.relay = relay_server_create(100, 100, &w->hub.rng);
	struct coord_config config = { .relay = w->hub.relay, .rng = &w->hub.rng, .max_nodes = 100 };
	w->hub.coord = coord_create(&config);
	assert_int_equal(serve_open_store(&w->hub, folder), 0);
	assert_non_null(w->hub.store);
	w->eye = opened();
	id(w->key.netid, 1);
	id(w->key.ik, 2);
}

static void end(struct world *w)
{
	store_close(w->eye);
	serve_close_store(&w->hub);
	loop_destroy(w->hub.loop);
	coord_destroy(w->hub.coord);
	relay_server_destroy(w->hub.relay);
}

static void on_poll(void *arg)
{
	struct world *w = arg;

	if (w->done(w)) {
		loop_stop(w->hub.loop);
		return;
	}
	if (loop_now_ms() > w->until_ms)
		fail_msg("waited in vain");
	loop_timer_set(w->poll, loop_now_ms() + 5);
}

static void wait_for(struct world *w, bool (*done)(struct world *w))
{
	w->done = done;
	w->until_ms = loop_now_ms() + 30000;
	w->poll = loop_timer_create(w->hub.loop, on_poll, w);
	loop_timer_set(w->poll, loop_now_ms());
	loop_run(w->hub.loop);
	loop_timer_destroy(w->poll);
}

static bool hub_start_is_kept(struct world *w)
{
	return audited(w->eye) == 1;
}

static int look(struct world *w, struct store_node *n)
{
	uint8_t net[32];
	return store_nodes(w->eye, id(net, 1), NULL, n, 1);
}

static bool node_is_online(struct world *w)
{
	struct store_node n;
	return look(w, &n) == 1 && n.online && n.record_len == 6;
}

static bool node_is_gone(struct world *w)
{
	struct store_node n;
	return look(w, &n) == 1 && !n.online;
}

static struct member *arrive(struct world *w, void *link)
{
	struct roster *r = coord_roster(w->hub.coord);
	struct member *m = roster_arrive(r, &w->key, 7, link);

	assert_non_null(m);
	assert_int_equal(roster_keep(r, m, 5, (const uint8_t *)"record", 6), 0);
	serve_store_soon(&w->hub);
	return m;
}

static void what_changes_is_on_the_disk_soon_and_back_after_a_restart(void **state)
{
	(void)state;
	struct world w;
	int link;

	begin(&w);
	wait_for(&w, hub_start_is_kept);
	struct member *m = arrive(&w, &link);
	wait_for(&w, node_is_online);
	roster_leave(coord_roster(w.hub.coord), m, loop_now_ms());
	serve_store_soon(&w.hub);
	wait_for(&w, node_is_gone);
	end(&w);
	begin(&w);
	m = roster_find(coord_roster(w.hub.coord), &w.key);
	assert_non_null(m);
	assert_true(m->seq == 5 && m->record_len == 6 && !m->link);
	assert_memory_equal(m->record, "record", 6);
	end(&w);
}

static void what_changed_last_is_written_when_the_hub_ends(void **state)
{
	(void)state;
	struct world w;
	struct store_node n;
	int link;

	begin(&w);
	arrive(&w, &link);
	end(&w);
	begin(&w);
	assert_int_equal(look(&w, &n), 1);
	assert_true(n.record_len == 6 && !n.online);
	assert_non_null(roster_find(coord_roster(w.hub.coord), &w.key));
	end(&w);
}

static void a_hub_whose_store_is_damaged_serves_without_one(void **state)
{
	(void)state;
	struct serve hub = { 0 };
	int fd = open(file, O_CREAT | O_WRONLY, 0600);

	for (int i = 0; i < 200; i++)
		assert_int_equal(write(fd, "no database at all. ", 20), 20);
	close(fd);
	assert_int_equal(serve_open_store(&hub, folder), 0);
	assert_null(hub.store);
	serve_store_soon(&hub);
	serve_close_store(&hub);
	assert_int_equal(serve_open_store(&hub, NULL), 0);
	serve_close_store(&hub);
}

/* ---- commands. In a child: some become the folder's owner. */

static int run_command(int (*command)(int, char **), const char *const *words, char *out, size_t size)
{
	char *argv[12] = { NULL };
	int argc = 0, status, ends[2];
	size_t len = 0;
	ssize_t n;

	for (; words[argc]; argc++)
		argv[argc] = (char *)words[argc];
	assert_int_equal(pipe(ends), 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], 1);
		int code = command(argc, argv);
		fflush(stdout);
		_exit(code);
	}
	close(ends[1]);
	while (len < size - 1 && (n = read(ends[0], out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = 0;
	close(ends[0]);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char said[65536];

#define RUN(command, ...) \
	run_command(command, (const char *const[]) { #command, __VA_ARGS__, NULL }, said, sizeof said)

static size_t lines_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void audit_is_told_as_lines_of_json(void **state)
{
	(void)state;
	struct store *s = opened();

	for (uint64_t i = 0; i < 250; i++)
		note(s, NOW_S + i * 3600, i % 10 ? "node.forget" : "token.create");
	store_close(s);
	const struct {
		int code;
		size_t lines;
		const char *words[5];
	} cases[] = {
		{ EXIT_OK, 20, { "tail" } },
		{ EXIT_OK, 150, { "tail", "-n", "150" } },
		{ EXIT_OK, 250, { "tail", "-n", "1000" } },
		{ EXIT_OK, 0, { "tail", "-n", "0" } },
		{ EXIT_OK, 5, { "tail", "-n", "5", "--action", "token.create" } },
		{ EXIT_OK, 250, { "export" } },
		{ EXIT_OK, 25, { "export", "--action", "token.create" } },
		{ EXIT_OK, 250, { "export", "--since", "2026-09-21" } },
		{ EXIT_OK, 250 - 34, { "export", "--since", "2026-09-23" } },
		{ EXIT_OK, 2, { "export", "--until", "2026-09-21T15:59:59Z" } },
		{ EXIT_USAGE, 0, { "export", "--since", "yesterday" } },
		{ EXIT_USAGE, 0, { "export", "--since", "-3d" } },
		{ EXIT_USAGE, 0, { "look" } },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const *k = cases[i].words;
		int code = run_command(cmd_audit,
				       (const char *const[]) { "audit", "--data", folder, k[0], k[1], k[2],
							       k[3], k[4], NULL },
				       said, sizeof said);
		if (code != cases[i].code || lines_of(said) != cases[i].lines)
			fail_msg("case %zu: %d, %zu lines: %.300s", i, code, lines_of(said), said);
	}
	assert_int_equal(RUN(cmd_audit, "--data", folder, "tail", "-n", "1"), 0);
	assert_non_null(strstr(said, "{\"schema\":\"p2phub.audit/1\""));
	assert_non_null(strstr(said, "\"id\":250,"));
	assert_non_null(strstr(said, "\"detail\":{\"a\":1}"));
}

static void backups_are_made_and_put_back_by_command(void **state)
{
	(void)state;
	struct store *s = opened();
	char backup[96];

	snprintf(backup, sizeof backup, "%s/copy", folder);
	note(s, NOW_S, "kept");
	flush(s);
	assert_int_equal(RUN(cmd_backup, "create", backup, "--data", folder), EXIT_OK);
	assert_int_equal(RUN(cmd_backup, "create", backup, "--data", folder), EXIT_CONFLICT);
	note(s, NOW_S, "lost");
	flush(s);
	assert_int_equal(audited(s), 3);
	store_close(s);
	int dir = hub_data_open(folder), lock = hub_data_lock(dir);
	assert_int_equal(RUN(cmd_backup, "restore", backup, "--data", folder), EXIT_CONFLICT);
	close(lock);
	close(dir);
	assert_int_equal(RUN(cmd_backup, "restore", "/nowhere", "--data", folder), EXIT_NOT_FOUND);
	assert_int_equal(RUN(cmd_backup, "restore", backup, "--schema", "1", "--data", folder), EXIT_USAGE);
	assert_int_equal(RUN(cmd_backup, "turn", backup, "--data", folder), EXIT_USAGE);
	assert_int_equal(RUN(cmd_backup, "restore", backup, "--data", folder), EXIT_OK);
	s = opened();
	struct store_audit e[3];
	assert_int_equal(store_audit_list(s, &(struct store_audit_query) { 0 }, e, 3), 2);
	assert_string_equal(e[0].action, "kept");
	assert_string_equal(e[1].action, "backup.restore");
	store_close(s);
}

/* As with systemd's users of services: the folder is the hub's, and root works in it. */
static void root_leaves_all_to_the_hubs_user(void **state)
{
	(void)state;
	static const char *const names[] = { "hub.db", "hub.db-wal", "hub.db-shm", "lock" };
	struct store *s;
	char backup[96], path[128];
	struct stat st;

	if (geteuid() != 0)
		skip();
	s = opened();
	note(s, NOW_S, "kept");
	store_close(s);
	assert_int_equal(chown(folder, 12345, 12345), 0);
	assert_int_equal(chown(file, 12345, 12345), 0);
	snprintf(backup, sizeof backup, "%s/copy", folder);
	assert_int_equal(RUN(cmd_backup, "create", backup, "--data", folder), EXIT_OK);
	assert_int_equal(RUN(cmd_backup, "restore", backup, "--data", folder), EXIT_OK);
	assert_int_equal(RUN(cmd_audit, "tail", "--data", folder), EXIT_OK);
	s = opened();
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		assert_int_equal(stat(path, &st), 0);
		if (st.st_uid != 12345)
			fail_msg("%s belongs to %u", names[i], st.st_uid);
	}
	store_close(s);
}

static void commands_say_when_there_is_no_hub(void **state)
{
	(void)state;
	assert_int_equal(RUN(cmd_audit, "tail", "--data", folder), EXIT_NOT_FOUND);
	assert_int_equal(RUN(cmd_backup, "create", "/tmp/never", "--data", folder), EXIT_NOT_FOUND);
	assert_int_not_equal(access(file, F_OK), 0); /* looking makes nothing */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_changes_is_on_the_disk_soon_and_back_after_a_restart),
		TEST(what_changed_last_is_written_when_the_hub_ends),
		TEST(a_hub_whose_store_is_damaged_serves_without_one),
		TEST(audit_is_told_as_lines_of_json),
		TEST(backups_are_made_and_put_back_by_command),
		TEST(root_leaves_all_to_the_hubs_user),
		TEST(commands_say_when_there_is_no_hub),
	};

	crypto_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
