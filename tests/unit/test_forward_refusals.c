/* What the API refuses, and what the audit has of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <time.h>

#include "tests/unit/forward_daemon.h"

#define RULES "/api/v1/portmap"
#define GATE  ", \"scope\": \"public\", \"via\": \"gate\""

/* Asks, and wants that status and words in the answer; the error's object, or the answer when it is none. */
static json_t *expect(const char *method, const char *path, const char *body, int status, const char *words)
{
	json_t *json;
	int got = ask(method, path, body, &json);
	char *text = json_dumps(json, 0);

	if (got != status || (words && !strstr(text, words)))
		fail_msg("%s %s %s: %d %s", method, path, body ? body : "", got, text);
	free(text);
	json_t *error = json_incref(json_object_get(json, "error"));
	if (!error)
		return json;
	json_decref(json);
	return error;
}

static void expect_only(const char *method, const char *path, const char *body, int status, const char *words)
{
	json_decref(expect(method, path, body, status, words));
}

/* How many lines of the audit are of that event, with that outcome and words in the detail. */
static unsigned audited(const char *event, const char *outcome, const char *detail)
{
	json_t *json = expect("GET", RULES "/audit", NULL, 200, NULL), *entry;
	unsigned count = 0;
	size_t i;

	json_array_foreach(json_object_get(json, "entries"), i, entry)
	{
		const char *text = json_string_value(json_object_get(entry, "detail"));
		count += !strcmp(text_at(entry, "event"), event) &&
			 !strcmp(text_at(entry, "outcome"), outcome) && strstr(text ? text : "", detail);
	}
	json_decref(json);
	return count;
}

/* --- Changes */

static void a_change_is_kept_shown_and_audited(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(", \"name\": \"web\""));
	json_t *rule = expect("PATCH", path_of(id, ""), "{\"max_conn\": 7, \"name\": \"shop\"}", 200, NULL);
	assert_string_equal(text_at(rule, "forward_id"), id);
	assert_string_equal(text_at(rule, "name"), "shop");
	assert_string_equal(text_at(rule, "state"), "active");
	assert_int_equal(json_integer_value(json_object_get(rule, "max_conn")), 7);
	json_decref(rule);
	assert_int_equal(book_find(forwarder_book(forwarder), "shop")->max_conn, 7);
	assert_int_equal(audited("rule.set", "ok", "max_conn, name"), 1);
	expect_only("PATCH", path_of(id, ""), "{\"forward_id\": \"0198c0de-0000-7000-8000-000000000001\"}",
		    400, "cannot be changed");
	expect_only("PATCH", path_of(id, ""), "{\"max_conn\": 1000001}", 400, "at most 1000000");
	assert_int_equal(audited("rule.set", "refused", ""), 2);
}

static void a_change_that_opens_a_rule_must_be_forced_and_one_of_an_open_rule_not(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(GATE ", \"allow\": [\"198.51.100.0/24\"]"));
	expect_only("PATCH", path_of(id, ""), "{\"allow\": []}", 400, "anybody on the internet");
	expect_only("PATCH", path_of(id, ""), "{\"allow\": [\"::/0\"]}", 400, "anybody on the internet");
	assert_int_equal(audited("rule.set", "refused", "anybody"), 2);
	assert_int_equal(book_at(forwarder_book(forwarder), 0)->allow_count, 1);
	expect_only("PATCH", path_of(id, ""), "{\"allow\": [], \"force\": true}", 200, NULL);
	expect_only("PATCH", path_of(id, ""), "{\"max_conn\": 5}", 200, NULL);
	expect_only("PATCH", path_of(id, ""), "{\"allow\": [\"198.51.100.0/24\"]}", 200, NULL);
	expect_only("PATCH", path_of(id, ""), "{\"allow\": []}", 400, "anybody on the internet");
}

static void a_change_onto_anothers_port_is_a_conflict_unless_forced(void **state)
{
	char first[64], second[64];

	(void)state;
	strcpy(first, add(", \"name\": \"first\", \"public_port\": 23456"));
	strcpy(second, add(", \"public_port\": 23457"));
	json_t *error = expect("PATCH", path_of(second, ""), "{\"public_port\": 23456}", 409, "--force");
	assert_string_equal(text_at(error, "forward_id"), first);
	json_decref(error);
	assert_int_equal(audited("rule.set", "refused", "another rule has the port"), 1);
	assert_int_equal(audited("rule.remove", "ok", "replaced"), 0);
	expect_only("PATCH", path_of(second, ""), "{\"public_port\": 23456, \"force\": true}", 200, NULL);
	state_is(first, "removed");
	assert_int_equal(audited("rule.remove", "ok", "replaced"), 1);
}

