/* Each change is made in a copy, which takes the place of what is known once it is on disk. */
#include "apps/p2pd/forward/tokens_internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

enum { RAW = FORWARD_ID + TOKENS_SECRET };

struct tokens {
	int dir;
	struct tokens_ledger now;
};

int tokens_open(struct tokens **out, int dir)
{
	struct tokens *t = calloc(1, sizeof *t);

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->dir = dir;
	int ret = tokens_ledger_load(&t->now, dir);
	if (ret == -EBADMSG) {
		int aside = tokens_ledger_put_aside(dir);
		ret = aside ? aside : tokens_ledger_copy(&t->now, NULL);
		ret = ret ? ret : -EBADMSG;
	}
	if (ret && !t->now.entries) {
		free(t);
		return ret;
	}
	*out = t;
	return ret;
}

void tokens_close(struct tokens *t)
{
	if (!t)
		return;
	tokens_ledger_free(&t->now);
	free(t);
}

static int commit(struct tokens *t, struct tokens_ledger *draft)
{
	int ret = tokens_ledger_save(draft, t->dir);

	if (ret) {
		tokens_ledger_free(draft);
		return ret;
	}
	tokens_ledger_free(&t->now);
	t->now = *draft;
	return 0;
}

/* --- Texts */

static int decode(uint8_t raw[static RAW], const char *text)
{
	if (strlen(text) != TOKEN_TEXT - 1)
		return -EINVAL;
	return crypto_base64url_decode(raw, RAW, text);
}

int tokens_forward_id(uint8_t id[static FORWARD_ID], const char *text)
{
	uint8_t raw[RAW];
	int ret = decode(raw, text);

	if (!ret)
		memcpy(id, raw, FORWARD_ID);
	crypto_wipe(raw, sizeof raw);
	return ret;
}

static void hash_of(uint8_t hash[static TOKENS_HASH], const uint8_t raw[static RAW])
{
	crypto_blake2b(hash, TOKENS_HASH, NULL, 0, &(struct part) { raw, RAW }, 1);
}

static void make_secret(struct tokens_entry *e, char text[static TOKEN_TEXT], struct rng *rng)
{
	char coded[CRYPTO_BASE64_TEXT(RAW)];
	uint8_t raw[RAW];

	memcpy(raw, e->token.id, FORWARD_ID);
	rng_fill(rng, raw + FORWARD_ID, TOKENS_SECRET);
	hash_of(e->hash, raw);
	crypto_base64url(coded, raw, sizeof raw);
	memcpy(text, coded, TOKEN_TEXT);
	crypto_wipe(raw, sizeof raw);
	crypto_wipe(coded, sizeof coded);
}

/* --- Finding */

static struct tokens_entry *find(const struct tokens_ledger *l, const uint8_t *id, const char *token_id)
{
	for (size_t i = 0; i < l->count; i++)
		if (!strcmp(l->entries[i].token.token_id, token_id) &&
		    !memcmp(l->entries[i].token.id, id, FORWARD_ID))
			return &l->entries[i];
	return NULL;
}

static bool has_run_out(const struct token *t, uint64_t unix_s)
{
	return t->expires_at && t->expires_at <= unix_s;
}

static bool is_dead(const struct token *t, uint64_t unix_s)
{
	return t->used >= t->uses || has_run_out(t, unix_s);
}

/* --- Removing */

static void remove_entry(struct tokens_ledger *l, size_t i)
{
	l->count--;
	memmove(&l->entries[i], &l->entries[i + 1], (l->count - i) * sizeof *l->entries);
}

static void remove_visit(struct tokens_ledger *l, size_t i)
{
	l->visit_count--;
	memmove(&l->visits[i], &l->visits[i + 1], (l->visit_count - i) * sizeof *l->visits);
}

/* `token_id` NULL: of all the rule's. */
static void remove_visits(struct tokens_ledger *l, const uint8_t *id, const char *token_id)
{
	for (size_t i = l->visit_count; i-- > 0;)
		if (!memcmp(l->visits[i].id, id, FORWARD_ID) &&
		    (!token_id || !strcmp(l->visits[i].token_id, token_id)))
			remove_visit(l, i);
}

