/* Counts that are written on a work thread, while the book may be changed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/p2pd/forward/book.h"
#include "core/file.h"

enum { NOW = 1790000000 };

struct bench {
	char path[64];
	int dir;
	struct book *b;
	struct rng rng;
};

static int set_up(void **state)
{
	static struct bench t;

	strcpy(t.path, "/tmp/test_book_draft.XXXXXX");
	assert_non_null(mkdtemp(t.path));
	t.dir = file_open_dir(t.path);
	rng_init_seed(&t.rng, 1);
	*state = &t;
	return book_open(&t.b, t.dir);
}

static int tear_down(void **state)
{
	struct bench *t = *state;

	book_close(t->b);
	unlinkat(t->dir, "forwards.json", 0);
	close(t->dir);
	return rmdir(t->path); /* nothing else is left */
}

static struct rule added(struct bench *t, const char *name, uint16_t port)
{
	char local[64], why[RULE_WHY];
	struct rule r;

	rule_init(&r);
	snprintf(local, sizeof local, "192.168.50.10:%u", port);
	snprintf(r.name, sizeof r.name, "%s", name);
	assert_int_equal(rule_read_local(&r, local, why), 0);
	assert_int_equal(book_add(t->b, &r, false, NOW, &t->rng), 0);
	return r;
}

static void count(struct bench *t, const struct rule *r, uint64_t total)
{
	struct forward_stats s = { .total = total };

	book_keep_stats(t->b, r->id, &s);
}

static uint64_t kept(struct bench *t, const struct rule *r)
{
	struct forward_stats got;

	book_close(t->b);
	assert_int_equal(book_open(&t->b, t->dir), 0);
	assert_true(book_stats(t->b, r->id, &got));
	return got.total;
}

static void counts_are_kept(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80);

	count(t, &web, 9);
	struct book_draft *d = book_draft(t->b);
	book_draft_write(d);
	count(t, &web, 10); /* with the next one */
	assert_int_equal(book_draft_keep(t->b, d, false), 0);
	assert_int_equal(kept(t, &web), 9);
}

static void no_change_that_came_between_is_undone(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80);

	count(t, &web, 9);
	struct book_draft *d = book_draft(t->b);
	struct rule before = added(t, "before", 81);
	book_draft_write(d);
	struct rule after = added(t, "after", 82);
	assert_int_equal(book_draft_keep(t->b, d, false), 0);
	assert_int_equal(kept(t, &web), 9);
	assert_non_null(book_by_id(t->b, before.id));
	assert_non_null(book_by_id(t->b, after.id));
}

static void what_was_left_out_changes_nothing(void **state)
{
	struct bench *t = *state;
	struct rule web = added(t, "web", 80);

	count(t, &web, 9);
	struct book_draft *d = book_draft(t->b);
	assert_int_equal(book_draft_keep(t->b, d, true), 0);
	assert_int_equal(kept(t, &web), 0);
}

static void a_change_under_way_is_not_written(void **state)
{
	struct bench *t = *state;

	book_begin(t->b);
	assert_null(book_draft(t->b));
	book_rollback(t->b);
	added(t, "web", 80);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(counts_are_kept),
		TEST(no_change_that_came_between_is_undone),
		TEST(what_was_left_out_changes_nothing),
		TEST(a_change_under_way_is_not_written),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
