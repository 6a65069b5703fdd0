#include "apps/p2pd/forward/tokens_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"

/* --- The ledger */

int tokens_ledger_copy(struct tokens_ledger *out, const struct tokens_ledger *from)
{
	static const struct tokens_ledger empty;
	const struct tokens_ledger *l = from ? from : &empty;

	*out = (struct tokens_ledger) { .count = l->count, .visit_count = l->visit_count };
	out->entries = calloc(l->count + 1, sizeof *l->entries);
	out->visits = calloc(l->visit_count + 1, sizeof *l->visits);
	if (!out->entries || !out->visits) {
		tokens_ledger_free(out);
		return -ENOMEM;
	}
	if (l->count)
		memcpy(out->entries, l->entries, l->count * sizeof *l->entries);
	if (l->visit_count)
		memcpy(out->visits, l->visits, l->visit_count * sizeof *l->visits);
	return 0;
}

void tokens_ledger_free(struct tokens_ledger *l)
{
	free(l->entries);
	free(l->visits);
	*l = (struct tokens_ledger) { 0 };
}

/* --- To JSON */

static json_t *address_json(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family == ADDR_NONE ? json_null() : json_string(addr_format_ip(a, text));
}

static json_t *entry_json(const struct tokens_entry *e)
{
	char id[RULE_ID_TEXT], hash[CRYPTO_BASE64_TEXT(TOKENS_HASH)];
	const struct token *t = &e->token;

	crypto_base64url(hash, e->hash, sizeof e->hash);
	return json_pack("{ss ss ss sI sI sI sI sI sI so}", "token_id", t->token_id, "forward_id",
			 rule_id_text(t->id, id), "hash", hash, "uses", (json_int_t)t->uses, "used",
			 (json_int_t)t->used, "created_at", (json_int_t)t->created_at, "expires_at",
			 (json_int_t)t->expires_at, "for_s", (json_int_t)t->for_s, "used_at",
			 (json_int_t)t->used_at, "last_visitor", address_json(&t->last_visitor));
}

static json_t *visit_json(const struct token_visit *v)
{
	char id[RULE_ID_TEXT];

	return json_pack("{ss ss so sI}", "token_id", v->token_id, "forward_id", rule_id_text(v->id, id),
			 "visitor", address_json(&v->visitor), "until", (json_int_t)v->until);
}

static json_t *ledger_json(const struct tokens_ledger *l)
{
	json_t *tokens = json_array(), *visits = json_array();
	bool bad = false;

	for (size_t i = 0; i < l->count; i++)
		bad |= json_array_append_new(tokens, entry_json(&l->entries[i])) != 0;
	for (size_t i = 0; i < l->visit_count; i++)
		bad |= json_array_append_new(visits, visit_json(&l->visits[i])) != 0;
	json_t *json = json_pack("{so so}", "tokens", tokens, "visits", visits);
	if (!bad)
		return json;
	json_decref(json);
	return NULL;
}

int tokens_ledger_save(const struct tokens_ledger *l, int dir)
{
	json_t *json = ledger_json(l);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	int ret = text ? file_write(dir, TOKENS_FILE, text, strlen(text)) : -ENOMEM;

	json_decref(json);
	free(text);
	return ret;
}

/* --- And back: what is not as it was written is spoilt */

static bool read_address(struct addr *out, json_t *v)
{
	*out = (struct addr) { 0 };
	return json_is_null(v) || (json_is_string(v) && !addr_parse(out, json_string_value(v), 0));
}

static bool read_token_id(char out[static TOKEN_ID_TEXT], const char *text)
{
	if (strlen(text) != TOKEN_ID_TEXT - 1 || strspn(text, "0123456789abcdef") != TOKEN_ID_TEXT - 1)
		return false;
	memcpy(out, text, TOKEN_ID_TEXT);
	return true;
}

