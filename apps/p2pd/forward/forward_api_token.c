/* Tokens of rules, and the one for reading this API. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/forward/forward_api_impl.h"
#include "apps/p2pd/forward/read_token.h"

enum { LINK = RULE_DOMAIN + TOKEN_TEXT + 32, EXPIRES_DEFAULT_S = 86400, FOR_DEFAULT_S = 43200 };

static uint64_t unix_s(void)
{
	return (uint64_t)time(NULL);
}

/* Where the link leads, once the gateway has granted a door. */
static bool door_of(struct api_call *c, char door[static RULE_DOMAIN + 16])
{
	struct forwarder_view v;

	if (c->rule.removed_at) {
		api_removed(c, &c->rule);
		return false;
	}
	if (c->rule.scope != RULE_PUBLIC || !c->rule.allow_token) {
		api_error(c, 409, EXIT_CONFLICT,
			  "links are for public rules that let in who comes with one: add --allow token");
		return false;
	}
	if (!forwarder_look(c->f, c->rule.id, &v) || !*v.door) {
		api_error(c, 409, EXIT_CONFLICT, "the gateway %s takes no tokens for this rule now%s%s",
			  c->rule.via, *v.why ? ": " : "", v.why);
		return false;
	}
	memcpy(door, v.door, sizeof v.door);
	return true;
}

static void token_error(struct api_call *c, int error)
{
	switch (error) {
	case -EINVAL:
		api_error(c, 400, EXIT_USAGE,
			  "uses is from 1 to %d, for_s from 1 to %d, and expires_s 0 or more",
			  TOKENS_USES_MAX, TOKENS_FOR_MAX_S);
		break;
	case -ENOENT: api_error(c, 404, EXIT_NOT_FOUND, "the rule has no such token"); break;
	case -ENOSPC:
		api_error(c, 409, EXIT_FAILED, "there are %d tokens, more are not kept: revoke some",
			  TOKENS_MAX);
		break;
	default: api_error(c, 500, EXIT_FAILED, "the token could not be kept: %s", strerror(-error));
	}
}

/* Wipes the text. */
static void answer_link(struct api_call *c, int error, enum audit_event event, const struct token *token,
			char text[static TOKEN_TEXT], const char *door)
{
	char link[LINK];

	forwarder_audit(c->f, event, error ? AUDIT_FAILED : AUDIT_OK, &c->rule, c->actor,
			error ? strerror(-error) : token->token_id);
	if (error) {
		token_error(c, error);
		return;
	}
	snprintf(link, sizeof link, "%s/t/%s", door, text);
	api_answer(c, 201,
		   json_pack("{ss ss sI sI sI}", "token_id", token->token_id, "link", link, "uses",
			     (json_int_t)token->uses, "expires_at", (json_int_t)token->expires_at, "for_s",
			     (json_int_t)token->for_s));
	crypto_wipe(text, TOKEN_TEXT);
	crypto_wipe(link, sizeof link);
	forwarder_refresh(c->f);
}

void api_token_new(struct api_call *c)
{
	json_int_t uses = 1, expires_s = EXPIRES_DEFAULT_S, for_s = FOR_DEFAULT_S;
	char door[RULE_DOMAIN + 16], text[TOKEN_TEXT];
	struct token token = { 0 };

	if (json_unpack(c->body, "{s?I s?I s?I!}", "uses", &uses, "expires_s", &expires_s, "for_s", &for_s) ||
	    uses < 1 || uses > TOKENS_USES_MAX || for_s < 1 || for_s > TOKENS_FOR_MAX_S || expires_s < 0 ||
	    expires_s > INT32_MAX) {
		token_error(c, -EINVAL);
		return;
	}
	if (!door_of(c, door))
		return;
	token.uses = (uint32_t)uses;
	token.for_s = (uint32_t)for_s;
	token.expires_at = expires_s ? unix_s() + (uint64_t)expires_s : 0;
	memcpy(token.id, c->rule.id, FORWARD_ID);
	int ret = tokens_new(forwarder_tokens(c->f), &token, text, unix_s(), forwarder_rng(c->f));
	answer_link(c, ret, AUDIT_TOKEN_NEW, &token, text, door);
}

void api_token_rotate(struct api_call *c)
{
	char door[RULE_DOMAIN + 16], text[TOKEN_TEXT];
	struct token token = { 0 };

	if (!door_of(c, door))
		return;
	int ret = tokens_rotate(forwarder_tokens(c->f), c->rule.id, c->word[2], &token, text, unix_s(),
				forwarder_rng(c->f));
	answer_link(c, ret, AUDIT_TOKEN_ROTATE, &token, text, door);
}

void api_token_revoke(struct api_call *c)
{
	int ret = tokens_revoke(forwarder_tokens(c->f), c->rule.id, c->word[2]);

	forwarder_audit(c->f, AUDIT_TOKEN_REVOKE, ret ? AUDIT_FAILED : AUDIT_OK, &c->rule, c->actor,
			c->word[2]);
	if (ret) {
		token_error(c, ret);
		return;
	}
	forwarder_refresh(c->f);
	api_answer(c, 200, json_pack("{ss sb}", "token_id", c->word[2], "revoked", true));
}

void api_tokens(struct api_call *c)
{
	const struct tokens *t = forwarder_tokens(c->f);
	json_t *list = json_array();

	for (size_t i = 0; i < tokens_count(t); i++)
		if (!memcmp(tokens_at(t, i)->id, c->rule.id, FORWARD_ID))
			json_array_append_new(list, tokens_json(tokens_at(t, i), unix_s()));
	api_answer(c, 200, json_pack("{ss so}", "schema", "p2pd.portmap.tokens/1", "tokens", list));
}

/* ---- The token for reading */

void api_read_token(struct api_call *c)
{
	char text[API_TOKEN_LEN + 1];
	int ret = read_token_make(forwarder_config(c->f)->state_dir, text, forwarder_rng(c->f));

	forwarder_audit(c->f, AUDIT_API_TOKEN, ret ? AUDIT_FAILED : AUDIT_OK, NULL, c->actor, "made");
	if (ret) {
		token_error(c, ret);
		return;
	}
	api_answer(c, 201, json_pack("{ss}", "token", text));
	crypto_wipe(text, sizeof text);
}

void api_read_token_revoke(struct api_call *c)
{
	int ret = read_token_remove(forwarder_config(c->f)->state_dir);

	forwarder_audit(c->f, AUDIT_API_TOKEN, ret ? AUDIT_FAILED : AUDIT_OK, NULL, c->actor, "taken back");
	if (ret)
		token_error(c, ret);
	else
		api_answer(c, 200, json_pack("{sb}", "revoked", true));
}
