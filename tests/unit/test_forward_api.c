/* Rules by the API: made, carried, shown, kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/forward_daemon.h"

static void a_rule_is_made_carried_and_shown(void **state)
{
	json_t *json;
	char wanted[96];

	(void)state;
	const char *id = add(", \"name\": \"web\", \"public_port\": 23456");
	assert_int_equal(ask("GET", "/api/v1/portmap/web", NULL, &json), 200);
	assert_string_equal(text_at(json, "forward_id"), id);
	assert_string_equal(text_at(json, "state"), "active");
	assert_string_equal(text_at(json, "mode"), "user");
	snprintf(wanted, sizeof wanted, "%s:%u/tcp", own_ip, 23456);
	assert_string_equal(json_string_value(json_array_get(json_object_get(json, "addresses"), 0)), wanted);
	json_decref(json);
	int fd = connect_to(23456);
	assert_true(fd >= 0);
	close(fd);
}

static void a_removed_rule_is_a_tombstone_and_comes_back(void **state)
{
	char id[64];
	json_t *json;

	(void)state;
	strcpy(id, add(", \"public_port\": 23456"));
	assert_int_equal(status_of("DELETE", path_of(id, ""), NULL), 200);
	assert_int_equal(connect_to(23456), -1);
	state_is(id, "removed");
	assert_int_equal(ask("GET", "/api/v1/portmap", NULL, &json), 200);
	assert_int_equal(json_array_size(json_object_get(json, "forwards")), 0);
	json_decref(json);
	assert_int_equal(ask("GET", "/api/v1/portmap?all=1", NULL, &json), 200);
	assert_int_equal(json_array_size(json_object_get(json, "forwards")), 1);
	json_decref(json);
	assert_int_equal(status_of("POST", path_of(id, "/restore"), NULL), 200);
	state_is(id, "active");
	int fd = connect_to(23456);
	assert_true(fd >= 0);
	close(fd);
}

static void pause_and_resume_are_states(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(""));
	assert_int_equal(status_of("POST", path_of(id, "/pause"), NULL), 200);
	state_is(id, "paused");
	assert_int_equal(status_of("POST", path_of(id, "/resume"), NULL), 200);
	state_is(id, "active");
}

static void a_port_is_one_rules_only(void **state)
{
	char id[64];
	json_t *json;

	(void)state;
	strcpy(id, add(", \"public_port\": 23456"));
	assert_int_equal(ask("POST", "/api/v1/portmap", spec(", \"public_port\": 23456"), &json), 409);
	json_t *error = json_object_get(json, "error");
	assert_string_equal(text_at(error, "code"), "conflict");
	assert_string_equal(text_at(error, "forward_id"), id);
	json_decref(json);
	add(", \"public_port\": 23456, \"force\": true");
	state_is(id, "removed");
}

static void wrong_requests_are_refused_and_change_nothing(void **state)
{
	static const struct {
		const char *method, *path, *body;
		int status;
	} cases[] = {
		{ "POST", "", "{}", 400 },
		{ "POST", "", "[]", 400 },
		{ "POST", "", "nonsense", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:0\"}", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:70000\"}", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:80,80\"}", 400 },
		{ "POST", "", "{\"local\": \"10.77.0.9:80\"}", 400 },	 /* in the overlay */
		{ "POST", "", "{\"local\": \"198.51.100.1:80\"}", 400 }, /* the internet */
		{ "POST", "", "{\"local\": \"224.0.0.1:80\"}", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:80\", \"expires_at\": 5}", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:80\", \"force\": 1}", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:80\", \"what\": 1}", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:80\", \"scope\": \"public\"}", 400 },
		{ "POST", "", "{\"local\": \"127.0.0.1:80\", \"scope\": \"public\", \"via\": \"gate\"}",
		  400 },
		{ "GET", "/nothing", NULL, 404 },
		{ "DELETE", "/0198c0de-0000-7000-8000-000000000001", NULL, 404 },
		{ "POST", "/nothing/pause", NULL, 404 },
		{ "PUT", "", "{}", 405 },
		{ "GET", "//", NULL, 404 },
		{ "GET", "/a/b/c/d/e/f", NULL, 404 },
		{ "GET", "x", NULL, 404 },
		{ "POST", "/apply", "{\"policy\": 5}", 400 },
		{ "POST", "/apply", "{\"policy\": \"forwards: 5\"}", 400 },
		{ "GET", "/audit?since=x", NULL, 400 },
	};
	char path[96];
	json_t *json;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(path, sizeof path, "/api/v1/portmap%s", cases[i].path);
		int status = ask(cases[i].method, path, cases[i].body, &json);
		if (status != cases[i].status)
			fail_msg("%s %s %s: %d %s", cases[i].method, path, cases[i].body, status,
				 json_dumps(json, 0));
		assert_true(*text_at(json_object_get(json, "error"), "message"));
		json_decref(json);
	}
	assert_int_equal(book_count(forwarder_book(forwarder)), 0);
}

static void reading_is_all_that_a_reader_may(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(", \"name\": \"web\""));
	read_only = true;
	assert_int_equal(status_of("GET", "/api/v1/portmap", NULL), 200);
	assert_int_equal(status_of("GET", path_of(id, "/stats"), NULL), 200);
	assert_int_equal(status_of("POST", "/api/v1/portmap", spec("")), 403);
	assert_int_equal(status_of("PATCH", path_of(id, ""), "{\"name\": \"x\"}"), 403);
	assert_int_equal(status_of("DELETE", path_of(id, ""), NULL), 403);
	assert_int_equal(status_of("POST", path_of(id, "/pause"), NULL), 403);
	assert_int_equal(status_of("POST", "/api/v1/portmap/api-token", NULL), 403);
	assert_int_equal(status_of("POST", path_of(id, "/tokens"), "{}"), 403);
	state_is(id, "active");
}

