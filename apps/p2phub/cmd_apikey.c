/* Tokens of the API. It works on the store itself, whether the hub runs or not: so the first token needs none. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_data.h"
#include "core/fail.h"
#include "core/options.h"
#include "relay/api_token.h"
#include "relay/store.h"

enum { DAY_S = 86400, YEARS_MAX = 100, LIST_PAGE = 64, TIME_TEXT = 32 };

struct arguments {
	const char *data, *name, *scope, *expires;
	bool json;
};

static int explain(int error, const char *why)
{
	switch (error) {
	case -EACCES:
	case -EPERM: return fail_with(EXIT_DENIED, "%s", why);
	case -EBUSY: return fail_with(EXIT_CONFLICT, "%s", why);
	default: return fail_with(EXIT_FAILED, "%s", why);
	}
}

static int open_store(const struct arguments *a, struct store **out)
{
	char path[HUB_DATA_PATH], why[STORE_WHY];
	int rc = hub_data_store(path, a->data);

	if (rc == -ENOENT)
		return fail_with(EXIT_NOT_FOUND, "no hub was served from %s yet: start it first", a->data);
	if (rc)
		return fail_with(rc == -EACCES || rc == -EPERM ? EXIT_DENIED : EXIT_FAILED,
				 "cannot open the data folder %s: %s", a->data, strerror(-rc));
	rc = store_open(out, path, why);
	return rc ? explain(rc, why) : EXIT_OK;
}

/* "90d", "12h", "never". False for anything else. */
static bool expiry_of(const char *text, uint64_t now, uint64_t *out)
{
	char *end;
	long long n = strtoll(text, &end, 10);
	long long unit = *end == 'd' ? DAY_S : *end == 'h' ? 3600 : 0;

	*out = 0;
	if (!strcmp(text, "never"))
		return true;
	if (text[0] < '1' || text[0] > '9' || !unit || end[1] || n > YEARS_MAX * 366LL * DAY_S / unit)
		return false;
	*out = now + (uint64_t)(n * unit);
	return true;
}

/* What is shown in lists and logs: letters, digits and . _ - @ */
static bool name_is_fit(const char *name)
{
	static const char fit[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";
	size_t len = strlen(name);

	return len > 0 && len < sizeof((struct store_token *)0)->name && strspn(name, fit) == len;
}

static const char *time_text(uint64_t unix_s, char out[static TIME_TEXT], const char *never)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!unix_s || !gmtime_r(&t, &tm) || !strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, TIME_TEXT, "%s", never);
	return out;
}

static const char *scope_word(enum store_scope scope)
{
	return scope == STORE_SCOPE_ADMIN ? "admin" : "read";
}

static json_t *time_json(uint64_t unix_s)
{
	char text[TIME_TEXT];

	return unix_s ? json_string(time_text(unix_s, text, "")) : json_null();
}

static json_t *token_json(const struct store_token *t)
{
	return json_pack("{s:I, s:s, s:s, s:o, s:o, s:o}", "id", (json_int_t)t->id, "name", t->name, "scope",
			 scope_word(t->scope), "created", time_json(t->created_s), "expires",
			 time_json(t->expires_s), "revoked", time_json(t->revoked_s));
}

/* Takes the reference over. */
static int print_json(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	int code = EXIT_OK;

	if (text)
		printf("%s\n", text);
	else
		code = fail_with(EXIT_FAILED, "out of memory");
	free(text);
	json_decref(json);
	return code;
}

static void audit(struct store *s, const char *action, uint64_t id, const char *name)
{
	struct store_audit e = { .time_s = (uint64_t)time(NULL), .actor = "local", .outcome = "ok" };

	snprintf(e.action, sizeof e.action, "%s", action);
	snprintf(e.object, sizeof e.object, "token:%.64s id %llu", name, (unsigned long long)id);
	if (store_audit_add(s, &e) || store_flush(s))
		fprintf(stderr, "p2phub: it is done, but could not be written to the audit log\n");
}

/* --- create */

static int add_token(struct store *s, struct store_token *t, char text[static API_TOKEN_LEN + 1])
{
	struct rng rng;

	rng_init_system(&rng);
	api_token_make(text, &rng);
	crypto_wipe(&rng, sizeof rng);
	api_token_hash(t->hash, text);
	int rc = store_token_add(s, t);
	if (rc == -EEXIST)
		return fail_with(EXIT_CONFLICT,
				 "there is a token named %s: revoke it first, or give another --name",
				 t->name);
	if (rc)
		return fail_with(EXIT_FAILED, "the token cannot be kept: %s", strerror(-rc));
	audit(s, "token.create", t->id, t->name);
	return EXIT_OK;
}

static int create_token(struct store *s, const struct arguments *a)
{
	struct store_token t = { .created_s = (uint64_t)time(NULL) };
	char text[API_TOKEN_LEN + 1], until[TIME_TEXT];

	expiry_of(a->expires, t.created_s, &t.expires_s);
	snprintf(t.name, sizeof t.name, "%s", a->name);
	t.scope = strcmp(a->scope, "admin") ? STORE_SCOPE_READ : STORE_SCOPE_ADMIN;
	int code = add_token(s, &t, text);
	if (code)
		return code;
	if (a->json) {
		json_t *json = token_json(&t);
		json_object_set_new(json, "token", json_string(text));
		json_object_set_new(json, "schema", json_string("p2phub.apikey/1"));
		code = print_json(json);
	} else {
		fprintf(stderr,
			"p2phub: token %llu, %s, scope %s, good until %s. It is shown this once only:\n",
			(unsigned long long)t.id, t.name, scope_word(t.scope),
			time_text(t.expires_s, until, "it is revoked"));
		printf("%s\n", text);
	}
	crypto_wipe(text, sizeof text);
	return code;
}

