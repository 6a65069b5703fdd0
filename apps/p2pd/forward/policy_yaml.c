/* The file's side: libyaml's events, each key of a rule read by rule_read() as soon as it has come, so that what it says is
 * wrong has the place where it stands. */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "apps/p2pd/forward/policy.h"
#include "core/config.h"

struct reading {
	struct policy *p;
	size_t cap;
	struct policy_error *error;
	yaml_parser_t parser;
	yaml_event_t event; /* the last one read */
	int rc;		    /* the first error: nothing is read after it */
};

/* --- Errors */

__attribute__((format(printf, 3, 4))) static bool fail(struct reading *r, yaml_mark_t mark, const char *fmt,
						       ...)
{
	char text[RULE_WHY];
	va_list ap;

	if (r->rc)
		return false;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r->rc = rule_refuse(r->error->why, "%s", text);
	r->error->line = (unsigned)mark.line + 1;
	r->error->column = (unsigned)mark.column + 1;
	return false;
}

static bool no_memory(struct reading *r)
{
	r->rc = -ENOMEM;
	rule_refuse(r->error->why, "out of memory");
	return false;
}

static bool cannot_parse(struct reading *r)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(r);
	return fail(r, p->error == YAML_READER_ERROR ? p->mark : p->problem_mark, "not YAML: %s%s%s",
		    p->problem ? p->problem : "cannot be read", p->context ? " " : "",
		    p->context ? p->context : "");
}

/* --- Events */

static bool has_extras(const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_ALIAS_EVENT: return true;
	case YAML_SCALAR_EVENT: return e->data.scalar.anchor || e->data.scalar.tag;
	case YAML_MAPPING_START_EVENT: return e->data.mapping_start.anchor || e->data.mapping_start.tag;
	case YAML_SEQUENCE_START_EVENT: return e->data.sequence_start.anchor || e->data.sequence_start.tag;
	default: return false;
	}
}

static bool next(struct reading *r)
{
	if (r->rc)
		return false;
	yaml_event_delete(&r->event);
	if (!yaml_parser_parse(&r->parser, &r->event))
		return cannot_parse(r);
	if (has_extras(&r->event))
		return fail(r, r->event.start_mark,
			    "anchors, aliases and tags are not allowed: write the value "
			    "out");
	return true;
}

/* The rest of the value that the last event began. */
static bool skip(struct reading *r)
{
	unsigned depth = 0;

	do {
		yaml_event_type_t type = r->event.type;
		depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
		depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
	} while (depth && next(r));
	return !r->rc;
}

/* The last event's text; NULL for what is none, or nothing. */
static const char *scalar(const struct reading *r)
{
	const char *text = (const char *)r->event.data.scalar.value;

	if (r->event.type != YAML_SCALAR_EVENT || strlen(text) != r->event.data.scalar.length)
		return NULL;
	bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	return plain && (!*text || !strcmp(text, "~") || !strcmp(text, "null")) ? NULL : text;
}

/* --- Values */

static json_t *quantity(enum config_kind kind, const char *text, const char *none)
{
	const struct config_entry e = { .key = "", .kind = kind, .none = none };
	uint64_t time = 0;
	uint32_t rate = 0;

	if (config_set(&e, kind == CONFIG_RATE ? (void *)&rate : (void *)&time, text))
		return NULL;
	return json_integer(kind == CONFIG_RATE ? (json_int_t)rate : (json_int_t)time);
}

static json_t *time_value(const char *text)
{
	return quantity(CONFIG_TIME, text, "never");
}

static json_t *rate_value(const char *text)
{
	return quantity(CONFIG_RATE, text, "none");
}

static json_t *number_value(const char *text)
{
	const struct config_entry e = { .key = "", .kind = CONFIG_NUMBER, .max = INT32_MAX };
	long n = 0;

	return config_set(&e, &n, text) ? NULL : json_integer(n);
}

static json_t *flag_value(const char *text)
{
	const struct config_entry e = { .key = "", .kind = CONFIG_FLAG };
	enum config_flag flag = CONFIG_UNSET;

	return config_set(&e, &flag, text) ? NULL : json_boolean(flag == CONFIG_YES);
}

static json_t *date_value(const char *text)
{
	uint64_t unix_s = 0;

	return strcmp(text, "never") && rule_read_date(&unix_s, text) ? NULL
								      : json_integer((json_int_t)unix_s);
}

static json_t *text_value(const char *text)
{
	return json_string(text);
}

