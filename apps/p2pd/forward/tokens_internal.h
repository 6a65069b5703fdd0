/* What tokens.c and tokens_file.c share. */
#ifndef P2PD_APPS_P2PD_FORWARD_TOKENS_INTERNAL_H
#define P2PD_APPS_P2PD_FORWARD_TOKENS_INTERNAL_H

#include "apps/p2pd/forward/tokens.h"

enum { TOKENS_HASH = 32, TOKENS_FILE_MAX = 1 << 20 };

struct tokens_entry {
	struct token token;
	uint8_t hash[TOKENS_HASH]; /* BLAKE2b-256 of forward id and secret */
};

/* All that is on disk; there is room for one more of each kind. */
struct tokens_ledger {
	struct tokens_entry *entries;
	struct token_visit *visits;
	size_t count, visit_count;
};

/* 0, or -ENOMEM; `from` NULL: an empty one. */
int tokens_ledger_copy(struct tokens_ledger *out, const struct tokens_ledger *from);
void tokens_ledger_free(struct tokens_ledger *l);
/* Into a new one. 0, also when there is no file; -EBADMSG, or another negative errno, and nothing to free. */
int tokens_ledger_load(struct tokens_ledger *l, int dir);
int tokens_ledger_save(const struct tokens_ledger *l, int dir);
/* So that the next start finds none. 0 or a negative errno. */
int tokens_ledger_put_aside(int dir);

#endif
