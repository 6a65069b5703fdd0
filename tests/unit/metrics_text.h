/* Reads Prometheus's text format strictly, for tests. Include it after cmocka.h. */
#ifndef P2PD_TESTS_UNIT_METRICS_TEXT_H
#define P2PD_TESTS_UNIT_METRICS_TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/metrics.h"

enum { METRICS_FAMILIES_MAX = 128, METRICS_NAME_MAX = 80 };

struct metrics_family {
	char name[METRICS_NAME_MAX], type[16];
	unsigned samples;
};

static struct metrics_family families[METRICS_FAMILIES_MAX];
static size_t family_count;

static inline struct metrics_family *find_family(const char *name)
{
	for (size_t i = 0; i < family_count; i++)
		if (!strcmp(families[i].name, name))
			return &families[i];
	return NULL;
}

/* What the parts of a histogram end in. */
static inline bool is_part(const char *suffix)
{
	return !strcmp(suffix, "_bucket") || !strcmp(suffix, "_sum") || !strcmp(suffix, "_count");
}

/* Samples follow their HELP and TYPE, with nothing between. */
static inline void read_sample(const char *line)
{
	struct metrics_family *f = &families[family_count - 1];
	size_t len = strcspn(line, "{ "), own = strlen(f->name);
	char suffix[METRICS_NAME_MAX], *end;

	assert_true(family_count && len >= own && !memcmp(line, f->name, own));
	snprintf(suffix, sizeof suffix, "%.*s", (int)(len - own), line + own);
	assert_true(strcmp(f->type, "histogram") ? !*suffix : is_part(suffix));
	const char *value = strrchr(line, ' ');
	strtod(value + 1, &end);
	assert_true(end > value + 1 && !*end);
	f->samples++;
}

static inline void read_line(const char *line)
{
	struct metrics_family *f = &families[family_count];

	if (!strncmp(line, "# HELP ", 7)) {
		assert_true(family_count < METRICS_FAMILIES_MAX);
		assert_int_equal(sscanf(line, "# HELP %79s", f->name), 1);
		assert_null(find_family(f->name));
		assert_true(strlen(line) > strlen(f->name) + 12);
	} else if (!strncmp(line, "# TYPE ", 7)) {
		char name[METRICS_NAME_MAX];
		assert_int_equal(sscanf(line, "# TYPE %79s %15s", name, f->type), 2);
		assert_string_equal(name, f->name);
		family_count++;
	} else {
		read_sample(line);
	}
}

/* Fails on what is not right. Its families are in `families`, which is empty before. */
static inline void read_metrics(const char *text)
{
	char *copy = strdup(text), *rest = copy;

	family_count = 0;
	memset(families, 0, sizeof families);
	assert_int_equal(text[strlen(text) - 1], '\n');
	for (char *line; (line = strsep(&rest, "\n")) && rest;)
		read_line(line);
	free(copy);
}

/* The value of a series as it is written; fails if it is not there. */
static inline double value_in(const char *text, const char *series)
{
	char line[256];

	snprintf(line, sizeof line, "\n%s ", series);
	const char *at = strstr(text, line);
	if (!at)
		fail_msg("no %s", series);
	return strtod(at + strlen(line), NULL);
}

/* Prometheus's own opinion; skips the test where there is no promtool. */
static inline void check_with_promtool(const char *text)
{
	if (system("command -v promtool >/dev/null")) {
		print_message("no promtool here (it is in Debian's package prometheus): not asked\n");
		skip();
	}
	FILE *f = popen("promtool check metrics", "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(pclose(f), 0);
}

#endif
