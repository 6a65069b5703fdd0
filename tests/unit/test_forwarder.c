/* The forwarder beside what a person asks of it: counts over restarts, the files it keeps, what Prometheus is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/forward_daemon.h"

#include "apps/p2pd/forward/forward_metrics.h"
#include "apps/p2pd/forward/forwarder_internal.h"
#include "tests/unit/metrics_text.h"

/* ---- Counts */

static struct forwarder_item *item_of(const char *id)
{
	uint8_t raw[FORWARD_ID];

	assert_int_equal(rule_id_parse(raw, id), 0);
	return forwarder_item(forwarder, raw);
}

static void counts_go_on_when_a_gateway_begins_anew(void **state)
{
	static const struct forward_stats seen[] = {
		{ .total = 5, .rejected = { [FORWARD_NOT_ALLOWED] = 600, [FORWARD_FULL] = 2 } },
		{ .total = 5, .rejected = { [FORWARD_NOT_ALLOWED] = 100, [FORWARD_FULL] = 2 } },
		{ .total = 5, .rejected = { [FORWARD_NOT_ALLOWED] = 100 } },
		{ .total = 0, .rejected = { [FORWARD_NOT_ALLOWED] = 100 } },
		{ .total = 0, .rejected = { [FORWARD_NOT_ALLOWED] = 101 } },
	};
	static const uint64_t refused[] = { 600, 700, 800, 900, 901 }, full[] = { 2, 4, 4, 4, 4 };
	json_t *json, *entry;
	size_t i;

	(void)state;
	struct forwarder_item *it = item_of(add(", \"name\": \"web\""));
	for (i = 0; i < sizeof seen / sizeof *seen; i++) {
		forwarder_count_gateway(it, &seen[i]);
		struct forward_stats s = forwarder_counted(it);
		assert_int_equal(s.rejected[FORWARD_NOT_ALLOWED], refused[i]);
		assert_int_equal(s.rejected[FORWARD_FULL], full[i]);
		forwarder_counts_keep(forwarder);
	}
	assert_int_equal(ask("GET", "/api/v1/portmap/audit", NULL, &json), 200);
	json_array_foreach(json_object_get(json, "entries"), i,
			   entry) if (!strcmp(text_at(entry, "event"), "visit.refuse"))
		assert_true(strlen(text_at(entry, "detail")) < 40); /* no number of 20 digits */
	json_decref(json);
}

static void a_removed_rule_had_its_last_visit_when_it_was(void **state)
{
	char id[64];
	json_t *json;

	(void)state;
	strcpy(id, add(", \"public_port\": 23456"));
	close(connect_to(23456));
	assert_int_equal(ask("GET", path_of(id, "/stats"), NULL, &json), 200);
	json_decref(json);
	assert_int_equal(status_of("DELETE", path_of(id, ""), NULL), 200);
	assert_int_equal(ask("GET", path_of(id, "/stats"), NULL, &json), 200);
	assert_int_equal(json_integer_value(json_object_get(json, "total")), 1);
	assert_in_range(json_integer_value(json_object_get(json, "last_visit_at")), time(NULL) - 60,
			time(NULL));
	json_decref(json);
}

/* ---- What Prometheus is told */

static const char *series(void)
{
	static char text[METRICS_TEXT_MAX];
	struct metrics m;

	metrics_init(&m, text, sizeof text);
	text[0] = '\n'; /* as a line before the first */
	m.len = 1;
	forward_metrics_write(&m, forwarder);
	assert_false(m.full);
	return text;
}

static double value_of(const char *family, const char *id, const char *more)
{
	char name[160];

	snprintf(name, sizeof name, "%s{forward_id=\"%s\"%s}", family, id, more);
	return value_in(series(), name);
}

