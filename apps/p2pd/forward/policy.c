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
	enum policy_file file;
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
					  json_pack("{ss sO? sO}", "field", key, "old", was, "new", value)))
			whole = false;
	}
	json_decref(old);
	json_decref(new);
	if (whole)
		return fields;
	json_decref(fields);
	return NULL;
}

/* The oldest living rule of that name; for p2pd.yaml rather one that it declared. */
static const struct rule *match(const struct run *run, const char *name)
{
	const struct rule *found = NULL;

	for (size_t i = 0; i < book_count(run->b); i++) {
		const struct rule *r = book_at(run->b, i);
		if (r->removed_at || strcmp(r->name, name))
			continue;
		if (run->file == POLICY_RULES || r->declared)
			return r;
		found = found ? found : r;
	}
	return found;
}

static int add(struct run *run, const struct policy_rule *wanted)
{
	struct rule r = wanted->rule;

	r.declared = run->file == POLICY_SETTINGS;
	int rc = book_add(run->b, &r, false, run->unix_s, run->rng);

	return rc ? rc : tell(run, "add", &r, !run->dry_run, NULL);
}

static int set(struct run *run, const struct policy_rule *wanted, const struct rule *old)
{
	struct rule r = wanted->rule;

	memcpy(r.id, old->id, sizeof r.id);
	r.created_at = old->created_at;
	r.changed_at = old->changed_at;
	r.declared = old->declared || run->file == POLICY_SETTINGS;
	if (!wanted->says_paused)
		r.paused = old->paused;
	if (!wanted->says_expires)
		r.expires_at = old->expires_at;
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

/* Whether a living rule of the book is one that the file names: of several with one name only one is. */
static bool is_named(const struct run *run, const struct rule *r)
{
	const struct rule *first = match(run, r->name);

	if (!first || first != r)
		return false;
	for (size_t i = 0; i < run->p->count; i++)
		if (!strcmp(run->p->rules[i].rule.name, r->name))
			return true;
	return false;
}

/* Whether a living rule goes, since the file that it belongs to does not name it. */
static bool goes(const struct run *run, const struct rule *r)
{
	return r->declared == (run->file == POLICY_SETTINGS) && !is_named(run, r);
}

/* The file has nothing to say of it any more, should it be restored. */
static int remove_one(struct run *run, struct rule *r)
{
	bool was_declared = r->declared;

	r->declared = false;
	int rc = was_declared ? book_set(run->b, r, false, run->unix_s) : 0;
	return rc ? rc : book_remove(run->b, r->id, run->unix_s);
}

static int remove_others(struct run *run)
{
	for (size_t i = 0; i < book_count(run->b); i++) {
		struct rule r = *book_at(run->b, i);
		if (r.removed_at || !goes(run, book_at(run->b, i)))
			continue;
		int rc = remove_one(run, &r);
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
		const struct rule *old = match(run, wanted->rule.name);
		int rc = old ? set(run, wanted, old) : add(run, wanted);
		if (rc)
			return rc;
	}
	return 0;
}

bool policy_clash(const struct book *b, const struct policy *p, enum policy_file file,
		  const struct policy_rule **mine, const struct rule **other)
{
	struct run run = { .b = (struct book *)b, .p = p, .file = file };

	for (size_t i = 0; i < book_count(b); i++) {
		const struct rule *r = *other = book_at(b, i);
		if (r->removed_at || goes(&run, r) || is_named(&run, r))
			continue;
		for (*mine = p->rules; *mine < p->rules + p->count; ++*mine)
			if (rule_overlap(&(*mine)->rule, r))
				return true;
	}
	return false;
}

int policy_apply(struct book *b, const struct policy *p, enum policy_file file, bool dry_run, uint64_t unix_s,
		 struct rng *rng, struct json_t **changes)
{
	struct run run = { b, p, file, dry_run, unix_s, rng, json_array() };
	const struct policy_rule *mine;
	const struct rule *other;
	int rc = run.changes ? 0 : -ENOMEM;

	/* A dry run tells it, too. */
	if (!rc && policy_clash(b, p, file, &mine, &other))
		rc = -EEXIST;
	book_begin(b);
	/* First, for what goes makes room. */
	if (!rc)
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

static bool same(const struct policy_rule *a, const struct policy_rule *b)
{
	json_t *x = rule_json(&a->rule), *y = rule_json(&b->rule);
	bool equal = x && y && json_equal(x, y) && a->says_paused == b->says_paused &&
		     a->says_expires == b->says_expires;

	json_decref(x);
	json_decref(y);
	return equal;
}

bool policy_same(const struct policy *a, const struct policy *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same(&a->rules[i], &b->rules[i]))
			return false;
	return true;
}
