#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "apps/p2pd/forward/policy.h"
#include "core/file.h"

enum { NOW = 1790000000 };

#define TILL "forwards:\n  - name: till\n    local: 10.0.0.1:3306\n"

static int read_as(struct policy *p, enum policy_file file, const char *text, struct policy_error *e)
{
	return policy_read(p, file, text, strlen(text), e);
}

static struct policy taken(const char *text)
{
	struct policy p;
	struct policy_error e;

	if (read_as(&p, POLICY_RULES, text, &e))
		fail_msg("%u:%u: %s in\n%s", e.line, e.column, e.why, text);
	return p;
}

/* --- Reading */

static void every_key_is_read_with_the_units_of_people(void **state)
{
	(void)state;
	struct policy p = taken(
		"# a comment\n"
		"forwards:\n"
		"  - name: till-lyon-3306\n"
		"    local: 192.168.50.10:3306,3310-3319\n"
		"    proto: both\n"
		"    scope: public\n"
		"    via: gate\n"
		"    public_port: 13306\n"
		"    domain: till.example.org\n"
		"    allow: [198.51.100.0/24, '2001:db8::/32', token]\n"
		"    max_conn: 50\n"
		"    idle: 15min\n"
		"    rate: 10mbit\n"
		"    expires: 2027-01-31T18:00:00Z\n"
		"    source_ip: proxy-v2\n"
		"    paused: yes\n"
		"  - {name: nas, local: '[2001:db8::1]:80', scope: nodes, to: [a, b], idle: never,\n"
		"     rate: none, expires: never}\n"
		"  - {name: web, local: 10.0.0.1:80, scope: public, via: g, force: yes,\n"
		"     expires: 2027-01-31}\n");
	const struct rule *r = &p.rules[0].rule;

	assert_int_equal(p.count, 3);
	assert_string_equal(r->name, "till-lyon-3306");
	assert_int_equal(r->range_count, 2);
	assert_true(r->tcp && r->udp && r->scope == RULE_PUBLIC && r->source_ip == RULE_PROXY_V2);
	assert_string_equal(r->via, "gate");
	assert_string_equal(r->domain, "till.example.org");
	assert_int_equal(r->public_port, 13306);
	assert_int_equal(r->allow_count, 2);
	assert_true(r->allow_token && r->paused && p.rules[0].says_paused);
	assert_int_equal(r->max_conn, 50);
	assert_int_equal(r->idle_s, 900);
	assert_int_equal(r->rate, 1250000);
	assert_int_equal(r->expires_at, 1801418400);
	assert_int_equal(p.rules[0].line, 3);
	assert_int_equal(p.rules[0].column, 5);
	r = &p.rules[1].rule;
	assert_int_equal(r->to_count, 2);
	assert_true(r->idle_s == 0 && r->rate == 0 && r->expires_at == 0 && !p.rules[1].says_paused);
	assert_int_equal(p.rules[2].rule.expires_at, 1801353600);
	policy_free(&p);
}

