/* The writes that wait for a flush, and how each is written. For store_sqlite*.c. */
#ifndef P2PD_RELAY_STORE_SQLITE_WRITE_H
#define P2PD_RELAY_STORE_SQLITE_WRITE_H

#include "relay/store_sqlite_db.h"

enum store_write_kind {
	STORE_WRITE_NODE,
	STORE_WRITE_USAGE,
	STORE_WRITE_AUDIT,
	STORE_WRITE_ALIVE,
	STORE_WRITE_PRUNE
};

struct store_prune {
	uint64_t audit_before_s, nodes_before_s;
	uint32_t month_before;
};

/* malloc'ed, and no longer than what it holds. */
struct store_write {
	struct store_write *next;
	enum store_write_kind kind;
	union {
		struct store_node node;
		struct store_usage usage;
		struct store_audit audit;
		struct store_prune prune;
		uint64_t alive_s;
	};
};

/* The first `size` bytes of `what`, of a member of the union. NULL without memory. */
struct store_write *store_write_make(enum store_write_kind kind, const void *what, size_t size);
/* In the transaction that is open. 0 or a negative errno; what the file cannot take for what it says, whatever the disk's
 * state, is named in the log and left out. */
int store_write_apply(struct store_db *d, const struct store_write *w);

/* With statements of the same connection. See store.h. */
int store_write_token(struct store_db *d, struct store_token *t);
int store_write_revocation(struct store_db *d, uint64_t id, uint64_t unix_s);

#endif