static bool end_visits(struct tokens_ledger *l, uint64_t unix_s)
{
	size_t before = l->visit_count;

	for (size_t i = l->visit_count; i-- > 0;)
		if (l->visits[i].until <= unix_s)
			remove_visit(l, i);
	return l->visit_count != before;
}

/* --- Changes */

/* Where there is no room, the oldest that is worth nothing gives way. */
static int make_room(struct tokens_ledger *l, uint64_t unix_s)
{
	for (size_t i = 0; i < l->count && l->count == TOKENS_MAX; i++)
		if (is_dead(&l->entries[i].token, unix_s))
			remove_entry(l, i);
	return l->count == TOKENS_MAX ? -ENOSPC : 0;
}

static bool is_taken(const struct tokens_ledger *l, const char *token_id)
{
	for (size_t i = 0; i < l->count; i++)
		if (!strcmp(l->entries[i].token.token_id, token_id))
			return true;
	return false;
}

static void name(const struct tokens_ledger *l, struct token *token, struct rng *rng)
{
	do {
		snprintf(token->token_id, TOKEN_ID_TEXT, "%08x", (unsigned)rng_u32(rng));
	} while (is_taken(l, token->token_id));
}

int tokens_new(struct tokens *t, struct token *token, char text[static TOKEN_TEXT], uint64_t unix_s,
	       struct rng *rng)
{
	struct tokens_entry e = { .token = *token };
	struct tokens_ledger draft;

	if (!token->uses || token->uses > TOKENS_USES_MAX || !token->for_s ||
	    token->for_s > TOKENS_FOR_MAX_S || has_run_out(token, unix_s))
		return -EINVAL;
	int ret = tokens_ledger_copy(&draft, &t->now);
	if (ret)
		return ret;
	ret = make_room(&draft, unix_s);
	if (ret) {
		tokens_ledger_free(&draft);
		return ret;
	}
	e.token.used = 0;
	e.token.used_at = 0;
	e.token.created_at = unix_s;
	e.token.last_visitor = (struct addr) { 0 };
	name(&draft, &e.token, rng);
	make_secret(&e, text, rng);
	draft.entries[draft.count++] = e;
	ret = commit(t, &draft);
	if (!ret)
		*token = e.token;
	return ret;
}

/* A draft and the token in it. 0, -ENOENT or -ENOMEM. */
static int begin(const struct tokens *t, const uint8_t *id, const char *token_id, struct tokens_ledger *draft,
		 struct tokens_entry **e)
{
	if (!find(&t->now, id, token_id))
		return -ENOENT;
	int ret = tokens_ledger_copy(draft, &t->now);
	if (!ret)
		*e = find(draft, id, token_id);
	return ret;
}

int tokens_rotate(struct tokens *t, const uint8_t id[static FORWARD_ID], const char *token_id,
		  struct token *token, char text[static TOKEN_TEXT], uint64_t unix_s, struct rng *rng)
{
	struct tokens_ledger draft;
	struct tokens_entry *e;
	int ret = begin(t, id, token_id, &draft, &e);

	if (ret)
		return ret;
	if (e->token.expires_at)
		e->token.expires_at = unix_s + (e->token.expires_at - e->token.created_at);
	e->token.created_at = unix_s;
	e->token.used = 0;
	make_secret(e, text, rng);
	*token = e->token;
	return commit(t, &draft);
}

int tokens_revoke(struct tokens *t, const uint8_t id[static FORWARD_ID], const char *token_id)
{
	struct tokens_ledger draft;
	struct tokens_entry *e;
	int ret = begin(t, id, token_id, &draft, &e);

	if (ret)
		return ret;
	remove_visits(&draft, id, token_id);
	remove_entry(&draft, (size_t)(e - draft.entries));
	return commit(t, &draft);
}

int tokens_forget(struct tokens *t, const uint8_t id[static FORWARD_ID])
{
	struct tokens_ledger draft;
	int ret = tokens_ledger_copy(&draft, &t->now);

	if (ret)
		return ret;
	for (size_t i = draft.count; i-- > 0;)
		if (!memcmp(draft.entries[i].token.id, id, FORWARD_ID))
			remove_entry(&draft, i);
	remove_visits(&draft, id, NULL);
	if (draft.count != t->now.count || draft.visit_count != t->now.visit_count)
		return commit(t, &draft);
	tokens_ledger_free(&draft);
	return 0;
}