/* --- Tombstones */

static void of_a_tombstone_it_is_told_that_it_is_one(void **state)
{
	static const struct {
		const char *method, *tail, *body;
	} cases[] = {
		{ "PATCH", "", "{\"max_conn\": 5}" }, { "DELETE", "", NULL },	 { "POST", "/pause", NULL },
		{ "POST", "/resume", NULL },	      { "POST", "/ping", NULL }, { "POST", "/tokens", "{}" },
	};
	char id[64], words[96], day[32];
	time_t until = time(NULL) + BOOK_KEEP_S;

	(void)state;
	strcpy(id, add(""));
	expect_only("DELETE", path_of(id, ""), NULL, 200, "removed");
	strftime(day, sizeof day, "%Y-%m-%d", gmtime(&until));
	snprintf(words, sizeof words, "until %.8s", day); /* midnight may be near */
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *error = expect(cases[i].method, path_of(id, cases[i].tail), cases[i].body, 404,
				       words);
		assert_non_null(strstr(text_at(error, "message"), "the rule was removed"));
		assert_non_null(strstr(text_at(error, "message"), id));
		json_decref(error);
	}
	assert_int_equal(audited("rule.remove", "refused", "no such rule any more"), 1);
	assert_int_equal(audited("rule.set", "refused", "no such rule any more"), 1);
	assert_int_equal(audited("", "", "No such file"), 0);
	json_t *stats = expect("GET", path_of(id, "/stats"), NULL, 200, "bytes_in");
	assert_string_equal(text_at(stats, "forward_id"), id);
	json_decref(stats);
	expect_only("POST", path_of(id, "/restore"), NULL, 200, "active");
	expect_only("POST", path_of(id, "/restore"), NULL, 200, "active");
	assert_int_equal(audited("rule.restore", "ok", ""), 2);
}

static void restore_does_not_offer_a_force_that_it_has_not(void **state)
{
	char first[64], second[64];

	(void)state;
	strcpy(first, add(", \"public_port\": 23456"));
	strcpy(second, add(", \"public_port\": 23456, \"force\": true"));
	json_t *error = expect("POST", path_of(first, "/restore"), NULL, 409, "remove it, first");
	assert_string_equal(text_at(error, "forward_id"), second);
	assert_null(strstr(text_at(error, "message"), "--force"));
	json_decref(error);
	assert_int_equal(audited("rule.restore", "refused", "another rule has the port"), 1);
}

/* --- Names, targets, gateways */

static void the_words_of_the_api_name_no_rule(void **state)
{
	static const char *const names[] = { "apply", "audit", "api-token" };
	char more[64];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		snprintf(more, sizeof more, ", \"name\": \"%s\"", names[i]);
		expect_only("POST", RULES, spec(more), 400, "word of p2pd's own");
	}
	const char *id = add("");
	expect_only("PATCH", path_of(id, ""), "{\"name\": \"api-token\"}", 400, "word of p2pd's own");
}

static void this_node_is_not_its_own_gateway(void **state)
{
	(void)state;
	expect_only("POST", RULES,
		    spec(", \"scope\": \"public\", \"via\": \"self\", \"allow\": [\"198.51.100.0/24\"]"), 400,
		    "self is this node itself");
	assert_int_equal(audited("rule.add", "refused", "itself"), 1);
}

static void what_the_daemon_refuses_is_audited_at_the_owner(void **state)
{
	static const char *const bodies[] = {
		"{\"local\": \"127.0.0.1:80\", \"public_port\": 70000}",
		"{\"local\": \"127.0.0.1:80\", \"public_port\": -1}",
		"{\"local\": \"127.0.0.1:0\"}",
		"{\"local\": \"127.0.0.1:70000\"}",
		"{\"local\": \"127.0.0.1:80,80\"}",
		"{\"local\": \"224.0.0.1:80\"}",
		"{\"local\": \"0.0.0.0:80\"}",
		"{\"local\": \"[::ffff:127.0.0.1]:80\"}",
		"{\"local\": \"10.77.0.9:80\"}",
		"{\"local\": \"198.51.100.1:80\"}",
		"{\"local\": \"127.0.0.1:60000-60010\", \"public_port\": 65530}",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		expect_only("POST", RULES, bodies[i], 400, NULL);
		if (audited("rule.add", "refused", "") != i + 1)
			fail_msg("%s", bodies[i]);
	}
	assert_int_equal(book_count(forwarder_book(forwarder)), 0);
}