static void a_public_rule_waits_for_its_gateway(void **state)
{
	json_t *json;

	(void)state;
	const char *id = add(", \"scope\": \"public\", \"via\": \"gate\", \"allow\": [\"198.51.100.0/24\"]");
	assert_int_equal(ask("GET", path_of(id, ""), NULL, &json), 200);
	assert_string_equal(text_at(json, "state"), "pending");
	assert_non_null(strstr(text_at(json, "why"), "gate"));
	json_decref(json);
}

static void two_nodes_of_one_name_are_none(void **state)
{
	json_t *json;

	(void)state;
	link_member(&members[0], "twin", "10.77.0.2");
	link_member(&members[1], "twin", "10.77.0.3");
	const char *id = add(", \"scope\": \"public\", \"via\": \"twin\", \"allow\": [\"198.51.100.0/24\"]");
	assert_int_equal(ask("GET", path_of(id, ""), NULL, &json), 200);
	assert_string_equal(text_at(json, "state"), "pending");
	assert_non_null(strstr(text_at(json, "why"), "two nodes"));
	json_decref(json);
}

static void rules_and_counts_outlive_a_restart(void **state)
{
	char id[64];
	json_t *json;

	(void)state;
	strcpy(id, add(", \"public_port\": 23456"));
	struct forward_stats s = { .bytes_in = 7, .total = 3 };
	book_keep_stats(forwarder_book(forwarder), book_at(forwarder_book(forwarder), 0)->id, &s);
	assert_int_equal(book_save(forwarder_book(forwarder)), 0);
	stop_daemon();
	start_daemon();
	state_is(id, "active");
	assert_int_equal(ask("GET", path_of(id, "/stats"), NULL, &json), 200);
	assert_int_equal(json_integer_value(json_object_get(json, "bytes_in")), 7);
	assert_int_equal(json_integer_value(json_object_get(json, "total")), 3);
	json_decref(json);
}

static void a_ping_tells_whether_the_service_answers(void **state)
{
	char id[64];
	json_t *json, *check;

	(void)state;
	strcpy(id, add(""));
	for (int listens = 1; listens >= 0; listens--) {
		assert_int_equal(ask("POST", path_of(id, "/ping"), NULL, &json), 200);
		check = json_array_get(json_object_get(json, "checks"), 1);
		assert_string_equal(text_at(check, "what"), "service");
		assert_int_equal(json_is_true(json_object_get(check, "ok")), listens);
		json_decref(json);
		close(service);
	}
	service = -1;
}

static void a_policy_makes_it_so(void **state)
{
	char body[512];
	json_t *json;

	(void)state;
	add(", \"name\": \"old\"");
	snprintf(
		body, sizeof body,
		"{\"policy\": \"forwards:\\n  - name: a\\n    local: 127.0.0.1:%u\\n    source_ip: nat\\n\"}",
		service_port);
	assert_int_equal(ask("POST", "/api/v1/portmap/apply", body, &json), 200);
	assert_int_equal(json_array_size(json_object_get(json, "changes")), 2);
	json_decref(json);
	state_is("a", "active");
	assert_int_equal(ask("POST", "/api/v1/portmap/apply",
			     "{\"policy\": \"forwards:\\n  - name: a\\n    local: 127.0.0.1:99999\\n\"}",
			     &json),
			 400);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "error"), "line")), 3);
	json_decref(json);
	state_is("a", "active");
}

static void changes_and_refusals_are_audited(void **state)
{
	json_t *json;

	(void)state;
	const char *id = add("");
	assert_int_equal(status_of("POST", path_of(id, "/pause"), NULL), 200);
	assert_int_equal(status_of("POST", "/api/v1/portmap", "{\"local\": \"224.0.0.1:1\"}"), 400);
	assert_int_equal(ask("GET", "/api/v1/portmap/audit", NULL, &json), 200);
	json_t *entries = json_object_get(json, "entries");
	assert_true(has_event(entries, "rule.add", "ok"));
	assert_true(has_event(entries, "rule.pause", "ok"));
	assert_true(has_event(entries, "rule.add", "refused"));
	json_decref(json);
}

static void links_are_for_public_rules_that_take_them(void **state)
{
	(void)state;
	const char *id = add("");
	assert_int_equal(status_of("POST", path_of(id, "/tokens"), "{\"uses\": 1}"), 409);
	assert_int_equal(status_of("POST", path_of(id, "/tokens"), "{\"uses\": 0}"), 400);
	assert_int_equal(status_of("GET", path_of(id, "/tokens"), NULL), 200);
	assert_int_equal(status_of("DELETE", path_of(id, "/tokens/00000000"), NULL), 404);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_daemon(a_rule_is_made_carried_and_shown),
		with_daemon(a_removed_rule_is_a_tombstone_and_comes_back),
		with_daemon(pause_and_resume_are_states),
		with_daemon(a_port_is_one_rules_only),
		with_daemon(wrong_requests_are_refused_and_change_nothing),
		with_daemon(reading_is_all_that_a_reader_may),
		with_daemon(a_public_rule_waits_for_its_gateway),
		with_daemon(two_nodes_of_one_name_are_none),
		with_daemon(rules_and_counts_outlive_a_restart),
		with_daemon(a_ping_tells_whether_the_service_answers),
		with_daemon(a_policy_makes_it_so),
		with_daemon(changes_and_refusals_are_audited),
		with_daemon(links_are_for_public_rules_that_take_them),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