static void each_rule_has_its_series(void **state)
{
	char id[64], other[64], info[200];

	(void)state;
	assert_string_equal(series(), "\n"); /* without rules, nothing */
	strcpy(id, add(", \"name\": \"web\", \"public_port\": 23456"));
	strcpy(other, add(", \"public_port\": 23457"));
	read_metrics(series() + 1);
	assert_int_equal(family_count, 7);
	for (size_t i = 0; i < family_count; i++)
		assert_int_equal(families[i].samples, 2);
	snprintf(info, sizeof info,
		 "p2pd_forward_info{forward_id=\"%s\",name=\"web\",scope=\"org\",mode=\"user\",state="
		 "\"active\"}",
		 id);
	assert_true(value_in(series(), info) == 1);
	close(connect_to(23456));
	state_is(id, "active"); /* the loop has run */
	assert_true(value_of("p2pd_forward_connections_total", id, "") == 1);
	assert_true(value_of("p2pd_forward_connections_total", other, "") == 0);
	assert_true(value_of("p2pd_forward_active", id, "") == 1);
	assert_true(value_of("p2pd_forward_rejected_total", id, ",reason=\"not_allowed\"") == 0);
	item_of(id)->counts.gateway.rejected[FORWARD_FULL] = 7;
	assert_true(value_of("p2pd_forward_rejected_total", id, ",reason=\"full\"") == 7);
	assert_int_equal(status_of("POST", path_of(id, "/pause"), NULL), 200);
	assert_true(value_of("p2pd_forward_active", id, "") == 0);
	assert_int_equal(status_of("DELETE", path_of(id, ""), NULL), 200);
	assert_null(strstr(series(), id));
	check_with_promtool(series() + 1);
}

/* ---- The files */

static void without_an_audit_all_else_goes_on(void **state)
{
	json_t *json;

	(void)state;
	stop_daemon();
	assert_int_equal(fchmodat(dir, "audit.jsonl", 0640, 0), 0);
	start_daemon();
	const char *id = add("");
	audit_tick(forwarder_audit_log(forwarder), (uint64_t)time(NULL)); /* as each 30 seconds */
	state_is(id, "active");
	assert_int_equal(ask("GET", "/api/v1/portmap/audit", NULL, &json), 500);
	assert_non_null(strstr(text_at(json_object_get(json, "error"), "message"), "audit"));
	json_decref(json);
}

static void a_file_that_others_may_read_is_named_with_its_remedy(void **state)
{
	static const char *const names[] = { "forwards.json", "tokens.json" };
	const struct forwarder_config config = {
		.loop = loop, .engine = &engine, .tun = &tun, .state_dir = dir
	};
	char why[FILE_WHY], wanted[FILE_WHY];
	struct forwarder *f;

	(void)state;
	stop_daemon();
	for (size_t i = 0; i < 2; i++) {
		int fd = openat(dir, names[i], O_CREAT | O_WRONLY, 0600);
		assert_int_equal(fchmod(fd, 0644), 0);
		close(fd);
		assert_int_equal(forwarder_start(&f, &config, why), -EPERM);
		snprintf(wanted, sizeof wanted,
			 "%s/%s has mode 0644, and others must not get at it: `chmod 600 %s/%s`", dir_path,
			 names[i], dir_path, names[i]);
		assert_string_equal(why, wanted);
		assert_int_equal(unlinkat(dir, names[i], 0), 0);
	}
	start_daemon();
}

static void who_cannot_be_a_gateway_has_rules_nevertheless(void **state)
{
	const struct gateway_config gateway = { .public4 = at("203.0.113.5") };

	(void)state;
	int fd = openat(dir, "gateway.json", O_CREAT | O_WRONLY, 0600);
	assert_int_equal(fchmod(fd, 0644), 0);
	close(fd);
	stop_daemon();
	as_gateway = &gateway;
	start_daemon();
	as_gateway = NULL;
	state_is(add(""), "active");
}

/* ---- Rules of the settings */

static struct policy settings_of(const char *text)
{
	struct policy_error e;
	struct policy p;

	if (policy_read(&p, POLICY_SETTINGS, text, strlen(text), &e))
		fail_msg("%u: %s", e.line, e.why);
	return p;
}