static void an_error_has_its_line_and_column(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned line, column;
		const char *word;
	} cases[] = {
		{ "", 1, 1, "empty" },
		{ "# nothing\n", 2, 1, "empty" },
		{ "forwards:\n", 1, 10, "[] is none" },
		{ "---\n", 2, 1, "expected" },
		{ "7\n", 1, 1, "expected" },
		{ "[]\n", 1, 1, "expected" },
		{ "{}\n", 1, 1, "no forwards" },
		{ "forwards: {}\n", 1, 11, "[] is none" },
		{ "rules: []\n", 1, 1, "'rules'" },
		{ "forwards: []\nforwards: []\n", 2, 1, "twice" },
		{ "portmap: []\nforwards: []\n", 2, 1, "twice" },
		{ "forwards: []\n---\nforwards: []\n", 2, 1, "second document" },
		{ "forwards:\n  - web\n", 2, 5, "KEY: VALUE" },
		{ "forwards:\n  - name: x\n   local: oops\n", 3, 4, "not YAML" },
		{ "forwards: [\n", 2, 1, "not YAML" },
		{ "forwards:\n  - {}\n", 2, 5, "wants a name" },
		{ "forwards:\n  - local: 10.0.0.1:80\n", 2, 5, "wants a name" },
		{ "forwards:\n  - name: x\n", 2, 5, "give local" },
		{ TILL "    local: 10.0.0.1:80\n", 4, 5, "twice" },
		{ TILL "    colour: red\n", 4, 5, "unknown key 'colour'" },
		{ TILL "    forward_id: x\n", 4, 5, "unknown key" },
		{ TILL "    ? [a]\n    : b\n", 4, 7, "unknown key" },
		{ TILL "    via:\n", 4, 9, "via takes" },
		{ TILL "    max_conn: many\n", 4, 15, "'many'" },
		{ TILL "    max_conn: -1\n", 4, 15, "'-1'" },
		{ TILL "    max_conn: [1]\n", 4, 15, "takes a number" },
		{ TILL "    max_conn: 1000001\n", 4, 15, "1000000" },
		{ TILL "    idle: 90\n", 4, 11, "such as 90s" },
		{ TILL "    rate: 10\n", 4, 11, "such as 10mbit" },
		{ TILL "    rate: 1kbit\n", 4, 11, "rate is from" },
		{ TILL "    idle: 8d\n", 4, 11, "at most 7 days" },
		{ TILL "    idle: 99999999d\n", 4, 11, "at most 7 days" },
		{ "portmap:\n  - name: audit\n    local: 10.0.0.1:80\n", 2, 5, "word of p2pd's own" },
		{ TILL "    expires: 7d\n", 4, 14, "2027-01-31" },
		{ TILL "    expires: 2027-02-30\n", 4, 14, "2027-01-31" },
		{ TILL "    expires: 2027-1-1\n", 4, 14, "2027-01-31" },
		{ TILL "    expires: 2027-01-01T00:00:00\n", 4, 14, "2027-01-31" },
		{ TILL "    paused: perhaps\n", 4, 13, "yes or no" },
		{ TILL "    proto: sctp\n", 4, 12, "tcp, udp, both" },
		{ TILL "    allow: token\n", 4, 12, "a list" },
		{ TILL "    allow:\n      - 10.0.0.0/8\n      - 10.0.0.1/8\n", 6, 9, "10.0.0.0/8" },
		{ TILL "    allow: [10.0.0.0/8, [x]]\n", 4, 25, "a list" },
		{ TILL "    allow: [~]\n", 4, 13, "a list" },
		{ TILL "    to: [a]\n", 2, 5, "scope is org" },
		{ TILL "    scope: public\n    via: g\n", 2, 5, "anybody" },
		{ TILL "    scope: public\n    via: g\n    force: no\n", 2, 5, "anybody" },
		{ TILL "  - name: till\n    local: 10.0.0.1:80\n", 4, 5, "line 2" },
		{ TILL "  - name: two\n    local: 10.0.0.2:3300-3400\n", 4, 5, "till in line 2" },
		{ TILL "  - name: b\n    local: 10.0.0.1:70000\n", 5, 12, "1 to 65535" },
		{ TILL "  - name: b\n    local: \"a\\e[2J\"\n", 5, 12, "'a?[2J'" },
		{ TILL "    name: &x y\n", 4, 5, "twice" },
		{ TILL "    via: &x y\n", 4, 10, "anchors" },
		{ TILL "    via: *x\n", 4, 10, "aliases" },
		{ TILL "    via: !!str y\n", 4, 10, "tags" },
		{ "forwards: &x []\n", 1, 11, "anchors" },
		{ "forwards: \"\xff\"\n", 1, 1, "not YAML" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct policy p;
		struct policy_error e;
		if (read_as(&p, POLICY_RULES, cases[i].text, &e) != -EINVAL)
			fail_msg("taken: %s", cases[i].text);
		assert_null(p.rules);
		if (e.line != cases[i].line || e.column != cases[i].column || !strstr(e.why, cases[i].word))
			fail_msg("%u:%u: %s; not %u:%u: %s in\n%s", e.line, e.column, e.why, cases[i].line,
				 cases[i].column, cases[i].word, cases[i].text);
	}
}

static void among_the_settings_the_others_are_skipped(void **state)
{
	(void)state;
	struct policy p;
	struct policy_error e;

	assert_int_equal(read_as(&p, POLICY_SETTINGS, "", &e), 0);
	assert_int_equal(p.count, 0);
	assert_int_equal(read_as(&p, POLICY_SETTINGS, "# nothing\n---\n", &e), 0);
	assert_int_equal(read_as(&p, POLICY_SETTINGS, "portmap: yes\nlog:\n  level: info\n", &e), 0);
	assert_int_equal(p.count, 0);
	assert_int_equal(read_as(&p, POLICY_SETTINGS,
				 "gateway: {ports: [80, [1, {a: b}]]}\nforwards:\n  - {name: web, local: "
				 "'10.0.0.1:80'}\nlog:\n  level: info\n",
				 &e),
			 0);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.rules[0].rule.name, "web");
	policy_free(&p);
	assert_int_equal(read_as(&p, POLICY_SETTINGS, "tun: p2pd0\nforwards: yes\n", &e), -EINVAL);
	assert_int_equal(e.line, 2);
}

