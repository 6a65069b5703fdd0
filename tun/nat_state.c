#include "tun/nat_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tun/nat_change.h"

int nat_state_make(struct nat_state *s, const struct nat_reach *reach, const struct forward_entry *entries,
		   size_t count, const struct nat_state *before)
{
	*s = (struct nat_state) { .count = count };
	s->entries = malloc((count ? count : 1) * sizeof *s->entries);
	s->asked = malloc((count ? count : 1) * sizeof *s->asked);
	if (!s->entries || !s->asked) {
		nat_state_free(s);
		return -ENOMEM;
	}
	if (count)
		memcpy(s->entries, entries, count * sizeof *entries);
	nat_change_sort(s->entries, count);
	for (size_t i = 0; i < count; i++) {
		s->asked[i] = s->entries[i].target;
		s->entries[i].target = nat_reach_target(reach, &s->entries[i]);
	}
	int rc = nat_tally_make(&s->tally, s->entries, count, &before->tally);
	if (rc)
		nat_state_free(s);
	return rc;
}

void nat_state_free(struct nat_state *s)
{
	nat_tally_free(&s->tally);
	free(s->entries);
	free(s->asked);
	*s = (struct nat_state) { 0 };
}

static bool allows(const struct forward_entry *e, const struct addr *a)
{
	for (unsigned i = 0; i < e->allow_count; i++)
		if (addr_in_prefix(a, &e->allow[i].prefix, e->allow[i].bits))
			return true;
	return !e->restricted;
}

bool nat_state_ends(struct nat_state *now, const struct nat_state *old, const struct conntrack_flow *f)
{
	const struct forward_entry *was = nat_tally_entry(&old->tally, f),
				   *is = nat_tally_entry(&now->tally, f);

	if (!was || !is || memcmp(was->id, is->id, FORWARD_ID) != 0 ||
	    !addr_same_ip(&was->target, &is->target) ||
	    was->target.port - was->listen.port != is->target.port - is->listen.port || !allows(is, &f->from))
		return true;
	if (nat_tally_lives(f))
		nat_tally_uncounted(&now->tally, is);
	return false;
}

static struct nat_tally_id *tally_of(const struct nat_state *s, size_t i)
{
	bool first = i == 0 || memcmp(s->entries[i].id, s->entries[i - 1].id, FORWARD_ID) != 0;
	return first ? nat_tally_find(&s->tally, s->entries[i].id) : NULL;
}

void nat_state_caps(FILE *out, const struct nat_frame *f, const struct nat_state *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct nat_tally_id *one = tally_of(s, i);
		if (one && one->uncounted)
			nat_change_cap(out, f, &s->entries[i], one->uncounted);
	}
}

void nat_state_recap(FILE *out, const struct nat_frame *f, struct nat_state *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct nat_tally_id *one = tally_of(s, i);
		if (one && nat_tally_recap(one))
			nat_change_cap(out, f, &s->entries[i], one->uncounted);
	}
}

struct forward_entry *nat_state_moved(const struct nat_state *s, const struct nat_reach *reach)
{
	struct forward_entry *again = s->count ? malloc(s->count * sizeof *again) : NULL;
	bool moved = false;

	for (size_t i = 0; again && i < s->count; i++) {
		again[i] = s->entries[i];
		again[i].target = s->asked[i];
		struct addr target = nat_reach_target(reach, &again[i]);
		moved |= !addr_equal(&target, &s->entries[i].target);
	}
	if (moved)
		return again;
	free(again);
	return NULL;
}
