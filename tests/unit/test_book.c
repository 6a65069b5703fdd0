#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apps/p2pd/forward/book.h"
#include "core/file.h"

enum { DAY = 86400, NOW = 1790000000 };

struct bench {
	char path[64];
	int dir;
	struct book *b;
	struct rng rng;
};

static int set_up(void **state)
{
	struct bench *t = calloc(1, sizeof *t);

	strcpy(t->path, "/tmp/p2pd-book-XXXXXX");
	if (!mkdtemp(t->path))
		return -1;
	t->dir = file_open_dir(t->path);
	rng_init_seed(&t->rng, 1);
	*state = t;
	return book_open(&t->b, t->dir);
}

static int tear_down(void **state)
{
	static const char *const names[] = { "forwards.json", ".forwards.json.tmp", "forwards.json.spoilt" };
	struct bench *t = *state;

	book_close(t->b);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlinkat(t->dir, names[i], 0);
	close(t->dir);
	int rc = rmdir(t->path);
	free(t);
	return rc;
}

static struct rule rule_at(const char *name, uint16_t port)
{
	struct rule r;
	char local[64], why[RULE_WHY];

	rule_init(&r);
	snprintf(local, sizeof local, "192.168.50.10:%u", port);
	snprintf(r.name, sizeof r.name, "%s", name);
	if (rule_read_local(&r, local, why))
		fail_msg("%s", why);
	return r;
}

static struct rule added(struct bench *t, const char *name, uint16_t port)
{
	struct rule r = rule_at(name, port);

	assert_int_equal(book_add(t->b, &r, false, NOW, &t->rng), 0);
	return r;
}

static void reopen(struct bench *t)
{
	book_close(t->b);
	assert_int_equal(book_open(&t->b, t->dir), 0);
}

/* What is in the book, in one line: "web:80 nas:443- ..."; - is a tombstone, ! a paused one. */
static const char *content(const struct book *b, char out[static 4096])
{
	size_t at = 0;

	*out = 0;
	for (size_t i = 0; i < book_count(b); i++) {
		const struct rule *r = book_at(b, i);
		at += (size_t)snprintf(out + at, 4096 - at, "%s%s:%u%s%s", i ? " " : "", r->name,
				       r->ranges[0].first, r->removed_at ? "-" : "", r->paused ? "!" : "");
	}
	return out;
}

static void assert_content(struct bench *t, const char *want)
{
	char got[4096];

	assert_string_equal(content(t->b, got), want);
	reopen(t);
	assert_string_equal(content(t->b, got), want);
}

static void rules_are_there_after_a_restart_as_they_were(void **state)
{
	struct bench *t = *state;
	struct rule first = added(t, "web", 80);
	struct rule second = added(t, "nas", 443);
	struct rule *found;

	assert_true(memcmp(first.id, second.id, FORWARD_ID) < 0);
	assert_content(t, "web:80 nas:443");
	found = (struct rule *)book_by_id(t->b, first.id);
	assert_non_null(found);
	assert_memory_equal(found, &first, sizeof first);
	assert_int_equal(found->created_at, NOW);
	assert_int_equal(found->changed_at, NOW);
}

static void a_rule_is_found_by_id_or_by_a_name_that_only_it_has(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80), other;
	char id[RULE_ID_TEXT];

	added(t, "", 81);
	assert_ptr_equal(book_find(t->b, "web"), book_at(t->b, 0));
	assert_ptr_equal(book_find(t->b, rule_id_text(web.id, id)), book_at(t->b, 0));
	assert_null(book_find(t->b, "nas"));
	assert_null(book_find(t->b, ""));
	assert_null(book_find(t->b, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
	other = added(t, "web", 82);
	assert_null(book_find(t->b, "web"));
	assert_int_equal(book_remove(t->b, other.id, NOW), 0);
	assert_ptr_equal(book_find(t->b, "web"), book_at(t->b, 0));
	assert_ptr_equal(book_find(t->b, rule_id_text(other.id, id)), book_at(t->b, 2));
}

static void a_port_is_given_once_unless_forced(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80), r = rule_at("second", 80);

	added(t, "nas", 443);
	assert_int_equal(book_add(t->b, &r, false, NOW, &t->rng), -EEXIST);
	assert_memory_equal(book_conflict(t->b, &r)->id, web.id, FORWARD_ID);
	assert_content(t, "web:80 nas:443");
	assert_int_equal(book_add(t->b, &r, true, NOW, &t->rng), 0);
	assert_content(t, "web:80- nas:443 second:80");
	assert_null(book_conflict(t->b, &r));
	assert_int_equal(book_restore(t->b, web.id, NOW), -EEXIST);
	assert_content(t, "web:80- nas:443 second:80");
}

