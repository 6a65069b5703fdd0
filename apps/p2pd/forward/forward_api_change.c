/* Changes of rules, asked for by a person: checked, kept, audited, brought into effect. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/forward/forward_api_impl.h"

/* ---- What is asked for */

static bool refuse(struct api_call *c, enum audit_event event, const struct rule *r, int status,
		   enum exit_code code, const char *why)
{
	forwarder_audit(c->f, event, AUDIT_REFUSED, r, c->actor, why);
	api_error(c, status, code, "%s", why);
	return false;
}

/* Whether the rule may be; `before` NULL: it is new. */
static bool check(struct api_call *c, enum audit_event event, const struct rule *before, const struct rule *r,
		  bool force)
{
	struct rule_place place;
	char why[RULE_WHY], ignored[RULE_WHY];

	forwarder_place(c->f, &place);
	if (rule_check(r, why) || rule_check_place(r, &place, why))
		return refuse(c, event, r, 400, EXIT_USAGE, why);
	bool was_open = before && rule_check_open(before, ignored);
	if (!force && !was_open && rule_check_open(r, why))
		return refuse(c, event, r, 400, EXIT_USAGE, why);
	if (r->expires_at && r->expires_at <= (uint64_t)time(NULL) &&
	    (!before || before->expires_at != r->expires_at))
		return refuse(c, event, r, 400, EXIT_USAGE, "it would have ended already: check expires_at");
	return true;
}

/* Takes `force` out of the body. */
static bool read_spec(struct api_call *c, enum audit_event event, struct rule *r, bool *force)
{
	json_t *value = json_object_get(c->body, "force");
	bool declared = r->declared;
	char why[RULE_WHY];

	if (value && !json_is_boolean(value)) {
		api_error(c, 400, EXIT_USAGE, "force is true or false");
		return false;
	}
	c->may_force = true;
	*force = json_is_true(value);
	json_object_del(c->body, "force");
	if (rule_read(r, c->body, why))
		return refuse(c, event, NULL, 400, EXIT_USAGE, why);
	r->declared = declared; /* that is for the settings to say */
	return true;
}

/* ---- Add and change */

/* --force removes what is in the way: that, too, is somebody's doing. Noted before the change, told after it. */
struct replaced {
	size_t count;
	struct rule rules[];
};

static bool is_in_the_way(const struct rule *other, const struct rule *r)
{
	return !other->removed_at && memcmp(other->id, r->id, FORWARD_ID) && rule_overlap(other, r);
}

/* NULL without memory. */
static struct replaced *note_replaced(const struct book *b, const struct rule *r, bool force)
{
	struct replaced *out;
	size_t count = 0;

	for (size_t i = 0; force && i < book_count(b); i++)
		count += is_in_the_way(book_at(b, i), r);
	out = calloc(1, sizeof *out + count * sizeof *out->rules);
	for (size_t i = 0; out && out->count < count; i++)
		if (is_in_the_way(book_at(b, i), r))
			out->rules[out->count++] = *book_at(b, i);
	return out;
}

static void audit_replaced(struct api_call *c, const struct replaced *gone)
{
	for (size_t i = 0; i < gone->count; i++)
		forwarder_audit(c->f, AUDIT_RULE_REMOVE, AUDIT_OK, &gone->rules[i], c->actor, "replaced");
}

static bool is_refusal(int error)
{
	return error == -EEXIST || error == -ENOENT || error == -E2BIG || error == -EINVAL;
}

static void made(struct api_call *c, int error, enum audit_event event, const struct rule *r, int status,
		 const char *detail)
{
	if (error) {
		forwarder_audit(c->f, event, is_refusal(error) ? AUDIT_REFUSED : AUDIT_FAILED, r, c->actor,
				api_book_words(error));
		api_book_error(c, error, r);
		return;
	}
	forwarder_audit(c->f, event, AUDIT_OK, r, c->actor, detail);
	forwarder_refresh(c->f);
	api_later(c, API_SETTLED, status, r->id);
}

void api_add(struct api_call *c)
{
	struct book *b = forwarder_book(c->f);
	struct rule r;
	bool force;

	rule_init(&r);
	if (!read_spec(c, AUDIT_RULE_ADD, &r, &force) || !check(c, AUDIT_RULE_ADD, NULL, &r, force))
		return;
	struct replaced *gone = note_replaced(b, &r, force);
	int ret = gone ? book_add(b, &r, force, (uint64_t)time(NULL), forwarder_rng(c->f)) : -ENOMEM;
	if (!ret)
		audit_replaced(c, gone);
	made(c, ret, AUDIT_RULE_ADD, &r, 201, force ? "forced" : NULL);
	free(gone);
}

/* The keys that were given, for the audit. */
static const char *keys_of(json_t *body, char out[static AUDIT_TEXT_MAX])
{
	const char *key;
	json_t *value;
	size_t len = 0;

	*out = '\0';
	json_object_foreach(body, key, value) if (len < AUDIT_TEXT_MAX)
		len += (size_t)snprintf(out + len, AUDIT_TEXT_MAX - len, "%s%s", len ? ", " : "", key);
	return out;
}

