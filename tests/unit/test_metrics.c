/* The text format, against texts written by hand after its description. */
#include "relay/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char text[METRICS_TEXT_MAX];

static struct metrics fresh(void)
{
	struct metrics m;

	metrics_init(&m, text, sizeof text);
	return m;
}

static void a_family_has_help_type_and_samples(void **state)
{
	struct metrics m = fresh();
	(void)state;

	metrics_counter(&m, "a_total", "Of \"these\", C:\\ and\nthose.", 3);
	metrics_gauge(&m, "b_seconds", "B.", 0.25);
	assert_false(m.full);
	assert_string_equal(
		text, "# HELP a_total Of \"these\", C:\\\\ and\\nthose.\n# TYPE a_total counter\na_total 3\n"
		      "# HELP b_seconds B.\n# TYPE b_seconds gauge\nb_seconds 0.25\n");
	assert_int_equal(m.len, strlen(text));
}

static void label_values_are_escaped(void **state)
{
	struct metrics m = fresh();
	const struct metrics_label labels[] = { { "x", "a\"b\\c\nd" }, { "y", "" }, { "z", "\xc3\xa9" } };
	(void)state;

	metrics_begin(&m, "g", METRICS_GAUGE, "G.");
	metrics_sample(&m, labels, 3, 1);
	assert_string_equal(
		text, "# HELP g G.\n# TYPE g gauge\ng{x=\"a\\\"b\\\\c\\nd\",y=\"\",z=\"\xc3\xa9\"} 1\n");
}

static void numbers_are_exact_and_special_ones_spelt_right(void **state)
{
	static const struct {
		double value;
		const char *text;
	} table[] = {
		{ 0, "v 0\n" },
		{ -1, "v -1\n" },
		{ 9007199254740991.0, "v 9007199254740991\n" },
		{ 0.001, "v 0.001\n" },
		{ 1e300, "v 1e+300\n" },
		{ NAN, "v NaN\n" },
		{ INFINITY, "v +Inf\n" },
		{ -INFINITY, "v -Inf\n" },
		{ 1234567.5, "v 1234567.5\n" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct metrics m = fresh();
		metrics_gauge(&m, "v", "V.", table[i].value);
		assert_string_equal(strstr(text, "gauge\n") + 6, table[i].text);
	}
}

static void buckets_of_a_histogram_add_up(void **state)
{
	static const double bounds[] = { 0.1, 2.5 };
	static const uint64_t counts[] = { 2, 0, 3 };
	struct metrics m = fresh();
	(void)state;

	metrics_begin(&m, "h_seconds", METRICS_HISTOGRAM, "H.");
	metrics_histogram(&m, NULL, bounds, counts, 2, 10.5);
	assert_string_equal(text, "# HELP h_seconds H.\n# TYPE h_seconds histogram\n"
				  "h_seconds_bucket{le=\"0.1\"} 2\nh_seconds_bucket{le=\"2.5\"} 2\n"
				  "h_seconds_bucket{le=\"+Inf\"} 5\nh_seconds_sum 10.5\nh_seconds_count 5\n");
}

static void a_histogram_may_have_a_label(void **state)
{
	static const double bounds[] = { 1 };
	static const uint64_t counts[] = { 1, 0 };
	struct metrics m = fresh();
	(void)state;

	metrics_begin(&m, "h", METRICS_HISTOGRAM, "H.");
	metrics_histogram(&m, &(struct metrics_label) { "x", "y" }, bounds, counts, 1, 1);
	assert_string_equal(text, "# HELP h H.\n# TYPE h histogram\nh_bucket{x=\"y\",le=\"1\"} 1\n"
				  "h_bucket{x=\"y\",le=\"+Inf\"} 1\nh_sum{x=\"y\"} 1\nh_count{x=\"y\"} 1\n");
}

static void nothing_is_written_past_the_end(void **state)
{
	(void)state;

	for (size_t cap = 1; cap <= 64; cap++) {
		struct metrics m;
		char *exact = malloc(cap);
		metrics_init(&m, exact, cap);
		metrics_counter(&m, "a_total", "A.", 1); /* 51 bytes and the NUL */
		assert_int_equal(m.full, cap < 52);
		assert_true(m.len < cap);
		assert_int_equal(exact[m.len], 0);
		free(exact);
	}
}

static void a_full_buffer_takes_nothing_more(void **state)
{
	char small[60];
	struct metrics m;
	(void)state;

	metrics_init(&m, small, sizeof small);
	metrics_counter(&m, "a_long_name_total", "A.", 1);
	assert_true(m.full);
	size_t len = m.len;
	metrics_labelled(&m, "x", "y", 1);
	assert_int_equal(m.len, len);
}

static double value_of(const char *name)
{
	char line[128];

	snprintf(line, sizeof line, "\n%s ", name);
	const char *at = strstr(text, line);
	assert_non_null(at);
	return strtod(at + strlen(line), NULL);
}

static void a_process_tells_of_itself(void **state)
{
	struct metrics m = fresh();
	(void)state;

	metrics_process(&m, "test");
	assert_false(m.full);
	assert_non_null(strstr(text, "p2pd_build_info{program=\"test\",version=\"" P2PD_VERSION "\"} 1\n"));
	assert_true(value_of("process_open_fds") >= 1);
	assert_true(value_of("process_max_fds") >= value_of("process_open_fds"));
	assert_true(value_of("process_resident_memory_bytes") > 65536);
	assert_true(value_of("process_virtual_memory_bytes") >= value_of("process_resident_memory_bytes"));
	assert_true(value_of("process_threads") >= 1);
	assert_true(value_of("process_cpu_seconds_total") >= 0);
	assert_true(value_of("process_start_time_seconds") > 1.6e9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_family_has_help_type_and_samples),
		cmocka_unit_test(label_values_are_escaped),
		cmocka_unit_test(numbers_are_exact_and_special_ones_spelt_right),
		cmocka_unit_test(buckets_of_a_histogram_add_up),
		cmocka_unit_test(a_histogram_may_have_a_label),
		cmocka_unit_test(nothing_is_written_past_the_end),
		cmocka_unit_test(a_full_buffer_takes_nothing_more),
		cmocka_unit_test(a_process_tells_of_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
