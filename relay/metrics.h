/* Writes numbers in Prometheus's text exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats),
 * by its naming conventions: counters end in `_total`, units are seconds and bytes. Pure; into the caller's buffer.
 *
 * Labels are of small fixed sets (a reason, a kind of path). Names of nodes, peers and networks are none of them: each
 * would make a time series that is kept for ever, and who may look at the load may not need to know who is who. Forwarding
 * rules are told apart by their ids, for they are what a person sets up to be watched.
 * `p2pd status` tells of peers. */
#ifndef P2PD_RELAY_METRICS_H
#define P2PD_RELAY_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { METRICS_TEXT_MAX = 786432 /* of one answer: a node with a thousand forwarding rules writes 600 KB */ };
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics {
	char *text; /* always ended by a NUL */
	size_t cap, len;
	bool full; /* something did not fit: the text is of no use */
	const char *name;
};

struct metrics_label {
	const char *name, *value; /* the value may hold any UTF-8 */
};

/* `cap` is at least 1. */
void metrics_init(struct metrics *m, char *text, size_t cap);
/* A family: HELP and TYPE. Its samples follow; `name` must stay until then. Names and types are the program's own, thus
 * right: asserted. */
void metrics_begin(struct metrics *m, const char *name, enum metrics_type type, const char *help);
/* A sample of the family begun last. */
void metrics_sample(struct metrics *m, const struct metrics_label *labels, size_t count, double value);
void metrics_labelled(struct metrics *m, const char *label, const char *text, double value);
/* A family of one sample. */
void metrics_counter(struct metrics *m, const char *name, const char *help, double value);
void metrics_gauge(struct metrics *m, const char *name, const char *help, double value);

/* A table of a family's samples that one label tells apart. */
struct metrics_row {
	const char *text; /* the label's */
	double value;
};
void metrics_table(struct metrics *m, const char *label, const struct metrics_row *rows, size_t count);

/* Samples of a histogram, which the owner counts by itself: counts[i] up to and with bounds[i] (and over the one
 * before), and counts[count] over all of them. `label` NULL: none. */
void metrics_histogram(struct metrics *m, const struct metrics_label *label, const double *bounds,
		       const uint64_t *counts, size_t count, double sum);

/* What every program tells of itself: p2pd_build_info, and the usual process_* of /proc. I/O, and no more than that. */
void metrics_process(struct metrics *m, const char *program);

#endif
