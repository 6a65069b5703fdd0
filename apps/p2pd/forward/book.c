#include "apps/p2pd/forward/book.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/book_impl.h"
#include "core/file.h"
#include "core/log.h"
#include "core/uuid7.h"

/* Items are never changed once they are in effect: a change makes another one, marked fresh, and what it replaces stays
 * until the change is on disk. So going back is to take the old list again. */
struct list {
	struct book_item *items[BOOK_RULES_MAX];
	size_t count;
};

struct book {
	int dir;
	struct list now, before; /* the change; and since it began */
	bool changing, several;
	uint64_t writes;
	int error; /* of a change among several */
};

/* --- Changes */

static void drop_item(struct book_item *item)
{
	if (item->fresh)
		free(item);
	else
		item->gone = true;
}

/* The item at `i`, to be written to. NULL without memory. */
static struct book_item *edit(struct book *b, size_t i)
{
	struct book_item *old = b->now.items[i];

	if (old->fresh)
		return old;
	struct book_item *item = malloc(sizeof *item);
	if (!item)
		return NULL;
	*item = *old;
	item->fresh = true;
	old->gone = true;
	b->now.items[i] = item;
	return item;
}

static void take_out(struct list *l, size_t i)
{
	drop_item(l->items[i]);
	for (l->count--; i < l->count; i++)
		l->items[i] = l->items[i + 1];
}

static bool differs(const struct book *b)
{
	bool same = b->now.count == b->before.count;

	for (size_t i = 0; same && i < b->now.count; i++)
		same = b->now.items[i] == b->before.items[i];
	return !same;
}

static void begin(struct book *b)
{
	b->before = b->now;
	b->changing = true;
	b->error = 0;
}

static void keep(struct book *b)
{
	for (size_t i = 0; i < b->before.count; i++)
		if (b->before.items[i]->gone)
			free(b->before.items[i]);
	for (size_t i = 0; i < b->now.count; i++)
		b->now.items[i]->fresh = false;
	b->changing = b->several = false;
}

static void go_back(struct book *b)
{
	for (size_t i = 0; i < b->now.count; i++)
		if (b->now.items[i]->fresh)
			free(b->now.items[i]);
	for (size_t i = 0; i < b->before.count; i++)
		b->before.items[i]->gone = false;
	b->now = b->before;
	b->changing = b->several = false;
}

/* What a write may return must not be taken for what a change may. */
static int write_all(struct book *b)
{
	int rc = book_save(b);

	switch (rc) {
	case -EEXIST:
	case -ENOENT:
	case -EINVAL:
	case -E2BIG: log_error("forward", "the rules cannot be written: %s", strerror(-rc)); return -EIO;
	default: return rc;
	}
}

static int end(struct book *b, int rc)
{
	if (!rc && differs(b))
		rc = write_all(b);
	if (rc)
		go_back(b);
	else
		keep(b);
	return rc;
}

/* One change: alone it begins and ends here. */
static void begin_one(struct book *b)
{
	if (!b->several)
		begin(b);
}

static int end_one(struct book *b, int rc)
{
	if (!b->several)
		return end(b, rc);
	if (rc && !b->error)
		b->error = rc;
	return rc;
}

/* --- Looking */

size_t book_count(const struct book *b)
{
	return b->now.count;
}

const struct rule *book_at(const struct book *b, size_t i)
{
	return &b->now.items[i]->rule;
}

/* Where it is, or `count`. */
static size_t index_of(const struct book *b, const uint8_t id[static FORWARD_ID])
{
	size_t i = 0;

	while (i < b->now.count && memcmp(book_at(b, i)->id, id, FORWARD_ID) != 0)
		i++;
	return i;
}

static bool is_living(const struct book *b, size_t i)
{
	return i < b->now.count && !book_at(b, i)->removed_at;
}

const struct rule *book_by_id(const struct book *b, const uint8_t id[static FORWARD_ID])
{
	size_t i = index_of(b, id);

	return i < b->now.count ? book_at(b, i) : NULL;
}

const struct rule *book_find(const struct book *b, const char *id_or_name)
{
	uint8_t id[FORWARD_ID];
	const struct rule *found = NULL;

	if (!rule_id_parse(id, id_or_name))
		return book_by_id(b, id);
	for (size_t i = 0; i < b->now.count; i++) {
		if (!is_living(b, i) || !*id_or_name || strcmp(book_at(b, i)->name, id_or_name) != 0)
			continue;
		if (found)
			return NULL;
		found = book_at(b, i);
	}
	return found;
}