static void a_change_keeps_id_and_making_and_claims_its_ports(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80), nas = added(t, "nas", 443), r;

	r = web;
	r.ranges[0].first = 443;
	r.created_at = r.removed_at = 1;
	assert_int_equal(book_set(t->b, &r, false, NOW + 5), -EEXIST);
	r.ranges[0].first = 8080;
	assert_int_equal(book_set(t->b, &r, false, NOW + 5), 0);
	assert_content(t, "web:8080 nas:443");
	assert_int_equal(book_at(t->b, 0)->created_at, NOW);
	assert_int_equal(book_at(t->b, 0)->changed_at, NOW + 5);
	r.ranges[0].first = 443;
	assert_int_equal(book_set(t->b, &r, true, NOW + 6), 0);
	assert_content(t, "web:443 nas:443-");
	assert_int_equal(book_set(t->b, &nas, false, NOW), -ENOENT);
	r.ranges[0].count = 0;
	assert_int_equal(book_set(t->b, &r, false, NOW), -EINVAL);
	assert_content(t, "web:443 nas:443-");
}

static void what_is_paused_or_removed_is_so_after_a_restart(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80);
	uint8_t unknown[FORWARD_ID] = { 0 };

	assert_int_equal(book_pause(t->b, web.id, true, NOW + 1), 0);
	assert_content(t, "web:80!");
	assert_int_equal(book_pause(t->b, web.id, false, NOW + 2), 0);
	assert_content(t, "web:80");
	assert_int_equal(book_remove(t->b, web.id, NOW + 3), 0);
	assert_content(t, "web:80-");
	assert_int_equal(book_remove(t->b, web.id, NOW + 4), -ENOENT);
	assert_int_equal(book_pause(t->b, web.id, true, NOW + 4), -ENOENT);
	assert_int_equal(book_restore(t->b, web.id, NOW + 5), 0);
	assert_int_equal(book_restore(t->b, web.id, NOW + 6), 0);
	assert_content(t, "web:80");
	assert_int_equal(book_remove(t->b, unknown, NOW), -ENOENT);
	assert_int_equal(book_restore(t->b, unknown, NOW), -ENOENT);
}

static void tombstones_stay_for_thirty_days(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80), nas = added(t, "nas", 443);

	added(t, "dns", 53);
	assert_int_equal(book_remove(t->b, web.id, NOW), 0);
	assert_int_equal(book_remove(t->b, nas.id, NOW + DAY), 0);
	assert_false(book_prune(t->b, NOW + 30 * DAY - 1));
	assert_content(t, "web:80- nas:443- dns:53");
	assert_true(book_prune(t->b, NOW + 30 * DAY));
	assert_content(t, "nas:443- dns:53");
	assert_int_equal(book_restore(t->b, web.id, NOW + 30 * DAY), -ENOENT);
}

static void where_there_is_no_room_the_oldest_tombstone_gives_way(void **state)
{
	struct bench *t = *state;
	struct rule r;

	book_begin(t->b);
	for (uint16_t i = 0; i < BOOK_RULES_MAX; i++)
		added(t, "x", (uint16_t)(1000 + i));
	assert_int_equal(book_commit(t->b), 0);
	r = rule_at("more", 1);
	assert_int_equal(book_add(t->b, &r, false, NOW, &t->rng), -E2BIG);
	uint8_t id[FORWARD_ID];
	memcpy(id, book_at(t->b, 7)->id, sizeof id);
	assert_int_equal(book_remove(t->b, book_at(t->b, 9)->id, NOW + 1), 0);
	assert_int_equal(book_remove(t->b, id, NOW), 0);
	assert_int_equal(book_add(t->b, &r, false, NOW, &t->rng), 0);
	assert_null(book_by_id(t->b, id));
	assert_int_equal(book_count(t->b), BOOK_RULES_MAX);
	reopen(t);
	assert_int_equal(book_count(t->b), BOOK_RULES_MAX);
}

