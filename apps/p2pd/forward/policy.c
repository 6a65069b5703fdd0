#include "apps/p2pd/forward/policy.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void policy_free(struct policy *p)
{
	free(p->rules);
	*p = (struct policy) { 0 };
}

/* One application under way. */
struct run {
	struct book *b;
	const struct policy *p;
	bool dry_run;
	uint64_t unix_s;
	struct rng *rng;
	json_t *changes;
};

static int tell(struct run *run, const char *op, const struct rule *r, bool has_id, json_t *fields)
{
	char id[RULE_ID_TEXT];
	json_t *change = json_pack("{ss ss}", "op", op, "name", r->name);
	int rc = change ? 0 : -ENOMEM;

	if (!rc && has_id && json_object_set_new(change, "forward_id", json_string(rule_id_text(r->id, id))))
		rc = -ENOMEM;
	if (!rc && fields && json_object_set(change, "fields", fields))
		rc = -ENOMEM;
	json_decref(fields);
	return json_array_append_new(run->changes, change) || rc ? -ENOMEM : 0;
}

/* What differs, a new list. */
static json_t *differences(const struct rule *a, const struct rule *b)
{
	json_t *fields = json_array(), *old = rule_json(a), *new = rule_json(b), *value;
	bool whole = fields && old && new;
	const char *key;

	json_object_foreach(new, key, value)
	{
		json_t *was = json_object_get(old, key);
		if (!json_equal(value, was) &&
		    json_array_append_new(fields,
					  json_pack("{ss sO sO}", "field", key, "old", was, "new", value)))
			whole = false;
	}
	json_decref(old);
	json_decref(new);
	if (whole)
		return fields;
	json_decref(fields);
	return NULL;
}

/* The oldest living rule of that name. */
static const struct rule *match(const struct book *b, const char *name)
{
	for (size_t i = 0; i < book_count(b); i++) {
		const struct rule *r = book_at(b, i);
		if (!r->removed_at && !strcmp(r->name, name))
			return r;
	}
	return NULL;
}

static int add(struct run *run, const struct policy_rule *wanted)
{
	struct rule r = wanted->rule;
	int rc = book_add(run->b, &r, false, run->unix_s, run->rng);

	return rc ? rc : tell(run, "add", &r, !run->dry_run, NULL);
}

static int set(struct run *run, const struct policy_rule *wanted, const struct rule *old)
{
	struct rule r = wanted->rule;

	memcpy(r.id, old->id, sizeof r.id);
	r.created_at = old->created_at;
	r.changed_at = old->changed_at;
	if (!wanted->says_paused)
		r.paused = old->paused;
	json_t *fields = differences(old, &r);
	if (!fields)
		return -ENOMEM;
	if (json_array_size(fields) == 0) {
		json_decref(fields);
		return tell(run, "keep", &r, true, NULL);
	}
	int rc = book_set(run->b, &r, false, run->unix_s);
	if (!rc)
		return tell(run, "set", &r, true, fields);
	json_decref(fields);
	return rc;
}

/* Whether a living rule of the book is one that the file names: of several with one name only the oldest is. */
static bool is_named(const struct run *run, const struct rule *r)
{
	const struct rule *first = match(run->b, r->name);

	if (!first || first != r)
		return false;
	for (size_t i = 0; i < run->p->count; i++)
		if (!strcmp(run->p->rules[i].rule.name, r->name))
			return true;
	return false;
}

static int remove_others(struct run *run)
{
	for (size_t i = 0; i < book_count(run->b); i++) {
		struct rule r = *book_at(run->b, i);
		if (r.removed_at || is_named(run, book_at(run->b, i)))
			continue;
		int rc = book_remove(run->b, r.id, run->unix_s);
		if (!rc)
			rc = tell(run, "remove", &r, true, NULL);
		if (rc)
			return rc;
	}
	return 0;
}

static int make_so(struct run *run)
{
	for (size_t i = 0; i < run->p->count; i++) {
		const struct policy_rule *wanted = &run->p->rules[i];
		const struct rule *old = match(run->b, wanted->rule.name);
		int rc = old ? set(run, wanted, old) : add(run, wanted);
		if (rc)
			return rc;
	}
	return 0;
}

int policy_apply(struct book *b, const struct policy *p, bool others_go, bool dry_run, uint64_t unix_s,
		 struct rng *rng, struct json_t **changes)
{
	struct run run = { b, p, dry_run, unix_s, rng, json_array() };
	int rc = run.changes ? 0 : -ENOMEM;

	book_begin(b);
	/* First, for what goes makes room. */
	if (!rc && others_go)
		rc = remove_others(&run);
	if (!rc)
		rc = make_so(&run);
	if (rc || dry_run)
		book_rollback(b);
	else
		rc = book_commit(b);
	if (rc) {
		json_decref(run.changes);
		run.changes = NULL;
	}
	*changes = run.changes;
	return rc;
}