static void a_file_that_is_too_much_is_refused(void **state)
{
	(void)state;
	char *text = malloc(POLICY_TEXT_MAX + 1), *at = text;
	struct policy p;
	struct policy_error e;

	memset(text, ' ', POLICY_TEXT_MAX + 1);
	assert_int_equal(policy_read(&p, POLICY_RULES, text, POLICY_TEXT_MAX + 1, &e), -EINVAL);
	assert_int_equal(e.line, 0);
	assert_non_null(strstr(e.why, "larger"));
	at += sprintf(at, "forwards:\n");
	for (int i = 0; i <= BOOK_RULES_MAX; i++)
		at += sprintf(at, "- {name: r%d, local: '10.0.0.1:%d'}\n", i, 10000 + i);
	assert_int_equal(policy_read(&p, POLICY_RULES, text, (size_t)(at - text), &e), -EINVAL);
	assert_int_equal(e.line, BOOK_RULES_MAX + 2);
	/* Deep nesting, where no value of a rule is expected to be one. */
	memset(text, '[', POLICY_TEXT_MAX);
	assert_int_equal(policy_read(&p, POLICY_SETTINGS, text, POLICY_TEXT_MAX, &e), -EINVAL);
	free(text);
}

/* --- Applying */

struct bench {
	char path[64];
	int dir;
	struct book *b;
	struct rng rng;
	uint64_t now;
};

static int set_up(void **state)
{
	struct bench *t = calloc(1, sizeof *t);

	strcpy(t->path, "/tmp/p2pd-policy-XXXXXX");
	if (!mkdtemp(t->path))
		return -1;
	t->dir = file_open_dir(t->path);
	rng_init_seed(&t->rng, 1);
	t->now = NOW;
	*state = t;
	return book_open(&t->b, t->dir);
}

static int tear_down(void **state)
{
	struct bench *t = *state;

	book_close(t->b);
	unlinkat(t->dir, "forwards.json", 0);
	close(t->dir);
	int rc = rmdir(t->path);
	free(t);
	return rc;
}

/* What came of it: "+web ~nas:max_conn 200>7,rate 0>1000 -dns =till". */
static const char *told(json_t *changes, char out[static 4096])
{
	size_t i, j, at = 0;
	json_t *change, *field;
	char *was, *is;

	*out = 0;
	json_array_foreach(changes, i, change)
	{
		const char *op = json_string_value(json_object_get(change, "op"));
		char sign = *op == 'a' ? '+' : *op == 's' ? '~' : *op == 'r' ? '-' : '=';
		at += (size_t)snprintf(out + at, 4096 - at, "%s%c%s", i ? " " : "", sign,
				       json_string_value(json_object_get(change, "name")));
		json_array_foreach(json_object_get(change, "fields"), j, field)
		{
			was = json_dumps(json_object_get(field, "old"), JSON_ENCODE_ANY);
			is = json_dumps(json_object_get(field, "new"), JSON_ENCODE_ANY);
			at += (size_t)snprintf(out + at, 4096 - at, "%c%s %s>%s", j ? ',' : ':',
					       json_string_value(json_object_get(field, "field")), was, is);
			free(was);
			free(is);
		}
	}
	return out;
}

static void assert_applied_as(struct bench *t, const char *text, enum policy_file file, bool dry_run,
			      const char *want)
{
	struct policy p = taken(text);
	json_t *changes;
	char got[4096];

	assert_int_equal(policy_apply(t->b, &p, file, dry_run, t->now++, &t->rng, &changes), 0);
	assert_string_equal(told(changes, got), want);
	json_decref(changes);
	policy_free(&p);
}

static void assert_applied(struct bench *t, const char *text, const char *want)
{
	assert_applied_as(t, text, POLICY_RULES, false, want);
}

static size_t living(const struct bench *t)
{
	size_t n = 0;

	for (size_t i = 0; i < book_count(t->b); i++)
		n += !book_at(t->b, i)->removed_at;
	return n;
}