/* --- list, revoke */

static void print_line(const struct store_token *t)
{
	char expires[TIME_TEXT];
	const char *state = t->revoked_s					   ? "revoked"
			    : t->expires_s && (uint64_t)time(NULL) >= t->expires_s ? "expired"
										   : "good";

	printf("%-4llu %-24s %-6s %-8s %s\n", (unsigned long long)t->id, t->name, scope_word(t->scope), state,
	       time_text(t->expires_s, expires, "never"));
}

static int list_tokens(struct store *s, const struct arguments *a)
{
	struct store_token page[LIST_PAGE];
	json_t *tokens = json_array();
	uint64_t after = 0;
	int n;

	if (!a->json)
		printf("%-4s %-24s %-6s %-8s %s\n", "ID", "NAME", "SCOPE", "STATE", "EXPIRES");
	while ((n = store_token_list(s, after, page, LIST_PAGE)) > 0) {
		for (int i = 0; i < n; i++) {
			if (a->json)
				json_array_append_new(tokens, token_json(&page[i]));
			else
				print_line(&page[i]);
		}
		after = page[n - 1].id;
	}
	if (n == 0 && a->json)
		return print_json(json_pack("{s:s, s:o}", "schema", "p2phub.apikeys/1", "tokens", tokens));
	json_decref(tokens);
	return n < 0 ? fail_with(EXIT_FAILED, "the tokens cannot be read: %s", strerror(-n)) : EXIT_OK;
}

static int revoke_token(struct store *s, const struct arguments *a, const char *id_text)
{
	char *end;
	unsigned long long id = strtoull(id_text, &end, 10);
	int rc = store_token_revoke(s, id, (uint64_t)time(NULL));

	if (rc == -ENOENT)
		return fail_with(EXIT_NOT_FOUND, "there is no token %llu: see `p2phub apikey list`", id);
	if (rc == -EALREADY)
		return fail_with(EXIT_CONFLICT, "token %llu is revoked already", id);
	if (rc)
		return fail_with(EXIT_FAILED, "token %llu cannot be revoked: %s", id, strerror(-rc));
	audit(s, "token.revoke", id, "");
	return a->json ? print_json(json_pack("{s:s, s:I}", "schema", "p2phub.apikey/1", "revoked",
					      (json_int_t)id))
		       : EXIT_OK;
}

/* --- The command line */

static int check_create(const struct arguments *a)
{
	uint64_t unused;

	if (!a->name || !name_is_fit(a->name))
		return fail_with(EXIT_USAGE, "--name takes up to 63 letters, digits, and . _ - @");
	if (!a->scope || (strcmp(a->scope, "read") != 0 && strcmp(a->scope, "admin") != 0))
		return fail_with(EXIT_USAGE, "--scope takes read or admin");
	if (!expiry_of(a->expires, 0, &unused))
		return fail_with(EXIT_USAGE,
				 "--expires takes days or hours (90d, 12h), or never, not '%.20s'",
				 a->expires);
	return EXIT_OK;
}

static int check(const struct arguments *a, const struct options_list *args)
{
	const char *what = args->items[0], *id = args->count > 1 ? args->items[1] : NULL;

	if (!strcmp(what, "create") && !id)
		return check_create(a);
	if (!strcmp(what, "list") && !id)
		return EXIT_OK;
	if (strcmp(what, "revoke") != 0)
		return fail_with(EXIT_USAGE, "apikey create, list or revoke: see `p2phub apikey --help`");
	if (id && strlen(id) < 19 && id[strspn(id, "0123456789")] == 0)
		return EXIT_OK;
	return fail_with(EXIT_USAGE, "revoke takes the ID of a token: see `p2phub apikey list`");
}

int cmd_apikey(int argc, char **argv)
{
	struct arguments a = { .data = HUB_DATA, .expires = "90d" };
	const struct options_entry entries[] = {
		{ "name", "NAME", "whose the token is, or what for", .text = &a.name },
		{ "scope", "SCOPE", "read, or admin: also change", .text = &a.scope },
		{ "expires", "TIME", "90d (default), 12h, never", .text = &a.expires },
		{ "data", "DIR", "the hub's data folder (" HUB_DATA ")", .text = &a.data },
		{ "json", NULL, "as JSON", .flag = &a.json },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2phub apikey create --name NAME --scope read|admin [--expires 90d] | list | "
			 "revoke ID",
		.about = "Makes, lists and revokes tokens for the hub's API. A new token is printed once; "
			 "the hub keeps\n"
			 "only its hash. Works while the hub runs: what is revoked is refused at once.",
		.entries = entries,
		.min_args = 1,
		.max_args = 2,
	};
	struct options_list args;
	struct store *s = NULL;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = check(&a, &args);
	if (!code)
		code = open_store(&a, &s);
	if (code)
		return code;
	if (!strcmp(args.items[0], "create"))
		code = create_token(s, &a);
	else
		code = !strcmp(args.items[0], "list") ? list_tokens(s, &a)
						      : revoke_token(s, &a, args.items[1]);
	store_close(s);
	return code;
}