static const struct key {
	const char *name, *json;	    /* in the file, and for rule_read() */
	json_t *(*value)(const char *text); /* NULL: a list of texts */
	const char *takes;
} keys[] = {
	{ "name", "name", text_value, "a text" },
	{ "local", "local", text_value, "IP:PORT" },
	{ "proto", "proto", text_value, "tcp, udp or both" },
	{ "scope", "scope", text_value, "org, nodes or public" },
	{ "to", "to", NULL, "a list of members" },
	{ "via", "via", text_value, "the name of a member" },
	{ "public_port", "public_port", number_value, "a port" },
	{ "domain", "domain", text_value, "a domain name" },
	{ "allow", "allow", NULL, "a list of prefixes such as [198.51.100.0/24], or token" },
	{ "max_conn", "max_conn", number_value, "a number" },
	{ "idle", "idle_s", time_value, "a time such as 90s, or never" },
	{ "rate", "rate", rate_value, "a rate such as 10mbit, or none" },
	{ "expires", "expires_at", date_value, "2027-01-31, 2027-01-31T18:00:00Z or never" },
	{ "source_ip", "source_ip", text_value, "kernel, proxy-v2 or nat" },
	{ "paused", "paused", flag_value, "yes or no" },
	{ "force", NULL, flag_value, "yes or no" },
};
enum { KEYS = sizeof keys / sizeof *keys };

/* --- Rules */

struct rule_reading {
	struct policy_rule out;
	bool seen[KEYS];
};

/* Takes the reference to `value`. */
static bool take(struct reading *r, struct rule_reading *rr, const struct key *key, yaml_mark_t mark,
		 json_t *value)
{
	char why[RULE_WHY];
	json_t *spec = json_object();

	if (json_object_set_new(spec, key->json, value)) {
		json_decref(spec);
		return no_memory(r);
	}
	int rc = rule_read(&rr->out.rule, spec, why);
	json_decref(spec);
	return rc ? fail(r, mark, "%s", why) : true;
}

static bool wrong_value(struct reading *r, const struct key *key)
{
	const char *text = scalar(r);

	return fail(r, r->event.start_mark, "%s takes %s%s%.60s%s", key->name, key->takes,
		    text ? ", not '" : "", text ? text : "", text ? "'" : "");
}

/* Each item is tried with those before it, so that a wrong one is found where it stands. */
static bool read_list(struct reading *r, struct rule_reading *rr, const struct key *key)
{
	json_t *list = json_array();
	yaml_mark_t mark = r->event.start_mark;

	if (r->event.type != YAML_SEQUENCE_START_EVENT)
		wrong_value(r, key);
	while (!r->rc && take(r, rr, key, mark, json_incref(list)) && next(r) &&
	       r->event.type != YAML_SEQUENCE_END_EVENT) {
		const char *text = scalar(r);
		mark = r->event.start_mark;
		if (!text)
			wrong_value(r, key);
		else if (json_array_append_new(list, json_string(text)))
			no_memory(r);
	}
	json_decref(list);
	return !r->rc;
}

static bool read_value(struct reading *r, struct rule_reading *rr, const struct key *key)
{
	if (!key->value)
		return read_list(r, rr, key);
	const char *text = scalar(r);
	json_t *value = text ? key->value(text) : NULL;
	if (!value)
		return wrong_value(r, key);
	if (key->json)
		return take(r, rr, key, r->event.start_mark, value);
	rr->out.forced = json_is_true(value);
	json_decref(value);
	return true;
}