#define WEB  "  - {name: web, local: '10.0.0.1:80'}\n"
#define WEB8 "  - {name: web, local: '10.0.0.1:8080', max_conn: 7}\n"
#define NAS  "  - {name: nas, local: '10.0.0.1:443'}\n"
#define DNS  "  - {name: dns, local: '10.0.0.1:53', proto: udp}\n"

#define TO_WEB8 "local \"10.0.0.1:80\">\"10.0.0.1:8080\",max_conn 200>7"
#define TO_WEB	"local \"10.0.0.1:8080\">\"10.0.0.1:80\",max_conn 7>200"

static void the_book_becomes_what_is_declared(void **state)
{
	struct bench *t = *state;

	assert_applied(t, "forwards:\n" WEB NAS, "+web +nas");
	assert_applied(t, "forwards:\n" WEB8 DNS,
		       "-nas ~web:local \"10.0.0.1:80\">\"10.0.0.1:8080\",max_conn 200>7 +dns");
	assert_int_equal(book_find(t->b, "web")->ranges[0].first, 8080);
	assert_int_equal(living(t), 2);
	assert_applied(t, "forwards: []\n", "-web -dns");
	assert_int_equal(living(t), 0);
}

static void a_second_time_changes_nothing(void **state)
{
	struct bench *t = *state;
	uint8_t id[FORWARD_ID];

	assert_applied(t, "forwards:\n" WEB NAS DNS, "+web +nas +dns");
	memcpy(id, book_find(t->b, "nas")->id, sizeof id);
	assert_applied(t, "forwards:\n" WEB NAS DNS, "=web =nas =dns");
	assert_applied(t, "forwards:\n" DNS NAS WEB, "=dns =nas =web");
	assert_memory_equal(book_find(t->b, "nas")->id, id, sizeof id);
	assert_int_equal(book_find(t->b, "nas")->changed_at, NOW);
}

static void a_dry_run_only_tells(void **state)
{
	struct bench *t = *state;

	assert_applied(t, "forwards:\n" WEB NAS, "+web +nas");
	assert_applied_as(t, "forwards:\n" WEB8 DNS, POLICY_RULES, true,
			  "-nas ~web:local \"10.0.0.1:80\">\"10.0.0.1:8080\",max_conn 200>7 +dns");
	assert_applied(t, "forwards:\n" WEB NAS, "=web =nas");
}

static void two_rules_may_swap_ports_and_a_new_one_take_that_of_a_removed_one(void **state)
{
	struct bench *t = *state;

	assert_applied(t, "forwards:\n" WEB NAS, "+web +nas");
	assert_applied(
		t,
		"forwards:\n  - {name: web, local: '10.0.0.1:443'}\n"
		"  - {name: nas, local: '10.0.0.1:80'}\n",
		"~web:local \"10.0.0.1:80\">\"10.0.0.1:443\" ~nas:local \"10.0.0.1:443\">\"10.0.0.1:80\"");
	assert_applied(t, "forwards:\n  - {name: new, local: '10.0.0.1:80'}\n", "-web -nas +new");
}

static void a_pause_that_is_not_declared_stays(void **state)
{
	struct bench *t = *state;

	assert_applied(t, "forwards:\n" WEB, "+web");
	assert_int_equal(book_pause(t->b, book_find(t->b, "web")->id, true, NOW), 0);
	assert_applied(t, "forwards:\n" WEB, "=web");
	assert_true(book_find(t->b, "web")->paused);
	assert_applied(t, "forwards:\n  - {name: web, local: '10.0.0.1:80', paused: no}\n",
		       "~web:paused true>false");
	assert_false(book_find(t->b, "web")->paused);
}

static void an_end_that_is_not_declared_stays(void **state)
{
	struct bench *t = *state;
	struct rule r;

	assert_applied(t, "forwards:\n" WEB, "+web");
	r = *book_find(t->b, "web");
	r.expires_at = NOW + 5; /* over before long */
	assert_int_equal(book_set(t->b, &r, false, NOW), 0);
	t->now += 100;
	assert_applied(t, "forwards:\n" WEB, "=web");
	assert_int_equal(book_find(t->b, "web")->expires_at, NOW + 5);
	assert_applied(t, "forwards:\n" WEB8, "~web:" TO_WEB8);
	assert_int_equal(book_find(t->b, "web")->expires_at, NOW + 5);
	assert_applied(t, "forwards:\n  - {name: web, local: '10.0.0.1:80', expires: never}\n",
		       "~web:" TO_WEB ",expires_at 1790000005>0");
	assert_int_equal(book_find(t->b, "web")->expires_at, 0);
}