static void several_changes_are_made_together_or_not_at_all(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80), nas = added(t, "nas", 443);
	char got[4096];

	book_begin(t->b);
	assert_int_equal(book_remove(t->b, web.id, NOW), 0);
	added(t, "dns", 53);
	assert_int_equal(book_pause(t->b, nas.id, true, NOW), 0);
	assert_string_equal(content(t->b, got), "web:80- nas:443! dns:53");
	book_rollback(t->b);
	assert_content(t, "web:80 nas:443");

	book_begin(t->b);
	assert_int_equal(book_remove(t->b, web.id, NOW), 0);
	added(t, "dns", 53);
	assert_int_equal(book_commit(t->b), 0);
	assert_content(t, "web:80- nas:443 dns:53");
}

static void two_rules_swap_their_ports_in_one_go(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80), nas = added(t, "nas", 443);

	web.ranges[0].first = 443;
	nas.ranges[0].first = 80;
	assert_int_equal(book_set(t->b, &web, false, NOW), -EEXIST);
	book_begin(t->b);
	assert_int_equal(book_set(t->b, &web, false, NOW), 0);
	assert_int_equal(book_set(t->b, &nas, false, NOW), 0);
	assert_int_equal(book_commit(t->b), 0);
	assert_content(t, "web:443 nas:80");

	book_begin(t->b);
	nas.ranges[0].first = 443;
	assert_int_equal(book_set(t->b, &nas, false, NOW), 0);
	assert_int_equal(book_commit(t->b), -EEXIST);
	assert_content(t, "web:443 nas:80");
}

static void one_error_among_several_undoes_them_all(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80);
	uint8_t unknown[FORWARD_ID] = { 0 };

	book_begin(t->b);
	assert_int_equal(book_remove(t->b, web.id, NOW), 0);
	assert_int_equal(book_remove(t->b, unknown, NOW), -ENOENT);
	added(t, "dns", 53);
	assert_int_equal(book_commit(t->b), -ENOENT);
	assert_content(t, "web:80");
}

/* The size limit makes the write fail half way, as a full disk does. */
static void a_failing_disk_changes_nothing(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80), r = rule_at("second", 80);
	struct rlimit old, small;
	char got[4096];

	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit) { .rlim_cur = 100, .rlim_max = old.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	int rc[] = { book_add(t->b, &r, true, NOW, &t->rng), book_remove(t->b, web.id, NOW),
		     book_pause(t->b, web.id, true, NOW), book_set(t->b, &web, false, NOW + 1),
		     book_save(t->b) };
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	for (size_t i = 0; i < sizeof rc / sizeof *rc; i++)
		assert_int_equal(rc[i], -EFBIG);
	assert_string_equal(content(t->b, got), "web:80");
	assert_int_equal(book_at(t->b, 0)->changed_at, NOW);
	assert_content(t, "web:80");
}

static void what_is_so_already_is_not_written_anew(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80);
	struct stat before, after;

	assert_int_equal(fstatat(t->dir, "forwards.json", &before, 0), 0);
	assert_int_equal(book_pause(t->b, web.id, false, NOW + 1), 0);
	assert_int_equal(book_restore(t->b, web.id, NOW + 1), 0);
	assert_false(book_prune(t->b, NOW + 1));
	book_begin(t->b);
	assert_int_equal(book_commit(t->b), 0);
	assert_int_equal(fstatat(t->dir, "forwards.json", &after, 0), 0);
	assert_true(before.st_ino == after.st_ino);
}

static void counts_are_kept_over_restarts_and_changes(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80);
	struct forward_stats s = { .bytes_in = 1ull << 40,
				   .bytes_out = 2,
				   .connections = 3,
				   .total = 4,
				   .rejected = { [FORWARD_FULL] = 5, [FORWARD_BAD_HEADER] = 6 },
				   .last_ms = 7 },
			     got;
	uint8_t unknown[FORWARD_ID] = { 0 };

	addr_parse(&s.last_visitor, "[2001:db8::1]:50000", 0);
	assert_true(book_stats(t->b, web.id, &got));
	assert_int_equal(got.total, 0);
	book_keep_stats(t->b, web.id, &s);
	book_keep_stats(t->b, unknown, &s);
	assert_int_equal(book_pause(t->b, web.id, true, NOW), 0);
	reopen(t);
	assert_true(book_stats(t->b, web.id, &got));
	s.connections = 0;
	assert_memory_equal(&got, &s, sizeof s);
	s.total = 9;
	book_keep_stats(t->b, web.id, &s);
	assert_int_equal(book_save(t->b), 0);
	reopen(t);
	assert_true(book_stats(t->b, web.id, &got));
	assert_int_equal(got.total, 9);
	assert_false(book_stats(t->b, unknown, &got));
}

