/* Links that admit a visitor to a public rule, kept at the owner: on disk before anybody hears of a change, so that a link
 * for one use is used once, whatever ends the process. One file, tokens.json in the state folder, replaced whole
 * (core/file); of a link's secret only the hash. No clock of its own.
 *
 * A link's text is the base64url of forward id and 24 random bytes: https://GATEWAY/t/TEXT. */
#ifndef P2PD_APPS_P2PD_FORWARD_TOKENS_H
#define P2PD_APPS_P2PD_FORWARD_TOKENS_H

#include "apps/p2pd/forward/rule.h"
#include "core/crypto.h"

#define TOKENS_FILE "tokens.json"

enum {
	TOKENS_MAX = 1024,	 /* of all rules, those that have run out among them until tokens_tick() */
	TOKENS_VISITS_MAX = 512, /* admitted visitors of all rules at a time */
	TOKENS_USES_MAX = 1000,
	TOKENS_FOR_MAX_S = 30 * 86400, /* how long a visitor may be let in for */
	TOKENS_KEEP_S = 7 * 86400,     /* how long one that has run out is still listed */
	TOKENS_SECRET = 24,
	TOKEN_TEXT = 55,   /* 40 bytes in base64url and a NUL */
	TOKEN_ID_TEXT = 9, /* 8 hexadecimal digits and a NUL: what a person calls it by; no secret */
};

struct token {
	char token_id[TOKEN_ID_TEXT];
	uint8_t id[FORWARD_ID];		 /* the rule's */
	uint32_t uses, used;		 /* at most, and so far */
	uint64_t created_at, expires_at; /* Unix seconds; 0: it does not run out */
	uint32_t for_s;			 /* how long a visitor is admitted */
	uint64_t used_at;		 /* the last time; 0: never */
	struct addr last_visitor;	 /* ADDR_NONE: none yet */
};

/* Who was admitted, and until when. */
struct token_visit {
	uint8_t id[FORWARD_ID];
	char token_id[TOKEN_ID_TEXT];
	struct addr visitor; /* port 0 */
	uint64_t until;	     /* Unix seconds */
};

struct tokens; /* opaque */

/* `dir` is the state folder, stays the caller's. 0; -EBADMSG: the file is spoilt, and was put aside (the log says where); in
 * that case, and only then, *out is set nevertheless and empty. Or another negative errno. */
int tokens_open(struct tokens **out, int dir);
void tokens_close(struct tokens *t); /* NULL is allowed */

/* The rule that a text speaks of; it may be anything a stranger typed. Pure: for a gateway, which knows no more. 0 or
 * -EINVAL. */
int tokens_forward_id(uint8_t id[static FORWARD_ID], const char *text);

/* Each is on disk when it returns 0; on any error nothing has changed. */
/* Makes a link: `token` says id, uses (1 to TOKENS_USES_MAX), expires_at and for_s (1 to TOKENS_FOR_MAX_S), and gets the
 * rest; `text` is the only copy of the secret, to be wiped. -EINVAL, -ENOSPC. */
int tokens_new(struct tokens *t, struct token *token, char text[static TOKEN_TEXT], uint64_t unix_s,
	       struct rng *rng);
/* Another secret in place of the old one, which is worth nothing from now on; as many uses and as long a life as the first
 * had, from now on. Who was admitted stays. -ENOENT. */
int tokens_rotate(struct tokens *t, const uint8_t id[static FORWARD_ID], const char *token_id,
		  struct token *token, char text[static TOKEN_TEXT], uint64_t unix_s, struct rng *rng);
/* Also who was admitted by it is so no longer. -ENOENT. */
int tokens_revoke(struct tokens *t, const uint8_t id[static FORWARD_ID], const char *token_id);
/* The rule is gone for good: all its tokens and visits. */
int tokens_forget(struct tokens *t, const uint8_t id[static FORWARD_ID]);
/* A visitor came with `text` to rule `id`: admits it, which takes one use; one who is still admitted by the same token
 * takes none, and stays for as long as before. `room`: how many addresses the rule has place for at a time, beside its own
 * allow-list; nobody who is in is pushed out. 0 with *visit and *token; -EACCES: unknown, run out, used up or another rule's,
 * told apart by nothing, time included; -EUSERS: it is good, but there is no place now (tokens_full_until()); or another
 * negative errno. On any error the visitor is not admitted and no use is taken. */
int tokens_admit(struct tokens *t, const uint8_t id[static FORWARD_ID], const char *text,
		 const struct addr *visitor, unsigned room, uint64_t unix_s, struct token_visit *visit,
		 struct token *token);
/* Whether it would admit the visitor now, as before it presses the button: nothing is burnt. 0 and *token, -EACCES or
 * -EUSERS. */
int tokens_look(const struct tokens *t, const uint8_t id[static FORWARD_ID], const char *text,
		const struct addr *visitor, unsigned room, uint64_t unix_s, struct token *token);
/* When a visit ends in whose place the visitor could come, in Unix seconds; 0: there is place now. */
uint64_t tokens_full_until(const struct tokens *t, const uint8_t id[static FORWARD_ID],
			   const struct addr *visitor, unsigned room, uint64_t unix_s);

size_t tokens_count(const struct tokens *t);
/* In the order of making. Valid until the next change. */
const struct token *tokens_at(const struct tokens *t, size_t i);
/* Whether a rule has a token that still admits. */
bool tokens_live(const struct tokens *t, const uint8_t id[static FORWARD_ID], uint64_t unix_s);
/* Adds those who are admitted to rule `id` now to `allow`, which has *count of at most `cap`; the last to come first, each
 * address once. */
void tokens_allow(const struct tokens *t, const uint8_t id[static FORWARD_ID], uint64_t unix_s,
		  struct forward_prefix *allow, unsigned *count, unsigned cap);
/* Ends visits whose time is over, forgets what ran out long ago. True if visits ended: the rules are to be brought into
 * effect again. */
bool tokens_tick(struct tokens *t, uint64_t unix_s);
uint64_t tokens_next_unix_s(const struct tokens *t); /* when to tick; UINT64_MAX: never */

/* As the local API tells it: {"token_id", "forward_id", "uses", "used", "created_at", "expires_at", "for_s", "used_at",
 * "last_visitor": TEXT or null, "state": "live|used-up|expired"}. A new reference, NULL without memory. */
struct json_t *tokens_json(const struct token *token, uint64_t unix_s);

#endif