static void the_old_name_of_the_list_is_read_in_a_file_of_rules(void **state)
{
	struct bench *t = *state;

	assert_applied(t, "portmap:\n" WEB, "+web");
	assert_applied(t, "portmap: []\n", "-web");
}

static void of_several_with_one_name_the_oldest_stays(void **state)
{
	struct bench *t = *state;
	struct policy p = taken("forwards:\n" WEB);
	struct rule second = p.rules[0].rule, nameless = p.rules[0].rule;
	uint8_t first[FORWARD_ID];

	assert_applied(t, "forwards:\n" WEB, "+web");
	memcpy(first, book_at(t->b, 0)->id, sizeof first);
	second.ranges[0].first = 81;
	nameless.ranges[0].first = 82;
	*nameless.name = 0;
	assert_int_equal(book_add(t->b, &second, false, NOW, &t->rng), 0);
	assert_int_equal(book_add(t->b, &nameless, false, NOW, &t->rng), 0);
	assert_applied(t, "forwards:\n" WEB, "-web - =web");
	assert_memory_equal(book_find(t->b, "web")->id, first, sizeof first);
	policy_free(&p);
}

static void assert_declared(struct bench *t, const char *text, const char *want)
{
	assert_applied_as(t, text, POLICY_SETTINGS, false, want);
}

static void the_settings_keep_their_rules_and_leave_the_others(void **state)
{
	struct bench *t = *state;

	assert_applied(t, "forwards:\n" DNS, "+dns");
	assert_declared(t, "forwards:\n" WEB NAS, "+web +nas");
	assert_true(book_find(t->b, "web")->declared && !book_find(t->b, "dns")->declared);
	assert_declared(t, "forwards:\n" WEB NAS, "=web =nas");
	/* What a person changed or removed is as the file says again. */
	struct rule r = *book_find(t->b, "web");
	r.max_conn = 3;
	assert_int_equal(book_set(t->b, &r, false, NOW), 0);
	assert_int_equal(book_remove(t->b, book_find(t->b, "nas")->id, NOW), 0);
	assert_declared(t, "forwards:\n" WEB NAS, "~web:max_conn 3>200 +nas");
	/* What the file says no more goes, also when it says nothing at all; and the mark is on disk. */
	book_close(t->b);
	assert_int_equal(book_open(&t->b, t->dir), 0);
	assert_declared(t, "forwards:\n" NAS, "-web =nas");
	assert_declared(t, "forwards: []\n", "-nas");
	assert_int_equal(living(t), 1);
	for (size_t i = 0; i < book_count(t->b); i++)
		assert_int_equal(book_at(t->b, i)->declared, i == 2 /* by hand; its name came again since */);
}

static void a_file_of_rules_leaves_those_of_the_settings(void **state)
{
	struct bench *t = *state;

	assert_declared(t, "forwards:\n" WEB, "+web");
	assert_applied(t, "forwards:\n" NAS, "+nas");
	assert_applied(t, "forwards: []\n", "-nas");
	assert_applied(t, "forwards:\n" WEB8, "~web:" TO_WEB8);
	assert_true(book_find(t->b, "web")->declared);
	assert_declared(t, "forwards:\n" WEB, "~web:" TO_WEB);
}

static void a_rule_of_the_same_name_becomes_the_settings_own(void **state)
{
	struct bench *t = *state;
	uint8_t id[FORWARD_ID];

	assert_applied(t, "forwards:\n" WEB NAS, "+web +nas");
	memcpy(id, book_find(t->b, "web")->id, sizeof id);
	assert_declared(t, "forwards:\n" WEB8, "~web:" TO_WEB8 ",declared null>true");
	assert_memory_equal(book_find(t->b, "web")->id, id, sizeof id);
	assert_declared(t, "forwards: []\n", "-web");
	assert_int_equal(living(t), 1);
}