/* --- Admitting */

/* The token that a text is the secret of, as an index; `count` where there is none. Looks at all of them, and all of each
 * hash, whatever comes. */
static size_t match(const struct tokens_ledger *l, const char *text)
{
	uint8_t raw[RAW] = { 0 }, hash[TOKENS_HASH];
	size_t found = l->count;
	bool good = decode(raw, text) == 0;

	hash_of(hash, raw);
	for (size_t i = 0; i < l->count; i++)
		if (crypto_equal(l->entries[i].hash, hash, sizeof hash) & good)
			found = i;
	crypto_wipe(raw, sizeof raw);
	return found;
}

static const struct token_visit *visit_of(const struct tokens_ledger *l, const struct token *token,
					  const struct addr *visitor, uint64_t unix_s)
{
	for (size_t i = 0; i < l->visit_count; i++) {
		const struct token_visit *v = &l->visits[i];
		if (!strcmp(v->token_id, token->token_id) && !memcmp(v->id, token->id, FORWARD_ID) &&
		    addr_same_ip(&v->visitor, visitor) && v->until > unix_s)
			return v;
	}
	return NULL;
}

/* Whether an earlier visit has the place already. */
static bool has_place(const struct tokens_ledger *l, size_t i, uint64_t unix_s)
{
	const struct token_visit *v = &l->visits[i];

	for (size_t k = 0; k < i; k++)
		if (l->visits[k].until > unix_s && !memcmp(l->visits[k].id, v->id, FORWARD_ID) &&
		    addr_same_ip(&l->visits[k].visitor, &v->visitor))
			return true;
	return false;
}

uint64_t tokens_full_until(const struct tokens *t, const uint8_t id[static FORWARD_ID],
			   const struct addr *visitor, unsigned room, uint64_t unix_s)
{
	const struct tokens_ledger *l = &t->now;
	uint64_t first = UINT64_MAX, first_of_all = UINT64_MAX;
	unsigned live = 0, taken = 0;
	bool is_in = false;

	for (size_t i = 0; i < l->visit_count; i++) {
		const struct token_visit *v = &l->visits[i];
		if (v->until <= unix_s)
			continue;
		live++;
		first_of_all = v->until < first_of_all ? v->until : first_of_all;
		if (memcmp(v->id, id, FORWARD_ID))
			continue;
		is_in |= addr_same_ip(&v->visitor, visitor);
		taken += !has_place(l, i, unix_s);
		first = v->until < first ? v->until : first;
	}
	if (live >= TOKENS_VISITS_MAX)
		return first_of_all;
	return is_in || taken < room ? 0 : first;
}

static int burn(struct tokens *t, size_t i, const struct token_visit *visit, uint64_t unix_s)
{
	struct tokens_ledger draft;
	int ret = tokens_ledger_copy(&draft, &t->now);

	if (ret)
		return ret;
	end_visits(&draft, unix_s);
	draft.entries[i].token.used++;
	draft.entries[i].token.used_at = unix_s;
	draft.entries[i].token.last_visitor = visit->visitor;
	draft.visits[draft.visit_count++] = *visit;
	return commit(t, &draft);
}

/* 0 with the token's index, and the visit that it has already (NULL: none); -EACCES or -EUSERS. */
static int judge(const struct tokens *t, const uint8_t *id, const char *text, const struct addr *visitor,
		 unsigned room, uint64_t unix_s, size_t *i, const struct token_visit **visit)
{
	*i = match(&t->now, text);
	if (*i == t->now.count || memcmp(t->now.entries[*i].token.id, id, FORWARD_ID))
		return -EACCES;
	const struct token *token = &t->now.entries[*i].token;
	*visit = visit_of(&t->now, token, visitor, unix_s);
	if (*visit)
		return 0;
	if (is_dead(token, unix_s))
		return -EACCES;
	return tokens_full_until(t, id, visitor, room, unix_s) ? -EUSERS : 0;
}

int tokens_look(const struct tokens *t, const uint8_t id[static FORWARD_ID], const char *text,
		const struct addr *visitor, unsigned room, uint64_t unix_s, struct token *token)
{
	const struct token_visit *before;
	size_t i;
	int ret = judge(t, id, text, visitor, room, unix_s, &i, &before);

	if (!ret)
		*token = t->now.entries[i].token;
	return ret;
}