/* The first from `i` on that overlaps with `r`, or `count`. */
static size_t conflict_from(const struct book *b, size_t i, const struct rule *r)
{
	for (; i < b->now.count; i++)
		if (is_living(b, i) && memcmp(book_at(b, i)->id, r->id, FORWARD_ID) != 0 &&
		    rule_overlap(book_at(b, i), r))
			return i;
	return b->now.count;
}

const struct rule *book_conflict(const struct book *b, const struct rule *r)
{
	size_t i = conflict_from(b, 0, r);

	return i < b->now.count ? book_at(b, i) : NULL;
}

static bool overlaps_itself(const struct book *b)
{
	for (size_t i = 0; i < b->now.count; i++)
		if (is_living(b, i) && conflict_from(b, i + 1, book_at(b, i)) < b->now.count)
			return true;
	return false;
}

/* --- What changes */

static int bury(struct book *b, size_t i, uint64_t unix_s)
{
	struct book_item *item = edit(b, i);

	if (!item)
		return -ENOMEM;
	item->rule.removed_at = item->rule.changed_at = unix_s ? unix_s : 1;
	return 0;
}

/* Makes room for the ports of `r`, or says that there is none. */
static int claim(struct book *b, const struct rule *r, bool force, uint64_t unix_s)
{
	if (b->several && !force)
		return 0;
	for (size_t i = 0; (i = conflict_from(b, i, r)) < b->now.count; i++) {
		int rc = force ? bury(b, i, unix_s) : -EEXIST;
		if (rc)
			return rc;
	}
	return 0;
}

/* Room for one more, where the oldest tombstone has to give way. */
static int make_room(struct book *b)
{
	size_t oldest = b->now.count;

	if (b->now.count < BOOK_RULES_MAX)
		return 0;
	for (size_t i = 0; i < b->now.count; i++)
		if (!is_living(b, i) &&
		    (oldest == b->now.count || book_at(b, i)->removed_at < book_at(b, oldest)->removed_at))
			oldest = i;
	if (oldest == b->now.count)
		return -E2BIG;
	take_out(&b->now, oldest);
	return 0;
}

static const uint8_t *last_id(const struct book *b)
{
	const uint8_t *last = NULL;

	for (size_t i = 0; i < b->now.count; i++)
		if (!last || memcmp(book_at(b, i)->id, last, FORWARD_ID) > 0)
			last = book_at(b, i)->id;
	return last;
}

static int check(const struct rule *r)
{
	char why[RULE_WHY];

	return rule_check(r, why);
}

static int append(struct book *b, const struct rule *r)
{
	struct book_item *item = malloc(sizeof *item);

	if (!item)
		return -ENOMEM;
	*item = (struct book_item) { .rule = *r, .fresh = true };
	b->now.items[b->now.count++] = item;
	return 0;
}

static int add(struct book *b, struct rule *r, bool force, uint64_t unix_s)
{
	int rc = check(r);

	if (!rc)
		rc = claim(b, r, force, unix_s);
	if (!rc)
		rc = make_room(b);
	return rc ? rc : append(b, r);
}

int book_add(struct book *b, struct rule *r, bool force, uint64_t unix_s, struct rng *rng)
{
	uuid7_make(r->id, last_id(b), unix_s * 1000, rng);
	r->created_at = r->changed_at = unix_s;
	r->removed_at = 0;
	begin_one(b);
	return end_one(b, add(b, r, force, unix_s));
}

static int set(struct book *b, size_t i, const struct rule *r, bool force, uint64_t unix_s)
{
	const struct rule *old = book_at(b, i);
	struct rule next = *r;

	next.created_at = old->created_at;
	next.changed_at = unix_s;
	next.removed_at = 0;
	int rc = check(r);
	if (!rc)
		rc = claim(b, r, force, unix_s);
	struct book_item *item = rc ? NULL : edit(b, i);
	if (item)
		item->rule = next;
	return rc || item ? rc : -ENOMEM;
}

int book_set(struct book *b, const struct rule *r, bool force, uint64_t unix_s)
{
	size_t i = index_of(b, r->id);

	begin_one(b);
	return end_one(b, is_living(b, i) ? set(b, i, r, force, unix_s) : -ENOENT);
}

static int pause_at(struct book *b, size_t i, bool paused, uint64_t unix_s)
{
	if (!is_living(b, i))
		return -ENOENT;
	if (book_at(b, i)->paused == paused)
		return 0;
	struct book_item *item = edit(b, i);
	if (!item)
		return -ENOMEM;
	item->rule.paused = paused;
	item->rule.changed_at = unix_s;
	return 0;
}