static void a_port_of_a_rule_that_stays_is_not_to_be_had(void **state)
{
	static const struct {
		enum policy_file first, second;
	} cases[] = { { POLICY_RULES, POLICY_SETTINGS }, { POLICY_SETTINGS, POLICY_RULES } };
	struct bench *t = *state;
	struct policy p = taken("forwards:\n" DNS "  - {name: other, local: '10.0.0.9:80'}\n");
	const struct policy_rule *mine;
	const struct rule *other;
	json_t *changes;

	for (size_t i = 0; i < 2; i++) {
		assert_applied_as(t, "forwards:\n" WEB, cases[i].first, false, "+web");
		for (int dry = 0; dry < 2; dry++)
			assert_int_equal(policy_apply(t->b, &p, cases[i].second, dry, NOW, &t->rng, &changes),
					 -EEXIST);
		assert_null(changes);
		assert_int_equal(living(t), 1);
		assert_true(policy_clash(t->b, &p, cases[i].second, &mine, &other));
		assert_string_equal(mine->rule.name, "other");
		assert_int_equal(mine->line, 3);
		assert_string_equal(other->name, "web");
		assert_applied_as(t, "forwards: []\n", cases[i].first, false, "-web");
		assert_false(policy_clash(t->b, &p, cases[i].second, &mine, &other));
	}
	policy_free(&p);
}

static void two_files_that_say_the_same_are_the_same(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool same;
	} cases[] = {
		{ "forwards:\n" WEB, true },
		{ "# moved\n\nforwards:\n  - name: web\n    local: 10.0.0.1:80\n", true },
		{ "forwards:\n" WEB8, false },
		{ "forwards:\n" WEB NAS, false },
		{ "forwards: []\n", false },
		{ "forwards:\n  - {name: web, local: '10.0.0.1:80', paused: no}\n", false },
		{ "forwards:\n  - {name: web, local: '10.0.0.1:80', expires: never}\n", false },
	};
	struct policy p = taken("forwards:\n" WEB), q;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		q = taken(cases[i].text);
		assert_int_equal(policy_same(&p, &q), cases[i].same);
		policy_free(&q);
	}
	policy_free(&p);
}

static void many_rules_are_applied_and_are_there_after_a_restart(void **state)
{
	struct bench *t = *state;
	char *text = malloc(POLICY_TEXT_MAX), *at = text;
	struct policy p;
	json_t *changes;

	at += sprintf(at, "forwards:\n");
	for (int i = 0; i < BOOK_RULES_MAX; i++)
		at += sprintf(at, "  - {name: till-%d, local: '10.0.0.1:%d', scope: nodes, to: [office]}\n",
			      i, 10000 + i);
	p = taken(text);
	assert_int_equal(policy_apply(t->b, &p, POLICY_RULES, false, NOW, &t->rng, &changes), 0);
	json_decref(changes);
	/* All others go at once, and their tombstones make room. */
	for (size_t i = 0; i < p.count; i++)
		p.rules[i].rule.name[0] = 'x';
	assert_int_equal(policy_apply(t->b, &p, POLICY_RULES, false, NOW, &t->rng, &changes), 0);
	json_decref(changes);
	book_close(t->b);
	assert_int_equal(book_open(&t->b, t->dir), 0);
	assert_int_equal(living(t), BOOK_RULES_MAX);
	assert_non_null(book_find(t->b, "xill-77"));
	policy_free(&p);
	free(text);
}

#define BOOK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_read_with_the_units_of_people),
		cmocka_unit_test(an_error_has_its_line_and_column),
		cmocka_unit_test(among_the_settings_the_others_are_skipped),
		cmocka_unit_test(a_file_that_is_too_much_is_refused),
		cmocka_unit_test(two_files_that_say_the_same_are_the_same),
		BOOK_TEST(the_book_becomes_what_is_declared),
		BOOK_TEST(a_second_time_changes_nothing),
		BOOK_TEST(a_dry_run_only_tells),
		BOOK_TEST(two_rules_may_swap_ports_and_a_new_one_take_that_of_a_removed_one),
		BOOK_TEST(a_pause_that_is_not_declared_stays),
		BOOK_TEST(an_end_that_is_not_declared_stays),
		BOOK_TEST(the_old_name_of_the_list_is_read_in_a_file_of_rules),
		BOOK_TEST(of_several_with_one_name_the_oldest_stays),
		BOOK_TEST(the_settings_keep_their_rules_and_leave_the_others),
		BOOK_TEST(a_file_of_rules_leaves_those_of_the_settings),
		BOOK_TEST(a_rule_of_the_same_name_becomes_the_settings_own),
		BOOK_TEST(a_port_of_a_rule_that_stays_is_not_to_be_had),
		BOOK_TEST(many_rules_are_applied_and_are_there_after_a_restart),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
