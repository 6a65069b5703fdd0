#include "apps/p2pd/forward/forward_metrics.h"

#include <stdlib.h>

/* A rule as it is when the numbers are written. */
struct row {
	const struct rule *rule;
	char id[RULE_ID_TEXT];
	struct forwarder_view view;
};

struct rows {
	struct row *items;
	size_t count;
};

static void write_info(struct metrics *m, const struct rows *rows)
{
	metrics_begin(m, "p2pd_forward_info", METRICS_GAUGE,
		      "Always 1; the labels tell what a forwarding rule is called, and how it is carried.");
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *r = &rows->items[i];
		const struct metrics_label labels[] = {
			{ "forward_id", r->id },
			{ "name", r->rule->name },
			{ "scope", rule_scope_name(r->rule->scope) },
			{ "mode", r->view.kernel ? "kernel" : "user" },
			{ "state", forwarder_state_name(r->view.state) },
		};
		metrics_sample(m, labels, sizeof labels / sizeof *labels, 1);
	}
}

static double is_active(const struct row *r)
{
	return r->view.state == FORWARDER_ACTIVE;
}

static double connections(const struct row *r)
{
	return r->view.stats.connections;
}

static double total(const struct row *r)
{
	return (double)r->view.stats.total;
}

static double bytes_in(const struct row *r)
{
	return (double)r->view.stats.bytes_in;
}

static double bytes_out(const struct row *r)
{
	return (double)r->view.stats.bytes_out;
}

static void write_values(struct metrics *m, const struct rows *rows)
{
	static const struct {
		const char *name, *help;
		enum metrics_type type;
		double (*value)(const struct row *r);
	} families[] = {
		{ "p2pd_forward_active",
		  "1: visitors can reach the service by the rule, as far as p2pd knows.", METRICS_GAUGE,
		  is_active },
		{ "p2pd_forward_connections", "Connections (and UDP flows) that the rule carries now.",
		  METRICS_GAUGE, connections },
		{ "p2pd_forward_connections_total", "Those that it ever carried.", METRICS_COUNTER, total },
		{ "p2pd_forward_received_bytes_total", "Bytes from visitors to the service.", METRICS_COUNTER,
		  bytes_in },
		{ "p2pd_forward_sent_bytes_total", "Bytes from the service to visitors.", METRICS_COUNTER,
		  bytes_out },
	};

	for (size_t k = 0; k < sizeof families / sizeof *families; k++) {
		metrics_begin(m, families[k].name, families[k].type, families[k].help);
		for (size_t i = 0; i < rows->count; i++)
			metrics_labelled(m, "forward_id", rows->items[i].id,
					 families[k].value(&rows->items[i]));
	}
}

/* What was never refused for a reason has no series of it: most have none. */
static void write_rejected(struct metrics *m, const struct rows *rows)
{
	metrics_begin(m, "p2pd_forward_rejected_total", METRICS_COUNTER,
		      "Connections (or packets, of rate) that were refused, at the gateway or here.");
	for (size_t i = 0; i < rows->count; i++)
		for (int k = 0; k < FORWARD_REJECTS; k++) {
			const struct metrics_label labels[] = {
				{ "forward_id", rows->items[i].id },
				{ "reason", forward_reject_name((enum forward_reject)k) },
			};
			uint64_t n = rows->items[i].view.stats.rejected[k];
			if (n || k == FORWARD_NOT_ALLOWED)
				metrics_sample(m, labels, 2, (double)n);
		}
}

static void collect(struct rows *rows, struct forwarder *f)
{
	const struct book *b = forwarder_book(f);
	size_t count = book_count(b);

	rows->items = count ? calloc(count, sizeof *rows->items) : NULL;
	for (size_t i = 0; rows->items && i < count; i++) {
		struct row *r = &rows->items[rows->count];
		r->rule = book_at(b, i);
		if (r->rule->removed_at || !forwarder_look(f, r->rule->id, &r->view))
			continue;
		rule_id_text(r->rule->id, r->id);
		rows->count++;
	}
}

void forward_metrics_write(struct metrics *m, struct forwarder *f)
{
	struct rows rows = { 0 };

	forwarder_count_now(f);
	collect(&rows, f);
	if (rows.count) {
		write_info(m, &rows);
		write_values(m, &rows);
		write_rejected(m, &rows);
	}
	free(rows.items);
}