void api_change(struct api_call *c)
{
	struct book *b = forwarder_book(c->f);
	struct rule r = c->rule;
	char keys[AUDIT_TEXT_MAX];
	bool force;

	if (r.removed_at) {
		made(c, -ENOENT, AUDIT_RULE_SET, &r, 0, NULL);
		return;
	}
	if (!read_spec(c, AUDIT_RULE_SET, &r, &force) || !check(c, AUDIT_RULE_SET, &c->rule, &r, force))
		return;
	struct replaced *gone = note_replaced(b, &r, force);
	int ret = gone ? book_set(b, &r, force, (uint64_t)time(NULL)) : -ENOMEM;
	if (!ret)
		audit_replaced(c, gone);
	made(c, ret, AUDIT_RULE_SET, &r, 200, keys_of(c->body, keys));
	free(gone);
}

/* ---- The rest */

void api_remove(struct api_call *c)
{
	made(c, book_remove(forwarder_book(c->f), c->rule.id, (uint64_t)time(NULL)), AUDIT_RULE_REMOVE,
	     &c->rule, 200, NULL);
}

void api_pause(struct api_call *c)
{
	made(c, book_pause(forwarder_book(c->f), c->rule.id, true, (uint64_t)time(NULL)), AUDIT_RULE_PAUSE,
	     &c->rule, 200, NULL);
}

void api_resume(struct api_call *c)
{
	made(c, book_pause(forwarder_book(c->f), c->rule.id, false, (uint64_t)time(NULL)), AUDIT_RULE_RESUME,
	     &c->rule, 200, NULL);
}

void api_restore(struct api_call *c)
{
	if (check(c, AUDIT_RULE_RESTORE, &c->rule, &c->rule, false))
		made(c, book_restore(forwarder_book(c->f), c->rule.id, (uint64_t)time(NULL)),
		     AUDIT_RULE_RESTORE, &c->rule, 200, NULL);
}

/* ---- Policies */

static void policy_error(struct api_call *c, const struct policy_error *e)
{
	json_t *place = e->line ? json_pack("{si si}", "line", (int)e->line, "column", (int)e->column) : NULL;

	forwarder_audit(c->f, AUDIT_POLICY_APPLY, AUDIT_REFUSED, NULL, c->actor, e->why);
	api_error_with(c, 400, EXIT_USAGE, e->why, place);
}

/* The file's rule is wanted where another rule is that stays. */
static void policy_conflict(struct api_call *c, const struct policy *p)
{
	struct policy_error e;

	forwarder_clash_text(c->f, p, POLICY_RULES, &e);
	forwarder_audit(c->f, AUDIT_POLICY_APPLY, AUDIT_REFUSED, NULL, c->actor, e.why);
	api_error_with(c, 409, EXIT_CONFLICT, e.why,
		       json_pack("{si si}", "line", (int)e.line, "column", (int)e.column));
}

static void apply(struct api_call *c, const struct policy *p, bool dry_run)
{
	struct policy_error e;
	json_t *changes = NULL;

	if (!forwarder_places_fit(c->f, p, &e)) {
		policy_error(c, &e);
		return;
	}
	int ret = policy_apply(forwarder_book(c->f), p, POLICY_RULES, dry_run, (uint64_t)time(NULL),
			       forwarder_rng(c->f), &changes);
	if (ret == -EEXIST) {
		policy_conflict(c, p);
		return;
	}
	if (ret) {
		forwarder_audit(c->f, AUDIT_POLICY_APPLY, is_refusal(ret) ? AUDIT_REFUSED : AUDIT_FAILED,
				NULL, c->actor, api_book_words(ret));
		api_book_error(c, ret, NULL);
		return;
	}
	if (!dry_run) {
		forwarder_audit(c->f, AUDIT_POLICY_APPLY, AUDIT_OK, NULL, c->actor, NULL);
		forwarder_audit_changes(c->f, changes, c->actor, "by a policy");
		forwarder_refresh(c->f);
	}
	api_answer(c, 200, json_pack("{ss so}", "schema", "p2pd.portmap.apply/1", "changes", changes));
}

void api_apply(struct api_call *c)
{
	json_t *text = json_object_get(c->body, "policy");
	json_t *dry_run = json_object_get(c->body, "dry_run");
	struct policy_error error;
	struct policy p;

	if (!json_is_string(text) || (dry_run && !json_is_boolean(dry_run))) {
		api_error(c, 400, EXIT_USAGE,
			  "the body must be {\"policy\": TEXT, \"dry_run\": true or false}");
		return;
	}
	if (policy_read(&p, POLICY_RULES, json_string_value(text), json_string_length(text), &error)) {
		policy_error(c, &error);
		return;
	}
	apply(c, &p, json_is_true(dry_run));
	policy_free(&p);
}
