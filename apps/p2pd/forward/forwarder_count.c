/* Counts of rules: of what carries them now, of what carried them before, and of their gateways. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/bytes.h"
#include "core/log.h"

enum { DETAIL = 200 };

static void add(struct forward_stats *sum, const struct forward_stats *s)
{
	sum->bytes_in += s->bytes_in;
	sum->bytes_out += s->bytes_out;
	sum->total += s->total;
	for (int i = 0; i < FORWARD_REJECTS; i++)
		sum->rejected[i] += s->rejected[i];
	if (s->last_visitor.family && (int64_t)(s->last_ms - sum->last_ms) >= 0) {
		sum->last_visitor = s->last_visitor;
		sum->last_ms = s->last_ms;
	}
}

/* Whether the counts began anew in between. */
static bool is_anew(const struct forward_stats *before, const struct forward_stats *s)
{
	for (int i = 0; i < FORWARD_REJECTS; i++)
		if (s->rejected[i] < before->rejected[i])
			return true;
	return s->total < before->total || s->bytes_in < before->bytes_in || s->bytes_out < before->bytes_out;
}

static void take(struct forwarder_counts *c, struct forward_stats *seen, const struct forward_stats *s)
{
	if (is_anew(seen, s))
		add(&c->sum, seen);
	if (!bytes_same(seen, s, sizeof *s))
		c->changed = true;
	*seen = *s;
}

/* They are carried this way no more. */
static void end(struct forwarder_counts *c, struct forward_stats *seen)
{
	const struct forward_stats nothing = { 0 };

	add(&c->sum, seen);
	*seen = nothing;
}

/* Of the gateway only what it refused counts: the rest comes here, too. */
void forwarder_count_gateway(struct forwarder_item *it, const struct forward_stats *s)
{
	struct forward_stats refused = { .total = s->total };

	memcpy(refused.rejected, s->rejected, sizeof refused.rejected);
	if (is_anew(&it->counts.gateway, &refused)) {
		it->counts.gateway.total = 0;
		add(&it->counts.sum, &it->counts.gateway);
	}
	if (memcmp(it->counts.gateway.rejected, refused.rejected, sizeof refused.rejected))
		it->counts.changed = true;
	it->counts.gateway = refused;
}

void forwarder_count(struct forwarder *f)
{
	struct forward_stats s;

	for (struct forwarder_item *it = f->items; it; it = it->next)
		if (carry_stats(f->carry, it->rule.id, &s))
			take(&it->counts, &it->counts.user, &s);
		else
			end(&it->counts, &it->counts.user);
}

void forwarder_count_now(struct forwarder *f)
{
	forwarder_count(f);
	forwarder_kernel_look(f);
	forwarder_step(f);
}

void forwarder_count_kernel(struct forwarder *f)
{
	struct forward_stats s;

	for (struct forwarder_item *it = f->items; it; it = it->next)
		if (host_nat_stats(f->kernel.nat, it->rule.id, &s))
			take(&it->counts, &it->counts.kernel, &s);
		else
			end(&it->counts, &it->counts.kernel);
}

struct forward_stats forwarder_counted(const struct forwarder_item *it)
{
	const struct forwarder_counts *c = &it->counts;
	struct forward_stats all = c->sum, gateway = c->gateway;

	gateway.total = 0;
	add(&all, &c->kernel);
	add(&all, &c->user);
	add(&all, &gateway);
	all.connections = c->kernel.connections + c->user.connections;
	return all;
}

bool forwarder_stats_of(struct forwarder *f, const uint8_t id[static FORWARD_ID], struct forward_stats *out)
{
	struct forward_stats kernel = { 0 }, user = { 0 };
	bool by_kernel = !f->kernel.running && forwarder_kernel_usable(f) &&
			 host_nat_stats(f->kernel.nat, id, &kernel);
	bool by_user = carry_stats(f->carry, id, &user);

	*out = kernel;
	add(out, &user);
	out->connections += user.connections;
	return by_kernel || by_user;
}

/* ---- Over restarts: the book keeps Unix milliseconds */

static uint64_t unix_offset_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 - loop_now_ms();
}

static void keep(struct forwarder_item *it, struct forward_stats *s)
{
	if (s->last_visitor.family)
		s->last_ms += unix_offset_ms();
	book_keep_stats(it->f->book, it->rule.id, s);
}

bool forwarder_counts_kept(const struct forwarder *f, const uint8_t id[static FORWARD_ID],
			   struct forward_stats *out)
{
	if (!book_stats(f->book, id, out))
		return false;
	out->connections = 0;
	/* Before this machine's start it is below zero, and the difference is right nevertheless. */
	out->last_ms -= out->last_visitor.family ? unix_offset_ms() : 0;
	return true;
}

void forwarder_counts_restore(struct forwarder_item *it)
{
	struct forward_stats s;

	if (!forwarder_counts_kept(it->f, it->rule.id, &s))
		return;
	it->counts.sum = s;
	memcpy(it->counts.audited, s.rejected, sizeof s.rejected);
}

static void audit_refusals(struct forwarder_item *it, const struct forward_stats *s)
{
	char text[DETAIL] = "";
	size_t len = 0;

	for (int i = 0; i < FORWARD_REJECTS; i++) {
		uint64_t more = s->rejected[i] - it->counts.audited[i];
		it->counts.audited[i] = s->rejected[i];
		if (!more || len >= sizeof text)
			continue;
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s: %llu", len ? ", " : "",
					forward_reject_name((enum forward_reject)i),
					(unsigned long long)more);
	}
	if (len)
		forwarder_audit(it->f, AUDIT_VISIT_REFUSE, AUDIT_REFUSED, &it->rule, "visitors", text);
}

/* True if there was something to keep. */
static bool keep_all(struct forwarder *f)
{
	bool any = false;

	for (struct forwarder_item *it = f->items; it; it = it->next) {
		if (!it->counts.changed)
			continue;
		struct forward_stats s = forwarder_counted(it);
		audit_refusals(it, &s);
		keep(it, &s);
		it->counts.changed = false;
		any = true;
	}
	return any;
}

static void tell(int ret)
{
	if (ret)
		log_error("forward", "counts of rules cannot be kept: %s", strerror(-ret));
}

void forwarder_counts_save(struct forwarder *f)
{
	if (keep_all(f))
		tell(book_save(f->book));
}

/* ---- On a work thread: the tunnel's packets wait for no disk */

struct writing {
	struct forwarder *f;
	struct book_draft *draft;
};

static void write_counts(void *arg)
{
	struct writing *w = arg;

	book_draft_write(w->draft);
}

static void written(void *arg, int error)
{
	struct writing *w = arg;

	w->f->keeping = false;
	tell(book_draft_keep(w->f->book, w->draft, error != 0));
	free(w);
}

static int begin_writing(struct forwarder *f)
{
	struct writing *w = calloc(1, sizeof *w);
	int ret = -ENOMEM;

	if (w && (w->draft = book_draft(f->book))) {
		w->f = f;
		ret = loop_work(f->config.loop, write_counts, written, w);
		if (!ret)
			return 0;
		book_draft_keep(f->book, w->draft, true);
	}
	free(w);
	return ret;
}

/* Some disks take longer than it is to the next time. */
void forwarder_counts_keep(struct forwarder *f)
{
	if (f->keeping || !keep_all(f))
		return;
	int ret = begin_writing(f);
	f->keeping = !ret;
	tell(ret);
}

void forwarder_counts_drop(struct forwarder_item *it)
{
	struct forward_stats s = forwarder_counted(it);

	if (book_by_id(it->f->book, it->rule.id))
		keep(it, &s);
}
