#include "apps/p2pd/forward/kernel_try.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

enum version { OLD, NEW, NONE };

/* An id that is wanted, and which of its entries are to be: those in effect, those that are wanted, none. */
struct one {
	const uint8_t *id;
	enum version version;
};

struct attempt {
	struct kernel_try *t;
	const struct forward_list *now, *wanted;
	struct one *ids;
	size_t id_count;
	size_t *changed; /* places in `ids` */
	size_t changed_count;
	unsigned tries;
};

/* --- Who is who. */

/* Entries of an id mostly follow each other. */
static struct one *find(const struct attempt *a, const uint8_t *id, struct one *guess)
{
	if (guess && !memcmp(guess->id, id, FORWARD_ID))
		return guess;
	for (size_t i = a->id_count; i-- > 0;)
		if (!memcmp(a->ids[i].id, id, FORWARD_ID))
			return &a->ids[i];
	return NULL;
}

/* The next entry of that id from `from` on. */
static const struct forward_entry *next_of(const struct forward_list *l, const uint8_t *id, size_t *from)
{
	while (*from < l->count)
		if (!memcmp(l->items[(*from)++].id, id, FORWARD_ID))
			return &l->items[*from - 1];
	return NULL;
}

static bool is_same(const struct attempt *a, const uint8_t *id)
{
	size_t i = 0, k = 0;

	for (;;) {
		const struct forward_entry *x = next_of(a->now, id, &i), *y = next_of(a->wanted, id, &k);
		if (!x || !y)
			return x == y;
		/* Padding that differs takes one for changed that is not: it is tried, too. */
		if (!bytes_same(x, y, sizeof *x))
			return false;
	}
}

static int note_ids(struct attempt *a)
{
	struct one *last = NULL;

	a->ids = calloc(a->wanted->count + 1, sizeof *a->ids);
	a->changed = calloc(a->wanted->count + 1, sizeof *a->changed);
	if (!a->ids || !a->changed)
		return -ENOMEM;
	for (size_t i = 0; i < a->wanted->count; i++) {
		const uint8_t *id = a->wanted->items[i].id;
		struct one *known = find(a, id, last);
		if (!known) {
			known = &a->ids[a->id_count++];
			*known = (struct one) { id, NEW };
		}
		last = known;
	}
	for (size_t i = 0; i < a->id_count; i++)
		if (!is_same(a, a->ids[i].id)) {
			a->ids[i].version = OLD;
			a->changed[a->changed_count++] = i;
		}
	return 0;
}

/* --- Trying. */

static int add_version(const struct attempt *a, const struct forward_list *from, enum version version,
		       struct forward_list *out)
{
	struct one *one = NULL;
	int rc = 0;

	for (size_t i = 0; i < from->count && !rc; i++) {
		struct one *found = find(a, from->items[i].id, one);
		if (found && found->version == version)
			rc = forward_list_add(out, &from->items[i]);
		one = found ? found : one;
	}
	return rc;
}

static int try_versions(struct attempt *a)
{
	struct forward_list list = { 0 };
	int rc = add_version(a, a->now, OLD, &list);

	if (rc == 0)
		rc = add_version(a, a->wanted, NEW, &list);
	if (rc == 0)
		rc = a->t->apply(a->t->arg, list.items, list.count, a->t->why);
	a->tries++;
	if (rc) {
		forward_list_free(&list);
		return rc;
	}
	forward_list_free(&a->t->in_effect);
	a->t->in_effect = list;
	return 0;
}

static void set_version(struct attempt *a, size_t from, size_t count, enum version version)
{
	for (size_t i = from; i < from + count; i++)
		a->ids[a->changed[i]].version = version;
}

static void refuse(struct attempt *a, size_t from, size_t count)
{
	set_version(a, from, count, NONE);
	for (size_t i = from; i < from + count; i++) {
		struct kernel_refused *r = &a->t->refused[a->t->refused_count++];
		memcpy(r->id, a->ids[a->changed[i]].id, FORWARD_ID);
		memcpy(r->why, a->t->why, sizeof r->why);
	}
}

/* These of the changed ones, of which it is known that not all can be; half and half, so that few need be tried for one
 * that is to blame. */
static int divide(struct attempt *a, size_t from, size_t count)
{
	if (count == 1 || a->tries >= KERNEL_TRIES_MAX) {
		refuse(a, from, count);
		return 0;
	}
	for (size_t half = 0; half < 2; half++) {
		size_t first = half ? from + count / 2 : from, n = half ? count - count / 2 : count / 2;
		set_version(a, first, n, NEW);
		int rc = try_versions(a);
		if (rc == 0)
			continue;
		set_version(a, first, n, OLD);
		if (rc == -EINVAL)
			rc = divide(a, first, n);
		if (rc)
			return rc;
	}
	return 0;
}

/* If nobody is taken who is new, and nobody was before, it is not the entries that are wrong. */
static int find_out(struct attempt *a)
{
	a->t->refused = calloc(a->changed_count + 1, sizeof *a->t->refused);
	if (!a->t->refused)
		return -ENOMEM;
	int rc = divide(a, 0, a->changed_count);
	if (rc == 0 && a->id_count > 1 && a->t->refused_count == a->id_count)
		rc = -EINVAL;
	return rc ? rc : try_versions(a); /* without what those had before who are refused */
}

int kernel_try(struct kernel_try *t, const struct forward_list *now, struct forward_list *wanted)
{
	struct attempt a = { .t = t, .now = now, .wanted = wanted, .tries = 1 };
	int rc = t->apply(t->arg, wanted->items, wanted->count, t->why);

	if (rc == 0) {
		t->in_effect = *wanted;
		*wanted = (struct forward_list) { 0 };
	}
	if (rc != -EINVAL)
		return rc;
	if (note_ids(&a) == 0 && a.changed_count)
		rc = find_out(&a);
	if (rc)
		t->refused_count = 0;
	free(a.ids);
	free(a.changed);
	return rc;
}