#define HEAD  "{\"schema\":\"p2pd.forwards/1\",\"forwards\":["
#define WEB   "\"forward_id\":\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f\",\"local\":\"10.0.0.1:80\""
#define OTHER "\"forward_id\":\"017f22e2-79b0-7cc3-98c4-dc0c0c073990\",\"local\":\"10.0.0.2:80\""

static void a_spoilt_file_is_put_aside_whole(void **state)
{
	struct bench *t = *state;
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"null",
		"{\"schema\":\"p2pd.forwards/2\",\"forwards\":[]}",
		"{\"schema\":\"p2pd.forwards/1\"}",
		HEAD "7]}",
		HEAD "{}]}",
		HEAD "{\"local\":\"10.0.0.1:80\"}]}", /* no id */
		HEAD "{" WEB ",\"local\":\"10.0.0.1:81\"}]}",
		HEAD "{" WEB ",\"colour\":1}]}",
		HEAD "{" WEB ",\"max_conn\":-1}]}",
		HEAD "{" WEB ",\"scope\":\"public\"}]}",
		HEAD "{" WEB ",\"stats\":{\"total\":-1}}]}",
		HEAD "{" WEB ",\"stats\":{\"last_visitor\":\"x\"}}]}",
		HEAD "{" WEB "},{" WEB "}]}",
		HEAD "{" WEB "},{" OTHER "}]}", /* they overlap */
	};
	char aside[512];

	book_close(t->b);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(file_write(t->dir, "forwards.json", bad[i], strlen(bad[i])), 0);
		if (book_open(&t->b, t->dir) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
		assert_null(t->b);
		assert_int_equal(file_read(t->dir, "forwards.json.spoilt", aside, sizeof aside),
				 (int)strlen(bad[i]));
		assert_memory_equal(aside, bad[i], strlen(bad[i]));
		unlinkat(t->dir, "forwards.json.spoilt", 0);
	}
	assert_int_equal(book_open(&t->b, t->dir), 0);
	assert_int_equal(book_count(t->b), 0);
}

static void a_rate_that_is_not_taken_any_more_is_bounded(void **state)
{
	struct bench *t = *state;
	static const char before[] = HEAD "{" WEB ",\"rate\":125000000000}]}";

	book_close(t->b);
	assert_int_equal(file_write(t->dir, "forwards.json", before, strlen(before)), 0);
	assert_int_equal(book_open(&t->b, t->dir), 0);
	assert_int_equal(book_at(t->b, 0)->rate, RULE_RATE_MAX);
}

static void a_file_that_is_too_large_is_put_aside_whole(void **state)
{
	struct bench *t = *state;
	struct stat st;

	added(t, "web", 80);
	book_close(t->b);
	int fd = openat(t->dir, "forwards.json", O_WRONLY);
	assert_int_equal(ftruncate(fd, BOOK_FILE_MAX + 1), 0);
	close(fd);
	assert_int_equal(book_open(&t->b, t->dir), -EBADMSG);
	assert_int_equal(fstatat(t->dir, "forwards.json.spoilt", &st, 0), 0);
	assert_int_equal(st.st_size, BOOK_FILE_MAX + 1);
	assert_int_equal(book_open(&t->b, t->dir), 0);
	assert_int_equal(book_count(t->b), 0);
}

static void a_file_that_others_may_read_is_refused_and_stays(void **state)
{
	struct bench *t = *state;

	added(t, "web", 80);
	book_close(t->b);
	assert_int_equal(fchmodat(t->dir, "forwards.json", 0644, 0), 0);
	assert_int_equal(book_open(&t->b, t->dir), -EPERM);
	assert_int_equal(fchmodat(t->dir, "forwards.json", 0600, 0), 0);
	assert_int_equal(book_open(&t->b, t->dir), 0);
	assert_content(t, "web:80");
}

/* --- A process killed at each system call that it makes */

enum { STEPS = 12 };

/* One change of a fixed course of them. */
static int step(struct book *b, struct rng *rng, int i)
{
	struct rule r = rule_at("r", (uint16_t)(100 + i));
	struct rule last;

	switch (i % 4) {
	case 0: return book_add(b, &r, false, NOW + (uint64_t)i, rng);
	case 1:
		r = rule_at("other", (uint16_t)(99 + i));
		return book_add(b, &r, true, NOW + (uint64_t)i, rng);
	case 2: return book_pause(b, book_at(b, book_count(b) - 1)->id, true, NOW + (uint64_t)i);
	}
	last = *book_at(b, book_count(b) - 1);
	book_begin(b);
	last.ranges[0].first = (uint16_t)(500 + i);
	book_set(b, &last, false, NOW + (uint64_t)i);
	book_remove(b, book_at(b, 0)->id, NOW + (uint64_t)i);
	return book_commit(b);
}

