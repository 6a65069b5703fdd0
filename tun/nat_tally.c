#include "tun/nat_tally.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tun/nat_table.h"

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, FORWARD_ID);
}

/* By family, address, protocol and port. */
static int order(const struct addr *a, enum forward_proto pa, const struct addr *b, enum forward_proto pb)
{
	int c = (int)a->family - (int)b->family;

	c = c ? c : memcmp(a->ip, b->ip, sizeof a->ip);
	c = c ? c : (int)pa - (int)pb;
	return c ? c : (int)a->port - (int)b->port;
}

static int by_place(const void *a, const void *b)
{
	const struct forward_entry *const *x = a, *const *y = b;
	return order(&(*x)->listen, (*x)->proto, &(*y)->listen, (*y)->proto);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

struct nat_tally_id *nat_tally_find(const struct nat_tally *t, const uint8_t id[static FORWARD_ID])
{
	return t->id_count ? bsearch(id, t->ids, t->id_count, sizeof *t->ids, by_id) : NULL;
}

const struct forward_stats *nat_tally_stats(const struct nat_tally *t, const uint8_t id[static FORWARD_ID])
{
	struct nat_tally_id *found = nat_tally_find(t, id);
	return found ? &found->stats : NULL;
}

static void add_id(struct nat_tally *t, const struct forward_entry *e, const struct nat_tally *before)
{
	struct nat_tally_id *one = &t->ids[t->id_count];
	const struct nat_tally_id *had = nat_tally_find(before, e->id);

	if (t->id_count && memcmp(t->ids[t->id_count - 1].id, e->id, FORWARD_ID) == 0)
		return;
	if (had)
		*one = *had;
	memcpy(one->id, e->id, FORWARD_ID);
	one->new_cap = had && had->max_conn != e->max_conn;
	one->max_conn = e->max_conn;
	if (one->new_cap)
		one->uncounted = one->last = 0;
	t->id_count++;
}

int nat_tally_make(struct nat_tally *t, const struct forward_entry *entries, size_t count,
		   const struct nat_tally *before)
{
	*t = (struct nat_tally) { 0 };
	t->ids = calloc(count ? count : 1, sizeof *t->ids);
	t->places = calloc(count ? count : 1, sizeof(const struct forward_entry *));
	t->seen = before->seen_count ? malloc(before->seen_count * sizeof *t->seen) : NULL;
	if (!t->ids || !t->places || (before->seen_count && !t->seen)) {
		nat_tally_free(t);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		add_id(t, &entries[i], before);
		t->places[i] = &entries[i];
	}
	t->place_count = count;
	if (count)
		qsort(t->places, count, sizeof(const struct forward_entry *), by_place);
	if (t->seen)
		memcpy(t->seen, before->seen, before->seen_count * sizeof *t->seen);
	t->seen_count = before->seen_count;
	return 0;
}

void nat_tally_free(struct nat_tally *t)
{
	free(t->ids);
	free(t->places);
	free(t->seen);
	free(t->seen_now);
	*t = (struct nat_tally) { 0 };
}

void nat_tally_begin(struct nat_tally *t)
{
	t->now_count = 0;
	for (size_t i = 0; i < t->id_count; i++)
		t->ids[i].stats.connections = 0;
}

void nat_tally_counter(struct nat_tally *t, const char *name, uint64_t packets, uint64_t bytes)
{
	uint8_t id[FORWARD_ID];
	enum nat_count what;
	enum forward_reject why;
	struct nat_tally_id *one = nat_table_counter(name, id, &what, &why) ? nat_tally_find(t, id) : NULL;

	if (!one)
		return;
	switch (what) {
	case NAT_COUNT_IN: one->stats.bytes_in = bytes; break;
	case NAT_COUNT_OUT: one->stats.bytes_out = bytes; break;
	case NAT_COUNT_TOTAL: one->stats.total = packets; break;
	case NAT_COUNT_REJECTED: one->stats.rejected[why] = packets; break;
	}
}

const struct forward_entry *nat_tally_entry(const struct nat_tally *t, const struct conntrack_flow *f)
{
	size_t low = 0, high = t->place_count;

	while (low < high) { /* the first that listens above */
		size_t middle = (low + high) / 2;
		const struct forward_entry *e = t->places[middle];
		if (order(&e->listen, e->proto, &f->to, f->proto) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;
	const struct forward_entry *e = t->places[low - 1];
	bool within = e->proto == (enum forward_proto)f->proto && addr_same_ip(&e->listen, &f->to) &&
		      f->to.port - e->listen.port < e->count;
	return within ? e : NULL;
}

bool nat_tally_lives(const struct conntrack_flow *f)
{
	return f->proto != FORWARD_TCP ||
	       (f->tcp_state >= TCP_CONNTRACK_SYN_RECV && f->tcp_state <= TCP_CONNTRACK_CLOSE_WAIT);
}

/* Those without memory to be seen again look new once more. */
static void note_seen(struct nat_tally *t, uint32_t id)
{
	if (t->now_count == t->now_room) {
		size_t room = t->now_room ? t->now_room * 2 : 64;
		uint32_t *more = realloc(t->seen_now, room * sizeof *more);
		if (!more)
			return;
		t->seen_now = more;
		t->now_room = room;
	}
	t->seen_now[t->now_count++] = id;
}

void nat_tally_flow(struct nat_tally *t, const struct conntrack_flow *f, uint64_t now_ms)
{
	const struct forward_entry *e = nat_tally_entry(t, f);
	struct nat_tally_id *one = e ? nat_tally_find(t, e->id) : NULL;

	if (!one)
		return;
	one->stats.connections += nat_tally_lives(f);
	note_seen(t, f->id);
	if (t->seen_count && bsearch(&f->id, t->seen, t->seen_count, sizeof *t->seen, by_number))
		return;
	one->stats.last_visitor = f->from;
	one->stats.last_ms = now_ms;
}

void nat_tally_end(struct nat_tally *t)
{
	uint32_t *spare = t->seen;

	if (t->now_count)
		qsort(t->seen_now, t->now_count, sizeof *t->seen_now, by_number);
	t->seen = t->seen_now;
	t->seen_count = t->now_count;
	t->seen_now = spare;
	t->now_count = 0;
	t->now_room = 0; /* of another size */
	free(t->seen_now);
	t->seen_now = NULL;
}

void nat_tally_uncounted(struct nat_tally *t, const struct forward_entry *e)
{
	struct nat_tally_id *one = nat_tally_find(t, e->id);

	if (one && one->new_cap)
		one->last = ++one->uncounted;
}

void nat_tally_all_uncounted(struct nat_tally *t)
{
	for (size_t i = 0; i < t->id_count; i++)
		t->ids[i].uncounted = t->ids[i].last = t->ids[i].stats.connections;
}

bool nat_tally_recap(struct nat_tally_id *one)
{
	bool fewer = one->uncounted && one->stats.connections < one->last;

	one->last = one->stats.connections;
	if (fewer)
		one->uncounted = one->last;
	return fewer;
}