static const struct key *find(const char *name)
{
	for (size_t i = 0; name && i < KEYS; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

/* The last event is a key. */
static bool read_pair(struct reading *r, struct rule_reading *rr)
{
	const char *name = scalar(r);
	const struct key *key = find(name);

	if (!key)
		return fail(r, r->event.start_mark, "unknown key '%.60s' of a rule", name ? name : "");
	if (rr->seen[key - keys])
		return fail(r, r->event.start_mark, "%s is given twice", key->name);
	rr->seen[key - keys] = true;
	rr->out.says_paused = rr->out.says_paused || !strcmp(key->name, "paused");
	rr->out.says_expires = rr->out.says_expires || !strcmp(key->name, "expires");
	return next(r) && read_value(r, rr, key);
}

static bool keep(struct reading *r, const struct policy_rule *rule)
{
	struct policy *p = r->p;

	if (p->count == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 16;
		struct policy_rule *more = realloc(p->rules, cap * sizeof *more);
		if (!more)
			return no_memory(r);
		p->rules = more;
		r->cap = cap;
	}
	p->rules[p->count++] = *rule;
	return true;
}

static bool read_rule(struct reading *r)
{
	yaml_mark_t mark = r->event.start_mark;
	struct rule_reading rr = { .out.line = (unsigned)mark.line + 1,
				   .out.column = (unsigned)mark.column + 1 };

	if (r->event.type != YAML_MAPPING_START_EVENT)
		return fail(r, mark, "a rule is expected here, as KEY: VALUE");
	if (r->p->count == BOOK_RULES_MAX)
		return fail(r, mark, "more than %d rules", BOOK_RULES_MAX);
	rule_init(&rr.out.rule);
	while (next(r) && r->event.type != YAML_MAPPING_END_EVENT)
		if (!read_pair(r, &rr))
			return false;
	return !r->rc && keep(r, &rr.out);
}

/* --- Whole rules, after the file was read to its end: a line that is indented wrongly ends a rule too early, and is what is
 * to be told then. */

__attribute__((format(printf, 3, 4))) static bool fail_rule(struct reading *r, const struct policy_rule *rule,
							    const char *fmt, ...)
{
	char text[RULE_WHY];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return fail(r, (yaml_mark_t) { .line = rule->line - 1, .column = rule->column - 1 }, "%s", text);
}

static bool fit(struct reading *r, const struct policy_rule *a, const struct policy_rule *b)
{
	if (!strcmp(a->rule.name, b->rule.name))
		return fail_rule(r, b, "%s is the name of the rule in line %u, too", b->rule.name, a->line);
	if (rule_overlap(&a->rule, &b->rule))
		return fail_rule(r, b, "%s and %s in line %u have a port in common", b->rule.name,
				 a->rule.name, a->line);
	return true;
}

static bool check(struct reading *r, const struct policy_rule *rule)
{
	char why[RULE_WHY];

	if (!*rule->rule.name)
		return fail_rule(r, rule, "a rule in a file wants a name: it is known again by it");
	if (rule_check(&rule->rule, why) || (!rule->forced && rule_check_open(&rule->rule, why)))
		return fail_rule(r, rule, "%s", why);
	for (const struct policy_rule *before = r->p->rules; before < rule; before++)
		if (!fit(r, before, rule))
			return false;
	return true;
}

static void check_all(struct reading *r)
{
	for (size_t i = 0; i < r->p->count && !r->rc; i++)
		check(r, &r->p->rules[i]);
}

/* --- The file */

static bool read_rules(struct reading *r, const char *name)
{
	if (r->event.type != YAML_SEQUENCE_START_EVENT)
		return fail(r, r->event.start_mark, "%s takes a list of rules, each after a dash; [] is none",
			    name);
	while (next(r) && r->event.type != YAML_SEQUENCE_END_EVENT)
		if (!read_rule(r))
			return false;
	return !r->rc;
}

static const char list_name[] = "forwards", old_name[] = "portmap";

/* In p2pd.yaml portmap is something else. */
static bool is_list(const char *key, enum policy_file file)
{
	return key && (!strcmp(key, list_name) || (file == POLICY_RULES && !strcmp(key, old_name)));
}

static bool read_root(struct reading *r, enum policy_file file)
{
	bool found = false;
	yaml_mark_t mark = r->event.start_mark;

	if (r->event.type == YAML_SCALAR_EVENT && !scalar(r) && file == POLICY_SETTINGS)
		return true;
	if (r->event.type != YAML_MAPPING_START_EVENT)
		return fail(r, mark, "%s: and a list of rules are expected here", list_name);
	while (next(r) && r->event.type != YAML_MAPPING_END_EVENT) {
		const char *key = scalar(r);
		bool rules = is_list(key, file);
		if (rules ? found : file == POLICY_RULES)
			return fail(r, r->event.start_mark,
				    "'%.60s' %s; the rules are under %s:", key ? key : "",
				    rules ? "is given twice" : "is not known here", list_name);
		if (rules ? !next(r) || !read_rules(r, list_name) : !skip(r) || !next(r) || !skip(r))
			return false;
		found = found || rules;
	}
	return found || file == POLICY_SETTINGS || fail(r, mark, "no %s: in this file", list_name);
}

static void read_stream(struct reading *r, enum policy_file file)
{
	bool found = false;

	while (next(r) && r->event.type != YAML_STREAM_END_EVENT) {
		if (r->event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (found)
			fail(r, r->event.start_mark, "a second document is not allowed");
		found = true;
		if (next(r))
			read_root(r, file);
	}
	if (!found && file == POLICY_RULES)
		fail(r, r->event.start_mark,
		     "the file is empty: 'forwards: []' is how to say that no rule is to "
		     "be");
}

int policy_read(struct policy *p, enum policy_file file, const char *text, size_t len,
		struct policy_error *error)
{
	struct reading r = { .p = p, .error = error };

	*p = (struct policy) { 0 };
	*error = (struct policy_error) { 0 };
	if (len > POLICY_TEXT_MAX)
		return rule_refuse(error->why, "larger than %d bytes: no file of rules", POLICY_TEXT_MAX);
	if (!yaml_parser_initialize(&r.parser)) {
		no_memory(&r);
		return r.rc;
	}
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	read_stream(&r, file);
	check_all(&r);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	if (r.rc)
		policy_free(p);
	return r.rc;
}