static void run_steps(struct bench *t, volatile int *acknowledged, char (*seen)[4096])
{
	struct rng rng;

	rng_init_seed(&rng, 7);
	for (int i = 0; i < STEPS; i++) {
		if (seen)
			content(t->b, seen[i]);
		/* Steps 3, 7, ... remove what is removed already from the second time on. */
		int rc = step(t->b, &rng, i);
		if (rc && rc != -ENOENT)
			_exit(9);
		*acknowledged = i + 1;
	}
	if (seen)
		content(t->b, seen[STEPS]);
}

static void empty_folder(struct bench *t)
{
	book_close(t->b);
	unlinkat(t->dir, "forwards.json", 0);
	unlinkat(t->dir, ".forwards.json.tmp", 0);
	assert_int_equal(book_open(&t->b, t->dir), 0);
}

/* Runs the course in a child, and kills it as it enters or leaves its `n`th system call. False once the child has come to
 * the end before; -1 in *acknowledged where processes cannot be traced here. */
static bool killed_at(struct bench *t, int n, volatile int *acknowledged)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(8);
		raise(SIGSTOP);
		run_steps(t, acknowledged, NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	for (int i = 0; i < n && WIFSTOPPED(status); i++) {
		ptrace(PTRACE_SYSCALL, child, NULL, NULL);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	if (!WIFSTOPPED(status)) {
		if (WEXITSTATUS(status) == 8)
			*acknowledged = -1;
		return false;
	}
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	return true;
}

static void a_kill_at_any_system_call_loses_nothing_acknowledged(void **state)
{
	struct bench *t = *state;
	static char seen[STEPS + 1][4096];
	char got[4096];
	volatile int *acknowledged = mmap(NULL, sizeof *acknowledged, PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int kills = 0;

	assert_true(acknowledged != MAP_FAILED);
	run_steps(t, acknowledged, seen);
	for (int n = 1;; n++) {
		empty_folder(t);
		*acknowledged = 0;
		if (!killed_at(t, n, acknowledged))
			break;
		kills++;
		int done = *acknowledged;
		reopen(t);
		content(t->b, got);
		if (strcmp(got, seen[done]) != 0 && (done == STEPS || strcmp(got, seen[done + 1]) != 0))
			fail_msg("killed at %d after %d changes: %s, not %s", n, done, got, seen[done]);
	}
	if (*acknowledged < 0)
		skip();
	assert_int_equal(*acknowledged, STEPS);
	assert_true(kills > STEPS * 8);
	munmap((void *)acknowledged, sizeof *acknowledged);
}

#define BOOK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOOK_TEST(rules_are_there_after_a_restart_as_they_were),
		BOOK_TEST(a_rule_is_found_by_id_or_by_a_name_that_only_it_has),
		BOOK_TEST(a_port_is_given_once_unless_forced),
		BOOK_TEST(a_change_keeps_id_and_making_and_claims_its_ports),
		BOOK_TEST(what_is_paused_or_removed_is_so_after_a_restart),
		BOOK_TEST(tombstones_stay_for_thirty_days),
		BOOK_TEST(where_there_is_no_room_the_oldest_tombstone_gives_way),
		BOOK_TEST(several_changes_are_made_together_or_not_at_all),
		BOOK_TEST(two_rules_swap_their_ports_in_one_go),
		BOOK_TEST(one_error_among_several_undoes_them_all),
		BOOK_TEST(a_failing_disk_changes_nothing),
		BOOK_TEST(what_is_so_already_is_not_written_anew),
		BOOK_TEST(counts_are_kept_over_restarts_and_changes),
		BOOK_TEST(a_spoilt_file_is_put_aside_whole),
		BOOK_TEST(a_rate_that_is_not_taken_any_more_is_bounded),
		BOOK_TEST(a_file_that_is_too_large_is_put_aside_whole),
		BOOK_TEST(a_file_that_others_may_read_is_refused_and_stays),
		BOOK_TEST(a_kill_at_any_system_call_loses_nothing_acknowledged),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