/* How many lines of the audit say this of the settings; the last one's detail. */
static size_t audited(const char *event, const char *outcome, char detail[static AUDIT_TEXT_MAX + 1])
{
	size_t i, count = 0;
	json_t *json, *entry;

	assert_int_equal(ask("GET", "/api/v1/portmap/audit", NULL, &json), 200);
	json_array_foreach(json_object_get(json, "entries"), i, entry)
	{
		const char *text = json_string_value(json_object_get(entry, "detail"));
		if (strcmp(text_at(entry, "event"), event) || strcmp(text_at(entry, "outcome"), outcome) ||
		    strcmp(text_at(entry, "actor"), "settings"))
			continue;
		snprintf(detail, AUDIT_TEXT_MAX + 1, "%s", text ? text : "");
		count++;
	}
	json_decref(json);
	return count;
}

static void rules_of_the_settings_come_and_go_with_them(void **state)
{
	struct policy both = settings_of("forwards:\n  - {name: a, local: '127.0.0.1:3001', source_ip: nat}\n"
					 "  - {name: b, local: '127.0.0.1:3002', source_ip: nat}\n"),
		      none = settings_of("");
	char detail[AUDIT_TEXT_MAX + 1];
	json_t *json;

	(void)state;
	add(", \"name\": \"mine\"");
	forwarder_declare(forwarder, &both);
	state_is("a", "active");
	state_is("b", "active");
	assert_int_equal(ask("DELETE", "/api/v1/portmap/a", NULL, &json), 200);
	assert_non_null(strstr(text_at(json, "why"), "p2pd.yaml"));
	json_decref(json);
	assert_int_equal(status_of("PATCH", "/api/v1/portmap/b", "{\"max_conn\": 3, \"declared\": false}"),
			 200);
	forwarder_declare(forwarder, &both);
	state_is("a", "active");
	assert_int_equal(book_find(forwarder_book(forwarder), "b")->max_conn, FORWARD_CONN_DEFAULT);
	forwarder_declare(forwarder, &none);
	assert_int_equal(status_of("GET", "/api/v1/portmap/a", NULL), 404);
	assert_int_equal(status_of("GET", "/api/v1/portmap/b", NULL), 404);
	state_is("mine", "active");
	assert_int_equal(audited("rule.add", "ok", detail), 3);
	assert_int_equal(audited("rule.set", "ok", detail), 1);
	assert_int_equal(audited("rule.remove", "ok", detail), 2);
	policy_free(&both);
}

static void what_the_settings_cannot_have_is_told_and_tried_again(void **state)
{
	struct policy p = settings_of(
		"forwards:\n  - {name: a, local: '127.0.0.1:3001', source_ip: nat}\n"
		"  - {name: b, local: '127.0.0.1:3002', source_ip: nat, public_port: 23456}\n");
	struct policy outside = settings_of("forwards:\n  - {name: out, local: '198.51.100.1:80'}\n");
	char detail[AUDIT_TEXT_MAX + 1];

	(void)state;
	add(", \"name\": \"mine\", \"public_port\": 23456");
	forwarder_declare(forwarder, &p);
	forwarder_declare_again(forwarder);
	assert_int_equal(audited("policy.apply", "refused", detail), 1);
	assert_non_null(strstr(detail, "line 3: b has a port of 'mine'"));
	assert_int_equal(status_of("GET", "/api/v1/portmap/a", NULL), 404);
	assert_int_equal(status_of("DELETE", "/api/v1/portmap/mine", NULL), 200);
	forwarder_declare_again(forwarder); /* as each 10 seconds */
	state_is("a", "active");
	state_is("b", "active");
	forwarder_declare(forwarder, &outside);
	assert_int_equal(audited("policy.apply", "refused", detail), 2);
	assert_non_null(strstr(detail, "no network of this host"));
	state_is("a", "active");
	policy_free(&p);
	policy_free(&outside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_daemon(counts_go_on_when_a_gateway_begins_anew),
		with_daemon(a_removed_rule_had_its_last_visit_when_it_was),
		with_daemon(rules_of_the_settings_come_and_go_with_them),
		with_daemon(what_the_settings_cannot_have_is_told_and_tried_again),
		with_daemon(each_rule_has_its_series),
		with_daemon(without_an_audit_all_else_goes_on),
		with_daemon(a_file_that_others_may_read_is_named_with_its_remedy),
		with_daemon(who_cannot_be_a_gateway_has_rules_nevertheless),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