int book_pause(struct book *b, const uint8_t id[static FORWARD_ID], bool paused, uint64_t unix_s)
{
	size_t i = index_of(b, id);

	begin_one(b);
	return end_one(b, pause_at(b, i, paused, unix_s));
}

int book_remove(struct book *b, const uint8_t id[static FORWARD_ID], uint64_t unix_s)
{
	size_t i = index_of(b, id);

	begin_one(b);
	return end_one(b, is_living(b, i) ? bury(b, i, unix_s) : -ENOENT);
}

static int restore_at(struct book *b, size_t i, uint64_t unix_s)
{
	if (i == b->now.count)
		return -ENOENT;
	if (is_living(b, i))
		return 0;
	int rc = claim(b, book_at(b, i), false, unix_s);
	struct book_item *item = rc ? NULL : edit(b, i);
	if (!item)
		return rc ? rc : -ENOMEM;
	item->rule.removed_at = 0;
	item->rule.changed_at = unix_s;
	return 0;
}

int book_restore(struct book *b, const uint8_t id[static FORWARD_ID], uint64_t unix_s)
{
	size_t i = index_of(b, id);

	begin_one(b);
	return end_one(b, restore_at(b, i, unix_s));
}

bool book_prune(struct book *b, uint64_t unix_s)
{
	size_t count = b->now.count;

	begin_one(b);
	for (size_t i = b->now.count; i-- > 0;)
		if (!is_living(b, i) && book_at(b, i)->removed_at + BOOK_KEEP_S <= unix_s)
			take_out(&b->now, i);
	bool some = b->now.count < count;
	return end_one(b, 0) == 0 && some;
}

void book_begin(struct book *b)
{
	begin(b);
	b->several = true;
}

int book_commit(struct book *b)
{
	int rc = b->error;

	if (!rc && differs(b) && overlaps_itself(b))
		rc = -EEXIST;
	return end(b, rc);
}

void book_rollback(struct book *b)
{
	go_back(b);
}

/* --- Counts. They are no part of a change: what goes back to before it has them too. */

void book_keep_stats(struct book *b, const uint8_t id[static FORWARD_ID], const struct forward_stats *stats)
{
	size_t i = index_of(b, id);

	if (i == b->now.count)
		return;
	b->now.items[i]->stats = *stats;
	b->now.items[i]->stats.connections = 0;
}

bool book_stats(const struct book *b, const uint8_t id[static FORWARD_ID], struct forward_stats *out)
{
	size_t i = index_of(b, id);

	if (i < b->now.count)
		*out = b->now.items[i]->stats;
	return i < b->now.count;
}

int book_save(struct book *b)
{
	b->writes++;
	return book_file_write(b->dir, b->now.items, b->now.count);
}

struct book_draft {
	int dir, error;
	uint64_t writes; /* of the book when it was begun */
	char *text;
};

struct book_draft *book_draft(const struct book *b)
{
	struct book_draft *d = b->changing ? NULL : calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->dir = b->dir;
	d->writes = b->writes;
	d->text = book_file_text(b->now.items, b->now.count);
	if (d->text)
		return d;
	free(d);
	return NULL;
}

void book_draft_write(struct book_draft *d)
{
	d->error = file_prepare(d->dir, BOOK_FILE, d->text, strlen(d->text));
}

int book_draft_keep(struct book *b, struct book_draft *d, bool left_out)
{
	int rc = d->error;

	if (!rc && !left_out && d->writes == b->writes)
		rc = file_adopt(d->dir, BOOK_FILE);
	else if (!rc && !left_out)
		file_forget(d->dir, BOOK_FILE);
	free(d->text);
	free(d);
	return rc;
}

/* --- The whole */

int book_open(struct book **out, int dir)
{
	struct book *b = calloc(1, sizeof *b);

	*out = NULL;
	if (!b)
		return -ENOMEM;
	b->dir = dir;
	int rc = book_file_read(dir, b->now.items, &b->now.count);
	if (!rc && overlaps_itself(b))
		rc = book_file_put_aside(dir, "two of its rules overlap");
	if (rc)
		book_close(b);
	else
		*out = b;
	return rc;
}

void book_close(struct book *b)
{
	if (!b)
		return;
	if (b->changing)
		go_back(b);
	for (size_t i = 0; i < b->now.count; i++)
		free(b->now.items[i]);
	free(b);
}
