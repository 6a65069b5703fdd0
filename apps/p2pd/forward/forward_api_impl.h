/* What the files of `forward_api` share, and nobody else includes. */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARD_API_IMPL_H
#define P2PD_APPS_P2PD_FORWARD_FORWARD_API_IMPL_H

#include <jansson.h>

#include "apps/p2pd/forward/forward_api.h"
#include "core/fail.h"

enum { API_WORDS = 5, API_WORD = 64, API_ACTOR = 32, API_TEXT = RULE_WHY + 64 };

struct forward_api {
	struct forwarder *f;
	struct api_later *laters;
};

/* A request as it is handled. */
struct api_call {
	struct forward_api *a;
	struct forwarder *f;
	struct http_exchange *x;
	char word[API_WORDS][API_WORD]; /* of the path, behind /portmap/ */
	unsigned words;
	json_t *body;	  /* an object; empty without one */
	struct rule rule; /* that word[0] names, where a route wants one */
	char actor[API_ACTOR];
	bool may_force; /* the request is one that takes "force" */
};

/* forward_api.c */
/* Takes the reference over. */
void api_answer(struct api_call *c, int status, json_t *json);
__attribute__((format(printf, 4, 5))) void api_error(struct api_call *c, int status, enum exit_code code,
						     const char *fmt, ...);
/* The same with further keys of "error", whose reference it takes over. */
void api_error_with(struct api_call *c, int status, enum exit_code code, const char *text, json_t *more);
/* What a change of the book came to, if not 0; `r` as it was before, NULL: of no one rule. */
void api_book_error(struct api_call *c, int error, const struct rule *r);
/* The same for the audit. */
const char *api_book_words(int error);
/* The answer to who asks something of a tombstone. */
void api_removed(struct api_call *c, const struct rule *r);
/* What a request waits for. */
enum api_later_kind { API_SETTLED, API_COUNTED, API_PINGED };
void api_later(struct api_call *c, enum api_later_kind kind, int status, const uint8_t id[static FORWARD_ID]);

/* forward_api_json.c */
json_t *api_rule_json(struct forwarder *f, const struct rule *r);
json_t *api_stats_json(struct forwarder *f, const uint8_t id[static FORWARD_ID]);
json_t *api_ping_json(const struct forwarder_ping *p);

/* forward_api_change.c */
void api_add(struct api_call *c);
void api_change(struct api_call *c);
void api_remove(struct api_call *c);
void api_pause(struct api_call *c);
void api_resume(struct api_call *c);
void api_restore(struct api_call *c);
void api_apply(struct api_call *c);

/* forward_api_token.c */
void api_tokens(struct api_call *c);
void api_token_new(struct api_call *c);
void api_token_revoke(struct api_call *c);
void api_token_rotate(struct api_call *c);
void api_read_token(struct api_call *c);
void api_read_token_revoke(struct api_call *c);

#endif