static bool read_entry(struct tokens_entry *e, json_t *json)
{
	const char *token_id, *id, *hash;
	json_int_t uses, used, created, expires, admits, used_at;
	json_t *visitor;

	if (json_unpack(json, "{ss ss ss sI sI sI sI sI sI so}", "token_id", &token_id, "forward_id", &id,
			"hash", &hash, "uses", &uses, "used", &used, "created_at", &created, "expires_at",
			&expires, "for_s", &admits, "used_at", &used_at, "last_visitor", &visitor))
		return false;
	e->token = (struct token) { .uses = (uint32_t)uses,
				    .used = (uint32_t)used,
				    .created_at = (uint64_t)created,
				    .expires_at = (uint64_t)expires,
				    .for_s = (uint32_t)admits,
				    .used_at = (uint64_t)used_at };
	return uses > 0 && uses <= TOKENS_USES_MAX && used >= 0 && used <= uses && created >= 0 &&
	       expires >= 0 && admits > 0 && admits <= TOKENS_FOR_MAX_S && used_at >= 0 &&
	       read_token_id(e->token.token_id, token_id) && !rule_id_parse(e->token.id, id) &&
	       !crypto_base64url_decode(e->hash, sizeof e->hash, hash) &&
	       read_address(&e->token.last_visitor, visitor);
}

static bool read_visit(struct token_visit *v, json_t *json)
{
	const char *token_id, *id;
	json_int_t until;
	json_t *visitor;

	if (json_unpack(json, "{ss ss so sI}", "token_id", &token_id, "forward_id", &id, "visitor", &visitor,
			"until", &until))
		return false;
	v->until = (uint64_t)until;
	return until >= 0 && read_token_id(v->token_id, token_id) && !rule_id_parse(v->id, id) &&
	       read_address(&v->visitor, visitor) && v->visitor.family != ADDR_NONE;
}

static int read_ledger(struct tokens_ledger *l, json_t *json)
{
	json_t *tokens = json_object_get(json, "tokens"), *visits = json_object_get(json, "visits");
	size_t n = json_array_size(tokens), visit_n = json_array_size(visits);
	bool good = json_is_array(tokens) && json_is_array(visits) && n <= TOKENS_MAX &&
		    visit_n <= TOKENS_VISITS_MAX;

	l->entries = calloc(n + 1, sizeof *l->entries);
	l->visits = calloc(visit_n + 1, sizeof *l->visits);
	if (!l->entries || !l->visits)
		return -ENOMEM;
	for (; good && l->count < n; l->count++)
		good = read_entry(&l->entries[l->count], json_array_get(tokens, l->count));
	for (; good && l->visit_count < visit_n; l->visit_count++)
		good = read_visit(&l->visits[l->visit_count], json_array_get(visits, l->visit_count));
	return good ? 0 : -EBADMSG;
}

int tokens_ledger_load(struct tokens_ledger *l, int dir)
{
	char *text = malloc(TOKENS_FILE_MAX);

	*l = (struct tokens_ledger) { 0 };
	if (!text)
		return -ENOMEM;
	ssize_t n = file_read(dir, TOKENS_FILE, text, TOKENS_FILE_MAX);
	int ret = n == -ENOENT ? tokens_ledger_copy(l, NULL) : n == -EFBIG ? -EBADMSG : n < 0 ? (int)n : 0;
	if (n >= 0) {
		json_t *json = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
		ret = read_ledger(l, json);
		json_decref(json);
	}
	free(text);
	if (ret)
		tokens_ledger_free(l);
	return ret;
}

int tokens_ledger_put_aside(int dir)
{
	char aside[FILE_NAME_CAP];
	int ret = file_put_aside(dir, TOKENS_FILE, aside);

	if (ret)
		log_error("forward", TOKENS_FILE " is spoilt and cannot be put aside: %s", strerror(-ret));
	else
		log_error("forward",
			  TOKENS_FILE
			  " is spoilt, and is now %s: links of before admit nobody, make new ones",
			  aside);
	return ret;
}