int tokens_admit(struct tokens *t, const uint8_t id[static FORWARD_ID], const char *text,
		 const struct addr *visitor, unsigned room, uint64_t unix_s, struct token_visit *visit,
		 struct token *token)
{
	const struct token_visit *before;
	size_t i;
	int ret = judge(t, id, text, visitor, room, unix_s, &i, &before);

	if (ret)
		return ret;
	if (before) {
		*visit = *before;
	} else {
		const struct token *known = &t->now.entries[i].token;
		*visit = (struct token_visit) { .visitor = *visitor, .until = unix_s + known->for_s };
		visit->visitor.port = 0;
		memcpy(visit->id, id, FORWARD_ID);
		memcpy(visit->token_id, known->token_id, TOKEN_ID_TEXT);
		ret = burn(t, i, visit, unix_s);
	}
	if (!ret)
		*token = t->now.entries[i].token;
	return ret;
}

/* --- Looking */

size_t tokens_count(const struct tokens *t)
{
	return t->now.count;
}

const struct token *tokens_at(const struct tokens *t, size_t i)
{
	return &t->now.entries[i].token;
}

bool tokens_live(const struct tokens *t, const uint8_t id[static FORWARD_ID], uint64_t unix_s)
{
	for (size_t i = 0; i < t->now.count; i++)
		if (!memcmp(t->now.entries[i].token.id, id, FORWARD_ID) &&
		    !is_dead(&t->now.entries[i].token, unix_s))
			return true;
	return false;
}

void tokens_allow(const struct tokens *t, const uint8_t id[static FORWARD_ID], uint64_t unix_s,
		  struct forward_prefix *allow, unsigned *count, unsigned cap)
{
	for (size_t i = t->now.visit_count; i-- > 0 && *count < cap;) {
		const struct token_visit *v = &t->now.visits[i];
		if (!memcmp(v->id, id, FORWARD_ID) && v->until > unix_s && !has_place(&t->now, i, unix_s))
			allow[(*count)++] = (struct forward_prefix) { v->visitor, v->visitor.family == ADDR_V4
											  ? 32
											  : 128 };
	}
}

/* --- Time */

static uint64_t forgotten_at(const struct token *t)
{
	uint64_t over = t->used >= t->uses ? t->used_at + t->for_s : UINT64_MAX;

	if (t->expires_at && t->expires_at < over)
		over = t->expires_at;
	return over == UINT64_MAX ? over : over + TOKENS_KEEP_S;
}

/* Only here: what the file still has of them goes with its next writing, or when it is read again. */
bool tokens_tick(struct tokens *t, uint64_t unix_s)
{
	for (size_t i = t->now.count; i-- > 0;)
		if (forgotten_at(&t->now.entries[i].token) <= unix_s)
			remove_entry(&t->now, i);
	return end_visits(&t->now, unix_s);
}

uint64_t tokens_next_unix_s(const struct tokens *t)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < t->now.count; i++) {
		uint64_t at = forgotten_at(&t->now.entries[i].token);
		next = at < next ? at : next;
	}
	for (size_t i = 0; i < t->now.visit_count; i++)
		next = t->now.visits[i].until < next ? t->now.visits[i].until : next;
	return next;
}

struct json_t *tokens_json(const struct token *token, uint64_t unix_s)
{
	char id[RULE_ID_TEXT], visitor[ADDR_TEXT_MAX];
	const char *state = token->used >= token->uses	 ? "used-up"
			    : has_run_out(token, unix_s) ? "expired"
							 : "live";

	if (token->last_visitor.family != ADDR_NONE)
		addr_format_ip(&token->last_visitor, visitor);
	return json_pack("{ss ss sI sI sI sI sI sI ss? ss}", "token_id", token->token_id, "forward_id",
			 rule_id_text(token->id, id), "uses", (json_int_t)token->uses, "used",
			 (json_int_t)token->used, "created_at", (json_int_t)token->created_at, "expires_at",
			 (json_int_t)token->expires_at, "for_s", (json_int_t)token->for_s, "used_at",
			 (json_int_t)token->used_at, "last_visitor",
			 token->last_visitor.family != ADDR_NONE ? visitor : NULL, "state", state);
}