static void more_than_32_prefixes_are_refused(void **state)
{
	char body[2048] = "{\"local\": \"127.0.0.1:80\", \"allow\": [\"10.0.0.0/24\"";

	(void)state;
	for (int i = 1; i <= RULE_ALLOW_MAX; i++)
		sprintf(body + strlen(body), ", \"10.0.%d.0/24\"", i);
	strcat(body, "]}");
	expect_only("POST", RULES, body, 400, "more than 32 prefixes");
	assert_int_equal(audited("rule.add", "refused", "more than 32"), 1);
}

/* --- No room, no disk */

static void more_rules_than_are_kept_are_refused(void **state)
{
	struct book *b = forwarder_book(forwarder);
	char why[RULE_WHY];

	(void)state;
	book_begin(b);
	for (int i = 0; i < BOOK_RULES_MAX; i++) {
		struct rule r;
		rule_init(&r);
		r.source_ip = RULE_NAT;
		r.public_port = (uint16_t)(10000 + i);
		assert_int_equal(rule_read_local(&r, "127.0.0.1:80", why), 0);
		assert_int_equal(book_add(b, &r, false, 1, forwarder_rng(forwarder)), 0);
	}
	assert_int_equal(book_commit(b), 0);
	expect_only("POST", RULES, spec(", \"public_port\": 23456"), 409, "1024 rules");
	assert_int_equal(audited("rule.add", "refused", "more rules are not kept"), 1);
	/* On leaving, the next refresh would carry them all. */
	book_begin(b);
	for (int i = 0; i < BOOK_RULES_MAX; i++)
		book_remove(b, book_at(b, (size_t)i)->id, 2);
	assert_int_equal(book_commit(b), 0);
}

/* The state folder becomes one that nothing can be written to, and back. */
static int spoil_disk(void)
{
	int kept = dup(dir), other = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(kept >= 0 && other >= 0);
	assert_int_equal(dup2(other, dir), dir);
	close(other);
	return kept;
}

static void mend_disk(int kept)
{
	assert_int_equal(dup2(kept, dir), dir);
	close(kept);
}

static void what_cannot_be_kept_is_not_done(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(", \"name\": \"web\", \"public_port\": 23456"));
	int kept = spoil_disk();
	expect_only("POST", RULES, spec(", \"public_port\": 23457"), 500, "could not be kept on disk");
	expect_only("POST", RULES, spec(", \"public_port\": 23456, \"force\": true"), 500, "on disk");
	expect_only("PATCH", path_of(id, ""), "{\"max_conn\": 7}", 500, "on disk");
	expect_only("POST", path_of(id, "/pause"), NULL, 500, "on disk");
	expect_only("DELETE", path_of(id, ""), NULL, 500, "on disk");
	expect_only("POST", RULES "/apply", "{\"policy\": \"portmap: []\"}", 500, "on disk");
	mend_disk(kept);
	state_is(id, "active");
	assert_int_equal(book_count(forwarder_book(forwarder)), 1);
	assert_int_equal(audited("rule.add", "failed", ""), 2);
	assert_int_equal(audited("rule.set", "failed", ""), 1);
	assert_int_equal(audited("rule.pause", "failed", ""), 1);
	assert_int_equal(audited("rule.remove", "failed", ""), 1);
	assert_int_equal(audited("rule.remove", "ok", ""), 0); /* not of the forced one either */
	assert_int_equal(audited("policy.apply", "failed", ""), 1);
	expect_only("DELETE", path_of(id, ""), NULL, 200, NULL);
}

/* --- Policies */

