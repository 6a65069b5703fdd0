#include "apps/p2pd/forward/forward_api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/forward/forward_api_impl.h"

/* ---- Answers */

void api_answer(struct api_call *c, int status, json_t *json)
{
	if (!json)
		api_error(c, 500, EXIT_FAILED, "out of memory");
	else
		http_answer_json(c->x, status, json);
}

void api_error_with(struct api_call *c, int status, enum exit_code code, const char *text, json_t *more)
{
	json_t *error = json_pack("{ss ss}", "code", fail_word(code), "message", text);

	if (error && more)
		json_object_update(error, more);
	json_decref(more);
	http_answer_json(c->x, status, json_pack("{so}", "error", error ? error : json_object()));
}

void api_error(struct api_call *c, int status, enum exit_code code, const char *fmt, ...)
{
	char text[API_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	api_error_with(c, status, code, text, NULL);
}

/* Of a request that could not say force, it is no way out. */
static void conflict(struct api_call *c, const struct rule *r)
{
	const struct rule *other = r ? book_conflict(forwarder_book(c->f), r) : NULL;
	char id[RULE_ID_TEXT] = "", text[API_TEXT];

	if (other)
		rule_id_text(other->id, id);
	snprintf(text, sizeof text, "rule '%s' (%s) has one of these ports there already: %s",
		 other ? other->name : "", id,
		 c->may_force ? "choose others, or replace it with --force"
			      : "give it others with `p2pd portmap set`, or remove it, first");
	api_error_with(c, 409, EXIT_CONFLICT, text, json_pack("{ss}", "forward_id", id));
}

void api_removed(struct api_call *c, const struct rule *r)
{
	time_t until = (time_t)(r->removed_at + BOOK_KEEP_S);
	char id[RULE_ID_TEXT], day[32] = "?";
	struct tm tm;

	if (gmtime_r(&until, &tm))
		strftime(day, sizeof day, "%Y-%m-%d", &tm);
	api_error(c, 404, EXIT_NOT_FOUND,
		  "the rule was removed; until %s `p2pd portmap restore %s` brings it back", day,
		  rule_id_text(r->id, id));
}

const char *api_book_words(int error)
{
	switch (error) {
	case -EEXIST: return "another rule has the port";
	case -ENOENT: return "there is no such rule any more";
	case -E2BIG: return "more rules are not kept";
	case -EINVAL: return "such a rule cannot be";
	default: return strerror(-error);
	}
}

void api_book_error(struct api_call *c, int error, const struct rule *r)
{
	switch (error) {
	case -EEXIST: conflict(c, r); break;
	case -ENOENT:
		if (r && r->removed_at)
			api_removed(c, r);
		else
			api_error(c, 404, EXIT_NOT_FOUND, "there is no such rule");
		break;
	case -E2BIG:
		api_error(c, 409, EXIT_FAILED, "there are %d rules, more are not kept: remove some",
			  BOOK_RULES_MAX);
		break;
	case -EINVAL: api_error(c, 400, EXIT_USAGE, "such a rule cannot be"); break;
	default: api_error(c, 500, EXIT_FAILED, "the change could not be kept on disk: %s", strerror(-error));
	}
}

/* ---- Answers that come later */

struct api_later {
	struct api_later *next;
	struct forward_api *a;
	struct http_exchange *x;
	enum api_later_kind kind;
	int status;
	uint8_t id[FORWARD_ID];
	struct forwarder_wait wait;
	struct forwarder_ping ping;
};

static void unlink_later(struct api_later *l)
{
	struct api_later **at = &l->a->laters;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	free(l);
}

static void on_gone(void *arg)
{
	struct api_later *l = arg;

	if (l->kind == API_PINGED)
		forwarder_ping_cancel(&l->ping);
	else
		forwarder_wait_cancel(&l->wait);
	unlink_later(l);
}

static json_t *outcome(const struct api_later *l)
{
	struct forwarder *f = l->a->f;
	const struct rule *r = book_by_id(forwarder_book(f), l->id);

	switch (l->kind) {
	case API_SETTLED: return r ? api_rule_json(f, r) : NULL;
	case API_COUNTED: return api_stats_json(f, l->id);
	case API_PINGED: return api_ping_json(&l->ping);
	}
	return NULL;
}

static void on_done(void *arg)
{
	struct api_later *l = arg;
	struct api_call c = { .a = l->a, .f = l->a->f, .x = l->x };
	json_t *json = outcome(l);
	int status = l->status;

	unlink_later(l);
	if (json)
		api_answer(&c, status, json);
	else
		api_error(&c, 404, EXIT_NOT_FOUND, "the rule is gone");
}

void api_later(struct api_call *c, enum api_later_kind kind, int status, const uint8_t id[static FORWARD_ID])
{
	struct api_later *l = calloc(1, sizeof *l);

	if (!l) {
		api_error(c, 500, EXIT_FAILED, "out of memory");
		return;
	}
	*l = (struct api_later) { .a = c->a, .x = c->x, .kind = kind, .status = status };
	memcpy(l->id, id, FORWARD_ID);
	l->wait.done = l->ping.done = on_done;
	l->wait.arg = l->ping.arg = l;
	l->next = c->a->laters;
	c->a->laters = l;
	http_on_gone(c->x, on_gone, l);
	switch (kind) {
	case API_SETTLED: forwarder_wait_settled(c->f, id, &l->wait); break;
	case API_COUNTED: forwarder_wait_counts(c->f, id, &l->wait); break;
	case API_PINGED: forwarder_ping(c->f, &c->rule, &l->ping); break;
	}
}

/* ---- Looking */

static void list(struct api_call *c)
{
	const struct http_message *m = http_request(c->x);
	struct book *b = forwarder_book(c->f);
	bool all = !strcmp(m->query, "all=1");
	json_t *rules = json_array();

	for (size_t i = 0; i < book_count(b); i++)
		if (all || !book_at(b, i)->removed_at)
			json_array_append_new(rules, api_rule_json(c->f, book_at(b, i)));
	api_answer(c, 200, json_pack("{ss so}", "schema", "p2pd.portmap/1", "forwards", rules));
}

static void show(struct api_call *c)
{
	api_answer(c, 200, api_rule_json(c->f, &c->rule));
}

static void stats(struct api_call *c)
{
	api_later(c, API_COUNTED, 200, c->rule.id);
}

static void ping(struct api_call *c)
{
	if (c->rule.removed_at)
		api_removed(c, &c->rule);
	else
		api_later(c, API_PINGED, 200, c->rule.id);
}

static void audit(struct api_call *c)
{
	static const char key[] = "since=";
	const char *query = http_request(c->x)->query;
	unsigned long long since = 0;
	char *end = NULL;
	json_t *json;

	if (*query && !strncmp(query, key, sizeof key - 1))
		since = strtoull(query + sizeof key - 1, &end, 10);
	if (*query && (!end || *end)) {
		api_error(c, 400, EXIT_USAGE, "the query is since=UNIX-SECONDS");
		return;
	}
	struct audit *log = forwarder_audit_log(c->f);
	int ret = audit_list(log, since, &json);
	if (!log)
		api_error(c, 500, EXIT_FAILED,
			  "no audit is written: " AUDIT_FILE
			  " could not be opened when p2pd started, its log says why");
	else if (ret)
		api_error(c, 500, EXIT_FAILED, "the audit cannot be read: %s", strerror(-ret));
	else
		api_answer(c, 200, json);
}

/* ---- Routes */

/* The words of the path; NULL: any. */
static const struct route {
	const char *method;
	const char *word[API_WORDS - 1];
	unsigned words;
	bool of_rule; /* word[0] names one */
	void (*handle)(struct api_call *c);
} routes[] = {
	{ "GET", { 0 }, 0, false, list },
	{ "POST", { 0 }, 0, false, api_add },
	{ "POST", { "apply" }, 1, false, api_apply },
	{ "GET", { "audit" }, 1, false, audit },
	{ "POST", { "api-token" }, 1, false, api_read_token },
	{ "DELETE", { "api-token" }, 1, false, api_read_token_revoke },
	{ "GET", { NULL }, 1, true, show },
	{ "PATCH", { NULL }, 1, true, api_change },
	{ "DELETE", { NULL }, 1, true, api_remove },
	{ "POST", { NULL, "pause" }, 2, true, api_pause },
	{ "POST", { NULL, "resume" }, 2, true, api_resume },
	{ "POST", { NULL, "restore" }, 2, true, api_restore },
	{ "POST", { NULL, "ping" }, 2, true, ping },
	{ "GET", { NULL, "stats" }, 2, true, stats },
	{ "GET", { NULL, "tokens" }, 2, true, api_tokens },
	{ "POST", { NULL, "tokens" }, 2, true, api_token_new },
	{ "DELETE", { NULL, "tokens", NULL }, 3, true, api_token_revoke },
	{ "POST", { NULL, "tokens", NULL, "rotate" }, 4, true, api_token_rotate },
};

/* False: there is no such path. */
static bool split(struct api_call *c, const char *rest)
{
	while (*rest) {
		size_t len = strcspn(rest + 1, "/");
		if (*rest != '/' || len == 0 || len >= API_WORD || c->words == API_WORDS)
			return false;
		memcpy(c->word[c->words], rest + 1, len);
		c->word[c->words++][len] = '\0';
		rest += 1 + len;
	}
	return true;
}

static bool fits(const struct route *r, const struct api_call *c)
{
	if (r->words != c->words)
		return false;
	for (unsigned i = 0; i < c->words; i++)
		if (r->word[i] && strcmp(r->word[i], c->word[i]))
			return false;
	return true;
}

static const struct route *find(const struct api_call *c, const char *method, bool *known)
{
	*known = false;
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		if (!fits(&routes[i], c))
			continue;
		*known = true;
		if (!strcmp(routes[i].method, method))
			return &routes[i];
	}
	return NULL;
}

