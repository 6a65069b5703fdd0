#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/portmap_spec.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/commands.h"
#include "core/fail.h"

enum { TAIL = 128, USES_MAX = 1000 };

struct token {
	struct portmap_talk talk;
	const char *id;		      /* --id, NULL: all rules */
	const char *expires, *admits; /* --expires, --for */
	long uses;
};

static json_int_t number(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* --- The link: on stdout alone, for scripts; what it does, for a person who reads it. */

static int print_link(const struct token *t, json_t *token)
{
	char admits[PORTMAP_WHEN], until[PORTMAP_WHEN];
	json_int_t uses = number(token, "uses"), end = number(token, "expires_at");

	if (t->talk.json)
		return portmap_print(&t->talk, token);
	printf("%s\n", portmap_string(token, "link"));
	if (isatty(STDOUT_FILENO)) {
		printf("\nToken %s. Whoever opens the link is let in for %s, %lld time%s",
		       portmap_string(token, "token_id"), portmap_span(number(token, "for_s"), admits),
		       (long long)uses, uses == 1 ? "" : "s");
		if (end)
			printf(", until %s", portmap_when(end, until));
		printf(".\nIt is shown only now: send it by a way that you trust.\n");
	}
	json_decref(token);
	return EXIT_OK;
}

/* --- new */

static json_t *terms(const struct token *t, int *code)
{
	uint64_t expires = 0, admits = 0;

	*code = EXIT_USAGE;
	if (!t->id)
		fail_with(EXIT_USAGE, "--id RULE is needed: its forward_id or name; see `p2pd portmap ls`");
	else if (portmap_seconds(&expires, t->expires, "never"))
		fail_with(EXIT_USAGE, "--expires takes a time such as 24h or 7d, or never, not '%.40s'",
			  t->expires);
	else if (portmap_seconds(&admits, t->admits, NULL))
		fail_with(EXIT_USAGE, "--for takes a time such as 90min or 12h, not '%.40s'", t->admits);
	else
		*code = EXIT_OK;
	if (*code)
		return NULL;
	return json_pack("{sI sI sI}", "uses", (json_int_t)t->uses, "expires_s", (json_int_t)expires, "for_s",
			 (json_int_t)admits);
}

static int token_new(int argc, char **argv)
{
	struct token t = { .talk = PORTMAP_TALK, .uses = 1, .expires = "24h", .admits = "12h" };
	const struct options_entry entries[] = {
		{ "id", "RULE", "the public rule that it opens: forward_id or name", .text = &t.id },
		{ "uses", "N", "how many visitors it lets in (1)", .number = &t.uses, .min = 1,
		  .max = USES_MAX },
		{ "expires", "TIME", "the link is worth nothing after that: 24h (default), 7d, never",
		  .text = &t.expires },
		{ "for", "TIME", "how long a visitor's address stays let in (12h)", .text = &t.admits },
		{ "json", NULL, "as JSON, with token_id", .flag = &t.talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &t.talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap token new --id RULE [options]",
		.about = "Prints a link. Who opens it in a browser and confirms is let in, by the address "
			 "that "
			 "he comes\nfrom. The gateway serves it over HTTPS.",
		.entries = entries,
	};
	struct options_list args;
	json_t *token;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	json_t *body = terms(&t, &code);
	if (!code)
		code = portmap_ask_about(&t.talk, "POST", t.id, "/tokens", body, t.id, &token);
	return code ? code : print_link(&t, token);
}

/* --- ls */

/* Calls `run` for each token of the rule, or of all; stops when it returns false. People know rules by their names. */
static int of_rule(const struct token *t, const char *id, const char *name,
		   bool (*run)(void *arg, json_t *token), void *arg, bool *more)
{
	json_t *answer, *token;
	int code = portmap_ask_about(&t->talk, "GET", id, "/tokens", NULL, id, &answer);
	size_t i;

	if (code)
		return code;
	json_array_foreach(json_object_get(answer, "tokens"), i, token)
	{
		if (!*portmap_string(token, "forward_id"))
			json_object_set_new(token, "forward_id", json_string(id));
		json_object_set_new(token, "name", json_string(*name ? name : id));
		*more = run(arg, token);
		if (!*more)
			break;
	}
	json_decref(answer);
	return EXIT_OK;
}

static int each_token(const struct token *t, bool (*run)(void *arg, json_t *token), void *arg)
{
	bool more = true;
	json_t *answer, *rule;
	size_t i;

	if (t->id)
		return of_rule(t, t->id, t->id, run, arg, &more);
	int code = portmap_ask(&t->talk, "GET", NULL, "", NULL, &answer);
	if (code)
		return code;
	json_array_foreach(json_object_get(answer, "forwards"), i, rule)
	{
		if (!code && more && !strcmp(portmap_string(rule, "scope"), "public"))
			code = of_rule(t, portmap_string(rule, "forward_id"), portmap_string(rule, "name"),
				       run, arg, &more);
	}
	json_decref(answer);
	return code;
}

static void print_end(json_int_t end)
{
	char text[PORTMAP_WHEN];
	json_int_t left = end - (json_int_t)time(NULL);

	if (!end)
		printf("never ends");
	else if (left > 0)
		printf("ends in %s", portmap_span(left, text));
	else
		printf("ended %s", portmap_when(end, text));
}

static bool print_token(void *arg, json_t *token)
{
	char text[PORTMAP_WHEN];

	(void)arg;
	printf("%s  %s  %-7s  %lld of %lld used, ", portmap_string(token, "token_id"),
	       portmap_string(token, "name"), portmap_string(token, "state"),
	       (long long)number(token, "used"), (long long)number(token, "uses"));
	print_end(number(token, "expires_at"));
	printf(", lets in for %s", portmap_span(number(token, "for_s"), text));
	if (*portmap_string(token, "last_visitor")) {
		printf(", last ");
		portmap_put(portmap_string(token, "last_visitor"), 0);
	}
	printf("\n");
	return true;
}

static bool collect(void *arg, json_t *token)
{
	return !json_array_append(arg, token);
}

static int token_ls(int argc, char **argv)
{
	struct token t = { .talk = PORTMAP_TALK };
	const struct options_entry entries[] = {
		{ "id", "RULE", "only those of this rule", .text = &t.id },
		{ "json", NULL, "as JSON, schema p2pd.portmap.tokens/1", .flag = &t.talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &t.talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap token ls [options]",
		.about = "Lists tokens: TOKEN-ID, the rule, and what is left of them. Links are not shown "
			 "again: only\na hash of them is kept.",
		.entries = entries,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (!t.talk.json)
		return each_token(&t, print_token, NULL);
	json_t *tokens = json_array();
	code = each_token(&t, collect, tokens);
	json_t *json = json_pack("{ss so}", "schema", "p2pd.portmap.tokens/1", "tokens", tokens);
	if (!code)
		return portmap_print(&t.talk, json);
	json_decref(json);
	return code;
}

/* --- revoke, rotate */

struct search {
	const char *token_id;
	json_t *found;
};

static bool match(void *arg, json_t *token)
{
	struct search *s = arg;

	if (!strcmp(portmap_string(token, "token_id"), s->token_id))
		s->found = json_incref(token);
	return !s->found;
}

/* The token's rule goes to *id, to be released with *keep. */
static int find(const struct token *t, const char *token_id, const char **id, json_t **keep)
{
	struct search s = { .token_id = token_id };
	int code = each_token(t, match, &s);

	*keep = s.found;
	*id = s.found ? portmap_string(s.found, "forward_id") : NULL;
	if (!code && !s.found)
		code = fail_with(EXIT_NOT_FOUND, "there is no token '%.40s'; see `p2pd portmap token ls`",
				 token_id);
	return code;
}

static int revoke_one(void *arg, const char *token_id)
{
	const struct token *t = arg;
	char tail[TAIL];
	const char *id;
	json_t *keep;
	int code = find(t, token_id, &id, &keep);

	snprintf(tail, sizeof tail, "/tokens/%.40s", token_id);
	if (!code)
		code = portmap_ask_about(&t->talk, "DELETE", id, tail, NULL, token_id, NULL);
	json_decref(keep);
	return code;
}

static int rotate_one(void *arg, const char *token_id)
{
	const struct token *t = arg;
	char tail[TAIL];
	const char *id;
	json_t *keep, *token;
	int code = find(t, token_id, &id, &keep);

	snprintf(tail, sizeof tail, "/tokens/%.40s/rotate", token_id);
	if (!code)
		code = portmap_ask_about(&t->talk, "POST", id, tail, NULL, token_id, &token);
	json_decref(keep);
	return code ? code : print_link(t, token);
}

static int by_token_id(const char *usage, const char *about, int (*run)(void *arg, const char *token_id),
		       int argc, char **argv)
{
	struct token t = { .talk = PORTMAP_TALK };
	const struct options_entry entries[] = {
		{ "id", "RULE", "the rule that it is of, if you know: saves a search", .text = &t.id },
		{ "json", NULL, "as JSON", .flag = &t.talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &t.talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = usage,
		.about = about,
		.entries = entries,
		.more = "TOKEN-ID is what `p2pd portmap token ls` tells; - reads them from stdin.\n",
		.min_args = 1,
		.max_args = OPTIONS_LIST_MAX,
	};
	struct options_list args;
	int code;

	return options_parse(&options, argc, argv, &args, &code) ? portmap_each(&args, run, &t) : code;
}

static int token_revoke(int argc, char **argv)
{
	return by_token_id("p2pd portmap token revoke TOKEN-ID... [options]",
			   "Makes a link worth nothing, and ends the visits of those whom it let in.",
			   revoke_one, argc, argv);
}

static int token_rotate(int argc, char **argv)
{
	return by_token_id(
		"p2pd portmap token rotate TOKEN-ID... [options]",
		"Prints a new link in place of the old one, which is worth nothing from then on: with as "
		"many\nuses and as long a life as it had at first. Visitors stay let in.",
		rotate_one, argc, argv);
}

/* --- */

static const struct command_action actions[] = {
	{ "new", "new --id RULE [--uses N] [--expires TIME] [--for TIME]", token_new },
	{ "ls", "ls [--id RULE]", token_ls },
	{ "revoke", "revoke TOKEN-ID...", token_revoke },
	{ "rotate", "rotate TOKEN-ID...", token_rotate },
};

int cmd_portmap_token(int argc, char **argv)
{
	static const struct command_group group = {
		.name = "p2pd portmap token",
		.about = "Links that let a visitor in to a public rule, by the address that he comes from, "
			 "for a time. Each\nof these has its --help.",
		.actions = actions,
		.count = sizeof actions / sizeof *actions,
	};

	return commands_act(&group, argc, argv);
}