static void a_policy_that_is_refused_names_the_place_and_is_audited(void **state)
{
	static const struct {
		const char *policy;
		int line, column;
		const char *words;
	} cases[] = {
		{ "portmap:\\n  - name: a\\n    local: 127.0.0.1:80\\n  - name: b\\n    local: "
		  "198.51.100.1:81\\n",
		  4, 5, "in no network of this host" },
		{ "portmap:\\n  - name: a\\n    local: 10.77.0.9:80\\n", 2, 5, "in the overlay" },
		{ "portmap:\\n  - name: a\\n    local: 127.0.0.1:80\\n    scope: public\\n    via: self\\n   "
		  " allow: "
		  "[token]\\n",
		  2, 5, "itself" },
		{ "portmap:\\n  - name: audit\\n    local: 127.0.0.1:80\\n", 2, 5, "word of p2pd's own" },
		{ "portmap: [\\n", 2, 1, "not YAML" },
	};
	char body[512];

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(body, sizeof body, "{\"policy\": \"%s\"}", cases[i].policy);
		json_t *error = expect("POST", RULES "/apply", body, 400, cases[i].words);
		assert_int_equal(json_integer_value(json_object_get(error, "line")), cases[i].line);
		assert_int_equal(json_integer_value(json_object_get(error, "column")), cases[i].column);
		json_decref(error);
		assert_int_equal(audited("policy.apply", "refused", ""), i + 1);
	}
	expect_only("POST", RULES "/apply", "{\"policy\": \"portmap: []\", \"dry_run\": \"yes\"}", 400,
		    "true or false");
	expect_only("POST", RULES "/apply", "{\"policy\": \"portmap: []\", \"dry_run\": 1}", 400,
		    "true or false");
	assert_int_equal(book_count(forwarder_book(forwarder)), 0);
}

static void a_body_that_is_no_object_is_told_why(void **state)
{
	(void)state;
	expect_only("POST", RULES "/apply", "{\"policy\": \"portmap:\\u0000\"}", 400, "u0000 is not allowed");
	expect_only("POST", RULES, "{\"local\": \"127.0.0.1:80\", \"local\": \"127.0.0.1:81\"}", 400,
		    "duplicate object key");
	expect_only("POST", RULES, "{\xe2\x82", 400, "must be a JSON object: ");
	expect_only("POST", RULES, "[]", 400, "must be a JSON object\"");
}

static void a_policy_tells_what_changes_from_and_to(void **state)
{
	char body[256];

	(void)state;
	add(", \"name\": \"web\"");
	snprintf(body, sizeof body,
		 "{\"policy\": \"portmap:\\n  - name: web\\n    local: 127.0.0.1:%u\\n    source_ip: nat\\n  "
		 "  "
		 "max_conn: 50\\n\", \"dry_run\": true}",
		 service_port);
	json_t *answer = expect("POST", RULES "/apply", body, 200, "p2pd.portmap.apply/1");
	json_t *change = json_array_get(json_object_get(answer, "changes"), 0);
	json_t *field = json_array_get(json_object_get(change, "fields"), 0);
	assert_int_equal(json_array_size(json_object_get(change, "fields")), 1);
	assert_string_equal(text_at(field, "field"), "max_conn");
	assert_int_equal(json_integer_value(json_object_get(field, "old")), 200);
	assert_int_equal(json_integer_value(json_object_get(field, "new")), 50);
	json_decref(answer);
	assert_int_equal(book_find(forwarder_book(forwarder), "web")->max_conn, 200);
	assert_int_equal(audited("policy.apply", "ok", ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_daemon(a_change_is_kept_shown_and_audited),
		with_daemon(a_change_that_opens_a_rule_must_be_forced_and_one_of_an_open_rule_not),
		with_daemon(a_change_onto_anothers_port_is_a_conflict_unless_forced),
		with_daemon(of_a_tombstone_it_is_told_that_it_is_one),
		with_daemon(restore_does_not_offer_a_force_that_it_has_not),
		with_daemon(the_words_of_the_api_name_no_rule),
		with_daemon(this_node_is_not_its_own_gateway),
		with_daemon(what_the_daemon_refuses_is_audited_at_the_owner),
		with_daemon(more_than_32_prefixes_are_refused),
		with_daemon(more_rules_than_are_kept_are_refused),
		with_daemon(what_cannot_be_kept_is_not_done),
		with_daemon(a_policy_that_is_refused_names_the_place_and_is_audited),
		with_daemon(a_body_that_is_no_object_is_told_why),
		with_daemon(a_policy_tells_what_changes_from_and_to),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