static bool find_rule(struct api_call *c)
{
	const struct rule *r = book_find(forwarder_book(c->f), c->word[0]);

	if (r) {
		c->rule = *r;
		return true;
	}
	api_error(c, 404, EXIT_NOT_FOUND,
		  "no rule, or more than one, is called '%s': give its forward_id; see `p2pd portmap ls`",
		  c->word[0]);
	return false;
}

static bool read_body(struct api_call *c)
{
	const struct http_message *m = http_request(c->x);
	json_error_t e = { 0 };
	char why[RULE_WHY];

	c->body = m->body_len ? json_loadb(m->body, m->body_len, JSON_REJECT_DUPLICATES, &e) : json_object();
	if (json_is_object(c->body))
		return true;
	/* It quotes the body, by halves of a character, too. */
	rule_refuse(why, "the body must be a JSON object%s%s", *e.text ? ": " : "", e.text);
	api_error(c, 400, EXIT_USAGE, "%s", why);
	return false;
}

static void handle(struct api_call *c, bool read_only)
{
	const struct http_message *m = http_request(c->x);
	bool known = false;
	const struct route *r = split(c, http_path_rest(c->x)) ? find(c, m->method, &known) : NULL;

	if (!r)
		api_error(c, known ? 405 : 404, EXIT_NOT_FOUND, "there is no %s for this path", m->method);
	else if (read_only && strcmp(m->method, "GET"))
		api_error(c, 403, EXIT_DENIED, "only reading is possible here: use the control socket");
	else if (read_body(c) && (!r->of_rule || find_rule(c)))
		r->handle(c);
}

void forward_api_handle(struct forward_api *a, struct http_exchange *x, bool read_only)
{
	struct api_call c = { .a = a, .f = a->f, .x = x };

	snprintf(c.actor, sizeof c.actor, "uid %lld", (long long)http_peer_uid(x));
	handle(&c, read_only);
	json_decref(c.body);
}

struct forward_api *forward_api_create(struct forwarder *f)
{
	struct forward_api *a = calloc(1, sizeof *a);

	if (a)
		a->f = f;
	return a;
}

void forward_api_destroy(struct forward_api *a)
{
	while (a && a->laters)
		on_gone(a->laters);
	free(a);
}
