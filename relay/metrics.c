#include "relay/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void metrics_init(struct metrics *m, char *text, size_t cap)
{
	*m = (struct metrics) { .text = text, .cap = cap };
	*text = 0;
}

/* All or nothing, so that what is there is made of whole pieces. */
static void put(struct metrics *m, const char *text, size_t len)
{
	if (m->full || len >= m->cap - m->len) {
		m->full = true;
		return;
	}
	memcpy(m->text + m->len, text, len);
	m->len += len;
	m->text[m->len] = 0;
}

static void put_text(struct metrics *m, const char *text)
{
	put(m, text, strlen(text));
}

/* Label values escape \, " and line feeds; HELP has no quotes to protect. */
static void put_escaped(struct metrics *m, const char *text, bool quoted)
{
	for (; *text; text++)
		if (*text == '\n')
			put_text(m, "\\n");
		else if (*text == '\\')
			put_text(m, "\\\\");
		else if (*text == '"' && quoted)
			put_text(m, "\\\"");
		else
			put(m, text, 1);
}

/* Whole numbers as such: counts are exact up to 2^53. */
static void put_number(struct metrics *m, double value)
{
	char text[40];

	if (isnan(value))
		snprintf(text, sizeof text, "NaN");
	else if (isinf(value))
		snprintf(text, sizeof text, value < 0 ? "-Inf" : "+Inf");
	else if (value == floor(value) && fabs(value) < 9007199254740992.0)
		snprintf(text, sizeof text, "%.0f", value);
	else
		snprintf(text, sizeof text, "%.9g", value);
	put_text(m, text);
}

/* [a-z_][a-z0-9_]*: less than the format allows (prometheus.io/docs/concepts/data_model), as the conventions want it. */
static bool is_name(const char *name)
{
	return *name && !strchr("0123456789", *name) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

static bool is_counter_name(const char *name)
{
	size_t len = strlen(name);

	return len > 6 && !strcmp(name + len - 6, "_total");
}

void metrics_begin(struct metrics *m, const char *name, enum metrics_type type, const char *help)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	assert(is_name(name) && (type == METRICS_COUNTER) == is_counter_name(name));
	m->name = name;
	put_text(m, "# HELP ");
	put_text(m, name);
	put_text(m, " ");
	put_escaped(m, help, false);
	put_text(m, "\n# TYPE ");
	put_text(m, name);
	put_text(m, " ");
	put_text(m, types[type]);
	put_text(m, "\n");
}

static void put_sample(struct metrics *m, const char *suffix, const struct metrics_label *labels,
		       size_t count, double value)
{
	put_text(m, m->name);
	put_text(m, suffix);
	for (size_t i = 0; i < count; i++) {
		assert(is_name(labels[i].name));
		put_text(m, i ? "," : "{");
		put_text(m, labels[i].name);
		put_text(m, "=\"");
		put_escaped(m, labels[i].value, true);
		put_text(m, "\"");
	}
	put_text(m, count ? "} " : " ");
	put_number(m, value);
	put_text(m, "\n");
}

void metrics_sample(struct metrics *m, const struct metrics_label *labels, size_t count, double value)
{
	put_sample(m, "", labels, count, value);
}

void metrics_labelled(struct metrics *m, const char *label, const char *text, double value)
{
	put_sample(m, "", &(struct metrics_label) { label, text }, 1, value);
}

void metrics_counter(struct metrics *m, const char *name, const char *help, double value)
{
	metrics_begin(m, name, METRICS_COUNTER, help);
	put_sample(m, "", NULL, 0, value);
}

void metrics_gauge(struct metrics *m, const char *name, const char *help, double value)
{
	metrics_begin(m, name, METRICS_GAUGE, help);
	put_sample(m, "", NULL, 0, value);
}

void metrics_table(struct metrics *m, const char *label, const struct metrics_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		metrics_labelled(m, label, rows[i].text, rows[i].value);
}

void metrics_histogram(struct metrics *m, const struct metrics_label *label, const double *bounds,
		       const uint64_t *counts, size_t count, double sum)
{
	size_t own = label ? 1 : 0;
	struct metrics_label labels[2] = { { 0 } };
	uint64_t below = 0;

	if (label)
		labels[0] = *label;
	for (size_t i = 0; i <= count; i++) {
		char le[32] = "+Inf";
		below += counts[i];
		if (i < count)
			snprintf(le, sizeof le, "%.9g", bounds[i]);
		labels[own] = (struct metrics_label) { "le", le };
		put_sample(m, "_bucket", labels, own + 1, (double)below);
	}
	put_sample(m, "_sum", labels, own, sum);
	put_sample(m, "_count", labels, own, (double)below);
}
